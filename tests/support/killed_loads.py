"""Loads of one staged batch into copies of one DuckDB file, each killed at another instant of its commit: a program.

Standard input says where the case is and how many times. A first load is left alone and timed; it tells how long a
load goes on after the file, or the log beside it, was first written to. Each later one is killed at the first write,
or within that time after it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.support.step_process import ordered
from tests.support.steps import OneRun

_Written = dict[str, tuple[int, int]]


def _written(folder: Path) -> _Written:
    """Size and time of the last change of each file."""
    return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder)}


def _start(run: OneRun, file: Path) -> int:
    """Load in a fork of this process, which has no connection open; return its process id."""
    forked = os.fork()
    if forked == 0:
        try:
            place = dataclasses.replace(run.case.place, host=str(file))
            dataclasses.replace(run, case=dataclasses.replace(run.case, place=place)).load()
        finally:
            os._exit(0)
    return forked


def _wait_for_first_write(folder: Path, before: _Written) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if _written(folder) != before:
                return
        except FileNotFoundError:  # the log, removed while it was looked at
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing was written in {folder}")


def killed(run: OneRun, file: Path, within_s: float | None) -> float:
    """Load into a file, killed within so many seconds after it was first written to; return how many it took."""
    before = _written(file.parent)
    process = _start(run, file)
    _wait_for_first_write(file.parent, before)
    first = time.monotonic()
    if within_s is not None:
        until = first + random.uniform(0, within_s)
        while time.monotonic() < until:
            pass
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return time.monotonic() - first


def main() -> None:
    """Print, for each killed load, whether it left a log beside the file."""
    orders = json.load(sys.stdin)
    run = ordered(orders)
    template, within_s, logs = Path(str(run.case.place.host)), 0.0, []
    for number in range(orders["times"] + 1):
        folder = Path(orders["folder"]) / str(number)
        folder.mkdir()
        file = folder / template.name
        shutil.copy(template, file)
        took_s = killed(run, file, 0.0 if number % 2 else within_s) if number else killed(run, file, None)
        within_s = within_s or took_s
        logs.append(file.with_name(f"{file.name}.wal").exists())
    json.dump(logs, sys.stdout)


if __name__ == "__main__":
    main()
