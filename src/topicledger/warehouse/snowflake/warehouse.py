"""Snowflake by its own connector. It has been tried with an emulator alone, never on a real account.

Snowflake has no lock that is held by reading, no isolation above READ COMMITTED and no enforced key, and DDL commits.
So temporary tables are filled before the transaction; its first statement updates the target's position rows, on
which the next loader's update waits; what is read after that is what others have committed by then.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO

import snowflake.connector
from snowflake.connector.errors import Error

from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.opened_here import OpenedHere
from topicledger.pipeline import Pipeline
from topicledger.private_folder import private_folder
from topicledger.warehouse.contract import Audit, Warehouse
from topicledger.warehouse.snowflake.connection import arguments, checked_extra
from topicledger.warehouse.snowflake.errors import commit_failed, connecting_failed, failed
from topicledger.warehouse.snowflake.files import copy_into, parts
from topicledger.warehouse.sql.dialect import SNOWFLAKE
from topicledger.warehouse.sql.session import WritingSession
from topicledger.warehouse.sql.tables import Tables
from topicledger.warehouse.sql.warehouse import SqlWarehouse

_FOLDER = "topicledger_snowflake_"
_LOADED = 3
"""Which column of COPY's answer has the number of rows that were loaded."""


def snowflake_account(settings: Connection, pipeline: Pipeline) -> Warehouse:
    """The pipeline's tables in a database of a Snowflake account. Nothing is connected to yet.

    Raises:
        SettingsError: A field can't work.
    """
    extra = checked_extra(settings)
    dialect = replace(SNOWFLAKE, default_schema=settings.schema or SNOWFLAKE.default_schema)
    schema = Tables(pipeline, dialect).schema

    def connect(_create: bool) -> SnowflakeSession:
        return SnowflakeSession(settings, lambda: arguments(settings, extra, schema))

    def asked(_tables: Tables, _create: bool) -> Audit:
        return Audit(
            notes=(
                "the grants in Snowflake weren't looked at: docs/warehouses/snowflake.md lists those that are needed",
            )
        )

    return SqlWarehouse(pipeline, dialect, connect, asked)


class SnowflakeSession(WritingSession):
    """Implements `topicledger.warehouse.sql.session.Session` over one session.

    Args:
        settings: The connection, for messages.
        given: What the connector is opened with.
    """

    def __init__(self, settings: Connection, given: Callable[[], dict[str, Any]]) -> None:
        self._settings = settings
        self._transaction: str | None = None
        self._stage = ""
        self._copies = 0
        try:
            connection = snowflake.connector.connect(**given())
        except Error as error:
            raise connecting_failed(error, settings) from error
        self._opened = OpenedHere(f"the session of connection {settings.conn_id}", connection)

    @property
    def _connection(self) -> snowflake.connector.SnowflakeConnection:
        return self._opened.get()

    def begin(self) -> None:
        """Open a transaction that writes; each statement sees what is committed by then."""
        self.execute("BEGIN TRANSACTION")
        self._transaction = self._current_transaction()

    def begin_snapshot(self) -> None:
        """Do nothing: there are no snapshots of several statements.

        A ledger row is read before the books, and no row is ever deleted: books have what a row says that was seen.
        """

    def label(self, batch_id: str) -> None:
        """Give all statements that follow a query tag with the batch in it."""
        self.execute(f"ALTER SESSION SET QUERY_TAG = 'topicledger {batch_id}'")

    def lock_creation(self) -> None:
        """End the transaction, as the DDL that follows would: each statement stands for itself, and may be repeated."""
        self._end_transaction()

    def lock(self, positions_table: str, target: str) -> None:
        """Begin the transaction with an update of the target's position rows, which waits for other loaders."""
        self._end_transaction()
        self.execute("BEGIN TRANSACTION")
        self.touch(positions_table, "generation", " WHERE target = ?", (target,))
        self._transaction = self._current_transaction()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return list(cursor.fetchall())

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement and return how many rows it wrote."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return cursor.rowcount or 0

    def copy(self, table: str, columns: Sequence[Column], stream: BinaryIO, block_bytes: int) -> None:
        """Upload a CSV stream as Parquet files to a temporary stage, then copy them into a temporary table.

        Raises:
            IntegrityError: The bytes don't parse, or another number of rows arrived than was sent.
        """
        sent = 0
        # A place of its own for each stream: COPY passes over a file of a name that it has loaded before.
        self._copies += 1
        place = f"{table}/{self._copies}"
        with private_folder(_FOLDER) as folder:
            for part in parts(stream, columns, block_bytes, folder):
                self._put(part.path.as_posix(), place)
                sent += part.records
                part.path.unlink()
        if not sent:
            return
        answer = self.query(copy_into(table, columns, f"@{self._stage}/{place}/"))
        loaded = sum(int(row[_LOADED]) for row in answer if len(row) > _LOADED)
        if loaded != sent:
            raise IntegrityError(
                f"connection {self._settings.conn_id}: COPY loaded {loaded} of {sent} records into {table}. Nothing "
                "was changed; look at COPY_HISTORY",
                code="snowflake-copy-incomplete",
                repeat="step",
            )

    def commit(self, then: Callable[[], None] | None = None) -> None:
        """Commit; a lost reply is a RetriableError, and so is a transaction that Snowflake ended before."""
        if self._transaction is not None and self._current_transaction() != self._transaction:
            raise RetriableError(
                f"connection {self._settings.conn_id}: Snowflake ended transaction {self._transaction}, as it does "
                "with one that blocks another and is idle for five minutes. Nothing was committed; try again",
                code="snowflake-transaction-ended",
            )
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("COMMIT")
        except Error as error:
            raise commit_failed(error, self._settings) from error
        if then is not None:
            then()

    def close(self) -> None:
        """Roll back what is open, then disconnect, which drops temporary tables and stage."""
        # Said and waited for: what is only disconnected from holds its locks for minutes.
        # SettingsError: in a fork it is the parent's, which goes on with it.
        with suppress(Error, SettingsError):
            self._connection.rollback()
        with suppress(Error, SettingsError):
            self._connection.close()

    def _put(self, path: str, place: str) -> None:
        if not self._stage:
            self._stage = f"topicledger_{secrets.token_hex(8)}"
            self.execute(f"CREATE TEMPORARY STAGE {self._stage}")
        quoted = path.replace("\\", "\\\\").replace("'", "\\'")
        self.execute(f"PUT 'file://{quoted}' @{self._stage}/{place} AUTO_COMPRESS = FALSE")

    def _current_transaction(self) -> str | None:
        ((found,),) = self.query("SELECT CURRENT_TRANSACTION()")
        return None if found is None else str(found)

    def _end_transaction(self) -> None:
        self._transaction = None
        self.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Error as error:
            raise failed(error, self._settings) from error
