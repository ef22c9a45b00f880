"""A whole run through the scheduler: what users see of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.ground import CLEAN_UP, CONSUME, LOAD, PRODUCE, RECONCILE, Ground
from tests.support.looking import query

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize("place", ["postgres", pytest.param("duckdb", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.fault(18, "goes on")
@pytest.mark.fault(23, "goes on")
def test_a_run_loads_what_it_produced_and_closes_its_books(ground: Ground) -> None:
    """A green run leaves rows, dead letters, closed books, a report and offsets, and no staged file."""
    accounts = ground.green_run("first", events=2_500, malformed=0.01)
    assert ground.logical_date("first") is None
    assert accounts["acked"] == accounts["acked_seen"] == accounts["records"] == 2_500
    assert (accounts["loaded"], accounts["dead_letters"], accounts["duplicates"]) == (2_475, 25, 0)
    verdict = ground.oracle().require_every_record_once()
    assert (len(verdict.rows), len(verdict.dead_letters)) == (2_475, 25)
    _require_handles(ground, accounts)
    _require_report(ground)
    _require_page(ground)
    _require_asset_event(ground, accounts)
    ends = ground.topics.ends(ground.copy.topic)
    for group in (f"{ground.copy.dag_id}.{ground.batch_id('first')}", ground.copy.dag_id):
        assert ground.topics.committed(group, ground.copy.topic) == ends
    assert ground.staged_files() == []
    assert {task.try_number for task in ground.tasks("first").values()} == {1}


@pytest.mark.slow
def test_a_large_batch_is_read_by_several_processes(ground: Ground) -> None:
    """From 400,000 records on a task reads with a process for each core, and the books close as ever."""
    accounts = ground.green_run("first", events=420_000, malformed=0.01)
    assert accounts["acked"] == accounts["acked_seen"] == accounts["records"] == 420_000
    assert (accounts["loaded"], accounts["dead_letters"]) == (415_800, 4_200)
    several = "starting 2 processes to read in" in ground.log("first", CONSUME)
    assert several == (len(os.sched_getaffinity(0)) > 1)
    assert ground.staged_files() == []


def _require_handles(ground: Ground, accounts: dict[str, int]) -> None:
    """The XComs are the documented ones: small handles and the accounts."""
    batch = ground.batch_id("first")
    path = Path(ground.xcom("first", CONSUME, "staging_file_path"))
    assert path.parent == ground.copy.staging_dir
    assert path.name.startswith(f"kafka_staging_{batch}.")
    assert path.suffix == ".csv"
    receipt, manifest = ground.xcom("first", PRODUCE, "receipt"), ground.xcom("first", CONSUME, "manifest")
    assert (receipt["topic"], receipt["acked"]) == (ground.copy.topic, 2_500)
    assert manifest["batch_id"] == batch
    assert manifest["plan_id"] == ground.xcom("first", LOAD, "plan_id")
    assert ground.xcom("first", LOAD, "accounts") == accounts
    assert ground.xcom("first", CLEAN_UP, "return_value") is None


def _require_page(ground: Ground) -> None:
    """Load and reconcile link to the report, which the API server shows to who may see the DAG and nobody else."""
    run = f"/dags/{ground.copy.dag_id}/dagRuns/first"
    links = [ground.api.call("GET", f"{run}/taskInstances/{task}/links")["extra_links"] for task in (LOAD, RECONCILE)]
    address = f"/topicledger/books/{ground.copy.dag_id}/first"
    assert links == [{"Books": address}] * 2
    passwords = json.loads((ground.stack.airflow.folder / "passwords.json").read_text())
    with httpx.Client(base_url=ground.api.url, timeout=60, trust_env=False) as http:

        def asked(user: str, path: str = address) -> httpx.Response:
            login = {"username": user, "password": passwords[user]}
            token = http.post("/auth/token", json=login).json()["access_token"]
            return http.get(path, headers={"Authorization": f"Bearer {token}"})

        shown, elsewhere = asked("admin"), asked("admin", "/topicledger/books/any/..%2F..%2F..%2Fairflow.cfg")
        assert http.get(address).status_code == httpx.codes.UNAUTHORIZED
        assert [asked("stranger").status_code, asked("stranger", f"{address}2").status_code] == [403, 403]
    assert (shown.status_code, shown.text) == (200, Path(ground.xcom("first", RECONCILE, "report_path")).read_text())
    assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert elsewhere.status_code == httpx.codes.NOT_FOUND
    assert "`topicledger accounts` shows the same" in elsewhere.text


def _require_asset_event(ground: Ground, accounts: dict[str, int]) -> None:
    """The load told of the table, with the batch's accounts."""
    asked = {"source_dag_id": ground.copy.dag_id, "source_run_id": "first"}
    (event,) = ground.api.call("GET", "/assets/events", params=asked)["asset_events"]
    assert event["uri"] == f"x-topicledger://{ground.copy.warehouse_conn_id}/{ground.copy.table}"
    assert event["source_task_id"] == LOAD
    assert accounts.items() <= event["extra"].items()
    assert event["extra"]["batch_id"] == ground.batch_id("first")


def _require_report(ground: Ground) -> None:
    """The report names the run and its identities, as JSON and as a page, and the log shows the same table."""
    page = Path(ground.xcom("first", RECONCILE, "report_path"))
    assert "<html" in page.read_text()
    report = json.loads(page.with_suffix(".json").read_text())
    assert {identity["name"] for identity in report["identities"]} == {"I1", "I2", "I3", "I4", "I5"}
    assert all(identity["holds"] for identity in report["identities"])
    assert "dead letters" in ground.log("first", RECONCILE)
    ((stored,),) = query(ground.place, "SELECT run_id FROM topicledger_batches")
    assert report["row"]["run_id"] == stored == "first"
