"""Fixtures of the contract suite: every case has a file or a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.postgres import Postgres
from tests.contract.places import (
    ABOUT_LOADS,
    ACCOUNT,
    EMULATED,
    KEYED_ONLY,
    KEYS,
    KINDS,
    NOT_EMULATED,
    NOT_ON_SNOWFLAKE,
    SNOWFLAKE,
    SQL_KINDS,
    SQL_ONLY,
    Place,
    duckdb_place,
    folder_place,
)
from tests.support.object_store import ObjectStore
from tests.support.pgbouncer import running_pgbouncer
from tests.support.snowflake_emulator import Emulator, real_account, running_emulator
from topicledger.connection import Connection


@pytest.fixture
def postgres_place(postgres_settings: Connection) -> Place:
    return Place(postgres_settings)


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a PgBouncer in transaction mode before the session's PostgreSQL."""
    with running_pgbouncer(tmp_path_factory.mktemp("pgbouncer"), postgres_server) as port:
        yield port


@pytest.fixture
def pooled_place(postgres_place: Place, pgbouncer: int) -> Place:
    return replace(postgres_place, settings=replace(postgres_place.settings, host="127.0.0.1", port=pgbouncer))


@pytest.fixture
def duckdb_file_place(tmp_path: Path) -> Place:
    return duckdb_place(tmp_path)


@pytest.fixture
def local_folder_place(tmp_path: Path) -> Place:
    return folder_place(tmp_path)


@pytest.fixture
def s3_place(object_store: ObjectStore) -> Iterator[Place]:
    yield Place(object_store.bucket())
    object_store.faults.clear()


@pytest.fixture(scope="session")
def snowflake_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running_emulator(tmp_path_factory.mktemp("snowflake")) as running:
        yield running


@pytest.fixture
def snowflake_emulated_place(snowflake_emulator: Emulator) -> Place:
    return Place(snowflake_emulator.account())


@pytest.fixture
def snowflake_account_place() -> Iterator[Place]:
    with real_account() as settings:
        yield Place(settings)


_FIXTURES = {
    "duckdb": "duckdb_file_place",
    "postgres": "postgres_place",
    "pgbouncer": "pooled_place",
    "folder": "local_folder_place",
    "s3": "s3_place",
    EMULATED: "snowflake_emulated_place",
    ACCOUNT: "snowflake_account_place",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a case on every kind of warehouse but those that `SQL_ONLY` excepts; one about loads for each kind of key."""
    if "place" in metafunc.fixturenames and not hasattr(metafunc.module, "place"):
        case = metafunc.function.__name__
        excepted = {EMULATED: {*NOT_ON_SNOWFLAKE, *NOT_EMULATED}, ACCOUNT: {*NOT_ON_SNOWFLAKE}}
        kinds = [kind for kind in (SQL_KINDS if case in SQL_ONLY else KINDS) if case not in excepted.get(kind, ())]
        kinds.append("pgbouncer")
        # What differs from the folder is the store: test_s3.py has that, and two loaders at once. Staged bytes are
        # parsed by what parses them for DuckDB.
        slow = {"pgbouncer", *SNOWFLAKE}
        if metafunc.function.__name__ != "test_two_processes_with_the_same_plan":
            slow.add("s3")
        if metafunc.function.__name__ == "test_staged_bytes_that_do_not_parse":
            slow.add("folder")
        places = [pytest.param((kind, None), id=kind, marks=pytest.mark.slow if kind in slow else ()) for kind in kinds]
        if metafunc.module.__name__.rpartition(".")[2] in ABOUT_LOADS:
            # One case of two loads at once without a key stays; test_keys.py has what else is quick.
            stays = case == "test_overlapping_plans_at_once"
            places += [
                pytest.param(
                    (kind, key),
                    id=f"{kind}-{key}",
                    marks=() if stays and key == "keyless" and kind not in slow else pytest.mark.slow,
                )
                for kind in kinds
                for key in KEYS
                if kind not in ("pgbouncer", "s3") and not (key == "keyless" and case in KEYED_ONLY)
            ]
        metafunc.parametrize("place", places, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    kind, key = request.param
    found = request.getfixturevalue(_FIXTURES[kind])
    assert isinstance(found, Place)
    return found if key is None else replace(found, changes={"key": KEYS[key]})
