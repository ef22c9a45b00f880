"""Step 12: writing staged files so that a crash leaves nothing that looks whole."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa

from topicledger.model.manifest import Manifest, StagedFile
from topicledger.staged_files.root import StagingRoot, path_in
from topicledger.staged_files.schemas import DEAD_LETTERS, JUMPS, TOMBSTONES, rows_schema
from topicledger.staged_files.staged_file import StagedWriter
from topicledger.staged_files.tables import WRITERS, TableWriter


class StagedBatch:
    """The files of one attempt. Leaving the block before `finish` returned removes them.

    Args:
        root: The staging root.
        stem: The stem that the files share.
        columns: The pipeline's columns.
        staging_format: `csv` or `parquet`.
    """

    def __init__(self, root: StagingRoot, stem: str, columns: pa.Schema, staging_format: str = "csv") -> None:
        self._root = root
        self._stem = stem
        self._stack = contextlib.ExitStack()
        self._place = self._stack.enter_context(root.writing())
        self._finished = False
        self._writers: list[StagedWriter] = []
        self._files: tuple[StagedFile, ...] = ()
        try:
            self.rows = self._table(staging_format, rows_schema(columns))
            self.dead_letters = self._table(f"dead_letters.{staging_format}", DEAD_LETTERS)
            self.tombstones = self._table(f"tombstones.{staging_format}", TOMBSTONES)
            self.jumps = self._table(f"jumps.{staging_format}", JUMPS)
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
            table.finish() for table in (self.rows, self.dead_letters, self.tombstones, self.jumps)
        )
        self._files = (rows, dead_letters, tombstones, jumps)
        return rows, dead_letters, tombstones, jumps

    def finish(self, manifest: Manifest) -> tuple[str, str]:
        """Write the manifest last, and publish it last: from then on the batch exists.

        Returns:
            The manifest's path and its sha256.
        """
        writer = StagedWriter(self._place, f"{self._stem}.manifest.json")
        self._writers.append(writer)
        writer.write(msgspec.json.encode(manifest))
        staged = writer.finish()
        self._place.publish((*self._files, staged))
        self._finished = True
        return path_in(self._root, staged.name), staged.sha256

    def _table(self, suffix: str, schema: pa.Schema) -> TableWriter:
        writer = StagedWriter(self._place, f"{self._stem}.{suffix}")
        # Known before its header is written, which a full disk may refuse already.
        self._writers.append(writer)
        return WRITERS[suffix.rpartition(".")[2]](writer, schema)

    def _close(self) -> None:
        with self._stack:
            if not self._finished:
                for writer in self._writers:
                    writer.discard()
                self._place.withdraw()
