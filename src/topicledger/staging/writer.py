"""Step 12: writing staged files so that a crash leaves nothing that looks whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from topicledger.crash_points import crash_point
from topicledger.model.manifest import Manifest, StagedFile
from topicledger.staging.folder import translated
from topicledger.staging.root import StagingRoot, path_in
from topicledger.staging.schemas import DEAD_LETTERS, JUMPS, TOMBSTONES, rows_schema

_HEADERLESS = pa_csv.WriteOptions(include_header=False, batch_size=16_384)


class StagedWriter:
    """Writes one file: first under a temporary name, then synced to disk and renamed.

    Args:
        folder_fd: The staging folder.
        name: The final name.
    """

    def __init__(self, folder_fd: int, name: str) -> None:
        self._folder_fd = folder_fd
        self.name = name
        self._part = f"{name}.part"
        self._digest = hashlib.sha256()
        self._size = self._records = self._block = 0
        with translated(f"creating {name}"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._part, flags, 0o600, dir_fd=folder_fd)

    def write(self, data: bytes | pa.Buffer, records: int = 0) -> None:
        """Append bytes that hold so many whole records.

        Raises:
            RetriableError: The disk is full or failing.
        """
        view = memoryview(data)
        self._digest.update(view)
        self._size += len(view)
        self._records += records
        self._block = max(self._block, len(view))
        with translated(f"writing {self.name}"):
            while view:
                view = view[os.write(self._fd, view) :]

    def finish(self) -> StagedFile:
        """Sync and rename; the file has its final name only when its bytes are on disk."""
        with translated(f"finishing {self.name}"):
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            crash_point("step-12.synced")
            os.rename(self._part, self.name, src_dir_fd=self._folder_fd, dst_dir_fd=self._folder_fd)
        return StagedFile(self.name, self._size, self._digest.hexdigest(), self._records, self._block)

    def discard(self) -> None:
        """Remove what was written so far, where the disk lets it; a repeat does nothing."""
        # A disk that refuses this too must not hide why the file is given up; the clean-up tries again.
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
        for name in (self._part, self.name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._folder_fd)


class CsvWriter:
    """Writes record batches of one schema as CSV: UTF-8, a header, text and times quoted, NULL unquoted and empty."""

    def __init__(self, file: StagedWriter, schema: pa.Schema) -> None:
        self._schema = schema
        self.file = file
        self.file.write((",".join(f'"{column}"' for column in schema.names) + "\n").encode())

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Append rows, given as one array per column of the schema."""
        batch = pa.RecordBatch.from_arrays([_written(column) for column in columns], names=self._schema.names)
        if batch.num_rows:
            sink = pa.BufferOutputStream()
            pa_csv.write_csv(batch, sink, _HEADERLESS)
            self.file.write(sink.getvalue(), batch.num_rows)


def _written(column: pa.Array[Any]) -> pa.Array[Any]:
    """Give times as text with a Z: Arrow's CSV writer looks the zone up for each value, twenty times the cost."""
    kind = column.type
    if not isinstance(kind, pa.TimestampType) or kind.tz is None:
        return column
    texts = column.cast(pa.timestamp(kind.unit)).cast(pa.string())
    written: pa.Array[Any] = pc.binary_join_element_wise(texts, "Z", "")  # type: ignore[call-overload] # knows no scalars
    return written


class StagedBatch:
    """The files of one attempt. Leaving the block before `finish` returned removes them.

    Args:
        root: The staging root.
        stem: The stem that the files share.
        columns: The pipeline's columns.
    """

    def __init__(self, root: StagingRoot, stem: str, columns: pa.Schema) -> None:
        self._root = root
        self._stem = stem
        self._stack = contextlib.ExitStack()
        self._place = self._stack.enter_context(root.writing())
        self._finished = False
        self._writers: list[StagedWriter] = []
        self._files: tuple[StagedFile, ...] = ()
        try:
            self.rows = self._csv("csv", rows_schema(columns))
            self.dead_letters = self._csv("dead_letters.csv", DEAD_LETTERS)
            self.tombstones = self._csv("tombstones.csv", TOMBSTONES)
            self.jumps = self._csv("jumps.csv", JUMPS)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def finish_files(self) -> tuple[StagedFile, StagedFile, StagedFile, StagedFile]:
        """Sync and rename the four files: rows, dead letters, tombstones, jumps."""
        rows, dead_letters, tombstones, jumps = (
            csv.file.finish() for csv in (self.rows, self.dead_letters, self.tombstones, self.jumps)
        )
        self._files = (rows, dead_letters, tombstones, jumps)
        return rows, dead_letters, tombstones, jumps

    def finish(self, manifest: Manifest) -> tuple[str, str]:
        """Write the manifest last, and publish it last: from then on the batch exists.

        Returns:
            The manifest's path and its sha256.
        """
        writer = StagedWriter(self._place.folder_fd, f"{self._stem}.manifest.json")
        self._writers.append(writer)
        writer.write(msgspec.json.encode(manifest))
        staged = writer.finish()
        self._place.publish((*self._files, staged))
        self._finished = True
        return path_in(self._root, staged.name), staged.sha256

    def _csv(self, suffix: str, schema: pa.Schema) -> CsvWriter:
        writer = StagedWriter(self._place.folder_fd, f"{self._stem}.{suffix}")
        # Known before its header is written, which a full disk may refuse already.
        self._writers.append(writer)
        return CsvWriter(writer, schema)

    def _close(self) -> None:
        with self._stack:
            if not self._finished:
                for writer in self._writers:
                    writer.discard()
                self._place.withdraw()
