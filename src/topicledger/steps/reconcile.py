"""Step 20: the books once more, from the warehouse alone, in one snapshot."""

from __future__ import annotations

import logging

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError, TopicLedgerError
from topicledger.kafka.offsets import commit_group
from topicledger.model.accounts import Accounts, AppliedCounts, Books, StagedCounts, identities
from topicledger.model.ledger import LedgerRow, LedgerSnapshot, ReconciledBooks
from topicledger.model.manifest import Manifest
from topicledger.retries import with_retries
from topicledger.steps.run import Run

log = logging.getLogger(__name__)


def reconcile(run: Run, plan_id: str | None) -> ReconciledBooks:
    """Repeat every identity for this batch and for the whole target.

    The terms come from the ledger row that the load committed and from the positions as they are now: another
    run may have loaded since, which moves both sides of I4 alike. It only reads; a repeat gives the same.

    Args:
        run: The run.
        plan_id: As the load pushed it.

    Returns:
        The books, whether they close or not: `require_closed` stops where they don't.

    Raises:
        IntegrityError: The ledger doesn't have the batch, or the plan's id didn't come by XCom.
        RetriableError: The warehouse isn't reachable.
    """
    batch_id = run.batch_id
    if plan_id is None:
        raise IntegrityError(
            f"the load task's XCom `plan_id` of batch {batch_id} is missing: what is loaded the load finds in "
            "the ledger",
            code="plan-id-xcom-missing",
            repeat="load",
            batch_id=batch_id,
        )
    with run.warehouse() as warehouse:
        target = warehouse.target
        snapshot = with_retries("reading the ledger", lambda: warehouse.snapshot(batch_id, plan_id))
    crash_point("step-20.snapshot_read")
    row = snapshot.row
    if row is None or row.accounts is None or not isinstance(row.manifest, Manifest):
        raise IntegrityError(
            f"the ledger of {target} has no batch {batch_id} with plan {plan_id}: the load said that it "
            "committed it, so the warehouse was restored or its ledger was changed",
            code="batch-not-in-ledger",
            repeat="run",
            batch_id=batch_id,
        )
    found = identities(_books(row, row.manifest, row.accounts, snapshot))
    return ReconciledBooks(row, snapshot.partitions, found)


def show_positions(run: Run, books: ReconciledBooks) -> None:
    """Show the ledger's positions as the offsets of a consumer group with the pipeline's name, for tools that show lag.

    Best effort: the ledger is the truth, and nothing reads these offsets back. A failure is said in the log.
    """
    group = run.pipeline.name
    try:
        with_retries("showing the positions", lambda: commit_group(run.kafka, group, books.row.topic, books.positions))
        crash_point("step-20.offsets_shown")
    except TopicLedgerError as error:
        log.warning("the offsets of group %s could not be set; only lag tools miss them: %s", group, error)


def _books(row: LedgerRow, manifest: Manifest, accounts: Accounts, snapshot: LedgerSnapshot) -> Books:
    return Books(
        manifest=manifest,
        receipt=row.receipt,
        staged=StagedCounts(
            rows=manifest.rows,
            dead_letters=manifest.dead_letters,
            tombstones=manifest.tombstones,
            distinct_coordinates=None,
            outside_plan=None,
        ),
        applied_ranges=row.applied,
        applied=AppliedCounts(
            already_loaded=accounts.already_loaded,
            loaded=accounts.loaded,
            duplicates=accounts.duplicates,
            conflicts=accounts.conflicts,
            dead_letters=accounts.dead_letters,
            tombstones=accounts.tombstones,
            gap=accounts.gap,
            invisible=accounts.invisible,
        ),
        ledger=snapshot.partitions,
    )
