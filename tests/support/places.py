"""Empty warehouses for cases of any scope."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from devstack.postgres import Postgres
from topicledger.connection import Connection

KINDS = ("duckdb", "postgres")


def duckdb_file(folder: Path) -> Connection:
    """A DuckDB file that doesn't exist yet."""
    return Connection("warehouse_default", "duckdb", host=str(folder / "warehouse" / "ledger.duckdb"))


def lake_folder(folder: Path) -> Connection:
    """A folder for files and a log, which doesn't exist yet."""
    return Connection("warehouse_default", "fs", extra={"path": str(folder / "lake")})


@contextmanager
def postgres_database(server: Postgres) -> Iterator[Connection]:
    """An empty database, dropped when the block ends."""
    name = f"case_{uuid.uuid4().hex[:12]}"
    server.create_database(name)
    try:
        yield Connection(
            "warehouse_default", "postgres", host=server.host, port=server.port, login=server.user, schema=name
        )
    finally:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
