"""What passes by itself is no problem to the command, as it is none to a run: it waits, says so, and answers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.command import Command, connected, problems
from tests.support.proxy import proxied
from tests.support.records import sign_ups
from tests.support.steps import Case, run_steps
from tests.support.topics import LIMIT_S, Topics, unique_topic
from topicledger import retries
from topicledger.connection import Connection

MANY = 50
"""Partitions that a broker takes a while to lead, once their topic is there."""


@pytest.fixture
def place(postgres_settings: Connection) -> Connection:
    """PostgreSQL: it listens somewhere."""
    return postgres_settings


@pytest.mark.fault(111, "goes on")
def test_a_topic_that_was_just_created(command: Command, topics: Topics, duckdb_case: Case) -> None:
    """A topic that its broker doesn't know yet, or whose partitions aren't led yet, is as good as any other."""
    case = duckdb_case.changed(topic=unique_topic())
    connected(command, case)
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    admin.create_topics([NewTopic(case.topic, num_partitions=MANY)])[case.topic].result(LIMIT_S)
    ran = command("check")
    assert problems(ran) == []
    assert f"topic {case.topic} with {MANY} partitions" in ran.out


@pytest.mark.fault(111, "goes on")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("check", "3 offsets to read"),
        ("plan", "would read 3 offsets"),
        ("accounts", " ok"),
    ],
)
def test_a_server_that_comes_up_while_it_asks(command: Command, case: Case, name: str, says: str) -> None:
    """A warehouse that doesn't listen yet is waited for, which is said once, with what it was that failed."""
    case.send(sign_ups(range(4), 2))
    run_steps(case)
    case.send(sign_ups(range(4, 7), 2))
    connected(command, case)
    with proxied(case.place, opened=False) as (proxy, behind), on_waiting(proxy.open):
        command.connect_warehouse(behind)
        ran = command(name)
    assert (ran.status, ran.err) == (0, "")
    assert says in ran.out
    refused = [line for line in command.waited if f"port {behind.port} failed: Connection refused" in line]
    assert len(refused) == 1


@contextmanager
def on_waiting(call: Callable[[], None]) -> Iterator[None]:
    """Call whenever something was found to have to be waited for."""

    class Calls(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            call()

    calls = Calls()
    retries.log.addHandler(calls)
    try:
        yield
    finally:
        retries.log.removeHandler(calls)


def test_what_is_wrong_for_good_is_not_waited_for(command: Command, case: Case) -> None:
    """A database that doesn't exist is a problem at once, without a word of waiting."""
    connected(command, case)
    command.connect_warehouse(dataclasses.replace(case.place, schema="no_such_database"))
    ran = command("check")
    assert not any("no_such_database" in line for line in command.waited)
    (problem,) = problems(ran)
    assert "no_such_database" in problem
