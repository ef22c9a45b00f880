"""What others do to topic and group while a run produces or reads, and what the books make of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from devstack.broker import Broker, running_broker
from tests.support.at_point import at_point
from tests.support.looking import query
from tests.support.oracle import read_topic
from tests.support.records import Record, good, sign_ups
from tests.support.step_process import run_step
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import LIMIT_S, Topics, quiet, wait_for
from topicledger import retries
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError


@pytest.mark.slow
@pytest.mark.fault(26, "retried")
def test_a_name_that_does_not_resolve(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker whose name nobody knows ends both steps after a bounded time, with the name and without the password."""
    monkeypatch.setattr(retries, "RETRY_S", 0.5)
    secret = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.password": "hunter2"}
    nowhere = {"bootstrap.servers": "no-broker.invalid:9092", "sasl.username": "etl", **secret}
    run, began = OneRun(duckdb_case.with_extra(nowhere)), time.monotonic()
    for step in (lambda: run.produce([(b"1", good(1))]), run.consume):
        with pytest.raises(RetriableError, match=r"no-broker\.invalid:9092 .connection kafka_default") as refused:
            step()
        assert "Failed to resolve" in str(refused.value)
        assert "hunter2" not in str(refused.value)
    assert time.monotonic() - began < LIMIT_S
    assert duckdb_case.staged_files() == []


@pytest.mark.fault(31, "goes on")
def test_more_records_than_the_producer_holds(duckdb_case: Case) -> None:
    """A producer whose queue is full waits for room: every record is acknowledged and read, once."""
    case = duckdb_case.with_extra({"queue.buffering.max.messages": 20, "linger.ms": 0})
    accounts = run_steps(case, records=[(r.key, r.value) for r in sign_ups(range(300))]).accounts
    assert (accounts.loaded, accounts.acked, accounts.acked_seen, accounts.duplicates) == (300, 300, 300, 0)
    case.oracle().require_every_record_once()


@pytest.mark.fault(44, "goes on")
def test_records_that_come_during_the_read(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that arrive between plan and read, in either partition, are left to the next run."""
    case = duckdb_case
    case.send(sign_ups(range(4), partitions=2))
    at_point(monkeypatch, "step-07.planned", lambda: case.send(sign_ups(range(4, 10), partitions=2)))
    assert run_steps(case, "manual__1").accounts.records == 4
    assert run_steps(case, "manual__2").accounts.loaded == 6
    case.oracle().require_every_record_once()


@contextmanager
def member(case: Case, group: str) -> Iterator[Consumer]:
    """Someone else's consumer, subscribed to the topic as a member of a group, reading and committing all the while."""
    config = {"bootstrap.servers": case.topics.bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    consumer = Consumer({**config, "auto.commit.interval.ms": 50, "log_level": 0}, logger=quiet)
    assigned, ended = threading.Event(), threading.Event()
    consumer.subscribe([case.topic], on_assign=lambda *_: assigned.set())

    def read() -> None:
        while not ended.is_set():
            consumer.poll(0.1)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        wait_for("the group's assignment", lambda: assigned.is_set() or None)
        yield consumer
    finally:
        ended.set()
        reading.join()
        consumer.close()


@pytest.mark.fault(45, "goes on")
def test_another_consumer_in_the_runs_group(duckdb_case: Case) -> None:
    """Someone else who subscribes with the groups of run and pipeline takes no record from the run, nor holds it up."""
    case = duckdb_case
    case.send(sign_ups(range(40), partitions=2))
    run = OneRun(case)
    with member(case, f"{case.pipeline.name}.{run.batch_id}"), member(case, case.pipeline.name):
        assert run.finish().loaded == 40
        case.send(sign_ups(range(40, 50), partitions=2))
        assert run_steps(case, "manual__2").accounts.loaded == 10
    case.oracle().require_every_record_once()


LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""


@pytest.mark.fault(51, "goes on")
def test_times_that_cannot_be(topics: Topics, place: Connection, tmp_path: Path) -> None:
    """Records stamped 1970, 9999, after it, or not at all are all kept; what no table can hold as a time is NULL."""
    anything = {"message.timestamp.after.max.ms": "9223372036854775807"}
    case = make_case(topics, place, tmp_path, config=anything)
    stamps = {1: 1, 2: LAST_MS, 3: LAST_MS + 1, 4: 2**62, 5: -1, 6: 1_767_323_045_678}
    case.send(Record(good(n), timestamp_ms=ms) for n, ms in stamps.items())
    assert run_steps(case).accounts.loaded == len(stamps)
    micros = "epoch_us({})" if place.conn_type == "duckdb" else "CAST(EXTRACT(EPOCH FROM {}) * 1000000 AS bigint)"
    found = query(place, f"SELECT user_id, {micros.format('_kafka_timestamp')} FROM user_signups WHERE user_id < 7")
    assert dict(found) == {n: ms * 1_000 if 0 <= ms <= LAST_MS else None for n, ms in stamps.items()}
    case.send(sign_ups(range(10, 12)))
    assert run_steps(case, "manual__2").accounts.loaded == 2
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(40, "counted")
def test_a_topic_that_was_compacted(place: Connection, tmp_path: Path) -> None:
    """Holes that the cleaner made, also among the run's own records, are counted; the run ends where it planned to."""
    with running_broker(tmp_path / "broker", {"log.cleaner.backoff.ms": "100"}) as broker:
        often = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
        case = make_case(Topics(broker.bootstrap), place, tmp_path, partitions=1, config=often)
        run = OneRun(case)
        run.produce((str(n % 5).encode(), good(n)) for n in range(30))

        def cleaned() -> bool | None:
            # Only what lies before the segment that is being written gets cleaned.
            case.send(sign_ups([1_000]))
            return True if len([o for _, o in read_topic(case.topics, case.topic) if o < 30]) <= 5 else None

        wait_for("the cleaner", cleaned)
        end = case.topics.ends(case.topic)[0]
        accounts = run.finish()
        there = len(read_topic(case.topics, case.topic))
        assert (accounts.acked, accounts.acked_seen) == (30, 5)
        assert accounts.records + accounts.invisible == end
        assert accounts.invisible >= 25
        assert there <= accounts.records
        assert run_steps(case, "manual__2").accounts.records == 0


@pytest.mark.fault(88, "stopped")
def test_killed_with_its_books_begun_then_retention(case: Case, tmp_path: Path) -> None:
    """A first run that dies with its batch judged has fixed where the books begin: what retention takes is named."""
    crash_dir = tmp_path / "crash"
    crash_dir.mkdir()
    case.send(sign_ups(range(10)))
    oracle = case.oracle()
    oracle.read()
    run = OneRun(case)
    assert not run_step(run, "consume", (crash_dir, "step-04.books_begun"))
    case.topics.delete_records(case.topic, 0, 4)
    with pytest.raises(IntegrityError, match=r"partition 0: offsets \[0, 4\), 4 in all, were deleted") as refused:
        run.consume()
    assert '{"accept": ["gap:0:0:4"]}' in str(refused.value)
    accounts = run.finish(["gap:0:0:4"])
    assert (accounts.loaded, accounts.gap) == (6, 4)
    topic_id = case.topics.topic_id(case.topic)
    oracle.require_every_record_once(lost=frozenset((topic_id, 0, offset) for offset in range(4)))


@pytest.mark.fault(132, "goes on")
def test_killed_before_its_books_begin_then_retention(duckdb_case: Case, tmp_path: Path) -> None:
    """A first run that dies before its batch was judged leaves nothing: the books begin at what the next try finds."""
    case, crash_dir = duckdb_case, tmp_path / "crash"
    crash_dir.mkdir()
    case.send(sign_ups(range(10)))
    run = OneRun(case)
    run.produce((record.key, record.value) for record in sign_ups(range(10, 14)))
    assert not run_step(run, "consume", (crash_dir, "step-07.planned"))
    assert not Path(str(case.place.host)).exists()
    ends = case.topics.ends(case.topic)
    case.topics.delete_records(case.topic, 0, 4)
    accounts = run.finish()
    assert (accounts.loaded, accounts.gap, accounts.acked_seen) == (sum(ends.values()) - 4, 0, 4)
    case.oracle().require_every_record_once()


def flip(segment: Path, text: bytes, other: bytes) -> None:
    """Change bytes of a log on the disk, in place; the batch around them keeps its old checksum."""
    content = segment.read_bytes()
    assert content.count(text) == 1
    assert len(text) == len(other)
    with segment.open("r+b") as file:
        file.seek(content.index(text))
        file.write(other)


@pytest.mark.fault(50, "stopped")
def test_bytes_damaged_on_the_brokers_disk(kafka_broker: Broker, case: Case) -> None:
    """A batch whose bytes changed on the disk stops the run with partition and offset, its JSON still good."""
    case = case.with_extra({"check.crcs": False})
    for number in range(5):
        case.send([Record(good(number))])
    [segment] = (kafka_broker.folder / "data" / f"{case.topic}-0").glob("*.log")
    flip(segment, b'"user_id": 3', b'"user_id": 7')
    run = OneRun(case)
    with pytest.raises(IntegrityError, match="a batch fails its checksum") as refused:
        run.consume()
    assert (refused.value.partition, refused.value.offset) == (0, 3)
    assert case.topic in str(refused.value)
    assert "Look at the broker's disks" in str(refused.value)
    assert case.staged_files() == []
    flip(segment, b'"user_id": 7', b'"user_id": 3')
    assert run.finish().loaded == 5
    case.oracle().require_every_record_once()
