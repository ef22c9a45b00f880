"""The command `topicledger`: it looks, writes DAG files, and removes staged files. What moves data is a DAG run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

try:
    import typer
except ImportError as error:
    raise SystemExit(f"the command needs its extra ({error}): pip install 'topicledger[cli]'") from error

from topicledger import __version__
from topicledger.cli.checks import (
    Finding,
    check_declaration,
    check_staging,
    check_topic,
    check_warehouse,
    known_positions,
    one_line,
    require_ledger,
)
from topicledger.cli.chosen import KAFKA_CONN_ID, STAGING_CONN_ID, WAREHOUSE_CONN_ID, Chosen, choose, staging_connection
from topicledger.cli.dag_file import NAME, default_path
from topicledger.cli.scaffold import install_line, write_dag_files
from topicledger.errors import TopicLedgerError
from topicledger.kafka.client import client_log
from topicledger.kafka.topic import TopicObserver
from topicledger.model.schedule import longest_pause
from topicledger.report.history import books_close, books_table, history_json, history_table
from topicledger.report.preview import plan_table, preview
from topicledger.retries import log as retries_log
from topicledger.retries import with_retries
from topicledger.staged_files.choice import s3_root
from topicledger.warehouse.choice import open_warehouse

# No traceback of ours may show the locals of a frame that holds a password.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

DagFileOption = Annotated[
    Path | None,
    typer.Option("--dag-file", help="The DAG file whose constants count, if not user_etl_dag.py in Airflow's folder."),
]
PipelineOption = Annotated[
    str | None, typer.Option("--pipeline", help="Import path of the pipeline, module:NAME, not the file's.")
]
KafkaOption = Annotated[str | None, typer.Option("--kafka-conn-id", help="The Kafka connection, not the file's.")]
WarehouseOption = Annotated[
    str | None, typer.Option("--warehouse-conn-id", help="The warehouse connection, not the file's.")
]


def main() -> None:
    """Run the command. An error of ours becomes one line on stderr and exit status 1, never a traceback."""
    try:
        with _said_once():
            app()
    except TopicLedgerError as error:
        typer.echo(f"topicledger: {one_line(error)}", err=True)
        raise SystemExit(1) from None


class _Waiting(logging.Handler):
    """Says, once a question, that its answer is waited for, and why."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[object] = set()

    def emit(self, record: logging.LogRecord) -> None:
        question = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if question not in self._said:
            self._said.add(question)
            typer.echo(f"waiting  {' '.join(record.getMessage().split())}", err=True)


@contextmanager
def _said_once() -> Iterator[None]:
    """Keep quiet what comes back as an error's text, with its next step; say that something is waited for."""
    waiting, level = _Waiting(), client_log.level
    client_log.setLevel(logging.CRITICAL + 1)
    retries_log.addHandler(waiting)
    retries_log.propagate = False
    try:
        yield
    finally:
        client_log.setLevel(level)
        retries_log.removeHandler(waiting)
        retries_log.propagate = True


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
    dags_dir: Annotated[Path, typer.Argument(help="Airflow's dags folder, or one below it.")],
    vendor: Annotated[bool, typer.Option("--vendor", help="Also put the engine there (git-synced).")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ.")] = False,
) -> None:
    """Write the two DAG files of this version into DAGS_DIR. A repeat changes nothing."""
    dag_file, found = dags_dir.absolute() / NAME, default_path().absolute()
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
        f"  2. airflow connections add {KAFKA_CONN_ID} --conn-type kafka "
        '--conn-extra \'{"bootstrap.servers": "host:9092"}\'\n'
        f"     (and {WAREHOUSE_CONN_ID}; without it, on one machine, a DuckDB file under AIRFLOW_HOME)\n"
        f"  3. topicledger check{'' if dag_file == found else f' --dag-file {dag_file}'}\n"
        "  4. airflow dags unpause robust_kafka_etl_pipeline"
    )


@app.command()
def check(
    dag_file: DagFileOption = None,
    kafka_conn_id: KafkaOption = None,
    warehouse_conn_id: WarehouseOption = None,
    pipeline: PipelineOption = None,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the tables' DDL; check nothing.")] = False,
) -> None:
    """Tell what would stop a run, one line each; nothing that stays is changed. Exit status 1 when anything would."""
    chosen = choose(dag_file, pipeline, kafka_conn_id, warehouse_conn_id)
    if ddl:
        typer.echo(open_warehouse(chosen.warehouse_settings(), chosen.pipeline).ddl(), nl=False)
        return
    findings = list(_checked(chosen, explicit=pipeline is not None))
    for finding in findings:
        if finding.kind != "problem":
            typer.echo(f"{finding.kind:<9}{finding.text}")
    problems = [finding.text for finding in findings if finding.kind == "problem"]
    for problem in problems:
        typer.echo(f"problem  {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo("Nothing would stop a run.")


@app.command()
def plan(
    dag_file: DagFileOption = None,
    kafka_conn_id: KafkaOption = None,
    warehouse_conn_id: WarehouseOption = None,
    pipeline: PipelineOption = None,
) -> None:
    """Print what the next run would read, per partition."""
    chosen = choose(dag_file, pipeline, kafka_conn_id, warehouse_conn_id)
    settings = chosen.warehouse_settings()
    known = known_positions(settings, chosen.pipeline)
    with TopicObserver(chosen.kafka_settings(), chosen.pipeline.topic) as observer:
        state = with_retries(f"describing {chosen.pipeline.topic}", observer.state)
    target = open_warehouse(settings, chosen.pipeline).target
    typer.echo(plan_table(preview(state, known, chosen.pipeline, target), state, known))


@app.command()
def accounts(
    dag_file: DagFileOption = None,
    warehouse_conn_id: WarehouseOption = None,
    pipeline: PipelineOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many batches, newest first.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON document instead of tables.")] = False,
) -> None:
    """Print the ledger's history and every partition's books. Exit status 1 when they don't close."""
    chosen = choose(dag_file, pipeline, None, warehouse_conn_id)
    settings = chosen.warehouse_settings()
    require_ledger(settings, chosen.pipeline)
    warehouse = open_warehouse(settings, chosen.pipeline)
    rows = with_retries("reading the ledger", lambda: warehouse.history(limit))
    partitions = with_retries("reading the ledger", lambda: warehouse.snapshot("", "")).partitions
    if as_json:
        typer.echo(history_json(warehouse.target, rows, partitions))
    else:
        typer.echo(f"{warehouse.target}\n\n{history_table(rows)}\n\n{books_table(partitions)}")
    if not books_close(partitions):
        raise typer.Exit(1)


@app.command()
def cleanup(
    staging_dir: Annotated[str, typer.Argument(help="The staging root: s3://bucket/prefix.")],
    batch_id: Annotated[str, typer.Argument(help="The run's batch id.")],
    conn_id: Annotated[str, typer.Option("--conn-id", help="The connection for it.")] = STAGING_CONN_ID,
) -> None:
    """Remove a run's staged files from S3, and nothing else; the DAG's clean-up calls this. A repeat is harmless."""
    root = s3_root(staging_dir, staging_connection(conn_id))
    for name in root.clean_up(batch_id):
        typer.echo(f"removed  {root.location}/{name}")


def _checked(chosen: Chosen, *, explicit: bool) -> Iterator[Finding]:
    yield from _declared(chosen, explicit=explicit)
    yield from check_declaration(chosen.pipeline)
    known = None
    try:
        found, known = check_warehouse(chosen.warehouse_settings(), chosen.pipeline)
        yield from found
    except TopicLedgerError as error:
        yield Finding("problem", one_line(error))
    try:
        yield from check_staging(chosen.pipeline.staging_dir, chosen.staging_connection())
    except TopicLedgerError as error:
        yield Finding("problem", one_line(error))
    dag = chosen.dag
    pause = longest_pause(dag.schedule) if dag else None
    try:
        kafka = chosen.kafka_settings()
    except TopicLedgerError as error:
        yield Finding("problem", one_line(error))
        return
    yield from check_topic(kafka, chosen.pipeline, known, produces=dag is None or dag.events != 0, pause=pause)


def _declared(chosen: Chosen, *, explicit: bool) -> Iterator[Finding]:
    """Whose constants count: a run's are those of its DAG file."""
    names = f"topic {chosen.pipeline.topic} into {chosen.pipeline.table}"
    if chosen.dag is None:
        where = "" if explicit else f", since there is no {default_path()}"
        yield Finding("note", f"{names}, as declared{where}: a DAG file's constants may differ, name it by --dag-file")
        return
    yield Finding("ok", f"{names}, as in {chosen.dag.path}")
    if chosen.dag.unread:
        yield Finding(
            "note",
            f"{', '.join(chosen.dag.unread)} of {chosen.dag.path} can't be read without running it: not used here",
        )
