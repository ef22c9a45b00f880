"""Steps 8, 9 and 11 over one slice of a plan, in the process that calls it."""

from __future__ import annotations

from topicledger.crash_points import crash_point
from topicledger.cycle_search import seldom_collected
from topicledger.events.judge import Judge
from topicledger.kafka.reader import RangeReader
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.plan import Plan, Receipt
from topicledger.model.slices import Reading
from topicledger.steps.stage import Stager, StagingSink


def read_slice(
    kafka: KafkaSettings, plan: Plan, group_id: str, receipt: Receipt | None, judge: Judge, sink: StagingSink
) -> Reading:
    """Read every record of a plan, judge it and give it to the sink, chunk by chunk.

    Args:
        kafka: The connection.
        plan: What to read.
        group_id: The run's own consumer group.
        receipt: What the run produced, when the plan contains all of it; its records are then counted.
        judge: The pipeline's judge.
        sink: Takes rows, dead letters, tombstones and jumps.

    Raises:
        RetriableError: Broker or disk fail, an offset went out of range, or nothing came.
        IntegrityError: The log was truncated below the ledger's position.
        SettingsError: A grant is missing, credentials are wrong, or the pipeline's clean-up fails.
    """
    with seldom_collected(), RangeReader(kafka, plan, group_id, receipt) as reader:
        stager = Stager(judge, sink)
        for chunk in reader.chunks():
            crash_point("step-09.chunk_read")
            stager.add(chunk)
            crash_point("step-11.chunk_staged")
        return reader.reading(stager.tally)
