"""A log's store in a local folder: a hard link is the conditional create, and nothing is visible before it is whole."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from topicledger.disks import FULL, disk_failed
from topicledger.errors import RetriableError, SettingsError, TopicLedgerError
from topicledger.s3 import PAGE
from topicledger.warehouse.contract import Audit
from topicledger.warehouse.writable import refusal

_PASSES = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE)


class FolderStore:
    """Implements `topicledger.warehouse.lake.store.Store`.

    Args:
        conn_id: The connection, for messages.
        path: An absolute path; created with the first object.
    """

    def __init__(self, conn_id: str, path: Path) -> None:
        self._conn_id = conn_id
        self._path = path

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return str(self._path)

    def read(self, key: str) -> bytes | None:
        """The whole file, or None when there is none."""
        with self._translated("reading", key):
            try:
                return (self._path / key).read_bytes()
            except FileNotFoundError:
                return None

    def create(self, key: str, content: bytes) -> bool:
        """Create a file durably, only when there is none of that name."""
        with self._translated("creating", key), self._written(key) as (file, link):
            file.write(content)
            return link()

    def upload(self, key: str, file: Path) -> None:
        """Copy a file there, whole or not at all."""
        with self._translated("writing", key), self._written(key) as (target, link), file.open("rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)
            link()

    def names(self, folder: str, after: str) -> list[str]:
        """The next names in a folder that come after a name, in ascending order."""
        with self._translated("listing", folder):
            try:
                return sorted(file.name for file in (self._path / folder).iterdir() if file.name > after)[:PAGE]
            except FileNotFoundError:
                return []

    def access(self, folders: Iterable[str]) -> Audit:
        """What keeps this user from writing into these folders, each thing once."""
        found = (refusal(path) for path in (self._path, *(self._path / folder for folder in folders)))
        return Audit(problems=tuple(dict.fromkeys(said for said in found if said)))

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Every name in a folder, with its size in bytes."""
        with self._translated("listing", folder), suppress(FileNotFoundError), os.scandir(self._path / folder) as found:
            for file in found:
                yield file.name, file.stat().st_size

    @contextmanager
    def _written(self, key: str) -> Iterator[tuple[BinaryIO, _Link]]:
        final = self._path / key
        _make_folder(final.parent)
        # A leading dot: no reader's pattern takes it, and a killed attempt's is counted with the orphans.
        hidden = final.parent / f".{secrets.token_hex(8)}.part"
        try:
            with hidden.open("xb") as file:
                yield file, _Link(file, hidden, final)
        finally:
            hidden.unlink(missing_ok=True)

    @contextmanager
    def _translated(self, doing: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(error, doing, key) from error

    def _failed(self, error: OSError, doing: str, key: str) -> TopicLedgerError:
        if error.errno in FULL:
            return disk_failed(error, f"connection {self._conn_id}: {doing} {key}", self._path, "nothing was changed")
        where = f"connection {self._conn_id}: {doing} {self._path / key}"
        if error.errno in _PASSES:
            return RetriableError(
                f"{where}: {error.strerror}. Nothing was changed; try again", code="warehouse-unavailable"
            )
        return SettingsError(
            f"{where}: {error.strerror}. Grant this user access, or set the path of a folder on a file system "
            "with hard links",
            code="lake-folder-refused",
        )


class _Link:
    """Gives a written file its name: durably, and only when nobody has it."""

    def __init__(self, file: BinaryIO, hidden: Path, final: Path) -> None:
        self._file = file
        self._hidden = hidden
        self._final = final

    def __call__(self) -> bool:
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            os.link(self._hidden, self._final)
        except FileExistsError:
            return False
        _sync_folder(self._final.parent)
        return True


def _make_folder(path: Path) -> None:
    if not path.exists():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
