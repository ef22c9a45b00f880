"""Step 12: writing staged files so that a crash leaves nothing that looks whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa

from topicledger.crash_points import crash_point
from topicledger.errors import RetriableError
from topicledger.model.manifest import Manifest, StagedFile, StagedPart
from topicledger.model.slices import Reading
from topicledger.staged_files.opened_batch import ManifestHandle
from topicledger.staged_files.root import StagingRoot, path_in
from topicledger.staged_files.schemas import DEAD_LETTERS, JUMPS, TOMBSTONES, rows_schema
from topicledger.staged_files.staged_file import StagedWriter, write_document
from topicledger.staged_files.tables import WRITERS, TableWriter
from topicledger.staged_files.verifying import VerifyingReader


class PartWriter:
    """Writes the files of one part. They are there for others only through what `finish` gives.

    What a failure leaves of them is removed with the attempt, see `removed_unless_whole`.

    Args:
        root: The staging root.
        stem: The stem that the files share.
        columns: The pipeline's columns.
        staging_format: `csv` or `parquet`.
    """

    def __init__(self, root: StagingRoot, stem: str, columns: pa.Schema, staging_format: str = "csv") -> None:
        self._stem = stem
        with ExitStack() as stack:
            self._place = stack.enter_context(root.writing())

            def table(suffix: str, schema: pa.Schema) -> TableWriter:
                writer = stack.enter_context(closing(StagedWriter(self._place, f"{stem}.{suffix}")))
                return WRITERS[staging_format](writer, schema)

            self.rows = table(staging_format, rows_schema(columns))
            self.dead_letters = table(f"dead_letters.{staging_format}", DEAD_LETTERS)
            self.tombstones = table(f"tombstones.{staging_format}", TOMBSTONES)
            self.jumps = table(f"jumps.{staging_format}", JUMPS)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def finish(self, reading: Reading) -> StagedFile:
        """Sync and rename the four files, then write this part of the manifest and publish it, as the last.

        Returns:
            The file with the part of the manifest, for `read_part`: all that has to be handed on.
        """
        part = StagedPart(*(table.finish() for table in (self.rows, self.dead_letters, self.tombstones, self.jumps)))
        crash_point("step-12.files_renamed")
        document = write_document(self._place, f"{self._stem}.part.json", replace(reading, parts=(part,)))
        self._place.publish((*part.files, document))
        return document


def read_part(root: StagingRoot, file: StagedFile) -> Reading:
    """Read a part of the manifest that `PartWriter.finish` has handed on.

    Raises:
        RetriableError: It is gone.
        IntegrityError: It isn't what was handed on.
    """
    try:
        with root.reading() as place, VerifyingReader(place.open(file.name, "consume", file), file) as reader:
            data = reader.readall()
            reader.verify()
    except FileNotFoundError as error:
        raise RetriableError(
            f"the staged file {path_in(root, file.name)} is gone while its batch is being staged: somebody cleaned the "
            "run up, and nothing was staged",
            code="staged-file-gone-while-staging",
        ) from error
    # Of JSON's types only the tally's counter is none.
    return msgspec.json.decode(data, type=Reading, dec_hook=lambda kind, value: kind(value))


def stage_manifest(root: StagingRoot, stem: str, manifest: Manifest) -> ManifestHandle:
    """Write the manifest, once all of its parts are there: from then on the batch exists."""
    staged = stage_document(root, f"{stem}.manifest.json", manifest)
    return ManifestHandle(path_in(root, staged.name), staged.sha256, manifest.batch_id, manifest.plan_id)


def stage_document(root: StagingRoot, name: str, document: object) -> StagedFile:
    """Write a value as a JSON file of its own, and publish it."""
    with root.writing() as place:
        staged = write_document(place, name, document)
        place.publish((staged,))
    return staged


@contextmanager
def removed_unless_whole(root: StagingRoot, stem: str) -> Iterator[None]:
    """Remove every file of an attempt when the block fails, whoever wrote it."""
    try:
        yield
    except BaseException:
        root.remove(stem)
        raise
