"""Airflow's settings: all in one airflow.cfg, so that the command `airflow` needs AIRFLOW_HOME alone."""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from devstack.ports import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ADMIN = "admin"
_PASSWORDS = "passwords.json"

_LASTING_SECRETS = (("core", "fernet_key"), ("api", "secret_key"), ("api_auth", "jwt_secret"))


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """What differs between one Airflow and another.

    Attributes:
        home: AIRFLOW_HOME.
        dags_folders: where DAG files are; the first one is Airflow's `dags_folder`.
        port: where the API server listens.
        metadata_url: the metadata database, as SQLAlchemy writes it; empty for SQLite in `home`.
        overrides: further settings, `section.key` to value.
    """

    home: Path
    dags_folders: Sequence[Path]
    port: int
    metadata_url: str
    overrides: Mapping[str, str]

    @property
    def url(self) -> str:
        """The address of the UI and the API."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def database(self) -> str:
        """The metadata database, as SQLAlchemy writes it."""
        return self.metadata_url or f"sqlite:///{self.home / 'airflow.db'}"


def write_settings(settings: AirflowSettings) -> None:
    """Writes airflow.cfg and the login, readable by this user alone.

    Secrets and password are made once and kept: encrypted connections and logins outlive a restart.
    """
    path = settings.home / "airflow.cfg"
    before = configparser.ConfigParser(interpolation=None)
    before.read(path)
    parser = configparser.ConfigParser(interpolation=None)
    for (section, key), value in {**_values(settings), **_secrets(before)}.items():
        _set(parser, section, key, value)
    for name, value in settings.overrides.items():
        section, key = name.split(".", 1)
        _set(parser, section, key, value)
    with _private(path) as file:
        parser.write(file)
    if not (settings.home / _PASSWORDS).exists():
        with _private(settings.home / _PASSWORDS) as file:
            json.dump({ADMIN: secrets.token_urlsafe(12)}, file)


def password(home: Path) -> str:
    """Returns the password of the account `admin`."""
    return str(json.loads((home / _PASSWORDS).read_text())[ADMIN])


def _values(settings: AirflowSettings) -> dict[tuple[str, str], str]:
    bundles = [
        {
            "name": "dags-folder" if number == 0 else f"dags-folder-{number}",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder)},
        }
        for number, folder in enumerate(settings.dags_folders)
    ]
    return {
        ("core", "dags_folder"): str(settings.dags_folders[0]),
        ("core", "executor"): "LocalExecutor",
        ("core", "parallelism"): "4",
        ("core", "load_examples"): "False",
        ("core", "default_task_retry_delay"): "10",
        ("core", "dags_are_paused_at_creation"): "True",
        ("core", "execution_api_server_url"): f"{settings.url}/execution/",
        ("core", "simple_auth_manager_users"): f"{ADMIN}:admin",
        ("core", "simple_auth_manager_passwords_file"): str(settings.home / _PASSWORDS),
        ("database", "sql_alchemy_conn"): settings.database,
        ("api", "host"): LOCALHOST,
        ("api", "port"): str(settings.port),
        ("api", "base_url"): settings.url,
        ("api", "workers"): "1",
        # An error is one long line: without it the next step, at its end, is outside the window.
        ("api", "default_wrap"): "True",
        ("logging", "base_log_folder"): str(settings.home / "logs"),
        ("dag_processor", "dag_bundle_config_list"): json.dumps(bundles),
        ("dag_processor", "refresh_interval"): "10",
        ("dag_processor", "parsing_processes"): "1",
        ("scheduler", "scheduler_idle_sleep_time"): "0.3",
        # What a killed stack left behind is taken up within seconds of the next start, not minutes.
        ("scheduler", "scheduler_heartbeat_sec"): "2",
        ("scheduler", "scheduler_health_check_threshold"): "15",
        ("scheduler", "orphaned_tasks_check_interval"): "10",
        ("scheduler", "task_instance_heartbeat_timeout"): "60",
        # A task's supervisor looks up from its sockets this often: ends sooner after the task, stops sooner.
        ("workers", "min_heartbeat_interval"): "1",
        ("usage_data_collection", "enabled"): "False",
    }


def _secrets(before: configparser.ConfigParser) -> dict[tuple[str, str], str]:
    fresh = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode
    return {name: before.get(*name, fallback="") or fresh() for name in _LASTING_SECRETS}


def _set(parser: configparser.ConfigParser, section: str, key: str, value: str) -> None:
    if not parser.has_section(section):
        parser.add_section(section)
    parser.set(section, key, value.replace("%", "%%"))


def _private(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")
