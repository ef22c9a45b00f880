"""What a person has to set right, seen from the tasks: one mapping from the engine's errors to Airflow's."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.dag.processes import DAGS, ENGINE, SITE_PACKAGES, ask

PRODUCE, CONSUME = "generate_and_produce_data", "consume_and_stage_data"
LOAD = "load_staged_data"
SECRET = "planted-and-never-to-be-seen"
NOBODY = {"bootstrap.servers": "127.0.0.1:1"}
"""No broker listens on port 1."""


def _kafka(extra: dict[str, str] | str) -> dict[str, str]:
    return {"AIRFLOW_CONN_KAFKA_DEFAULT": json.dumps({"conn_type": "kafka", "extra": extra})}


def _warehouse(**fields: str | int) -> dict[str, str]:
    return {"AIRFLOW_CONN_WAREHOUSE_DEFAULT": json.dumps({**fields, "login": "etl", "password": SECRET})}


CASES: dict[str, tuple[str, dict[str, str]]] = {
    "no_kafka_connection": (PRODUCE, {}),
    "extra_not_json": (PRODUCE, _kafka('{"sasl.password": "' + SECRET)),
    "extra_not_an_object": (PRODUCE, _kafka(f'["{SECRET}"]')),
    "no_servers": (PRODUCE, _kafka({"sasl.password": SECRET})),
    "runs_code": (PRODUCE, _kafka({**NOBODY, "plugin.library.paths": "x.so", "sasl.password": SECRET})),
    "callback": (PRODUCE, _kafka({**NOBODY, "error_cb": "os.system", "sasl.password": SECRET})),
    "any_certificate": (PRODUCE, _kafka({**NOBODY, "enable.ssl.certificate.verification": "false"})),
    "broker_down": (PRODUCE, _kafka({**NOBODY, "sasl.username": "etl", "sasl.password": SECRET})),
    "other_executor": (CONSUME, {**_kafka(NOBODY), "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}),
    "in_a_pod": (CONSUME, {**_kafka(NOBODY), "AIRFLOW_IS_K8S_EXECUTOR_POD": "True"}),
    "unknown_warehouse": (CONSUME, {**_kafka(NOBODY), **_warehouse(conn_type="mysql", host="127.0.0.1")}),
    "own_names": ("put", {}),
    "no_share": (CONSUME, _kafka(NOBODY)),
    "no_module": (CONSUME, _kafka(NOBODY)),
    "no_such_pipeline": (LOAD, _kafka(NOBODY)),
    "warehouse_down": (
        CONSUME,
        {**_kafka(NOBODY), **_warehouse(conn_type="postgres", host="127.0.0.1", port=1, schema="sales")},
    ),
}

PIPELINES = {"no_module": "paymnts:PAYMENTS", "no_such_pipeline": "topicledger.signups:SIGNUP"}
"""Which pipeline the DAG file of a case names."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What each case raised, and all that was printed meanwhile."""
    cases: list[dict[str, Any]] = [
        {"task": task, "environment": environment, "events": int(task == PRODUCE)}
        for task, environment in CASES.values()
    ]
    cases[list(CASES).index("no_share")]["error_budget"] = 5
    for name, pipeline in PIPELINES.items():
        cases[list(CASES).index(name)]["pipeline"] = pipeline
    home = tmp_path_factory.mktemp("asked")
    found, printed = ask("call_tasks.py", [], home, [DAGS, ENGINE, SITE_PACKAGES], given=cases)
    return dict(zip(CASES, found, strict=True)), printed


@pytest.mark.fault(123, "stopped")
@pytest.mark.parametrize(
    ("case", "says", "next_step"),
    [
        ("no_kafka_connection", "kafka_default is not defined", "airflow connections add kafka_default"),
        ("extra_not_json", "kafka_default: its Extra is not JSON", '{"bootstrap.servers": "host:9092"}'),
        ("extra_not_an_object", "kafka_default: its Extra is a JSON list", "object"),
        ("no_servers", "kafka_default has no 'bootstrap.servers'", '{"bootstrap.servers": "host:9092"}'),
        ("runs_code", "kafka_default: its Extra has plugin.library.paths (loads a library)", "remove it"),
        ("callback", "kafka_default: Refusing to resolve Kafka callback error_cb", "callback_allowlist"),
        ("any_certificate", "enable.ssl.certificate.verification in its Extra lets anybody", "ssl.ca.pem"),
        ("other_executor", "the executor is CeleryExecutor", "Define it, of type postgres"),
        ("in_a_pod", "each task runs in a container of its own", "Define it, of type postgres"),
        ("no_share", "error_budget is 5", "use a share from 0 to 1"),
        ("no_module", "pipeline 'paymnts:PAYMENTS': there is no module paymnts", "put it beside the DAG file"),
        ("no_such_pipeline", "has no SIGNUP; the pipelines in it: SIGNUPS", "Correct the name"),
        (
            "unknown_warehouse",
            "warehouse_default is of type 'mysql'",
            "use 'duckdb', 'postgres', 'snowflake', 'aws' or 'fs'",
        ),
    ],
)
def test_what_a_person_must_fix_fails_at_once(
    asked: tuple[dict[str, Any], str], case: str, says: str, next_step: str
) -> None:
    """A wrong setting raises AirflowFailException, which no retry follows, with what is wrong and what to do."""
    raised = asked[0][case]
    assert raised["types"][0] == "AirflowFailException", raised["message"]
    assert raised["message"].startswith("SettingsError: ")
    task = CONSUME if CASES[case][0] == LOAD else CASES[case][0]
    assert re.search(rf"\. When that is mended, clear {task} \(with downstream\) \[[a-z-]+\]$", raised["message"])
    assert says in raised["message"]
    assert next_step in raised["message"]


def test_the_advice_names_the_dags_own_tasks(asked: tuple[dict[str, Any], str]) -> None:
    """What is to be cleared is the task that the failed one takes its input from, whatever the DAG calls it."""
    message = asked[0]["own_names"]["message"]
    assert message.endswith(". Clear take.read (with downstream) [manifest-xcom-missing]")


@pytest.mark.parametrize(("case", "says"), [("broker_down", "127.0.0.1:1"), ("warehouse_down", "database sales")])
def test_what_may_pass_is_left_to_the_retries(asked: tuple[dict[str, Any], str], case: str, says: str) -> None:
    """A broker or a warehouse that doesn't answer ends the try, not the task, and says that another one comes."""
    raised = asked[0][case]
    assert raised["types"][0] == "AirflowException"
    assert raised["message"].startswith("RetriableError: ")
    assert re.search(
        r"\. It was try 1 of 4: the task is tried again, by itself \[[a-z-]+-unavailable\]$", raised["message"]
    )
    assert says in raised["message"]


def test_a_log_ends_with_the_sentence(asked: tuple[dict[str, Any], str]) -> None:
    """Below an error of ours stands no cause, which is what a person would see where Airflow opens the log."""
    assert {case: raised["below"] for case, raised in asked[0].items() if raised["below"]} == {}


def test_no_secret_is_shown(asked: tuple[dict[str, Any], str]) -> None:
    """Passwords in an Extra or a connection are in no message, and nowhere in what was logged."""
    found, printed = asked
    assert all(raised["message"] for raised in found.values())
    assert SECRET not in json.dumps(found)
    assert SECRET not in printed
