"""Step 12, one file: it has its name only when its bytes are on disk."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing, suppress

import msgspec
import pyarrow as pa

from topicledger.crash_points import crash_point
from topicledger.model.manifest import StagedFile
from topicledger.staged_files.folder import translated
from topicledger.staged_files.root import WritingPlace


class StagedWriter:
    """Writes one file: first under a temporary name, then synced to disk and renamed.

    Args:
        place: Where it is written.
        name: The final name.
    """

    def __init__(self, place: WritingPlace, name: str) -> None:
        self._folder_fd, self._folder = place.folder_fd, place.folder
        self.name = name
        self._part = f"{name}.part"
        self._digest = hashlib.sha256()
        self._size = self._records = self._longest = 0
        with translated(f"creating {name}", self._folder):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._part, flags, 0o600, dir_fd=self._folder_fd)

    def write(self, data: bytes | pa.Buffer, records: int = 0, longest: int | None = None) -> None:
        """Append bytes that hold so many whole records.

        Args:
            data: The bytes.
            records: How many records they hold.
            longest: No record of them has more bytes; None: nothing is known but their size.

        Raises:
            RetriableError: The disk is full or failing.
        """
        view = memoryview(data)
        self._digest.update(view)
        self._size += len(view)
        self._records += records
        self._longest = max(self._longest, len(view) if longest is None else longest)
        with translated(f"writing {self.name}", self._folder):
            while view:
                view = view[os.write(self._fd, view) :]

    def finish(self) -> StagedFile:
        """Sync and rename; the file has its final name only when its bytes are on disk."""
        with translated(f"finishing {self.name}", self._folder):
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            crash_point("step-12.synced")
            os.rename(self._part, self.name, src_dir_fd=self._folder_fd, dst_dir_fd=self._folder_fd)
        return StagedFile(self.name, self._size, self._digest.hexdigest(), self._records, self._longest)

    def close(self) -> None:
        """Close the file, whole or not; a repeat does nothing."""
        # A disk that refuses this too must not hide why the file is given up.
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def write_document(place: WritingPlace, name: str, document: object) -> StagedFile:
    """Write a value as a JSON file, as a `StagedWriter` does."""
    with closing(StagedWriter(place, name)) as writer:
        writer.write(msgspec.json.encode(document))
        return writer.finish()
