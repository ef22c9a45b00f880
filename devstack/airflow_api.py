"""Airflow's REST API, as far as the stack and the tests need it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from devstack.errors import StackError

ENDED = frozenset({"success", "failed"})

# What Airflow puts around each line of a task's log.
_LOG_FRAME = {"event", "timestamp", "level", "logger", "filename", "lineno"}
_LOG_FRAME |= {"task_id", "run_id", "dag_id", "ti_id", "try_number", "map_index"}


@dataclass(frozen=True, slots=True)
class DagRun:
    """One run of a DAG, as it stood when it was asked for."""

    dag_id: str
    run_id: str
    state: str
    run_type: str

    @property
    def ended(self) -> bool:
        """Whether the run will do nothing more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One task of one run, as it stood when it was asked for; `state` is empty before it is scheduled."""

    task_id: str
    state: str
    try_number: int
    started: datetime | None
    duration_s: float | None
    pid: int | None


class AirflowApi:
    """A client of one Airflow. It logs in by itself, and again when its token has run out.

    Args:
        url: the address of the API server.
        login: gives account and password; asked for at the first call.
    """

    def __init__(self, url: str, login: Callable[[], tuple[str, str]]) -> None:
        self.url = url
        self._login = login
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Gives up the connections to the server."""
        self._http.close()

    def answers(self) -> bool:
        """Tells whether the API server answers: people, its database, and the tasks' side of it."""
        try:
            health = self._http.get("/api/v2/monitor/health", timeout=2)
            if health.is_error or health.json()["metadatabase"]["status"] != "healthy":
                return False
            # The tasks' side is made at its first call, which takes seconds: not in the first task's time.
            return self._http.get("/execution/health", timeout=30).is_success
        except httpx.HTTPError:
            return False

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Calls `/api/v2` + path and returns the decoded answer, None for 404.

        Raises:
            StackError: the server refuses, or doesn't answer.
        """
        try:
            answer = self._http.request(method, f"/api/v2{path}", **options)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._authorise()
                answer = self._http.request(method, f"/api/v2{path}", **options)
        except httpx.HTTPError as error:
            raise StackError(
                f"Airflow's API at {self.url} doesn't answer {method} {path}: {type(error).__name__}.",
                "See `make status`, and the logs beside Airflow's data.",
            ) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.is_error:
            raise StackError(
                f"Airflow refuses {method} {path} ({answer.status_code}): {answer.text[:500]}",
                "The message above says why.",
            )
        return answer.json() if answer.content else None

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Returns what Airflow knows about a DAG, None when it hasn't parsed it."""
        found: dict[str, Any] | None = self.call("GET", f"/dags/{dag_id}")
        return found

    def import_errors(self) -> dict[str, str]:
        """Returns the DAG files that don't import, each with its stack trace."""
        listed = self.call("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in listed}

    def set_paused(self, dag_id: str, *, paused: bool) -> None:
        """Pauses or unpauses a DAG; the scheduler creates runs only of an unpaused one."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        logical_date: str | None = None,
    ) -> str:
        """Queues a run and returns its run_id. It starts once the DAG is unpaused and has room for it."""
        body = {"conf": dict(conf or {}), "dag_run_id": run_id, "logical_date": logical_date}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """Returns a run as it stands now."""
        return _run(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str, states: Sequence[str] = ()) -> list[DagRun]:
        """Returns the newest hundred runs, newest first, of these states (of all when none is named)."""
        query = {"order_by": "-run_after", "limit": 100, "state": list(states)}
        return [_run(run) for run in self.call("GET", f"/dags/{dag_id}/dagRuns", params=query)["dag_runs"]]

    def has_run_of(self, dag_id: str, logical_date: str) -> bool:
        """Tells whether a run of that logical date exists, in any state."""
        query = {"logical_date_gte": logical_date, "logical_date_lte": logical_date, "limit": 1}
        return bool(self.call("GET", f"/dags/{dag_id}/dagRuns", params=query)["dag_runs"])

    def wait_for_run(self, dag_id: str, run_id: str, limit_s: float = 120) -> DagRun:
        """Returns the run when it has ended, well or not.

        Raises:
            StackError: it hasn't within the limit; names each task's state.
        """
        deadline = time.monotonic() + limit_s
        while not (run := self.run(dag_id, run_id)).ended:
            if time.monotonic() > deadline:
                states = {task.task_id: task.state for task in self.tasks(dag_id, run_id)}
                raise StackError(f"{run_id} is {run.state} after {limit_s:.0f} s: {states}.", "See its logs.")
            time.sleep(0.25)
        return run

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Marks a run `success` or `failed`, or queues it again; its running tasks are ended."""
        self.call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clears every task of a run, so that it runs again as a whole."""
        self.call("POST", f"/dags/{dag_id}/dagRuns/{run_id}/clear", json={"dry_run": False})

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Returns the tasks of a run, in no particular order."""
        listed = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return [_task(task) for task in listed]

    def task(self, dag_id: str, run_id: str, task_id: str) -> TaskInstance:
        """Returns one task of a run as it stands now."""
        return _task(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"))

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Marks one task `success`, `failed` or `skipped`."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.call("PATCH", path, json={"new_state": state})

    def clear_tasks(self, dag_id: str, run_id: str, task_ids: Sequence[str], *, downstream: bool = False) -> None:
        """Clears tasks of a run, so that they (and, if asked, what follows them) run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": downstream,
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Returns a value that a task pushed, None when it pushed none."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        entry = self.call("GET", path, params={"deserialize": "true"})
        return None if entry is None else entry["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Returns what one try of a task logged, as text."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        answer = self.call("GET", path, params={"full_content": "true"}, headers={"Accept": "application/json"})
        return "\n".join(_log_line(entry) for entry in (answer or {}).get("content", []))

    def put_connection(self, connection: Mapping[str, Any]) -> str:
        """Makes a connection be what is given here, and shown in the UI.

        Returns:
            `created`, `changed` or `unchanged`.
        """
        path = f"/connections/{connection['connection_id']}"
        found = self.call("GET", path)
        if found is None:
            self.call("POST", "/connections", json=dict(connection))
            return "created"
        if all(found.get(key) == value for key, value in connection.items()):
            return "unchanged"
        self.call("PATCH", path, json=dict(connection))
        return "changed"

    def _authorise(self) -> None:
        account, secret = self._login()
        answer = self._http.post("/auth/token", json={"username": account, "password": secret})
        if answer.is_error:
            raise StackError(f"Airflow refuses the login of {account}: {answer.text[:200]}", "See `make status`.")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _run(answer: Mapping[str, Any]) -> DagRun:
    return DagRun(answer["dag_id"], answer["dag_run_id"], answer["state"], answer["run_type"])


def _task(answer: Mapping[str, Any]) -> TaskInstance:
    return TaskInstance(
        task_id=answer["task_id"],
        state=answer["state"] or "",
        try_number=answer["try_number"],
        started=datetime.fromisoformat(answer["start_date"]) if answer["start_date"] else None,
        duration_s=answer["duration"],
        pid=answer["pid"],
    )


def _log_line(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)
    details = " ".join(f"{k}={v}" for k, v in entry.items() if k not in {"event", "timestamp", "level", "logger"})
    return " ".join(part for part in (str(entry.get("event", "")), details) if part)
