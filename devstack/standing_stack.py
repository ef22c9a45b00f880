"""`make up`, `make down`, `make status`: a stack that outlives the command that started it."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from rich.text import Text

from devstack.errors import StackError
from devstack.home import Wishes
from devstack.interrupts import uninterrupted
from devstack.service import marked_processes
from devstack.stack import DAG_ID, Stack, shown
from devstack.state import Standing, end_everything, read_state

if TYPE_CHECKING:
    from rich.console import Console


_ENDED = "has ended: `make down`, then `make up`"


def up(wishes: Wishes, console: Console) -> int:
    """Starts the stack, unpauses the DAG and leaves it all standing; says so when it stands already.

    Raises:
        StackError: a part doesn't come up; then nothing is left.
    """
    standing = read_state(wishes.state_file)
    if standing and not standing.fallen():
        console.print("It stands already.")
        _show(standing, console)
        return 0
    if standing:
        end_everything(wishes.home, standing.services)
    console.print(f"Starting Kafka, Airflow and the warehouse; data in {shown(wishes.home)}", highlight=False)
    stack = Stack(wishes, lambda line: console.print(Text(line), soft_wrap=True))
    try:
        standing = stack.start()
        standing.api().set_paused(DAG_ID, paused=False)
    except BaseException:
        with uninterrupted():
            stack.stop()
        raise
    _show(standing, console)
    console.print(
        f"\n{DAG_ID} is unpaused: the scheduler starts what is due. `make down` stops it all.",
        soft_wrap=True,
    )
    return 0


def down(wishes: Wishes, console: Console) -> int:
    """Ends whatever was started for this data folder, also after a crash. The data stay."""
    standing = read_state(wishes.state_file)
    if not standing and not marked_processes(wishes.home):
        console.print("Nothing stands.")
        return 0
    with uninterrupted():
        if standing and not standing.fallen():
            _pause(standing)
        end_everything(wishes.home, standing.services if standing else ())
        wishes.state_file.unlink(missing_ok=True)
    console.print(f"Stopped. The data stay in {shown(wishes.home)}.")
    return 0


def status(wishes: Wishes, console: Console) -> int:
    """Says what stands.

    Returns:
        1 when a part has fallen or was left over, else 0.
    """
    standing = read_state(wishes.state_file)
    if not standing:
        left = marked_processes(wishes.home)
        pids = ", ".join(str(process.pid) for process in left)
        console.print(f"Left over: processes {pids}. `make down` ends them." if left else "Nothing stands.")
        return 1 if left else 0
    _show(standing, console)
    return 1 if standing.fallen() else 0


def _pause(standing: Standing) -> None:
    # The next `make run` then finds no run that the scheduler started before its own.
    with closing(standing.api()) as api, suppress(StackError):
        api.set_paused(DAG_ID, paused=True)


def _show(standing: Standing, console: Console) -> None:
    account, secret = standing.login()
    lines = [
        ("Airflow", standing.airflow_url),
        ("login", f"{account} / {secret}"),
        ("Kafka", standing.bootstrap),
        ("warehouse", standing.postgres_dsn or shown(Wishes(home=standing.home).duckdb_file)),
        ("data", shown(standing.home)),
        *(
            (
                service.name,
                f"process {service.pid}" if service.alive() else _ENDED,
            )
            for service in standing.services
        ),
    ]
    for name, text in lines:
        console.print(Text(f"  {name:<26} {text}"), soft_wrap=True)
