"""A log's store in an S3 bucket."""

from __future__ import annotations

import re
from collections.abc import Iterable

from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.s3.bucket import Bucket
from topicledger.s3.client import EXTRA as S3_EXTRA
from topicledger.warehouse.contract import Audit

EXTRA = ("bucket", "prefix", *S3_EXTRA)
"""The keys of the connection's Extra for bucket and credentials; all but the first two are those of Airflow's own."""

_PREFIX = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*\Z")


class S3Store(Bucket):
    """Implements `topicledger.warehouse.lake.store.Store` below the prefix that the connection names.

    Args:
        settings: The connection.

    Raises:
        SettingsError: A field can't work.
    """

    def __init__(self, settings: Connection) -> None:
        super().__init__(settings, *_place(settings))

    def access(self, folders: Iterable[str]) -> Audit:
        """See that listing is allowed. Where nothing lies yet, S3 tells who may write only when it is tried."""
        if any(self.names(folder, "") for folder in folders):
            return Audit()
        return Audit(notes=("whether this user may write there shows at the first run: S3 isn't asked by writing",))


def _place(settings: Connection) -> tuple[str, str]:
    bucket, prefix = str(settings.extra.get("bucket") or ""), str(settings.extra.get("prefix") or "").strip("/")
    if not bucket:
        raise SettingsError(
            f'connection {settings.conn_id}: its Extra names no bucket: add {{"bucket": "name", "prefix": "path"}}',
            code="bucket-missing",
        )
    if prefix and not _PREFIX.match(prefix):
        raise SettingsError(
            f"connection {settings.conn_id}: the prefix {prefix!r} is not usable: use letters, digits, '.', '_', '=', "
            "'-' and single slashes",
            code="prefix-invalid",
        )
    return bucket, prefix
