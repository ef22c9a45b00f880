"""One load's transaction, in the order of steps 13 to 19, over any session."""

from __future__ import annotations

from collections.abc import Sequence

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError
from topicledger.model.accounts import AppliedCounts, PartitionBooks, StagedCounts
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Manifest
from topicledger.model.plan import OffsetRange, Position
from topicledger.warehouse.contract import StagedStreams
from topicledger.warehouse.sql.ledger import LedgerTables
from topicledger.warehouse.sql.refused_rows import RefusedRecord
from topicledger.warehouse.sql.session import Session
from topicledger.warehouse.sql.staged_tables import StagedSql
from topicledger.warehouse.sql.tables import Tables


class SqlLoad:
    """Implements `topicledger.warehouse.contract.LoadTransaction` in SQL."""

    def __init__(self, session: Session, tables: Tables, ledger: LedgerTables, staged: StagedSql) -> None:
        self._session = session
        self._tables = tables
        self._ledger = ledger
        self._staged = staged
        self._counted: tuple[tuple[OffsetRange, ...], StagedCounts] | None = None
        self._search: RefusedRecord | None = None

    def copy_staged(self, manifest: Manifest, parts: Sequence[StagedStreams]) -> None:
        """Step 13: copy the staged files into temporary tables of this session."""
        self._session.label(manifest.batch_id)
        for statement in self._staged.create():
            self._session.execute(statement)
        staged = self._staged
        for part, streams in zip(manifest.parts, parts, strict=True):
            for table, stream, file in (
                (staged.rows, streams.rows, part.rows),
                (staged.dead_letters, streams.dead_letters, part.dead_letters),
                (staged.tombstones, streams.tombstones, part.tombstones),
                (staged.jumps, streams.jumps, part.jumps),
            ):
                self._session.copy(table.sql, table.columns, stream, file.block_bytes)
        self._tell_planner(staged.statistics_of_rows())

    def lock_positions(self) -> Sequence[Position]:
        """Step 14: lock the target's position rows, then read them with a statement of its own."""
        self._session.lock(self._tables.positions.sql, self._tables.target)
        return self._ledger.positions(self._session)

    def find_batch(self, batch_id: str, plan_id: str) -> LedgerRow | None:
        """Step 15: the ledger row of this plan of this run, when it was loaded already."""
        return self._ledger.batch(self._session, batch_id, plan_id)

    def count_staged(self, planned: Sequence[OffsetRange]) -> StagedCounts:
        """I2: recount the temporary tables."""
        counts = StagedCounts(*self._numbers(self._staged.count_staged(planned)))
        self._counted = (tuple(planned), counts)
        return counts

    def apply(self, manifest: Manifest, applied: Sequence[OffsetRange]) -> AppliedCounts:
        """Steps 17 and 18: insert what lies inside `applied`; count everything, each term on its own."""
        session, staged = self._session, self._staged
        clip = () if self._all_inside(applied) else staged.clip(applied)
        already_loaded = sum(session.execute(statement) for statement in clip)
        crash_point("step-17.clipped")
        skip = staged.skip_rows(manifest.rows)
        for statement in skip:
            session.execute(statement)
        session.savepoint()
        own = (manifest.batch_id, manifest.topic_id)
        self._search = search = RefusedRecord(session, staged, manifest, applied, (*clip, *skip))
        try:
            loaded = session.execute(staged.insert_rows(), own)
            dead_letters = session.execute(staged.insert_dead_letters(), own)
        except IntegrityError as refused:
            raise search.located(refused) from refused
        crash_point("step-18.inserted")
        # Where every staged row was inserted there is none to look for.
        if loaded != manifest.rows:
            for statement in staged.collect_duplicates(manifest.rows):
                session.execute(statement, (manifest.topic_id, manifest.batch_id))
        (duplicates,) = self._numbers(staged.count_duplicates())
        conflicts = self._conflicts() if duplicates else 0
        (tombstones,) = self._numbers(staged.count_tombstones())
        gap, invisible = self._numbers(staged.count_jumps(applied))
        return AppliedCounts(
            already_loaded=already_loaded,
            loaded=loaded,
            duplicates=duplicates,
            conflicts=conflicts,
            dead_letters=dead_letters,
            tombstones=tombstones,
            gap=gap,
            invisible=invisible,
        )

    def advance(self, positions: Sequence[Position], row: LedgerRow) -> None:
        """Step 19: set these position rows and insert the ledger row; then check what is deferred to the commit."""
        self._write(positions, row)
        try:
            self._session.check_deferred()
        except IntegrityError as refused:
            assert self._search is not None  # noqa: S101 - apply() comes first; this is for the type checker
            raise self._search.located(refused, lambda: self._check_at_once(positions, row)) from refused

    def applied_sums(self) -> Sequence[PartitionBooks]:
        """I4: the target's books as this transaction sees them."""
        return self._ledger.books(self._session)

    def commit(self) -> None:
        """Commit, durably; what raises here leaves it unknown whether the rows are there, or says that they aren't."""
        self._session.commit(then=lambda: crash_point("step-19.committed"))

    def _write(self, positions: Sequence[Position], row: LedgerRow) -> None:
        self._ledger.advance(self._session, positions)
        if not self._ledger.add_batch(self._session, row):
            raise IntegrityError(
                f"the ledger of {row.target} already has batch {row.batch_id} with plan {row.plan_id}; "
                "nothing was committed",
                code="batch-in-ledger-already",
                batch_id=row.batch_id,
            )

    def _check_at_once(self, positions: Sequence[Position], row: LedgerRow) -> None:
        """Have each insert that follows checked at its end; the ledger is there by then, as it is at the commit."""
        self._write(positions, row)
        self._session.check_deferred()

    def _all_inside(self, applied: Sequence[OffsetRange]) -> bool:
        """Whether the plan is applied as a whole, and the recount found nothing outside it."""
        planned, counts = self._counted or (None, None)
        return planned == tuple(applied) and counts is not None and counts.outside_plan == 0

    def _conflicts(self) -> int:
        self._tell_planner(self._staged.statistics_of_duplicates())
        return self._numbers(self._staged.count_conflicts())[0]

    def _tell_planner(self, statement: str) -> None:
        if statement:
            self._session.execute(statement)

    def _numbers(self, sql: str) -> tuple[int, ...]:
        return tuple(int(number) for number in self._session.query(sql)[0])
