"""A disk of this machine that refuses: in which folder, what is free there, and what a person does about it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topicledger.errors import RetriableError, SettingsError, TopicLedgerError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def free_in(folder: Path | str) -> str:
    """What is free in a folder, as a clause; only the folder's name where even that can't be asked."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return f"the folder is {folder}"
    # A file system without a fixed number of files says 0 of 0.
    files = f" and {disk.f_favail:,} files" if disk.f_files else ""
    return f"{disk.f_bavail * disk.f_frsize:,} bytes{files} are free in {folder}"


def disk_failed(
    error: OSError, doing: str, folder: Path | str, lost: str, *, temporary: bool = False
) -> TopicLedgerError:
    """Translate what a file system refused.

    Args:
        error: The system's.
        doing: What was being done.
        folder: Where.
        lost: What didn't happen.
        temporary: Whether that is in the machine's temporary folder, which may be another one.
    """
    where = f"{doing} in {folder}: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return SettingsError(f"{where}: grant this user access, or set another folder", code="folder-denied")
    other = ", or set TMPDIR" if temporary else ""
    if error.errno not in FULL:
        return RetriableError(
            f"{where} (errno {error.errno}): {lost}; look at the file system{other}", code="disk-failing"
        )
    return RetriableError(
        f"{where} (errno {error.errno}), {free_in(folder)}: {lost}; free space or inodes on that disk{other}",
        code="disk-full",
    )


@contextmanager
def temporary_disk(doing: str, lost: str, folder: Path | None = None) -> Iterator[None]:
    """Let no OSError of the machine's temporary folder leave the block.

    Args:
        doing: What is being done.
        lost: What doesn't happen when the disk refuses.
        folder: A folder in it, if not itself.

    Raises:
        RetriableError: The disk is full, read-only or failing: that may pass.
        SettingsError: Permission is missing.
    """
    try:
        yield
    except OSError as error:
        raise disk_failed(error, doing, folder or tempfile.gettempdir(), lost, temporary=True) from error
