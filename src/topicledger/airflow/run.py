"""One DAG run of a pipeline, as its tasks are given it. What a task needs is imported when it runs, not at parsing."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from topicledger.model.identity import batch_id
from topicledger.pipeline import Pipeline

if TYPE_CHECKING:
    from topicledger.airflow.ledger import Ledger
    from topicledger.connection import Connection
    from topicledger.errors import Repeat
    from topicledger.kafka.settings import KafkaSettings
    from topicledger.model.ledger import LedgerRow, ReconciledBooks
    from topicledger.staged_files.root import StagingRoot
    from topicledger.warehouse.contract import Warehouse

log = logging.getLogger(__name__)

_RESULTS: Mapping[str, Repeat] = {"receipt": "produce", "manifest": "consume", "plan_id": "load"}
"""What hands on which step's result."""


class LedgerRun:
    """Implements `topicledger.steps.run.Run` for one try of a task; connections are looked up when they are asked for.

    Args:
        ledger: The pipeline, with the ids of its connections.
        context: What Airflow gives the task.
    """

    def __init__(self, ledger: Ledger, context: Mapping[str, Any]) -> None:
        self._ledger = ledger
        self._context = context
        self.run_id: str = context["dag_run"].run_id
        self.params: Mapping[str, Any] = context["params"]
        self.tasks: dict[Repeat, str] = {}
        """Which task has done which step: the one that its result is pulled from, whatever the DAG calls it."""

    @cached_property
    def pipeline(self) -> Pipeline:
        """The declaration, with this run's error budget where it has one of its own."""
        declared, budget = self._ledger.pipeline, self.params.get("error_budget")
        return declared if budget is None else replace(declared, error_budget=budget)

    @property
    def batch_id(self) -> str:
        """The run's name in the books."""
        return batch_id(self.pipeline.name, self.run_id)

    @property
    def at(self) -> dt.datetime:
        """The run's own time: the same for every try and every clear, unlike the clock."""
        run = self._context["dag_run"]
        at: dt.datetime = getattr(run, "logical_date", None) or run.run_after
        return at

    @property
    def accept(self) -> Sequence[str]:
        """Losses that a person accepts."""
        return self.params.get("accept") or ()

    @cached_property
    def kafka(self) -> KafkaSettings:
        """The Kafka connection."""
        from topicledger.airflow.connections import kafka_settings

        return kafka_settings(self._ledger.kafka)

    @cached_property
    def registry(self) -> Connection | None:
        """The schema registry's connection, where the format asks one."""
        from topicledger.airflow.connections import registry_connection

        return registry_connection(self._ledger.registry) if self.pipeline.format.asks_registry else None

    @cached_property
    def staging(self) -> StagingRoot:
        """Where tasks hand staged files on: a folder, which needs no connection, or S3."""
        from topicledger.staged_files.choice import open_root

        return open_root(self.pipeline.staging_dir, self._staging_connection())

    def _staging_connection(self) -> Connection | None:
        from topicledger.airflow.connections import find_connection
        from topicledger.staged_files.choice import in_s3

        return find_connection(self._ledger.staging) if in_s3(self.pipeline.staging_dir) else None

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        """Open the warehouse for a block."""
        from topicledger.airflow.connections import warehouse_connection
        from topicledger.warehouse.choice import open_warehouse

        with closing(open_warehouse(warehouse_connection(self._ledger.warehouse), self.pipeline)) as warehouse:
            yield warehouse

    def clean_up(self) -> dict[str, str]:
        """Remove the run's staged files from S3, which a shell can't; a repeat is harmless.

        Returns:
            The environment of the shell command that removes those of a folder.
        """
        from topicledger.staged_files.choice import in_s3, s3_root

        place = self.pipeline.staging_dir
        if in_s3(place):
            root = s3_root(place, self._staging_connection())
            for name in root.clean_up(self.batch_id):
                log.info("removed %s/%s", root.location, name)
        return {"STAGING_DIR": place, "BATCH_ID": self.batch_id}

    def announce(self, row: LedgerRow) -> None:
        """Hand a loaded batch on: its plan to the reconciler, its accounts to whoever waits for the table's asset."""
        import msgspec

        self.push(plan_id=row.plan_id, accounts=row.accounts)
        event = self._context["outlet_events"][self._ledger.asset]
        event.extra = {"batch_id": row.batch_id, "plan_id": row.plan_id, **msgspec.to_builtins(row.accounts)}

    def publish(self, books: ReconciledBooks) -> None:
        """Show the books: in the log, as the report, and once they close as positions where lag tools look."""
        from topicledger.airflow.pages import REPORTS
        from topicledger.report.files import write_report
        from topicledger.report.text import accounts_table
        from topicledger.steps.reconcile import show_positions

        log.info("the books of batch %s:\n%s", self.batch_id, accounts_table(books))
        report = write_report(REPORTS, books)
        log.info("report: %s", report)
        books.require_closed()
        show_positions(self, books)
        self.push(accounts=books.accounts, report_path=str(report))

    def push(self, **values: Any) -> None:
        """Hand small values on to later tasks, by XCom; None isn't handed on."""
        import msgspec

        for key, value in values.items():
            if value is not None:
                self._context["ti"].xcom_push(key=key, value=msgspec.to_builtins(value))

    def pull(self, task_id: str, key: str) -> Any:
        """Take what an earlier task handed on; None where it didn't."""
        if key in _RESULTS:
            self.tasks[_RESULTS[key]] = task_id
        return self._context["ti"].xcom_pull(task_ids=task_id, key=key)
