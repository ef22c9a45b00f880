"""A folder of one load, for files that nobody else may see. A killed load leaves it; a later one removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = "lock"


@contextmanager
def private_folder(name: str) -> Iterator[Path]:
    """A new folder that only this user may enter; it is gone when the block ends.

    Args:
        name: What its own name begins with; folders of the same beginning that killed loads left are removed first.
    """
    _sweep(name)
    folder = Path(tempfile.mkdtemp(prefix=name))
    lock = os.open(folder / "new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # It gets its name when it is locked: a sweep in between must not take the folder for a dead load's.
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / _LOCK)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(name: str) -> None:
    """Remove what killed loads of this user left: a folder whose lock nobody holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{name}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
