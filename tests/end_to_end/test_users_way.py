"""The users' way: their own Airflow and Kafka, the wheel, `topicledger init`, the connections, unpause."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from devstack.broker import Broker
from devstack.home import ROOT
from devstack.postgres import Postgres
from tests.end_to_end.users_airflow import UsersAirflow, build_wheel, wait_until
from tests.support.looking import count
from tests.support.oracle import Oracle
from tests.support.topics import Topics
from topicledger.warehouse.contract import WarehouseSettings

pytestmark = pytest.mark.airflow

DAG_ID = "robust_kafka_etl_pipeline"
TOPIC = TABLE = "user_signups"
PROVIDERS = [
    "apache-airflow-providers-apache-kafka",
    "apache-airflow-providers-standard",
    "confluent-kafka",
]


@dataclass(frozen=True)
class Site:
    """A user's machine: an Airflow, and where its rows will be."""

    airflow: UsersAirflow
    place: WarehouseSettings
    warehouse_connection: str = ""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def topics(kafka_broker: Broker) -> Iterator[Topics]:
    """The shipped topic, made for one test: the pipeline is used under its own names."""
    topics = Topics(kafka_broker.bootstrap)
    topics.create(TOPIC, partitions=3)
    yield topics
    topics.delete(TOPIC)


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[Site]:
    """The newest Airflow on SQLite, without a warehouse connection: rows go to the DuckDB file in AIRFLOW_HOME."""
    airflow = UsersAirflow("3.3.2", tmp_path, components=("api-server", "dag-processor"))
    file = airflow.home / "warehouse" / "topicledger.duckdb"
    yield Site(airflow, WarehouseSettings("warehouse_default", "duckdb", host=str(file)))
    shutil.rmtree(tmp_path / "venv")


@pytest.fixture
def oldest(tmp_path: Path, postgres_server: Postgres, postgres_settings: WarehouseSettings) -> Iterator[Site]:
    """The oldest supported Airflow; its LocalExecutor needs a metadata database that is a server."""
    postgres_server.create_database("airflow_2")
    airflow = UsersAirflow("2.11.2", tmp_path, postgres_server.url("airflow_2"))
    place = postgres_settings
    fields = {"conn_type": "postgres", "host": place.host, "port": place.port, "login": place.login}
    yield Site(airflow, place, json.dumps({**fields, "schema": place.schema}))
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as session:
        session.execute("DROP DATABASE airflow_2 WITH (FORCE)")
    shutil.rmtree(tmp_path / "venv")


@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_install_init_connect_unpause_is_all_it_takes(
    which: str, request: pytest.FixtureRequest, wheel: Path, topics: Topics
) -> None:
    """Airflow, newest or 2.11, runs the shipped DAG green by its scheduler; every record is accounted for."""
    site: Site = request.getfixturevalue(which)
    airflow = site.airflow
    airflow.make([*PROVIDERS, "psycopg2-binary"] if airflow.metadata_url else PROVIDERS)
    _without_the_engine_airflow_says_what_to_install(airflow)
    _install_and_connect(site, wheel, topics.bootstrap)
    with airflow.running() as services:
        try:
            wait_until("the DAG to unpause", services, lambda: _unpause(airflow))
            wait_until("the run's end", services, lambda: "DagRun Finished" in services[0].log_tail(100))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{airflow.logs()}") from error
        assert _states(airflow) == ["success"], airflow.logs()
    _require_closed_books(airflow)
    verdict = Oracle(topics, TOPIC, site.place, TABLE).require_every_record_once()
    assert len(verdict.rows) == count(site.place, TABLE) == 995
    assert len(verdict.dead_letters) == 5


def _without_the_engine_airflow_says_what_to_install(airflow: UsersAirflow) -> None:
    """The two files alone, copied by hand, are a DAG import error with its next step."""
    for name in ("user_etl_dag.py", "kafka_utils.py"):
        shutil.copy(ROOT / "dags" / name, airflow.dags / name)
    airflow.command("airflow", "db", "migrate")
    local = ["--local"] if airflow.version.startswith("3.") else []
    errors = airflow.airflow_json("dags", "list-import-errors", *local, may_fail=True)
    by_file = {Path(error["filepath"]).name: error["error"] for error in errors}
    assert "pip install 'topicledger[duckdb,postgres]'" in by_file["user_etl_dag.py"]


def _install_and_connect(site: Site, wheel: Path, bootstrap: str) -> None:
    airflow = site.airflow
    airflow.install([f"topicledger[duckdb,postgres,cli] @ {wheel.as_uri()}"])
    for name in ("user_etl_dag.py", "kafka_utils.py"):
        (airflow.dags / name).unlink()
    assert "user_etl_dag.py" in airflow.command("topicledger", "init", str(airflow.dags))
    extra = json.dumps({"bootstrap.servers": bootstrap})
    add = ("connections", "add")
    airflow.command("airflow", *add, "kafka_default", "--conn-type", "kafka", "--conn-extra", extra)
    if site.warehouse_connection:
        # With --conn-type Airflow stores `generic` for every type that no installed provider has.
        airflow.command("airflow", *add, "warehouse_default", "--conn-json", site.warehouse_connection)


def _unpause(airflow: UsersAirflow) -> bool:
    """There is nothing to unpause before the file is parsed."""
    return bool(airflow.airflow_json("dags", "unpause", "--yes", DAG_ID, may_fail=True))


def _states(airflow: UsersAirflow) -> list[str]:
    flag = ["-d"] if airflow.version.startswith("2.") else []
    return [run["state"] for run in airflow.airflow_json("dags", "list-runs", *flag, DAG_ID)]


def _require_closed_books(airflow: UsersAirflow) -> None:
    (report,) = (airflow.home / "topicledger" / "reports").glob("*.json")
    content = json.loads(report.read_text())
    assert content["identities"]
    assert all(identity["holds"] for identity in content["identities"])
    assert not list(Path("/tmp").glob(f"kafka_staging_{content['row']['batch_id']}.*"))
