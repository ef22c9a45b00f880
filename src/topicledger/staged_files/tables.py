"""The two formats of a staged table: CSV, the default, and Parquet. Both take the same columns, and append only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from topicledger.model.manifest import StagedFile
from topicledger.staged_files.staged_file import StagedWriter

_HEADERLESS = pa_csv.WriteOptions(include_header=False, batch_size=16_384)
_WIDEST_NUMBER = 48
_GROUP_ROWS = 100_000
_GROUP_BYTES = 32 * 1024 * 1024


class TableWriter(Protocol):
    """Writes one staged table."""

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Append rows, given as one array per column of the schema.

        Raises:
            RetriableError: The disk is full or failing.
        """

    def finish(self) -> StagedFile:
        """Write what is left, sync and rename."""


class CsvWriter:
    """Writes record batches of one schema as CSV: UTF-8, a header, text and times quoted, NULL unquoted and empty."""

    def __init__(self, file: StagedWriter, schema: pa.Schema) -> None:
        self._schema = schema
        self.file = file
        self.file.write(csv_header(schema))

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Append rows, given as one array per column of the schema."""
        data = csv_lines(self._schema, columns)
        if data is not None:
            self.file.write(data, len(columns[0]), longest=sum(map(_widest, columns)))

    def finish(self) -> StagedFile:
        """Sync and rename."""
        return self.file.finish()


class ParquetWriter:
    """Writes record batches of one schema as Parquet, in row groups that fit into memory many times over."""

    def __init__(self, file: StagedWriter, schema: pa.Schema) -> None:
        self._schema = schema
        # Imported where it is used: ten megabytes, which CSV does without.
        from pyarrow import parquet

        self.file = file
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(cast("BinaryIO", self._sink), schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Append rows, given as one array per column of the schema."""
        batch = pa.RecordBatch.from_arrays(list(columns), schema=self._schema)
        if batch.num_rows:
            self._waiting.append(batch)
            self._rows += batch.num_rows
            self._bytes += batch.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def finish(self) -> StagedFile:
        """Write what is left and the footer, sync and rename."""
        self._flush()
        self._writer.close()
        self.file.write(self._sink.taken())
        return self.file.finish()

    def _flush(self) -> None:
        if self._waiting:
            group = pa.Table.from_batches(self._waiting)
            self._waiting, self._rows, self._bytes = [], 0, 0
            self._writer.write_table(group, row_group_size=group.num_rows)
            self.file.write(self._sink.taken(), group.num_rows)


class _Sink(io.RawIOBase):
    """What Arrow has written and the file hasn't: so that the file's errors never pass through Arrow."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._at += len(part)
        return len(part)

    def taken(self) -> bytes:
        """Everything since the last call."""
        data, self._parts = b"".join(self._parts), []
        return data


WRITERS: dict[str, type[CsvWriter | ParquetWriter]] = {"csv": CsvWriter, "parquet": ParquetWriter}
"""The formats, each also the end of its files' names."""


def csv_header(schema: pa.Schema) -> bytes:
    """The header line."""
    return (",".join(f'"{column}"' for column in schema.names) + "\n").encode()


def csv_lines(schema: pa.Schema, columns: Sequence[pa.Array[Any]]) -> pa.Buffer | None:
    """The lines of some rows, or None where there is none."""
    batch = pa.RecordBatch.from_arrays([_written(column) for column in columns], names=schema.names)
    if not batch.num_rows:
        return None
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(batch, sink, _HEADERLESS)
    return sink.getvalue()


def _widest(column: pa.Array[Any]) -> int:
    """A bound for the bytes that a value takes as CSV: each byte of a text may be a quote, which is doubled."""
    if not pa.types.is_string(column.type):
        return _WIDEST_NUMBER
    longest: int | None = pc.max(pc.binary_length(column)).as_py()  # type: ignore[call-overload] # knows only expressions
    return 2 * (longest or 0) + 3


def _written(column: pa.Array[Any]) -> pa.Array[Any]:
    """Give times as text with a Z: Arrow's CSV writer looks the zone up for each value, twenty times the cost."""
    kind = column.type
    if not isinstance(kind, pa.TimestampType) or kind.tz is None:
        return column
    texts = column.cast(pa.timestamp(kind.unit)).cast(pa.string())
    written: pa.Array[Any] = pc.binary_join_element_wise(texts, "Z", "")  # type: ignore[call-overload] # knows no scalars
    return written
