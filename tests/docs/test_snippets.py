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
from tests.docs.pages import DOCUMENTS, fences, first_spans, read, table
from tests.docs.warehouse_blocks import blocks
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


@pytest.mark.parametrize("page", ["README.md", "docs/get-started.md"])
def test_the_kafka_connection_is_understood(page: str) -> None:
    """The JSON form of the Kafka connection is read by the engine as what it should be."""
    shell = "\n".join(code for language, code in fences(read(page)) if language == "bash")
    forms = re.findall(r"AIRFLOW_CONN_KAFKA_DEFAULT='(.*?)'", shell)
    (kafka,) = [parse_json("kafka_default", text) for text in forms]
    assert kafka.conn_type == "kafka"
    assert KafkaSettings("kafka_default", kafka.extra).servers == "host:9092"


def test_duckdb_is_never_given_to_airflow_as_a_connection_type() -> None:
    """Airflow's command stores an unregistered --conn-type as `generic`; the documents don't fall into that."""
    for document in DOCUMENTS:
        for _, code in fences(document.read_text()):
            assert "--conn-type duckdb" not in code, document.name


def test_the_larger_extra_is_taken() -> None:
    """The larger example of a Kafka Extra passes the engine's own checks."""
    found = [json.loads(code) for language, code in fences(read("docs/get-started.md")) if language == "json"]
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
    """The statements on S3's page are what `topicledger check --ddl` prints for it, and for the folder."""
    (views,) = [code for language, code in fences(read("docs/warehouses/s3.md")) if language == "sql"]
    assert open_warehouse(blocks()["S3"].settings, SIGNUPS).ddl() == views
    assert open_warehouse(blocks()["A local folder"].settings, SIGNUPS).ddl() == views.replace(
        "s3://bucket/prefix", "/data/lake"
    )


def test_the_keys_of_s3_are_listed() -> None:
    """s3.md lists every key of the connection's Extra, and every field of an entry of the log."""
    page = read("docs/warehouses/s3.md")
    assert first_spans(table(page, "Keys of the Extra")) == [*S3_EXTRA, *SCRATCH_EXTRA]
    assert first_spans(table(page, "What lies there")) == list(LogEntry.__struct_fields__)


def test_the_sql_runs_on_the_shipped_tables() -> None:
    """Every question of operations.md runs on tables made by the engine's own DDL; renaming has a test of its own."""
    settings = Connection("warehouse_default", "duckdb", host="/nowhere/a.duckdb")
    with duckdb.connect() as database:
        database.execute(open_warehouse(settings, SIGNUPS).ddl())
        found = [code for language, code in fences(read("docs/operations.md")) if language == "sql"]
        statements = [code for code in found if "RENAME" not in code]
        assert len(statements) == 5
        for statement in statements:
            assert database.execute(statement).fetchall() == []
