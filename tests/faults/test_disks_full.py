"""A full disk is named wherever it is met: the folder, what is free in it, and what to do; nothing bare leaves."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tests.support.empty_batch import stage_in
from tests.support.object_store import ObjectStore
from tests.support.small_disk import SmallDisk, small_disk
from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.errors import RetriableError
from topicledger.private_folder import private_folder
from topicledger.staged_files.opened_batch import open_batch
from topicledger.staged_files.root import LocalRoot
from topicledger.staged_files.s3_root import S3Root
from topicledger.warehouse.duckdb.errors import commit_failed, failed
from topicledger.warehouse.lake.folder_store import FolderStore
from topicledger.warehouse.lake.parquet import write_files
from topicledger.warehouse.snowflake.files import parts

LARGE = os.urandom(200_000).hex()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk with room for next to nothing."""
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", "size=64k,nr_inodes=100,mode=1777") as disk:
        yield disk


def stage(folder: Path) -> None:
    stage_in(LocalRoot(str(folder)), texts=(LARGE,))


def store(folder: Path) -> None:
    FolderStore("w", folder / "lake").create("log/1.json", LARGE.encode())


def write_parquet(folder: Path) -> None:
    columns = (Column("a", "text", nullable=False),)
    write_files([pa.RecordBatch.from_pydict({"a": [LARGE]})], columns, "rows", folder)


def make_private_folder(folder: Path) -> None:
    for number in range(os.statvfs(folder).f_favail):
        (folder / f"{number}").touch()
    with private_folder("topicledger_test_"):
        pass


def write_for_snowflake(folder: Path) -> None:
    columns = (Column("a", "text", nullable=False),)
    for _ in parts(io.BytesIO(f'"a"\n"{LARGE}"\n'.encode()), columns, 1 << 20, folder):
        pass


@pytest.mark.fault(68, "retried")
@pytest.mark.parametrize("fill", [stage, store, write_parquet, write_for_snowflake, make_private_folder])
def test_the_folder_is_named(disk: SmallDisk, fill: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Staging, files of a warehouse, a task's own folder: each names the folder and how much is free there."""
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    with pytest.raises(RetriableError, match=room(disk.folder)):
        fill(disk.folder)


@pytest.mark.fault(68, "retried")
def test_what_is_fetched_has_no_room(
    disk: SmallDisk, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A staged object that doesn't fit into the worker's temporary folder names that, not the bucket alone."""
    url, connection = object_store.staging()
    root = S3Root(url, connection)
    handle = stage_in(root, texts=(LARGE,))
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    with pytest.raises(RetriableError, match=rf"{room(disk.folder)}.*set TMPDIR"), open_batch(root, handle):
        pass


@pytest.mark.fault(68, "retried")
def test_what_duckdb_says_of_it(tmp_path: Path) -> None:
    """DuckDB's own words, for a statement as for a COMMIT, come with its folder and what is free there."""
    said = duckdb.IOException('Could not write file "ledger.duckdb.wal": No space left on device')
    settings, path = Connection("w", "duckdb"), tmp_path / "ledger.duckdb"
    for error in (failed(said, settings, path), commit_failed(said, settings, path)):
        assert isinstance(error, RetriableError)
        assert re.search(rf"[\d,]+ bytes( and [\d,]+ files)? are free in {re.escape(str(tmp_path))}", str(error))


def room(folder: Path) -> str:
    """How a message says what is free in a folder."""
    return rf"No space left.*\d bytes and [\d,]+ files are free in {re.escape(str(folder))}.*free space"
