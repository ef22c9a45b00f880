"""Code in the documents is code: it parses, and what can be run without services is run."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.docs import dag_file
from tests.docs.pages import DOCUMENTS, fences, read, section, spans, tables
from topicledger.cli.connections import parse_json
from topicledger.connection import Connection
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.acceptance import parse_accepted
from topicledger.signups import SIGNUPS
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.lake.log_entry import LogEntry
from topicledger.warehouse.lake.s3_store import EXTRA as S3_EXTRA
from topicledger.warehouse.lake.scratch import EXTRA as SCRATCH_EXTRA

LANGUAGES = {"python", "json", "bash", "sql", "text"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_snippets_parse(document: Path) -> None:
    """Every block names its language and parses in it."""
    for language, code in fences(document.read_text()):
        assert language in LANGUAGES, code
        if language == "python":
            ast.parse(code)
        elif language == "json":
            json.loads(code)
        elif language == "bash":
            subprocess.run(["bash", "-n"], input=code, text=True, check=True)
            for quoted in re.findall(r"'(\{.*?\})'", code):
                json.loads(quoted)


def shell() -> str:
    """Give all shell of the README."""
    return "\n".join(code for language, code in fences(read("README.md")) if language == "bash")


def test_the_readmes_kafka_connection_is_understood() -> None:
    """The JSON form of the Kafka connection is read by the engine as what it should be."""
    forms = re.findall(r"AIRFLOW_CONN_KAFKA_DEFAULT='(.*?)'", shell())
    (kafka,) = [parse_json("kafka_default", text) for text in forms]
    assert kafka.conn_type == "kafka"
    assert KafkaSettings("kafka_default", kafka.extra).servers == "host:9092"


def test_duckdb_is_never_given_to_airflow_as_a_connection_type() -> None:
    """Airflow's command stores an unregistered --conn-type as `generic`; the documents don't fall into that."""
    for document in DOCUMENTS:
        for _, code in fences(document.read_text()):
            assert "--conn-type duckdb" not in code, document.name


def test_the_readmes_extra_is_taken() -> None:
    """The larger example of a Kafka Extra passes the engine's own checks."""
    found = [json.loads(code) for language, code in fences(read("README.md")) if language == "json"]
    (extra,) = [keys for keys in found if "bootstrap.servers" in keys]
    assert KafkaSettings("kafka_default", extra).consumer("group")["isolation.level"] == "read_committed"


def test_the_examples_of_params_are_taken() -> None:
    """The params in operations.md are those of the DAG, in the form that the engine takes."""
    operations = read("docs/operations.md")
    conf: dict[str, Any] = {}
    for example in re.findall(r"--conf '(.*?)'", operations):
        conf |= json.loads(example)
    assert set(conf) == {"accept", "error_budget", "events"} < set(dag_file.params())
    assert dataclasses.replace(SIGNUPS, error_budget=conf["error_budget"]).error_budget == 0.25
    (loss,) = parse_accepted(conf["accept"]).losses
    assert str(loss) == "gap:3:120:140"
    for kind in ("gap", "truncated"):
        assert f"`{kind}:<partition>:<start>:<end>`" in operations
        assert parse_accepted([f"{kind}:0:1:2"]).losses[0].kind == kind


def test_the_views_are_those_of_the_command() -> None:
    """The statements of warehouses.md are what `topicledger check --ddl` prints, and its connections are taken."""
    warehouses = read("docs/warehouses.md").partition("\n## Snowflake\n")[0]
    (views,) = [code for language, code in fences(warehouses) if language == "sql"]
    commands = "\n".join(code for language, code in fences(warehouses) if language == "bash")
    form = re.search(r"--conn-json '(.*?)'", commands)
    extra = re.search(r"--conn-extra '(.*?)'", commands)
    assert form is not None
    assert extra is not None
    found = parse_json("warehouse_default", form[1])
    settings = Connection(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})
    assert open_warehouse(settings, SIGNUPS).ddl() == views
    folder = Connection("warehouse_default", "fs", extra=json.loads(extra[1]))
    assert open_warehouse(folder, SIGNUPS).ddl() == views.replace("s3://bucket/prefix", "/data/lake")


def test_the_keys_of_s3_are_listed() -> None:
    """warehouses.md lists every key of the connection's Extra, and every field of an entry of the log."""
    tables_of_s3 = tables(section(read("docs/warehouses.md"), "S3"))
    assert [spans(row[0])[0] for row in tables_of_s3[1][1:]] == [*S3_EXTRA, *SCRATCH_EXTRA]
    assert [spans(row[0])[0] for row in tables_of_s3[2][1:]] == list(LogEntry.__struct_fields__)


def test_the_sql_runs_on_the_shipped_tables() -> None:
    """Every statement of operations.md runs on tables made by the engine's own DDL."""
    settings = Connection("warehouse_default", "duckdb", host="/nowhere/a.duckdb")
    with duckdb.connect() as database:
        database.execute(open_warehouse(settings, SIGNUPS).ddl())
        statements = [code for language, code in fences(read("docs/operations.md")) if language == "sql"]
        assert len(statements) == 5
        for statement in statements:
            assert database.execute(statement).fetchall() == []
