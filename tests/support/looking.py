"""A look into a warehouse from beside: plain clients, none of the product's own code.

Files and a log are looked at through the views of docs/warehouses/s3.md, as users do. DuckDB reads S3 only with an
extension that it downloads, so the objects of a bucket are fetched to disk first.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import psycopg

from tests.docs.pages import fences, read
from tests.support.object_store import ObjectStore, fetch
from tests.support.snowflake_emulator import look
from topicledger.connection import Connection


def query(place: Connection, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own, and commit it."""
    if place.conn_type == "duckdb":
        with duckdb.connect(str(place.host)) as connection:
            return connection.execute(statement).fetchall()
    if is_lake(place):
        with TemporaryDirectory() as fetched:
            return _query_views(place, statement, fetched)
    if place.conn_type == "snowflake":
        return look(place, statement)
    dsn = f"host={place.host} port={place.port} user={place.login} dbname={place.schema}"
    with psycopg.connect(dsn, autocommit=True) as session:
        cursor = session.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def count(place: Connection, table: str) -> int:
    """Number of rows of a table."""
    return int(query(place, f"SELECT COUNT(*) FROM {table}")[0][0])


def has_table(place: Connection, table: str) -> bool:
    """Whether a database has such a table; one that isn't there yet has none."""
    if place.conn_type == "duckdb" and not Path(str(place.host)).exists():
        return False
    return bool(query(place, f"SELECT 1 FROM information_schema.tables WHERE table_name = '{table}'"))


def contents(place: Connection, store: ObjectStore | None) -> object:
    """What is in a warehouse, however it keeps it."""
    if place.conn_type == "postgres":
        return query(place, "SELECT table_schema, table_name FROM information_schema.tables ORDER BY 1, 2")
    if place.conn_type == "aws":
        assert store is not None
        return store.keys(place)
    path = Path(place.extra["path"] if place.conn_type == "fs" else str(place.host))
    return path.parent.exists(), path.exists(), sorted(str(p) for p in path.rglob("*"))


def is_lake(place: Connection) -> bool:
    """Whether it is files and a log, where the rows' view hides what later batches loaded again."""
    return place.conn_type in ("aws", "fs")


def _query_views(place: Connection, statement: str, fetched: str) -> list[tuple[Any, ...]]:
    location = str(place.extra.get("path", fetched))
    if place.conn_type == "aws":
        fetch(place, Path(fetched))
    (views,) = [code for _, code in fences(read("docs/warehouses/s3.md")) if "CREATE OR REPLACE VIEW" in code]
    with duckdb.connect() as connection:
        connection.execute(views.replace("s3://bucket/prefix", location))
        return connection.execute(statement).fetchall()
