"""The command `topicledger`: it looks, and writes DAG files. What moves data is a DAG run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

try:
    import typer
except ImportError as error:
    said = f"the command needs its extra ({error}): pip install 'topicledger[cli]' [command-incomplete]"
    raise SystemExit(said) from error

from topicledger import __version__
from topicledger.airflow.ledger import KAFKA_CONN_ID, WAREHOUSE_CONN_ID
from topicledger.cli.airflow_settings import dags_folder
from topicledger.cli.checked import check as checked_one
from topicledger.cli.connections import kafka_settings, warehouse_connection
from topicledger.cli.declared import find_declared, only_one
from topicledger.cli.findings import one_line
from topicledger.cli.infer import infer
from topicledger.cli.scaffold import DAG_FILES, install_line, write_dag_files
from topicledger.cli.warehouse_checks import known_positions, needed_ddl, require_ledger
from topicledger.errors import TopicLedgerError
from topicledger.kafka.client import client_log
from topicledger.kafka.topic import TopicObserver
from topicledger.report.history import books_close, books_table, history_json, history_table
from topicledger.report.preview import plan_table, preview
from topicledger.retries import log as retries_log
from topicledger.retries import with_retries
from topicledger.warehouse.choice import open_warehouse

# No traceback of ours may show the locals of a frame that holds a password.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

What = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT", help="A DAG's id, a DAG file, or module:NAME of a pipeline; else all in Airflow's dags folder."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON document instead.")]


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
    here = dags_folder().absolute() in (dags_dir.absolute(), *dags_dir.absolute().parents)
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
        f"  3. topicledger check{'' if here else f' {dags_dir.absolute() / DAG_FILES[0]}'}\n"
        "  4. airflow dags unpause robust_kafka_etl_pipeline"
    )


app.command()(infer)


@app.command()
def check(
    what: What = None,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the DDL that the tables need; check nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what would stop a run, one line each; nothing that stays is changed. Exit status 1 when anything would."""
    if ddl:
        declared = only_one(what)
        typer.echo(needed_ddl(warehouse_connection(declared.ledger), declared.pipeline), nl=False)
        return
    checked = [checked_one(one) for one in find_declared(what)]
    if as_json:
        typer.echo(json.dumps({one.declared.where: one.document for one in checked}, indent=2, default=str))
    for one in checked if not as_json else ():
        for finding in one.findings:
            if finding.kind != "problem":
                typer.echo(f"{finding.kind:<9}{finding.text}")
        typer.echo(f"\n{one.table}\n")
    problems = [finding.text for one in checked for finding in one.findings if finding.kind == "problem"]
    for problem in problems if not as_json else ():
        typer.echo(f"problem  {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    if not as_json:
        typer.echo("Nothing would stop a run.")


@app.command()
def plan(what: What = None, as_json: AsJson = False) -> None:
    """Print what the next run would read, per partition."""
    one = only_one(what)
    settings, pipeline = warehouse_connection(one.ledger), one.pipeline
    known = known_positions(settings, pipeline)
    with TopicObserver(kafka_settings(one.ledger), pipeline.topic) as observer:
        state = with_retries(f"describing {pipeline.topic}", observer.state)
    planned = preview(state, known, pipeline, open_warehouse(settings, pipeline).target)
    typer.echo(json.dumps(msgspec.to_builtins(planned), indent=2) if as_json else plan_table(planned, state, known))


@app.command()
def accounts(
    what: What = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many batches, newest first.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Print the ledger's history and every partition's books. Exit status 1 when they don't close."""
    one = only_one(what)
    settings = warehouse_connection(one.ledger)
    require_ledger(settings, one.pipeline)
    warehouse = open_warehouse(settings, one.pipeline)
    rows = with_retries("reading the ledger", lambda: warehouse.history(limit))
    partitions = with_retries("reading the ledger", lambda: warehouse.snapshot("", "")).partitions
    if as_json:
        typer.echo(history_json(warehouse.target, rows, partitions))
    else:
        typer.echo(f"{warehouse.target}\n\n{history_table(rows)}\n\n{books_table(partitions)}")
    if not books_close(partitions):
        raise typer.Exit(1)
