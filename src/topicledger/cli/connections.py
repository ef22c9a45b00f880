"""Connections for the command: from the environment where they stand there as JSON, else as Airflow finds them.

Airflow's import takes seconds and its log would be in the command's answer: it is asked in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import typer

from topicledger.airflow.ledger import WAREHOUSE_CONN_ID, Ledger
from topicledger.cli.airflow_settings import airflow_home, setting
from topicledger.connection import Connection
from topicledger.errors import RetriableError, SettingsError
from topicledger.kafka.settings import CALLBACK_KEYS, KafkaSettings
from topicledger.staged_files.choice import in_s3

_TIMEOUT_S = 120
_NO_AIRFLOW = 3
_ASK = f"""
import sys
sys.path[:] = sys.argv[2:]
try:
    from airflow.providers.common.compat.sdk import BaseHook
except ImportError:
    raise SystemExit({_NO_AIRFLOW})
import dataclasses, json
from topicledger.airflow.connections import find_connection
found = find_connection(sys.argv[1])
print("\\n" + json.dumps(found and dataclasses.asdict(found)))
"""
_WAREHOUSE_EXAMPLE = '{"conn_type": "duckdb", "host": "/path/to/warehouse.duckdb"}'
_STAGING_EXAMPLE = '{"conn_type": "aws", "login": "key", "password": "secret"}'
REGISTRY_EXAMPLE = '{"conn_type": "http", "host": "https://registry:8081"}'
_KAFKA_EXAMPLE = '{"conn_type": "kafka", "extra": {"bootstrap.servers": "host:9092"}}'
_FIELDS = ("conn_type", "host", "port", "login", "password", "schema")


def find_connection(conn_id: str) -> Connection | None:
    """Look a connection up as Airflow does on this machine: secrets backend, environment, Airflow's own database.

    Returns:
        Its fields, or None where nothing defines it (also where Airflow isn't installed).

    Raises:
        SettingsError: It is defined, but in a form that Airflow couldn't read either.
        RetriableError: Airflow didn't answer in time.
    """
    text = os.environ.get(_variable(conn_id), "").strip()
    # A secrets backend comes before the environment, and only Airflow can ask it; it reads the other form, a URI.
    plain = text.startswith("{") and not setting("secrets", "backend")
    return parse_json(conn_id, text) if plain else _ask_airflow(conn_id)


def require_connection(conn_id: str, example: str) -> Connection:
    """Look a connection up that has to be there.

    Args:
        conn_id: The connection's id.
        example: A JSON value that would define it, for the message.

    Raises:
        SettingsError: It is missing or unreadable.
        RetriableError: As `find_connection`.
    """
    found = find_connection(conn_id)
    if found is None:
        raise SettingsError(
            f"connection {conn_id} is not defined: set {_variable(conn_id)}='{example}', "
            "or define it in Airflow and run this in Airflow's own environment",
            code="connection-undefined",
        )
    return found


def kafka_settings(ledger: Ledger) -> KafkaSettings:
    """Look the Kafka connection up.

    Raises:
        TopicLedgerError: It is missing, unreadable, has a key that is refused, or works in a task alone.
    """
    extra = require_connection(ledger.kafka, _KAFKA_EXAMPLE).extra
    mechanism = str(extra.get("sasl.mechanism") or extra.get("sasl.mechanisms") or "")
    by_itself = extra.get("sasl.oauthbearer.method") == "oidc" or "enable.sasl.oauthbearer.unsecure.jwt" in extra
    if "oauth_cb" in extra or (mechanism.upper() == "OAUTHBEARER" and not by_itself):
        raise SettingsError(
            f"connection {ledger.kafka}: Airflow's Kafka provider makes the token that its Extra asks for, "
            "in a task, so this command can't ask the broker. Trigger a run: its log tells what is wrong",
            code="token-needs-airflow",
        )
    # Callbacks that are named as text are the provider's to resolve; looking needs none of them.
    usable = {key: value for key, value in extra.items() if key not in CALLBACK_KEYS}
    return KafkaSettings(ledger.kafka, usable)


def warehouse_connection(ledger: Ledger) -> Connection:
    """Look the warehouse connection up; the default one may be missing, as in a DAG run.

    Raises:
        TopicLedgerError: It is missing though another one was asked for, or it is unreadable.
    """
    conn_id = ledger.warehouse
    found = find_connection(conn_id)
    if found is not None:
        return found
    if conn_id != WAREHOUSE_CONN_ID:
        require_connection(conn_id, _WAREHOUSE_EXAMPLE)
    path = airflow_home() / "warehouse" / "topicledger.duckdb"
    typer.echo(f"note     {conn_id} is not defined: looking at {path}, as a DAG run here would", err=True)
    return Connection(conn_id, "duckdb", host=str(path.absolute()))


def staging_connection(ledger: Ledger) -> Connection | None:
    """Look the connection of a staging root in S3 up; None where the root is a folder.

    Raises:
        TopicLedgerError: It is missing or unreadable.
    """
    place = ledger.pipeline.staging_dir
    return require_connection(ledger.staging, _STAGING_EXAMPLE) if in_s3(place) else None


def registry_connection(ledger: Ledger) -> Connection | None:
    """Look the schema registry's connection up; None where the format asks none.

    Raises:
        TopicLedgerError: It is missing or unreadable.
    """
    asks = ledger.pipeline.format.asks_registry
    return require_connection(ledger.registry, REGISTRY_EXAMPLE) if asks else None


def _variable(conn_id: str) -> str:
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def parse_json(conn_id: str, text: str) -> Connection:
    """Read a connection as a variable of the environment may have it.

    Raises:
        SettingsError: Airflow couldn't read it either. The text isn't quoted: it may hold a password.
    """
    try:
        given: dict[str, Any] = json.loads(text)
        extra = given.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
    except json.JSONDecodeError as error:
        # `from None`: the decoder's exception carries the whole text, password included.
        raise SettingsError(
            f"connection {conn_id} is not valid JSON: {error.msg} at column {error.colno}", code="connection-not-json"
        ) from None
    unknown = given.keys() - {*_FIELDS, "extra", "description"}
    if unknown:
        raise SettingsError(
            f"connection {conn_id} has {', '.join(sorted(unknown))}, which Airflow refuses: remove it, or put it into "
            f"the Extra; its fields are {', '.join(sorted([*_FIELDS, 'extra', 'description']))}",
            code="connection-fields-unknown",
        )
    port = given.get("port") or None
    if not isinstance(extra, dict) or not (port is None or str(port).isdecimal()):
        raise SettingsError(
            f"connection {conn_id}: its Extra is no JSON object, or its port no number: correct it",
            code="connection-malformed",
        )
    fields = {name: given.get(name) or None for name in _FIELDS}
    conn_type = str(fields.pop("conn_type") or "").replace("-", "_")
    fields["port"] = port and int(port)
    return Connection(conn_id, "postgres" if conn_type == "postgresql" else conn_type, **fields, extra=extra)


def _ask_airflow(conn_id: str) -> Connection | None:
    command = [sys.executable, "-c", _ASK, conn_id, *sys.path]
    # Outside a task Airflow asks its database only where it takes itself for a server.
    environment = {**os.environ, "_AIRFLOW_PROCESS_CONTEXT": "server"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise RetriableError(
            f"Airflow didn't give connection {conn_id} in {_TIMEOUT_S} s; `airflow connections get {conn_id}` may "
            "show why",
            code="airflow-unanswered",
        ) from None
    if done.returncode == _NO_AIRFLOW:
        return None
    if done.returncode != 0:
        # Not quoted: what it printed may hold a part of a password.
        raise SettingsError(
            f"Airflow can't give connection {conn_id}: run `airflow connections get {conn_id}` by hand to see why",
            code="airflow-no-connection",
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return found and Connection(**found)
