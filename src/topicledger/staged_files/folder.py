"""The staging folder and its names: what may be written there and read from there."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator

from topicledger.disks import disk_failed
from topicledger.errors import IntegrityError, Repeat, RetriableError, SettingsError

_NAME = re.compile(
    r"kafka_staging_[0-9a-f]{16}\.[0-9a-f]{16}\."
    r"(([2-9]|[1-9][0-9]+)\.)?"  # the number of the part, but the first one's
    r"(((dead_letters|tombstones|jumps)\.)?(csv|parquet)|part\.json|manifest\.json|receipt\.json)\Z"
)


def stem(batch_id: str) -> str:
    """A new stem for the files of one attempt: no two attempts ever share a file."""
    return f"kafka_staging_{batch_id}.{secrets.token_hex(8)}"


def is_staged_name(name: str) -> bool:
    """Whether `name` is a name that this module gives; nothing else is ever opened or removed."""
    return _NAME.match(name) is not None


def open_folder(path: str) -> int:
    """Open the staging folder, so that all files are reached through it and not by a path.

    Returns:
        A file descriptor of the folder; the caller closes it.

    Raises:
        SettingsError: The folder doesn't exist, or others could exchange files in it.
        RetriableError: The file system refuses for now.
    """
    with translated("opening the staging folder", path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SettingsError(
                f"the staging folder {path} does not exist on this machine: create it, or set the "
                f"pipeline's staging_dir",
                code="staging-folder-missing",
            ) from error
    info = os.fstat(fd)
    sticky = bool(info.st_mode & stat.S_ISVTX)
    private = info.st_uid == os.geteuid() and not info.st_mode & 0o077
    if not (sticky or private):
        os.close(fd)
        raise SettingsError(
            f"the staging folder {path} has mode {stat.S_IMODE(info.st_mode):04o}: others could exchange staged files. "
            f"Use a folder that is sticky (such as /tmp), or your own with `chmod 0700 {path}`",
            code="staging-folder-unsafe",
        )
    return fd


def require_room(folder_fd: int, path: str) -> int:
    """Ask whether this user may create files in a folder, and whether its disk has room for any; none is created.

    Args:
        folder_fd: The folder.
        path: Its path, for messages.

    Returns:
        How many bytes are free.

    Raises:
        SettingsError: This user may not write there.
        RetriableError: Nothing is free.
    """
    with translated("looking at the room", path):
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder_fd):
            raise SettingsError(
                f"this user may not write into the folder {path}, or its file system is read-only: grant it, or set "
                "another one",
                code="staging-folder-not-writable",
            )
        disk = os.fstatvfs(folder_fd)
    free_bytes, files = disk.f_bavail * disk.f_frsize, disk.f_favail
    # A file system without a fixed number of files says 0 of 0.
    if not free_bytes or (disk.f_files and not files):
        raise RetriableError(
            f"the disk of the folder {path} is full, with {free_bytes} bytes and {files} files left: nothing can be "
            "staged there; free space or inodes on it",
            code="staging-disk-full",
        )
    return free_bytes


@contextlib.contextmanager
def translated(doing: str, folder: str) -> Iterator[None]:
    """Let no OSError leave the block but those that say that something is there, or isn't.

    Raises:
        RetriableError: The disk is full, read-only or failing: that may pass.
        SettingsError: Permission is missing.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError):
        raise
    except OSError as error:
        raise disk_failed(error, doing, folder, "nothing was staged") from error


def open_staged(folder_fd: int, path: str, name: str, repeat: Repeat) -> int:
    """Open a regular file of ours that nothing else links to, following no symbolic link.

    Args:
        folder_fd: The staging folder.
        path: Its path, for messages.
        name: The file.
        repeat: What wrote it.

    Raises:
        FileNotFoundError: It is gone.
        IntegrityError: Something else lies there.
    """
    with translated(f"opening {name}", path):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder_fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise IntegrityError(
                f"{name} can't be opened as a staged file: {error.strerror}",
                code="staged-file-unopenable",
                repeat=repeat,
            ) from error
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1 or info.st_uid != os.geteuid():
        os.close(fd)
        raise IntegrityError(
            f"{name} is not a regular file of this user with one name (uid {info.st_uid}, links {info.st_nlink}): "
            "somebody exchanged it",
            code="staged-file-exchanged",
            repeat=repeat,
        )
    return fd
