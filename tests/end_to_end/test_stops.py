"""Runs that must not be green: what a person has to decide stops them, and says how to go on."""

from __future__ import annotations

import ast
import re

import pytest

from tests.end_to_end.ground import CLEAN_UP, CONSUME, LOAD, PRODUCE, RECONCILE, Ground
from tests.support.looking import count, query
from tests.support.records import produce, sign_ups

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.fault(13, "stopped")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_load_that_fails_for_good_fails_the_run(ground: Ground) -> None:
    """A load that a retry can't mend is tried once; the run is red although cleanup is green; staged again it loads."""
    ground.green_run("first", events=300, malformed=0)
    query(ground.place, f"ALTER TABLE {ground.copy.table} ADD CONSTRAINT none CHECK (user_id < 0) NOT VALID")
    assert ground.run("second", events=300).state == "failed"
    tasks = ground.tasks("second")
    assert {name: task.state for name, task in tasks.items()} == {
        PRODUCE: "success",
        CONSUME: "success",
        LOAD: "failed",
        CLEAN_UP: "success",
        RECONCILE: "upstream_failed",
    }
    assert tasks[LOAD].try_number == 1
    said = _said(ground, "second", LOAD)
    assert said.startswith("IntegrityError: ")
    assert said.endswith(". Clear consume_and_stage_data (with downstream) [rule-refuses-record]")
    assert ground.staged_files() == []
    assert count(ground.place, ground.copy.table) == 300

    query(ground.place, f"ALTER TABLE {ground.copy.table} DROP CONSTRAINT none")
    ground.require_green(ground.clear("second", CONSUME, downstream=True))
    accounts = ground.accounts("second")
    assert accounts["records"] == accounts["acked_seen"] == 300
    assert ground.staged_files() == []
    ground.oracle().require_every_record_once()


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_a_loss_stops_the_run_until_exactly_it_is_accepted(ground: Ground) -> None:
    """With no events of its own a run loads what others produced; a loss stops it until exactly that is accepted."""
    bootstrap, topic = ground.topics.bootstrap, ground.copy.topic
    produce(bootstrap, topic, sign_ups(range(30), 3))
    accounts = ground.green_run("first", events=0)
    assert (accounts["loaded"], accounts["acked"]) == (30, None)
    assert ground.xcom("first", PRODUCE, "receipt") is None

    produce(bootstrap, topic, sign_ups(range(30, 60), 3))
    oracle = ground.oracle()
    oracle.read()
    ground.topics.delete_records(topic, partition=1, before=14)
    _require_refused(ground, ground.run("second", events=0).run_id)
    _require_refused(ground, ground.run("third", events=0, accept=["gap:1:10:13"]).run_id)
    accounts = ground.green_run("fourth", events=0, accept=["gap:1:10:14"])
    assert (accounts["gap"], accounts["loaded"], accounts["records"]) == (4, 26, 26)
    topic_id = ground.topics.topic_id(topic)
    oracle.require_every_record_once(lost=frozenset((topic_id, 1, offset) for offset in range(10, 14)))


def _require_refused(ground: Ground, run_id: str) -> None:
    consume = ground.tasks(run_id)[CONSUME]
    assert (consume.state, consume.try_number) == ("failed", 1)
    assert _said(ground, run_id, CONSUME).endswith('trigger the DAG with {"accept": ["gap:1:10:14"]} [offsets-lost]')
    assert ground.staged_files() == []
    assert count(ground.place, ground.copy.table) == 30


def _said(ground: Ground, run_id: str, task_id: str) -> str:
    """The sentence of the exception that ended the task, which Airflow's page shows first and never folds away."""
    (detail,) = re.findall(r"error_detail=(\[.*\])$", ground.log(run_id, task_id), re.MULTILINE)
    outermost = ast.literal_eval(detail)[0]
    assert outermost["exc_type"] == "AirflowFailException"
    return str(outermost["exc_value"])
