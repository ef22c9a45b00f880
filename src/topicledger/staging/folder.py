"""The staging folder and its names: what may be written there, read from there and removed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from topicledger.errors import RetriableError, SettingsError

_NAME = re.compile(
    r"kafka_staging_[0-9a-f]{16}\.[0-9a-f]{16}\."
    r"(csv|dead_letters\.csv|tombstones\.csv|jumps\.csv|manifest\.json|receipt\.json)\Z"
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


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
    with translated(f"opening the staging folder {path}"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SettingsError(
                f"the staging folder {path} does not exist on this machine: create it, or set the "
                f"pipeline's staging_dir"
            ) from error
    info = os.fstat(fd)
    sticky = bool(info.st_mode & stat.S_ISVTX)
    private = info.st_uid == os.geteuid() and not info.st_mode & 0o077
    if not (sticky or private):
        os.close(fd)
        raise SettingsError(
            f"the staging folder {path} has mode {stat.S_IMODE(info.st_mode):04o}: others could exchange staged files. "
            f"Use a folder that is sticky (such as /tmp), or your own with `chmod 0700 {path}`"
        )
    return fd


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Let no OSError leave the block.

    Raises:
        RetriableError: The disk is full, read-only or failing: that may pass.
        SettingsError: Permission is missing.
    """
    try:
        yield
    except PermissionError as error:
        raise SettingsError(f"{doing}: {error.strerror}: grant this user access, or set another folder") from error
    except (FileNotFoundError, FileExistsError, NotADirectoryError):
        raise
    except OSError as error:
        hint = "free space or inodes on that disk" if error.errno in _FULL else "look at the file system"
        raise RetriableError(
            f"{doing}: {error.strerror or error} (errno {error.errno}): nothing was staged; {hint}"
        ) from error


def require_inside(folder: str, path: str, task: str = "consume_and_stage_data") -> str:
    """Give the bare name of a staged file that a path from outside names.

    Args:
        folder: The staging folder.
        path: The path.
        task: Which task handed it on: a person clears that one.

    Raises:
        SettingsError: The path isn't that of a staged file directly inside the folder.
    """
    name = Path(path).name
    if Path(path) != Path(folder) / name or not is_staged_name(name):
        raise SettingsError(
            f"{path!r} is not a staged file of {folder}: the handle that the task pushed was changed, or the "
            f"staging folder was set differently. Clear {task} (with downstream)"
        )
    return name
