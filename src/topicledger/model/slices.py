"""A plan in slices for several readers, and what they found as one again: the same as if one had read it all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import msgspec

from topicledger.model.manifest import LeaderEpoch, StagedPart, StagedPartition
from topicledger.model.plan import OffsetRange, PlannedRange
from topicledger.model.tally import Tally

CHECKED_JUMPS = 1_000
"""How many jumps of a read are read again: the longest."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a plan, or a slice of one: of a slice it is its part of the manifest.

    Args:
        partitions: How every partition was read.
        jumps: The longest jumps in the offsets, longest first, `CHECKED_JUMPS` at most.
        jump_count: How many jumps there were.
        acked_seen: Records that carry the receipt's attempt; None: there was none to compare with.
        tally: What became of the records.
        parts: The staged files, once they are whole.
    """

    partitions: tuple[StagedPartition, ...]
    jumps: tuple[OffsetRange, ...]
    jump_count: int
    acked_seen: int | None
    tally: Tally
    parts: tuple[StagedPart, ...] = ()


def offsets_to_read(ranges: Iterable[PlannedRange]) -> int:
    """How many offsets a read of these ranges passes: accepted gaps are not read."""
    return sum(map(_to_read, ranges))


def sliced(ranges: Sequence[PlannedRange], count: int) -> list[tuple[PlannedRange, ...]]:
    """Cut a plan's ranges into slices with the same number of offsets, give or take one.

    A partition may lie in several slices. Only its first part has the ledger's leader epoch, which belongs to the
    ledger's position, and its accepted gap.

    Args:
        ranges: The plan's ranges, by partition.
        count: How many slices; at most as many as there are offsets to read.
    """
    total = offsets_to_read(ranges)
    ends = [total * (index + 1) // count for index in range(count)]
    slices: list[list[PlannedRange]] = [[] for _ in range(count)]
    passed = index = 0
    for planned in ranges:
        rest = planned
        while passed + _to_read(rest) > ends[index]:
            cut = rest.read_from + ends[index] - passed
            if cut > rest.read_from:
                slices[index].append(msgspec.structs.replace(rest, end=cut))
                rest = msgspec.structs.replace(rest, start=cut, read_from=cut, leader_epoch=None)
            passed = ends[index]
            index += 1
        slices[index].append(rest)
        passed += _to_read(rest)
    return [tuple(part) for part in slices]


def joined(readings: Sequence[Reading]) -> Reading:
    """Join the readings of all slices of one plan, in any order."""
    parts = sorted((part for reading in readings for part in reading.partitions), key=attrgetter("partition", "start"))
    jumps = sorted((jump for reading in readings for jump in reading.jumps), key=_longest_first)
    seen = [reading.acked_seen for reading in readings if reading.acked_seen is not None]
    return Reading(
        partitions=tuple(_partition(list(group)) for _, group in groupby(parts, key=attrgetter("partition"))),
        jumps=tuple(jumps[:CHECKED_JUMPS]),
        jump_count=sum(reading.jump_count for reading in readings),
        acked_seen=sum(seen) if seen else None,
        tally=Tally().join(reading.tally for reading in readings),
        parts=tuple(part for reading in readings for part in reading.parts),
    )


def _to_read(planned: PlannedRange) -> int:
    return max(0, planned.end - planned.read_from)


def _longest_first(jump: OffsetRange) -> tuple[int, int, int]:
    return (-jump.length, -jump.partition, -jump.start)


def _partition(parts: Sequence[StagedPartition]) -> StagedPartition:
    epochs: list[LeaderEpoch] = []
    for change in (change for part in parts for change in part.epochs):
        # Every part begins with the epoch of its first record, which needn't be a change.
        if not epochs or epochs[-1].epoch != change.epoch:
            epochs.append(change)
    return msgspec.structs.replace(
        parts[0],
        end=parts[-1].end,
        end_epoch=parts[-1].end_epoch,
        epochs=tuple(epochs),
        records=sum(part.records for part in parts),
        invisible=sum(part.invisible for part in parts),
    )
