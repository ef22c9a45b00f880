"""SIGKILL in the middle of each step, on real parts; then the retry, and the oracle counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.looking import count, query
from tests.support.records import Record, sign_ups
from tests.support.step_process import RECORDS, run_step
from tests.support.steps import Case, OneRun


@pytest.fixture
def crash_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "crash"
    folder.mkdir()
    return folder


def send_batch(case: Case) -> None:
    case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None), *sign_ups(range(5))])


def test_killed_while_producing(duckdb_case: Case, crash_dir: Path) -> None:
    """Killed in the middle of producing, the retry produces everything again, and what was there is duplicates."""
    case, run = duckdb_case, OneRun(duckdb_case)
    assert not run_step(run, "produce", (crash_dir, "step-01.middle"))
    there = sum(case.topics.ends(case.topic).values())
    assert 0 < there < RECORDS
    assert run_step(run, "produce")
    accounts = run.finish()
    malformed = RECORDS // 50
    assert (accounts.acked, accounts.acked_seen) == (RECORDS, RECORDS)
    assert accounts.records == there + RECORDS
    assert accounts.loaded == RECORDS - malformed
    assert accounts.duplicates + accounts.dead_letters == there + malformed
    case.oracle().require_every_record_once()


@pytest.mark.parametrize("point", ["step-07.planned", "step-11.chunk_staged", "step-12.staged"])
def test_killed_while_consuming(duckdb_case: Case, crash_dir: Path, point: str) -> None:
    """Killed while consuming, the retry plans and stages anew, and cleanup removes what the dead attempt left."""
    case, run = duckdb_case, OneRun(duckdb_case)
    send_batch(case)
    assert not run_step(run, "consume", (crash_dir, point))
    assert run.staged is None
    assert any(path.name.endswith(".manifest.json") for path in case.staged_files()) == (
        point == "step-12.staged"
    )
    group = f"{case.pipeline.name}.{run.run.batch_id}"
    assert case.topics.committed(group, case.topic) == {}
    assert run_step(run, "consume")
    assert run.load().loaded == 300
    run.reconcile()
    run.clean_up()
    assert case.staged_files() == []
    case.oracle().require_every_record_once()


def test_killed_inside_the_load(case: Case, crash_dir: Path) -> None:
    """Killed inside the load's transaction nothing is in the warehouse, and the retry loads everything once."""
    run = OneRun(case)
    send_batch(case)
    run.consume()
    assert not run_step(run, "load", (crash_dir, "step-18.inserted"))
    for table in ("user_signups", "user_signups_dead_letters", "topicledger_batches"):
        assert count(case.place, table) == 0
    assert query(case.place, "SELECT DISTINCT position FROM topicledger_positions") == [(0,)]
    accounts = run.load()
    assert (accounts.loaded, accounts.duplicates, accounts.dead_letters, accounts.tombstones) == (300, 5, 1, 1)
    run.reconcile()
    case.oracle().require_every_record_once()


def test_killed_after_the_commit(case: Case, crash_dir: Path) -> None:
    """Killed right after COMMIT everything is in the warehouse; the retry changes nothing and gives the accounts."""
    run = OneRun(case)
    send_batch(case)
    run.consume()
    assert not run_step(run, "load", (crash_dir, "step-19.committed"))
    assert count(case.place, "user_signups") == 300
    assert count(case.place, "topicledger_batches") == 1
    accounts = run.load()
    assert (accounts.loaded, accounts.duplicates, accounts.dead_letters, accounts.tombstones) == (300, 5, 1, 1)
    assert count(case.place, "topicledger_batches") == 1
    run.reconcile()
    case.oracle().require_every_record_once()
