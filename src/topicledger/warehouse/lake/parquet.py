"""Rows and dead letters as Parquet files, each named by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from topicledger.columns import Column, arrow_type
from topicledger.disks import temporary_disk
from topicledger.warehouse.lake.log_entry import DataFile

ROWS_PER_GROUP = 100_000
ROWS_PER_FILE = 20 * ROWS_PER_GROUP
_GROUP_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A data file that lies in a scratch folder, not yet in the store."""

    path: Path
    entry: DataFile


def schema(columns: Sequence[Column]) -> pa.Schema:
    """The files' schema: real types, and NULL only where it is allowed."""
    return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=c.nullable) for c in columns])


def write_files(
    batches: Iterable[pa.RecordBatch], columns: Sequence[Column], kind: str, folder: Path, *, empty: bool = False
) -> list[WrittenFile]:
    """Write all rows; once a file has `ROWS_PER_FILE` the next begins. The same batches give the same files and names.

    Args:
        batches: The rows, in a fixed order, in batches much smaller than a row group.
        columns: Their columns.
        kind: `rows` or `dead_letters`.
        folder: A scratch folder.
        empty: Whether a file is written when there is no row.

    Raises:
        RetriableError: The disk is full or failing.
    """
    wanted = schema(columns)
    written: list[WrittenFile] = []
    groups = _groups(batches, wanted)
    while True:
        path, records = folder / f"{kind}.{secrets.token_hex(8)}.parquet", 0
        with (
            temporary_disk(f"writing Parquet files of {kind}", "nothing was committed", folder),
            parquet.ParquetWriter(path, wanted, compression="zstd") as writer,
        ):
            for group in groups:
                writer.write_table(group, row_group_size=group.num_rows)
                records += group.num_rows
                if records >= ROWS_PER_FILE:
                    break
        if not records and (written or not empty):
            path.unlink()
            return written
        written.append(_named(path, kind))
        if not records:
            return written


def _groups(batches: Iterable[pa.RecordBatch], wanted: pa.Schema) -> Iterator[pa.Table]:
    """What becomes one row group each: `ROWS_PER_GROUP` rows, or fewer where they are wide."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch.cast(wanted))
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= ROWS_PER_GROUP or size >= _GROUP_BYTES:
            group, waiting, rows, size = pa.Table.from_batches(waiting), [], 0, 0
            yield group
    if rows:
        yield pa.Table.from_batches(waiting)


def _named(path: Path, kind: str) -> WrittenFile:
    """The file's entry, every number of it read from the file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    records = parquet.read_metadata(path).num_rows
    return WrittenFile(path, DataFile(kind, f"{digest}.parquet", records, path.stat().st_size))
