"""A log's store in an S3 bucket, or in whatever speaks S3 at an endpoint of its own. The only importer of boto3."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # ships no types
from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from topicledger.errors import RetriableError, SettingsError
from topicledger.forks import OpenedHere
from topicledger.warehouse.contract import Audit, WarehouseSettings
from topicledger.warehouse.log_store import PAGE
from topicledger.warehouse.s3_errors import code_of, failed

EXTRA = (
    "bucket",
    "prefix",
    "region_name",
    "endpoint_url",
    "aws_session_token",
    "profile_name",
    "role_arn",
    "assume_role_kwargs",
)
"""The keys of the connection's Extra for bucket and credentials; all but the first two are those of Airflow's own."""

_PREFIX = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*\Z")
_CONFLICTS = 5
"""How often a conditional create is asked again that S3 refused because another was under way (409)."""

_SESSION_NAME = "topicledger"


class S3Store:
    """Implements `topicledger.warehouse.log_store.Store`. Not shared between processes; threads may read with it.

    Args:
        settings: Login and password are the access key, or both are missing: then boto3 finds credentials as it
            does everywhere (environment, profile, the machine's role).

    Raises:
        SettingsError: A field can't work.
    """

    def __init__(self, settings: WarehouseSettings) -> None:
        self._conn_id = settings.conn_id
        self._bucket, self._prefix = _place(settings)
        try:
            with self._translated("connecting"):
                self._opened = OpenedHere(f"the client of {self.location}", _client(settings))
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

    def create(self, key: str, content: bytes) -> bool:
        """Create an object, only when there is none of that key (If-None-Match)."""
        with self._translated(f"creating {key}"):
            for left in reversed(range(_CONFLICTS)):
                try:
                    self._client.put_object(
                        Bucket=self._bucket,
                        Key=self._full(key),
                        Body=content,
                        ContentType="application/json",
                        IfNoneMatch="*",
                    )
                except ClientError as error:
                    if code_of(error) == "PreconditionFailed":
                        return False
                    if code_of(error) != "ConditionalRequestConflict" or not left:
                        raise
                    time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - so that two don't meet again
                else:
                    return True
        raise AssertionError("the last conflict is raised")

    def upload(self, key: str, file: Path) -> None:
        """Put a file there. A large one goes in parts, of which nothing is visible before all are there."""
        with self._translated(f"writing {key}"):
            self._client.upload_file(str(file), self._bucket, self._full(key))

    def names(self, folder: str, after: str) -> list[str]:
        """The next names in a folder that come after a name, in ascending order."""
        prefix = self._full(folder) + "/"
        with self._translated(f"listing {folder}"):
            found = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, StartAfter=prefix + after, MaxKeys=PAGE
            )
        return [str(item["Key"])[len(prefix) :] for item in found.get("Contents", ())]

    def access(self, folders: Iterable[str]) -> Audit:
        """See that listing is allowed. Where nothing lies yet, S3 tells who may write only when it is tried."""
        if any(self.names(folder, "") for folder in folders):
            return Audit()
        return Audit(notes=("whether this user may write there shows at the first run: S3 isn't asked by writing",))

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Every name in a folder, with its size in bytes."""
        prefix = self._full(folder) + "/"
        with self._translated(f"listing {folder}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    yield str(item["Key"])[len(prefix) :], int(item["Size"])

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise failed(error, f"connection {self._conn_id}, {self.location}: {doing}") from error
        except OSError as error:
            raise RetriableError(
                f"connection {self._conn_id}, {self.location}: {doing}: {error}. Nothing was changed; try again"
            ) from error


def _place(settings: WarehouseSettings) -> tuple[str, str]:
    bucket, prefix = str(settings.extra.get("bucket") or ""), str(settings.extra.get("prefix") or "").strip("/")
    if not bucket:
        raise SettingsError(
            f'connection {settings.conn_id}: its Extra names no bucket: add {{"bucket": "name", "prefix": "path"}}'
        )
    if prefix and not _PREFIX.match(prefix):
        raise SettingsError(
            f"connection {settings.conn_id}: the prefix {prefix!r} is not usable: use letters, digits, '.', '_', '=', "
            "'-' and single slashes"
        )
    return bucket, prefix


def _client(settings: WarehouseSettings) -> Any:
    extra = settings.extra
    session = boto3.Session(
        aws_access_key_id=settings.login,
        aws_secret_access_key=settings.password,
        aws_session_token=extra.get("aws_session_token"),
        region_name=extra.get("region_name"),
        profile_name=extra.get("profile_name"),
    )
    endpoint = extra.get("endpoint_url")
    if extra.get("role_arn"):
        session = _assumed(session, settings)
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        # A bucket's name as a part of the host's is an address that few but AWS resolve.
        s3={"addressing_style": "path"} if endpoint else None,
    )
    return session.client("s3", endpoint_url=endpoint, config=config)


def _assumed(session: Any, settings: WarehouseSettings) -> Any:
    """A session with the role's own credentials; they last for an hour, which is for one task."""
    extra = settings.extra
    # An endpoint of its own takes the role's request too: what isn't AWS has its tokens there.
    sts = session.client("sts", endpoint_url=extra.get("endpoint_url"))
    given = sts.assume_role(
        **{"RoleSessionName": _SESSION_NAME, **(extra.get("assume_role_kwargs") or {}), "RoleArn": extra["role_arn"]}
    )["Credentials"]
    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=extra.get("region_name"),
    )
