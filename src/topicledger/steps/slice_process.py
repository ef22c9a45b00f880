"""A process that reads one slice of a plan for the one that started it, `topicledger.steps.parallel_read`.

It gets its work through a pipe, and what it reads goes back through it: the same tables that one process alone
would stage, as Arrow batches. Log lines go back too, so that they end up in the task's log, masked like all others.
"""

from __future__ import annotations

import logging
import pickle
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from topicledger.errors import TopicLedgerError
from topicledger.events.judge import Judge
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.plan import Plan, Receipt
from topicledger.pipeline import Pipeline
from topicledger.staged_files.schemas import TABLES, rows_schema
from topicledger.steps.read import read_slice


@dataclass(frozen=True, slots=True)
class SliceJob:
    """What the process is to do: `topicledger.steps.read.read_slice`'s arguments, as far as they can travel."""

    kafka: KafkaSettings
    plan: Plan
    group_id: str
    receipt: Receipt | None
    pipeline: Pipeline
    log_level: int


class _Pipe:
    """The way back. Messages are (kind, value); a table's bytes follow its message."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # The client library logs from threads of its own.
        self._lock = threading.Lock()

    def send(self, kind: str, value: object = None, data: pa.Buffer | None = None) -> None:
        with self._lock:
            self._connection.send((kind, value))
            if data is not None:
                self._connection.send_bytes(memoryview(data))


class _Table:
    def __init__(self, pipe: _Pipe, name: str, schema: pa.Schema) -> None:
        self._pipe = pipe
        self._name = name
        self._schema = schema

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        batch = pa.RecordBatch.from_arrays(list(columns), schema=self._schema)
        self._pipe.send("table", self._name, batch.serialize())


class _PipeSink:
    """Implements `topicledger.steps.stage.StagingSink`: what is staged goes to the process that writes the files."""

    def __init__(self, pipe: _Pipe, columns: pa.Schema) -> None:
        self.rows = _Table(pipe, "rows", rows_schema(columns))
        self.dead_letters = _Table(pipe, "dead_letters", TABLES["dead_letters"])
        self.tombstones = _Table(pipe, "tombstones", TABLES["tombstones"])
        self.jumps = _Table(pipe, "jumps", TABLES["jumps"])


class _PipeLog(logging.Handler):
    def __init__(self, pipe: _Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.send("log", (record.name, record.levelno, self.format(record)))


def main(fd: int) -> None:
    """Serve the one slice that comes through the pipe `fd`, then end."""
    # An interrupt from the keyboard reaches the whole group: the starting process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(fd)
    pipe = _Pipe(connection)
    try:
        job: SliceJob = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the process that started this one
    except (ImportError, AttributeError) as error:
        pipe.send("unable", f"{type(error).__name__}: {error}")
        return
    pipe.send("ready")
    if connection.recv() != "go":
        return
    logging.basicConfig(level=job.log_level, handlers=[_PipeLog(pipe)], format="%(message)s")
    try:
        judge = Judge(job.pipeline)
        sink = _PipeSink(pipe, judge.columns)
        reading = read_slice(job.kafka, job.plan, job.group_id, job.receipt, judge, sink)
    except TopicLedgerError as error:
        pipe.send("failed", error)
    else:
        pipe.send("read", reading)
