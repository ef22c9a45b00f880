"""The contract in SQL, once for all warehouses that speak it: each brings only its sessions and its dialect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError
from topicledger.model.ledger import LedgerRow, LedgerSnapshot, Loaded
from topicledger.model.plan import Position
from topicledger.pipeline import Pipeline
from topicledger.warehouse.contract import Audit, Compared, LoadTransaction
from topicledger.warehouse.sql import schema
from topicledger.warehouse.sql.dialect import Dialect
from topicledger.warehouse.sql.ledger import LedgerTables
from topicledger.warehouse.sql.session import Session
from topicledger.warehouse.sql.staged_tables import StagedSql
from topicledger.warehouse.sql.tables import Table, Tables
from topicledger.warehouse.sql.transaction import SqlLoad

log = logging.getLogger(__name__)

_Row = TypeVar("_Row")


class SqlWarehouse:
    """Implements `topicledger.warehouse.contract.Warehouse`. Every call has a session of its own.

    Args:
        pipeline: Whose tables.
        dialect: The warehouse's SQL.
        connect: Opens a session; its argument says whether a database that isn't there may be created.
        access: What the user may not do with these tables; its second argument says whether missing ones are created.
        unfit: What keeps database or tables from holding and showing all that is loaded, a sentence each.
        there: Whether there is a database that could be connected to.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        dialect: Dialect,
        connect: Callable[[bool], Session],
        access: Callable[[Tables, bool], Audit],
        unfit: Callable[[Session, Tables], Iterable[str]] = lambda _session, _tables: (),
        there: Callable[[], bool] = lambda: True,
    ) -> None:
        self._pipeline = pipeline
        self._dialect = dialect
        self._connect = connect
        self._access = access
        self._unfit = unfit
        self._there = there
        self._tables = Tables(pipeline, dialect)
        self._ledger = LedgerTables(self._tables, dialect)

    @property
    def target(self) -> str:
        """The rows table's fully qualified name: `schema.table`."""
        return self._tables.target

    def ddl(self) -> str:
        """The statements that create the tables, for a DBA and for `topicledger check`."""
        return "".join(f"{statement};\n" for statement in schema.ddl(self._tables, self._dialect))

    def spelled_columns(self) -> Sequence[tuple[str, str]]:
        """The rows table's columns as this warehouse spells names and types: the pipeline's, then the engine's."""
        return self._tables.spelled(self._dialect)

    def compare_tables(self) -> Compared:
        """Compare what is there with what the pipeline declares. Creates nothing, no file and no folder either."""
        create = self._pipeline.create_tables
        if create and not self._there():
            return Compared(there=False)
        with self._reading() as session:
            schema.require_fit(self._unfit(session, self._tables))
            return schema.compare(session, self._tables, self._dialect, create=create)

    def ensure_tables(self) -> Sequence[str]:
        """Create what is missing and alter what may change (when the pipeline says so), and compare what is there."""
        create = self._pipeline.create_tables
        with closing(self._connect(create)) as session:
            session.begin()
            schema.require_fit(self._unfit(session, self._tables))
            altered = schema.ensure(session, self._tables, self._dialect, create=create)
            session.commit()
        for statement in altered:
            log.warning("the table follows its declaration: %s", statement)
        return altered

    def positions(self, topic: str) -> Sequence[Position]:
        """This target's position rows of a topic, of every topic_id that it ever had; none where no ledger is yet."""
        return self._asked(self._tables.positions, lambda session: self._ledger.positions(session, topic))

    def other_targets(self, topic: str) -> Sequence[Loaded]:
        """The other targets of the same ledger that a topic was loaded into, and by whom; none where no ledger is."""
        return self._asked(self._tables.batches, lambda session: self._ledger.other_targets(session, topic))

    def add_positions(self, positions: Sequence[Position], row: LedgerRow | None = None) -> None:
        """Step 4, in a transaction of its own: insert position rows that aren't there; leave others alone."""
        with closing(self._connect(False)) as session:
            session.begin()
            session.lock_new_positions(self._tables.version.sql)
            self._ledger.add_positions(session, positions)
            if row is not None:
                self._ledger.add_batch(session, row)
            crash_point("step-04.inside_transaction")
            session.commit()

    def set_back(self, before: Position, after: Position, row: LedgerRow) -> None:
        """Step 5, in a transaction of its own: an accepted truncation."""
        with closing(self._connect(False)) as session:
            session.begin()
            self._ledger.set_back(session, before, after)
            if not self._ledger.add_batch(session, row):
                raise IntegrityError(
                    f"batch {row.batch_id} has accepted this very truncation of {row.topic} before, and the "
                    "position moved on since: start a new run and accept it there; nothing was changed",
                    code="truncation-accepted-before",
                    topic=row.topic,
                    partition=before.partition,
                    batch_id=row.batch_id,
                )
            session.commit()

    @contextmanager
    def loading(self) -> Iterator[LoadTransaction]:
        """Open a transaction in a session of its own; roll back and close when the block ends without commit."""
        with closing(self._connect(False)) as session:
            session.begin_load()
            staged = StagedSql(self._pipeline, self._tables, self._dialect)
            yield SqlLoad(session, self._tables, self._ledger, staged)

    def snapshot(self, batch_id: str, plan_id: str) -> LedgerSnapshot:
        """Step 20: one ledger row and the whole target's books, in a single read-only snapshot."""
        with self._reading() as session:
            row = self._ledger.batch(session, batch_id, plan_id)
            return LedgerSnapshot(row, self._ledger.books(session))

    def history(self, limit: int) -> Sequence[LedgerRow]:
        """The target's newest ledger rows, newest first."""
        with self._reading() as session:
            return self._ledger.history(session, limit)

    def access(self) -> Audit:
        """What this user may not do that a run does; asked, not tried."""
        return self._access(self._tables, self._pipeline.create_tables)

    def audit(self) -> Audit:
        """Nothing to tell: rows and ledger are in one transaction, and the database keeps both."""
        return Audit()

    def close(self) -> None:
        """Do nothing: no session outlives the call that opened it."""

    def _asked(self, table: Table, ask: Callable[[Session], Sequence[_Row]]) -> Sequence[_Row]:
        """Ask the ledger, where that table of it is there."""
        if not self._there():
            return ()
        with self._reading() as session:
            return ask(session) if schema.has_table(session, table, self._dialect) else ()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with closing(self._connect(False)) as session:
            session.begin_snapshot()
            yield session
