"""`topicledger plan` and `topicledger accounts` on a real broker and each warehouse."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.support.command import Command, connected
from tests.support.records import Record, left_open, sign_ups
from tests.support.steps import Case, run_steps
from topicledger.connection import Connection

EVERY = ("duckdb", "postgres", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("folder", "s3")))


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest) -> Connection:
    """An empty warehouse of each kind, files and a log too."""
    found = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(found, Connection)
    return found


def cells(text: str) -> list[list[str]]:
    """The cells of every line."""
    return [line.split() for line in text.splitlines()]


def test_what_the_next_run_would_read(command: Command, case: Case) -> None:
    """One line a partition with position, end and lag; one that the ledger doesn't know yet is said to be new."""
    connected(command, case)
    case.send(sign_ups(range(5)))
    ran = command("plan")
    assert (ran.status, ran.err) == (0, "")
    assert f"The next run would read 5 offsets of {case.topic}." in ran.out
    assert ["0", "0", "5", "5", "5", "not", "in", "the", "ledger", "yet"] in cells(ran.out)
    run_steps(case)
    case.topics.add_partitions(case.topic, 3)
    case.send([*sign_ups(range(5, 7)), Record(b"{", partition=2)])
    ran = command("plan")
    assert "would read 3 offsets" in ran.out
    assert ["0", "5", "7", "2", "2"] in cells(ran.out)
    assert ["2", "0", "1", "1", "1", "not", "in", "the", "ledger", "yet"] in cells(ran.out)


@pytest.mark.slow
def test_what_a_cap_and_a_transaction_leave(command: Command, duckdb_case: Case) -> None:
    """Under a cap the end lies before the topic's and the rest is said; so is what an open transaction hides."""
    case = duckdb_case
    connected(command, case, max_records=40)
    case.send(sign_ups(range(100)))
    with left_open(case.topics.bootstrap, case.topic, sign_ups(range(3))):
        out = command("plan").out
    assert f"would read 40 offsets of {case.topic}; the cap leaves 60 for later runs" in out
    (line,) = [line for line in cells(out) if line[:1] == ["0"]]
    assert line[1:5] == ["0", "40", "40", "100"]
    assert line[-6:] == ["3", "more", "behind", "an", "open", "transaction"]


def test_the_books(command: Command, case: Case) -> None:
    """Every batch, the newest first, and every partition's books, as tables and as JSON."""
    connected(command, case)
    case.send([*sign_ups(range(5)), Record(b"{", partition=1), Record(None, partition=1)])
    run_steps(case, "manual__1")
    case.send(sign_ups(range(3), 2))
    run_steps(case, "manual__2")
    ran = command("accounts")
    assert (ran.status, ran.err) == (0, "")
    target = case.warehouse().target
    assert ran.out.splitlines()[0] == target
    runs = [line[2] for line in cells(ran.out) if len(line) > 2 and line[2].startswith("manual__")]
    assert runs == ["manual__2", "manual__1"]
    first = next(line for line in cells(ran.out) if "manual__1" in line)
    assert first[-5:] == ["7", "5", "0", "1", "1"]
    topic_id = case.topics.topic_id(case.topic)
    assert [topic_id, "0", "0", "7", "7", "ok"] in cells(ran.out)
    document = json.loads(command("accounts", "--json", "--limit", "1").out)
    assert (document["target"], document["books_close"], len(document["batches"])) == (target, True, 1)
    assert {p["partition"]: p["position"] for p in document["partitions"]} == {0: 7, 1: 3}


def test_books_of_another_table(command: Command, duckdb_case: Case) -> None:
    """A warehouse with a ledger that has nothing of this table says so in one sentence."""
    run_steps(duckdb_case)
    connected(command, dataclasses.replace(duckdb_case), table="another")
    ran = command("accounts")
    assert (ran.status, len(ran.err.splitlines())) == (1, 1)
    assert "has no ledger of main.another; the first run creates it" in ran.err
