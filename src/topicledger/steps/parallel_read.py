"""Steps 8, 9 and 11 over a whole plan: in this process, or in several, one for each slice, when the plan is worth it.

The staged files are written here, whoever reads, so their guarantees don't depend on how many there were; nor do
rows, dead letters and counts. Only the order of the rows may differ, as it does between two reads by one process.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import msgspec
import pyarrow as pa

from topicledger.errors import RetriableError
from topicledger.events.judge import Judge
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.plan import Plan, Receipt
from topicledger.model.slices import Reading, joined, offsets_to_read, sliced
from topicledger.pipeline import Pipeline
from topicledger.staged_files.schemas import TABLES, rows_schema
from topicledger.steps.read import read_slice
from topicledger.steps.slice_process import SliceJob
from topicledger.steps.stage import StagingSink, TableSink

log = logging.getLogger(__name__)

_WORTH_OFFSETS = 200_000
"""Fewer offsets a process are read faster than another process has started."""

_MOST = 4
"""More than these, and the one process that writes is what they wait for."""

_ENDING_S = 5.0

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from topicledger.steps.slice_process import main; main(int(sys.argv[1]))"
)


def read_plan(
    kafka: KafkaSettings, plan: Plan, group_id: str, receipt: Receipt | None, judge: Judge, sink: StagingSink
) -> Reading:
    """Read every record of a plan, judge it and give it to the sink.

    Args:
        kafka: The connection.
        plan: What to read.
        group_id: The run's own consumer group.
        receipt: What the run produced, when the plan contains all of it; its records are then counted.
        judge: The pipeline's judge.
        sink: Takes rows, dead letters, tombstones and jumps; always in this process and thread.

    Raises:
        RetriableError: Broker or disk fail, an offset went out of range, nothing came, or a process was killed.
        IntegrityError: The log was truncated below the ledger's position.
        SettingsError: A grant is missing, credentials are wrong, or the pipeline's clean-up fails.
    """
    jobs = _jobs(kafka, plan, group_id, receipt, judge.pipeline)
    if len(jobs) > 1:
        with _processes(jobs, plan.topic) as processes:
            if processes:
                return _gather(processes, judge, sink)
    return read_slice(kafka, plan, group_id, receipt, judge, sink)


def _jobs(
    kafka: KafkaSettings, plan: Plan, group_id: str, receipt: Receipt | None, pipeline: Pipeline
) -> Sequence[bytes]:
    """The jobs for as many processes as are worth it; none when they can't travel to another process."""
    offsets = offsets_to_read(plan.ranges)
    if pipeline.reading_processes is None:
        count = min(len(os.sched_getaffinity(0)), _MOST, offsets // _WORTH_OFFSETS)
    else:
        count = min(pipeline.reading_processes, offsets)
    if count < 2:
        return []
    plans = [msgspec.structs.replace(plan, ranges=ranges) for ranges in sliced(plan.ranges, count)]
    try:
        return [
            pickle.dumps(SliceJob(kafka, part, group_id, receipt, pipeline, log.getEffectiveLevel())) for part in plans
        ]
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        _say_alone(str(error))
        return []


def _say_alone(why: str) -> None:
    log.info(
        "reading in one process; for several, what the pipeline and the connection name must be importable: %s", why
    )


@dataclass(frozen=True, slots=True)
class _Process:
    """One reading process, and this end of its pipe."""

    topic: str
    pipe: Connection
    process: subprocess.Popen[bytes]

    def receive(self) -> tuple[str, Any]:
        """Its next message.

        Raises:
            RetriableError: It ended before it had said that it is done.
        """
        with self._alive():
            message: tuple[str, Any] = self.pipe.recv()
        return message

    def receive_bytes(self) -> bytes:
        """The bytes that follow a table's message."""
        with self._alive():
            return self.pipe.recv_bytes()

    def give(self, job: bytes) -> None:
        """Give it its job."""
        with self._alive():
            self.pipe.send_bytes(job)

    def begin(self) -> None:
        """Let it begin."""
        with self._alive():
            self.pipe.send("go")

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:  # whether it ended between two messages or within one
            raise self._ended() from error

    def _ended(self) -> RetriableError:
        try:
            code = self.process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:  # it can't say anything any more, so it isn't waited for
            self.process.kill()
            code = self.process.wait()
        return RetriableError(
            f"a process that read a slice of {self.topic} ended early, with exit code {code}; what it "
            "said last is in the log above. Nothing was staged. If it was killed (-9) for its "
            "memory, give the worker more, or set the pipeline's reading_processes to 1",
            topic=self.topic,
        )

    def end(self) -> None:
        """End it, whatever it does."""
        self.pipe.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def _processes(jobs: Sequence[bytes], topic: str) -> Iterator[Sequence[_Process]]:
    """Start a process for each job; none is left when the block ends. Empty: one of them couldn't load its job."""
    with ExitStack() as stack:
        processes = []
        for _ in jobs:
            processes.append(_started(topic))
            stack.callback(processes[-1].end)
        for process, job in zip(processes, jobs, strict=True):
            process.give(job)
        for process in processes:
            kind, why = process.receive()
            if kind == "unable":
                _say_alone(why)
                processes = []
                break
        for process in processes:
            process.begin()
        yield processes


def _started(topic: str) -> _Process:
    ours, theirs = Pipe()
    # Not by multiprocessing: it would run Airflow's own start-up in the new process, and refuses in a daemonic worker.
    with theirs:
        command = [sys.executable, "-c", _START, str(theirs.fileno()), json.dumps(sys.path)]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    return _Process(topic, ours, process)


def _gather(processes: Sequence[_Process], judge: Judge, sink: StagingSink) -> Reading:
    tables: dict[str, tuple[TableSink, pa.Schema]] = {
        "rows": (sink.rows, rows_schema(judge.columns)),
        "dead_letters": (sink.dead_letters, TABLES["dead_letters"]),
        "tombstones": (sink.tombstones, TABLES["tombstones"]),
        "jumps": (sink.jumps, TABLES["jumps"]),
    }
    log.info("reading in %d processes", len(processes))
    reading = {process.pipe: process for process in processes}
    readings = []
    while reading:
        for pipe in wait(list(reading)):
            process = reading[pipe]  # type: ignore[index] # of what was given to `wait`
            kind, value = process.receive()
            if kind == "table":
                table, schema = tables[value]
                table.write(pa.ipc.read_record_batch(pa.py_buffer(process.receive_bytes()), schema).columns)
            elif kind == "log":
                name, level, message = value
                logging.getLogger(name).log(level, "%s", message)
            elif kind == "failed":
                raise value
            else:
                readings.append(value)
                del reading[process.pipe]
    return joined(readings)
