"""The contract over files: Parquet in a store, which exists only through the log beside it. S3, or a local folder.

A batch's files are written first, under names made of their content. Creating the next entry of the log, if nobody
else has, is the commit: of files, dead letters, positions and ledger row together. Keys that earlier batches loaded
aren't looked for: `duplicates` are those within the batch, and a view shows the first of each key, or all without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.ledger import LedgerRow, LedgerSnapshot, Loaded
from topicledger.model.plan import Position
from topicledger.pipeline import Pipeline
from topicledger.private_folder import private_folder
from topicledger.warehouse.contract import Audit, Compared, LoadTransaction
from topicledger.warehouse.duckdb.warehouse import Memory, require_schema
from topicledger.warehouse.lake import views as lake_views
from topicledger.warehouse.lake.audit import audit
from topicledger.warehouse.lake.load import LakeLoad
from topicledger.warehouse.lake.log import Log, targets
from topicledger.warehouse.lake.log_entry import LogEntry, LoggedColumn
from topicledger.warehouse.lake.parquet import write_files
from topicledger.warehouse.lake.scratch import SCRATCH, opened_scratch
from topicledger.warehouse.lake.store import Store
from topicledger.warehouse.sql.dialect import DUCKDB
from topicledger.warehouse.sql.tables import FoundColumn, Tables, require_columns


class Lake:
    """Implements `topicledger.warehouse.contract.Warehouse`.

    Args:
        settings: The connection.
        store: Where files and log lie.
        pipeline: Whose.

    Raises:
        SettingsError: The table's schema can't be one in DuckDB, which counts a load.
    """

    def __init__(self, settings: Connection, store: Store, pipeline: Pipeline) -> None:
        require_schema(settings, pipeline)
        self._settings = settings
        self._store = store
        self._pipeline = pipeline
        self._tables = Tables(pipeline, DUCKDB)
        self._log = Log(store, self._tables.target)
        self._folders = lake_views.folders(self._tables)
        self._memory = Memory()

    @property
    def target(self) -> str:
        """The rows' fully qualified name: `schema.table`."""
        return self._tables.target

    def ddl(self) -> str:
        """The statements that make views of the files in a DuckDB: there is nothing to be created for a load."""
        return "".join(f"{s};\n" for s in lake_views.ddl(self._store.location, self._tables))

    def spelled_columns(self) -> Sequence[tuple[str, str]]:
        """The columns as the views spell names and types: the pipeline's, then the engine's."""
        return self._tables.spelled(DUCKDB)

    def compare_tables(self) -> Compared:
        """Compare the log's columns with what the pipeline declares, where there is a log. Creates nothing."""
        tip = self._log.tip()
        if tip is not None:
            self._log.require_conditions(tip)
            return Compared(there=True, alterations=_changes(tip.columns, self._columns(tip)))
        if not self._pipeline.create_tables:
            raise SettingsError(
                f"the pipeline declares create_tables=False and there is no ledger at {self._log.where}: correct "
                "the connection's bucket, prefix or path, or let one run create it",
                code="ledger-missing",
            )
        return Compared(there=False)

    def ensure_tables(self) -> Sequence[str]:
        """Begin the log (when the pipeline says so), compare its columns, and see that the store keeps its word.

        Columns that change do so with the entry of the next load.
        """
        compared = self.compare_tables()
        if not compared.there:
            tip = self._create()
            self._columns(tip)
            self._log.require_conditions(tip)
        return compared.alterations

    def positions(self, topic: str) -> Sequence[Position]:
        """This target's positions of a topic, of every topic_id that it ever had; none where no log is yet."""
        tip = self._log.tip()
        return tuple(p for p in tip.positions if p.topic == topic) if tip else ()

    def other_targets(self, topic: str) -> Sequence[Loaded]:
        """The other targets beside this one's log that a topic was loaded into, and by whom."""
        found = []
        for log in (Log(self._store, target) for target in targets(self._store) if target != self.target):
            entries = log.backwards(log.require_tip())
            row = next((entry.row for entry in entries if entry.row is not None), None)
            if row is not None and row.topic == topic:
                found.append(Loaded(row.pipeline, row.target))
        return found

    def add_positions(self, positions: Sequence[Position], row: LedgerRow | None = None) -> None:
        """Step 4, an entry of its own: add positions that aren't there; leave others alone."""
        tip = self._log.require_tip()
        there = {(p.topic_id, p.partition) for p in tip.positions}
        added = [p for p in positions if (p.topic_id, p.partition) not in there]
        if row is not None and self._log.find(tip, row.batch_id, row.plan_id) is not None:
            row = None
        if added or row is not None:
            self._log.append(self._log.extended(tip, positions=added, row=row))

    def set_back(self, before: Position, after: Position, row: LedgerRow) -> None:
        """Step 5, an entry of its own: an accepted truncation."""
        tip = self._log.require_tip()
        if before not in tip.positions:
            raise RetriableError(
                f"partition {before.partition} of {before.topic} moved on from position {before.position} "
                "while its truncation was being accepted: plan again",
                code="truncation-raced",
                topic=before.topic,
                partition=before.partition,
            )
        if self._log.find(tip, row.batch_id, row.plan_id) is not None:
            raise IntegrityError(
                f"batch {row.batch_id} has accepted this very truncation of {row.topic} before, and the "
                "position moved on since: start a new run and accept it there; nothing was changed",
                code="truncation-accepted-before",
                topic=row.topic,
                partition=before.partition,
                batch_id=row.batch_id,
            )
        self._log.append(self._log.extended(tip, positions=[after], row=row))

    @contextmanager
    def loading(self) -> Iterator[LoadTransaction]:
        """Open a scratch database for a load; what the block leaves without commit isn't in the log."""
        with opened_scratch(self._settings, self._tables, self._memory) as scratch:
            yield LakeLoad(self._pipeline, self._tables, scratch, self._store, self._log, self._columns)

    def snapshot(self, batch_id: str, plan_id: str) -> LedgerSnapshot:
        """Step 20: one ledger row and the whole target's books, as of one entry."""
        tip = self._log.require_tip()
        return LedgerSnapshot(self._log.find(tip, batch_id, plan_id), tip.books)

    def history(self, limit: int) -> Sequence[LedgerRow]:
        """The target's newest ledger rows, newest first; it reads no more entries than it needs."""
        entries = self._log.backwards(self._log.require_tip())
        return tuple(islice((entry.row for entry in entries if entry.row is not None), limit))

    def access(self) -> Audit:
        """What this user may not write there. Of a log that is there `ensure_tables` asks more than this can."""
        return self._store.access([*self._folders.values(), self._log.folder])

    def audit(self) -> Audit:
        """Read every entry and list every file: orphans, lost files, and totals that don't add up."""
        return audit(self._store, self._log, self._log.require_tip(), self._folders)

    def close(self) -> None:
        """Do nothing: no call leaves a lock, a transaction or a file open."""

    def _columns(self, tip: LogEntry) -> tuple[LoggedColumn, ...]:
        """The log's columns as the declaration has them: some may be added, or get nullable.

        Files that are there keep their columns, so that none gets another type.

        Raises:
            IntegrityError: A column has another type or nullability, or one that isn't nullable was added or dropped.
        """
        nullable = {c.name: LoggedColumn(c.name, c.type, c.nullable) for c in self._tables.rows.columns if c.nullable}
        after = {c.name: LoggedColumn(c.name, c.type, c.nullable or c.name in nullable) for c in tip.columns}
        after |= {name: column for name, column in nullable.items() if name not in after}
        found = {c.name: FoundColumn(DUCKDB.type_of(c.type), c.nullable, has_default=False) for c in after.values()}
        require_columns(self._tables.rows, found, DUCKDB)
        return tuple(after.values())

    def _create(self) -> LogEntry:
        """Begin the log with empty files, so that readers find columns before the first row."""
        columns = tuple(LoggedColumn(c.name, c.type, c.nullable) for c in self._tables.rows.columns)
        files = []
        with private_folder(SCRATCH) as folder:
            for kind, table in (("rows", self._tables.rows), ("dead_letters", self._tables.dead_letters)):
                for file in write_files((), table.columns, kind, folder, empty=True):
                    self._store.upload(f"{self._folders[kind]}/{file.entry.name}", file.path)
                    files.append(file.entry)
        return self._log.create(columns, tuple(files))


def _changes(before: Sequence[LoggedColumn], after: Sequence[LoggedColumn]) -> tuple[str, ...]:
    """How columns differ, in words: a log has no statements."""
    known = {column.name: column for column in before}
    return tuple(
        f"column {c.name} may be NULL" if c.name in known else f"column {c.name} ({c.type}) is added"
        for c in after
        if known.get(c.name) != c
    )
