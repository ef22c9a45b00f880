"""What tests of faults need beside the session's plain broker."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import duckdb_file
from tests.support.secure_broker import SecureBroker, running_secure_broker
from tests.support.steps import Case, make_case
from tests.support.topics import Topics
from topicledger.warehouse.contract import WarehouseSettings


@pytest.fixture(scope="session")
def secure_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """The session's broker that trusts nobody: a user of its own for each test."""
    folder = tmp_path_factory.mktemp("secure")
    with running_secure_broker(folder) as broker:
        yield broker
    shutil.rmtree(folder)


@pytest.fixture
def secure_case(secure_broker: SecureBroker, place: WarehouseSettings, tmp_path: Path) -> Case:
    """A topic of two partitions on that broker, on each warehouse, as its administrator sees it."""
    return make_case(Topics(secure_broker.bootstrap), place, tmp_path)


@pytest.fixture
def secure_duckdb_case(secure_broker: SecureBroker, tmp_path: Path) -> Case:
    """The same on DuckDB alone, where the warehouse doesn't matter."""
    return make_case(Topics(secure_broker.bootstrap), duckdb_file(tmp_path), tmp_path)
