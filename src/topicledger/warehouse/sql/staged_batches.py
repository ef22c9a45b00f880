"""Staged files as Arrow batches: the bytes that are hashed are the bytes that are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv

from topicledger.columns import Column, staged_type
from topicledger.errors import IntegrityError
from topicledger.warehouse.contract import TypedStream

# Arrow reads up to 32 blocks ahead, and keeps what it made of them. Smaller ones take longer for each byte.
_SMALLEST_BLOCK_BYTES = 128 * 1024
_LARGEST_BLOCK_BYTES = 2**31 - 1


class StagedBatches:
    """The batches of one staged file, read as they are asked for. The first failure is kept in `failure`.

    A driver that pulls the batches would report a failure as its own, so the caller asks for it afterwards.

    Args:
        stream: The file; where it has types of its own it isn't parsed as CSV.
        columns: Its columns.
        block_bytes: Of CSV: no record is longer.

    Raises:
        IntegrityError: It has other columns, or isn't what was staged.
    """

    def __init__(self, stream: BinaryIO, columns: Sequence[Column], block_bytes: int) -> None:
        self.failure: Exception | None = None
        given: object = stream
        self._batches = (
            given.record_batches() if isinstance(given, TypedStream) else _parsed(stream, columns, block_bytes)
        )
        names = [column.name for column in columns]
        if self._batches.schema.names != names:
            raise IntegrityError(
                f"the staged file's header is {', '.join(self._batches.schema.names)}, expected {', '.join(names)}",
                code="staged-header-differs",
                repeat="consume",
            )

        self._schema = pa.schema([pa.field(column.name, staged_type(column.type)) for column in columns])

    def reader(self) -> pa.RecordBatchReader:
        """The batches, once; of the same types whatever the file's format."""
        return pa.RecordBatchReader.from_batches(self._schema, self._guarded())

    def _guarded(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                # A cast that changes nothing still takes as long as copying a block does.
                yield batch if batch.schema == self._schema else batch.cast(self._schema)
        except Exception as error:
            self.failure = error
            raise


def _parsed(stream: BinaryIO, columns: Sequence[Column], block_bytes: int) -> csv.CSVStreamingReader:
    return csv.open_csv(
        stream,
        # No record is longer than block_bytes; a block of twice that has a record's end in it.
        read_options=csv.ReadOptions(block_size=min(max(_SMALLEST_BLOCK_BYTES, 2 * block_bytes), _LARGEST_BLOCK_BYTES)),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={column.name: staged_type(column.type) for column in columns},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["true"],
            false_values=["false"],
        ),
        # Arrow's own keeps what a block took for its next one, on each thread: a tenth of what a load may take.
        memory_pool=pa.system_memory_pool(),
    )


def not_parsed(error: pa.ArrowException, table: str) -> IntegrityError:
    """Translate staged bytes that aren't the CSV they should be."""
    return IntegrityError(
        f"the staged file for {table} doesn't parse: {' '.join(str(error).split())[:500]}. Nothing was changed",
        code="staged-file-unparsable",
        repeat="consume",
    )
