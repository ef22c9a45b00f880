"""Calls the DAG's reconcile task with XComs made by hand, and prints what came of each case as JSON.

Runs in a process of its own. Standard input: a list of cases, each with the environment and the XComs that the
task finds, and secrets. Also prints what the DAG file says of a run's time, and what a log shows of the secrets.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

from airflow.sdk.log import redact  # type: ignore[attr-defined] # re-exported there

import user_etl_dag
from topicledger.airflow import LedgerRun

THEN = dt.datetime(2020, 2, 2, tzinfo=dt.UTC)


class Handed:
    """The task instance of a run whose tasks pushed what the case says."""

    task_id, try_number, max_tries = "reconcile_batch", 1, 3

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: object) -> None:
        """Keep it."""
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        """Give what the case has."""
        return self._given[f"{task_ids}.{key}"]


def reconcile(case: dict[str, Any]) -> dict[str, Any]:
    """Call the task in the case's environment."""
    os.environ.update(case["environment"])
    handed = Handed(case["xcoms"])
    dag_run = SimpleNamespace(run_id=case["run_id"], logical_date=THEN)
    try:
        user_etl_dag.reconcile_batch(ti=handed, dag_run=dag_run, params={})
    except Exception as error:  # noqa: BLE001 - which one it is, is the answer
        return {"raised": type(error).__name__, "message": str(error), "pushed": handed.pushed}
    return {"raised": "", "message": "", "pushed": handed.pushed}


def run_times() -> list[str]:
    """The time of a scheduled run, and of one without a logical date."""
    runs = [SimpleNamespace(logical_date=THEN, run_after=None), SimpleNamespace(logical_date=None, run_after=THEN)]
    for run in runs:
        run.run_id = "manual"
    return [LedgerRun(user_etl_dag.SIGNUPS, {"dag_run": run, "params": {}}).at.isoformat() for run in runs]


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Everything that was asked."""
    cases = [reconcile(case) for case in given["cases"]]
    logged = [redact(f"it is {secret}") for secret in given["secrets"]]
    return {"cases": cases, "run_times": run_times(), "logged": logged}


if __name__ == "__main__":
    print("\n" + json.dumps(main(json.load(sys.stdin)), default=str))  # noqa: T201 - the answer
