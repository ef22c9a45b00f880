"""A staging root in S3: the tasks of a run share nothing but the bucket.

Files are written in a private folder of this machine, exactly as a local root's are, and sent when they are whole.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from topicledger.connection import Connection
from topicledger.disks import temporary_disk
from topicledger.errors import IntegrityError, Repeat, SettingsError, TopicLedgerError
from topicledger.model.manifest import StagedFile
from topicledger.private_folder import private_folder
from topicledger.s3.bucket import Bucket
from topicledger.s3.client import EXTRA
from topicledger.staged_files.folder import is_staged_name, open_folder, require_room
from topicledger.staged_files.root import Access, ReadingPlace, WritingPlace

log = logging.getLogger(__name__)

_FOLDER = "topicledger_staging_"
_ASKED = "kafka_staging_check."
"""How the empty object is called by which S3 is asked: grants that are given by staged names hold for it, too."""
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._=-]+)*)/?\Z")
_OF_A_WAREHOUSE = ("bucket", "prefix", "memory_limit")
"""Keys that are of no use here, and don't disturb: one connection may serve warehouse and staging."""

_BATCH_ID = re.compile(r"[0-9a-f]{16}\Z")


class S3Root:
    """Implements `topicledger.staged_files.root.StagingRoot` below a prefix of a bucket.

    Args:
        url: `s3://bucket/prefix`.
        connection: Who asks, and where.

    Raises:
        SettingsError: The URL or a field of the connection can't work.
    """

    missing = "or staging_dir isn't what it was in the task that"

    def __init__(self, url: str, connection: Connection) -> None:
        found = _URL.match(url)
        if found is None:
            raise SettingsError(
                f"the staging root {url!r} is not usable: use s3://bucket/prefix with letters, digits, '.', '_', '=', "
                "'-' and single slashes",
                code="staging-root-invalid",
            )
        _require_usable(connection)
        self._connection = connection
        self._bucket = Bucket(connection, found[1], found[2].strip("/"))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.location, self._connection))

    @property
    def location(self) -> str:
        """`s3://bucket/prefix`."""
        return self._bucket.location

    @contextmanager
    def writing(self) -> Iterator[WritingPlace]:
        """Ask whether the bucket is there, then open a private folder to write in."""
        next(self._bucket.keys("kafka_staging_"), None)
        with private_folder(_FOLDER) as folder:
            folder_fd = open_folder(str(folder))
            try:
                yield _Written(self._bucket, str(folder), folder_fd)
            finally:
                os.close(folder_fd)

    @contextmanager
    def reading(self) -> Iterator[ReadingPlace]:
        """Open nothing yet: each file is fetched when it is opened."""
        yield _Fetched(self._bucket)

    def access(self) -> Access:
        """Ask S3 by an empty object that is removed again: it tells who may write only when it is tried."""
        disk = tempfile.gettempdir()
        with self.writing() as place:
            free_bytes = require_room(place.folder_fd, disk)
        self._ask(f"{_ASKED}{secrets.token_hex(8)}")
        return Access("may be listed, written, read and removed from, and refuses to overwrite", disk, free_bytes)

    def _ask(self, name: str) -> None:
        # Nothing is there yet: what this user may not remove is not put in the first place.
        self._bucket.remove(name)
        try:
            self._bucket.create(name, b"")
            if self._bucket.create(name, b""):
                raise SettingsError(
                    f"{self.location} ignores If-None-Match, so a staged file could be overwritten: use a store that "
                    "supports conditional writes",
                    code="conditional-writes-missing",
                )
            self._bucket.read(name)
        finally:
            self._bucket.remove(name)

    def remove(self, stem: str) -> None:
        """Remove them from the bucket; what isn't whole is in none."""
        try:
            self._removed(stem)
        except TopicLedgerError as error:
            log.warning("files of an attempt that was given up are left for the clean-up: %s", error)

    def clean_up(self, batch_id: str) -> list[str]:
        """Remove every staged file of a run, of all its attempts, and nothing else. A repeat removes nothing.

        Args:
            batch_id: The run.

        Returns:
            The names that were removed.

        Raises:
            SettingsError: That is no batch id, or a grant is missing.
            RetriableError: S3 refuses for now.
        """
        if not _BATCH_ID.match(batch_id):
            raise SettingsError(
                f"{batch_id!r:.99} is no batch id: give its 16 hexadecimal digits; nothing was removed",
                code="batch-id-invalid",
            )
        return self._removed(f"kafka_staging_{batch_id}")

    def _removed(self, stem: str) -> list[str]:
        names = [name for name in self._bucket.keys(f"{stem}.") if is_staged_name(name)]
        for name in names:
            self._bucket.remove(name)
        return names


def _require_usable(connection: Connection) -> None:
    if connection.conn_type != "aws":
        raise SettingsError(
            f"connection {connection.conn_id} is of type {connection.conn_type!r}, staging in S3 takes 'aws': correct "
            "it, or name another one",
            code="staging-connection-type",
        )
    connection.require_known((*EXTRA, *_OF_A_WAREHOUSE), "staging")


class _Written:
    """Implements `topicledger.staged_files.root.WritingPlace`."""

    def __init__(self, bucket: Bucket, folder: str, folder_fd: int) -> None:
        self._bucket = bucket
        self.folder = folder
        self.folder_fd = folder_fd

    def publish(self, files: Sequence[StagedFile]) -> None:
        """Send the files, one after the other: the manifest is the last, and each is whole or not there."""
        for file in files:
            if not self._bucket.create_file(file.name, Path(self.folder) / file.name, file.sha256):
                raise IntegrityError(
                    f"{self._bucket.location}/{file.name} is there already with other bytes: nothing was staged. "
                    "Find out who writes there",
                    code="staged-name-taken",
                    repeat="step",
                )


class _Fetched:
    """Implements `topicledger.staged_files.root.ReadingPlace`: what is loaded is a copy that has no name."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def open(self, name: str, repeat: Repeat, expected: StagedFile | None = None) -> int:
        """Fetch a file into one without a name, which goes with its last descriptor."""
        where, size = f"{self._bucket.location}/{name}", self._bucket.size(name)
        if size is not None and expected is not None and size != expected.size_bytes:
            raise IntegrityError(
                f"the staged file {where} was changed: staged were {expected.size_bytes} bytes, there are {size}. "
                "Nothing was loaded. Find out who writes there",
                code="staged-file-changed",
                repeat=repeat,
            )
        if size is None:
            raise _gone(where)
        with temporary_disk(f"fetching {where}", "nothing was loaded"), tempfile.TemporaryFile() as file:
            found = self._bucket.download(name, file)
            file.seek(0)
            descriptor = os.dup(file.fileno())
        if not found:
            os.close(descriptor)
            raise _gone(where)
        return descriptor


def _gone(where: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)
