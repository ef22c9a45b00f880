"""A wrong address: one try of a task, as one command, ends within a minute with what was asked, and where."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from topicledger import retries
from topicledger.connection import Connection
from topicledger.errors import RetriableError
from topicledger.kafka import grants, topic
from topicledger.kafka.settings import KafkaSettings
from topicledger.kafka.topic import TopicObserver
from topicledger.signups import SIGNUPS
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.postgres import warehouse as postgres
from topicledger.warehouse.snowflake import connection as snowflake_connection

LONGEST_PAUSE_S = 5.0
A_MINUTE_S = 60.0
SILENT = ("drops", "silent")


@pytest.fixture(params=["refuses", "unknown", *SILENT])
def wrong(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, int]]:
    """An address that refuses, whose name nobody knows, that drops what is sent, or that takes it and says nothing."""
    if request.param == "unknown":
        yield request.param, "nowhere.invalid", 9092
        return
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        if request.param in SILENT:
            listener.listen(0 if request.param == "drops" else 100)
        for _ in range(3 if request.param == "drops" else 0):  # its queue is full: further packets are dropped
            client = open_sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield request.param, "127.0.0.1", int(listener.getsockname()[1])


@pytest.mark.fault(26, "retried")
def test_a_broker(wrong: tuple[str, str, int]) -> None:
    """What the client heard is in the message with the address; where it heard nothing, that."""
    kind, host, port = wrong
    settings = KafkaSettings("k", {"bootstrap.servers": f"{host}:{port}"})
    said = {"refuses": "Connection refused", "unknown": "Failed to resolve"}.get(kind, "no word from there")
    with (
        TopicObserver(settings, "t", request_s=1.0) as observer,
        pytest.raises(RetriableError, match=rf"at {host}:{port} \(connection k\).*{said}"),
    ):
        observer.state()


@pytest.mark.fault(74, "retried")
def test_a_warehouse(wrong: tuple[str, str, int]) -> None:
    """PostgreSQL's address that doesn't answer is named, whether it refuses or says nothing."""
    _, host, port = wrong
    place = Connection("w", "postgres", host, port, "u", "secret", "d", extra={"connect_timeout": 2})
    with pytest.raises(RetriableError, match=f"can't connect to PostgreSQL at {host}, database d, user u"):
        open_warehouse(place, SIGNUPS).ensure_tables()


def test_a_try_ends_within_a_minute() -> None:
    """The last attempt begins when patience and a pause are over at the latest, and has limits of its own."""
    # A state is four requests, and each is waited for a second longer than the client's own limit.
    broker_s = max(4 * (topic._REQUEST_S + 1), 2 * (grants._REQUEST_S + 1))
    # A name may stand for two addresses.
    slowest_s = max(broker_s, 2 * postgres._DEFAULTS["connect_timeout"], snowflake_connection.LOGIN_S)
    assert retries.RETRY_S + LONGEST_PAUSE_S + slowest_s <= A_MINUTE_S
