"""A declaration that changes while its pipeline is in use: columns that are new, a table of another name."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.docs.pages import fences, read
from tests.support.command import Command, connected, problems
from tests.support.looking import is_lake, query
from tests.support.records import Record, sign_ups
from tests.support.step_process import run_step
from tests.support.steps import Case, OneRun, run_steps
from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.errors import IntegrityError
from topicledger.report.text import one_line
from topicledger.steps.reconcile import reconcile

SQL = (pytest.param("duckdb", marks=pytest.mark.slow), "postgres")
EVERY = (*SQL, pytest.param("folder", marks=pytest.mark.slow))


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Connection:
    """DuckDB, or the kind that the test asks for."""
    found = request.getfixturevalue(f"{getattr(request, 'param', 'duckdb')}_settings")
    assert isinstance(found, Connection)
    return found


@pytest.fixture
def crash_dir(tmp_path: Path) -> Path:
    """Where a step finds out where it is to be killed."""
    folder = tmp_path / "crash"
    folder.mkdir()
    return folder


def columns_of_the_table(case: Case) -> list[str]:
    """What the rows table has, in whatever order."""
    found = query(case.place, "SELECT column_name FROM information_schema.columns WHERE table_name = 'user_signups'")
    return [str(name) for (name,) in found]


@pytest.mark.fault(191, "goes on")
@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_a_column_that_is_declared_later(case: Case, place: Connection, caplog: pytest.LogCaptureFixture) -> None:
    """It is added once the batch was judged, and not by one that is refused; log and report say it, once."""
    case.send(sign_ups(range(4), 2))
    run_steps(case, "before")
    later = case.changed(
        columns=(*case.pipeline.columns, Column("referrer", "text", nullable=True)),
        clean=lambda columns: {**case.pipeline.clean(columns), "referrer": columns["country"]},  # type: ignore[misc]
    )
    case.send([Record(b"{") for _ in range(120)])
    with pytest.raises(IntegrityError, match="120 of 120 records can't become rows"):
        OneRun(later.changed(error_budget=None), "refused").consume()
    if not is_lake(place):
        assert "referrer" not in columns_of_the_table(case)
    case.send(sign_ups(range(4, 6), 2))
    with caplog.at_level(logging.WARNING):
        run = run_steps(later, "after")
    assert run.row is not None
    assert "referrer" in one_line(reconcile(run, run.row.plan_id))
    assert is_lake(place) or "ADD COLUMN" in caplog.text
    case.send(sign_ups(range(6, 8), 2))
    again = run_steps(later, "again")
    assert again.row is not None
    assert "altered" not in one_line(reconcile(again, again.row.plan_id))
    case.oracle().require_every_record_once()
    if not is_lake(place):
        found = query(place, "SELECT referrer, COUNT(*) FROM user_signups GROUP BY referrer ORDER BY 2")
        assert found == [(None, 4), ("DE", 4)] or found == [("DE", 4), (None, 4)]


@pytest.mark.fault(192, "retried")
@pytest.mark.parametrize("place", SQL, indirect=True)
def test_killed_between_altering_and_loading(case: Case, place: Connection, crash_dir: Path) -> None:
    """What a killed try left is a table as it is declared, with all its rows: the next try goes on from there."""
    case.send(sign_ups(range(4), 2))
    run_steps(case, "before")
    query(place, "ALTER TABLE user_signups DROP COLUMN full_name")
    case.send(sign_ups(range(4, 9), 2))
    run = OneRun(case, "killed")
    assert not run_step(run, "consume", (crash_dir, "step-04.tables_there"))
    assert "full_name" in columns_of_the_table(case)
    assert run.finish().loaded == 5
    case.oracle().require_every_record_once()


@pytest.mark.fault(193, "stopped")
@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_a_table_that_is_renamed_in_the_declaration(command: Command, case: Case, place: Connection) -> None:
    """It stops before anything is loaded twice, in `check` too; accepted, all is loaded again, on record.

    A pipeline of another name has books of its own, and isn't asked.
    """
    case.send(sign_ups(range(5), 2))
    old = run_steps(case, "before").case.warehouse().target
    renamed = case.changed(table="people")
    new = renamed.warehouse().target
    with pytest.raises(IntegrityError, match=rf"has loaded topic .* into {old}, and now declares {new}") as refused:
        OneRun(renamed, "renamed").consume()
    assert f'{{"accept": ["target:{old}->{new}"]}}' in str(refused.value)
    connected(command, case, table="people")
    (problem,) = problems(command("check"))
    assert f"into {old}, and now declares {new}" in problem
    assert f"now declares {new}" in command("plan").err
    with pytest.raises(IntegrityError, match="now declares"):
        OneRun(renamed, "renamed").consume([f"target:{new}->{old}"])
    connected(command, case, table="people", name="another_one")
    checked = command("check")
    assert problems(checked) == []
    assert f"is loaded into {old}, too, by pipeline {case.pipeline.name}" in checked.out
    assert run_steps(case.changed(table="others", name="another_one"), "of another one").accounts.loaded == 5
    accepting = OneRun(renamed, "accepted")
    assert accepting.finish([f"target:{old}->{new}"]).loaded == 5
    assert any(f"target:{old}->{new}" in row.manifest.accepted for row in renamed.warehouse().history(9))
    case.send(sign_ups(range(5, 7), 2))
    assert OneRun(renamed, "accepted").finish([f"target:{old}->{new}"]).loaded == 2
    if not is_lake(place):
        renamed.oracle().require_every_record_once()


@pytest.mark.parametrize("place", SQL, indirect=True)
def test_a_table_that_is_renamed_in_the_warehouse_too(case: Case, place: Connection) -> None:
    """With the statements that operations.md has, its books go on under the new name: nothing is loaded again."""
    case.send(sign_ups(range(5), 2))
    run_steps(case, "before")
    schema = case.warehouse().target.partition(".")[0]
    (statements,) = [code for _, code in fences(read("docs/operations.md")) if "RENAME TO people" in code]
    for statement in filter(None, statements.replace("public", schema).split(";\n")):
        query(place, statement)
    case.send(sign_ups(range(5, 8), 2))
    renamed = case.changed(table="people")
    assert run_steps(renamed, "after").accounts.loaded == 3
    renamed.oracle().require_every_record_once()
