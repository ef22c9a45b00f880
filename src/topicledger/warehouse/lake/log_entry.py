"""One entry of a target's log: the whole ledger at that moment, and what this entry added to it. Values, no I/O.

The newest entry is the ledger: it holds every position and, per partition, the running total of `applied`. The
total grows by each row's own ranges and never looks at a position, so that I4 compares two counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from topicledger.columns import TYPE_PATTERN
from topicledger.errors import IntegrityError
from topicledger.model.accounts import PartitionBooks
from topicledger.model.ledger import LedgerRow
from topicledger.model.plan import Position

ENTRY_VERSION = 1
"""Version of an entry's format, stored in each, so that an upgrade can read it."""

BLOCK = 200
"""An entry names the rows of those before it, back to the last multiple of this: one read looks that many up."""


class LoggedColumn(msgspec.Struct, frozen=True, array_like=True):
    """One column of the rows' files; stored as [name, type, nullable]."""

    name: str
    type: Annotated[str, msgspec.Meta(pattern=TYPE_PATTERN)]
    nullable: bool


class DataFile(msgspec.Struct, frozen=True):
    """One Parquet file that exists through this entry.

    Args:
        kind: `rows` or `dead_letters`.
        name: The file's name in its folder: the SHA-256 of its bytes, and `.parquet`.
        records: Rows in it.
        size_bytes: Its size.
    """

    kind: str
    name: str
    records: int
    size_bytes: int


class AppliedTotal(msgspec.Struct, frozen=True, array_like=True):
    """Running total of a partition's `applied`; stored as [topic_id, partition, applied]."""

    topic_id: str
    partition: int
    applied: int


class LogEntry(msgspec.Struct, frozen=True):
    """One entry.

    Args:
        version: `ENTRY_VERSION` of the writer.
        target: The rows table's fully qualified name.
        sequence: Its number; the first is 1, and none is left out.
        writer: Drawn at random for this entry, so that its writer knows it again.
        written_at: The writer's clock, in UTC.
        columns: The columns of the rows' files so far.
        positions: Every position of the target after this entry, by (topic_id, partition).
        totals: The running totals after this entry, likewise; none where nothing was applied yet.
        files: What this entry added.
        row: The ledger row that it added: a batch or an acceptance; None for new positions or new columns.
        earlier: The keys of the entries before it in its block, empty for one without a row.
    """

    version: int
    target: str
    sequence: int
    writer: str
    written_at: dt.datetime
    columns: tuple[LoggedColumn, ...]
    positions: tuple[Position, ...] = ()
    totals: tuple[AppliedTotal, ...] = ()
    files: tuple[DataFile, ...] = ()
    row: LedgerRow | None = None
    earlier: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names the row among all rows; empty without one."""
        return row_key(self.row.batch_id, self.row.plan_id) if self.row else ""

    @property
    def books(self) -> tuple[PartitionBooks, ...]:
        """Each position beside the running total of its partition."""
        totals = {(t.topic_id, t.partition): t.applied for t in self.totals}
        return tuple(
            PartitionBooks(p.topic_id, p.partition, p.origin, p.position, totals.get((p.topic_id, p.partition), 0))
            for p in self.positions
        )


def row_key(batch_id: str, plan_id: str) -> str:
    """What names a ledger row in `LogEntry.earlier`."""
    return f"{batch_id}.{plan_id}"


def following(
    before: LogEntry,
    *,
    writer: str,
    written_at: dt.datetime,
    positions: Sequence[Position] = (),
    row: LedgerRow | None = None,
    columns: tuple[LoggedColumn, ...] | None = None,
) -> LogEntry:
    """The entry after `before`, without files yet.

    Args:
        before: The newest entry.
        writer: A random name.
        written_at: Now, in UTC.
        positions: Positions that are new or have changed.
        row: The ledger row to add; it gets `written_at`.
        columns: The columns, where they changed.
    """
    sequence = before.sequence + 1
    return LogEntry(
        version=ENTRY_VERSION,
        target=before.target,
        sequence=sequence,
        writer=writer,
        written_at=written_at,
        columns=columns or before.columns,
        positions=_merged(before.positions, positions),
        totals=_added(before.totals, row),
        row=row and msgspec.structs.replace(row, loaded_at=written_at),
        earlier=() if sequence % BLOCK == 0 else (*before.earlier, before.key),
    )


def first_of_block(sequence: int) -> int:
    """The number of the first entry whose key an entry names in `earlier`, or its own."""
    return max(1, sequence - sequence % BLOCK)


def require_positions(before: LogEntry, changed: Sequence[Position]) -> None:
    """Do nothing when each of the positions is one that the ledger has.

    Raises:
        IntegrityError: One isn't there.
    """
    there = {(p.topic_id, p.partition) for p in before.positions}
    for position in changed:
        if (position.topic_id, position.partition) not in there:
            raise IntegrityError(
                f"the log of {before.target} has no position for partition {position.partition}, topic id "
                f"{position.topic_id}; it must have one. Nothing was committed",
                code="log-position-missing",
                topic=position.topic,
                partition=position.partition,
            )


def _merged(there: Sequence[Position], changed: Sequence[Position]) -> tuple[Position, ...]:
    by_key: Mapping[tuple[str, int], Position] = {(p.topic_id, p.partition): p for p in (*there, *changed)}
    return tuple(by_key[key] for key in sorted(by_key))


def _added(totals: Sequence[AppliedTotal], row: LedgerRow | None) -> tuple[AppliedTotal, ...]:
    sums = {(t.topic_id, t.partition): t.applied for t in totals}
    for applied in row.applied if row else ():
        key = (row.topic_id if row else "", applied.partition)
        sums[key] = sums.get(key, 0) + applied.length
    return tuple(AppliedTotal(topic_id, partition, sums[topic_id, partition]) for topic_id, partition in sorted(sums))
