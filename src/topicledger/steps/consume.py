"""Steps 3 to 12: everything new since the ledger, up to an end fixed before, judged and staged."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError
from topicledger.kafka.jumps import check_jumps
from topicledger.kafka.offsets import commit_group
from topicledger.kafka.topic import TopicObserver
from topicledger.model.acceptance import parse_accepted
from topicledger.model.identity import CONTRACT_VERSION
from topicledger.model.manifest import Manifest
from topicledger.model.plan import Plan, Receipt
from topicledger.model.slices import Reading
from topicledger.retries import with_retries
from topicledger.staged_files.folder import stem
from topicledger.staged_files.opened_batch import ManifestHandle
from topicledger.staged_files.root import path_in
from topicledger.staged_files.writer import removed_unless_whole, stage_manifest
from topicledger.steps.parallel_read import stage_plan
from topicledger.steps.plan import Planner
from topicledger.steps.read import Slice
from topicledger.steps.run import Run, group_id

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StagedResult:
    """What consuming leaves for the next task.

    Args:
        rows_path: The rows file, of several the first part's.
        handle: What load needs to find and verify the staged batch.
    """

    rows_path: str
    handle: ManifestHandle


def consume_batch(run: Run, receipt: Receipt | None) -> StagedResult:
    """Read everything new since the warehouse's ledger, up to an end fixed before, and stage it.

    Offsets of the run's own group are committed by hand, after staging and only then; malformed records become
    dead letters and don't hold anything up. A retry plans anew from the ledger and stages under a new name.

    Args:
        run: The run.
        receipt: What this run produced, or None when it didn't.

    Returns:
        Where the staged batch is.

    Raises:
        IntegrityError: Offsets were lost, the topic was recreated, the reader missed a record, or more of the
            batch is malformed than the pipeline's error budget allows.
        RetriableError: Broker or warehouse don't answer, or an open transaction hides records of this run.
        SettingsError: A person must fix a connection, a grant, the topic or the parameter.
    """
    accepted = parse_accepted(run.accept)
    with run.warehouse() as warehouse, TopicObserver(run.kafka, run.pipeline.topic) as observer:
        # 3 to 7
        planner = Planner(run, observer, warehouse, receipt, accepted)
        plan = planner.plan()
        _log_plan(plan)
        crash_point("step-07.planned")
        # 8 to 12
        return _read_and_stage(_Attempt(run, receipt, observer, planner), plan)


@dataclass(frozen=True, slots=True)
class _Attempt:
    run: Run
    receipt: Receipt | None
    observer: TopicObserver
    planner: Planner


def _read_and_stage(attempt: _Attempt, plan: Plan) -> StagedResult:
    run, receipt, kafka, root = attempt.run, attempt.receipt, attempt.run.kafka, attempt.run.staging
    whole = receipt if receipt is not None and receipt.inside(r.range for r in plan.ranges) else None
    group, own_stem = group_id(run), stem(run.batch_id)
    with removed_unless_whole(root, own_stem):
        # 8, 9, 11 and 12: the parts
        reading = stage_plan(Slice(kafka, root, run.pipeline, plan, group, whole, own_stem, run.registry))
        # 10
        _require_same_topic(attempt.observer, plan)
        crash_point("step-10.topic_asked_again")
        unchecked = check_jumps(kafka, plan.topic, group, reading)
        crash_point("step-10.jumps_read_again")
        reading.tally.require_within_budget(run.pipeline.error_budget)
        # 4: nothing was created before the declaration has held for the batch
        altered = attempt.planner.begin_books()
        # 12: the manifest
        manifest = _manifest(attempt, plan, reading, unchecked, altered)
        handle = stage_manifest(root, own_stem, manifest)
    crash_point("step-12.staged")
    ends = {r.partition: r.end for r in plan.ranges}
    with_retries("committing the group's offsets", lambda: commit_group(kafka, group, plan.topic, ends))
    crash_point("step-12.offsets_committed")
    rows_path = path_in(root, manifest.parts[0].rows.name)
    log.info("staged %d records at %s; dead letters by reason: %s", manifest.records, rows_path, manifest.reasons)
    if framed := reading.tally.first.get("framed"):
        log.warning("%d records aren't plain JSON: %s", manifest.reasons["framed"], framed[-1])
    return StagedResult(rows_path, handle)


def _manifest(attempt: _Attempt, plan: Plan, reading: Reading, unchecked: int, altered: tuple[str, ...]) -> Manifest:
    return Manifest(
        contract_version=CONTRACT_VERSION,
        batch_id=attempt.run.batch_id,
        plan_id=plan.plan_id,
        pipeline=attempt.run.pipeline.name,
        target=plan.target,
        run_id=attempt.run.run_id,
        topic=plan.topic,
        topic_id=plan.topic_id,
        partitions=reading.partitions,
        parts=reading.parts,
        receipt=attempt.receipt,
        acked_seen=reading.acked_seen,
        compacted=_compacted(attempt) if attempt.receipt is not None else None,
        reasons=dict(reading.tally.reasons),
        unknown_fields=reading.tally.unknown_fields,
        unchecked_jumps=unchecked,
        accepted=plan.accepted,
        left=plan.left,
        altered=altered,
    )


def _compacted(attempt: _Attempt) -> bool | None:
    return with_retries(f"asking for cleanup.policy of {attempt.run.pipeline.topic}", attempt.observer.compacted)


def _require_same_topic(observer: TopicObserver, plan: Plan) -> None:
    topic_id = with_retries(f"describing {plan.topic}", observer.topic_id)
    if topic_id != plan.topic_id:
        raise IntegrityError(
            f"topic {plan.topic} was recreated while it was read ({plan.topic_id}, now {topic_id}): nothing was staged",
            code="topic-recreated-while-reading",
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
