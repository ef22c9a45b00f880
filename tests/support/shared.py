"""Parts that all processes of a test session share: whoever asks first starts one, the session's end stops it."""

from __future__ import annotations

import fcntl
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from devstack.broker import Broker
from devstack.postgres import Postgres
from devstack.registry import Registry
from devstack.service import kill_all, marked_processes

_Part = TypeVar("_Part", Broker, Postgres, Registry)


def shared_part(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], _Part]) -> _Part:
    """Give the session's only part of a kind, started by the first process that asks.

    Args:
        factory: The process's own folders.
        name: The part's name.
        make: Makes it, with the folder that it keeps everything in.
    """
    folder = _folder(factory.getbasetemp())
    folder.mkdir(exist_ok=True)
    folder /= name
    written = folder.with_suffix(".started")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if written.exists():
            part: _Part = pickle.loads(written.read_bytes())  # noqa: S301 - written below
            return part
        part = make(folder)
        try:
            part.start()
        except BaseException:
            part.stop()
            raise
        written.write_bytes(pickle.dumps(part))
        assert part.service is not None
        part.service.disown()
        return part


def stop_shared_parts(config: pytest.Config) -> None:
    """Stop all of them, with their data, and whatever a process left that was killed; when all else is done."""
    if hasattr(config, "workerinput"):
        return
    base = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # pytest has no public way
    for written in _folder(base).glob("*.started"):
        pickle.loads(written.read_bytes()).stop()  # noqa: S301 - written above
    kill_all(marked_processes(base))
    shutil.rmtree(_folder(base), ignore_errors=True)


def _folder(base: Path) -> Path:
    """One for all processes: those of pytest-xdist have their folders below that of the session."""
    return (base.parent if base.name.startswith("popen-") else base) / "shared"
