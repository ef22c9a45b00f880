"""Airflow's connections as the engine takes them: looked up by Airflow itself, every secret of theirs masked."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from airflow.configuration import AIRFLOW_HOME
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf, mask_secret

from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.kafka import registry
from topicledger.kafka.settings import SECRET_KEYS, KafkaSettings
from topicledger.masking import forms_of

log = logging.getLogger(__name__)

_LOCAL_EXECUTORS = frozenset(
    {
        "LocalExecutor",
        "airflow.executors.local_executor.LocalExecutor",
        "SequentialExecutor",
        "airflow.executors.sequential_executor.SequentialExecutor",
    }
)
_SECRETS = (
    SECRET_KEYS
    | registry.SECRET_KEYS
    | {"sslpassword", "aws_session_token", "private_key_content", "client_secret", "refresh_token"}
)


def find_connection(conn_id: str) -> Connection | None:
    """Look a connection up in Airflow's secrets backends, environment and database, and mask its secrets.

    Returns:
        Its fields, or None where nothing defines it.

    Raises:
        SettingsError: Its Extra isn't a JSON object; Airflow's own property would take it for an empty one.
    """
    try:
        found: Any = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    extra = _extra(found)
    for secret in (found.password, *(extra[key] for key in sorted(_SECRETS & extra.keys()))):
        # Airflow doesn't know all of them, and a log may show one in another form.
        for text in forms_of(str(secret or "")):
            mask_secret(text)
    return Connection(
        conn_id, found.conn_type, found.host, found.port, found.login, found.password, found.schema, extra
    )


def kafka_settings(conn_id: str) -> KafkaSettings:
    """Resolve a Kafka connection through the provider's hook: its callback allow-list, MSK IAM and Google apply.

    Raises:
        SettingsError: It isn't defined, or a key of its Extra can't work.
    """
    from airflow.providers.apache.kafka.hooks.base import KafkaBaseHook

    class ResolvedExtra(KafkaBaseHook):
        def _get_client(self, config: dict[str, Any]) -> dict[str, Any]:
            return config

    found = find_connection(conn_id)
    if found is None:
        raise SettingsError(
            f"connection {conn_id} is not defined: add it under Admin > Connections (type Apache Kafka, Extra "
            f'{{"bootstrap.servers": "host:9092"}}), or with `airflow connections add {conn_id} '
            f"--conn-type kafka "
            """--conn-extra '{"bootstrap.servers": "host:9092"}'`""",
            code="kafka-connection-undefined",
        )
    extra = found.extra
    if extra.get("bootstrap.servers"):
        try:
            extra = ResolvedExtra(conn_id).get_conn  # type: ignore[no-untyped-call] # the provider's
        except ValueError as error:
            raise SettingsError(f"connection {conn_id}: {error}", code="kafka-hook-refused") from error
    return KafkaSettings(conn_id, extra)


def registry_connection(conn_id: str) -> Connection:
    """Look a schema registry's connection up.

    Raises:
        SettingsError: It isn't defined.
    """
    found = find_connection(conn_id)
    if found is None:
        raise SettingsError(
            f"connection {conn_id} is not defined, and the pipeline's format asks a schema registry: add it under "
            "Admin > Connections (type HTTP, Host the registry's URL, Login and Password where it asks for them)",
            code="registry-connection-undefined",
        )
    return found


def warehouse_connection(conn_id: str) -> Connection:
    """Look a warehouse's connection up; without one it is DuckDB, where tasks share this machine's disk.

    Raises:
        SettingsError: It isn't defined, and tasks may run on several disks.
    """
    found = find_connection(conn_id)
    if found is not None:
        return found
    elsewhere = _may_run_elsewhere()
    if elsewhere:
        raise SettingsError(
            f"connection {conn_id} is not defined and {elsewhere}: tasks may run on different "
            "disks, where a DuckDB file would lose the ledger. Define it, of type postgres for example",
            code="warehouse-connection-undefined",
        )
    path = Path(AIRFLOW_HOME, "warehouse", "topicledger.duckdb")
    log.warning("connection %s is not defined: the warehouse is DuckDB at %s", conn_id, path)
    return Connection(conn_id, "duckdb", host=str(path))


def _may_run_elsewhere() -> str:
    """Say why another task may find another disk; nothing where every executor's tasks run on this machine."""
    # In a pod Airflow's Helm chart sets LocalExecutor, whatever started it; these marks are Airflow's own.
    if os.environ.get("AIRFLOW_IS_K8S_EXECUTOR_POD") or os.environ.get("AIRFLOW_IS_EXECUTOR_CONTAINER"):
        return "each task runs in a container of its own"
    setting = conf.get("core", "executor")
    # Several may be listed, also for teams, and each may have an alias: LocalExecutor,k8s:a.b.C;team=CeleryExecutor
    names = {re.split("[=:]", listed)[-1].strip() for listed in re.split("[,;]", setting)}
    return f"the executor is {setting}" if names - _LOCAL_EXECUTORS else ""


def _extra(connection: Any) -> dict[str, Any]:
    try:
        extra = json.loads(connection.extra or "{}")
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"connection {connection.conn_id}: its Extra is not JSON: {error.msg} at line {error.lineno}, column "
            f'{error.colno}. It must be an object such as {{"bootstrap.servers": "host:9092"}}',
            code="extra-not-json",
        ) from None
    if not isinstance(extra, dict):
        raise SettingsError(
            f"connection {connection.conn_id}: its Extra is a JSON {type(extra).__name__}, not an object",
            code="extra-not-an-object",
        )
    return extra
