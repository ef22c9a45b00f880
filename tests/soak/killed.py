"""A step in a process that may be killed: forked from a server without threads or clients, so it starts at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from tests.support.records import Record
from tests.support.steps import Case, OneRun
from tests.support.topics import LIMIT_S, Topics
from topicledger.connection import Connection
from topicledger.model.ledger import LedgerRow
from topicledger.model.plan import Receipt
from topicledger.pipeline import Pipeline
from topicledger.steps.consume import StagedResult

Left = tuple[Receipt | None, StagedResult | None, LedgerRow | None]
"""What a step leaves for the next."""


def killed_at(
    point: str, folder: Path, run: OneRun, step: str, records: list[Record], accept: tuple[str, ...]
) -> Left | None:
    """Run one step with one crash point armed.

    Args:
        point: The crash point.
        folder: An empty folder.
        run: The run.
        step: A method of the run.
        records: What the step `produce` produces.
        accept: What the step `consume` accepts.

    Returns:
        None when the process was killed there; else what the step left, since it didn't pass the point.
    """
    (folder / point).touch()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiving, sending = context.Pipe(duplex=False)
    case = run.case
    ground = (case.topics.bootstrap, case.place, case.pipeline)
    left: Left = (run.receipt, run.staged, run.row)
    pairs = [(record.key, record.value) for record in records]
    process = context.Process(target=_step, args=(sending, folder, ground, run.name, left, step, pairs, accept))
    process.start()
    sending.close()
    try:
        result: Left | None = receiving.recv() if receiving.poll(2 * LIMIT_S) else None
    except EOFError:
        result = None
    process.join(LIMIT_S)
    assert process.exitcode == (0 if result else -signal.SIGKILL), f"{step} ended with {process.exitcode}"
    process.close()
    (folder / point).unlink(missing_ok=True)
    return result


def _step(
    sending: Pipe,
    folder: Path,
    ground: tuple[str, Connection, Pipeline],
    name: str,
    left: Left,
    step: str,
    records: list[Any],
    accept: tuple[str, ...],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the soak, which lets its sequences end
    os.environ["TOPICLEDGER_CRASH_DIR"] = str(folder)
    bootstrap, place, pipeline = ground
    run = OneRun(Case(Topics(bootstrap), place, pipeline), name, *left)
    arguments = {"produce": (records,), "consume": (accept,)}.get(step, ())
    getattr(run, step)(*arguments)
    sending.send((run.receipt, run.staged, run.row))
