"""One user's way from an empty machine to the first batch: what they do, and what they see."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.home import ROOT
from devstack.service import Service
from tests.end_to_end.users_airflow import UsersAirflow, wait_until
from tests.support.looking import count
from tests.support.oracle import Oracle, Verdict
from tests.support.records import Record, produce
from tests.support.topics import Topics
from topicledger.connection import Connection

DAG_ID = "robust_kafka_etl_pipeline"
TOPIC = TABLE = "user_signups"
DAG_FILES = ("user_etl_dag.py", "kafka_utils.py")
OWN = "payments_dag.py"
OWN_DAG_ID, OWN_TOPIC = "payments_to_payments", "payments"
OWN_SENT = 7
PACKAGES = (
    "apache-airflow-providers-apache-kafka",
    "apache-airflow-providers-standard",
    "confluent-kafka",
)


@dataclass(frozen=True)
class Site:
    """A user's machine.

    Args:
        airflow: Its Airflow.
        place: Where its rows will be.
        packages: What it needs beside Airflow, the Kafka provider and the wheel.
        warehouse_connection: The connection as JSON; empty leaves it undefined.
        below: A folder below the dags folder to put the DAG files into; empty for that one itself.
    """

    airflow: UsersAirflow
    place: Connection
    packages: tuple[str, ...] = ()
    warehouse_connection: str = ""
    below: str = ""


@dataclass(frozen=True)
class Visit:
    """What the user saw.

    Args:
        import_errors: The error of each DAG file before the wheel was installed.
        init: What `topicledger init` printed.
        engine: Where the installed engine lies.
        checked: What `topicledger check` printed before the first run.
        states: The states of the DAG's runs.
        own_states: The states of the runs of the DAG of an own topic.
        own_rows: What those loaded.
        report: The run's report.
        verdict: What the oracle found in the warehouse.
        left: The run's files that are still in the staging folder.
    """

    import_errors: dict[str, str]
    init: str
    engine: Path
    checked: str
    states: list[str]
    own_states: list[str]
    own_rows: int
    report: dict[str, Any]
    verdict: Verdict
    left: list[Path]


def visit(site: Site, wheel: Path, topics: Topics) -> Visit:
    """Go the whole way, on a topic that is made for it and removed afterwards."""
    airflow = site.airflow
    topics.create(TOPIC, partitions=3)
    topics.create(OWN_TOPIC, partitions=2)
    paid = {"amount": 12.5, "paid_at": "2026-01-01T00:00:00Z"}
    produce(
        topics.bootstrap, OWN_TOPIC, [Record(json.dumps({**paid, "payment_id": str(n)}).encode()) for n in range(7)]
    )
    try:
        airflow.make([*PACKAGES, *site.packages])
        import_errors = _two_files_alone(airflow)
        init = _install(site, wheel)
        shutil.copy(ROOT / "docs" / "examples" / OWN, airflow.dags / site.below / OWN)
        _connect(site, topics.bootstrap)
        checked = airflow.command(*_next_step(init, "topicledger check"))
        states, own_states = _run(airflow)
        verdict = Oracle(topics, TOPIC, site.place, TABLE).require_every_record_once()
        own_rows = count(site.place, OWN_TOPIC)
    finally:
        topics.delete(TOPIC)
        topics.delete(OWN_TOPIC)
    engine = airflow.command("python", "-c", "import topicledger; print(topicledger.__file__)").strip()
    (report,) = (airflow.home / "topicledger" / "reports" / DAG_ID).glob("*.json")
    content = json.loads(report.read_text())
    left = list(Path("/tmp").glob(f"kafka_staging_{content['row']['batch_id']}.*"))
    shutil.rmtree(airflow.folder)
    return Visit(import_errors, init, Path(engine), checked, states, own_states, own_rows, content, verdict, left)


def _two_files_alone(airflow: UsersAirflow) -> dict[str, str]:
    """Copy the two files by hand, without their engine; return the import errors that Airflow's command lists."""
    for name in DAG_FILES:
        shutil.copy(ROOT / "dags" / name, airflow.dags / name)
    airflow.command("airflow", "db", "migrate")
    local = ["--local"] if airflow.version.startswith("3.") else []
    errors = airflow.airflow_json("dags", "list-import-errors", *local, may_fail=True)
    for name in DAG_FILES:
        (airflow.dags / name).unlink()
    return {Path(error["filepath"]).name: error["error"] for error in errors}


def _install(site: Site, wheel: Path) -> str:
    site.airflow.install([f"topicledger[duckdb,postgres,cli] @ {wheel.as_uri()}"])
    folder = site.airflow.dags / site.below
    folder.mkdir(exist_ok=True)
    return site.airflow.command("topicledger", "init", str(folder))


def _next_step(init: str, begins: str) -> list[str]:
    """The command that `topicledger init` told to use next."""
    (line,) = (line for line in init.splitlines() if begins in line)
    return line.partition(". ")[2].split()


def _connect(site: Site, bootstrap: str) -> None:
    add = ("airflow", "connections", "add")
    extra = json.dumps({"bootstrap.servers": bootstrap})
    site.airflow.command(*add, "kafka_default", "--conn-type", "kafka", "--conn-extra", extra)
    if site.warehouse_connection:
        # With --conn-type Airflow stores `generic` for every type that no installed provider has.
        site.airflow.command(*add, "warehouse_default", "--conn-json", site.warehouse_connection)


def _run(airflow: UsersAirflow) -> tuple[list[str], list[str]]:
    """Start Airflow and unpause each DAG, which starts its last scheduled run; return the runs' states."""
    both = (DAG_ID, OWN_DAG_ID)
    with airflow.running() as services:
        try:
            for dag_id in both:
                parsed = f"Creating ORM DAG for {dag_id}"
                wait_until(f"parsing {dag_id}", services, functools.partial(_logged, airflow, parsed))
                wait_until(f"unpausing {dag_id}", services, functools.partial(_unpause, airflow, dag_id))
            wait_until("the runs' ends", services, lambda: all(_ended(services[0], dag_id) for dag_id in both))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{airflow.logs()}") from error
        first, second = ([run["state"] for run in _runs(airflow, dag_id)] for dag_id in both)
        assert {*first, *second} == {"success"}, f"{first} {second}\n{airflow.logs()}"
        return first, second


def _runs(airflow: UsersAirflow, dag_id: str) -> list[dict[str, Any]]:
    return airflow.airflow_json("dags", "list-runs", *(["-d"] if airflow.version.startswith("2.") else []), dag_id)


def _logged(airflow: UsersAirflow, text: str) -> bool:
    return any(text in path.read_text(errors="replace") for path in airflow.home.rglob("*.log"))


def _unpause(airflow: UsersAirflow, dag_id: str) -> bool:
    return bool(airflow.airflow_json("dags", "unpause", "--yes", dag_id, may_fail=True))


def _ended(scheduler: Service, dag_id: str) -> bool:
    ends = (line for line in Path(scheduler.log).read_text(errors="replace").splitlines() if "DagRun Finished" in line)
    return any(dag_id in line for line in ends)
