"""Steps 1 and 2: a batch onto the topic, and the proof that it is there."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError
from topicledger.kafka.message import ATTEMPT_HEADER, BATCH_HEADER
from topicledger.kafka.producer import BatchProducer
from topicledger.kafka.topic import TopicObserver
from topicledger.model.plan import OffsetRange, Receipt
from topicledger.model.planning import TopicState
from topicledger.retries import with_retries
from topicledger.steps.run import Run

log = logging.getLogger(__name__)


def produce_batch(run: Run, records: Iterable[tuple[bytes | None, bytes | None]]) -> Receipt:
    """Produce a batch and prove that it is on the topic.

    A retry produces the same records again under a new attempt; what an earlier attempt left on the topic is
    counted as duplicates later, or loaded too where the table has no key. Nothing is produced before the broker has
    answered.

    Args:
        run: The run; the topic of its pipeline must exist.
        records: (key, value), the same for every attempt of the run.

    Returns:
        The receipt of this attempt.

    Raises:
        SettingsError: The topic is missing, a grant is, or credentials are wrong.
        RetriableError: The broker can't be reached, or a record wasn't acknowledged.
        IntegrityError: The topic was recreated while producing.
    """
    kafka, topic = run.kafka, run.pipeline.topic
    # 1
    attempt = secrets.token_hex(8)
    with TopicObserver(kafka, topic) as observer:
        before = with_retries(f"connecting to {kafka.servers}", observer.state)
        headers = [(BATCH_HEADER, run.batch_id.encode()), (ATTEMPT_HEADER, attempt.encode())]
        crash_point("step-01.before_first_record")
        acked = BatchProducer(kafka, topic, headers).produce(records)
        # 2
        crash_point("step-02.acknowledged")
        after = with_retries("reading the receipt's end", observer.state)
    _require_same(before, after)
    log.info("attempt %s: %d records acknowledged by %s, topic %s", attempt, acked, kafka.servers, topic)
    crash_point("step-02.receipt_made")
    return Receipt(topic, before.topic_id, attempt, acked, _ranges(before, after))


def _require_same(before: TopicState, after: TopicState) -> None:
    if after.topic_id != before.topic_id:
        raise IntegrityError(
            f"topic {before.topic} was recreated while this run produced to it ({before.topic_id}, now "
            f"{after.topic_id}): find out who did",
            code="topic-recreated-while-producing",
            repeat="produce",
            topic=before.topic,
        )


def _ranges(before: TopicState, after: TopicState) -> tuple[OffsetRange, ...]:
    """The receipt's [start, end) per partition; one that was added meanwhile begins at 0."""
    starts = {marks.partition: marks.high for marks in before.partitions}
    return tuple(OffsetRange(m.partition, starts.get(m.partition, 0), m.high) for m in after.partitions)
