"""Fixtures of the contract suite: every case has a file or a database of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack.postgres import Postgres, running_postgres
from tests.contract.places import Place, duckdb_place
from topicledger.warehouse.contract import WarehouseSettings


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with running_postgres(tmp_path_factory.mktemp("pg")) as running:
        yield running


@pytest.fixture
def postgres_place(server: Postgres) -> Iterator[Place]:
    name = f"case_{uuid.uuid4().hex[:12]}"
    server.create_database(name)
    yield Place(
        WarehouseSettings(
            "warehouse_default",
            "postgres",
            host=server.host,
            port=server.port,
            login=server.user,
            schema=name,
        )
    )
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def duckdb_file_place(tmp_path: Path) -> Place:
    return duckdb_place(tmp_path)


@pytest.fixture(params=["duckdb", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    name = "duckdb_file_place" if request.param == "duckdb" else "postgres_place"
    found = request.getfixturevalue(name)
    assert isinstance(found, Place)
    return found
