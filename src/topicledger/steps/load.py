"""Steps 13 to 19: a staged batch into the warehouse, with its ledger row, all or nothing. Never contacts Kafka."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError
from topicledger.model.accounts import AppliedCounts, Books, accounts_of, identities, require_closed
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Manifest, StagedPartition
from topicledger.model.plan import OffsetRange, Position
from topicledger.retries import with_retries
from topicledger.staged_files.opened_batch import ManifestHandle, OpenedBatch, open_batch, received_handle
from topicledger.staged_files.root import StagingRoot
from topicledger.steps.run import Run
from topicledger.warehouse.contract import StagedStreams, Warehouse

log = logging.getLogger(__name__)


def load_batch(run: Run, rows_path: str | None, pushed: Mapping[str, str] | None) -> LedgerRow:
    """Load a staged batch exactly once, whatever happened before.

    Repeating it, in the same run or another, at the same time or later, changes nothing: what the ledger covers
    is counted as already loaded, and a batch that is in the ledger gives its stored row.

    Args:
        run: The run.
        rows_path: The staged CSV's path, as the consume task pushed it.
        pushed: The manifest's handle, as the consume task pushed it.

    Returns:
        The ledger row, with the accounts that closed.

    Raises:
        IntegrityError: The files aren't what was staged, no longer fit the ledger, or the books don't close.
        RetriableError: The warehouse isn't reachable, or is busy; tried a few times before.
        SettingsError: A person must fix a grant, a setting or the handle.
    """
    handle, root = received_handle(run.batch_id, rows_path, pushed), run.staging
    # Each attempt is a new session from step 13 on: after an ambiguous commit, step 15 finds the truth. A warehouse
    # may have learned from the first, which may have been long.
    with run.warehouse() as warehouse:
        return with_retries("loading", lambda: _attempt(warehouse, root, handle), at_least=2)


def _attempt(warehouse: Warehouse, root: StagingRoot, handle: ManifestHandle) -> LedgerRow:
    warehouse.ensure_tables()
    try:
        with open_batch(root, handle) as opened:
            return _load(warehouse, handle, opened)
    except FileNotFoundError as error:
        return _without_files(warehouse, root, handle, str(error.filename))


def _require_target(manifest: Manifest, warehouse: Warehouse) -> None:
    if manifest.target != warehouse.target:
        raise IntegrityError(
            f"batch {manifest.batch_id} was staged for {manifest.target}, the warehouse's table is {warehouse.target}: "
            "the connection or the pipeline changed between two tasks",
            code="target-differs",
            repeat="consume",
            batch_id=manifest.batch_id,
        )


def _load(warehouse: Warehouse, handle: ManifestHandle, opened: OpenedBatch) -> LedgerRow:
    manifest = opened.manifest
    _require_target(manifest, warehouse)
    with warehouse.loading() as transaction:
        # 13: the very bytes that are copied are hashed
        transaction.copy_staged(manifest, [StagedStreams(*part) for part in opened.parts])
        crash_point("step-13.copied")
        opened.verify()
        crash_point("step-13.verified")
        # 14: lock, then read
        positions = _positions_of(manifest, transaction.lock_positions())
        crash_point("step-14.locked")
        # 15: loaded already?
        found = transaction.find_batch(handle.batch_id, handle.plan_id)
        if found is not None:
            log.info("batch %s, plan %s is in the ledger already: nothing to do", handle.batch_id, handle.plan_id)
            return found
        crash_point("step-15.not_there_yet")
        # 16: do the staged files still fit the ledger?
        for partition in manifest.partitions:
            _require_fit(partition, positions[partition.partition])
        crash_point("step-16.fits")
        # 17 and 18
        staged = transaction.count_staged([p.range for p in manifest.partitions])
        applied = applied_ranges(manifest.partitions, positions)
        counts = transaction.apply(manifest, applied)
        # 19
        row = _ledger_row(manifest, handle, applied, counts)
        transaction.advance(_advanced(manifest, positions), row)
        crash_point("step-19.written")
        ledger = tuple(transaction.applied_sums())
        books = Books(manifest, manifest.receipt, staged, applied, counts, ledger)
        require_closed(identities(books), manifest.batch_id)
        crash_point("step-19.closed")
        transaction.commit()
        return row


def _ledger_row(
    manifest: Manifest, handle: ManifestHandle, applied: tuple[OffsetRange, ...], counts: AppliedCounts
) -> LedgerRow:
    return LedgerRow(
        batch_id=manifest.batch_id,
        plan_id=manifest.plan_id,
        pipeline=manifest.pipeline,
        target=manifest.target,
        run_id=manifest.run_id,
        topic=manifest.topic,
        topic_id=manifest.topic_id,
        planned=tuple(p.range for p in manifest.partitions),
        applied=applied,
        manifest=manifest,
        receipt=manifest.receipt,
        accounts=accounts_of(manifest, counts, manifest.receipt),
        sha256=handle.sha256,
    )


def applied_ranges(partitions: Sequence[StagedPartition], positions: dict[int, Position]) -> tuple[OffsetRange, ...]:
    """Step 17: [min(end, max(start, position)), end) per partition: what the ledger doesn't cover yet."""
    return tuple(
        OffsetRange(p.partition, min(p.end, max(p.start, positions[p.partition].position)), p.end) for p in partitions
    )


def _positions_of(manifest: Manifest, locked: Sequence[Position]) -> dict[int, Position]:
    positions = {p.partition: p for p in locked if p.topic_id == manifest.topic_id}
    missing = [p.partition for p in manifest.partitions if p.partition not in positions]
    if missing:
        raise IntegrityError(
            f"the ledger of {manifest.target} has no position for partitions {missing} of {manifest.topic} "
            f"({manifest.topic_id}): it was restored or made anew after planning",
            code="positions-missing",
            repeat="consume",
            topic=manifest.topic,
            partition=missing[0],
            batch_id=manifest.batch_id,
        )
    return positions


def _require_fit(staged: StagedPartition, ledger: Position) -> None:
    """Step 16: the ledger that was planned from and the one that is loaded into must be the same story."""
    wrong = None
    if ledger.generation != staged.generation:
        wrong = (
            f"the ledger is at generation {ledger.generation}, planned was with {staged.generation}: it was set back"
        )
    elif staged.start > ledger.position:
        wrong = f"planned from {staged.start}, the ledger is at {ledger.position}: the warehouse went back"
    elif staged.start < ledger.origin:
        wrong = f"planned from {staged.start}, the ledger begins at {ledger.origin}: it was made anew"
    elif ledger.position <= staged.end and ledger.leader_epoch is not None:
        lower, upper = staged.epoch_bounds(ledger.position)
        epoch = ledger.leader_epoch
        if (lower is not None and epoch < lower) or (upper is not None and epoch > upper):
            wrong = (
                f"at offset {ledger.position} the ledger has leader epoch {epoch}, the staged records "
                f"between {lower} and "
                f"{upper}: the log was truncated between the two reads"
            )
    if wrong is not None:
        raise IntegrityError(
            f"partition {staged.partition}: {wrong}. Nothing was loaded",
            code="ledger-disagrees",
            repeat="consume",
            partition=staged.partition,
            offset=staged.start,
        )


def _advanced(manifest: Manifest, positions: dict[int, Position]) -> list[Position]:
    """Step 19: positions only ever grow here, and take the staged epoch only where they do."""
    advanced = []
    for staged in manifest.partitions:
        ledger = positions[staged.partition]
        if staged.end > ledger.position:
            advanced.append(
                Position(
                    ledger.topic,
                    ledger.topic_id,
                    ledger.partition,
                    origin=ledger.origin,
                    position=staged.end,
                    leader_epoch=staged.end_epoch,
                    generation=ledger.generation,
                )
            )
    return advanced


def _without_files(warehouse: Warehouse, root: StagingRoot, handle: ManifestHandle, missing: str) -> LedgerRow:
    """Step 13, the file is gone: after a cleanup the ledger still knows whether the batch was loaded."""
    with warehouse.loading() as transaction:
        transaction.lock_positions()
        found = transaction.find_batch(handle.batch_id, handle.plan_id)
    if found is None:
        raise IntegrityError(
            f"the staged file {missing} of batch {handle.batch_id} is gone and the ledger doesn't have its plan "
            f"{handle.plan_id}: it was cleaned up before it was loaded, {root.missing} staged it",
            code="staged-files-gone",
            repeat="consume",
            batch_id=handle.batch_id,
        )
    log.info("batch %s was loaded before its files were cleaned up: nothing to do", handle.batch_id)
    return found
