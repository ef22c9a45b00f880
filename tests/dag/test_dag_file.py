"""The DAG file, parsed by Airflow 3 without a scheduler, a database or a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dag.processes import DAGS, ENGINE, SITE_PACKAGES, ask

PRODUCE, CONSUME, LOAD = "generate_and_produce_data", "consume_and_stage_data", "load_staged_data"
CLEAN_UP, RECONCILE = "cleanup_staging_file", "reconcile_batch"


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the parser found in each situation."""
    scratch = tmp_path_factory.mktemp("parsed")
    site = scratch / "site"
    site.mkdir()
    # As if this checkout weren't installed: neither its modules, which the site module finds, nor its entry points.
    for path in Path(SITE_PACKAGES).iterdir():
        if "topicledger" not in path.name:
            (site / path.name).symlink_to(path)
    found, _ = ask("parse_dags.py", [str(DAGS), str(ENGINE), str(scratch)], scratch, [site], options=["-S"])
    return dict(found)


@pytest.fixture(scope="module")
def shipped(parsed: dict[str, Any]) -> dict[str, Any]:
    """What the parser found in the folder with the shipped files."""
    return dict(parsed["shipped"])


@pytest.mark.fault(24, "goes on")
def test_it_parses_lightly(shipped: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Parsing opens no connection, imports no client and no warehouse, and makes one DAG that serialises."""
    with capsys.disabled():
        print(f"\nuser_etl_dag.py parses in {shipped['took_ms']:.0f} ms beyond Airflow's own imports")  # noqa: T201
    assert shipped["import_errors"] == {}
    assert shipped["heavy"] == []
    assert shipped["serialised_again"]


@pytest.mark.fault(24, "goes on")
def test_it_parses_without_clients_and_drivers(parsed: dict[str, Any]) -> None:
    """Without Kafka's client, its provider, Arrow or a driver installed the DAG file parses all the same."""
    hooks = "airflow.providers.apache.kafka.hooks"
    assert set(parsed["blocked"]) == {"confluent_kafka", "pyarrow", "duckdb", "psycopg", hooks}
    assert parsed["shipped"]["import_errors"] == {}
    assert parsed["shipped"]["serialised_again"]


def test_its_tasks_are_the_documented_ones(shipped: dict[str, Any]) -> None:
    """Five tasks; the load leads to cleanup and to reconciling, so that a failed load can't end green."""
    tasks = shipped["tasks"]
    assert {name: task["downstream"] for name, task in tasks.items()} == {
        PRODUCE: [CONSUME],
        CONSUME: [LOAD],
        LOAD: [CLEAN_UP, RECONCILE],
        CLEAN_UP: [],
        RECONCILE: [],
    }
    assert {name for name, task in tasks.items() if task["type"] == "BashOperator"} == {CLEAN_UP}
    assert {name for name, task in tasks.items() if task["type"] == "PythonOperator"} == tasks.keys() - {CLEAN_UP}
    assert {name: task["trigger_rule"] for name, task in tasks.items() if task["trigger_rule"] != "all_success"} == {
        CLEAN_UP: "all_done"
    }
    assert {name for name, task in tasks.items() if task["limit_s"]} == {CONSUME}
    assert all(task["documented"] for task in tasks.values())


def test_its_retries_back_off_within_a_bound(shipped: dict[str, Any]) -> None:
    """Every task is tried again, ever more slowly, up to a bound; the first delay is left to Airflow's setting."""
    for task in shipped["tasks"].values():
        assert task["retries"] >= 1
        assert task["backs_off"]
        assert 60 <= task["max_retry_delay_s"] <= 3_600
    assert "retry_delay" not in shipped["dag"].get("default_args", {}).get("__var", {})


def test_its_schedule_and_params_are_the_documented_ones(shipped: dict[str, Any]) -> None:
    """A daily run, one at a time, none for the past; five params, each with a schema for the form."""
    dag = shipped["dag"]
    assert dag["dag_id"] == "robust_kafka_etl_pipeline"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert "0 0 * * *" in str(dag["timetable"])
    schemas = shipped["params"]
    assert {name: schema["type"] for name, schema in schemas.items()} == {
        "events": "integer",
        "malformed": "number",
        "seed": "integer",
        "accept": ["null", "array"],
        "error_budget": ["null", "number"],
    }
    assert (schemas["events"]["minimum"], schemas["malformed"]["maximum"]) == (0, 1)


def test_without_the_engine_it_says_what_to_install(parsed: dict[str, Any]) -> None:
    """The two files without the engine are an import error with the command that mends it, and where to run it."""
    error = parsed["without_engine"]
    assert "ImportError" in error
    assert "pip install 'topicledger[" in error
    assert "scheduler, DAG processor and workers" in error


@pytest.mark.fault(94, "goes on")
@pytest.mark.fault(121, "goes on")
@pytest.mark.parametrize("engine", ["installed", "vendored"])
def test_wherever_both_files_lie(parsed: dict[str, Any], engine: str) -> None:
    """In the dags folder, in one below it and in a zip the DAG file uses what lies beside it: its Kafka side, though
    another module of that name comes first on the path, a pipeline of one's own, and the engine where it is vendored.
    """
    root, below, packed = parsed[engine]
    assert [used.get("import_errors") for used in (root, below, packed)] == [None] * 3
    assert [used["kafka_side"] for used in (root, below, packed)] == ["", "team_a", "packed.zip"]
    assert [used["table"] for used in (root, below, packed)] == ["user_signups"] * 3
    engines = [used["engine"] for used in (root, below, packed)]
    if engine == "installed":
        assert {Path(found).parents[1] for found in engines} == {ENGINE}
    else:
        beside = ["vendored_", "vendored_team_a/team_a", "vendored_packed.zip/packed.zip"]
        assert all(f"{folder}/topicledger/" in used for folder, used in zip(beside, engines, strict=True))


def test_a_missing_kafka_utils_is_named(parsed: dict[str, Any]) -> None:
    """The DAG file alone is an import error that says which file has to lie where, and what writes it."""
    error = parsed["alone"]
    assert "ImportError" in error
    assert re.search(r"there is no \S+/alone/kafka_utils\.py: put the file there", error)
    assert "`topicledger init` writes" in error


def test_only_the_dag_file_is_taken_for_one() -> None:
    """Airflow opens files that have both its words; kafka_utils.py, with its heavy imports, must not be one."""
    text = (DAGS / "kafka_utils.py").read_text().lower()
    assert not ("dag" in text and "airflow" in text)


def test_airflow_3_is_written_without_what_it_has_removed() -> None:
    """Ruff's rules for Airflow 3 find nothing in the DAG files."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "AIR3", str(DAGS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
