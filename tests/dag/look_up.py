"""Asks Airflow where things are in several environments, what connections say and what executors are; as JSON.

Before, it makes the tables where a task without a warehouse connection would.

Runs in a process of its own. Standard input: environments, each with what it sets; texts of connections; and
values of `[core] executor`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import airflow.configuration
from airflow.executors.executor_loader import ExecutorLoader, _executor_names
from airflow.sdk import BaseHook

from topicledger.airflow import connections
from topicledger.signups import SIGNUPS
from topicledger.warehouse.choice import open_warehouse


def places(environment: dict[str, str]) -> list[str]:
    """Airflow's home and its dags folder, read anew."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        configuration = importlib.reload(airflow.configuration)
        return [configuration.AIRFLOW_HOME, configuration.conf.get("core", "dags_folder")]
    finally:
        os.environ.clear()
        os.environ.update(before)


def connection(text: str) -> dict[str, Any] | None:
    """A connection's fields as a task gets them; None where it gets none."""
    os.environ["AIRFLOW_CONN_ASKED"] = text
    try:
        found = BaseHook.get_connection("asked")
    except Exception:  # noqa: BLE001 - whatever a task would meet
        return None
    names = ("conn_type", "host", "port", "login", "password", "schema")
    return {name: getattr(found, name) or None for name in names} | {"extra": json.loads(found.extra or "{}")}


def executors(setting: str) -> dict[str, Any]:
    """Which classes Airflow takes that setting for, and what the product makes of it."""
    os.environ |= {"AIRFLOW__CORE__EXECUTOR": setting, "AIRFLOW__CORE__MULTI_TEAM": "True"}
    _executor_names.clear()
    names = ExecutorLoader.get_executor_names(validate_teams=False)
    return {"classes": [name.module_path for name in names], "elsewhere": connections._may_run_elsewhere()}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    open_warehouse(connections.warehouse_connection("warehouse_default"), SIGNUPS).ensure_tables()
    answers = {
        "connections": [connection(text) for text in given["connections"]],
        "executors": [executors(setting) for setting in given["executors"]],
        "places": [places(environment) for environment in given["environments"]],
    }
    print("\n" + json.dumps(answers))  # noqa: T201 - the answer
