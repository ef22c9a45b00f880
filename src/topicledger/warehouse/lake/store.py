"""What a log needs of the place where it lies: few operations, one of them conditional."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from topicledger.warehouse.contract import Audit


class Store(Protocol):
    """A bucket's prefix, or a folder. A key is a path below it, with slashes.

    Every driver's exception leaves it as one of ours: SettingsError for what a person fixes, RetriableError for what
    may pass.
    """

    @property
    def location(self) -> str:
        """Where it is, as DuckDB's readers take it: `s3://bucket/prefix` or an absolute path."""

    def read(self, key: str) -> bytes | None:
        """The whole object, or None when there is none."""

    def create(self, key: str, content: bytes) -> bool:
        """Create an object durably, only when there is none of that key.

        Returns:
            Whether it was created now; False when there is one already, which may be this very one: after a lost
            answer the driver asks again by itself.

        Raises:
            RetriableError: It is unknown whether it was created.
        """

    def upload(self, key: str, file: Path) -> None:
        """Put a file there, whole or not at all. The key names the content, so a repeat changes nothing."""

    def names(self, folder: str, after: str) -> list[str]:
        """The next names (up to `topicledger.s3.PAGE`) in a folder that come after a name, in ascending order."""

    def access(self, folders: Iterable[str]) -> Audit:
        """What keeps this user from writing into these folders; and what can't be told without writing, as a note."""

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Every name directly in a folder, with its size in bytes."""
