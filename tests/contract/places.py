"""Where the suite runs: a DuckDB file or a PostgreSQL database of the case's own, and a look into it from beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tests.contract.batches import pipeline
from topicledger.warehouse.connect import open_warehouse
from topicledger.warehouse.contract import Warehouse, WarehouseSettings


@dataclass(frozen=True)
class Place:
    """One empty database."""

    settings: WarehouseSettings
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.settings.conn_type

    @property
    def schema(self) -> str:
        return "main" if self.kind == "duckdb" else "public"

    def warehouse(self, table: str = "events", **changes: Any) -> Warehouse:
        return open_warehouse(self.settings, pipeline(table, **{**self.changes, **changes}))

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
        with psycopg.connect(self.dsn(), autocommit=True) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def dsn(self) -> str:
        s = self.settings
        return f"host={s.host} port={s.port} user={s.login} dbname={s.schema}"


def duckdb_place(folder: Path) -> Place:
    return Place(WarehouseSettings("warehouse_default", "duckdb", host=str(folder / "new" / "warehouse.duckdb")))
