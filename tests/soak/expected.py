"""What must be: the positions, losses and refusals that follow from a sequence, by none of the product's code."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.oracle import Coordinates
from topicledger.model.plan import Receipt

Where = tuple[str, int]
"""(topic_id, partition)."""


@dataclass(frozen=True)
class Log:
    """The topic as it stands: per partition the first offset that is there, and the next to be written."""

    topic_id: str
    low: dict[int, int]
    high: dict[int, int]


@dataclass(frozen=True)
class Planned:
    """A staged batch: per partition (start, where reading began, end)."""

    topic_id: str
    ranges: tuple[tuple[int, int, int, int], ...]

    def key(self, run: str) -> tuple[Any, ...]:
        """What names the batch in the ledger."""
        return (run, self.topic_id, tuple((p, start, end) for p, start, _, end in self.ranges))


@dataclass
class Books:
    """What the warehouse must say. A backup is a copy of it."""

    origin: dict[Where, int] = field(default_factory=dict)
    position: dict[Where, int] = field(default_factory=dict)
    lost: set[Coordinates] = field(default_factory=set)
    batches: set[tuple[Any, ...]] = field(default_factory=set)

    def copied(self) -> Books:
        """The same, independent of this one."""
        return copy.deepcopy(self)

    def knows(self, log: Log) -> bool:
        """Whether every partition of the topic has a position."""
        return all((log.topic_id, p) in self.position for p in log.high)

    def needed(self, log: Log, receipt: Receipt | None, accept: Sequence[str]) -> list[str]:
        """What a person must accept besides before the topic can be read, as the errors print it."""
        if self.position and not any(topic_id == log.topic_id for topic_id, _ in self.position):
            entry = f"topic_id:{log.topic_id}"
            if entry not in accept:
                return [entry]
        position = self.begun(log, receipt).position
        starts = {p: position[log.topic_id, p] for p in log.low}
        return [f"gap:{p}:{starts[p]}:{low}" for p, low in log.low.items() if low > starts[p]]

    def begun(self, log: Log, receipt: Receipt | None) -> Books:
        """Step 4: the same, where partitions without a position have one, as a batch that is judged leaves it."""
        begun = replace(self, origin=dict(self.origin), position=dict(self.position))
        produced = {r.partition: r.start for r in receipt.ranges} if receipt else {}
        for partition, low in log.low.items():
            start = 0 if self.position else min(low, produced.get(partition, low))
            begun.origin.setdefault((log.topic_id, partition), start)
            begun.position.setdefault((log.topic_id, partition), start)
        return begun

    def refusal(self, log: Log, receipt: Receipt | None, accept: Sequence[str]) -> str | None:
        """Steps 3 to 6: a part of the sentence that planning must end with, or None: then the books begin."""
        if receipt is not None and receipt.topic_id != log.topic_id:
            return "Repeat the run from producing on"
        needed = self.needed(log, receipt, accept)
        if needed and needed[0].startswith("topic_id:"):
            return _accept(needed)
        begun = self.begun(log, receipt)
        ranges = receipt.ranges if receipt else ()
        if any(r.end > r.start < begun.origin[log.topic_id, r.partition] for r in ranges):
            return "Repeat the run from producing on"
        early = [entry for entry in accept if entry not in needed and not begun._passed(log, entry)]
        if early:
            return f"accept names {', '.join(early)}, which is not what is lost"
        if set(needed) <= set(accept):
            self.origin, self.position = begun.origin, begun.position
            return None
        return _accept(needed)

    def planned(self, log: Log, after: Log, staged: dict[int, tuple[int, int, int]], cap: int | None) -> Planned:
        """Steps 5 to 7: what was staged starts where the books stand, and ends at the log's end or by the cap.

        Args:
            log: The topic before the step.
            after: The topic after it; only its ends may have moved.
            staged: Per partition the staged start, gap and end.
            cap: The most records that the run may read.
        """
        assert staged.keys() == log.high.keys()
        ranges = []
        for partition, (start, gap, end) in sorted(staged.items()):
            position = self.position[log.topic_id, partition]
            begin = max(position, log.low[partition])
            assert (start, start + gap) == (position, begin), f"partition {partition} was planned from {start}"
            assert begin <= end <= after.high[partition], f"partition {partition} was planned through {end}"
            ranges.append((partition, start, begin, end))
        read = sum(end - begin for _, _, begin, end in ranges)
        least, most = (sum(at.high[p] - begin for p, _, begin, _ in ranges) for at in (log, after))
        limit = most if cap is None else cap
        assert min(least, limit) <= read <= min(most, limit), f"{read} offsets were planned of {least}"
        return Planned(log.topic_id, tuple(ranges))

    def unfit(self, planned: Planned) -> str | None:
        """Step 16: why a staged batch may not be loaded, or None."""
        for partition, start, _, _ in planned.ranges:
            position = self.position.get((planned.topic_id, partition))
            if position is None:
                return "no position for partitions|went back|made anew"
            if not self.origin[planned.topic_id, partition] <= start <= position:
                return "went back|made anew"
        return None

    def load(self, run: str, planned: Planned) -> None:
        """Steps 17 to 19: a batch is loaded; what an earlier one had is left alone."""
        key = planned.key(run)
        if key in self.batches:
            return
        self.batches.add(key)
        for partition, start, begin, end in planned.ranges:
            where = (planned.topic_id, partition)
            applied = range(max(start, self.position[where]), end)
            self.lost |= {(*where, offset) for offset in applied if offset < begin}
            self.position[where] = max(self.position[where], end)

    def _passed(self, log: Log, entry: str) -> bool:
        if entry.startswith("topic_id:"):
            return True
        _, partition, _, end = entry.split(":")
        return int(end) <= self.position.get((log.topic_id, int(partition)), -1)


def _accept(entries: Sequence[str]) -> str:
    printed = ", ".join(f'"{entry}"' for entry in entries)
    return f'{{"accept": [{printed}]}}'
