"""Follows a run's tasks: a live table on a terminal, one line for each change anywhere else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from devstack.airflow_api import AirflowApi, DagRun, TaskInstance
    from devstack.state import Standing

_EVERY_S = 0.4
_STYLES = {
    "success": "green",
    "failed": "red",
    "upstream_failed": "red",
    "running": "cyan",
    "up_for_retry": "yellow",
}
_ORDER = (
    "generate_and_produce_data",
    "consume_and_stage_data",
    "load_staged_data",
    "reconcile_batch",
    "cleanup_staging_file",
)


def follow(api: AirflowApi, standing: Standing, dag_id: str, run_id: str, console: Console) -> DagRun:
    """Shows the run's tasks until it has ended, and returns it.

    Raises:
        StackError: a part of the stack ended meanwhile, or Airflow doesn't answer.
    """
    if not console.is_terminal:
        return _follow(api, standing, dag_id, run_id, _plain(console))
    with Live(console=console, refresh_per_second=4) as live:
        return _follow(api, standing, dag_id, run_id, lambda tasks: live.update(_table(tasks)))


def _follow(
    api: AirflowApi,
    standing: Standing,
    dag_id: str,
    run_id: str,
    show: Callable[[Sequence[TaskInstance]], None],
) -> DagRun:
    while True:
        run = api.run(dag_id, run_id)
        show(sorted(api.tasks(dag_id, run_id), key=_place))
        if run.ended:
            return run
        for service in standing.services:
            service.expect_alive()
        time.sleep(_EVERY_S)


def _place(task: TaskInstance) -> int:
    return _ORDER.index(task.task_id) if task.task_id in _ORDER else len(_ORDER)


def _plain(console: Console) -> Callable[[Sequence[TaskInstance]], None]:
    seen: dict[str, tuple[str, int]] = {}

    def show(tasks: Sequence[TaskInstance]) -> None:
        for task in tasks:
            now = (task.state, task.try_number)
            if task.state in {"", "scheduled", "queued"} or seen.get(task.task_id) == now:
                continue
            seen[task.task_id] = now
            console.print(f"  {task.task_id:<27} {_said(task)}", highlight=False, markup=False)

    return show


def _table(tasks: Sequence[TaskInstance]) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for task in tasks:
        table.add_row(task.task_id, f"[{_STYLES.get(task.state, 'dim')}]{_said(task)}")
    return table


def _said(task: TaskInstance) -> str:
    seconds = f"  {task.duration_s:.1f} s" if task.duration_s is not None else ""
    again = f"  (try {task.try_number})" if task.try_number > 1 else ""
    return f"{task.state or 'waiting'}{seconds}{again}"
