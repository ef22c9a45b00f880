"""Fixtures of the whole session: one broker and one PostgreSQL, each started when a test first asks for it.

Each case has a topic, a target and a staging folder that no other case has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer  # type: ignore[import-untyped] # ships no types

from devstack.broker import AnyBroker, Broker, ExternalBroker
from devstack.postgres import Postgres
from devstack.registry import Registry
from tests.support.command import Command
from tests.support.keys import KEYS as DECLARED_KEYS
from tests.support.object_store import ObjectStore, running_object_store
from tests.support.places import KINDS, duckdb_file, lake_folder, postgres_database
from tests.support.secure_broker import SecureBroker, running_secure_broker
from tests.support.shared import shared_part, stop_shared_parts
from tests.support.spread import Spread, rank, repeats
from tests.support.steps import Case, make_case
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.signups import SIGNUPS
from topicledger.unique_key import Key

# How long an example takes depends on what else the machine does, and is nobody's failure.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spread:
    """Spread the tests over several processes, where there are several."""
    return Spread(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a case under each kind of key, where its module asks for that."""
    if "declared_key" in metafunc.fixturenames and getattr(metafunc.module, "EVERY_KEY", False):
        metafunc.parametrize("declared_key", DECLARED_KEYS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what repeats a proof to `make test-all`; begin with what takes longest."""
    for item in items:
        if repeats(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop what the session's processes shared, before its folders are removed."""
    stop_shared_parts(session.config)


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> AnyBroker:
    """The session's broker, or the one that several sessions share: a topic of its own for each test."""
    if shared := os.environ.get("TOPICLEDGER_TEST_BROKER"):
        return ExternalBroker(shared)
    return shared_part(tmp_path_factory, "broker", Broker)


@pytest.fixture(scope="session")
def secure_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """The session's broker that trusts nobody: a user of its own for each test."""
    folder = tmp_path_factory.mktemp("secure")
    with running_secure_broker(folder) as broker:
        yield broker
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    """The session's PostgreSQL: a database of its own for each test."""
    # What a power cut would lose is of no interest here; what a kill of the server would is kept.
    return shared_part(tmp_path_factory, "pg", lambda folder: Postgres(folder, {"fsync": "off"}))


@pytest.fixture(scope="session")
def schema_registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The session's schema registry, for slow tests: a subject of its own for each. Its first use downloads 158 MB."""
    return shared_part(tmp_path_factory, "registry", Registry)


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """The session's S3 emulator: a bucket of its own for each test."""
    with running_object_store() as running:
        yield running


@pytest.fixture
def folder_settings(tmp_path: Path) -> Connection:
    """A folder for files and a log that doesn't exist yet."""
    return lake_folder(tmp_path)


@pytest.fixture
def s3_settings(object_store: ObjectStore) -> Connection:
    """An empty bucket."""
    return object_store.bucket()


@pytest.fixture
def duckdb_settings(tmp_path: Path) -> Connection:
    """A DuckDB file that doesn't exist yet."""
    return duckdb_file(tmp_path)


@pytest.fixture
def postgres_settings(postgres_server: Postgres) -> Iterator[Connection]:
    """An empty PostgreSQL database, dropped after the test."""
    with postgres_database(postgres_server) as settings:
        yield settings


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Connection:
    """An empty warehouse of each kind."""
    found = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(found, Connection)
    return found


@pytest.fixture(scope="session")
def topics(kafka_broker: AnyBroker) -> Topics:
    """Handles the topics of the session's broker."""
    return Topics(kafka_broker.bootstrap)


@pytest.fixture
def declared_key() -> Key:
    """The key that the cases' pipeline declares."""
    return SIGNUPS.key


@pytest.fixture
def case(topics: Topics, place: Connection, tmp_path: Path, declared_key: Key) -> Case:
    """A topic of two partitions, on each warehouse."""
    return make_case(topics, place, tmp_path).changed(key=declared_key)


@pytest.fixture
def duckdb_case(topics: Topics, duckdb_settings: Connection, tmp_path: Path, declared_key: Key) -> Case:
    """The same on DuckDB alone, where the warehouse doesn't matter."""
    return make_case(topics, duckdb_settings, tmp_path).changed(key=declared_key)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command `topicledger`, with no connection defined yet."""
    return Command(monkeypatch, capsys, tmp_path)


@pytest.fixture(scope="module", params=KINDS)
def module_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A warehouse of each kind for a module whose tests only look at one and the same batch."""
    if request.param == "duckdb":
        yield duckdb_file(tmp_path_factory.mktemp("module"))
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as settings:
        yield settings


@pytest.fixture(scope="module")
def module_case(topics: Topics, module_place: Connection, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A topic of two partitions for such a module; it takes records of any time, and of up to 8 MB."""
    anything = {"message.timestamp.after.max.ms": "9223372036854775807", "max.message.bytes": "8000000"}
    return make_case(topics, module_place, tmp_path_factory.mktemp("module"), config=anything)
