"""The command `topicledger`: it only looks, and writes DAG files. What moves data is a DAG run."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

try:
    import typer
except ImportError as error:
    raise SystemExit(f"the command needs its extra ({error}): pip install 'topicledger[cli]'") from error

from topicledger import __version__
from topicledger.connections import find_connection, require_connection
from topicledger.errors import SettingsError, TopicLedgerError
from topicledger.kafka.settings import KafkaSettings
from topicledger.kafka.topic import TopicObserver
from topicledger.model.plan import Position
from topicledger.model.planning import TopicState
from topicledger.pipeline import Pipeline
from topicledger.report.display import number
from topicledger.report.history import books_close, books_table, history_json, history_table
from topicledger.report.preview import plan_table, preview
from topicledger.scaffold import install_line, write_dag_files
from topicledger.warehouse.connect import open_warehouse
from topicledger.warehouse.contract import WarehouseSettings

# No traceback of ours may show the locals of a frame that holds a password.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

PipelineOption = Annotated[str, typer.Option("--pipeline", help="Import path of the pipeline: module:NAME.")]
KafkaOption = Annotated[str, typer.Option("--kafka-conn-id", help="The Kafka connection.")]
WarehouseOption = Annotated[str, typer.Option("--warehouse-conn-id", help="The warehouse connection.")]

_PIPELINE = "topicledger.signups:SIGNUPS"
_KAFKA_CONN_ID = "kafka_default"
_WAREHOUSE_CONN_ID = "warehouse_default"
_WAREHOUSE_EXAMPLE = '{"conn_type": "duckdb", "host": "/path/to/warehouse.duckdb"}'
_KAFKA_EXAMPLE = '{"conn_type": "kafka", "extra": {"bootstrap.servers": "host:9092"}}'

_NOT_CREATED_YET = ("tables are missing", "there is no DuckDB file", "there is no ledger at")
"""How the warehouses say that nothing was created yet, which is no problem before the first run."""


def main() -> None:
    """Run the command. An error of ours becomes one line on stderr and exit status 1, never a traceback."""
    try:
        app()
    except TopicLedgerError as error:
        typer.echo(f"topicledger: {_one_line(error)}", err=True)
        raise SystemExit(1) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"topicledger {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Show the version and end.", is_eager=True, callback=_show_version)
]


@app.callback()
def _root(version: VersionOption = False) -> None:
    del version  # shown by the option's own callback; the help is the module's docstring


@app.command()
def init(
    dags_dir: Annotated[Path, typer.Argument(help="Airflow's dags folder.")],
    vendor: Annotated[bool, typer.Option("--vendor", help="Also put the engine there (git-synced).")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ.")] = False,
) -> None:
    """Write the two DAG files of this version into DAGS_DIR. A repeat changes nothing."""
    done = write_dag_files(dags_dir, vendor=vendor, force=force)
    for word, paths in (("wrote", done.written), ("kept", done.unchanged), ("removed", done.removed)):
        shown = [path for path in paths if "topicledger" not in path.relative_to(dags_dir).parts[:1]]
        for path in shown:
            typer.echo(f"{word:<8}{path}")
        if len(paths) > len(shown):
            typer.echo(f"{word:<8}{dags_dir / 'topicledger'} ({len(paths) - len(shown)} files)")
    typer.echo(
        "\nNext, in the environment that Airflow runs in:\n"
        f"  1. {install_line(vendor=vendor)}\n"
        f"  2. airflow connections add {_KAFKA_CONN_ID} --conn-type kafka "
        '--conn-extra \'{"bootstrap.servers": "host:9092"}\'\n'
        f"     (and {_WAREHOUSE_CONN_ID}; without it, on one machine, a DuckDB file under AIRFLOW_HOME)\n"
        "  3. topicledger check\n"
        "  4. airflow dags unpause robust_kafka_etl_pipeline"
    )


@app.command()
def check(
    kafka_conn_id: KafkaOption = _KAFKA_CONN_ID,
    warehouse_conn_id: WarehouseOption = _WAREHOUSE_CONN_ID,
    pipeline: PipelineOption = _PIPELINE,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the tables' DDL; check nothing.")] = False,
) -> None:
    """Tell what would stop a run, one line each, and change nothing. Exit status 1 when anything would."""
    declared = _pipeline(pipeline)
    if ddl:
        typer.echo(open_warehouse(_warehouse_settings(warehouse_conn_id), declared).ddl(), nl=False)
        return
    problems: list[str] = []
    known = _check_warehouse(warehouse_conn_id, declared, problems)
    _check_topic(kafka_conn_id, declared, known, problems)
    for problem in problems:
        typer.echo(f"problem  {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo("Nothing would stop a run.")


@app.command()
def plan(
    kafka_conn_id: KafkaOption = _KAFKA_CONN_ID,
    warehouse_conn_id: WarehouseOption = _WAREHOUSE_CONN_ID,
    pipeline: PipelineOption = _PIPELINE,
) -> None:
    """Print what the next run would read, per partition."""
    declared = _pipeline(pipeline)
    settings = _warehouse_settings(warehouse_conn_id)
    warehouse = open_warehouse(settings, declared)
    known = list(warehouse.positions(declared.topic)) if _has_tables(settings, declared) else []
    state = _topic_state(kafka_conn_id, declared)
    typer.echo(plan_table(preview(state, known, declared, warehouse.target), state, known))


@app.command()
def accounts(
    warehouse_conn_id: WarehouseOption = _WAREHOUSE_CONN_ID,
    pipeline: PipelineOption = _PIPELINE,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many batches, newest first.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON document instead of tables.")] = False,
) -> None:
    """Print the ledger's history and every partition's books. Exit status 1 when they don't close."""
    warehouse = open_warehouse(_warehouse_settings(warehouse_conn_id), _pipeline(pipeline))
    rows = warehouse.history(limit)
    partitions = warehouse.snapshot("", "").partitions
    if as_json:
        typer.echo(history_json(warehouse.target, rows, partitions))
    else:
        typer.echo(f"{warehouse.target}\n\n{history_table(rows)}\n\n{books_table(partitions)}")
    if not books_close(partitions):
        raise typer.Exit(1)


def _check_warehouse(conn_id: str, declared: Pipeline, problems: list[str]) -> list[Position]:
    try:
        settings = _warehouse_settings(conn_id)
        if not _has_tables(settings, declared):
            typer.echo(f"ok       {conn_id}: reachable; the first run creates the tables")
            return []
        warehouse = open_warehouse(settings, declared)
        known, audit = list(warehouse.positions(declared.topic)), warehouse.audit()
    except TopicLedgerError as error:
        problems.append(_one_line(error))
        return []
    typer.echo(f"ok       {conn_id}: reachable, tables as expected")
    for note in audit.notes:
        typer.echo(f"note     {conn_id}: {note}")
    problems.extend(f"{conn_id}: {problem}" for problem in audit.problems)
    return known


def _check_topic(conn_id: str, declared: Pipeline, known: list[Position], problems: list[str]) -> None:
    try:
        state = _topic_state(conn_id, declared)
        typer.echo(f"ok       {conn_id}: topic {state.topic} with {len(state.partitions)} partitions")
        planned = preview(state, known, declared, declared.table)
    except TopicLedgerError as error:
        problems.append(_one_line(error))
        return
    offsets = sum(r.end - r.start for r in planned.ranges)
    typer.echo(f"ok       nothing is lost between ledger and topic; {number(offsets)} offsets to read")


def _has_tables(settings: WarehouseSettings, declared: Pipeline) -> bool:
    """Compare the tables, creating none. False: they aren't there, and the first run may create them."""
    try:
        open_warehouse(settings, replace(declared, create_tables=False)).ensure_tables()
    except SettingsError as error:
        if declared.create_tables and any(text in str(error) for text in _NOT_CREATED_YET):
            return False
        raise
    return True


def _topic_state(conn_id: str, declared: Pipeline) -> TopicState:
    # What the client says there comes back as the error's text, with its next step.
    logging.getLogger("topicledger.kafka.librdkafka").setLevel(logging.CRITICAL + 1)
    settings = KafkaSettings(conn_id, require_connection(conn_id, _KAFKA_EXAMPLE).extra)
    with TopicObserver(settings, declared.topic) as observer:
        return observer.state()


def _warehouse_settings(conn_id: str) -> WarehouseSettings:
    found = find_connection(conn_id)
    if found is not None:
        return WarehouseSettings(**{field.name: getattr(found, field.name) for field in fields(found)})
    if conn_id != _WAREHOUSE_CONN_ID:
        require_connection(conn_id, _WAREHOUSE_EXAMPLE)
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
    path = home / "warehouse" / "topicledger.duckdb"
    typer.echo(f"note     {conn_id} is not defined: looking at {path}, as a DAG run here would", err=True)
    return WarehouseSettings(conn_id, "duckdb", host=str(path.absolute()))


def _pipeline(path: str) -> Pipeline:
    module, _, name = path.partition(":")
    # A pipeline of one's own lies in the folder at hand more often than in an installed package.
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise typer.BadParameter(f"{path} can't be imported: {error}. Use module:NAME") from error
    if not isinstance(found, Pipeline):
        raise typer.BadParameter(f"{path} is a {type(found).__name__}, not a Pipeline")
    return found


def _one_line(error: TopicLedgerError) -> str:
    # Further lines are statements for a database administrator.
    first, _, statements = str(error).partition("\n")
    return f"{first} (`topicledger check --ddl` prints the statements)" if statements else first
