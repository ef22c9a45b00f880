"""How much memory a step takes, however much there is to read: wide records, a lopsided topic, a long backlog."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.support.records import Record, good, sign_ups
from tests.support.step_process import started_step
from tests.support.steps import Case, OneRun, make_case
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.errors import SettingsError

pytestmark = pytest.mark.slow

WIDE_BYTES = 900_000
WIDE = {"max.message.bytes": "2000000"}


def wide(numbers: range, size_bytes: int, partition: int = 0) -> Iterator[Record]:
    """Sign-ups with a long name that doesn't compress to nothing."""
    for number in numbers:
        yield Record(good(number, full_name=os.urandom(size_bytes // 2).hex()), str(number).encode(), partition)


def send(case: Case, records: Iterator[Record], at_once: int) -> None:
    """Send so many at a time: the client's own queue is bounded, too."""
    while piece := list(islice(records, at_once)):
        case.send(piece)


def peak_mb(run: OneRun, step: str) -> int:
    """Run a step in a process of its own; return the most memory that it had."""
    highest = 0
    with started_step(run, step) as started:
        # Not by getrusage, whose maximum includes what this process had when it started the other one.
        status = Path(f"/proc/{started.process.pid}/status")
        while started.process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            highest = max(highest, int(found[1]) >> 10 if found else 0)
            time.sleep(0.02)
        assert started.finish() == 0, started.errors()
    assert highest, "nothing was measured"
    return highest


def test_wide_records(topics: Topics, postgres_settings: Connection, tmp_path: Path) -> None:
    """2,000 records of 900 kB, 1.8 GB in one partition, go through consume and load in a fraction of that."""
    case = make_case(topics, postgres_settings, tmp_path, config=WIDE)
    send(case, wide(range(2_000), WIDE_BYTES), 100)
    run = OneRun(case)
    peaks = {step: peak_mb(run, step) for step in ("consume", "load")}
    assert max(peaks.values()) < 700, peaks
    assert run.reconcile().loaded == 2_000
    run.clean_up()
    case.oracle().require_every_record_once()


@pytest.mark.fault(107, "goes on")
@pytest.mark.parametrize("where", ["key", "headers"])
def test_wide_keys_and_headers(topics: Topics, postgres_settings: Connection, tmp_path: Path, where: str) -> None:
    """600 dead letters of one byte, each with a key or a header of 900 kB, take no more memory than such values."""
    case = make_case(topics, postgres_settings, tmp_path, config=WIDE)
    parts = (os.urandom(WIDE_BYTES) for _ in range(600))
    send(case, (Record(b"?", p) if where == "key" else Record(b"?", headers=[("h", p)]) for p in parts), 100)
    run = OneRun(case)
    peaks = {step: peak_mb(run, step) for step in ("consume", "load")}
    assert max(peaks.values()) < 700, peaks
    assert run.reconcile().dead_letters == 600
    run.clean_up()
    case.oracle().require_every_record_once()


@pytest.mark.fault(108, "stopped")
def test_records_too_wide_for_duckdb(topics: Topics, duckdb_settings: Connection, tmp_path: Path) -> None:
    """What doesn't fit into DuckDB's memory stops and says what to do; doing it, fewer records a run, loads all."""
    small = dataclasses.replace(duckdb_settings, extra={"memory_limit": "150MB"})
    case = make_case(topics, small, tmp_path, config=WIDE)
    send(case, wide(range(240), WIDE_BYTES), 100)
    run = OneRun(case)
    run.consume()
    with pytest.raises(SettingsError, match=r"larger memory_limit .* smaller max_records"):
        run.load()
    run.clean_up()
    capped = case.changed(max_records=40)
    for number in range(6):
        assert OneRun(capped, f"capped {number}").finish().loaded == 40
    case.oracle().require_every_record_once()


def test_duckdb_stays_near_its_limit(topics: Topics, duckdb_settings: Connection, tmp_path: Path) -> None:
    """900 MB of records that aren't too wide take DuckDB's memory limit and what the process takes anyway."""
    small = dataclasses.replace(duckdb_settings, extra={"memory_limit": "100MB"})
    case = make_case(topics, small, tmp_path)
    records = (Record(good(n, full_name="x" * 10_000), str(n).encode()) for n in range(90_000))
    send(case, records, 10_000)
    run = OneRun(case)
    peaks = {step: peak_mb(run, step) for step in ("consume", "load")}
    # Measured were 490 to 700 MB for 400 MB of records as for 1,000 MB.
    assert max(peaks.values()) < 850, peaks
    assert run.reconcile().loaded == 90_000
    run.clean_up()
    case.oracle().require_every_record_once()


def test_duckdb_takes_little_for_many(topics: Topics, duckdb_settings: Connection, tmp_path: Path) -> None:
    """A batch whose rows take twice the memory that DuckDB may use is loaded within it, the rest on disk meanwhile."""
    case = make_case(topics, duckdb_settings, tmp_path)
    send(case, (Record(good(n), str(n).encode()) for n in range(1_000_000)), 50_000)
    run = OneRun(case)
    run.consume()
    assert peak_mb(run, "load") < 350
    assert run.reconcile().loaded == 1_000_000
    run.clean_up()
    case.oracle().require_every_record_once()


def test_one_partition_far_larger_than_the_others(topics: Topics, place: Connection, tmp_path: Path) -> None:
    """200,000 records in one of 16 partitions and three in each other: all are read, in bounded memory."""
    case = make_case(topics, place, tmp_path, partitions=16)
    send(case, (Record(good(n), None, 7) for n in range(200_000)), 50_000)
    case.send(Record(good(200_000 + n), None, n % 16) for n in range(48) if n % 16 != 7)
    run = OneRun(case)
    peaks = {step: peak_mb(run, step) for step in ("consume", "load")}
    assert max(peaks.values()) < 450, peaks
    assert run.reconcile().loaded == 200_045
    run.clean_up()
    case.oracle().require_every_record_once()


def test_a_years_backlog(case: Case) -> None:
    """Under a cap a backlog becomes many runs, each of which closes; what is left shrinks to nothing."""
    records, cap = 4_000, 100
    case.send([*sign_ups(range(records - 40), partitions=2), *(Record(b"{", partition=n % 2) for n in range(40))])
    capped = case.changed(max_records=cap)
    for number in range(records // cap):
        accounts = OneRun(capped, f"scheduled__{number}").finish()
        assert accounts.records == cap
        case.oracle().require_every_record_once(unread=records - (number + 1) * cap)
    assert OneRun(capped, "scheduled__last").finish().records == 0
