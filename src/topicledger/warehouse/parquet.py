"""Rows and dead letters as Parquet files, each named by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from topicledger.warehouse.dialect import StoredType
from topicledger.warehouse.log_entry import DataFile
from topicledger.warehouse.staged_batches import STAGED_ARROW
from topicledger.warehouse.tables import StoredColumn

ROWS_PER_GROUP = 100_000
ROWS_PER_FILE = 20 * ROWS_PER_GROUP

# A UUID is text: Parquet's own type for it isn't read everywhere. Headers are JSON as text.
ARROW: dict[StoredType, pa.DataType] = {**STAGED_ARROW, "bytes": pa.binary(), "json": pa.string()}


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A data file that lies in a scratch folder, not yet in the store."""

    path: Path
    entry: DataFile


def schema(columns: Sequence[StoredColumn]) -> pa.Schema:
    """The files' schema: real types, and NULL only where it is allowed."""
    return pa.schema([pa.field(c.name, ARROW[c.type], nullable=c.nullable) for c in columns])


def write_files(
    reader: pa.RecordBatchReader, columns: Sequence[StoredColumn], kind: str, folder: Path, *, empty: bool = False
) -> list[WrittenFile]:
    """Write all rows, at most `ROWS_PER_FILE` into one file. The same rows give the same files, so the same names.

    Args:
        reader: The rows, in batches of `ROWS_PER_GROUP`, in a fixed order.
        columns: Their columns.
        kind: `rows` or `dead_letters`.
        folder: A scratch folder.
        empty: Whether a file is written when there is no row.
    """
    wanted = schema(columns)
    written: list[WrittenFile] = []
    batches = iter(reader)
    while True:
        path, records = folder / f"{kind}.{secrets.token_hex(8)}.parquet", 0
        with parquet.ParquetWriter(path, wanted, compression="zstd") as writer:
            for batch in batches:
                if batch.num_rows:
                    writer.write_table(pa.Table.from_batches([batch]).cast(wanted), row_group_size=ROWS_PER_GROUP)
                    records += batch.num_rows
                if records >= ROWS_PER_FILE:
                    break
        if not records and (written or not empty):
            path.unlink()
            return written
        written.append(_named(path, kind))
        if not records:
            return written


def _named(path: Path, kind: str) -> WrittenFile:
    """The file's entry, every number of it read from the file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    records = parquet.read_metadata(path).num_rows
    return WrittenFile(path, DataFile(kind, f"{digest}.parquet", records, path.stat().st_size))
