"""The two places that files and log may lie in, by the connection's fields."""

from __future__ import annotations

from pathlib import Path

from topicledger.connection import Connection
from topicledger.errors import SettingsError
from topicledger.pipeline import Pipeline
from topicledger.warehouse.contract import Warehouse
from topicledger.warehouse.lake import scratch
from topicledger.warehouse.lake.folder_store import FolderStore
from topicledger.warehouse.lake.warehouse import Lake

_PATTERN = set("*?[]{}")


def s3_bucket(settings: Connection, pipeline: Pipeline) -> Warehouse:
    """The pipeline's files under a bucket's prefix. Nothing is asked of S3 yet.

    Raises:
        SettingsError: A field can't work.
    """
    from topicledger.warehouse.lake.s3_store import EXTRA, S3Store

    settings.require_known((*EXTRA, *scratch.EXTRA), "S3")
    return Lake(settings, S3Store(settings), pipeline)


def local_folder(settings: Connection, pipeline: Pipeline) -> Warehouse:
    """The pipeline's files in a folder of this machine, or of a file system that has hard links.

    Raises:
        SettingsError: A field can't work.
    """
    settings.require_known(("path", *scratch.EXTRA), "folder")
    path = Path(str(settings.extra.get("path") or "")).expanduser()
    if not path.is_absolute() or _PATTERN & set(str(path)):
        raise SettingsError(
            f"connection {settings.conn_id}: the path in its Extra is {str(path)!r}: use an absolute one without "
            'wildcards, such as {"path": "/data/lake"}',
            code="lake-path-invalid",
        )
    return Lake(settings, FolderStore(settings.conn_id, path), pipeline)
