"""Chooses the staging root by what the pipeline declares. A client of S3 is imported here, only when it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.staged_files.root import LocalRoot, StagingRoot

if TYPE_CHECKING:
    from topicledger.staged_files.s3_root import S3Root


def in_s3(staging_dir: str) -> bool:
    """Whether the declared root is in S3, and so needs a connection."""
    return staging_dir.startswith("s3://")


def open_root(staging_dir: str, connection: Connection | None) -> StagingRoot:
    """Give the root that the pipeline declares. Nothing is opened or asked yet.

    Args:
        staging_dir: A folder's absolute path, or `s3://bucket/prefix`.
        connection: Who asks S3; a folder needs none.

    Raises:
        SettingsError: As `s3_root`, where it is in S3.
    """
    return s3_root(staging_dir, connection) if in_s3(staging_dir) else LocalRoot(staging_dir)


def s3_root(staging_dir: str, connection: Connection | None) -> S3Root:
    """Give the root in a bucket. Nothing is asked of S3 yet.

    Raises:
        SettingsError: There is no connection for it, no client of S3, or the URL or a field can't work.
    """
    if connection is None:
        raise SettingsError(
            f"the staging root {staging_dir} needs its connection, which isn't defined: add it under Admin > "
            "Connections (type Amazon Web Services)",
            code="staging-connection-undefined",
        )
    try:
        from topicledger.staged_files.s3_root import S3Root
    except ImportError as error:
        raise SettingsError(
            f"the staging root {staging_dir} needs a client of S3, which can't be imported ({error}): "
            "pip install 'topicledger[s3]'",
            code="staging-client-missing",
        ) from error
    return S3Root(staging_dir, connection)
