"""What a batch planned, applied and left behind, per partition, ready to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from topicledger.model.accounts import PartitionBooks
from topicledger.model.ledger import LedgerRow
from topicledger.model.plan import OffsetRange
from topicledger.report.display import NOTHING, number


class RangeLine(NamedTuple):
    """One partition, each cell as it is shown.

    Args:
        partition: The partition.
        start: First planned offset.
        end: End of the plan.
        applied: What this batch moved the position by; `nothing` when earlier batches had it all.
        position: The ledger's position when the report was made, which later batches may have moved.
    """

    partition: str
    start: str
    end: str
    applied: str
    position: str


def range_lines(row: LedgerRow, partitions: Sequence[PartitionBooks]) -> tuple[RangeLine, ...]:
    """List every partition that the row planned or applied, by number."""
    planned = {r.partition: r for r in row.planned}
    applied = {r.partition: r for r in row.applied}
    positions = {p.partition: p.position for p in partitions if p.topic_id == row.topic_id}
    return tuple(
        _line(partition, planned.get(partition), applied.get(partition), positions.get(partition))
        for partition in sorted(planned.keys() | applied.keys())
    )


def _line(partition: int, planned: OffsetRange | None, applied: OffsetRange | None, position: int | None) -> RangeLine:
    start, end = (planned.start, planned.end) if planned else (None, None)
    return RangeLine(str(partition), number(start), number(end), _applied(applied), number(position))


def _applied(applied: OffsetRange | None) -> str:
    if applied is None:
        return NOTHING
    if applied.length == 0:
        return "nothing"
    if applied.length < 0:
        return f"set back by {number(-applied.length)}, from {number(applied.start)} to {number(applied.end)}"
    return f"[{number(applied.start)}, {number(applied.end)})"
