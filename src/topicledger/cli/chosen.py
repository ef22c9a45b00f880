"""What the command looks at: as the DAG file has it, or as its options say instead."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from topicledger.cli.airflow_settings import airflow_home
from topicledger.cli.connections import find_connection, require_connection
from topicledger.cli.dag_file import DagFile, default_path, read_dag_file
from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.kafka.settings import CALLBACK_KEYS, KafkaSettings
from topicledger.pipeline import Pipeline
from topicledger.pipeline_import import import_pipeline
from topicledger.staged_files.choice import in_s3

PIPELINE = "topicledger.signups:SIGNUPS"
KAFKA_CONN_ID = "kafka_default"
WAREHOUSE_CONN_ID = "warehouse_default"
STAGING_CONN_ID = "staging_default"

_REPLACED = {
    "DAG_ID": "name",
    "TOPIC": "topic",
    "TABLE": "table",
    "STAGING_DIR": "staging_dir",
    "MAX_RECORDS": "max_records",
}
"""The DAG file's constants that replace a field of the declaration."""

_WAREHOUSE_EXAMPLE = '{"conn_type": "duckdb", "host": "/path/to/warehouse.duckdb"}'
_STAGING_EXAMPLE = '{"conn_type": "aws", "login": "key", "password": "secret"}'
_KAFKA_EXAMPLE = '{"conn_type": "kafka", "extra": {"bootstrap.servers": "host:9092"}}'


@dataclass(frozen=True, slots=True)
class Chosen:
    """One pipeline, with the ids of its connections.

    Args:
        pipeline: The declaration, under the DAG file's constants where there is one.
        kafka_conn_id: The Kafka connection.
        warehouse_conn_id: The warehouse connection.
        staging_conn_id: The connection of a staging root in S3.
        dag: The DAG file, or None where none was read.
    """

    pipeline: Pipeline
    kafka_conn_id: str
    warehouse_conn_id: str
    staging_conn_id: str
    dag: DagFile | None

    def kafka_settings(self) -> KafkaSettings:
        """Look the Kafka connection up.

        Raises:
            TopicLedgerError: It is missing, unreadable, has a key that is refused, or works in a task alone.
        """
        extra = require_connection(self.kafka_conn_id, _KAFKA_EXAMPLE).extra
        if _token_is_the_providers(extra):
            raise SettingsError(
                f"connection {self.kafka_conn_id}: Airflow's Kafka provider makes the token that its Extra asks for, "
                "in a task, so this command can't ask the broker. Trigger a run: its log tells what is wrong"
            )
        # Callbacks that are named as text are the provider's to resolve; looking needs none of them.
        usable = {key: value for key, value in extra.items() if key not in CALLBACK_KEYS}
        return KafkaSettings(self.kafka_conn_id, usable)

    def warehouse_settings(self) -> Connection:
        """Look the warehouse connection up; the default one may be missing, as in a DAG run.

        Raises:
            TopicLedgerError: It is missing though another one was asked for, or it is unreadable.
        """
        conn_id = self.warehouse_conn_id
        found = find_connection(conn_id)
        if found is not None:
            return found
        if conn_id != WAREHOUSE_CONN_ID:
            require_connection(conn_id, _WAREHOUSE_EXAMPLE)
        path = airflow_home() / "warehouse" / "topicledger.duckdb"
        typer.echo(f"note     {conn_id} is not defined: looking at {path}, as a DAG run here would", err=True)
        return Connection(conn_id, "duckdb", host=str(path.absolute()))

    def staging_connection(self) -> Connection | None:
        """Look the connection of a staging root in S3 up; None where the root is a folder.

        Raises:
            TopicLedgerError: It is missing or unreadable.
        """
        return staging_connection(self.staging_conn_id) if in_s3(self.pipeline.staging_dir) else None


def staging_connection(conn_id: str) -> Connection:
    """Look the connection of a staging root in S3 up.

    Raises:
        TopicLedgerError: It is missing or unreadable.
    """
    return require_connection(conn_id, _STAGING_EXAMPLE)


def choose(dag_file: Path | None, pipeline: str | None, kafka: str | None, warehouse: str | None) -> Chosen:
    """Read the DAG file, which need not be there unless it is named; options win over what it says.

    Args:
        dag_file: The DAG file, or None for the shipped one in Airflow's folder.
        pipeline: Import path of the declaration: then no file counts but one that is named.
        kafka: Id of the Kafka connection.
        warehouse: Id of the warehouse connection.

    Raises:
        SettingsError: The file can't be read, or a value that it gives can't work.
    """
    path = dag_file or default_path()
    dag = read_dag_file(path) if dag_file or (pipeline is None and path.exists()) else None
    constants = dag.constants if dag else {}
    declared = _pipeline(pipeline or constants.get("PIPELINE", PIPELINE), dag.path.parent if dag else None)
    changed = {field: constants[name] for name, field in _REPLACED.items() if name in constants}
    return Chosen(
        replace(declared, **changed),
        kafka or constants.get("KAFKA_CONN_ID", KAFKA_CONN_ID),
        warehouse or constants.get("WAREHOUSE_CONN_ID", WAREHOUSE_CONN_ID),
        constants.get("STAGING_CONN_ID", STAGING_CONN_ID),
        dag,
    )


def _token_is_the_providers(extra: Mapping[str, Any]) -> bool:
    """Whether the broker wants a token that librdkafka doesn't fetch by itself: of `oauth_cb`, MSK IAM or Google."""
    mechanism = str(extra.get("sasl.mechanism") or extra.get("sasl.mechanisms") or "")
    by_itself = extra.get("sasl.oauthbearer.method") == "oidc" or "enable.sasl.oauthbearer.unsecure.jwt" in extra
    return "oauth_cb" in extra or (mechanism.upper() == "OAUTHBEARER" and not by_itself)


def _pipeline(path: object, beside: Path | None) -> Pipeline:
    # A pipeline of one's own lies in the folder at hand or beside its DAG file, where Airflow finds it too.
    sys.path.insert(0, str(Path.cwd()))
    if beside is not None:
        sys.path.append(str(beside.absolute()))
    return import_pipeline(path)
