"""The last screen of `make run`: the accounts, the identities, what is in the warehouse, what to try next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from devstack.stack import DAG_ID, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from devstack.airflow_api import AirflowApi
    from devstack.books import Books
    from devstack.readback import Sample
    from devstack.state import Standing

_LONGEST_CELL = 60
_MEANINGS = {
    "records": "read from the topic",
    "loaded": "new rows in user_signups",
    "duplicates": "an event_id that the table had: counted, not loaded",
    "dead_letters": "not a sign-up: kept with the original bytes",
    "tombstones": "records without a value",
    "already_loaded": "loaded by an earlier run",
    "gap": "lost by Kafka, accepted by a person",
    "invisible": "offsets without a record (transaction markers)",
    "acked": "produced by this run, acknowledged by the broker",
    "acked_seen": "of those, read back by this run",
}


def show_books(console: Console, books: Books) -> None:
    """Prints the accounts as a table and each identity with its numbers."""
    table = _table(["account", "count", ""])
    for name in sorted(books.accounts, key=_place):
        value = books.accounts[name]
        table.add_row(name, "-" if value is None else f"{value:,}", _MEANINGS.get(name, ""))
    table.columns[1].justify = "right"
    _titled(console, "Accounts", table)
    console.print("\nIdentities", style="bold")
    for name, text, holds in books.identities:
        mark = Text("  holds  ", "green") if holds else Text("  BROKEN ", "bold red")
        console.print(mark + Text(f"{name}  {text}"), soft_wrap=True)


def show_samples(console: Console, rows: Sample, dead_letters: Sample) -> None:
    """Prints the rows and dead letters that were read back from the warehouse."""
    for title, sample in (
        ("Three rows of user_signups", rows),
        ("Three dead letters of user_signups_dead_letters", dead_letters),
    ):
        table = _table(sample.columns)
        for row in sample.rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        _titled(console, title, table)


def show_failure(console: Console, api: AirflowApi, run_id: str) -> None:
    """Prints the end of the log of every task that failed."""
    for task in api.tasks(DAG_ID, run_id):
        if task.state != "failed":
            continue
        console.print(f"\n{task.task_id} failed. The end of its log:", style="bold red")
        for line in api.log(DAG_ID, run_id, task.task_id, task.try_number).splitlines()[-25:]:
            console.print(Text(f"  {line[:400]}"), soft_wrap=True)


def show_places(console: Console, standing: Standing, books: Books, run_id: str) -> None:
    """Prints where report and logs are, and what to try next."""
    logs = standing.airflow_home / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
    places = {"report": books.page, "as JSON": books.report, "task logs": logs, "all data": standing.home}
    console.print("\nWhere", style="bold")
    for what, where in places.items():
        if where:
            console.print(Text(f"  {what:<10} {shown(where)}"), soft_wrap=True)
    console.print("\nTry next", style="bold")
    for command, text in (
        ("make run", "again: the next run starts where this one ended, on the same topic and ledger"),
        ("make run WAREHOUSE=postgres", "the same into a real PostgreSQL"),
        ("make up", "leave it standing and look at Airflow's UI; `make down` stops it"),
    ):
        console.print(Text(f"  {command:<28} {text}"), soft_wrap=True)


def _place(name: str) -> int:
    names = list(_MEANINGS)
    return names.index(name) if name in names else len(names)


def _cell(value: Any) -> str:
    text = repr(bytes(value))[2:-1] if isinstance(value, bytes | bytearray | memoryview) else str(value)
    escaped = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return escaped if len(escaped) <= _LONGEST_CELL else f"{escaped[: _LONGEST_CELL - 3]}..."


def _table(columns: Sequence[str]) -> Table:
    return Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")


def _titled(console: Console, title: str, table: Table) -> None:
    console.print(f"\n{title}", style="bold")
    from rich.padding import Padding

    console.print(Padding(table, (0, 0, 0, 2)))
