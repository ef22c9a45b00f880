"""`make run`: one run of the pipeline on real parts, told from start to end."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from devstack.books import books_of
from devstack.closing_screen import show_books, show_failure, show_places, show_samples
from devstack.errors import StackError
from devstack.follow import follow
from devstack.interrupts import uninterrupted
from devstack.readback import read_back
from devstack.stack import DAG_ID, Stack, shown
from devstack.state import Standing, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from devstack.airflow_api import AirflowApi, DagRun
    from devstack.home import Wishes

EVENTS = 10_000
MALFORMED = 0.005


def run(wishes: Wishes, console: Console) -> int:
    """Brings the stack up, runs the pipeline once, shows its books, and leaves nothing running.

    A stack that stood before (`make up`) is used and left standing.

    Returns:
        0 when the run succeeded and its books closed, else 1.

    Raises:
        StackError: a part of the stack failed.
    """
    began = time.monotonic()
    with _stack(wishes, console) as (standing, ours):
        code = _one_run(standing, console, ours=ours)
    console.print(f"\nDone in {time.monotonic() - began:.0f} s." + (" Nothing is left running." if ours else ""))
    return code


@contextlib.contextmanager
def _stack(wishes: Wishes, console: Console) -> Iterator[tuple[Standing, bool]]:
    standing = read_state(wishes.state_file)
    if standing and not standing.fallen():
        console.print(f"Using the stack that stands (data in {shown(wishes.home)}); it is left standing.")
        yield standing, False
        return
    console.print(f"Starting Kafka, Airflow and the warehouse; data in {shown(wishes.home)}", highlight=False)
    stack = Stack(wishes, lambda line: console.print(Text(line), soft_wrap=True))
    try:
        yield stack.start(), True
    finally:
        with uninterrupted():
            stack.stop()


def _one_run(standing: Standing, console: Console, *, ours: bool) -> int:
    api = standing.api()
    with contextlib.closing(api):
        if ours:
            _give_up_unfinished(api, console)
        run_id = _trigger(api)
        text = f"\nRun {run_id}: {EVENTS:,} simulated sign-ups, {MALFORMED:.1%} of them malformed"
        console.print(text, soft_wrap=True)
        ended: DagRun | None = None
        try:
            ended = follow(api, standing, DAG_ID, run_id, console)
        finally:
            with uninterrupted():
                if ours:
                    _leave_paused(api, run_id, running=ended is None)
        return _tell(api, standing, console, ended)


def _tell(api: AirflowApi, standing: Standing, console: Console, ended: DagRun) -> int:
    books = books_of(api, standing, DAG_ID, ended.run_id)
    if books.accounts:
        show_books(console, books)
    if books.batch_id:
        show_samples(console, *read_back(standing, books.batch_id))
    if ended.state != "success":
        show_failure(console, api, ended.run_id)
    show_places(console, standing, books, ended.run_id)
    good = ended.state == "success" and books.closed
    verdict = "The run succeeded and its books closed." if good else f"The run ended as {ended.state}"
    if not good:
        verdict += "; its books closed." if books.closed else "; its books are not shown to be closed."
    console.print(f"\n{verdict}", style="bold green" if good else "bold red")
    return 0 if good else 1


def _trigger(api: AirflowApi) -> str:
    """Queues our run, then lets the scheduler start it."""
    run_id = api.trigger(
        DAG_ID,
        {"events": EVENTS, "malformed": MALFORMED},
        run_id=f"make_run__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
        logical_date=_due_logical_date(api),
    )
    api.set_paused(DAG_ID, paused=False)
    return run_id


def _due_logical_date(api: AirflowApi) -> str | None:
    """Returns the logical date of the run that unpausing the DAG would start, None when there is none.

    A daily DAG that is unpaused starts the run of the last midnight at once. Ours takes that run's place: the
    scheduler finds a run of that date and makes none, so that there is one run to tell about.
    """
    dag = api.dag(DAG_ID)
    if not dag or not dag["is_paused"] or not dag["next_dagrun_run_after"]:
        return None
    if datetime.fromisoformat(dag["next_dagrun_run_after"]) > datetime.now(UTC):
        return None
    date = str(dag["next_dagrun_logical_date"])
    return None if api.has_run_of(DAG_ID, date) else date


def _give_up_unfinished(api: AirflowApi, console: Console) -> None:
    """Marks runs failed that an interrupted command left: ours would wait for them.

    Nothing is lost by it: our run reads everything new since the ledger, their records included.
    """
    for left in api.runs(DAG_ID, ["queued", "running"]):
        api.set_run_state(DAG_ID, left.run_id, "failed")
        console.print(f"  {left.run_id} was interrupted: marked failed, its records come with this run.")


def _leave_paused(api: AirflowApi, run_id: str, *, running: bool) -> None:
    with contextlib.suppress(StackError):
        api.set_paused(DAG_ID, paused=True)
        if running:
            api.set_run_state(DAG_ID, run_id, "failed")
