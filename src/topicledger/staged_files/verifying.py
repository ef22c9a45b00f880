"""Step 13, one file: the bytes that are loaded are the bytes that are hashed."""

from __future__ import annotations

import hashlib
import io

from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.manifest import StagedFile


class VerifyingReader(io.RawIOBase):
    """Reads one staged file once, hashing what it gives. `verify` tells whether that was the staged file."""

    def __init__(self, fd: int, expected: StagedFile) -> None:
        super().__init__()
        self._file = io.FileIO(fd, "rb")
        self._expected = expected
        self._digest = hashlib.sha256()
        self._size = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any writable buffer
        """Fill the buffer, and hash what was put into it."""
        try:
            count = self._file.readinto(buffer) or 0
        except OSError as error:
            raise RetriableError(
                f"reading {self._expected.name}: {error.strerror} (errno {error.errno}): nothing was loaded; look at "
                "the file system",
                code="disk-failing",
            ) from error
        self._digest.update(memoryview(buffer)[:count])
        self._size += count
        return count

    def close(self) -> None:
        """Close the file; a repeat does nothing."""
        self._file.close()
        super().close()

    def verify(self) -> None:
        """Compare all that was read with what was staged.

        Raises:
            IntegrityError: The size or the digest differs.
        """
        while self.read(1 << 20):
            pass
        expected = self._expected
        if (self._size, self._digest.hexdigest()) != (expected.size_bytes, expected.sha256):
            raise IntegrityError(
                f"the staged file {expected.name} was changed: staged were {expected.size_bytes} bytes with sha256 "
                f"{expected.sha256}, read were {self._size} with {self._digest.hexdigest()}. Nothing was loaded. "
                "Find out who writes there",
                code="staged-file-changed",
                repeat="consume",
            )
