"""The users' way: their own Airflow and Kafka, the wheel, `topicledger init`, the connections, unpause."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.end_to_end.users_visit import DAG_FILES, OWN_SENT, TABLE, TOPIC, Visit

# Each installs an Airflow from the package registry, and how long that takes nobody knows.
pytestmark = [pytest.mark.airflow, pytest.mark.slow]

ON_BOTH = pytest.mark.parametrize("which", ["newest", "oldest"])


@pytest.mark.fault(121, "goes on")
@pytest.mark.fault(122, "goes on")
@ON_BOTH
def test_install_init_connect_unpause_is_all_it_takes(visited: Callable[[str], Visit], which: str) -> None:
    """Airflow, newest or 2.11, runs the shipped DAG and that of an own topic green; every record is accounted for.

    The newest has its DAG files in a folder below the dags folder; both have a variable in AIRFLOW_HOME.
    """
    seen = visited(which)
    assert all(name in seen.init for name in DAG_FILES)
    assert "site-packages" in seen.engine.parts
    assert f"topic {TOPIC} into {TABLE}, as in " in seen.checked
    assert "keeps records for 7 days; at most 1 day between two runs" in seen.checked
    assert "Nothing would stop a run." in seen.checked
    assert seen.states == seen.own_states == ["success"]
    assert seen.own_rows == OWN_SENT
    assert (len(seen.verdict.rows), len(seen.verdict.dead_letters)) == (995, 5)
    assert {identity["name"] for identity in seen.report["identities"]} == {"I1", "I2", "I3", "I4", "I5"}
    assert all(identity["holds"] for identity in seen.report["identities"])
    assert seen.left == []


@ON_BOTH
def test_the_two_files_alone_say_what_to_install(visited: Callable[[str], Visit], which: str) -> None:
    """Without the wheel, `airflow dags list-import-errors` shows what to install where."""
    error = visited(which).import_errors["user_etl_dag.py"]
    assert "pip install 'topicledger[duckdb,postgres]'" in error
    assert "scheduler, DAG processor and workers" in error
