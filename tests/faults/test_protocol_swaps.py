"""A staged file that somebody writes to while it is loaded: the bytes that are copied are those that are judged."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.looking import count, query
from tests.support.records import Record, good
from tests.support.step_process import StepProcess, started_step
from tests.support.steps import Case, OneRun
from tests.support.topics import LIMIT_S

ROWS = 4_000
_LONG = "x" * 10_000


def _stop_while_it_reads(step: StepProcess, path: Path) -> int:
    """Stop the process as soon as it has a file open; return how far it has read."""
    descriptors = Path(f"/proc/{step.process.pid}/fd")
    deadline = time.monotonic() + LIMIT_S
    while True:
        assert step.process.poll() is None, step.errors()
        assert time.monotonic() < deadline
        for link in descriptors.iterdir():
            try:
                found = link.readlink() == path
            except FileNotFoundError:
                continue  # closed meanwhile
            if found:
                step.send(signal.SIGSTOP)
                step.wait_until_stopped()
                said = Path(f"/proc/{step.process.pid}/fdinfo/{link.name}").read_text()
                return int(said.split()[1])


@pytest.mark.slow
@pytest.mark.fault(92, "stopped")
def test_written_to_while_it_is_copied(case: Case) -> None:
    """A row that is changed behind the size check, before the copy reaches it, refuses the batch: nothing is loaded."""
    case.send(Record(good(n, username=_LONG), partition=n % 2) for n in range(ROWS))
    run = OneRun(case)
    run.consume()
    assert run.staged is not None
    path = Path(run.staged.rows_path)
    size = path.stat().st_size
    last = path.read_bytes().rindex(b'"DE"')
    with started_step(run, "load") as step:
        assert _stop_while_it_reads(step, path) < last
        with path.open("r+b") as file:
            os.pwrite(file.fileno(), b'"FR"', last)
        assert path.stat().st_size == size
        step.send(signal.SIGCONT)
        assert step.finish() == 1
        assert "was changed: staged were" in step.errors()
    for table in (case.pipeline.table, "topicledger_batches"):
        assert count(case.place, table) == 0
    assert {at for (at,) in query(case.place, "SELECT position FROM topicledger_positions")} == {0}
    assert run.finish().loaded == ROWS
    case.oracle().require_every_record_once()
