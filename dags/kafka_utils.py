"""The Kafka side of the pipeline: connecting, producing a batch, consuming a batch. No Airflow in it.

The numbers are the protocol's; docs/delivery-guarantee.md tells it to users in the same steps. Both functions
work for any `topicledger.pipeline.Pipeline`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError, TopicLedgerError
from topicledger.events.judge import Judge
from topicledger.kafka.jumps import check_jumps
from topicledger.kafka.message import ATTEMPT_HEADER, BATCH_HEADER
from topicledger.kafka.offsets import commit_group
from topicledger.kafka.producer import BatchProducer
from topicledger.kafka.settings import KafkaSettings
from topicledger.kafka.topic import TopicObserver
from topicledger.model.acceptance import parse_accepted
from topicledger.model.identity import CONTRACT_VERSION, Run
from topicledger.model.ledger import ReconciledBooks
from topicledger.model.manifest import Manifest, StagedFile
from topicledger.model.plan import OffsetRange, Plan, Receipt
from topicledger.model.slices import Reading
from topicledger.pipeline import Pipeline
from topicledger.retries import with_retries
from topicledger.staged_files.folder import stem
from topicledger.staged_files.opened_batch import ManifestHandle
from topicledger.staged_files.root import StagingRoot, path_in
from topicledger.staged_files.writer import StagedBatch
from topicledger.steps.parallel_read import read_plan
from topicledger.steps.plan import Planner
from topicledger.steps.stage import stage_jumps
from topicledger.warehouse.contract import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StagedResult:
    """What consuming leaves for the next task.

    Args:
        rows_path: The clean CSV.
        handle: What load needs to find and verify the staged batch.
    """

    rows_path: str
    handle: ManifestHandle


def produce_batch(
    kafka: KafkaSettings, topic: str, run: Run, records: Iterable[tuple[bytes | None, bytes | None]]
) -> Receipt:
    """Produce a batch and prove that it is on the topic (steps 1 and 2).

    A retry produces the same records again under a new attempt; what an earlier attempt left on the topic is
    counted as duplicates later. Nothing is produced before the broker has answered.

    Args:
        kafka: The connection.
        topic: The topic; it must exist.
        run: The run.
        records: (key, value), the same for every attempt of the run.

    Returns:
        The receipt of this attempt.

    Raises:
        SettingsError: The topic is missing, a grant is, or credentials are wrong.
        RetriableError: The broker can't be reached, or a record wasn't acknowledged.
        IntegrityError: The topic was recreated while producing.
    """
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
    if after.topic_id != before.topic_id:
        raise IntegrityError(
            f"topic {topic} was recreated while this run produced to it ({before.topic_id}, now "
            f"{after.topic_id}): find out who did",
            repeat="produce",
            topic=topic,
        )
    starts = {marks.partition: marks.high for marks in before.partitions}
    ranges = tuple(OffsetRange(m.partition, starts.get(m.partition, 0), m.high) for m in after.partitions)
    log.info("attempt %s: %d records acknowledged by %s, topic %s", attempt, acked, kafka.servers, topic)
    crash_point("step-02.receipt_made")
    return Receipt(topic, before.topic_id, attempt, acked, ranges)


def consume_batch(
    kafka: KafkaSettings,
    warehouse: Warehouse,
    root: StagingRoot,
    pipeline: Pipeline,
    run: Run,
    receipt: Receipt | None,
    accept: Sequence[str] = (),
) -> StagedResult:
    """Read everything new since the warehouse's ledger, up to an end fixed before, and stage it (steps 3 to 12).

    Offsets of the run's own group are committed by hand, after staging and only then; malformed records become
    dead letters and don't hold anything up. A retry plans anew from the ledger and stages under a new name.

    Args:
        kafka: The connection.
        warehouse: Holds the ledger that the plan starts from.
        root: Where the batch is staged.
        pipeline: The pipeline.
        run: The run.
        receipt: What this run produced, or None when it didn't.
        accept: Losses that a person accepts, as the errors printed them.

    Returns:
        Where the staged batch is.

    Raises:
        IntegrityError: Offsets were lost, the topic was recreated, the reader missed a record, or more of the
            batch is malformed than the pipeline's error budget allows.
        RetriableError: Broker or warehouse don't answer, or an open transaction hides records of this run.
        SettingsError: A person must fix a connection, a grant, the topic or the parameter.
    """
    accepted, judge = parse_accepted(accept), Judge(pipeline)
    with TopicObserver(kafka, pipeline.topic) as observer:
        # 3 to 7
        planner = Planner(observer, warehouse, pipeline, run, receipt, accepted)
        plan = planner.plan()
        _log_plan(plan)
        crash_point("step-07.planned")
        # 8 to 12
        return _read_and_stage(_Attempt(kafka, root, pipeline, run, receipt, observer, planner), plan, judge)


@dataclass(frozen=True, slots=True)
class _Attempt:
    kafka: KafkaSettings
    root: StagingRoot
    pipeline: Pipeline
    run: Run
    receipt: Receipt | None
    observer: TopicObserver
    planner: Planner


def _read_and_stage(attempt: _Attempt, plan: Plan, judge: Judge) -> StagedResult:
    receipt, batch_id, kafka = attempt.receipt, attempt.run.batch_id, attempt.kafka
    whole = receipt if receipt is not None and receipt.inside(r.range for r in plan.ranges) else None
    group_id = f"{attempt.pipeline.name}.{batch_id}"
    with StagedBatch(attempt.root, stem(batch_id), judge.columns, attempt.pipeline.staging_format) as batch:
        stage_jumps(batch, [OffsetRange(r.partition, r.start, r.start + r.gap) for r in plan.ranges if r.gap], "gap")
        # 8, 9 and 11
        reading = read_plan(kafka, plan, group_id, whole, judge, batch)
        # 10
        _require_same_topic(attempt.observer, plan)
        crash_point("step-10.topic_asked_again")
        unchecked = check_jumps(kafka, plan.topic, group_id, reading)
        crash_point("step-10.jumps_read_again")
        reading.tally.require_within_budget(attempt.pipeline.error_budget)
        # 4: nothing was created before the declaration has held for the batch
        attempt.planner.begin_books()
        # 12
        files = batch.finish_files()
        crash_point("step-12.files_renamed")
        manifest = _manifest(attempt, plan, reading, files, unchecked)
        path, sha256 = batch.finish(manifest)
        crash_point("step-12.staged")
        ends = {r.partition: r.end for r in plan.ranges}
        with_retries("committing the group's offsets", lambda: commit_group(kafka, group_id, plan.topic, ends))
        crash_point("step-12.offsets_committed")
    rows_path = path_in(attempt.root, manifest.rows.name)
    log.info("staged %d records at %s; dead letters by reason: %s", manifest.records, rows_path, manifest.reasons)
    return StagedResult(rows_path, ManifestHandle(path, sha256, batch_id, plan.plan_id))


def _manifest(attempt: _Attempt, plan: Plan, reading: Reading, files: Sequence[StagedFile], unchecked: int) -> Manifest:
    rows, dead_letters, tombstones, jumps = files
    return Manifest(
        contract_version=CONTRACT_VERSION,
        batch_id=attempt.run.batch_id,
        plan_id=plan.plan_id,
        pipeline=attempt.pipeline.name,
        target=plan.target,
        run_id=attempt.run.run_id,
        topic=plan.topic,
        topic_id=plan.topic_id,
        partitions=reading.partitions,
        rows=rows,
        dead_letters=dead_letters,
        tombstones=tombstones,
        jumps=jumps,
        receipt=attempt.receipt,
        acked_seen=reading.acked_seen,
        compacted=_compacted(attempt) if attempt.receipt is not None else None,
        reasons=dict(reading.tally.reasons),
        unknown_fields=reading.tally.unknown_fields,
        unchecked_jumps=unchecked,
        accepted=plan.accepted,
        left=plan.left,
    )


def _compacted(attempt: _Attempt) -> bool | None:
    return with_retries(f"asking for cleanup.policy of {attempt.pipeline.topic}", attempt.observer.compacted)


def _require_same_topic(observer: TopicObserver, plan: Plan) -> None:
    topic_id = with_retries(f"describing {plan.topic}", observer.topic_id)
    if topic_id != plan.topic_id:
        raise IntegrityError(
            f"topic {plan.topic} was recreated while it was read ({plan.topic_id}, now {topic_id}): nothing was staged",
            repeat="run",
            topic=plan.topic,
        )


def _log_plan(plan: Plan) -> None:
    lines = [f"plan {plan.plan_id} of {plan.topic} ({plan.topic_id}) for {plan.target}:"]
    lines += [
        f"  partition {r.partition}: [{r.start}, {r.end}) {r.end - r.start} offsets"
        + (f", reading from {r.read_from} behind an accepted gap" if r.gap else "")
        for r in plan.ranges
    ]
    if plan.left:
        lines.append(f"  the cap leaves {plan.left} offsets for later runs")
    log.info("\n".join(lines))


def publish_positions(kafka: KafkaSettings, group_id: str, books: ReconciledBooks) -> None:
    """Show the ledger's positions as a consumer group's offsets, for tools that show lag (the end of step 20).

    Best effort: the ledger is the truth, and nothing reads these offsets back. A failure is said in the log.
    """
    try:
        with_retries("showing the positions", lambda: commit_group(kafka, group_id, books.row.topic, books.positions))
        crash_point("step-20.offsets_shown")
    except TopicLedgerError as error:
        log.warning("the offsets of group %s could not be set; only lag tools miss them: %s", group_id, error)
