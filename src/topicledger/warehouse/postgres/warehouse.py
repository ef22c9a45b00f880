"""PostgreSQL by psycopg 3: a connection of its own, from the fields of the connection.

Every transaction names its isolation level, so that a database which defaults to REPEATABLE READ doesn't make a
loader read the ledger as it was before it waited for the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any, BinaryIO

import psycopg
from psycopg import IsolationLevel

from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.errors import RetriableError, SettingsError
from topicledger.opened_here import OpenedHere
from topicledger.pipeline import Pipeline
from topicledger.warehouse.contract import Audit, Warehouse
from topicledger.warehouse.postgres.access import missing_grants
from topicledger.warehouse.postgres.errors import commit_failed, connecting_failed, statement_failed
from topicledger.warehouse.postgres.fit import unfit
from topicledger.warehouse.sql.dialect import POSTGRES
from topicledger.warehouse.sql.tables import Tables
from topicledger.warehouse.sql.warehouse import SqlWarehouse

OLDEST_SERVER = 150000
"""PostgreSQL 15, the first whose COPY compares the header's names with the table's."""

_EXTRA = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "channel_binding",
    "require_auth",
    "gssencmode",
    "krbsrvname",
    "target_session_attrs",
    "load_balance_hosts",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "hostaddr",
    "options",
)
_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_BLOCK_BYTES = 256 * 1024
# Temporary tables come first in any search path, so everything is named with its schema or is built in.
# What row-level security would filter is an error instead, also by a policy that was made since it was asked about.
# With its names quoted the catalogue spells types as nobody declares them.
_SESSION = (
    "SET LOCAL TimeZone TO 'UTC'; SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL row_security TO off; "
    "SET LOCAL quote_all_identifiers TO off"
)
# A process that was stopped inside its load never gives the lock back: waiting ends, as the server says or by this.
_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '5min', true) WHERE current_setting('lock_timeout') = '0'"
# What a load makes known to the planner is how many rows there are and that their keys differ: a small sample does.
_SAMPLE = "SET LOCAL default_statistics_target TO 10"
# From PostgreSQL 16 on the planner sorts whole rows for a COUNT(DISTINCT), where the values alone are half the work.
_NO_PRESORTING = "SELECT set_config(name, 'off', true) FROM pg_settings WHERE name = 'enable_presorted_aggregate'"
_LOAD = f"{_SESSION}; SET LOCAL work_mem TO '64MB'; {_SAMPLE}; {_NO_PRESORTING}; {_LOCK_TIMEOUT}"
_CREATION_LOCK = 0x746F7069636C6467


def postgres(settings: Connection, pipeline: Pipeline) -> Warehouse:
    """The pipeline's tables in a PostgreSQL database. Nothing is connected to yet."""
    settings.require_known(_EXTRA, "PostgreSQL")

    def asked(tables: Tables, create: bool) -> Audit:
        with closing(PostgresSession(settings, pipeline.key_columns)) as session:
            session.begin_snapshot()
            return Audit(problems=(*unfit(session, tables), *missing_grants(session, tables, create=create)))

    return SqlWarehouse(
        pipeline, POSTGRES, lambda _create: PostgresSession(settings, pipeline.key_columns), asked, unfit
    )


class PostgresSession:
    """Implements `topicledger.warehouse.sql.session.Session` over one connection."""

    def __init__(self, settings: Connection, key: tuple[str, ...]) -> None:
        self._settings = settings
        self._key = key
        options: dict[str, Any] = {
            **_DEFAULTS,
            **settings.extra,
            "host": settings.host,
            "port": settings.port,
            "user": settings.login,
            "password": settings.password,
            "dbname": settings.schema,
            "application_name": "topicledger",
            "client_encoding": "UTF8",
        }
        try:
            # Never prepared on the server: behind a transaction pooler the next transaction is on another one.
            connection = psycopg.connect(
                "",
                prepare_threshold=None,
                **{name: value for name, value in options.items() if value is not None},
            )
        except psycopg.Error as error:
            raise connecting_failed(error, settings) from error
        self._opened = OpenedHere(f"the session of connection {settings.conn_id}", connection)
        version = connection.info.server_version
        if version < OLDEST_SERVER:
            connection.close()
            raise SettingsError(
                f"connection {settings.conn_id}: the server is PostgreSQL {version // 10000}, use 15 or newer",
                code="postgres-too-old",
            )

    @property
    def _connection(self) -> psycopg.Connection:
        return self._opened.get()

    def begin(self) -> None:
        """Open a transaction that writes, READ COMMITTED: each statement sees what is committed by then."""
        self._begin(IsolationLevel.READ_COMMITTED, _SESSION)

    def begin_snapshot(self) -> None:
        """Open a transaction that reads one state."""
        self._begin(IsolationLevel.REPEATABLE_READ, _SESSION, read_only=True)

    def begin_load(self) -> None:
        """Open the load's transaction, whose end drops the temporary tables."""
        self._begin(IsolationLevel.READ_COMMITTED, _LOAD)

    def label(self, batch_id: str) -> None:
        """Do nothing: its sessions are few, and carry the product's name."""

    def lock_creation(self) -> None:
        """Wait for others that create tables; the lock ends with the transaction."""
        self.query("SELECT pg_advisory_xact_lock(%s)", (_CREATION_LOCK,))

    def lock_new_positions(self, version_table: str) -> None:
        """Do nothing: the primary key makes a concurrent insert of the same row wait."""

    def lock(self, positions_table: str, target: str) -> None:
        """Lock the target's position rows, in one order for all sessions."""
        self.query(
            f"SELECT 1 FROM {positions_table} WHERE target = %s ORDER BY topic_id, partition FOR UPDATE",  # noqa: S608 - a quoted name
            (target,),
        )

    def savepoint(self) -> None:
        """Remember this point; a later one takes its place."""
        self.execute("SAVEPOINT topicledger")

    def undo(self) -> bool:
        """Go back to the last savepoint, also after a failed statement."""
        self.execute("ROLLBACK TO SAVEPOINT topicledger")
        return True

    def check_deferred(self) -> None:
        """Check what is deferred to COMMIT, while a refusal can still be looked into."""
        self.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with self._translated():
            return self._connection.execute(sql.encode(), values or None).fetchall()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement and return how many rows it wrote."""
        with self._translated():
            return self._connection.execute(sql.encode(), values or None).rowcount

    def copy(self, table: str, columns: Sequence[Column], stream: BinaryIO, block_bytes: int) -> None:
        """Copy a CSV stream to its end; the server compares the header with the table's columns."""
        del columns, block_bytes  # the server parses
        statement = f"COPY {table} FROM STDIN (FORMAT csv, HEADER MATCH)"
        with (
            self._translated(),
            self._connection.cursor() as cursor,
            ThreadPoolExecutor(1) as reading,
            cursor.copy(statement.encode()) as copy,
        ):
            # The next block is read and hashed while this one is sent.
            following = reading.submit(stream.read, _BLOCK_BYTES)
            while block := following.result():
                following = reading.submit(stream.read, _BLOCK_BYTES)
                copy.write(block)

    def commit(self, then: Callable[[], None] | None = None) -> None:
        """Commit; only without the server's answer is it unknown whether it did."""
        try:
            self._connection.commit()
        except psycopg.Error as error:
            raise commit_failed(error, self._settings, self._key) from error
        if then is not None:
            then()

    def close(self) -> None:
        """Roll back what is open, then disconnect."""
        # Said to the server and waited for: a closed socket alone is noticed later, the locks held until then.
        # SettingsError: in a fork it is the parent's, which goes on with it.
        with suppress(psycopg.Error, SettingsError):
            self._connection.rollback()
        with suppress(psycopg.Error, SettingsError):
            self._connection.close()

    def _begin(self, level: IsolationLevel, settings: str, *, read_only: bool = False) -> None:
        with self._translated():
            self._connection.isolation_level = level
            self._connection.read_only = read_only
            try:
                self._connection.execute(settings.encode())
            except psycopg.errors.FeatureNotSupported as error:
                # BEGIN READ WRITE was refused. It may pass: a failover ends with its promotion.
                raise RetriableError(
                    f"connection {self._settings.conn_id}: the server is a standby, which takes no writes. Nothing was "
                    "changed; connect to the primary, or wait until this one is promoted",
                    code="postgres-standby",
                ) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise statement_failed(error, self._settings, self._key) from error
