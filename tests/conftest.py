"""Fixtures of the whole session: one broker and one PostgreSQL, each started when a test first asks for it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack.broker import Broker, running_broker
from devstack.postgres import Postgres, running_postgres
from topicledger.warehouse.contract import WarehouseSettings


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The session's broker: a topic of its own for each test."""
    folder = tmp_path_factory.mktemp("broker")
    with running_broker(folder) as broker:
        yield broker
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The session's PostgreSQL: a database of its own for each test."""
    folder = tmp_path_factory.mktemp("pg")
    with running_postgres(folder) as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture
def duckdb_settings(tmp_path: Path) -> WarehouseSettings:
    """A DuckDB file that doesn't exist yet."""
    return WarehouseSettings("warehouse_default", "duckdb", host=str(tmp_path / "warehouse" / "ledger.duckdb"))


@pytest.fixture
def postgres_settings(postgres_server: Postgres) -> Iterator[WarehouseSettings]:
    """An empty PostgreSQL database, dropped after the test."""
    name = f"case_{uuid.uuid4().hex[:12]}"
    postgres_server.create_database(name)
    yield WarehouseSettings(
        "warehouse_default",
        "postgres",
        host=postgres_server.host,
        port=postgres_server.port,
        login=postgres_server.user,
        schema=name,
    )
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["duckdb", "postgres"])
def place(request: pytest.FixtureRequest) -> WarehouseSettings:
    """An empty warehouse of each kind."""
    found = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(found, WarehouseSettings)
    return found
