"""Whole steps with their staged files in S3, on an emulator: every record is in the warehouse once."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest

from tests.dag.processes import ENGINE, SITE_PACKAGES, ask
from tests.support.empty_batch import stage_in
from tests.support.looking import count
from tests.support.object_store import ObjectStore
from tests.support.records import Record, sign_ups
from tests.support.step_process import run_step
from tests.support.steps import Case, OneRun, make_case
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.errors import IntegrityError
from topicledger.model.identity import batch_id
from topicledger.staged_files import receipts
from topicledger.staged_files.s3_root import S3Root


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder, for this test and the processes that it starts."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def case(
    topics: Topics,
    duckdb_settings: Connection,
    object_store: ObjectStore,
    tmp_path: Path,
    scratch: Path,  # noqa: ARG001 - set for the processes of the case
) -> Case:
    return staging_in_s3(make_case(topics, duckdb_settings, tmp_path), object_store)


def staging_in_s3(case: Case, store: ObjectStore) -> Case:
    """The case with its staging root in a bucket of its own."""
    url, connection = store.staging()
    return dataclasses.replace(case.changed(staging_dir=url), staging=connection)


def staged(case: Case, store: ObjectStore) -> list[str]:
    return store.names(case.pipeline.staging_dir)


def test_a_run(case: Case, object_store: ObjectStore, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run hands on paths in the bucket, a large receipt too, loads what it staged, and leaves nothing anywhere."""
    monkeypatch.setattr(receipts, "INLINE_BYTES", 10)
    case.send([Record(b"{"), Record(None, b"gone"), *sign_ups(range(100, 110))])
    run = OneRun(case)
    run.produce([(r.key, r.value) for r in sign_ups(range(40))])
    run.consume()
    assert run.staged is not None
    assert run.staged.rows_path.startswith(f"{case.pipeline.staging_dir}/kafka_staging_{run.batch_id}.")
    assert len(staged(case, object_store)) == 7
    assert run.load().loaded == 50
    assert run.reconcile().acked_seen == 40
    run.clean_up()
    assert staged(case, object_store) == []
    assert list(scratch.iterdir()) == []
    assert run.load().loaded == 50
    case.oracle().require_every_record_once()


@pytest.mark.slow
def test_parts_from_several_processes(case: Case, object_store: ObjectStore, scratch: Path) -> None:
    """Each process sends its own part; a failed attempt takes back what the others have sent, nothing is left here."""
    several = case.changed(reading_processes=2)
    several.send([*sign_ups(range(60), partitions=2), Record(b"{"), Record(None, b"gone")])
    failing = OneRun(several.changed(error_budget=0.0))
    with pytest.raises(IntegrityError, match="the error budget is 0"):
        failing.consume()
    assert staged(case, object_store) == []
    run = OneRun(several)
    run.consume()
    assert len(staged(case, object_store)) == 5 + 5 + 1
    assert list(scratch.iterdir()) == []
    assert run.load().loaded == 60
    run.clean_up()
    assert staged(case, object_store) == []
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(5, "retried")
@pytest.mark.fault(6, "retried")
@pytest.mark.parametrize("point", ["step-12.synced", "step-12.files_renamed", "step-12.staged"])
def test_killed_while_staging(case: Case, object_store: ObjectStore, tmp_path: Path, scratch: Path, point: str) -> None:
    """A kill leaves no batch that anybody takes; the next try removes what the dead one left on the machine."""
    case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None)])
    crash = tmp_path / "crash"
    crash.mkdir()
    run = OneRun(case)
    assert not run_step(run, "consume", (crash, point))
    whole = point == "step-12.staged"
    assert len(list(scratch.iterdir())) == (0 if whole else 1)
    assert len(staged(case, object_store)) == (6 if whole else 0)
    run.consume()
    assert list(scratch.iterdir()) == []
    assert run.load().loaded == 300
    run.reconcile()
    run.clean_up()
    assert staged(case, object_store) == []
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(7, "retried")
@pytest.mark.parametrize("kind", ["postgres", "folder", "s3"])
def test_killed_while_loading(request: pytest.FixtureRequest, case: Case, tmp_path: Path, kind: str) -> None:
    """Into every other warehouse: a load that was killed is done once by the next one, from the same objects."""
    place = request.getfixturevalue(f"{kind}_settings")
    case = dataclasses.replace(case, place=place)
    case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None)])
    crash = tmp_path / "crash"
    crash.mkdir()
    run = OneRun(case)
    run.consume()
    assert not run_step(run, "load", (crash, "step-13.verified"))
    run.load()
    assert run.reconcile().loaded == 300
    run.clean_up()
    case.oracle().require_every_record_once()


@pytest.mark.slow
def test_cleaned_up_before_it_was_loaded(case: Case) -> None:
    """Objects that are gone stop the load, naming what to clear; staged again, everything is there."""
    case.send(sign_ups(range(30)))
    run = OneRun(case)
    run.consume()
    run.clean_up()
    with pytest.raises(IntegrityError, match=r"is gone .*or staging_dir isn't what it was in the task that staged it"):
        run.load()
    assert count(case.place, case.pipeline.table) == 0
    run.finish()
    case.oracle().require_every_record_once()


def clean_up(url: str, connection: Connection, folder: Path) -> str:
    """Do what the DAG's clean-up does before its shell command; return all that it printed."""
    fields = {"conn_type": "aws", "login": connection.login, "password": connection.password}
    given = {"url": url, "connection": json.dumps({**fields, "extra": dict(connection.extra)})}
    answer, printed = ask("clean_up.py", [], folder, [ENGINE, SITE_PACKAGES], given=given)
    assert answer == {"STAGING_DIR": url, "BATCH_ID": batch_id("robust_kafka_etl_pipeline", "manual")}
    return printed


@pytest.mark.fault(9, "goes on")
@pytest.mark.usefixtures("scratch")
@pytest.mark.slow
def test_the_dags_own_clean_up(object_store: ObjectStore, tmp_path: Path) -> None:
    """It removes this run's objects and no other's, and shows no secret; with nothing left to do it succeeds."""
    url, connection = object_store.staging()
    root = S3Root(url, connection)
    stage_in(root, batch_id("robust_kafka_etl_pipeline", "manual"))
    stage_in(root, "f" * 16)
    for removed in (6, 0):
        printed = clean_up(url, connection, tmp_path)
        assert printed.count("removed s3://") == removed
        assert str(connection.password) not in printed
    assert {name.split(".")[0] for name in object_store.names(url)} == {f"kafka_staging_{'f' * 16}"}
