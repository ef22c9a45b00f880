"""A process that stages one slice of a plan for the one that started it, `topicledger.steps.parallel_read`.

Its work comes by stdin, and its one answer goes out by stdout. Each line of stderr is a log record as JSON, so that it
ends up in the task's log, masked like all others, or is what somebody else had to say.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import pickle
import signal
import sys
import threading

from topicledger.errors import TopicLedgerError
from topicledger.steps.read import Slice, stage_slice


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps([record.name, record.levelno, super().format(record)])


def main() -> None:
    """Stage the one slice that comes by stdin, answer, and end; or end with the process that started this one."""
    # An interrupt from the keyboard reaches the whole group: the starting process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as answer:
        # What code of the pipeline's own prints is no answer.
        os.dup2(2, 1)
        pickle.dump(_answer(), answer)


def _answer() -> tuple[str, object]:
    log_level, modules = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    try:
        for name, file in modules.items():
            _require_module(name, file)
        work: Slice = pickle.load(sys.stdin.buffer)  # noqa: S301 - likewise
    except Exception as error:  # noqa: BLE001 - whatever a module does that is imported a second time
        return "unable", f"{type(error).__name__}: {error}"
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    logging.basicConfig(level=log_level, format="%(message)s", force=True)
    logging.getLogger().handlers[0].setFormatter(_Line())
    try:
        return "staged", stage_slice(work)
    except TopicLedgerError as error:
        return "failed", error


def _require_module(name: str, file: str | None) -> None:
    """Import a module; one that no path leads to, as Airflow names a DAG file, from its file under the same name."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name or file is None:
            raise
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


def _end_with_the_other() -> None:
    os.read(0, 1)
    os._exit(1)
