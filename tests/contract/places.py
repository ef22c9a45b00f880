"""Where the suite runs: a place of the case's own in each kind of warehouse, and a look into it from beside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import psycopg

from tests.contract.batches import pipeline
from tests.support.object_store import fetch
from tests.support.snowflake_emulator import REAL, look
from topicledger.connection import Connection
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.contract import Warehouse

EMULATED, ACCOUNT = "snowflake_emulated", "snowflake_account"
SNOWFLAKE = (EMULATED, ACCOUNT) if os.environ.get(REAL) else (EMULATED,)
KINDS = ("duckdb", "postgres", "folder", "s3", *SNOWFLAKE)
SQL_KINDS = ("duckdb", "postgres", *SNOWFLAKE)

_NO_TABLE = "files aren't looked through for a key that an earlier batch loaded; their view shows the first"
_NO_ALTER = "there is no table that somebody could alter"

SQL_ONLY = {
    "test_duplicates_across_batches": (_NO_TABLE, "test_a_key_of_an_earlier_batch"),
    "test_the_same_coordinates_of_another_topic": (_NO_TABLE, "test_the_same_records_of_another_topic"),
    "test_a_drifted_column_is_named": (_NO_ALTER, "test_a_changed_declaration_is_named"),
    "test_a_further_column_is_fine_when_it_may_be_null": (_NO_ALTER, "test_a_column_that_is_added_or_dropped"),
    "test_missing_tables_that_may_not_be_created": (
        "a log has nothing that a statement of a DBA could create",
        "test_a_log_that_may_not_be_begun",
    ),
    "test_a_number_gets_more_digits": ("files that are there keep their types", "test_a_changed_declaration_is_named"),
    "test_a_table_that_only_a_dba_alters": (_NO_ALTER, "test_a_log_that_may_not_be_begun"),
    "test_a_snapshot_is_one_state": ("an entry is a snapshot by itself", "test_a_snapshot_is_one_entry"),
    "test_a_table_that_vanished": ("there is no table that somebody could drop", "test_a_log_that_vanished"),
    "test_a_newer_ledger_is_refused": ("the version is in each entry", "test_an_entry_of_a_newer_version"),
}
"""The cases that run on the SQL warehouses alone: why, and which one of test_lake.py stands in their place."""

NOT_ON_SNOWFLAKE = {
    "test_a_snapshot_is_one_state": (
        "it has no snapshot of several statements",
        "test_a_row_that_was_seen_is_in_the_books",
    ),
    "test_a_drifted_column_is_named": ("its ALTER TABLE is another one", "test_a_column_that_drifted"),
    "test_a_table_that_vanished": (
        "it doesn't tell what is gone from what isn't granted",
        "test_a_table_that_is_gone_or_not_granted",
    ),
}
"""The cases that don't run there: why, and which one of test_snowflake.py stands in their place."""

NOT_EMULATED = {
    "test_types_at_their_edges": (
        "the emulator's TO_TIMESTAMP_TZ goes through a float: the last microsecond of the year 9999 is rounded",
        "test_types_at_their_edges_as_far_as_the_emulator_goes",
    ),
}
"""The cases that run on a real account alone, since the emulator can't carry them; likewise."""

KEYS: Mapping[str, tuple[str, ...] | None] = {"two_columns": ("flag", "event_id"), "keyless": None}
"""The keys under which the suite repeats what is about loads, besides the column `event_id`."""

ABOUT_LOADS = ("test_load", "test_concurrency", "test_fit", "test_isolation")
"""The modules that have those."""

KEYED_ONLY = (
    "test_a_batch_in_parts",
    "test_duplicates_within_a_batch",
    "test_duplicates_across_batches",
    "test_the_winner_inside_applied",
    "test_the_same_coordinates_of_another_topic",
    "test_many_partitions",
)
"""The cases of theirs that are about repeats of a key; without one test_keys.py has what becomes of them."""


@dataclass(frozen=True)
class Place:
    """One empty place."""

    settings: Connection
    changes: Mapping[str, Any] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.settings.conn_type

    @property
    def schema(self) -> str:
        return {"postgres": "public", "snowflake": "PUBLIC"}.get(self.kind, "main")

    def target(self, table: str) -> str:
        """A table's qualified name, as the warehouse has it."""
        name = table if "." in table else f"{self.schema}.{table}"
        return name.upper() if self.kind == "snowflake" else name

    @property
    def is_lake(self) -> bool:
        return self.kind in ("aws", "fs")

    @property
    def committed(self) -> str:
        """The crash point right after the commit."""
        return "step-19.entry_created" if self.is_lake else "step-19.committed"

    def warehouse(self, table: str = "events", **changes: Any) -> Warehouse:
        opened = open_warehouse(self.settings, pipeline(table, **{**self.changes, **changes}))
        if self.is_lake:
            self.views[table] = opened.ddl()
        return opened

    def ready(self, table: str = "events", **changes: Any) -> Warehouse:
        """A warehouse whose tables are there."""
        warehouse = self.warehouse(table, **changes)
        warehouse.ensure_tables()
        return warehouse

    def with_extra(self, **extra: Any) -> Place:
        return replace(self, settings=replace(self.settings, extra={**self.settings.extra, **extra}))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement on a connection that isn't the product's, and commit it."""
        if self.kind == "duckdb":
            with duckdb.connect(str(self.settings.host)) as connection:
                return connection.execute(statement).fetchall()
        if self.is_lake:
            return self._query_views(statement)
        if self.kind == "snowflake":
            return look(self.settings, statement)
        with psycopg.connect(self.dsn(), autocommit=True) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _query_views(self, statement: str) -> list[tuple[Any, ...]]:
        """DuckDB reads S3 only with an extension that it downloads; the objects are fetched to disk instead."""
        extra = self.settings.extra
        with duckdb.connect() as connection, TemporaryDirectory() as fetched:
            if self.kind == "aws":
                fetch(self.settings, Path(fetched))
            for views in self.views.values():
                connection.execute(views.replace(f"s3://{extra.get('bucket')}/{extra.get('prefix')}", fetched))
            return connection.execute(statement).fetchall()

    def dsn(self) -> str:
        s = self.settings
        return f"host={s.host} port={s.port} user={s.login} dbname={s.schema}"


def duckdb_place(folder: Path) -> Place:
    return Place(Connection("warehouse_default", "duckdb", host=str(folder / "new" / "warehouse.duckdb")))


def folder_place(folder: Path) -> Place:
    return Place(Connection("warehouse_default", "fs", extra={"path": str(folder / "lake")}))
