"""Cleared tasks and runs: Airflow runs them again, and the warehouse stays as it is."""

from __future__ import annotations

import pytest

from tests.end_to_end.ground import CONSUME, LOAD, RECONCILE, Ground
from tests.support.records import produce, sign_ups

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.fault(14, "nothing to do")
def test_clearing_the_load_alone_gives_the_stored_accounts(ground: Ground) -> None:
    """The load, cleared after its files were cleaned up, loads nothing and pushes the same accounts."""
    accounts = ground.green_run("first", events=300)
    ground.require_green(ground.clear("first", LOAD))
    assert ground.tasks("first")[LOAD].try_number == 2
    assert ground.tasks("first")[CONSUME].try_number == 1
    assert "was loaded before its files were cleaned up" in ground.log("first", LOAD, 2)
    assert ground.xcom("first", LOAD, "accounts") == accounts
    ground.oracle().require_every_record_once()


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_clearing_the_consumer_loads_what_came_since(ground: Ground) -> None:
    """The consumer, cleared with what follows it, takes what others produced since, and nothing a second time."""
    ground.green_run("first", events=300)
    produce(ground.topics.bootstrap, ground.copy.topic, sign_ups(range(20), 3))
    ground.require_green(ground.clear("first", CONSUME, downstream=True))
    assert {task: ground.tasks("first")[task].try_number for task in (CONSUME, LOAD, RECONCILE)} == {
        CONSUME: 2,
        LOAD: 2,
        RECONCILE: 2,
    }
    accounts = ground.accounts("first")
    assert (accounts["records"], accounts["loaded"], accounts["acked_seen"]) == (20, 20, None)
    ground.oracle().require_every_record_once()
    assert ground.staged_files() == []


@pytest.mark.fault(15, "counted")
@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_clearing_the_whole_run_counts_its_repeated_records(ground: Ground) -> None:
    """A whole run, cleared after others produced more, loads those and counts its own repeated ones as duplicates."""
    ground.green_run("first", events=300, malformed=0)
    produce(ground.topics.bootstrap, ground.copy.topic, sign_ups(range(20), 3))
    ground.require_green(ground.clear_run("first"))
    accounts = ground.accounts("first")
    assert (accounts["records"], accounts["loaded"], accounts["duplicates"]) == (320, 20, 300)
    assert accounts["acked"] == accounts["acked_seen"] == 300
    verdict = ground.oracle().require_every_record_once()
    assert (len(verdict.rows), len(verdict.duplicates)) == (320, 300)
    assert ground.staged_files() == []


@pytest.mark.fault(103, "goes on")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_consumer_that_stages_once_more_after_the_load(ground: Ground) -> None:
    """With another batch in the consumer's XComs, closing the books still looks at what was loaded."""
    accounts = ground.green_run("first", events=300)
    handle = ground.xcom("first", CONSUME, "manifest")
    produce(ground.topics.bootstrap, ground.copy.topic, sign_ups(range(20), 3))
    ground.require_green(ground.clear("first", CONSUME))
    assert ground.xcom("first", CONSUME, "manifest") != handle
    ground.require_green(ground.clear("first", RECONCILE))
    assert ground.tasks("first")[RECONCILE].try_number == 2
    assert ground.accounts("first") == accounts
    ground.require_green(ground.clear("first", LOAD, downstream=True))
    assert (ground.accounts("first")["records"], ground.accounts("first")["loaded"]) == (20, 20)
    ground.oracle().require_every_record_once()
