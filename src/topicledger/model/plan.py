"""Ranges, positions, receipts and plans: what is to be read, and from where. All ranges are half-open."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from topicledger.model import identity


class OffsetRange(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Offsets [start, end) of one partition; stored as [partition, start, end].

    In the ledger's `applied` an accepted truncation is stored with start > end: its length is negative.
    """

    partition: int
    start: int
    end: int

    @property
    def length(self) -> int:
        """Number of offsets; negative for an accepted truncation."""
        return self.end - self.start

    def clipped_to(self, other: OffsetRange) -> OffsetRange:
        """Return the part of this range that lies in `other`; empty ranges keep start == end."""
        start = min(max(self.start, other.start), other.end)
        return OffsetRange(self.partition, start, max(start, min(self.end, other.end)))

    def __str__(self) -> str:
        return f"partition {self.partition} [{self.start}, {self.end})"


class Receipt(msgspec.Struct, frozen=True):
    """What a run produced: the proof that its own batch is on the topic.

    Args:
        topic: The topic.
        topic_id: Kafka's id of the topic while producing.
        attempt: The random name of this attempt, the value of the header `topicledger-attempt`.
        acked: How many records the broker acknowledged.
        ranges: High watermarks before and after, per partition: every record of the attempt lies inside.
    """

    topic: str
    topic_id: str
    attempt: str
    acked: int
    ranges: tuple[OffsetRange, ...]

    def inside(self, planned: Iterable[OffsetRange]) -> bool:
        """Whether every record that this receipt stands for lies inside the planned ranges."""
        by_partition = {r.partition: r for r in planned}
        return all(
            r.partition in by_partition
            and by_partition[r.partition].start <= r.start
            and r.end <= by_partition[r.partition].end
            for r in self.ranges
            if r.length
        )


class Position(msgspec.Struct, frozen=True):
    """The ledger's row for one partition of one target: everything before `position` is in the warehouse.

    Args:
        topic: The topic.
        topic_id: Kafka's id of the topic.
        partition: The partition.
        origin: Where this target's books of the partition begin.
        position: The next offset to load.
        leader_epoch: Kafka's leader epoch at `position`, or None when it isn't known.
        generation: Grows by one whenever the position is set back, so that older staged files no longer fit.
    """

    topic: str
    topic_id: str
    partition: int
    origin: int
    position: int
    leader_epoch: int | None = None
    generation: int = 0


class PlannedRange(msgspec.Struct, frozen=True):
    """What one run reads of one partition: [start, end), where [start, read_from) is an accepted gap.

    Args:
        partition: The partition.
        start: The ledger's position.
        end: Fixed before reading.
        read_from: Where reading begins; more than `start` only after an accepted loss.
        leader_epoch: The ledger's leader epoch at `start`, or None.
        generation: The ledger's generation.
    """

    partition: int
    start: int
    end: int
    read_from: int
    leader_epoch: int | None
    generation: int

    @property
    def range(self) -> OffsetRange:
        """The planned offsets."""
        return OffsetRange(self.partition, self.start, self.end)

    @property
    def gap(self) -> int:
        """Number of offsets lost on Kafka's side and accepted by a person."""
        return self.read_from - self.start


class Plan(msgspec.Struct, frozen=True):
    """What one run reads, fixed before the first record.

    Args:
        target: The rows table's fully qualified name.
        topic: The topic.
        topic_id: Kafka's id of the topic.
        ranges: One per partition of the topic, by partition.
        accepted: The losses that a person accepted and that this plan rests on.
        left: Offsets that a cap leaves for later runs.
    """

    target: str
    topic: str
    topic_id: str
    ranges: tuple[PlannedRange, ...]
    accepted: tuple[str, ...] = ()
    left: int = 0

    @property
    def plan_id(self) -> str:
        """The name of this content; see `topicledger.model.identity.plan_id`."""
        return identity.plan_id(self.target, self.topic_id, ((r.partition, r.start, r.end) for r in self.ranges))
