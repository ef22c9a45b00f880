"""One user's way from an empty machine to the first batch: what they do, and what they see."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.home import ROOT
from devstack.service import Service
from tests.end_to_end.users_airflow import UsersAirflow, wait_until
from tests.support.oracle import Oracle, Verdict
from tests.support.topics import Topics
from topicledger.connection import Connection

DAG_ID = "robust_kafka_etl_pipeline"
TOPIC = TABLE = "user_signups"
DAG_FILES = ("user_etl_dag.py", "kafka_utils.py")
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
        report: The run's report.
        verdict: What the oracle found in the warehouse.
        left: The run's files that are still in the staging folder.
    """

    import_errors: dict[str, str]
    init: str
    engine: Path
    checked: str
    states: list[str]
    report: dict[str, Any]
    verdict: Verdict
    left: list[Path]


def visit(site: Site, wheel: Path, topics: Topics) -> Visit:
    """Go the whole way, on a topic that is made for it and removed afterwards."""
    airflow = site.airflow
    topics.create(TOPIC, partitions=3)
    try:
        airflow.make([*PACKAGES, *site.packages])
        import_errors = _two_files_alone(airflow)
        init = _install(site, wheel)
        _connect(site, topics.bootstrap)
        checked = airflow.command(*_next_step(init, "topicledger check"))
        states = _run(airflow)
        verdict = Oracle(topics, TOPIC, site.place, TABLE).require_every_record_once()
    finally:
        topics.delete(TOPIC)
    engine = airflow.command("python", "-c", "import topicledger; print(topicledger.__file__)").strip()
    (report,) = (airflow.home / "topicledger" / "reports").glob("*/*.json")
    content = json.loads(report.read_text())
    left = list(Path("/tmp").glob(f"kafka_staging_{content['row']['batch_id']}.*"))
    shutil.rmtree(airflow.folder)
    return Visit(import_errors, init, Path(engine), checked, states, content, verdict, left)


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


def _run(airflow: UsersAirflow) -> list[str]:
    """Start Airflow and unpause the DAG, which starts its last scheduled run; return the runs' states."""
    with airflow.running() as services:
        try:
            wait_until("parsing the DAG", services, lambda: _logged(airflow, f"Creating ORM DAG for {DAG_ID}"))
            wait_until("unpausing the DAG", services, lambda: _unpause(airflow))
            wait_until("the run's end", services, lambda: _ended(services[0]))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{airflow.logs()}") from error
        dag = ["-d", DAG_ID] if airflow.version.startswith("2.") else [DAG_ID]
        states = [run["state"] for run in airflow.airflow_json("dags", "list-runs", *dag)]
        assert set(states) == {"success"}, f"{states}\n{airflow.logs()}"
        return states


def _logged(airflow: UsersAirflow, text: str) -> bool:
    return any(text in path.read_text(errors="replace") for path in airflow.home.rglob("*.log"))


def _unpause(airflow: UsersAirflow) -> bool:
    return bool(airflow.airflow_json("dags", "unpause", "--yes", DAG_ID, may_fail=True))


def _ended(scheduler: Service) -> bool:
    return "DagRun Finished" in Path(scheduler.log).read_text(errors="replace")
