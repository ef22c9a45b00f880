"""One step of a run in a process of its own, so that a kill takes the step and nothing else.

`run_step` starts it; the process reads its orders from standard input and prints what it leaves for the next task.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.support.records import good
from tests.support.steps import Case, OneRun
from tests.support.topics import LIMIT_S, Topics, wait_for
from topicledger.connection import Connection
from topicledger.signups import SIGNUPS

RECORDS = 2_500
"""How many records the step `produce` sends."""

_FIRST_KNOWN = 900
_DECLARED = (
    "name",
    "topic",
    "key",
    "table",
    "staging_dir",
    "staging_format",
    "origin",
    "max_records",
    "transaction_wait_s",
)


def records(topics: Topics, topic: str) -> Iterator[tuple[bytes, bytes]]:
    """The batch of the step `produce`; it goes on behind the first part only when some of that is on the broker."""
    for number in range(RECORDS):
        if number == _FIRST_KNOWN:
            wait_for("the first records", lambda: sum(topics.ends(topic).values()) or None)
        yield str(number).encode(), good(number) if number % 50 else b"malformed %d" % number


@dataclass
class StepProcess:
    """One step in a process of its own.

    Args:
        run: The run; it gets what the step leaves for the next one.
        process: The process.
        answer: What it prints.
        said: Its errors.
    """

    run: OneRun
    process: subprocess.Popen[bytes]
    answer: IO[bytes]
    said: IO[bytes]

    def finish(self) -> int:
        """Wait for its end, and take over what it leaves; return the exit status, below 0 for a signal."""
        status = self.process.wait(2 * LIMIT_S)
        if status == 0:
            self.answer.seek(0)
            _take_over(self.run, json.load(self.answer))
        return status

    def errors(self) -> str:
        """The end of what it said on stderr."""
        # Not by seeking: the process writes on where the file it shares with us is at.
        return os.pread(self.said.fileno(), 1 << 20, 0).decode()[-3_000:]

    def wait_until_stopped(self) -> None:
        """Return when SIGSTOP has stopped it."""
        wait_for("the process to stop", lambda: True if self._state() == "T" else None)

    def send(self, sent: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(sent)

    def _state(self) -> str:
        assert self.process.poll() is None, self.errors()
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def started_step(
    run: OneRun,
    step: str,
    crash: tuple[Path, str] | None = None,
    sent: str = "SIGKILL",
    *,
    accept: Sequence[str] = (),
    within: Sequence[str] = (),
) -> Iterator[StepProcess]:
    """Start one step in a new process, which is gone when the block ends.

    Args:
        run: The run.
        step: produce, consume, load or reconcile.
        crash: A folder, and the point in it at which the process sends itself a signal.
        sent: That signal.
        accept: Losses that the step accepts.
        within: A command that starts the process, with its arguments.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if crash is not None:
        folder, point = crash
        (folder / point).write_text(sent)
        environment["TOPICLEDGER_CRASH_DIR"] = str(folder)
    with TemporaryFile() as given, TemporaryFile() as answer, TemporaryFile() as said:
        given.write(json.dumps({**orders_of(run, step), "accept": list(accept), "timed": sent == "SIGALRM"}).encode())
        given.seek(0)
        command = [*within, sys.executable, "-m", "tests.support.step_process"]
        with subprocess.Popen(command, stdin=given, stdout=answer, stderr=said, env=environment) as process:
            try:
                yield StepProcess(run, process, answer, said)
            finally:
                process.kill()


def run_step(
    run: OneRun, step: str, crash: tuple[Path, str] | None = None, sent: str = "SIGKILL", *, accept: Sequence[str] = ()
) -> bool:
    """Run one step in a new process, and take over what it leaves for the next.

    Args:
        run: The run; it gets the step's receipt, staged batch or ledger row.
        step: produce, consume, load or reconcile.
        crash: A folder, and the point in it at which the process sends itself a signal that ends it.
        sent: That signal.
        accept: Losses that the step accepts.

    Returns:
        Whether the step came to its end; False when the signal ended it.
    """
    with started_step(run, step, crash, sent, accept=accept) as started:
        status = started.finish()
        expected = 0 if crash is None else -signal.Signals[sent]
        assert status == expected, started.errors()
    return status == 0


def orders_of(run: OneRun, step: str) -> dict[str, Any]:
    """Give what the process reads."""
    pipeline = run.case.pipeline
    return {
        "step": step,
        "bootstrap": run.case.topics.bootstrap,
        "place": {**dataclasses.asdict(run.case.place), "extra": dict(run.case.place.extra)},
        "pipeline": {name: getattr(pipeline, name) for name in _DECLARED},
        "staging": run.case.staging and dataclasses.asdict(run.case.staging),
        "run": run.name,
        "left": _left(run),
    }


def _left(run: OneRun) -> str:
    return base64.b64encode(pickle.dumps((run.receipt, run.staged, run.row))).decode()


def _take_over(run: OneRun, left: str) -> None:
    run.receipt, run.staged, run.row = pickle.loads(base64.b64decode(left))  # noqa: S301 - written by `_left`


def ordered(orders: dict[str, Any]) -> OneRun:
    """Give the run that the process was told of."""
    pipeline = dataclasses.replace(SIGNUPS, **orders["pipeline"])
    staging = orders["staging"] and Connection(**orders["staging"])
    case = Case(Topics(orders["bootstrap"]), Connection(**orders["place"]), pipeline, staging=staging)
    run = OneRun(case, orders["run"])
    _take_over(run, orders["left"])
    return run


def _do(run: OneRun, step: str, accept: Sequence[str]) -> None:
    match step:
        case "produce":
            run.produce(records(run.case.topics, run.case.topic))
        case "consume":
            run.consume(accept)
        case "load":
            run.load()
        case "reconcile":
            run.reconcile()


def main() -> None:
    """Do what standard input orders; where SIGALRM may come, as Airflow does a task that has a time limit."""
    orders = json.load(sys.stdin)
    run = ordered(orders)
    if orders["timed"]:
        from airflow.sdk.execution_time.timeout import TimeoutPosix

        with TimeoutPosix(10 * LIMIT_S):  # type: ignore[no-untyped-call] # Airflow's
            _do(run, orders["step"], orders["accept"])
    else:
        _do(run, orders["step"], orders["accept"])
    json.dump(_left(run), sys.stdout)


if __name__ == "__main__":
    main()
