"""Connections that can't work: what is wrong, where, and what to do, before anything is read or written."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.support.records import Record, aborted, sign_ups
from tests.support.steps import Case, OneRun, run_steps
from tests.support.topics import LIMIT_S
from topicledger import retries
from topicledger.errors import RetriableError, SettingsError, TopicLedgerError
from topicledger.kafka import topic


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address that is taken, so that nobody else listens there, and that answers nobody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def both_steps_fail(case: Case, kind: type[TopicLedgerError]) -> list[str]:
    """Produce and consume both fail so, and leave nothing behind."""
    messages = []
    run = OneRun(case)
    with pytest.raises(kind) as refused:
        run.produce((r.key, r.value) for r in sign_ups(range(3)))
    messages.append(str(refused.value))
    with pytest.raises(kind) as refused:
        run.consume()
    messages.append(str(refused.value))
    assert case.staged_files() == []
    return messages


@pytest.mark.fault(48, "stopped")
def test_unknown_key(duckdb_case: Case) -> None:
    """A key that librdkafka doesn't know is named, with the connection's id and where to correct it."""
    for message in both_steps_fail(duckdb_case.with_extra({"bootstrap.server": "x"}), SettingsError):
        assert '"bootstrap.server"' in message
        assert "kafka_default" in message
        assert "Extra" in message


@pytest.mark.parametrize("extra", [{"linger.ms": "soon"}, {"security.protocol": "NONE"}, {"linger.ms": {"a": 1}}])
def test_value_that_cannot_be(duckdb_case: Case, extra: dict[str, Any]) -> None:
    """A key's value that librdkafka refuses is a SettingsError that names the connection."""
    run = OneRun(duckdb_case.with_extra(extra))
    with pytest.raises(SettingsError, match="kafka_default"):
        run.produce((r.key, r.value) for r in sign_ups(range(3)))


def test_missing_topic(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that doesn't exist is never made silently: the error has the command that creates it."""
    monkeypatch.setattr(topic, "_NEW_TOPIC_S", 0.1)
    case = duckdb_case.changed(topic="no.such.topic")
    for message in both_steps_fail(case, SettingsError):
        assert "topic no.such.topic does not exist" in message
        assert f"--bootstrap-server {case.topics.bootstrap} --create --topic no.such.topic --partitions" in message


@pytest.mark.fault(26, "retried")
def test_broker_down(duckdb_case: Case, closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a broker the step gives up after a bounded time, may be tried again, and names the address."""
    monkeypatch.setattr(retries, "RETRY_S", 0.5)
    started = time.monotonic()
    with pytest.raises(RetriableError, match=f"{closed_port} .connection kafka_default") as refused:
        OneRun(duckdb_case.with_extra({"bootstrap.servers": closed_port})).consume()
    assert time.monotonic() - started < LIMIT_S
    assert refused.value.topic == duckdb_case.topic
    assert duckdb_case.staged_files() == []


@pytest.mark.fault(49, "goes on")
def test_overridden_settings(duckdb_case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """Auto-commit and dirty reads in the Extra are overridden with a warning: no aborted record becomes a row."""
    case = duckdb_case.with_extra({"enable.auto.commit": "true", "isolation.level": "read_uncommitted"})
    case.send(sign_ups(range(4)))
    aborted(case.topics.bootstrap, case.topic, sign_ups(range(100, 104)))
    with caplog.at_level(logging.WARNING):
        run = run_steps(case)
    assert (run.accounts.loaded, run.accounts.invisible) == (4, 5)
    warned = " ".join(caplog.messages)
    assert "enable.auto.commit=true" in warned
    assert "isolation.level=read_uncommitted" in warned
    case.oracle().require_every_record_once()


@pytest.mark.fault(32, "stopped")
def test_record_larger_than_the_client_allows(duckdb_case: Case) -> None:
    """A record over the client's limit fails the step, naming its key, its size and the limit."""
    run = OneRun(duckdb_case.with_extra({"message.max.bytes": 10_000}))
    with pytest.raises(SettingsError, match=r"key b'large' has 20005 bytes; the client allows 10000"):
        run.produce([(b"small", b"{}"), (b"large", b"x" * 20_000)])


@pytest.mark.fault(32, "stopped")
def test_record_larger_than_the_topic_allows(duckdb_case: Case) -> None:
    """A record over the topic's limit fails the step too, naming key, size and both limits."""
    case = duckdb_case
    topic = f"{case.topic}.small"
    case.topics.create(topic, 1, {"max.message.bytes": "1000"})
    limits = r"key b'large' has 5005 bytes; the client allows 1000000 \(message.max.bytes\), the topic 1000 \("
    with pytest.raises(SettingsError, match=limits):
        OneRun(case.changed(topic=topic)).produce([(b"large", Random(0).randbytes(5_000))])


def test_a_malformed_record_in_the_simulation_is_no_error(duckdb_case: Case) -> None:
    """Producing takes any bytes, also none: what they are worth is decided when they are read."""
    case = duckdb_case
    run = OneRun(case)
    receipt = run.produce([(None, b""), (b"", None), (b"\xff", b"\xff")])
    assert receipt.acked == 3
    accounts = run.finish()
    assert (accounts.dead_letters, accounts.tombstones, accounts.acked_seen) == (2, 1, 3)


def test_nothing_to_produce(duckdb_case: Case) -> None:
    """An empty batch gives a receipt of nothing, and the run consumes what others produced."""
    case = duckdb_case
    case.send([Record(b"{"), *sign_ups(range(2))])
    accounts = run_steps(case, records=[]).accounts
    assert (accounts.acked, accounts.acked_seen, accounts.records) == (0, 0, 3)


def test_malformed_acceptance(duckdb_case: Case) -> None:
    """An entry of `accept` that no error printed stops the step before it contacts anything."""
    unreachable = duckdb_case.with_extra({"bootstrap.servers": "127.0.0.1:1"})
    with pytest.raises(SettingsError, match="'everything'"):
        OneRun(unreachable).consume(["everything"])
