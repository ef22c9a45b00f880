"""One test's ground: its copy of the DAG in the session's Airflow, its topic, its target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.airflow import Airflow
from devstack.airflow_api import AirflowApi, DagRun, TaskInstance
from tests.end_to_end.dag_copies import DagCopy
from tests.support.oracle import Oracle
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.model.identity import batch_id

PRODUCE, CONSUME, LOAD = "generate_and_produce_data", "consume_and_stage_data", "load_staged_data"
CLEAN_UP, RECONCILE = "cleanup_staging_file", "reconcile_batch"

IMAGE, DIARY = "TOPICLEDGER_TEST_POD_IMAGE", "TOPICLEDGER_TEST_POD_DIARY"
"""Variables: the folders that each pod sees as they are; where each notes what its /tmp has, first and last."""

RUN_LIMIT_S = 240.0
"""How long a run may take; long enough that reaching it means that something hangs."""


@dataclass(frozen=True)
class Stack:
    """The session's Airflow and what its tasks share with the tests."""

    airflow: Airflow
    crash_dir: Path


@dataclass(frozen=True)
class Ground:
    """What a test of the DAG works with."""

    stack: Stack
    copy: DagCopy
    topics: Topics
    place: Connection

    @property
    def api(self) -> AirflowApi:
        """Airflow's REST API."""
        return self.stack.airflow.api

    def arm(self, *points: str, sent: str = "SIGKILL") -> None:
        """Have the next task that passes one of these points send itself this signal there."""
        for point in points:
            (self.stack.crash_dir / point).write_text(sent)

    def armed(self) -> list[str]:
        """The points that no task has passed yet."""
        return sorted(path.name for path in self.stack.crash_dir.iterdir())

    def run(self, run_id: str, **params: Any) -> DagRun:
        """Trigger a run, and return it when it has ended."""
        self.api.trigger(self.copy.dag_id, params, run_id=run_id)
        return self.wait(run_id)

    def green_run(self, run_id: str, **params: Any) -> dict[str, Any]:
        """Trigger a run that has to succeed, and return its accounts."""
        self.require_green(self.run(run_id, **params))
        return self.accounts(run_id)

    def wait(self, run_id: str) -> DagRun:
        """Return the run when it has ended."""
        return self.api.wait_for_run(self.copy.dag_id, run_id, RUN_LIMIT_S)

    def require_green(self, run: DagRun) -> None:
        """Fail with the logs of the tasks that failed, when there are any."""
        failed = {task.task_id: task for task in self.tasks(run.run_id).values() if task.state != "success"}
        logs = [f"--- {t.task_id}\n{self.log(run.run_id, t.task_id, t.try_number)[-3_000:]}" for t in failed.values()]
        assert run.state == "success", "\n".join([f"{run.run_id} is {run.state}", *logs])
        assert not failed, f"{run.run_id} is green, but not {', '.join(failed)}"

    def clear(self, run_id: str, task_id: str, *, downstream: bool = False) -> DagRun:
        """Clear one task, with or without what follows it; return the run when it has ended again."""
        self.api.clear_tasks(self.copy.dag_id, run_id, [task_id], downstream=downstream)
        return self.wait(run_id)

    def clear_run(self, run_id: str) -> DagRun:
        """Clear every task of a run; return the run when it has ended again."""
        self.api.clear_run(self.copy.dag_id, run_id)
        return self.wait(run_id)

    def tasks(self, run_id: str) -> dict[str, TaskInstance]:
        """The tasks of a run by their ids."""
        return {task.task_id: task for task in self.api.tasks(self.copy.dag_id, run_id)}

    def log(self, run_id: str, task_id: str, try_number: int = 1) -> str:
        """What one try of a task logged."""
        return self.api.log(self.copy.dag_id, run_id, task_id, try_number)

    def xcom(self, run_id: str, task_id: str, key: str) -> Any:
        """What a task pushed."""
        return self.api.xcom(self.copy.dag_id, run_id, task_id, key)

    def logical_date(self, run_id: str) -> str | None:
        """The run's logical date; a run by hand has none."""
        found: str | None = self.api.call("GET", f"/dags/{self.copy.dag_id}/dagRuns/{run_id}")["logical_date"]
        return found

    def accounts(self, run_id: str) -> dict[str, Any]:
        """The accounts that the last task of a run pushed."""
        found: dict[str, Any] = self.xcom(run_id, RECONCILE, "accounts")
        return found

    def change_xcom(self, run_id: str, task_id: str, key: str, value: Any) -> None:
        """Put another value in the place of what a task pushed."""
        path = f"/dags/{self.copy.dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        self.api.call("PATCH", path, json={"value": value, "map_index": -1})

    def batch_id(self, run_id: str) -> str:
        """The name of a run in the warehouse."""
        return batch_id(self.copy.dag_id, run_id)

    def staged_files(self) -> list[str]:
        """What lies in the staging folder."""
        return sorted(path.name for path in self.copy.staging_dir.iterdir())

    def oracle(self) -> Oracle:
        """An oracle over this topic and target."""
        return Oracle(self.topics, self.copy.topic, self.place, self.copy.table)
