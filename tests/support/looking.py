"""A look into a warehouse from beside: plain clients, none of the product's own code."""

from __future__ import annotations

from typing import Any

import duckdb
import psycopg

from topicledger.warehouse.contract import WarehouseSettings


def query(place: WarehouseSettings, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own, and commit it."""
    if place.conn_type == "duckdb":
        with duckdb.connect(str(place.host)) as connection:
            return connection.execute(statement).fetchall()
    dsn = f"host={place.host} port={place.port} user={place.login} dbname={place.schema}"
    with psycopg.connect(dsn, autocommit=True) as session:
        cursor = session.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def count(place: WarehouseSettings, table: str) -> int:
    """Number of rows of a table."""
    return int(query(place, f"SELECT COUNT(*) FROM {table}")[0][0])
