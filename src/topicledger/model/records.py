"""A chunk of records as they were read: parallel lists, so that judging and staging work on many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topicledger.model.plan import OffsetRange

Headers = Sequence[tuple[str, bytes | None]]
"""Name and value of each, in order; bytes of a name that aren't UTF-8 are surrogate escapes in it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records inside the plan, in the order in which they were read; all lists have the same length.

    Args:
        partitions: Partition of each record.
        offsets: Offset of each record.
        timestamps_ms: Kafka's timestamp in milliseconds since 1970, or None when it has none.
        values: The value, or None for a tombstone.
        key: Gives the key of the record at an index; asked for dead letters, and where it is kept.
        headers: Gives its headers; asked for dead letters, and where it is kept.
        jumps: Intervals of the plan, found since the last chunk, in which there is no record.
    """

    partitions: Sequence[int]
    offsets: Sequence[int]
    timestamps_ms: Sequence[int | None]
    values: Sequence[bytes | None]
    key: Callable[[int], bytes | None]
    headers: Callable[[int], Headers]
    jumps: Sequence[OffsetRange]
