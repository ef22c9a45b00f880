"""Staged CSV as Parquet files for Snowflake, and the COPY that reads them.

The CSV is parsed here, by what parses it for DuckDB too: Snowflake's own reader has options for quotes, escapes, line
ends and empty fields whose defaults change text, while a Parquet file has NULL and the empty string as they are.
Columns go by number, times as microseconds, dates and decimals as text: nothing rests on how Parquet's types are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from topicledger.columns import Column
from topicledger.disks import disk_failed
from topicledger.errors import IntegrityError
from topicledger.warehouse.sql.dialect import SNOWFLAKE
from topicledger.warehouse.sql.staged_batches import StagedBatches, not_parsed

PART_BYTES = 128 * 1024 * 1024
"""A file is closed and uploaded when it has grown to this size."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """One file that is ready to be uploaded."""

    path: Path
    records: int


def parts(stream: BinaryIO, columns: Sequence[Column], block_bytes: int, folder: Path) -> Iterator[Part]:
    """Read a staged file to its end and write it as Parquet, one file after another; none when it has no record.

    Raises:
        IntegrityError: The bytes don't parse.
        RetriableError: The disk is full or failing.
    """
    try:
        batches = (_prepared(batch, columns) for batch in StagedBatches(stream, columns, block_bytes).reader())
        filled = (batch for batch in batches if batch.num_rows)
        first = next(filled, None)
        number = 0
        while first is not None:
            number += 1
            path = folder / f"{number}.parquet"
            records = 0
            with path.open("wb") as file, parquet.ParquetWriter(file, first.schema, compression="snappy") as writer:
                while first is not None and (not records or file.tell() < PART_BYTES):
                    writer.write_batch(first)
                    records += first.num_rows
                    first = next(filled, None)
            yield Part(path, records)
    except pa.ArrowException as error:
        raise not_parsed(error, folder.name) from error
    except OSError as error:
        raise disk_failed(error, "writing Parquet files", folder, "nothing was changed", temporary=True) from error


def copy_into(table: str, columns: Sequence[Column], source: str) -> str:
    """The statement that copies the uploaded files into a temporary table with exactly these columns."""
    picked = ", ".join(_picked(f"$1:c{number}", column) for number, column in enumerate(columns))
    return f"COPY INTO {table} FROM (SELECT {picked} FROM {source}) FILE_FORMAT = (TYPE = PARQUET)"  # noqa: S608 - constants


def _picked(value: str, column: Column) -> str:
    if column.type == "timestamptz":
        return f"TO_TIMESTAMP_TZ(CAST({value} AS NUMBER(38,0)), 6)"
    if column.type == "date":
        return f"TO_DATE(CAST({value} AS VARCHAR), 'YYYY-MM-DD')"
    if column.type == "time":
        return f"TO_TIME(CAST({value} AS VARCHAR))"
    if column.type == "bytes":
        return f"TO_BINARY(SUBSTR(CAST({value} AS VARCHAR), 3), 'HEX')"
    if column.type == "json":
        return SNOWFLAKE.to_json.format(f"CAST({value} AS VARCHAR)")
    if column.type.startswith("decimal"):
        value = f"CAST({value} AS VARCHAR)"
    return f"CAST({value} AS {SNOWFLAKE.type_of(column.type)})"


def _prepared(batch: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    arrays = [_as_written(array, column) for array, column in zip(batch.columns, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=[f"c{number}" for number in range(len(arrays))])


def _as_written(array: pa.Array[Any], column: Column) -> pa.Array[Any]:
    if column.type == "timestamptz":
        return array.cast(pa.int64())
    if column.type in ("date", "time") or column.type.startswith("decimal"):
        return array.cast(pa.string())
    if column.type == "uuid":
        return _canonical(array, column.name)
    return array


def _canonical(array: pa.Array[Any], name: str) -> pa.Array[Any]:
    """UUIDs in lower case: Snowflake has them as text, where another spelling would be another key."""
    lower = pc.utf8_lower(array)
    wrong = [value for value in lower.to_pylist() if value is not None and not _UUID.match(value)]
    if wrong:
        raise IntegrityError(
            f"the staged column {name} has {wrong[0]!r:.50}, which is no UUID. Nothing was changed",
            code="staged-uuid-invalid",
            repeat="consume",
        )
    return lower
