"""Faults of tasks as Airflow sees them: marked as failed, cleaned up twice, run for past dates, handed wrong values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.ground import CLEAN_UP, CONSUME, LOAD, PRODUCE, RECONCILE, RUN_LIMIT_S, Ground
from tests.support.looking import count
from tests.support.topics import wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

KEYS = {
    PRODUCE: ["receipt"],
    CONSUME: ["manifest", "staging_file_path"],
    LOAD: ["plan_id", "accounts"],
    RECONCILE: ["accounts", "report_path"],
}
"""What each task pushes."""


@pytest.mark.fault(9, "goes on")
@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_the_clean_up_is_killed_and_repeated(ground: Ground) -> None:
    """A clean-up that is killed behind its first file is tried again; cleared when nothing is left it succeeds, too."""
    ground.arm("step-21.middle")
    ground.green_run("first", events=300)
    assert ground.armed() == []
    assert ground.tasks("first")[CLEAN_UP].try_number == 2
    assert ground.staged_files() == []
    ground.require_green(ground.clear("first", CLEAN_UP))
    ground.oracle().require_every_record_once()


@pytest.mark.fault(10, "retried")
def test_a_load_is_marked_as_failed(ground: Ground) -> None:
    """A load that a person marks as failed has committed all or nothing; cleared it loads, or finds nothing to do."""
    ground.green_run("first", events=100, malformed=0)
    mark_the_load_as_failed(ground, "second", "step-18.inserted")
    assert count(ground.place, ground.copy.table) == 100
    ground.require_green(ground.clear("second", CONSUME, downstream=True))
    assert ground.accounts("second")["loaded"] == 300
    mark_the_load_as_failed(ground, "third", "step-19.committed")
    assert count(ground.place, ground.copy.table) == 700
    ground.require_green(ground.clear("third", LOAD, downstream=True))
    assert ground.accounts("third")["loaded"] == 300
    assert ground.staged_files() == []
    ground.oracle().require_every_record_once()


def mark_the_load_as_failed(ground: Ground, run_id: str, point: str) -> None:
    """Mark it while it stands at that point, and return when Airflow has ended its process and the run."""
    ground.arm(point, sent="SIGSTOP")
    ground.api.trigger(ground.copy.dag_id, {"events": 300, "malformed": 0}, run_id=run_id)
    wait_for("the load to stop at the point", lambda: stopped(ground.tasks(run_id)[LOAD].pid), RUN_LIMIT_S)
    process = Path(f"/proc/{ground.tasks(run_id)[LOAD].pid}")
    ground.api.set_task_state(ground.copy.dag_id, run_id, LOAD, "failed")
    wait_for("Airflow to end the process", lambda: True if not process.exists() else None, RUN_LIMIT_S)
    assert ground.wait(run_id).state == "failed"


def stopped(pid: int | None) -> bool | None:
    """Whether SIGSTOP has stopped this process."""
    stat = Path(f"/proc/{pid}/stat")
    return True if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "T" else None


@pytest.mark.fault(17, "goes on")
@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_runs_of_past_dates(ground: Ground) -> None:
    """Runs with logical dates of the past, in any order, each load what they produced: dates are no offsets."""
    for day, events in ((3, 30), (1, 20), (2, 0)):
        run_id = f"past_{day}"
        date = f"2026-01-0{day}T00:00:00+00:00"
        ground.api.trigger(ground.copy.dag_id, {"events": events, "malformed": 0}, run_id=run_id, logical_date=date)
        ground.require_green(ground.wait(run_id))
        logical_date = ground.logical_date(run_id)
        assert logical_date is not None
        assert logical_date.startswith(date[:10])
        assert ground.accounts(run_id)["loaded"] == events
    assert count(ground.place, "topicledger_batches") == 3
    ground.oracle().require_every_record_once()


@pytest.mark.fault(19, "stopped")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_changed_xcom_stops_the_task_that_reads_it(ground: Ground) -> None:
    """A task that is handed a changed value fails at once, naming the task to clear; that cleared, all is well."""
    ground.green_run("first", events=100)
    for task, key, value, reader, says in (
        (PRODUCE, "receipt", {"topic": "another"}, CONSUME, f"Clear {PRODUCE}"),
        (CONSUME, "manifest", {"path": "/etc/passwd"}, LOAD, f"Clear {CONSUME}"),
        (CONSUME, "staging_file_path", "/etc/passwd", LOAD, f"Clear {CONSUME}"),
        (LOAD, "plan_id", None, RECONCILE, f"Clear {LOAD}"),
    ):
        ground.change_xcom("first", task, key, value)
        ground.clear("first", reader)
        failed = ground.tasks("first")[reader]
        assert failed.state == "failed"
        assert says in ground.log("first", reader, failed.try_number)
        ground.require_green(ground.clear("first", task, downstream=True))
        ground.oracle().require_every_record_once()


@pytest.mark.fault(20, "goes on")
@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_many_partitions(ground: Ground) -> None:
    """On a topic of 300 partitions every XCom stays below 2 KB; the consumer cleared alone says what to clear."""
    ground.topics.add_partitions(ground.copy.topic, 300)
    ground.green_run("first", events=300)
    for task, keys in KEYS.items():
        for key in keys:
            assert 0 < len(json.dumps(ground.xcom("first", task, key))) < 2_000
    assert set(ground.xcom("first", PRODUCE, "receipt")) == {"path", "sha256", "batch_id"}
    assert ground.staged_files() == []
    assert ground.clear("first", CONSUME, downstream=True).state == "failed"
    consume = ground.tasks("first")[CONSUME]
    assert "Clear generate_and_produce_data" in ground.log("first", CONSUME, consume.try_number)
    ground.require_green(ground.clear_run("first"))
    ground.oracle().require_every_record_once()
