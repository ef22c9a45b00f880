"""A pipeline in Airflow: `Ledger` gives a DAG's tasks their run, `ledger_dag` is the whole DAG of a topic.

Nothing here imports Airflow until a DAG is made or a task runs: the command reads declarations without it.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from topicledger.pipeline import Pipeline
from topicledger.pipeline_import import import_pipeline

if TYPE_CHECKING:
    from topicledger.airflow.run import LedgerRun

KAFKA_CONN_ID = "kafka_default"
WAREHOUSE_CONN_ID = "warehouse_default"
STAGING_CONN_ID = "staging_default"
REGISTRY_CONN_ID = "schema_registry_default"

_noted: list[Ledger] | None = None
_making_dags = True


class Ledger:
    """One pipeline with the ids of its connections, for the tasks of one DAG.

    Args:
        pipeline: The declaration, or `module:NAME` of it, which is then imported when a task runs.
        kafka: Id of the Kafka connection.
        warehouse: Id of the warehouse's connection.
        staging: Id of the connection of a staging root in S3.
        registry: Id of the schema registry's connection, for a format that asks one.
        schedule: The DAG's schedule, where it is known.
    """

    def __init__(
        self,
        pipeline: Pipeline | str,
        *,
        kafka: str = KAFKA_CONN_ID,
        warehouse: str = WAREHOUSE_CONN_ID,
        staging: str = STAGING_CONN_ID,
        registry: str = REGISTRY_CONN_ID,
        schedule: Any = None,
    ) -> None:
        self._declared = pipeline
        self.kafka = kafka
        self.warehouse = warehouse
        self.staging = staging
        self.registry = registry
        self.schedule = schedule
        self._tasks: list[str] = []
        if _noted is not None:
            _noted.append(self)

    @functools.cached_property
    def pipeline(self) -> Pipeline:
        """The declaration.

        Raises:
            SettingsError: It can't be imported, or declares what can't work.
        """
        return self._declared if isinstance(self._declared, Pipeline) else import_pipeline(self._declared)

    def declares(self, pipeline: Pipeline) -> bool:
        """Whether it was made of that very declaration."""
        return self._declared is pipeline

    @property
    def produces(self) -> bool:
        """Whether its DAG has a task that produces, too."""
        return "generate_and_produce_data" in self._tasks

    def task(self, function: Callable[[LedgerRun], None]) -> Callable[..., None]:
        """Make a function of a run the callable of a PythonOperator.

        What a retry can't mend fails the task at once, the rest uses Airflow's retries; either way the exception's last
        line is what to do next.
        """

        self._tasks.append(function.__name__)

        def called(**context: Any) -> None:
            from topicledger.airflow.failures import told_by_airflow
            from topicledger.airflow.run import LedgerRun

            run = LedgerRun(self, context)
            with told_by_airflow(context, run.tasks):
                function(run)

        # Without __wrapped__, by which Airflow would take it for a function of `run`.
        called.__name__, called.__doc__, called.__module__ = function.__name__, function.__doc__, function.__module__
        return called

    @property
    def asset(self) -> Any:
        """The rows table, as Airflow's schedules know it."""
        from topicledger.airflow.assets import table_asset

        return table_asset(self.pipeline.table, self.warehouse)

    def announce(self, load: Any, reconcile: Any) -> None:
        """Have the load announce the table as an asset, and both tasks link to their run's books."""
        from topicledger.airflow.plugin import BooksLink

        load.add_outlets([self.asset])
        for task in (load, reconcile):
            task.operator_extra_links = (BooksLink(),)

    def clean_up(self) -> dict[str, Any]:
        """What a BashOperator needs to remove a run's staged files, whatever happened; a repeat is harmless."""

        def prepare(context: Mapping[str, Any]) -> None:
            from topicledger.airflow.failures import told_by_airflow
            from topicledger.airflow.run import LedgerRun

            run = LedgerRun(self, context)
            with told_by_airflow(context, run.tasks):
                context["task"].env = run.clean_up()

        return {
            # Only names made of this run's own digest: nothing from an XCom reaches the shell.
            "bash_command": 'set -eu; rm -f -- "$STAGING_DIR/kafka_staging_$BATCH_ID".*',
            "pre_execute": prepare,
            "append_env": True,
            "doc_md": "Removes this run's staged files, whatever happened before.",
            "do_xcom_push": False,
        }


def ledger_dag(
    pipeline: Pipeline,
    *,
    schedule: Any,
    kafka: str = KAFKA_CONN_ID,
    warehouse: str = WAREHOUSE_CONN_ID,
    staging: str = STAGING_CONN_ID,
    registry: str = REGISTRY_CONN_ID,
    execution_timeout: dt.timedelta = dt.timedelta(minutes=30),
    default_args: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    **dag: Any,
) -> Any:
    """Make the DAG of a topic: consume and stage, load, clean up, reconcile. Its id is the pipeline's name.

    Called in a DAG file it is all that the file needs; it registers itself, as a `with DAG(...)` does.

    Args:
        pipeline: The declaration.
        schedule: As a DAG takes it.
        kafka: Id of the Kafka connection.
        warehouse: Id of the warehouse's connection.
        staging: Id of the connection of a staging root in S3.
        registry: Id of the schema registry's connection, for a format that asks one.
        execution_timeout: How long one try of consuming may take.
        default_args: On top of `LEDGER_ARGS` (owner, retries, back-off).
        params: Besides `accept` and `error_budget`.
        dag: Anything else that a DAG takes (`start_date`, `catchup`, `tags` ...), in place of the defaults.

    Returns:
        The DAG.
    """
    ledger = Ledger(pipeline, kafka=kafka, warehouse=warehouse, staging=staging, registry=registry, schedule=schedule)
    if not _making_dags:
        return None
    from topicledger.airflow.dags import build_dag

    return build_dag(ledger, execution_timeout, {**(default_args or {})}, {**(params or {})}, dag)


@contextmanager
def noted_ledgers(*, making_dags: bool = False) -> Iterator[list[Ledger]]:
    """Note what DAG files declare while the block runs them.

    It is for the command, which can't wait the seconds of Airflow's import to read a declaration.

    Args:
        making_dags: Whether `ledger_dag` makes a DAG meanwhile; else it gives None.
    """
    global _noted, _making_dags
    noted: list[Ledger] = []
    _noted, _making_dags = noted, making_dags
    try:
        yield noted
    finally:
        _noted, _making_dags = None, True
