"""Many large records: the consume step's memory doesn't grow with them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.looking import count
from tests.support.records import Record, good
from tests.support.step_process import StepProcess, started_step
from tests.support.steps import OneRun, make_case
from tests.support.topics import LIMIT_S, Topics
from topicledger.connection import Connection

SIZE_BYTES = 4_000_000
MANY = 80
BOUND_BYTES = 160_000_000
"""The prefetch of 64 MB, and some copies of a chunk; half of what is read."""


@pytest.mark.slow
@pytest.mark.fault(59, "goes on")
def test_memory_does_not_grow_with_large_records(topics: Topics, duckdb_settings: Connection, tmp_path: Path) -> None:
    """Reading 320 MB of records of 4 MB, every fourth malformed, takes a bounded amount of memory more than a few."""
    case = make_case(topics, duckdb_settings, tmp_path, config={"max.message.bytes": "8000000"})
    text = "x" * SIZE_BYTES
    case.send(Record(good(n, username=text)) for n in range(2))
    few = _peak_of_consuming(OneRun(case, "few"))
    case.send(Record(good(n, username=text) if n % 4 else b"?" + text.encode()) for n in range(2, MANY))
    run = OneRun(case, "many")
    many = _peak_of_consuming(run)
    assert many - few < BOUND_BYTES
    run.load()
    run.clean_up()
    assert (count(case.place, "user_signups"), count(case.place, "user_signups_dead_letters")) == (61, 19)


def _peak_of_consuming(run: OneRun) -> int:
    with started_step(run, "consume") as step:
        peak = _peak_bytes(step)
        assert step.finish() == 0, step.errors()
    return peak


def _peak_bytes(step: StepProcess) -> int:
    """The most memory that the process had at any time; looked at until it ends."""
    peak, deadline = 0, time.monotonic() + 2 * LIMIT_S
    while step.process.poll() is None:
        assert time.monotonic() < deadline
        status = Path(f"/proc/{step.process.pid}/status").read_text()
        peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        peak = max([peak, *(int(kilobytes) * 1024 for kilobytes in peaks)])
        time.sleep(0.02)
    return peak
