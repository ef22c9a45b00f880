"""A staged Parquet file on its way into a warehouse: as CSV, which every warehouse takes, or with its types."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa
from pyarrow import parquet

from topicledger.disks import temporary_disk
from topicledger.errors import IntegrityError
from topicledger.staged_files.tables import csv_header, csv_lines
from topicledger.staged_files.verifying import VerifyingReader

_BATCH_ROWS = 16_384


class ParquetStream(io.RawIOBase):
    """Reads one staged file once. Parquet is read here and there, so what is parsed is a copy of what was hashed.

    The copy has no name, so nobody else opens it; it is verified as a whole before any of it is parsed.

    Args:
        reader: The staged file.
        name: Its name, for messages.
    """

    def __init__(self, reader: VerifyingReader, name: str) -> None:
        super().__init__()
        self._reader = reader
        self._name = name
        self._stack = ExitStack()
        self._lines: Iterator[memoryview] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any writable buffer
        """Fill the buffer with CSV: the bytes that CSV staging would have had."""
        if self._lines is None:
            self._lines = self._as_csv()
        while not self._rest:
            line = next(self._lines, None)
            if line is None:
                return 0
            self._rest = line
        count = min(len(buffer), len(self._rest))
        memoryview(buffer).cast("B")[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def record_batches(self) -> pa.RecordBatchReader:
        """Its rows with their types, once, instead of reading it as CSV.

        Raises:
            IntegrityError: It isn't what was staged.
            RetriableError: The disk for the copy is full or failing.
        """
        file = self._opened()
        return pa.RecordBatchReader.from_batches(file.schema_arrow, self._batches(file))

    def verify(self) -> None:
        """Compare all that was read with what was staged.

        Raises:
            IntegrityError: The size or the digest differs.
        """
        self._reader.verify()

    def close(self) -> None:
        """Close the file and the copy; a repeat does nothing."""
        self._stack.close()
        self._reader.close()
        super().close()

    def _opened(self) -> parquet.ParquetFile:
        with temporary_disk(f"copying {self._name}", "nothing was loaded"):
            copy = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the stream
            shutil.copyfileobj(self._reader, copy, 1 << 20)
        self._reader.verify()
        copy.seek(0)
        try:
            return parquet.ParquetFile(copy)
        except pa.ArrowException as error:
            raise IntegrityError(
                f"the staged file {self._name} can't be read as Parquet here: {error}",
                code="staged-parquet-unreadable",
                repeat="consume",
            ) from error

    def _batches(self, file: parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group).to_batches(max_chunksize=_BATCH_ROWS)

    def _as_csv(self) -> Iterator[memoryview]:
        file = self._opened()
        yield memoryview(csv_header(file.schema_arrow))
        for batch in self._batches(file):
            lines = csv_lines(file.schema_arrow, batch.columns)
            if lines is not None:
                yield memoryview(lines).cast("B")
