"""Steps 8, 9, 11 and 12 over a whole plan: in this process, or in several, one for each slice, when it is worth it.

Whoever stages a slice does the same and hands on the same, so neither the files' guarantees nor rows, dead letters and
counts depend on how many there were; only in how many parts the files are.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from selectors import EVENT_READ, DefaultSelector
from types import FunctionType
from typing import IO, Any

import msgspec

from topicledger.errors import RetriableError
from topicledger.model.manifest import StagedFile
from topicledger.model.slices import Reading, joined, offsets_to_read, sliced
from topicledger.staged_files.writer import read_part
from topicledger.steps.read import Slice, stage_slice

log = logging.getLogger(__name__)

_WORTH_OFFSETS = 200_000
"""Fewer offsets a process are read faster than another process has started."""

_MOST = 4
"""Each takes up to 300 MB: more of them only where the pipeline says so."""

_ENDING_S = 5.0

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from topicledger.steps.slice_process import main; main()"
)


def stage_plan(whole: Slice) -> Reading:
    """Stage a whole plan, and join the parts of the manifest.

    Args:
        whole: The plan as one slice.

    Raises:
        RetriableError: Broker or disk fail, an offset went out of range, nothing came, or a process was killed.
        IntegrityError: The log was truncated below the ledger's position.
        SettingsError: A grant is missing, credentials are wrong, or the pipeline's clean-up fails.
    """
    slices = _slices(whole)
    files = _staged_by_processes(slices) if len(slices) > 1 else []
    return joined([read_part(whole.root, file) for file in files or [stage_slice(whole)]])


def _slices(whole: Slice) -> Sequence[Slice]:
    """As many as are worth a process; the first one's files have the names that those of a single one would have."""
    offsets = offsets_to_read(whole.plan.ranges)
    if whole.pipeline.reading_processes is None:
        count = min(len(os.sched_getaffinity(0)), _MOST, offsets // _WORTH_OFFSETS)
    else:
        count = min(whole.pipeline.reading_processes, offsets)
    return [
        replace(
            whole,
            plan=msgspec.structs.replace(whole.plan, ranges=ranges),
            stem=whole.stem if number == 1 else f"{whole.stem}.{number}",
        )
        for number, ranges in enumerate(sliced(whole.plan.ranges, max(1, count)), start=1)
    ]


def _staged_by_processes(slices: Sequence[Slice]) -> Sequence[StagedFile]:
    """Have a process stage each slice; none is left afterwards. Nothing, when the work can't travel to another one."""
    try:
        orders = [_order(work) for work in slices]
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        return _alone(str(error))
    log.info("starting %d processes to read in", len(slices))
    staged: dict[int, StagedFile] = {}
    with ExitStack() as stack, DefaultSelector() as selector:
        processes = []
        for number, work in enumerate(slices):
            processes.append(_Process(work.plan.topic))
            stack.callback(processes[-1].end)
            selector.register(processes[-1].output, EVENT_READ, number)
        for process, order in zip(processes, orders, strict=True):
            process.give(order)
        while selector.get_map():
            for key, _ in selector.select():
                selector.unregister(key.fileobj)
                kind, value = processes[key.data].answer()
                if kind == "failed":
                    raise value
                if kind == "unable":
                    stack.close()
                    slices[0].root.remove(slices[0].stem)
                    return _alone(value)
                staged[key.data] = value
    return [staged[number] for number in sorted(staged)]


def _alone(why: str) -> Sequence[StagedFile]:
    log.info(
        "reading in one process; for several, what the pipeline and the connection name must be importable: %s", why
    )
    return []


class _Pickler(pickle.Pickler):
    """Notes the modules of all classes and functions, which travel by their names."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.modules: dict[str, str | None] = {}

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, type) and "made_by" in vars(value):
            return vars(value)["made_by"]  # what no module has is made there as it was here
        if isinstance(value, type | FunctionType):
            self.modules[value.__module__] = getattr(sys.modules.get(value.__module__), "__file__", None)
        return NotImplemented


def _order(work: Slice) -> bytes:
    """What the process gets: the path, the log's level and the modules that it has to have, then the work."""
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump(work)
    first = (log.getEffectiveLevel(), pickler.modules)
    return pickle.dumps(sys.path) + pickle.dumps(first) + pickled.getvalue()


class _Process:
    """One reading process, this end of it."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        # Not by multiprocessing: it would run Airflow's own start-up there, and refuses in a daemonic worker.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: S101, PT018 - for the type checker
        self._input, self.output = self._process.stdin, self._process.stdout
        self._relay = threading.Thread(target=_relay, args=(self._process.stderr,), daemon=True)
        self._relay.start()

    def give(self, order: bytes) -> None:
        """Give it its work.

        Raises:
            RetriableError: It has ended.
        """
        try:
            self._input.write(order)
            self._input.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def answer(self) -> tuple[str, Any]:
        """Its answer, once there is something to read.

        Raises:
            RetriableError: It ended without one.
        """
        try:
            answer: tuple[str, Any] = pickle.load(self.output)  # noqa: S301 - from the process that was started here
        except (EOFError, pickle.UnpicklingError) as error:  # whether it ended before or within
            raise self._ended() from error
        return answer

    def end(self) -> None:
        """End it, whatever it does, when what it has said is in the log."""
        self._process.kill()
        self._process.wait()
        # A process that it had started may still have the other end.
        self._relay.join(_ENDING_S)
        self.output.close()
        with suppress(BrokenPipeError):
            self._input.close()

    def _ended(self) -> RetriableError:
        try:
            code = self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:  # it can't say anything any more, so it isn't waited for
            self._process.kill()
            code = self._process.wait()
        return RetriableError(
            f"a process that read a slice of {self._topic} ended early, with exit code {code}; what it "
            "said last is in the log above. Nothing was staged. If it was killed (-9) for its "
            "memory, give the worker more, or set the pipeline's reading_processes to 1",
            code="reading-process-ended",
            topic=self._topic,
        )


def _relay(lines: IO[bytes]) -> None:
    with lines:
        for line in lines:
            try:
                name, level, text = msgspec.json.decode(line, type=tuple[str, int, str])
            except msgspec.MsgspecError:
                name, level, text = __name__, logging.WARNING, line.decode(errors="replace").rstrip()
            logging.getLogger(name).log(level, "%s", text)
