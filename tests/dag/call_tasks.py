"""Calls the DAG's callables with a context made by hand, and prints what each raised as JSON.

One more is of a DAG with names of its own. Runs in a process of its own. Standard input: a list of cases, each with
the callable's name, and the environment that it sees.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import user_etl_dag
from topicledger import retries
from topicledger.airflow import Ledger, LedgerRun
from topicledger.kafka.topic import TopicObserver

OWN = Ledger("topicledger.signups:SIGNUPS")


@OWN.task
def put(run: LedgerRun) -> None:
    """Load what the task `take.read` staged."""
    from topicledger.steps.load import load_batch

    run.announce(load_batch(run, run.pull("take.read", "staging_file_path"), run.pull("take.read", "manifest")))


class NothingPushed:
    """The task instance of a run in which no task pushed anything, at its first try of four."""

    try_number, max_tries = 1, 3

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id

    def xcom_push(self, key: str, value: object) -> None:
        """No case gets that far."""
        raise AssertionError(f"{key} was pushed: {value}")

    def xcom_pull(self, task_ids: str, key: str) -> None:
        """There is nothing."""


def call(case: dict[str, Any]) -> dict[str, Any]:
    """Call one task in its environment."""
    before = dict(os.environ)
    os.environ.update(case["environment"])
    ledger = user_etl_dag.SIGNUPS
    declared = ledger._declared
    ledger._declared = case.get("pipeline", declared)
    vars(ledger).pop("pipeline", None)
    context = {
        "params": {
            "events": case["events"],
            "malformed": 0,
            "seed": 0,
            "accept": case.get("accept"),
            "error_budget": case.get("error_budget"),
        },
        "ti": NothingPushed(case["task"]),
        "dag_run": SimpleNamespace(run_id="manual", logical_date=dt.datetime.now(dt.UTC)),
    }
    try:
        getattr(user_etl_dag, case["task"], put)(**context)
    except Exception as error:  # noqa: BLE001 - which one it is, is the answer
        shown = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        types = [kind.__name__ for kind in type(error).__mro__]
        return {"types": types, "message": str(error), "below": repr(shown) if shown else ""}
    finally:
        os.environ.clear()
        os.environ.update(before)
        ledger._declared = declared
    return {"types": [], "message": ""}


if __name__ == "__main__":
    # Nothing listens where the cases look: waiting longer finds the same.
    retries.RETRY_S = 0.2
    TopicObserver.__init__.__defaults__ = (1.0,)
    print("\n" + json.dumps([call(case) for case in json.load(sys.stdin)]))  # noqa: T201 - the answer
