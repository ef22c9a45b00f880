"""What is kept below a prefix of a bucket, in S3 or in whatever speaks S3 at an endpoint of its own."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from boto3.exceptions import Boto3Error  # type: ignore[import-untyped] # ships no types
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from topicledger.connection import Connection
from topicledger.disks import FULL, disk_failed
from topicledger.errors import RetriableError
from topicledger.opened_here import OpenedHere
from topicledger.s3 import PAGE
from topicledger.s3.client import make_client
from topicledger.s3.errors import code_of, failed
from topicledger.s3.upload import put_file

_CONFLICTS = 5
"""How often a conditional create is asked again that S3 refused because another was under way (409)."""

_DIGEST = "sha256"
"""The metadata by which a file's writer knows it again."""


class Bucket:
    """A prefix of a bucket; a key is a path below it. Not shared between processes; threads may read with it.

    Every driver's exception leaves it as one of ours: SettingsError for what a person fixes, RetriableError for what
    may pass, IntegrityError for an answer that S3 shouldn't give.

    Args:
        connection: Who asks, and where.
        bucket: The bucket's name.
        prefix: The prefix, without slashes at its ends; empty for the bucket's root.

    Raises:
        SettingsError: A field can't work.
    """

    def __init__(self, connection: Connection, bucket: str, prefix: str) -> None:
        self._conn_id = connection.conn_id
        self._bucket, self._prefix = bucket, prefix
        try:
            with self._translated("connecting"):
                self._opened = OpenedHere(f"the client of {self.location}", make_client(connection))
        except ValueError as error:
            # boto3 checks the endpoint's form by itself, and says so with its value.
            raise failed(error, f"connection {self._conn_id}, {self.location}") from error

    @property
    def _client(self) -> Any:
        return self._opened.get()

    @property
    def location(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self, key: str) -> bytes | None:
        """The whole object, or None when there is none."""
        with self._translated(f"reading {key}"):
            try:
                content: bytes = self._client.get_object(Bucket=self._bucket, Key=self._full(key))["Body"].read()
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
        return content

    def download(self, key: str, file: BinaryIO) -> bool:
        """Write an object's bytes into a file; False when there is none of that key."""
        with self._translated(f"reading {key}"):
            try:
                self._client.download_fileobj(self._bucket, self._full(key), file)
            except ClientError as error:
                if code_of(error) in ("NoSuchKey", "404"):
                    return False
                raise
        return True

    def size(self, key: str) -> int | None:
        """An object's size in bytes, or None when there is none of that key."""
        found = self._head(key)
        return None if found is None else int(found["ContentLength"])

    def create(self, key: str, content: bytes) -> bool:
        """Create an object, only when there is none of that key (If-None-Match)."""
        with self._translated(f"creating {key}"):
            return self._unless_there(
                lambda: self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._full(key),
                    Body=content,
                    ContentType="application/json",
                    IfNoneMatch="*",
                )
            )

    def create_file(self, key: str, file: Path, sha256: str) -> bool:
        """Create an object of a file's bytes, only when there is none of that key. A large one goes in parts.

        Returns:
            Whether it is there with these bytes, by the digest that its writer gave: after a lost answer S3 was
            asked again, and refused what it had carried out.

        Raises:
            RetriableError: It is unknown whether it was created.
        """
        with self._translated(f"creating {key}"):
            if self._unless_there(
                lambda: put_file(self._client, self._bucket, self._full(key), file, {_DIGEST: sha256})
            ):
                return True
        found = self._head(key)
        if found is None:
            raise RetriableError(
                f"connection {self._conn_id}, {self.location}: creating {key} was refused, and it isn't there. "
                "Nothing was changed; try again",
                code="s3-object-vanished",
            )
        return bool(found["Metadata"].get(_DIGEST) == sha256 and found["ContentLength"] == file.stat().st_size)

    def upload(self, key: str, file: Path) -> None:
        """Put a file there. A large one goes in parts, of which nothing is visible before all are there."""
        with self._translated(f"writing {key}"):
            self._client.upload_file(str(file), self._bucket, self._full(key))

    def remove(self, key: str) -> None:
        """Remove an object; where there is none, do nothing."""
        with self._translated(f"removing {key}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._full(key))

    def names(self, folder: str, after: str) -> list[str]:
        """The next up to `PAGE` names in a folder that come after a name, in ascending order."""
        prefix = self._full(folder) + "/"
        with self._translated(f"listing {folder}"):
            found = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, StartAfter=prefix + after, MaxKeys=PAGE
            )
        return [str(item["Key"])[len(prefix) :] for item in found.get("Contents", ())]

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Every name in a folder, with its size in bytes."""
        prefix = self._full(folder) + "/"
        with self._translated(f"listing {folder}"):
            for item in self._listed(prefix):
                yield str(item["Key"])[len(prefix) :], int(item["Size"])

    def keys(self, beginning: str) -> Iterator[str]:
        """Every key that begins so."""
        with self._translated(f"listing {beginning}"):
            for item in self._listed(self._full(beginning)):
                yield str(item["Key"]).removeprefix(self._full(""))

    def _listed(self, prefix: str) -> Iterator[dict[str, Any]]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            yield from page.get("Contents", ())

    def _head(self, key: str) -> dict[str, Any] | None:
        with self._translated(f"looking at {key}"):
            try:
                found: dict[str, Any] = self._client.head_object(Bucket=self._bucket, Key=self._full(key))
            except ClientError as error:
                # An answer to HEAD has no body, so no code but the status.
                if code_of(error) in ("NoSuchKey", "404"):
                    return None
                raise
        return found

    def _unless_there(self, put: Callable[[], object]) -> bool:
        for left in reversed(range(_CONFLICTS)):
            try:
                put()
            except ClientError as error:
                # An upload in parts that isn't there any more may be one that was carried out, its answer lost.
                if code_of(error) in ("PreconditionFailed", "NoSuchUpload"):
                    return False
                if code_of(error) != "ConditionalRequestConflict" or not left:
                    raise
                time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - so that two don't meet again
            else:
                return True
        raise AssertionError("the last conflict is raised")

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise failed(error, f"connection {self._conn_id}, {self.location}: {doing}") from error
        except OSError as error:
            if error.errno in FULL:  # of what is fetched: only that is written here
                raise disk_failed(error, doing, tempfile.gettempdir(), "nothing was loaded", temporary=True) from error
            raise RetriableError(
                f"connection {self._conn_id}, {self.location}: {doing}: {error}. Nothing was changed; try again",
                code="s3-local-disk-failing",
            ) from error
