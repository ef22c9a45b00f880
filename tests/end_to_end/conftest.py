"""One Airflow 3 for all of these tests, with a copy of the DAG for each one that asks for a ground."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from devstack.airflow import running_airflow
from devstack.broker import Broker
from devstack.home import ROOT
from devstack.postgres import Postgres
from tests.end_to_end.dag_copies import DagCopy, write_kafka_side
from tests.end_to_end.ground import Ground, Stack
from tests.end_to_end.users_airflow import UsersAirflow, build_wheel
from tests.end_to_end.users_visit import Site, Visit, visit
from tests.support.places import postgres_database
from tests.support.topics import Topics
from topicledger.connection import Connection

SETTINGS = {
    "core.default_task_retry_delay": "1",
    "core.dags_are_paused_at_creation": "False",
    "core.simple_auth_manager_users": "admin:admin,stranger:",  # who has no role may see nothing
    "dag_processor.parsing_processes": "2",
}


@pytest.fixture(scope="session")
def topics(kafka_broker: Broker) -> Topics:
    return Topics(kafka_broker.bootstrap)


@pytest.fixture(scope="package")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kafka_broker: Broker
) -> Iterator[Stack]:
    """Scheduler, API server and DAG processor; every task may be killed through the folder of crash points."""
    folder = tmp_path_factory.mktemp("airflow")
    dags, crash_dir = folder / "dags", folder / "crash"
    dags.mkdir()
    crash_dir.mkdir()
    write_kafka_side(dags)
    for item in request.session.items:
        if "ground" in getattr(item, "fixturenames", ()):
            DagCopy(item.name, folder).write(dags, getattr(getattr(item, "module", None), "DAG_CHANGES", {}))
    # Only the test decides when there is a run.
    own = (ROOT / "docs" / "examples" / "payments_dag.py").read_text().replace('"@hourly"', "None")
    (dags / "payments_dag.py").write_text(own)
    # Tasks get the engine from the checkout, whether it is installed beside Airflow or not.
    env = {
        "TOPICLEDGER_CRASH_DIR": str(crash_dir),
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": os.pathsep.join([str(killing_rm(folder)), sysconfig.get_path("scripts"), os.environ["PATH"]]),
    }
    with running_airflow(folder / "home", dags, env, overrides=SETTINGS) as airflow:
        extra = json.dumps({"bootstrap.servers": kafka_broker.bootstrap})
        airflow.api.put_connection({"connection_id": "kafka_default", "conn_type": "kafka", "extra": extra})
        yield Stack(airflow, crash_dir)
    shutil.rmtree(folder)


def killing_rm(folder: Path) -> Path:
    """Give a folder with an `rm` that, where a test has armed it, kills its shell and itself behind the first file."""
    real = shutil.which("rm")
    assert real is not None
    tools = folder / "tools"
    tools.mkdir()
    script = tools / "rm"
    script.write_text(
        f"""#!/bin/bash
if {real} -- "$TOPICLEDGER_CRASH_DIR/step-21.middle" 2>/dev/null; then
    {real} -f -- "$3"
    kill -KILL 0
fi
exec {real} "$@"
"""
    )
    script.chmod(0o700)
    return tools


@pytest.fixture
def ground(request: pytest.FixtureRequest, stack: Stack, topics: Topics, place: Connection) -> Iterator[Ground]:
    """A DAG of the test's own, with a topic of three partitions, a warehouse and a staging folder."""
    ground = Ground(stack, DagCopy(request.node.name, stack.airflow.folder.parent), topics, place)
    topics.create(ground.copy.topic, partitions=3)
    fields = {name: getattr(place, name) for name in ("conn_type", "host", "port", "login", "schema")}
    ground.api.put_connection({"connection_id": ground.copy.warehouse_conn_id, **fields})
    stack.airflow.wait_for_dag(ground.copy.dag_id)
    yield ground
    for path in stack.crash_dir.iterdir():
        path.unlink()


@pytest.fixture(scope="package")
def visited(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres, topics: Topics
) -> Iterator[Callable[[str], Visit]]:
    """What a user with the `newest` or the `oldest` Airflow sees; each goes their way once, on the shipped topic."""
    folder = tmp_path_factory.mktemp("users")
    wheel = build_wheel(folder)
    with postgres_database(postgres_server) as metadata, postgres_database(postgres_server) as place:
        sites = {
            "newest": lambda: _newest(folder / "3"),
            "oldest": lambda: _oldest(folder / "2", postgres_server.url(str(metadata.schema)), place),
        }
        yield cache(lambda which: visit(sites[which](), wheel, topics))
    shutil.rmtree(folder)


def _newest(folder: Path) -> Site:
    """The newest Airflow on SQLite, without a warehouse connection: rows go to the DuckDB file in AIRFLOW_HOME.

    Its DAG files are in a folder of their own below the dags folder.
    """
    airflow = UsersAirflow("3.3.2", folder, components=("api-server", "dag-processor"))
    file = airflow.home / "warehouse" / "topicledger.duckdb"
    return Site(airflow, Connection("warehouse_default", "duckdb", host=str(file)), below="team_a")


def _oldest(folder: Path, metadata_url: str, place: Connection) -> Site:
    """The oldest supported Airflow; its LocalExecutor needs a metadata database that is a server."""
    airflow = UsersAirflow("2.11.2", folder, metadata_url)
    fields = {"conn_type": "postgres", "host": place.host, "port": place.port, "login": place.login}
    return Site(airflow, place, ("psycopg2-binary",), json.dumps({**fields, "schema": place.schema}))
