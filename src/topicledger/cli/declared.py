"""What the command looks at: the pipelines that DAG files declare, found by running those files, or one by its name.

A file is run without making DAGs of `ledger_dag`, so nothing waits for Airflow's import unless the file has one itself.
"""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from topicledger.airflow.ledger import WAREHOUSE_CONN_ID, Ledger, noted_ledgers
from topicledger.cli.airflow_settings import airflow_home, dags_folder
from topicledger.cli.connections import find_connection, require_connection
from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.kafka.settings import CALLBACK_KEYS, KafkaSettings
from topicledger.pipeline import Pipeline
from topicledger.pipeline_import import failed, import_named
from topicledger.staged_files.choice import in_s3

_WAREHOUSE_EXAMPLE = '{"conn_type": "duckdb", "host": "/path/to/warehouse.duckdb"}'
_STAGING_EXAMPLE = '{"conn_type": "aws", "login": "key", "password": "secret"}'
_KAFKA_EXAMPLE = '{"conn_type": "kafka", "extra": {"bootstrap.servers": "host:9092"}}'


@dataclass(frozen=True, slots=True)
class Declared:
    """One pipeline, where it is declared, and its DAG's side of it.

    Args:
        where: The file, or `module:NAME`.
        ledger: The pipeline with the ids of its connections.
        schedule: Its DAG's schedule; None where no DAG is known, or it has none.
    """

    where: str
    ledger: Ledger
    schedule: Any

    @property
    def pipeline(self) -> Pipeline:
        """The declaration.

        Raises:
            SettingsError: It can't be imported, or declares what can't work.
        """
        return self.ledger.pipeline

    @property
    def pause(self) -> dt.timedelta | None:
        """The longest time between two runs, where the schedule says it."""
        return longest_pause(self.schedule)

    def kafka_settings(self) -> KafkaSettings:
        """Look the Kafka connection up.

        Raises:
            TopicLedgerError: It is missing, unreadable, has a key that is refused, or works in a task alone.
        """
        extra = require_connection(self.ledger.kafka, _KAFKA_EXAMPLE).extra
        mechanism = str(extra.get("sasl.mechanism") or extra.get("sasl.mechanisms") or "")
        by_itself = extra.get("sasl.oauthbearer.method") == "oidc" or "enable.sasl.oauthbearer.unsecure.jwt" in extra
        if "oauth_cb" in extra or (mechanism.upper() == "OAUTHBEARER" and not by_itself):
            raise SettingsError(
                f"connection {self.ledger.kafka}: Airflow's Kafka provider makes the token that its Extra asks for, "
                "in a task, so this command can't ask the broker. Trigger a run: its log tells what is wrong"
            )
        # Callbacks that are named as text are the provider's to resolve; looking needs none of them.
        usable = {key: value for key, value in extra.items() if key not in CALLBACK_KEYS}
        return KafkaSettings(self.ledger.kafka, usable)

    def warehouse(self) -> Connection:
        """Look the warehouse connection up; the default one may be missing, as in a DAG run.

        Raises:
            TopicLedgerError: It is missing though another one was asked for, or it is unreadable.
        """
        conn_id = self.ledger.warehouse
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
        place = self.pipeline.staging_dir
        return require_connection(self.ledger.staging, _STAGING_EXAMPLE) if in_s3(place) else None


def find_declared(what: str | None) -> list[Declared]:
    """Find what the command is to look at.

    Args:
        what: `module:NAME` of a pipeline, a DAG file's path, a DAG's id, or None for all that the dags folder declares.

    Raises:
        SettingsError: There is nothing of that name, or what is there can't be run.
    """
    # Beside its DAG file a module is found as in Airflow; the folder at hand is the command's own.
    for folder in (str(Path.cwd()), str(dags_folder())):
        if folder not in sys.path:
            sys.path.append(folder)
    if what is not None and ":" in what:
        return [_named(what)]
    if what is not None and what.endswith(".py"):
        return _in_file(Path(what).absolute(), required=True)
    looked_in, found = dags_folder(), []
    for path in _dag_files(looked_in):
        found += _in_file(path, required=False)
        matching = [one for one in found if one.pipeline.name == what]
        if matching:
            return matching
    if what is not None or not found:
        there = ", ".join(sorted(one.pipeline.name for one in found)) or "no DAG of a pipeline"
        raise SettingsError(
            f"{looked_in} declares {there}{f', not {what}' if what else ''}: name a DAG's id, a DAG file's path, or "
            "module:NAME of a pipeline, such as topicledger.signups:SIGNUPS"
        )
    return found


def only_one(what: str | None) -> Declared:
    """Find the one pipeline that the command is to look at.

    Raises:
        SettingsError: As `find_declared`; or there are several.
    """
    found = find_declared(what)
    if len(found) > 1:
        names = ", ".join(sorted(one.pipeline.name for one in found))
        raise SettingsError(f"there are several pipelines: name one of {names}")
    return found[0]


def longest_pause(schedule: Any) -> dt.timedelta | None:
    """The longest time between two runs; None where the schedule doesn't say it.

    Args:
        schedule: As a DAG takes it: an interval, a preset such as `@daily`, a cron expression, or anything else.
    """
    if not isinstance(schedule, str):
        return schedule if isinstance(schedule, dt.timedelta) else None
    try:
        from croniter import croniter  # type: ignore[import-untyped] # Airflow's own

        # Enough for a week of minutes, and for every pattern of weekdays and leap days.
        times = croniter(schedule.replace("@quarterly", "0 0 1 */3 *"), dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
        return max((b - a for a, b in pairwise(islice(times.all_next(dt.datetime), 11_000))), default=None)
    except (ImportError, ValueError, KeyError):
        return None


def _named(what: str) -> Declared:
    with noted_ledgers() as noted:
        found = import_named(what, (Pipeline, Ledger))
    if isinstance(found, Ledger):
        return Declared(what, found, found.schedule)
    ledger = next((one for one in noted if one.declares(found)), None) or Ledger(found)
    return Declared(what, ledger, ledger.schedule)


def _dag_files(folder: Path) -> list[Path]:
    """The files that declare pipelines, those last that import Airflow themselves, which takes seconds."""
    slow: dict[Path, bool] = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "topicledger.airflow" in text and "topicledger" not in path.relative_to(folder).parts:
            slow[path] = "\nfrom airflow" in text or "\nimport airflow" in text
    return sorted(slow, key=lambda path: slow[path])


def _in_file(path: Path, *, required: bool) -> list[Declared]:
    with noted_ledgers() as noted:
        module = _run(path)
    if required and not noted:
        raise SettingsError(f"the DAG file {path} declares no pipeline: it calls neither ledger_dag nor Ledger")
    return [Declared(str(path), ledger, ledger.schedule or _schedule_of(module, ledger)) for ledger in noted]


def _run(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = f"topicledger_looks_at_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"the DAG file {path} is no Python file: name another one")
    module = module_from_spec(spec)
    sys.modules[name] = module
    with failed(f"the DAG file {path}"):
        spec.loader.exec_module(module)
    return module


def _schedule_of(module: ModuleType, ledger: Ledger) -> Any:
    """That of the DAG that a file makes itself, where it made one."""
    for value in vars(module).values():
        if type(value).__name__ == "DAG" and getattr(value, "dag_id", None) == ledger.pipeline.name:
            return getattr(value, "schedule", None) or getattr(value, "schedule_interval", None)
    return None
