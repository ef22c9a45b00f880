"""A folder of one task on this machine, for what is too large for memory. A kill leaves it, the next one removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from topicledger.disks import temporary_disk

_LOCK = "lock"


@contextmanager
def private_folder(name: str) -> Iterator[Path]:
    """A new folder that only this user may enter; it is gone when the block ends.

    It lies in the machine's temporary folder (`TMPDIR`). What killed processes of this user have left under the same
    name is removed first: a folder whose lock nobody holds any more.

    Args:
        name: How the folder's name begins; each use has one of its own.

    Raises:
        RetriableError: The disk is full or failing.
        SettingsError: This user may not write there.
    """
    _sweep(name)
    with temporary_disk("making a private folder", "nothing was done"):
        folder, lock = _made(name)
    try:
        # It gets its name when it is locked: a sweep in between must not take the folder for a dead task's.
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / _LOCK)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made(name: str) -> tuple[Path, int]:
    folder = Path(tempfile.mkdtemp(prefix=name))
    try:
        return folder, os.open(folder / "new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        folder.rmdir()
        raise


def _sweep(name: str) -> None:
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
