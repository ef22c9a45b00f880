"""The DAG `robust_kafka_etl_pipeline`: a daily batch of sign-ups from Kafka into the warehouse, its books closed.

This file is the Airflow side: constants, tasks, connections, and the one mapping from errors to Airflow's
retries. The Kafka side is `kafka_utils.py` beside it, be that the dags folder, one below it, a zip or a DAG bundle; the
engine is the package `topicledger`. Parsing this file imports neither, opens no connection and reads no variable.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import importlib.util
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.configuration import AIRFLOW_HOME
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowTaskTimeout,
    BaseHook,
    Param,
    conf,
    mask_secret,
)
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator

if TYPE_CHECKING:
    from topicledger.kafka.settings import KafkaSettings
    from topicledger.pipeline import Pipeline
    from topicledger.staged_files.root import StagingRoot
    from topicledger.warehouse.contract import Warehouse

DAG_ID = "robust_kafka_etl_pipeline"
KAFKA_CONN_ID = "kafka_default"
WAREHOUSE_CONN_ID = "warehouse_default"
STAGING_CONN_ID = "staging_default"
PIPELINE = "topicledger.signups:SIGNUPS"
TOPIC = "user_signups"
TABLE = "user_signups"
# Or s3://bucket/prefix, with STAGING_CONN_ID, where tasks don't share a disk.
STAGING_DIR = "/tmp"  # noqa: S108 - sticky, and the files in it are exclusive, private and verified
MAX_RECORDS: int | None = None
CONSUME_TIMEOUT = dt.timedelta(minutes=30)
RETRIES = 3
MAX_RETRY_DELAY = dt.timedelta(minutes=10)
_TASKS = {"produce": "generate_and_produce_data", "consume": "consume_and_stage_data", "load": "load_staged_data"}
LOCAL_EXECUTORS = (
    "LocalExecutor",
    "airflow.executors.local_executor.LocalExecutor",
    "SequentialExecutor",
    "airflow.executors.sequential_executor.SequentialExecutor",
)

log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_HERE = Path(__file__).absolute().parent  # a folder, or a zip
# Airflow adds the dags folder or the bundle's root, but none below it; and a zip first, until it is imported.
if str(_HERE) not in sys.path[1:]:
    sys.path.append(str(_HERE))
_engine = importlib.util.find_spec("topicledger")
if _engine is None or _engine.origin is None:  # any folder of that name is found as a package without origin
    raise ImportError(
        "user_etl_dag.py needs its engine: run `pip install 'topicledger[duckdb,postgres]'` in the environment of "
        "Airflow's scheduler, DAG processor and workers, or `topicledger init --vendor DAGS_DIR` to "
        "put it beside this file"
    )
_ENGINE_AT = Path(_engine.origin).parents[1]


def _kafka_side() -> Callable[[], ModuleType]:
    """Find the kafka_utils.py beside this file; give what imports just that one when a task wants it."""
    found = PathFinder.find_spec(f"{__name__}.kafka_utils", [str(_HERE)])
    if found is None or found.origin is None or (loader := found.loader) is None:
        raise ImportError(
            f"user_etl_dag.py needs kafka_utils.py beside it, but there is no {_HERE / 'kafka_utils.py'}: put the "
            "file there; `topicledger init` writes both files into the folder that it is given"
        )

    @functools.cache
    def imported() -> ModuleType:
        module = importlib.util.module_from_spec(found)
        sys.modules[found.name] = module
        loader.exec_module(module)
        return module

    return imported


# Not by `import kafka_utils`: anything else of that name, installed or at the bundle's root, would come first.
_kafka_utils = _kafka_side()

from topicledger.model.identity import Run, batch_id  # noqa: E402 - only after the checks above have had their say


def stops_for_a_person(task: Callable[..., _Result]) -> Callable[..., _Result]:
    """Map errors: what a retry can't mend fails the task at once, the rest uses Airflow's retries.

    Whatever leaves a task is an exception that ends with the next step: a log's last line is what a person reads first.
    """

    @functools.wraps(task)
    def mapped(**context: Any) -> _Result:
        try:
            return task(**context)
        except AirflowException:  # a skip, for instance
            raise
        except (Exception, AirflowTaskTimeout) as error:
            raise _ending(error, context["ti"]) from error

    return mapped


def _ending(error: BaseException, ti: Any) -> BaseException:
    from topicledger.errors import TopicLedgerError
    from topicledger.report.failure import told

    timed_out = isinstance(error, AirflowTaskTimeout)
    tries = ti.max_tries + 1
    said = told(error, task_id=ti.task_id, tasks=_TASKS, try_number=ti.try_number, tries=tries, timed_out=timed_out)
    if timed_out:
        return AirflowTaskTimeout(said)
    if isinstance(error, TopicLedgerError) and not error.retriable:
        return AirflowFailException(said)
    return AirflowException(said)


@stops_for_a_person
def generate_and_produce_data(**context: Any) -> None:
    """Simulate the run's sign-ups and produce them; push the receipt. With `events` = 0 produce nothing."""
    from topicledger.simulation import simulate
    from topicledger.staged_files.receipts import pushed_receipt

    params, run = context["params"], _run(context)
    if params["events"] == 0:
        log.info("events is 0: nothing is produced; the run consumes what others produced")
        return
    records = simulate(
        params["events"],
        malformed=params["malformed"],
        seed=params["seed"],
        run_key=run.batch_id,
        at=_run_time(context),
    )
    receipt = _kafka_utils().produce_batch(_kafka(), TOPIC, run, records)
    context["ti"].xcom_push(key="receipt", value=pushed_receipt(receipt, _staging(), run.batch_id))


@stops_for_a_person
def consume_and_stage_data(**context: Any) -> None:
    """Read everything new up to a fixed end and stage it; push the CSV's path and the manifest's handle."""
    import dataclasses

    import msgspec

    from topicledger.staged_files.receipts import received_receipt

    ti, pipeline, run, events = context["ti"], _pipeline(), _run(context), context["params"]["events"]
    pushed = ti.xcom_pull(task_ids="generate_and_produce_data", key="receipt")
    root = _staging()
    receipt = received_receipt(pushed, root, run.batch_id, expected=events > 0)
    accept = context["params"]["accept"] or ()
    if context["params"]["error_budget"] is not None:
        pipeline = dataclasses.replace(pipeline, error_budget=context["params"]["error_budget"])
    with _warehouse(pipeline) as warehouse:
        staged = _kafka_utils().consume_batch(_kafka(), warehouse, root, pipeline, run, receipt, accept)
    ti.xcom_push(key="manifest", value=msgspec.to_builtins(staged.handle))
    ti.xcom_push(key="staging_file_path", value=staged.rows_path)


@stops_for_a_person
def load_staged_data(**context: Any) -> None:
    """Load the staged batch, exactly once, with its ledger row; push the accounts."""
    import msgspec

    from topicledger.steps.load import load_batch

    pipeline, ti = _pipeline(), context["ti"]
    path = ti.xcom_pull(task_ids="consume_and_stage_data", key="staging_file_path")
    pushed = ti.xcom_pull(task_ids="consume_and_stage_data", key="manifest")
    with _warehouse(pipeline) as warehouse:
        row = load_batch(warehouse, _staging(), _run(context).batch_id, path, pushed)
    ti.xcom_push(key="plan_id", value=row.plan_id)
    ti.xcom_push(key="accounts", value=msgspec.to_builtins(row.accounts))


@stops_for_a_person
def reconcile_batch(**context: Any) -> None:
    """Close the books from the warehouse alone, write the report, show the lag; fail when they don't close."""
    import msgspec

    from topicledger.report import accounts_table, write_report
    from topicledger.steps.reconcile import reconcile

    pipeline, run, ti = _pipeline(), _run(context), context["ti"]
    plan_id = ti.xcom_pull(task_ids="load_staged_data", key="plan_id")
    with _warehouse(pipeline) as warehouse:
        books = reconcile(warehouse, run.batch_id, plan_id)
    log.info("the books of batch %s:\n%s", run.batch_id, accounts_table(books))
    report = write_report(Path(AIRFLOW_HOME, "topicledger", "reports"), books)
    log.info("report: %s", report.html)
    books.require_closed()
    _kafka_utils().publish_positions(_kafka(), pipeline.name, books)
    ti.xcom_push(key="accounts", value=msgspec.to_builtins(books.row.accounts))
    ti.xcom_push(key="report_path", value=str(report.html))


def _run(context: Mapping[str, Any]) -> Run:
    run_id = context["dag_run"].run_id
    return Run(batch_id(DAG_ID, run_id), run_id)


def _run_time(context: Mapping[str, Any]) -> dt.datetime:
    """The run's own time: the same for every attempt and every clear, unlike the clock."""
    run = context["dag_run"]
    at: dt.datetime = getattr(run, "logical_date", None) or run.run_after
    return at


def _pipeline() -> Pipeline:
    """The declared pipeline under this file's constants."""
    import dataclasses

    from topicledger.pipeline_import import import_pipeline

    declared = import_pipeline(PIPELINE)
    return dataclasses.replace(
        declared, name=DAG_ID, topic=TOPIC, table=TABLE, staging_dir=STAGING_DIR, max_records=MAX_RECORDS
    )


def _staging() -> StagingRoot:
    """Where the tasks hand staged files on: a folder, which needs no connection, or S3."""
    from topicledger.connection import Connection
    from topicledger.staged_files.choice import in_s3, open_root

    found = _connection(STAGING_CONN_ID) if in_s3(STAGING_DIR) else None
    if found is None:
        return open_root(STAGING_DIR, None)
    extra = _extra(found)
    _mask(found.password, extra.get("aws_session_token"))
    asked = Connection(STAGING_CONN_ID, found.conn_type, login=found.login, password=found.password, extra=extra)
    return open_root(STAGING_DIR, asked)


def _kafka() -> KafkaSettings:
    """Resolve the Kafka connection through the provider's hook: its callback allow-list, MSK IAM and Google apply."""
    from airflow.providers.apache.kafka.hooks.base import KafkaBaseHook

    from topicledger.errors import SettingsError
    from topicledger.kafka.settings import SECRET_KEYS, KafkaSettings

    class ResolvedExtra(KafkaBaseHook):
        def _get_client(self, config: dict[str, Any]) -> dict[str, Any]:
            return config

    connection = _connection(KAFKA_CONN_ID)
    if connection is None:
        raise SettingsError(
            f"connection {KAFKA_CONN_ID} is not defined: add it under Admin > Connections (type Apache Kafka, Extra "
            f'{{"bootstrap.servers": "host:9092"}}), or with `airflow connections add {KAFKA_CONN_ID} '
            f"--conn-type kafka "
            """--conn-extra '{"bootstrap.servers": "host:9092"}'`"""
        )
    extra = _extra(connection)
    _mask(*(extra[key] for key in SECRET_KEYS & extra.keys()))
    if extra.get("bootstrap.servers"):
        try:
            extra = ResolvedExtra(KAFKA_CONN_ID).get_conn  # type: ignore[no-untyped-call] # the provider's
        except ValueError as error:
            raise SettingsError(f"connection {KAFKA_CONN_ID}: {error}") from error
    return KafkaSettings(KAFKA_CONN_ID, extra)


@contextlib.contextmanager
def _warehouse(pipeline: Pipeline) -> Iterator[Warehouse]:
    """Open the pipeline's warehouse; without a connection DuckDB, where tasks share this machine's disk."""
    from topicledger.connection import Connection
    from topicledger.errors import SettingsError
    from topicledger.warehouse.choice import open_warehouse

    connection = _connection(WAREHOUSE_CONN_ID)
    if connection is not None:
        extra = _extra(connection)
        _mask(connection.password, extra.get("sslpassword"), extra.get("aws_session_token"))
        settings = Connection(
            conn_id=WAREHOUSE_CONN_ID,
            conn_type=connection.conn_type,
            host=connection.host,
            port=connection.port,
            login=connection.login,
            password=connection.password,
            schema=connection.schema,
            extra=extra,
        )
    else:
        elsewhere = _may_run_elsewhere()
        if elsewhere:
            raise SettingsError(
                f"connection {WAREHOUSE_CONN_ID} is not defined and {elsewhere}: tasks may run on different "
                "disks, where a DuckDB file would lose the ledger. Define it, of type postgres for example"
            )
        path = Path(AIRFLOW_HOME, "warehouse", "topicledger.duckdb")
        log.warning("connection %s is not defined: the warehouse is DuckDB at %s", WAREHOUSE_CONN_ID, path)
        settings = Connection(conn_id=WAREHOUSE_CONN_ID, conn_type="duckdb", host=str(path))
    with contextlib.closing(open_warehouse(settings, pipeline)) as warehouse:
        yield warehouse


def _may_run_elsewhere() -> str:
    """Say why another task may find another disk; nothing where every executor's tasks run on this machine."""
    # In a pod Airflow's Helm chart sets LocalExecutor, whatever started it; these marks are Airflow's own.
    if os.environ.get("AIRFLOW_IS_K8S_EXECUTOR_POD") or os.environ.get("AIRFLOW_IS_EXECUTOR_CONTAINER"):
        return "each task runs in a container of its own"
    setting = conf.get("core", "executor")
    # Several may be listed, also for teams, and each may have an alias: LocalExecutor,k8s:a.b.C;team=CeleryExecutor
    names = {re.split("[=:]", listed)[-1].strip() for listed in re.split("[,;]", setting)}
    return f"the executor is {setting}" if names - {*LOCAL_EXECUTORS} else ""


def _connection(conn_id: str) -> Any:
    """Give the Airflow connection, or None when it isn't defined."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None


def equip_cleanup(context: Mapping[str, Any]) -> None:
    """Give the shell what `topicledger cleanup` needs for a root in S3: a shell can't ask Airflow for a connection.

    It goes into the command's environment after the templates were rendered, so Airflow stores none of it.
    """
    if not STAGING_DIR.startswith("s3://"):
        return
    command = f"import sys; sys.path.append({str(_ENGINE_AT)!r}); from topicledger.cli.app import main; main()"
    added = {"PYTHON": sys.executable, "TOPICLEDGER": command}
    found = _connection(STAGING_CONN_ID)
    if found is not None:
        _mask(found.password, _extra(found).get("aws_session_token"))
        fields = {name: getattr(found, name) for name in ("conn_type", "login", "password", "extra")}
        added[f"AIRFLOW_CONN_{STAGING_CONN_ID.upper()}"] = json.dumps(fields)
        added["AIRFLOW__SECRETS__BACKEND"] = ""  # it would be asked before the environment
    context["task"].env = {**context["task"].env, **added}


def _mask(*values: Any) -> None:
    """Have Airflow mask these secrets, of which it doesn't know all, in every form that a log could show."""
    from topicledger.masking import forms_of

    for value in values:
        for text in forms_of(str(value or "")):
            mask_secret(text)


def _extra(connection: Any) -> dict[str, Any]:
    """Parse the Extra strictly: Airflow's own property turns what isn't JSON into an empty one."""
    from topicledger.errors import SettingsError

    try:
        extra = json.loads(connection.extra or "{}")
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"connection {connection.conn_id}: its Extra is not JSON: {error.msg} at line {error.lineno}, column "
            f'{error.colno}. It must be an object such as {{"bootstrap.servers": "host:9092"}}'
        ) from None
    if not isinstance(extra, dict):
        raise SettingsError(
            f"connection {connection.conn_id}: its Extra is a JSON {type(extra).__name__}, not an object"
        )
    return extra


_DOC = """
### A topic into the warehouse, its books closed

Simulated sign-ups go to Kafka, everything new on the topic is read up to an end fixed before, judged, staged as CSV,
and loaded **together with its ledger row**: every record ends up exactly once as a row, a dead letter, or a counted
duplicate, tombstone or gap. A retry, a cleared task or a second run changes nothing in that.

Red? The task's log ends with what happened and the next step; `docs/operations.md` tells more.
"""

with DAG(
    dag_id=DAG_ID,
    description="Daily batch of sign-up events from Kafka into the warehouse, with a ledger that closes",
    doc_md=_DOC,
    schedule="@daily",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "data-engineering",
        "retries": RETRIES,
        "retry_exponential_backoff": True,
        "max_retry_delay": MAX_RETRY_DELAY,
    },
    tags=["kafka", "etl", "topicledger"],
    user_defined_macros={"batch_id_of": functools.partial(batch_id, DAG_ID)},
    params={
        "events": Param(
            1000,
            type="integer",
            minimum=0,
            maximum=100_000_000,
            title="Sign-ups to simulate",
            description="0: only consume what others produced",
        ),
        "malformed": Param(0.005, type="number", minimum=0, maximum=1, title="Share of malformed records"),
        "seed": Param(0, type="integer", title="Seed of the simulation"),
        "accept": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Accepted losses",
            description="Exactly as an error printed them, such as gap:3:120:140; recorded in the ledger",
        ),
        "error_budget": Param(
            None,
            type=["null", "number"],
            minimum=0,
            maximum=1,
            title="Error budget of this run",
            description="Share of records that may become dead letters, in place of the pipeline's own; 1: all of them",
        ),
    },
) as dag:
    produce = PythonOperator(
        task_id="generate_and_produce_data",
        python_callable=generate_and_produce_data,
        doc_md="Simulates the run's sign-ups and produces them idempotently; every delivery report is counted.",
    )
    consume = PythonOperator(
        task_id="consume_and_stage_data",
        python_callable=consume_and_stage_data,
        execution_timeout=CONSUME_TIMEOUT,
        doc_md="Reads from the ledger's position to a fixed end, judges, stages, then commits the group's offsets.",
    )
    load = PythonOperator(
        task_id="load_staged_data",
        python_callable=load_staged_data,
        doc_md="Loads rows, dead letters and the ledger row in one transaction; a repeat changes nothing.",
    )
    cleanup = BashOperator(
        task_id="cleanup_staging_file",
        # Only names made of this run's own digest: nothing from an XCom reaches the shell.
        bash_command='set -eu; case "$STAGING_DIR" in\n'
        's3://*) exec "$PYTHON" -P -c "$TOPICLEDGER" '
        'cleanup "$STAGING_DIR" "$BATCH_ID" --conn-id "$STAGING_CONN_ID" ;;\n'
        '*) rm -f -- "$STAGING_DIR/kafka_staging_$BATCH_ID".* ;;\n'
        "esac",
        env={
            "STAGING_DIR": STAGING_DIR,
            "STAGING_CONN_ID": STAGING_CONN_ID,
            "BATCH_ID": "{{ batch_id_of(dag_run.run_id) }}",
        },
        pre_execute=equip_cleanup,
        append_env=True,
        trigger_rule="all_done",
        do_xcom_push=False,
        doc_md="Removes this run's staged files, whatever happened before.",
    )
    reconcile_task = PythonOperator(
        task_id="reconcile_batch",
        python_callable=reconcile_batch,
        doc_md="Closes the books from the warehouse alone and writes the report; red when they don't close.",
    )
    produce >> consume >> load >> [cleanup, reconcile_task]
