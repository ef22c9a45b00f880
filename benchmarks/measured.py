"""Runs one task in a process of its own, and watches how much memory it and its children take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.setting import Setting

_ROOT = Path(__file__).resolve().parents[1]
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Figure:
    """One measurement.

    Args:
        seconds: What the task itself measured.
        largest_mb: The most memory (RSS) that any one of its processes had.
        together_mb: The most that all of them had at the same time.
    """

    seconds: float
    largest_mb: float
    together_mb: float


def measured(
    task: str, setting: Setting, module: str = "benchmarks.tasks", python: Path | str = sys.executable
) -> Figure:
    """Run a task and measure it.

    Args:
        task: Its name.
        setting: What it is told.
        module: What runs it.
        python: The Python of the environment that it runs in.

    Raises:
        RuntimeError: It failed; the message has what it said.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(_ROOT / part) for part in ("", "src", "dags"))}
    process = subprocess.Popen(
        [str(python), "-m", module, task, setting.to_json()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=_ROOT,
    )
    memory = _Memory(process.pid)
    memory.start()
    said, complaint = process.communicate()
    memory.join()
    if process.returncode:
        raise RuntimeError(f"{task} failed:\n{complaint.decode()[-2_000:]}")
    return Figure(json.loads(said.splitlines()[-1]), memory.largest / 1e6, memory.together / 1e6)


class _Memory(threading.Thread):
    """Looks at a process and its descendants until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self.largest = self.together = 0

    def run(self) -> None:
        while self._process.is_running():
            sizes = [_size(process) for process in (self._process, *self._children())]
            self.largest = max(self.largest, *sizes)
            self.together = max(self.together, sum(sizes))
            self._ended.wait(_LOOK_EVERY_S)

    def _children(self) -> list[psutil.Process]:
        try:
            return self._process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def _size(process: psutil.Process) -> int:
    try:
        size: int = process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
    return size
