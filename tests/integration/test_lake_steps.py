"""Whole steps into Parquet files and a log: a folder, and S3 on an emulator. Every record is there once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.support.records import Record, good, sign_ups
from tests.support.step_process import run_step
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.crash_points import LOG_POINTS


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def case(request: pytest.FixtureRequest, topics: Topics, tmp_path: Path) -> Case:
    place = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(place, Connection)
    return make_case(topics, place, tmp_path)


def test_runs_and_repeats(case: Case) -> None:
    """Rows, dead letters, tombstones and duplicates of one batch; what a later batch repeats, the view hides."""
    own = [(r.key, r.value) for r in sign_ups(range(40))]
    case.send([Record(b"{"), Record(None, b"gone"), *sign_ups(range(100, 110)), Record(good(100), partition=1)])
    first = run_steps(case, "manual__1", records=own).accounts
    assert (first.loaded, first.duplicates, first.dead_letters, first.tombstones) == (50, 1, 1, 1)
    assert run_steps(case, "manual__2").accounts.records == 0
    third = run_steps(case, "manual__3", records=[*own, (b"new", good(7000))]).accounts
    assert (third.loaded, third.duplicates, third.acked_seen) == (41, 0, 41)
    verdict = case.oracle().require_every_record_once()
    assert (len(verdict.rows), len(verdict.duplicates)) == (51, 41)


@pytest.mark.parametrize("point", LOG_POINTS)
def test_a_load_that_is_killed_at_its_commit(case: Case, tmp_path: Path, point: str) -> None:
    """Before the entry nothing is there, after it everything; the next try knows which."""
    case.send([*sign_ups(range(60), partitions=2), Record(b"malformed")])
    run = OneRun(case)
    run.consume()
    crash = tmp_path / "crash"
    crash.mkdir()
    run_step(run, "load", (crash, point))
    run.load()
    assert run.reconcile().loaded == 60
    run.clean_up()
    case.oracle().require_every_record_once()
    assert case.warehouse().audit() == type(case.warehouse().audit())()


def test_two_runs_at_once(case: Case) -> None:
    """Both plan from the same positions and load at once: each offset is loaded by one of them."""
    case.send(sign_ups(range(80), partitions=2))
    runs = [OneRun(case, f"manual__{number}") for number in (1, 2)]
    runs[0].consume()
    case.send(sign_ups(range(80, 120), partitions=2))
    runs[1].consume()
    together = Barrier(2)

    def load(run: OneRun) -> int:
        together.wait(60)
        return run.load().loaded

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(load, runs)) == 120
    for run in runs:
        run.reconcile()
    verdict = case.oracle().require_every_record_once()
    assert len(verdict.rows) == 120
