"""Ground for each case: a topic, a target and a staging folder that no other case has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.broker import Broker
from tests.support.steps import Case
from tests.support.topics import Topics, unique_topic
from topicledger.signups import SIGNUPS
from topicledger.warehouse.contract import WarehouseSettings

MakeCase = Callable[..., Case]


@pytest.fixture(scope="session")
def topics(kafka_broker: Broker) -> Topics:
    return Topics(kafka_broker.bootstrap)


def _case(topics: Topics, place: WarehouseSettings, tmp_path: Path, partitions: int) -> Case:
    staging = tmp_path / "staging"
    staging.mkdir(mode=0o700)
    topic = unique_topic()
    topics.create(topic, partitions)
    pipeline = dataclasses.replace(
        SIGNUPS, name=topic.replace(".", "_"), topic=topic, staging_dir=str(staging), transaction_wait_s=1.0
    )
    return Case(topics, place, pipeline)


@pytest.fixture
def case(topics: Topics, place: WarehouseSettings, tmp_path: Path) -> Case:
    """A topic of two partitions, on each warehouse."""
    return _case(topics, place, tmp_path, 2)


@pytest.fixture
def duckdb_case(topics: Topics, duckdb_settings: WarehouseSettings, tmp_path: Path) -> Case:
    """The same on DuckDB alone, where the warehouse doesn't matter."""
    return _case(topics, duckdb_settings, tmp_path, 2)
