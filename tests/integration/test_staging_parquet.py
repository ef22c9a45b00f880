"""Whole steps with Parquet as the staging format, into every kind of warehouse, from a folder and from S3."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.object_store import ObjectStore
from tests.support.records import Record, good, sign_ups
from tests.support.snowflake_emulator import running_emulator
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import Topics
from topicledger.connection import Connection

SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("postgres", "folder", "s3", "snowflake")]


@pytest.fixture
def snowflake_settings(tmp_path: Path) -> Iterator[Connection]:
    """An empty database of an emulator; nothing here has run on a real account."""
    folder = tmp_path / "snowflake"
    folder.mkdir()
    with running_emulator(folder) as emulator:
        yield emulator.account()


@pytest.fixture(params=["duckdb", *SLOW])
def case(request: pytest.FixtureRequest, topics: Topics, tmp_path: Path) -> Case:
    place = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(place, Connection)
    return make_case(topics, place, tmp_path).changed(staging_format="parquet")


def test_runs(case: Case) -> None:
    """Rows, dead letters, tombstones and duplicates are those of the topic, as with CSV; an empty run closes, too."""
    own = [(r.key, r.value) for r in sign_ups(range(40))]
    case.send([Record(b"{"), Record(None, b"gone"), *sign_ups(range(100, 110)), Record(good(100), partition=1)])
    first = OneRun(case)
    first.produce(own)
    first.consume()
    assert first.staged is not None
    assert first.staged.rows_path.endswith(".parquet")
    assert {path.suffix for path in case.staged_files()} == {".parquet", ".json"}
    a = first.load()
    assert (a.loaded, a.duplicates, a.dead_letters, a.tombstones) == (50, 1, 1, 1)
    first.reconcile()
    first.clean_up()
    assert case.staged_files() == []
    assert run_steps(case, "manual__2").accounts.records == 0
    case.oracle().require_every_record_once()


@pytest.mark.slow
def test_from_s3(topics: Topics, postgres_settings: Connection, object_store: ObjectStore, tmp_path: Path) -> None:
    """The same with S3 as the staging root."""
    url, connection = object_store.staging()
    changed = make_case(topics, postgres_settings, tmp_path).changed(staging_format="parquet", staging_dir=url)
    case = dataclasses.replace(changed, staging=connection)
    case.send([*sign_ups(range(2_000), partitions=2), Record(b"{"), Record(None)])
    assert run_steps(case).accounts.loaded == 2_000
    assert object_store.names(url) == []
    case.oracle().require_every_record_once()
