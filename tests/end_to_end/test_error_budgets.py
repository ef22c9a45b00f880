"""The param `error_budget`, through the scheduler."""

from __future__ import annotations

import pytest

from tests.end_to_end.ground import CLEAN_UP, CONSUME, LOAD, PRODUCE, RECONCILE, Ground
from tests.support.looking import query

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_runs_error_budget(ground: Ground) -> None:
    """A run over its budget fails at once with nothing loaded; one with a larger budget loads the very same records."""
    ground.green_run("first", events=100, malformed=0.05, error_budget=0.05)
    assert ground.run("second", events=200, malformed=0.5, error_budget=0.4).state == "failed"
    tasks = ground.tasks("second")
    assert {name: task.state for name, task in tasks.items()} == {
        PRODUCE: "success",
        CONSUME: "failed",
        LOAD: "upstream_failed",
        CLEAN_UP: "success",
        RECONCILE: "upstream_failed",
    }
    assert tasks[CONSUME].try_number == 1
    said = ground.log("second", CONSUME)
    assert "IntegrityError: 100 of 200 records can't become rows: 0.5 of the batch, the error budget is 0.4" in said
    assert "error_budget at 0.5 or more" in said
    assert ground.staged_files() == []
    assert query(ground.place, "SELECT COUNT(*) FROM topicledger_batches") == [(1,)]

    accounts = ground.green_run("third", events=0, error_budget=0.5)
    assert (accounts["records"], accounts["loaded"], accounts["dead_letters"]) == (200, 100, 100)
    ground.oracle().require_every_record_once()
