"""Step 13: opening staged files so that what is loaded is what was staged, byte for byte."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import msgspec

from topicledger.errors import IntegrityError
from topicledger.model.identity import CONTRACT_VERSION
from topicledger.model.manifest import Manifest, StagedFile
from topicledger.staged_files.folder import is_staged_name
from topicledger.staged_files.root import ReadingPlace, StagingRoot, require_inside
from topicledger.staged_files.verifying import VerifyingReader

if TYPE_CHECKING:
    from topicledger.staged_files.parquet_stream import ParquetStream


@dataclass(frozen=True, slots=True)
class ManifestHandle:
    """What travels by XCom instead of the manifest: small, and enough to prove that the file is the one.

    Args:
        path: The manifest's path.
        sha256: Digest of its bytes.
        batch_id: The run.
        plan_id: The content.
    """

    path: str
    sha256: str
    batch_id: str
    plan_id: str


def received_handle(batch_id: str, rows_path: str | None, pushed: Mapping[str, str] | None) -> ManifestHandle:
    """Check what came by XCom before anything is opened.

    Args:
        batch_id: This run.
        rows_path: The path of the rows, as the consume task pushed it.
        pushed: The manifest's handle, as it pushed it.

    Raises:
        IntegrityError: It is missing, is another run's, or the two don't belong together.
    """
    try:
        handle = msgspec.convert(pushed, ManifestHandle)
    except msgspec.ValidationError as error:
        raise IntegrityError(
            f"the consume task's XCom `manifest` is missing or changed: {error}",
            code="manifest-xcom-missing",
            repeat="consume",
        ) from error
    stem = handle.path.removesuffix(".manifest.json")
    if handle.batch_id != batch_id or rows_path not in (f"{stem}.csv", f"{stem}.parquet"):
        raise IntegrityError(
            f"the consume task's XComs don't belong to this run: staging_file_path is {rows_path!r:.200}, the manifest "
            f"is {handle.path!r:.200} of batch {handle.batch_id!r:.40}, this is batch {batch_id}",
            code="xcoms-of-another-run",
            repeat="consume",
            batch_id=batch_id,
        )
    return handle


class OpenedPart(NamedTuple):
    """The files of one part, each hashed while it is read."""

    rows: BinaryIO
    dead_letters: BinaryIO
    tombstones: BinaryIO
    jumps: BinaryIO


@dataclass(frozen=True, slots=True)
class OpenedBatch:
    """A staged batch, opened once: the manifest verified, the files verified as they are read.

    Args:
        manifest: The manifest.
        parts: The files of each of its parts.
    """

    manifest: Manifest
    parts: Sequence[OpenedPart]

    def verify(self) -> None:
        """Verify every file after it was read.

        Raises:
            IntegrityError: One of them isn't what was staged.
        """
        for part in self.parts:
            for stream in part:
                cast("VerifyingReader | ParquetStream", stream).verify()


@contextmanager
def open_batch(root: StagingRoot, handle: ManifestHandle) -> Iterator[OpenedBatch]:
    """Open a staged batch for one load attempt.

    Raises:
        FileNotFoundError: One of its files is gone: the caller asks the ledger what that means.
        IntegrityError: A file isn't what was staged, or was staged by another version.
        SettingsError: The handle's path lies outside the root.
    """
    with ExitStack() as stack:
        place = stack.enter_context(root.reading())
        manifest = _read_manifest(root, place, handle)

        def opened(file: StagedFile) -> BinaryIO:
            if not is_staged_name(file.name) or not file.name.startswith(f"kafka_staging_{handle.batch_id}."):
                raise IntegrityError(
                    f"the manifest names {file.name!r}, which is no staged file",
                    code="manifest-names-unknown-file",
                    repeat="consume",
                )
            stream = _stream(VerifyingReader(place.open(file.name, "consume", file), file), file.name)
            stack.callback(stream.close)
            return cast("BinaryIO", stream)

        yield OpenedBatch(manifest, [OpenedPart(*map(opened, part.files)) for part in manifest.parts])


def _stream(reader: VerifyingReader, name: str) -> VerifyingReader | ParquetStream:
    if not name.endswith(".parquet"):
        return reader
    # Imported where it is used: ten megabytes, which CSV does without.
    from topicledger.staged_files.parquet_stream import ParquetStream

    return ParquetStream(reader, name)


def _read_manifest(root: StagingRoot, place: ReadingPlace, handle: ManifestHandle) -> Manifest:
    name = require_inside(root, handle.path, "consume")
    with io.FileIO(place.open(name, "consume"), "rb") as file:
        data = file.readall()
    if hashlib.sha256(data).hexdigest() != handle.sha256:
        raise IntegrityError(
            f"the manifest {name} was changed after it was staged: its sha256 is not {handle.sha256}",
            code="manifest-changed",
            repeat="consume",
        )
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            f"the manifest {name} can't be read by this version: {error}", code="manifest-unreadable", repeat="consume"
        ) from error
    if manifest.contract_version != CONTRACT_VERSION:
        raise IntegrityError(
            f"{name} was staged under contract version {manifest.contract_version}, this code has {CONTRACT_VERSION}: "
            "the code changed between two tasks of a run",
            code="contract-version-differs",
            repeat="consume",
        )
    if (manifest.batch_id, manifest.plan_id) != (handle.batch_id, handle.plan_id):
        raise IntegrityError(
            f"{name} is the manifest of batch {manifest.batch_id}, plan {manifest.plan_id}, not of {handle.batch_id}, "
            f"{handle.plan_id}",
            code="manifest-of-another-batch",
            repeat="consume",
        )
    return manifest
