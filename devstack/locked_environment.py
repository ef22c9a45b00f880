"""Further Python environments, each made from a lock of its own when something needs it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from devstack.errors import StackError


def locked_environment(lock: Path, folder: Path) -> Path:
    """Gives an environment with exactly the packages of a lock, made anew when the lock has changed.

    Who asks at the same time waits until it is made.

    Args:
        lock: requirements with hashes.
        folder: where the environment is, or is to be.

    Returns:
        Its Python.

    Raises:
        StackError: it can't be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, stamp = folder / "bin" / "python", folder / "made-from"
    key = hashlib.sha256(f"{sys.version} {folder}".encode() + lock.read_bytes()).hexdigest()
    with folder.with_suffix(".lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != key:
            _uv("venv", "-q", "--clear", "--python", sys.executable, str(folder))
            _uv("pip", "sync", "-q", "--require-hashes", "--python", str(python), str(lock))
            stamp.write_text(key)
    return python


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("uv")), *arguments]
    variables = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(
            f"An environment can't be made by `{' '.join(command)}`:\n{done.stderr.strip()}",
            "The first use needs the network (a package index; proxies and mirrors set for uv apply).",
        )
