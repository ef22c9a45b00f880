"""The DAG of a topic, made of the same tasks as the shipped one; what both give Airflow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator

from topicledger.airflow.ledger import Ledger
from topicledger.airflow.run import LedgerRun

LEDGER_ARGS: dict[str, Any] = {
    "owner": "data-engineering",
    "retries": 3,
    "retry_exponential_backoff": True,
    "max_retry_delay": dt.timedelta(minutes=10),
}
"""Default arguments for a ledger's tasks. How long the first pause is, Airflow's own setting says."""

LEDGER_PARAMS: dict[str, Any] = {
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
}
"""What a person can tell one run."""

_DOC = """
### `{topic}` into `{table}`, the books closed

Everything new on the topic is read up to an end fixed before, judged, staged, and loaded **together with its ledger
row**: every record ends up exactly once as a row, a dead letter, or a counted duplicate, tombstone or gap. A retry, a
cleared task or a second run changes nothing in that.

Red? The task's error ends with what happened and the next step.
"""


def build_dag(
    ledger: Ledger,
    execution_timeout: dt.timedelta,
    default_args: Mapping[str, Any],
    params: Mapping[str, Any],
    given: Mapping[str, Any],
) -> DAG:
    """Make the DAG; the arguments are those of `topicledger.airflow.ledger.ledger_dag`."""
    pipeline = ledger.pipeline
    defaults = {
        "description": f"Topic {pipeline.topic} into {pipeline.table}, with a ledger that closes",
        "doc_md": _DOC.format(topic=pipeline.topic, table=pipeline.table),
        "start_date": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["kafka", "topicledger"],
    }
    with DAG(
        dag_id=pipeline.name,
        schedule=ledger.schedule,
        default_args={**LEDGER_ARGS, **default_args},
        params={**LEDGER_PARAMS, **params},
        **{**defaults, **given},
    ) as dag:
        consume = PythonOperator(
            task_id="consume_and_stage_data",
            python_callable=ledger.task(consume_and_stage_data),
            doc_md=consume_and_stage_data.__doc__,
            execution_timeout=execution_timeout,
        )
        load = PythonOperator(
            task_id="load_staged_data", python_callable=ledger.task(load_staged_data), doc_md=load_staged_data.__doc__
        )
        cleanup = BashOperator(task_id="cleanup_staging_file", trigger_rule="all_done", **ledger.clean_up())
        reconcile = PythonOperator(
            task_id="reconcile_batch", python_callable=ledger.task(reconcile_batch), doc_md=reconcile_batch.__doc__
        )
        ledger.announce(load, reconcile)
        consume >> load >> [cleanup, reconcile]
    return dag


def consume_and_stage_data(run: LedgerRun) -> None:
    """Steps 3 to 12: read everything new up to an end fixed before, judge, stage; then commit the group's offsets."""
    from topicledger.steps.consume import consume_batch

    staged = consume_batch(run, None)
    run.push(staging_file_path=staged.rows_path, manifest=staged.handle)


def load_staged_data(run: LedgerRun) -> None:
    """Steps 13 to 19: check the staged files, then rows, dead letters and ledger row in one transaction."""
    from topicledger.steps.load import load_batch

    consumed = "consume_and_stage_data"
    run.announce(load_batch(run, run.pull(consumed, "staging_file_path"), run.pull(consumed, "manifest")))


def reconcile_batch(run: LedgerRun) -> None:
    """Step 20: the books once more, from the warehouse alone; red when they don't close."""
    from topicledger.steps.reconcile import reconcile

    books = reconcile(run, run.pull("load_staged_data", "plan_id"))
    run.publish(books)
