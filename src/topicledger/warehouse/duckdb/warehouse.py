"""DuckDB: a database file on a local disk, opened for one operation and closed after it.

Another process that has the file open makes the operation a RetriableError which names it. There is no unique
constraint and no index; key and ledger rest on anti-joins, and on writers excluding each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.errors import RetriableError, SettingsError, TopicLedgerError
from topicledger.opened_here import OpenedHere
from topicledger.pipeline import Pipeline
from topicledger.warehouse.contract import Audit, Warehouse
from topicledger.warehouse.duckdb.errors import commit_failed, failed, out_of_memory
from topicledger.warehouse.sql.dialect import DUCKDB, quoted
from topicledger.warehouse.sql.session import WritingSession
from topicledger.warehouse.sql.staged_batches import StagedBatches, not_parsed
from topicledger.warehouse.sql.tables import Tables
from topicledger.warehouse.sql.warehouse import SqlWarehouse
from topicledger.warehouse.writable import refusal

log = logging.getLogger(__name__)

# DuckDB refuses a second connection of this process to the same file with other options.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "false",
}
_EXTRA = ("memory_limit",)
"""What the connection's Extra may change. DuckDB spills beside the file what doesn't fit."""

# Without a limit in the Extra. Each further thread would need its share of it.
_UNSAID = {"memory_limit": "1GB", "threads": "2"}
_LEAST_BYTES = 96_000_000
_MOST_BYTES = 1_000_000_000

VECTOR_ROWS = 2_048
"""DuckDB handles so many rows at a time."""


class Memory:
    """The least that DuckDB may use, where the connection's Extra has no limit; it grows when that wasn't enough.

    It is one warehouse's, of all its sessions: what a session has failed for the next one has.
    """

    def __init__(self) -> None:
        self.least_bytes = _LEAST_BYTES


def duckdb_file(settings: Connection, pipeline: Pipeline) -> Warehouse:
    """The pipeline's tables in a DuckDB file. Nothing is opened yet.

    Raises:
        SettingsError: The connection names no file on a local disk.
    """
    name = settings.host or settings.schema
    if not name or "://" in name or name.startswith((":memory:", "md:")):
        raise SettingsError(
            f"connection {settings.conn_id}: its host is {name!r}; use the path of a DuckDB file on a local disk",
            code="duckdb-host-invalid",
        )
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise SettingsError(
            f"connection {settings.conn_id}: {name} is a relative path, use an absolute one",
            code="duckdb-path-relative",
        )
    require_schema(settings, pipeline, path.stem)
    # A field of the connection's form that was left empty is stored as one without a value.
    settings = replace(settings, extra={key: value for key, value in settings.extra.items() if value})
    settings.require_known(_EXTRA, "DuckDB")

    def asked(_tables: Tables, _create: bool) -> Audit:
        # The log that DuckDB writes ahead lies beside the file.
        said = refusal(path) or refusal(path.parent)
        return Audit(problems=(said,) if said else ())

    memory = Memory()

    def connect(create: bool) -> DuckdbSession:
        return DuckdbSession(settings, path, memory, create=create)

    return SqlWarehouse(pipeline, DUCKDB, connect, asked, there=path.exists)


def require_schema(settings: Connection, pipeline: Pipeline, database: str = "temp") -> None:
    """Do nothing where DuckDB can tell the table's schema from its databases.

    Raises:
        SettingsError: `x.y` could be the table y of a database x as well.
    """
    schema = pipeline.table.lower().rpartition(".")[0]
    if schema != DUCKDB.default_schema and schema in ("temp", "system", database.lower()):
        raise SettingsError(
            f"connection {settings.conn_id}: the table {pipeline.table} is in a schema that DuckDB can't tell from its "
            f"database {schema}: give the schema another name, or the file where it is the file's",
            code="duckdb-schema-ambiguous",
        )


class DuckdbSession(WritingSession):
    """Implements `topicledger.warehouse.sql.session.Session` over one connection to one file."""

    def __init__(self, settings: Connection, path: Path, memory: Memory | None = None, *, create: bool) -> None:
        self._settings = settings
        self._path = path
        self._memory = memory or Memory()
        self._limit_bytes = 0
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise SettingsError(
                    f"connection {settings.conn_id}: there is no DuckDB file {path}; the first run creates it, "
                    "where the pipeline declares create_tables=True",
                    code="duckdb-file-missing",
                )
            connection = duckdb.connect(str(path), config={**_CONFIG, **(settings.extra or _UNSAID)})
        except (duckdb.Error, OSError) as error:
            raise failed(error, settings, path) from error
        self._opened = OpenedHere(f"DuckDB file {path}", connection)
        # From here on, not before: opening the file may have to replay a log that a kill left.
        self._allow(longest_bytes=0)

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return self._opened.get()

    def begin(self) -> None:
        """Open a transaction; every transaction of DuckDB sees one state, that at its beginning."""
        self._set("lock_configuration = true")
        self.execute("BEGIN TRANSACTION")

    def begin_snapshot(self) -> None:
        """Open a transaction that reads one state."""
        self.begin()

    def label(self, batch_id: str) -> None:
        """Do nothing: there is no server that would show it."""

    def lock_creation(self) -> None:
        """Do nothing: of two that create the same table, one conflicts."""

    def lock(self, positions_table: str, target: str) -> None:
        """Begin the transaction and write the target's position rows, so that another thread conflicts."""
        self.begin()
        self.touch(positions_table, "generation", " WHERE target = ?", (target,))

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with self._translated():
            return self._connection.execute(sql, values or None).fetchall()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement and return how many rows it wrote."""
        rows = self.query(sql, values)
        return int(rows[0][0]) if rows else 0

    def copy(self, table: str, columns: Sequence[Column], stream: BinaryIO, block_bytes: int) -> None:
        """Copy a staged stream to its end, as Arrow's batches, block by block."""
        self._allow(block_bytes)
        batches: StagedBatches | None = None
        picked = ", ".join(map(_picked, columns))
        try:
            batches = StagedBatches(stream, columns, block_bytes)
            self._connection.register("topicledger_staged_batches", batches.reader())
            self._connection.execute(f"INSERT INTO {table} SELECT {picked} FROM topicledger_staged_batches")  # noqa: S608 - quoted names
            self._connection.unregister("topicledger_staged_batches")
        except (duckdb.Error, pa.ArrowException) as error:
            cause = (batches and batches.failure) or error
            if isinstance(cause, pa.ArrowException):
                raise not_parsed(cause, table) from cause
            if isinstance(cause, duckdb.Error):
                raise self._failed(cause) from cause
            raise cause from None

    def commit(self, then: Callable[[], None] | None = None) -> None:
        """Commit, then write the log into the file, so that readers find one file that is complete."""
        try:
            self._connection.execute("COMMIT")
        except duckdb.Error as error:
            self._failed(error)
            raise commit_failed(error, self._settings, self._path) from error
        if then is not None:
            then()
        try:
            self._connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            # Committed is committed: the write-ahead log holds it, and the next one to close checkpoints.
            log.info("DuckDB put the checkpoint of %s off: %s", self._path, error)

    def close(self) -> None:
        """Roll back what is open, then close the file."""
        # SettingsError: in a fork it is the parent's, which goes on with it.
        with suppress(duckdb.Error, SettingsError):
            self._connection.execute("ROLLBACK")
        with suppress(duckdb.Error, SettingsError):
            self._connection.close()

    def _allow(self, longest_bytes: int) -> None:
        """Limit the memory to what a batch with so long a record needs, where the Extra doesn't.

        DuckDB handles so many rows at a time and holds all their texts at once (docs/decisions/0025).
        """
        wanted = min(self._memory.least_bytes + VECTOR_ROWS * longest_bytes, _MOST_BYTES)
        if not self._settings.extra and wanted > self._limit_bytes:
            self._limit_bytes = wanted
            self._set(f"memory_limit = '{wanted}B'")

    def _set(self, setting: str) -> None:
        # Refused where another thread of this process has the same file in a transaction: its settings hold for both.
        with suppress(duckdb.InvalidInputException):
            self._connection.execute(f"SET {setting}")

    def _failed(self, error: duckdb.Error) -> TopicLedgerError:
        if out_of_memory(error) and 0 < self._limit_bytes < _MOST_BYTES:
            self._memory.least_bytes = _MOST_BYTES
            return RetriableError(
                f"connection {self._settings.conn_id}: DuckDB needs more than the {self._limit_bytes:,} bytes that it "
                f"began with. Nothing was changed; a repeat may use {_MOST_BYTES:,}",
                code="duckdb-memory-grows",
            )
        return failed(error, self._settings, self._path)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise self._failed(error) from error


def _picked(column: Column) -> str:
    name = quoted(column.name)
    return f"unhex({name}[3:])" if column.type == "bytes" else f"CAST({name} AS {DUCKDB.type_of(column.type)})"
