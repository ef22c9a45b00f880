"""Where staged files lie between two tasks: what such a root promises, and the local folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from topicledger.errors import Repeat, SettingsError, TopicLedgerError
from topicledger.model.manifest import StagedFile
from topicledger.staged_files.folder import is_staged_name, open_folder, open_staged, require_room, translated


@dataclass(frozen=True, slots=True)
class Access:
    """What a look at a root found, where nothing is wrong with it.

    Args:
        allowed: What this user may do there, as the end of a sentence that begins with the root.
        disk: The folder of this machine that files are written in.
        free_bytes: What is free on its disk.
        note: What can't be known here, or nothing.
    """

    allowed: str
    disk: str
    free_bytes: int
    note: str = ""


class WritingPlace(Protocol):
    """Where one attempt writes its files."""

    @property
    def folder_fd(self) -> int:
        """The folder on this machine that they are written in, each under its final name when it is whole."""

    @property
    def folder(self) -> str:
        """Its path, for messages."""

    def publish(self, files: Sequence[StagedFile]) -> None:
        """Make files durable for the next task, in this order: the last one exists only when all before it do.

        Raises:
            RetriableError: The place refuses for now.
            SettingsError: A grant or a setting is missing.
            IntegrityError: Something else lies under one of the names.
        """


class ReadingPlace(Protocol):
    """Where a later task opens staged files."""

    def open(self, name: str, repeat: Repeat, expected: StagedFile | None = None) -> int:
        """Open one file; what is read then can't be exchanged or changed by others of this machine.

        Args:
            name: A staged name.
            repeat: What wrote it.
            expected: What the manifest says of it, where it is known already.

        Returns:
            A file descriptor; the caller closes it.

        Raises:
            FileNotFoundError: It is gone.
            IntegrityError: Something else lies there.
            RetriableError: The place refuses for now.
        """


class StagingRoot(Protocol):
    """A folder, or a prefix in a bucket. Nothing outside of it is ever named, opened or removed."""

    @property
    def location(self) -> str:
        """The root as the pipeline declares it, without a slash at its end."""

    @property
    def missing(self) -> str:
        """Why a file that was staged may not be found here, as the end of a sentence."""

    def writing(self) -> AbstractContextManager[WritingPlace]:
        """Open the root for one attempt.

        Raises:
            SettingsError: It isn't usable.
            RetriableError: It refuses for now.
        """

    def reading(self) -> AbstractContextManager[ReadingPlace]:
        """Open the root for reading; it raises what `writing` does."""

    def remove(self, stem: str) -> None:
        """Remove every file with this stem, whole or not, as far as the place lets us: the attempt is given up.

        Nothing is raised, which would hide why it is; what is left the clean-up removes.
        """

    def access(self) -> Access:
        """Ask whether a run could stage there; nothing stays.

        Raises:
            SettingsError: It couldn't: a grant is missing, or the place isn't fit for it.
            RetriableError: It couldn't now.
        """


class LocalRoot:
    """Implements `StagingRoot` in a folder that all tasks of the pipeline share.

    Args:
        path: The folder: sticky, or 0700 and ours.
    """

    missing = "or this worker doesn't share the staging folder (staging_dir) with the one that"

    def __init__(self, path: str) -> None:
        self.location = path.rstrip("/") or "/"

    @contextmanager
    def writing(self) -> Iterator[WritingPlace]:
        """Open the folder."""
        with self._opened() as place:
            yield place

    @contextmanager
    def reading(self) -> Iterator[ReadingPlace]:
        """Open the folder."""
        with self._opened() as place:
            yield place

    def remove(self, stem: str) -> None:
        """Remove them from the folder."""
        with suppress(OSError, TopicLedgerError), self._opened() as place:
            for name in os.listdir(place.folder_fd):  # noqa: PTH208 - the folder that was opened
                if name.startswith(f"{stem}."):
                    with suppress(OSError):
                        os.unlink(name, dir_fd=place.folder_fd)

    def access(self) -> Access:
        """Ask the file system; nothing is written."""
        with self._opened() as place:
            free_bytes = require_room(place.folder_fd, self.location)
        note = f"{self.location} is a folder of this machine: right only where all tasks of a run share it, else use S3"
        return Access("may be written by this user", self.location, free_bytes, note)

    @contextmanager
    def _opened(self) -> Iterator[_LocalPlace]:
        folder_fd = open_folder(self.location)
        try:
            yield _LocalPlace(self.location, folder_fd)
        finally:
            os.close(folder_fd)


class _LocalPlace:
    """Implements `WritingPlace` and `ReadingPlace`: files are written where they are read."""

    def __init__(self, path: str, folder_fd: int) -> None:
        self.folder = path
        self.folder_fd = folder_fd

    def publish(self, files: Sequence[StagedFile]) -> None:
        """Sync the folder: they have their names already, the manifest last."""
        del files
        with translated("syncing the staging folder", self.folder):
            os.fsync(self.folder_fd)

    def open(self, name: str, repeat: Repeat, expected: StagedFile | None = None) -> int:
        """Open a regular file of ours that nothing else links to, following no symbolic link."""
        del expected  # compared when all of it is read
        return open_staged(self.folder_fd, self.folder, name, repeat)


def path_in(root: StagingRoot, name: str) -> str:
    """The path by which tasks hand a staged file on."""
    return f"{root.location.rstrip('/')}/{name}"


def require_inside(root: StagingRoot, path: str, repeat: Repeat = "consume") -> str:
    """Give the bare name of a staged file that a path from outside names.

    Args:
        root: The staging root.
        path: The path.
        repeat: What handed it on.

    Raises:
        SettingsError: The path isn't that of a staged file directly inside the root.
    """
    name = Path(path).name
    if path != path_in(root, name) or not is_staged_name(name):
        raise SettingsError(
            f"{path!r} is not a staged file of {root.location}: the handle that the task pushed was changed, or the "
            "staging folder was set differently",
            code="staged-path-foreign",
            repeat=repeat,
        )
    return name
