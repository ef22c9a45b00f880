"""A broker that dies, stands still or comes back while a batch is produced or read: nothing is lost, nothing hangs."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

import kafka_utils
from devstack.broker import Broker, running_broker
from tests.support.at_point import at_point
from tests.support.cluster import paused
from tests.support.old_answers import old_answers
from tests.support.places import duckdb_file
from tests.support.records import good, sign_ups
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import LIMIT_S, Topics, wait_for
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.reader import RangeReader

pytestmark = pytest.mark.slow
"""Each case has a broker of its own."""

RECORDS = 3_000

SMALL_FETCHES = {"queued.min.messages": 1, "queued.max.messages.kbytes": 64, "fetch.message.max.bytes": 20_000}
"""The client holds little of the topic in advance, so that a read really depends on the broker until its end."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test's own."""
    with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def own_case(broker: Broker, place: Connection, tmp_path: Path) -> Case:
    """A topic on that broker, on each warehouse."""
    return make_case(Topics(broker.bootstrap), place, tmp_path)


@pytest.fixture
def duckdb_own_case(broker: Broker, tmp_path: Path) -> Case:
    """The same on DuckDB alone."""
    return make_case(Topics(broker.bootstrap), duckdb_file(tmp_path), tmp_path)


def numbered(count: int = RECORDS) -> list[tuple[bytes, bytes]]:
    """A batch of sign-ups with keys."""
    return [(str(n).encode(), good(n)) for n in range(count)]


def on_topic(case: Case) -> int:
    """How many offsets the topic has."""
    return sum(case.topics.ends(case.topic).values())


def interrupted(case: Case, act: object, count: int = RECORDS) -> Iterator[tuple[bytes, bytes]]:
    """The batch, with something happening when a half of it is on the broker and a quarter is on its way."""
    for index, record in enumerate(numbered(count)):
        if index == count // 2:
            wait_for("the first half", lambda: on_topic(case) == count // 2 or None)
        yield record
        if index == 3 * count // 4:
            assert callable(act)
            act()


@pytest.mark.fault(27, "goes on")
def test_broker_killed_and_started_while_producing(broker: Broker, own_case: Case) -> None:
    """A broker that is killed and comes back in the middle of a batch gets every record of it, and none twice."""
    case, run = own_case, OneRun(own_case)

    def restart() -> None:
        broker.kill()
        broker.start()

    receipt = run.produce(interrupted(case, restart))
    assert receipt.acked == RECORDS
    assert on_topic(case) == RECORDS
    accounts = run.finish()
    assert (accounts.loaded, accounts.duplicates, accounts.acked_seen) == (RECORDS, 0, RECORDS)
    case.oracle().require_every_record_once()


@pytest.mark.fault(28, "retried")
def test_broker_stands_still_while_producing(broker: Broker, own_case: Case) -> None:
    """A broker that stops answering fails the task with how many records lack an answer; the retry closes the books."""
    case = own_case.with_extra({"message.timeout.ms": 3_000})
    run, began = OneRun(case), time.monotonic()
    with (
        ExitStack() as standing,
        pytest.raises(RetriableError, match=rf"[1-9]\d* of {RECORDS} not acknowledged") as refused,
    ):
        run.produce(interrupted(case, lambda: standing.enter_context(paused(broker))))
    assert "timed out" in str(refused.value)
    assert broker.bootstrap in str(refused.value)
    assert time.monotonic() - began < LIMIT_S
    there = on_topic(case)
    accounts = run_steps(case, records=numbered()).accounts
    assert (accounts.loaded, accounts.acked_seen) == (RECORDS, RECORDS)
    assert accounts.duplicates >= there
    case.oracle().require_every_record_once()


def cut_the_log(broker: Broker, case: Case) -> None:
    """Take the newest records from the log, as a leader does that never had them."""
    broker.kill()
    for folder in (broker.folder / "data").glob(f"{case.topic}-*"):
        for segment in folder.glob("*.log"):
            with segment.open("r+b") as file:
                file.truncate(segment.stat().st_size // 2)
        for derived in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
            derived.unlink()
    broker.start()


@pytest.mark.fault(30, "retried")
def test_producer_told_that_its_sequence_is_broken(broker: Broker, own_case: Case) -> None:
    """A producer whose acknowledged records the broker has lost is given up for good; the retry has another one."""
    case = own_case.with_extra({"batch.num.messages": 20})
    run = OneRun(case)
    with pytest.raises(RetriableError) as refused:
        run.produce(interrupted(case, lambda: cut_the_log(broker, case)))
    assert re.search(rf"[1-9]\d* of {RECORDS} not acknowledged", str(refused.value))
    accounts = run_steps(case, records=numbered()).accounts
    assert (accounts.loaded, accounts.acked_seen) == (RECORDS, RECORDS)
    case.oracle().require_every_record_once()


@pytest.mark.fault(34, "stopped")
def test_acknowledged_records_lost_while_producing(broker: Broker, own_case: Case) -> None:
    """Records that were acknowledged and then lost are missed at planning; produced again, the books close."""
    case, run = own_case, OneRun(own_case)
    run.produce(numbered(200))
    cut_the_log(broker, case)
    assert on_topic(case) < 200
    with pytest.raises(IntegrityError, match="this run produced through"):
        run.consume()
    assert case.staged_files() == []
    run.produce(numbered(200))
    accounts = run.finish()
    assert (accounts.loaded, accounts.acked_seen) == (200, 200)
    case.oracle().require_every_record_once()


@pytest.mark.fault(43, "retried")
def test_broker_stands_still_during_the_read(broker: Broker, own_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that nothing more comes to before its planned end fails, and is no success with fewer records."""
    case = own_case.with_extra(SMALL_FETCHES)
    case.send(sign_ups(range(RECORDS), partitions=2), **{"batch.num.messages": 50})
    run = OneRun(case)
    monkeypatch.setattr(kafka_utils, "RangeReader", functools.partial(RangeReader, idle_s=3.0))
    with ExitStack() as standing:
        at_point(monkeypatch, "step-09.chunk_read", lambda: standing.enter_context(paused(broker)))
        began = time.monotonic()
        with pytest.raises(RetriableError, match="nothing came for 3 s before the planned end: partition") as refused:
            run.consume()
        assert time.monotonic() - began < LIMIT_S
    assert broker.bootstrap in str(refused.value)
    assert f"ends at {RECORDS // 2}" in str(refused.value)
    assert case.staged_files() == []
    assert run.finish().loaded == RECORDS
    case.oracle().require_every_record_once()


@pytest.mark.fault(29, "goes on", stands_in="this broker knows the offset of a batch that comes again, and says it")
def test_delivery_reports_without_an_offset(place: Connection, tmp_path: Path) -> None:
    """A batch that the broker calls a duplicate, so that its reports have no offset, counts as acknowledged."""
    with old_answers() as proxy:
        advertised = {"advertised.listeners": f"PLAINTEXT://{proxy.address}"}
        with running_broker(tmp_path / "broker", advertised) as broker:
            host, port = broker.bootstrap.split(":")
            proxy.server = (host, int(port))
            case = make_case(Topics(proxy.address), place, tmp_path)
            proxy.to_change = 1
            assert reported_offsets(case, good(500)) == [None]
            proxy.to_change = 4
            accounts = run_steps(case.with_extra({"batch.num.messages": 20}), records=numbered(400)).accounts
            assert proxy.changed == 4
            assert (accounts.loaded, accounts.acked, accounts.acked_seen) == (401, 400, 400)
            case.oracle().require_every_record_once()


def reported_offsets(case: Case, value: bytes) -> list[int | None]:
    """The offset in the delivery report of one record, sent by a plain idempotent client."""
    offsets: list[int | None] = []

    def on_delivery(error: object, message: Message) -> None:
        assert error is None
        offsets.append(message.offset())

    producer = Producer({"bootstrap.servers": case.topics.bootstrap, "enable.idempotence": True})
    producer.produce(case.topic, value=value, on_delivery=on_delivery)
    assert producer.flush(LIMIT_S) == 0
    return offsets
