"""Fixtures of the whole session: one broker and one PostgreSQL, each started when a test first asks for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.broker import Broker, running_broker
from devstack.postgres import Postgres, running_postgres
from tests.support.places import KINDS, duckdb_file, postgres_database
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
    return duckdb_file(tmp_path)


@pytest.fixture
def postgres_settings(postgres_server: Postgres) -> Iterator[WarehouseSettings]:
    """An empty PostgreSQL database, dropped after the test."""
    with postgres_database(postgres_server) as settings:
        yield settings


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> WarehouseSettings:
    """An empty warehouse of each kind."""
    found = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(found, WarehouseSettings)
    return found
