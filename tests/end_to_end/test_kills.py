"""SIGKILL of the task's own process at the worst moments; Airflow's retry does the rest."""

from __future__ import annotations

import pytest

from tests.end_to_end.ground import CONSUME, LOAD, PRODUCE, Ground

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.parametrize("place", ["duckdb", "postgres"], indirect=True)
@pytest.mark.fault(7, "retried")
@pytest.mark.fault(8, "nothing to do")
def test_a_kill_at_the_worst_moment_changes_nothing(ground: Ground) -> None:
    """Killed while producing, while staging, inside the load's transaction or after its COMMIT, a run ends green."""
    ground.arm("step-01.middle", "step-18.inserted")
    first = ground.green_run("first", events=2_500, malformed=0)
    assert ground.armed() == []
    assert _tries(ground, "first") == {PRODUCE: 2, CONSUME: 1, LOAD: 2}
    assert first["acked"] == first["acked_seen"] == first["loaded"] == 2_500
    assert first["records"] == first["loaded"] + first["duplicates"]
    ground.oracle().require_every_record_once()

    ground.arm("step-11.chunk_staged", "step-19.committed")
    second = ground.green_run("second", events=1_500)
    assert ground.armed() == []
    assert _tries(ground, "second") == {PRODUCE: 1, CONSUME: 2, LOAD: 2}
    assert "is in the ledger already" in ground.log("second", LOAD, 2)
    assert (second["records"], second["loaded"], second["dead_letters"]) == (1_500, 1_492, 8)
    ground.oracle().require_every_record_once()
    assert ground.staged_files() == []
    assert ground.topics.committed(ground.copy.dag_id, ground.copy.topic) == ground.topics.ends(ground.copy.topic)


def _tries(ground: Ground, run_id: str) -> dict[str, int]:
    tasks = ground.tasks(run_id)
    return {name: tasks[name].try_number for name in (PRODUCE, CONSUME, LOAD)}
