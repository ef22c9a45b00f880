"""Step 9 of the protocol, per partition: what was read, what was jumped over, and how far the position is."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from topicledger.kafka.message import ConsumedMessage
from topicledger.model.manifest import LeaderEpoch, StagedPartition
from topicledger.model.plan import OffsetRange, PlannedRange
from topicledger.model.slices import CHECKED_JUMPS


class Jumps:
    """The jumps of a read: those not handed on yet, how many there were, and the longest, for reading them again."""

    def __init__(self) -> None:
        self._new: list[OffsetRange] = []
        self._longest: list[tuple[int, int, int]] = []
        self.count = 0

    def add(self, jump: OffsetRange) -> None:
        """Record one interval without a record."""
        self._new.append(jump)
        self.count += 1
        entry = (jump.length, jump.partition, jump.start)
        if len(self._longest) < CHECKED_JUMPS:
            heapq.heappush(self._longest, entry)
        else:
            heapq.heappushpop(self._longest, entry)

    def take(self) -> list[OffsetRange]:
        """Hand on the jumps that came since the last call."""
        taken, self._new = self._new, []
        return taken

    def longest(self) -> list[OffsetRange]:
        """The longest jumps, longest first, a thousand at most."""
        ordered = sorted(self._longest, reverse=True)
        return [OffsetRange(partition, start, start + length) for length, partition, start in ordered]


class PartitionProgress:
    """How far one partition was read. Records must come in the order of their offsets.

    Args:
        planned: The partition's plan.
        jumps: Where jumps are recorded.
    """

    def __init__(self, planned: PlannedRange, jumps: Jumps) -> None:
        self.planned = planned
        self.next = planned.read_from
        self.records = 0
        self.done = planned.read_from >= planned.end
        self._jumps = jumps
        self._invisible = 0
        self._epoch: int | None = None
        self._epochs: list[LeaderEpoch] = []
        self._end_epoch: int | None = None

    @property
    def reached_end(self) -> bool:
        """Whether the position has reached the planned end."""
        return self.next >= self.planned.end

    @property
    def remaining(self) -> int:
        """Planned offsets that are still to come."""
        return max(0, self.planned.end - self.next)

    @property
    def next_epoch(self) -> int | None:
        """The leader epoch to assign `next` with, where it is known: that of the record before it."""
        # The ledger's epoch belongs to its position; behind an accepted gap it says nothing.
        return self.planned.leader_epoch if self.next == self.planned.start else self._epoch

    def take(self, run: Sequence[ConsumedMessage]) -> Sequence[ConsumedMessage]:
        """Account for consecutive messages of this partition; give back those inside the plan."""
        if self.done:
            return []
        first, last = run[0].offset(), run[-1].offset()
        if first == self.next and last - first == len(run) - 1 and last < self.planned.end:
            inside = run
            self.records += len(run)
            self.next = last + 1
        else:
            inside = self._walk(run)
        if inside:
            self._note_epochs(inside)
        if self.reached_end and self._end_epoch is None:
            self._end_epoch = self._epoch
        return inside

    def reach_end(self) -> None:
        """Account for a tail without records: the broker says that the position is past the planned end."""
        self._jump(self.planned.end)

    def finish(self, position_epoch: int | None) -> None:
        """Close the partition with a leader epoch that holds at the planned end.

        That of the record at the end, of the first one past it, or, where no record follows, of the consumer's own
        position: a marker behind the last record may carry a later epoch than it, and the next assign at this
        position would then take it for a truncation.
        """
        self.done = True
        if self._end_epoch is None:
            self._end_epoch = position_epoch

    def staged(self) -> StagedPartition:
        """What the manifest says of this partition."""
        plan = self.planned
        return StagedPartition(
            partition=plan.partition,
            start=plan.start,
            end=plan.end,
            generation=plan.generation,
            start_epoch=plan.leader_epoch,
            end_epoch=self._end_epoch,
            epochs=tuple(self._epochs),
            gap=plan.gap,
            records=self.records,
            invisible=self._invisible,
        )

    def _walk(self, run: Sequence[ConsumedMessage]) -> list[ConsumedMessage]:
        """The careful way: records with jumps between them, or at and past the plan's end."""
        inside: list[ConsumedMessage] = []
        for message in run:
            offset = message.offset()
            if offset < self.next:
                continue
            if self.reached_end:
                break
            self._jump(min(offset, self.planned.end))
            if offset >= self.planned.end:
                self._end_epoch = _epoch(message)
                break
            inside.append(message)
            self.records += 1
            self.next = offset + 1
        return inside

    def _jump(self, until: int) -> None:
        if until > self.next:
            self._jumps.add(OffsetRange(self.planned.partition, self.next, until))
            self._invisible += until - self.next
            self.next = until

    def _note_epochs(self, run: Sequence[ConsumedMessage]) -> None:
        if run[0].leader_epoch() == self._epoch == run[-1].leader_epoch():
            return
        for message in run:
            epoch = _epoch(message)
            if epoch is not None and epoch != self._epoch:
                self._epoch = epoch
                self._epochs.append(LeaderEpoch(message.offset(), epoch))


def _epoch(message: ConsumedMessage) -> int | None:
    epoch = message.leader_epoch()
    return epoch if epoch is not None and epoch >= 0 else None
