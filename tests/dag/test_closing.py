"""The end of a run, as the DAG's own callables and its shell command do it: closing the books, cleaning up."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dag.processes import DAGS, ENGINE, SITE_PACKAGES, ask
from tests.support.looking import query
from tests.support.places import duckdb_file
from tests.support.records import sign_ups
from tests.support.steps import Case, OneRun, make_case
from tests.support.topics import Topics
from topicledger.airflow.ledger import Ledger

DAG_ID = "robust_kafka_etl_pipeline"
SECRETS = {"sasl.username": "planted-user", "ssl.key.pem": "planted-key"}


def _xcoms(loaded: OneRun, staged: OneRun) -> dict[str, Any]:
    """What the tasks have pushed: the load of one plan, the consumer that of another."""
    assert loaded.row is not None
    assert staged.staged is not None
    return {
        "load_staged_data.plan_id": loaded.row.plan_id,
        "consume_and_stage_data.manifest": msgspec.to_builtins(staged.staged.handle),
    }


def _run_and_zombie(topics: Topics, folder: Path) -> tuple[Case, OneRun, OneRun]:
    """A run that loaded, and the same run's consumer as a zombie that staged more afterwards."""
    case = make_case(topics, duckdb_file(folder), folder).changed(name=DAG_ID)
    case.send(sign_ups(range(6), partitions=2))
    run, zombie = OneRun(case), OneRun(case)
    run.consume()
    run.load()
    case.send(sign_ups(range(6, 9)))
    zombie.consume()
    return case, run, zombie


@pytest.fixture(scope="module")
def closed(topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the reconcile task did with a good ledger, then with a damaged one."""
    cases = []
    for damage in ("", "UPDATE topicledger_positions SET position = position + 1"):
        case, run, zombie = _run_and_zombie(topics, tmp_path_factory.mktemp("case"))
        if damage:
            query(case.place, damage)
        extra = {"bootstrap.servers": topics.bootstrap, **SECRETS}
        environment = {
            "AIRFLOW_CONN_KAFKA_DEFAULT": json.dumps({"conn_type": "kafka", "extra": extra}),
            "AIRFLOW_CONN_WAREHOUSE_DEFAULT": json.dumps({"conn_type": "duckdb", "host": case.place.host}),
        }
        cases.append({"environment": environment, "run_id": run.name, "xcoms": _xcoms(run, zombie)})
    given = {"cases": cases, "secrets": list(SECRETS.values())}
    home = tmp_path_factory.mktemp("home")
    return ask("close_books.py", [], home, [DAGS, ENGINE, SITE_PACKAGES], given=given)[0]  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.fault(103, "goes on")
def test_reconciling_looks_at_what_was_loaded(closed: dict[str, Any]) -> None:
    """The plan is the one that the load pushed, whatever a zombie of the consumer has put into its own XCom since."""
    good, _ = closed["cases"]
    assert good["raised"] == "", good["message"]
    assert (good["pushed"]["accounts"]["loaded"], good["pushed"]["accounts"]["records"]) == (6, 6)
    assert Path(good["pushed"]["report_path"]).is_file()


@pytest.mark.slow
def test_broken_books_fail_the_reconciler(closed: dict[str, Any]) -> None:
    """Books that no longer close fail the task for good, naming the identity, and no accounts are pushed."""
    _, damaged = closed["cases"]
    assert damaged["raised"] == "AirflowFailException"
    assert "don't close: I4" in damaged["message"]
    assert damaged["pushed"] == {}


@pytest.mark.slow
def test_the_runs_time_is_its_own(closed: dict[str, Any]) -> None:
    """Simulated events derive from the run's logical date, or from when it was due; never from the clock."""
    assert closed["run_times"] == ["2020-02-02T00:00:00+00:00"] * 2


@pytest.mark.slow
def test_secrets_of_the_extra_are_masked(closed: dict[str, Any]) -> None:
    """Values that Airflow doesn't know for secrets by their keys are masked in logs as soon as they are read."""
    assert closed["logged"] == ["it is ***"] * len(SECRETS)


def clean_up(folder: Path, batch_id: str) -> None:
    """Run the shell command as its operator does."""
    command = Ledger("topicledger.signups:SIGNUPS").clean_up()["bash_command"]
    environment = {"PATH": os.environ["PATH"], "STAGING_DIR": str(folder), "BATCH_ID": batch_id}
    subprocess.run(["bash", "-c", command], env=environment, check=True, capture_output=True)


def test_cleanup_removes_the_runs_files_only(tmp_path: Path) -> None:
    """Every file under this run's names goes, also unfinished ones; another run's and anybody's stay."""
    own, other = "0123456789abcdef", "fedcba9876543210"
    keep = [f"kafka_staging_{other}.{own}.csv", f"kafka_staging_{own}0.x.csv", "kafka_staging_", f"{own}.csv"]
    for name in (*keep, f"kafka_staging_{own}.1.csv", f"kafka_staging_{own}.2.csv.part"):
        (tmp_path / name).touch()
    clean_up(tmp_path, own)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(keep)


def test_cleanup_twice(tmp_path: Path) -> None:
    """Where nothing is left to remove, cleanup succeeds."""
    clean_up(tmp_path, "0123456789abcdef")
    clean_up(tmp_path, "0123456789abcdef")
