"""Airflow's time limit of a task, running out for real while the warehouse doesn't answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.end_to_end.ground import CONSUME, LOAD, RUN_LIMIT_S, Ground
from tests.support.looking import count
from tests.support.topics import wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG_CHANGES = {
    "        execution_timeout=dt.timedelta(minutes=30),": "        execution_timeout=dt.timedelta(seconds=40),",
    (
        '    load = PythonOperator(task_id="load_staged_data", python_callable=load_staged_data, '
        "doc_md=load_staged_data.__doc__)"
    ): (
        '    load = PythonOperator(task_id="load_staged_data", python_callable=load_staged_data, '
        "execution_timeout=dt.timedelta(seconds=40))"
    ),
}
"""Seconds instead of minutes, and one for the load, which has none."""


@contextmanager
def locked(ground: Ground, statement: str) -> Iterator[None]:
    """Hold what the statement locks for as long as the block lasts."""
    place = ground.place
    dsn = f"host={place.host} port={place.port} user={place.login} dbname={place.schema}"
    with psycopg.connect(dsn) as session:
        session.execute(statement.encode())
        yield


@pytest.mark.fault(12, "retried")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_the_time_limit_runs_out_in_the_warehouse(ground: Ground) -> None:
    """A task whose time limit runs out while it waits for a lock leaves nothing; its next try goes through."""
    ground.green_run("first", events=100, malformed=0)
    positions = "SELECT 1 FROM topicledger_positions FOR UPDATE"
    for run_id, task, statement in (
        ("second", CONSUME, "LOCK TABLE topicledger_positions IN ACCESS EXCLUSIVE MODE"),
        ("third", LOAD, positions),
    ):
        before = count(ground.place, ground.copy.table)
        with locked(ground, statement):
            ground.api.trigger(ground.copy.dag_id, {"events": 100, "malformed": 0}, run_id=run_id)
            wait_for(f"the first try of {task} to fail", lambda: failed_once(ground, run_id, task), RUN_LIMIT_S)  # noqa: B023
        log = ground.log(run_id, task, 1)
        assert "AirflowTaskTimeout" in log
        assert "The try reached its execution timeout; nothing that it did halfway counts" in log
        ground.require_green(ground.wait(run_id))
        assert ground.tasks(run_id)[task].try_number > 1
        assert count(ground.place, ground.copy.table) == before + 100
        assert ground.staged_files() == []
    ground.oracle().require_every_record_once()


def failed_once(ground: Ground, run_id: str, task: str) -> bool | None:
    found = ground.tasks(run_id)[task]
    return True if found.state == "up_for_retry" or found.try_number > 1 else None
