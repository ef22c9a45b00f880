"""Secrets in the connections: whatever a run leaves, when it succeeds and when it fails, none of them is in it."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from devstack.airflow import Airflow, running_airflow
from devstack.home import ROOT
from devstack.postgres import Postgres
from tests.end_to_end.dag_copies import DagCopy, write_kafka_side
from tests.support.grants import documented_grants
from tests.support.places import postgres_database
from tests.support.planted import contents_below, places_of
from tests.support.records import good
from tests.support.secure_broker import Grant, SecureBroker, new_secret
from tests.support.steps import Case, OneRun
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.kafka.settings import SECRET_KEYS

pytestmark = pytest.mark.slow
"""All need the broker with TLS."""

RUN = "planted"
RUN_LIMIT_S = 400.0
DEBUG = {"debug": "security,broker,conf,feature", "log_level": 7}
SETTINGS = {
    "core.default_task_retry_delay": "1",
    "core.dags_are_paused_at_creation": "False",
    "logging.logging_level": "DEBUG",
}
WAYS = {
    "fields": "password",
    "json": "certificate",
    "uri": "token",
    "wrong_kafka": "password",
    "wrong_warehouse": "password",
}
PRODUCE, CONSUME = "generate_and_produce_data", "consume_and_stage_data"
FAILS_AT = {"wrong_kafka": PRODUCE, "wrong_warehouse": CONSUME}


@dataclass
class Planted:
    """One DAG with its two connections, and the secrets in them."""

    copy: DagCopy
    extra: dict[str, Any]
    warehouse: dict[str, Any]
    secrets: list[str] = field(default_factory=list)

    @property
    def kafka_conn_id(self) -> str:
        return f"kafka_{self.copy.dag_id}"

    def environment(self, kafka_id: str, warehouse_id: str, *, uri: bool) -> dict[str, str]:
        """Both connections as environment variables, in one of Airflow's two forms."""
        kafka: dict[str, Any] = {"conn_type": "kafka", "extra": self.extra}
        texts = (_uri(kafka), _uri(self.warehouse)) if uri else (json.dumps(kafka), json.dumps(self.warehouse))
        return {f"AIRFLOW_CONN_{n.upper()}": text for n, text in zip((kafka_id, warehouse_id), texts, strict=True)}


def _uri(fields: dict[str, Any]) -> str:
    login, password, host = (quote(str(fields.get(name, "")), safe="") for name in ("login", "password", "host"))
    extra = f"?__extra__={quote(json.dumps(fields['extra']), safe='')}" if "extra" in fields else ""
    port = f":{fields['port']}" if "port" in fields else ""
    account = f"{login}:{password}@" if login else ""
    return f"{fields['conn_type']}://{account}{host}{port}/{fields.get('schema', '')}{extra}"


@pytest.fixture
def with_password(postgres_server: Postgres) -> Iterator[tuple[Connection, str]]:
    """An empty database whose owner needs a password, unlike the server's other users."""
    role, password = f"etl_{uuid.uuid4().hex}", new_secret()
    with (
        postgres_database(postgres_server) as place,
        psycopg.connect(postgres_server.dsn(), autocommit=True) as session,
    ):
        [(text,)] = session.execute("SHOW hba_file").fetchall()
        rules, before = Path(text), Path(text).read_text()
        rules.write_text(f"local all {role} scram-sha-256\n{before}")
        literal = password.replace("'", "''")
        for statement in (
            "SELECT pg_reload_conf()",
            f"CREATE ROLE {role} LOGIN PASSWORD '{literal}'",
            f"ALTER DATABASE {place.schema} OWNER TO {role}",
        ):
            session.execute(statement.encode())
        yield dataclasses.replace(place, login=role, password=password), password
        rules.write_text(before)
        session.execute(f"ALTER DATABASE {place.schema} OWNER TO {postgres_server.user}".encode())
        with psycopg.connect(postgres_server.dsn(str(place.schema)), autocommit=True) as inside:
            inside.execute(f"REASSIGN OWNED BY {role} TO {postgres_server.user}; DROP OWNED BY {role}".encode())
        session.execute(f"DROP ROLE {role}; SELECT pg_reload_conf()".encode())


@pytest.fixture
def planted(secure_broker: SecureBroker, with_password: tuple[Connection, str], tmp_path: Path) -> dict[str, Planted]:
    """A DAG for each form of the connections, each with a user, a topic and secrets of its own."""
    place, password = with_password
    topics, found = Topics(secure_broker.bootstrap), {}
    for name, way in WAYS.items():
        copy = DagCopy(f"secrets_{name}", tmp_path)
        topics.create(copy.topic, 2)
        login = getattr(secure_broker, f"{way}_login")()
        secure_broker.allow(login.user, [Grant("TOPIC", copy.topic, o) for o in ("READ", "WRITE")])
        secure_broker.allow(login.user, [Grant("GROUP", copy.dag_id, "READ", "PREFIXED")])
        wrong = {"sasl.password": new_secret()} if name == "wrong_kafka" else {}
        own = new_secret() if name == "wrong_warehouse" else password
        fields = {n: getattr(place, n) for n in ("conn_type", "host", "port", "login", "schema")}
        one = Planted(copy, {**login.extra, **DEBUG, **wrong}, {**fields, "password": own})
        one.secrets = [own, *(str(one.extra[key]) for key in SECRET_KEYS & one.extra.keys())]
        found[name] = one
    return found


@pytest.fixture
def airflow(planted: dict[str, Planted], tmp_path: Path) -> Iterator[Airflow]:
    """An Airflow that logs all it can, and knows the connections by its store, by JSON and by URI."""
    dags, env = tmp_path / "dags", {"PYTHONPATH": str(ROOT / "src")}
    dags.mkdir()
    write_kafka_side(dags)
    for name, one in planted.items():
        one.copy.write(dags)
        path = dags / f"{one.copy.dag_id}.py"
        path.write_text(curious(path.read_text().replace('"kafka_default"', f'"{one.kafka_conn_id}"')))
        if name != "fields":
            env |= one.environment(one.kafka_conn_id, one.copy.warehouse_conn_id, uri=name == "uri")
    with running_airflow(tmp_path / "home", dags, env, overrides=SETTINGS) as running:
        one = planted["fields"]
        kafka = {"connection_id": one.kafka_conn_id, "conn_type": "kafka", "extra": json.dumps(one.extra)}
        running.api.put_connection(kafka)
        running.api.put_connection({"connection_id": one.copy.warehouse_conn_id, **one.warehouse})
        yield running


def curious(dag_file: str) -> str:
    """Let the DAG log both connections in every form, as somebody might who looks for a mistake."""
    for line, shown in (
        ("    return KafkaSettings(KAFKA_CONN_ID, extra)", "extra"),
        (
            "        settings = Connection(\n            conn_id=WAREHOUSE_CONN_ID,",
            "{'password': connection.password}",
        ),
    ):
        assert dag_file.count(line) == 1
        indent = line[: len(line) - len(line.lstrip())]
        seen = f'log.info("curious: %r %s %s", {shown}, {shown}, json.dumps({shown}, default=str))'
        dag_file = dag_file.replace(line, f"{indent}{seen}\n{line}")
    return dag_file


def without_curious_lines(home: Path) -> Iterator[tuple[str, bytes]]:
    """All that Airflow wrote, without those lines where its scheduler repeats them on its own output: unmasked."""
    for place, content in contents_below(home):
        repeated = place == str(home / "scheduler.log")
        lines = (line for line in content.splitlines() if not (repeated and b"] curious: " in line))
        yield place, b"\n".join(lines)


def commands(one: Planted, folder: Path, *, uri: bool) -> str:
    """What the command says of a DAG's connections."""
    (folder / "declared.py").write_text(
        "import dataclasses\nfrom topicledger.signups import SIGNUPS\n"
        f"PIPELINE = dataclasses.replace(SIGNUPS, topic={one.copy.topic!r}, table={one.copy.table!r})\n"
    )
    own = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    env = {**own, **one.environment("kafka_default", "warehouse_default", uri=uri), "PYTHONPATH": str(ROOT / "src")}
    said = ""
    for command in ("check", "plan", "accounts"):
        program = "from topicledger.cli.app import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, command, "declared:PIPELINE"],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
        said += f"$ {command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return said


@pytest.mark.airflow
@pytest.mark.fault(79, "goes on")
def test_no_secret_is_anywhere(
    airflow: Airflow, planted: dict[str, Planted], with_password: tuple[Connection, str], tmp_path: Path
) -> None:
    """Runs that succeed and runs that fail, logging all they can, leave no secret in any file, table or output."""
    for one in planted.values():
        airflow.wait_for_dag(one.copy.dag_id)
        airflow.api.trigger(one.copy.dag_id, {"events": 40}, run_id=RUN)
    for name, one in planted.items():
        run = airflow.api.wait_for_run(one.copy.dag_id, RUN, RUN_LIMIT_S)
        tasks = {task.task_id: task for task in airflow.api.tasks(one.copy.dag_id, RUN)}
        states = {task_id: task.state for task_id, task in tasks.items()}
        assert run.state == ("failed" if name in FAILS_AT else "success"), (name, states)
        if name in FAILS_AT:
            failed = tasks[FAILS_AT[name]]
            assert (failed.state, failed.try_number) == ("failed", 1)
            assert "SettingsError" in airflow.api.log(one.copy.dag_id, RUN, failed.task_id)
        assert "curious: " in airflow.api.log(one.copy.dag_id, RUN, PRODUCE)

    said = {name: commands(one, tmp_path, uri=name == "uri") for name, one in planted.items()}
    assert "Nothing would stop a run." in said["json"] + said["uri"]
    contents = [
        *without_curious_lines(airflow.folder),
        *((f"the command, {name}", text.encode()) for name, text in said.items()),
        *((table, text.encode()) for table, text in tables(with_password[0])),
    ]
    secrets = [secret for one in planted.values() for secret in one.secrets]
    assert len(set(secrets)) > 10
    assert places_of(secrets, contents) == []

    # The search finds what is no secret, and a secret that was left somewhere in any form.
    address = planted["fields"].extra["bootstrap.servers"]
    assert [place for place, content in contents if address.encode() in content]
    left = quote(json.dumps(secrets[0])), base64.b64encode(f"user:{secrets[0]}".encode()).decode(), repr(secrets[0])
    for text in left:
        assert places_of(secrets, [("here", text.encode())])


def tables(place: Connection) -> Iterator[tuple[str, str]]:
    """The whole content of every table of the warehouse, as text."""
    with psycopg.connect(
        host=place.host, port=place.port, user=place.login, password=place.password, dbname=place.schema
    ) as session:
        names = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert len(names) >= 4
        for (name,) in names:
            yield name, str(session.execute(f"SELECT * FROM {name}".encode()).fetchall())


@pytest.mark.fault(79, "goes on")
def test_no_secret_is_staged(
    secure_broker: SecureBroker, secure_duckdb_case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """Staged files, the manifest and all that the engine itself logs hold no secret, without Airflow's masking."""
    login = secure_broker.password_login()
    secure_broker.allow(login.user, documented_grants(secure_duckdb_case))
    case = secure_duckdb_case.with_extra({**login.extra, **DEBUG})
    caplog.set_level(logging.DEBUG)
    run = OneRun(case)
    run.produce([(b"1", good(1)), (b"2", b"malformed")])
    run.consume()
    kept = list(contents_below(Path(case.pipeline.staging_dir)))
    run.load()
    run.reconcile()
    assert len(kept) >= 4
    contents = [*kept, ("the log", "\n".join(caplog.messages).encode()), ("the row", repr(run.row).encode())]
    secrets = [str(login.extra["sasl.password"])]
    assert places_of(secrets, contents) == []
    assert str(case.kafka).count(secrets[0]) == 0
