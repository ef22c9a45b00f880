"""Tasks that have no disk in common: staged in S3 a run goes through; staged in a folder it stops and says why."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.airflow import Airflow, running_airflow
from devstack.broker import Broker
from devstack.home import ROOT
from devstack.postgres import Postgres
from tests.end_to_end.conftest import SETTINGS
from tests.end_to_end.dag_copies import DagCopy, write_kafka_side
from tests.end_to_end.ground import CLEAN_UP, CONSUME, DIARY, IMAGE, LOAD, PRODUCE, RECONCILE, Ground, Stack
from tests.support.looking import count
from tests.support.object_store import ObjectStore
from tests.support.oracle import Oracle
from tests.support.places import postgres_database
from tests.support.topics import Topics, wait_for
from topicledger.connection import Connection

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

TABLE = "user_signups"  # that of the views that the documents show
SECRET = "a-secret-of-staging"
TASKS = {PRODUCE, CONSUME, LOAD, CLEAN_UP, RECONCILE}


@dataclasses.dataclass(frozen=True)
class Pods:
    """An Airflow whose tasks run in pods, with a DAG for each case."""

    stack: Stack
    topics: Topics
    store: ObjectStore
    url: str
    places: dict[str, Connection]
    diary: Path

    def ground(self, case: str) -> Ground:
        return Ground(self.stack, DagCopy(case, self.stack.airflow.folder.parent), self.topics, self.places[case])

    def require_disks_of_their_own(self, case: str) -> None:
        """Each task had a mount namespace that isn't ours; its /tmp had no other task's file, and last only its own."""
        begun = {path.stem for path in self.diary.glob(f"{case}.*.first")}
        assert {name.split(".")[1] for name in begun} == TASKS
        wait_for("the pods' ends", lambda: all((self.diary / f"{name}.last").exists() for name in begun) or None)
        for name in begun:
            namespace, *before = (self.diary / f"{name}.first").read_text().splitlines()
            assert namespace != str(Path("/proc/self/ns/mnt").readlink())
            assert not [there for there in before if there.startswith(("of-", "kafka_staging_", "topicledger_"))]
            after = (self.diary / f"{name}.last").read_text().splitlines()
            assert after == [namespace, *sorted([*before, f"of-{name}"])]


@pytest.fixture(scope="module")
def places(postgres_server: Postgres, object_store: ObjectStore) -> Iterator[dict[str, Connection]]:
    with postgres_database(postgres_server) as one, postgres_database(postgres_server) as other:
        yield {"postgres": one, "aws": object_store.bucket(), "folder": other}


@pytest.fixture(scope="module")
def pods(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_broker: Broker,
    topics: Topics,
    object_store: ObjectStore,
    places: dict[str, Connection],
) -> Iterator[Pods]:
    """The shipped DAG three times: staged in S3 for two kinds of warehouses, and in /tmp."""
    folder = tmp_path_factory.mktemp("pods")
    dags, diary, crash_dir = folder / "dags", folder / "diary", folder / "crash"
    for made in (dags, diary, crash_dir):
        made.mkdir()
    write_kafka_side(dags)
    url, connection = object_store.staging()
    for case in places:
        copy = DagCopy(case, folder)
        root = "/tmp" if case == "folder" else url
        copy.write(dags, declared={"staging_dir": root, "table": TABLE})
        topics.create(copy.topic, partitions=3)
    servers = [Path(place.host) for place in places.values() if place.host]
    image = [folder, ROOT, Path(sys.prefix), *servers]
    env = {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        IMAGE: ":".join(dict.fromkeys(str(path) for path in image)),
        DIARY: str(diary),
    }
    overrides = {**SETTINGS, "core.executor": "tests.end_to_end.pod_executor.PodExecutor"}
    with running_airflow(folder / "home", dags, env, overrides=overrides) as airflow:
        _connect(airflow, kafka_broker, connection)
        for case, place in places.items():
            copy = DagCopy(case, folder)
            fields = {
                name: getattr(place, name) for name in ("conn_type", "host", "port", "login", "password", "schema")
            }
            extra = json.dumps(dict(place.extra))
            airflow.api.put_connection({"connection_id": copy.warehouse_conn_id, **fields, "extra": extra})
            airflow.wait_for_dag(copy.dag_id)
        yield Pods(Stack(airflow, crash_dir), topics, object_store, url, places, diary)
    shutil.rmtree(folder)


def _connect(airflow: Airflow, broker: Broker, staging: Connection) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "kafka_default": {"conn_type": "kafka", "extra": {"bootstrap.servers": broker.bootstrap}},
        "staging_default": {"conn_type": "aws", "login": staging.login, "password": SECRET, "extra": staging.extra},
    }
    for conn_id, fields in wanted.items():
        airflow.api.put_connection({"connection_id": conn_id, **fields, "extra": json.dumps(fields["extra"])})


@pytest.mark.parametrize("case", ["postgres", "aws"])
def test_staged_in_s3(pods: Pods, case: str) -> None:
    """With every task in a pod of its own the run is green, its books close, and nothing is left in S3 or in a pod."""
    ground = pods.ground(case)
    accounts = ground.green_run("first", events=2_500, malformed=0.01)
    assert (accounts["loaded"], accounts["dead_letters"], accounts["acked_seen"]) == (2_475, 25, 2_500)
    assert ground.xcom("first", CONSUME, "staging_file_path").startswith(f"{pods.url}/kafka_staging_")
    assert ground.log("first", CLEAN_UP).count("removed  s3://") == 6
    assert pods.store.names(pods.url) == []
    pods.require_disks_of_their_own(case)
    assert len(Oracle(pods.topics, ground.copy.topic, ground.place, TABLE).require_every_record_once().rows) == 2_475
    require_no_secret(ground, pods.url)


def require_no_secret(ground: Ground, url: str) -> None:
    """The connection that the clean-up's command gets is neither in a log nor in the rendered templates."""
    path = f"/dags/{ground.copy.dag_id}/dagRuns/first/taskInstances/{CLEAN_UP}"
    rendered = json.dumps(ground.api.call("GET", path)["rendered_fields"])
    assert url in rendered
    for said in (rendered, *(ground.log("first", task) for task in TASKS)):
        assert SECRET not in said
        assert "AIRFLOW_CONN_STAGING" not in said


@pytest.mark.fault(21, "stopped")
def test_staged_in_a_folder(pods: Pods) -> None:
    """A folder that the tasks don't share stops the load at its first try, naming the setting; nothing is loaded."""
    ground = pods.ground("folder")
    run = ground.run("first", events=100, malformed=0)
    tasks = ground.tasks("first")
    assert (run.state, tasks[LOAD].state, tasks[LOAD].try_number) == ("failed", "failed", 1)
    said = ground.log("first", LOAD)
    assert "this worker doesn't share the staging folder (staging_dir) with the one that staged it" in said
    assert "Clear consume_and_stage_data" in said
    assert count(ground.place, TABLE) == 0
