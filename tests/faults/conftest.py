"""What tests of faults need beside the session's plain broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.places import duckdb_file
from tests.support.secure_broker import SecureBroker
from tests.support.steps import Case, make_case
from tests.support.topics import Topics
from topicledger.connection import Connection


@pytest.fixture
def secure_case(secure_broker: SecureBroker, place: Connection, tmp_path: Path) -> Case:
    """A topic of two partitions on that broker, on each warehouse, as its administrator sees it."""
    return make_case(Topics(secure_broker.bootstrap), place, tmp_path)


@pytest.fixture
def secure_duckdb_case(secure_broker: SecureBroker, tmp_path: Path) -> Case:
    """The same on DuckDB alone, where the warehouse doesn't matter."""
    return make_case(Topics(secure_broker.bootstrap), duckdb_file(tmp_path), tmp_path)
