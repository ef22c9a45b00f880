"""One Airflow 3 for the whole session, with a copy of the DAG for each test that asks for a ground."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from devstack.airflow import running_airflow
from devstack.broker import Broker
from devstack.home import ROOT
from tests.end_to_end.dag_copies import DagCopy, write_kafka_side
from tests.end_to_end.ground import Ground, Stack
from tests.support.topics import Topics
from topicledger.warehouse.contract import WarehouseSettings

SETTINGS = {
    "core.default_task_retry_delay": "1",
    "core.dags_are_paused_at_creation": "False",
    "dag_processor.parsing_processes": "2",
}


@pytest.fixture(scope="session")
def topics(kafka_broker: Broker) -> Topics:
    return Topics(kafka_broker.bootstrap)


@pytest.fixture(scope="session")
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
            DagCopy(item.name, folder).write(dags)
    # Tasks get the engine from the checkout, whether it is installed beside Airflow or not.
    env = {"TOPICLEDGER_CRASH_DIR": str(crash_dir), "PYTHONPATH": str(ROOT / "src")}
    with running_airflow(folder / "home", dags, env, overrides=SETTINGS) as airflow:
        extra = json.dumps({"bootstrap.servers": kafka_broker.bootstrap})
        airflow.api.put_connection({"connection_id": "kafka_default", "conn_type": "kafka", "extra": extra})
        yield Stack(airflow, crash_dir)
    shutil.rmtree(folder)


@pytest.fixture
def ground(request: pytest.FixtureRequest, stack: Stack, topics: Topics, place: WarehouseSettings) -> Iterator[Ground]:
    """A DAG of the test's own, with a topic of three partitions, a warehouse and a staging folder."""
    ground = Ground(stack, DagCopy(request.node.name, stack.airflow.folder.parent), topics, place)
    topics.create(ground.copy.topic, partitions=3)
    fields = {name: getattr(place, name) for name in ("conn_type", "host", "port", "login", "schema")}
    ground.api.put_connection({"connection_id": ground.copy.warehouse_conn_id, **fields})
    stack.airflow.wait_for_dag(ground.copy.dag_id)
    yield ground
    for path in stack.crash_dir.iterdir():
        path.unlink()
