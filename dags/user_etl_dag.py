"""The DAG `robust_kafka_etl_pipeline`: a daily batch of sign-ups from Kafka into the warehouse, its books closed.

The Kafka side is `kafka_utils.py` beside it, the engine is the package `topicledger`; a task imports what it needs.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator

# Where the engine lies beside this file: Airflow adds no folder below the dags folder to the path.
if (here := str(Path(__file__).absolute().parent)) not in sys.path[1:]:
    sys.path.append(here)
try:
    from topicledger.airflow import LEDGER_ARGS, LEDGER_PARAMS, Ledger, LedgerRun, sibling
except ModuleNotFoundError as error:
    raise ImportError(
        f"user_etl_dag.py needs its engine ({error}): `pip install 'topicledger[duckdb,postgres]'` for Airflow's "
        "scheduler, DAG processor and workers, or let `topicledger init --vendor DAGS_DIR` put it here [engine-missing]"
    ) from error

KAFKA_CONN_ID = "kafka_default"
WAREHOUSE_CONN_ID = "warehouse_default"
SIGNUPS = Ledger("topicledger.signups:SIGNUPS", kafka=KAFKA_CONN_ID, warehouse=WAREHOUSE_CONN_ID)
kafka_utils = sibling(__file__, "kafka_utils")


@SIGNUPS.task
def generate_and_produce_data(run: LedgerRun) -> None:
    """Steps 1-2: simulate sign-ups, produce them idempotently, count every delivery report."""
    run.push(receipt=kafka_utils().produce_signups(run, run.params, run.at))


@SIGNUPS.task
def consume_and_stage_data(run: LedgerRun) -> None:
    """Steps 3-12: read up to an end fixed before, judge, stage; only then commit the group's offsets."""
    receipt = run.pull("generate_and_produce_data", "receipt")
    staged = kafka_utils().consume_batch(run, receipt, produced=run.params["events"] > 0)
    run.push(staging_file_path=staged.rows_path, manifest=staged.handle)


@SIGNUPS.task
def load_staged_data(run: LedgerRun) -> None:
    """Steps 13-19: check the files, then rows, dead letters and ledger row in one transaction."""
    from topicledger.steps.load import load_batch

    staged = (run.pull("consume_and_stage_data", key) for key in ("staging_file_path", "manifest"))
    run.announce(load_batch(run, *staged))


@SIGNUPS.task
def reconcile_batch(run: LedgerRun) -> None:
    """Step 20: the books once more, from the warehouse alone; red when they don't close."""
    from topicledger.steps.reconcile import reconcile

    run.publish(reconcile(run, run.pull("load_staged_data", "plan_id")))


with DAG(
    dag_id="robust_kafka_etl_pipeline",
    doc_md=__doc__,
    schedule="@daily",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args=LEDGER_ARGS,
    params={
        "events": Param(
            1000, type="integer", minimum=0, maximum=100_000_000, title="Sign-ups to simulate; 0: only consume"
        ),
        "malformed": Param(0.005, type="number", minimum=0, maximum=1, title="Share of malformed records"),
        "seed": Param(0, type="integer", title="Seed of the simulation"),
        **LEDGER_PARAMS,
    },
    tags=["kafka", "etl", "topicledger"],
) as dag:
    produce = PythonOperator(
        task_id="generate_and_produce_data",
        python_callable=generate_and_produce_data,
        doc_md=generate_and_produce_data.__doc__,
    )
    consume = PythonOperator(
        task_id="consume_and_stage_data",
        python_callable=consume_and_stage_data,
        doc_md=consume_and_stage_data.__doc__,
        execution_timeout=dt.timedelta(minutes=30),
    )
    load = PythonOperator(task_id="load_staged_data", python_callable=load_staged_data, doc_md=load_staged_data.__doc__)
    cleanup = BashOperator(task_id="cleanup_staging_file", trigger_rule="all_done", **SIGNUPS.clean_up())
    reconcile = PythonOperator(
        task_id="reconcile_batch", python_callable=reconcile_batch, doc_md=reconcile_batch.__doc__
    )
    SIGNUPS.announce(load, reconcile)
    produce >> consume >> load >> [cleanup, reconcile]
