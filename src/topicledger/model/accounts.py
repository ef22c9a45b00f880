"""The accounts of a batch, and the identities that must hold before anything is committed.

Each term comes from a count of its own, none from subtracting others, so that a wrong one can't hide:

    I1 plan, per partition      end - start = gap + records + invisible
    I2 staged                   records = rows + dead letters + tombstones; coordinates distinct, inside the plan
    I3 loaded                   records = already_loaded + loaded + duplicates + dead_letters + tombstones
    I4 ledger, per partition    sum of applied over all batches = position - origin; applied ends where planned does
       and per batch            length of applied = gap + invisible + loaded + duplicates + dead_letters + tombstones
    I5 receipt                  position >= receipt.end everywhere, or what is missing is what the cap left;
                                where the plan contains the whole receipt: acked_seen = acked
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from topicledger.errors import IntegrityError
from topicledger.model.manifest import Manifest
from topicledger.model.plan import OffsetRange, Receipt


class Accounts(msgspec.Struct, frozen=True):
    """What became of every record of a batch: in the ledger row, in XCom `accounts` and in the report.

    Args:
        records: Records read.
        invisible: Offsets inside applied without a record (markers, aborted, compacted).
        gap: Offsets inside applied that Kafka lost and a person accepted.
        already_loaded: Records of the plan that an earlier batch had loaded.
        loaded: Rows inserted by this batch.
        duplicates: Records whose key the table already had, or that came later in the batch; without a key none.
        dead_letters: Dead letters inserted by this batch.
        tombstones: Records with a null value inside applied.
        acked: Records of this run that the broker acknowledged; None when the run produced nothing.
        acked_seen: Those of them that this batch read; None when the plan doesn't contain all of them.
        unknown_fields: Fields that the event type doesn't have; ignored.
        conflicts: Duplicates whose own columns differ from the row that won.
        unchecked_jumps: Jumps in the offsets that were not read a second time.
    """

    records: int
    invisible: int
    gap: int
    already_loaded: int
    loaded: int
    duplicates: int
    dead_letters: int
    tombstones: int
    acked: int | None
    acked_seen: int | None
    unknown_fields: int
    conflicts: int
    unchecked_jumps: int


class StagedCounts(msgspec.Struct, frozen=True):
    """What the warehouse counts in its temporary tables, before anything is applied.

    Args:
        rows: Rows.
        dead_letters: Dead letters.
        tombstones: Tombstones.
        distinct_coordinates: Distinct (partition, offset) over the three; None where it can't be recounted.
        outside_plan: Of the three, those whose coordinates no planned range contains; None likewise.
    """

    rows: int
    dead_letters: int
    tombstones: int
    distinct_coordinates: int | None
    outside_plan: int | None


class AppliedCounts(msgspec.Struct, frozen=True):
    """What the warehouse counts while applying: all but `already_loaded` inside the applied ranges."""

    already_loaded: int
    loaded: int
    duplicates: int
    conflicts: int
    dead_letters: int
    tombstones: int
    gap: int
    invisible: int


class PartitionBooks(msgspec.Struct, frozen=True):
    """The ledger of one partition of the target.

    Args:
        topic_id: Kafka's id of the topic.
        partition: The partition.
        origin: Where the books begin.
        position: The next offset to load.
        applied: Sum of the lengths of applied over all the target's ledger rows.
    """

    topic_id: str
    partition: int
    origin: int
    position: int
    applied: int

    @property
    def close(self) -> bool:
        """Whether the sum of applied is what the position has moved by."""
        return self.applied == self.position - self.origin


class Books(msgspec.Struct, frozen=True):
    """All terms of the identities for one batch, each from the place that counted it."""

    manifest: Manifest
    receipt: Receipt | None
    staged: StagedCounts
    applied_ranges: tuple[OffsetRange, ...]
    applied: AppliedCounts
    ledger: tuple[PartitionBooks, ...]


class Identity(msgspec.Struct, frozen=True):
    """One identity with its numbers.

    Args:
        name: I1 to I5.
        text: The equation, spelled out with the numbers.
        holds: Whether it holds.
    """

    name: str
    text: str
    holds: bool


def accounts_of(manifest: Manifest, applied: AppliedCounts, receipt: Receipt | None) -> Accounts:
    """Put a batch's accounts together from what was staged and what was applied."""
    return Accounts(
        records=manifest.records,
        invisible=applied.invisible,
        gap=applied.gap,
        already_loaded=applied.already_loaded,
        loaded=applied.loaded,
        duplicates=applied.duplicates,
        dead_letters=applied.dead_letters,
        tombstones=applied.tombstones,
        acked=receipt.acked if receipt else None,
        acked_seen=manifest.acked_seen,
        unknown_fields=manifest.unknown_fields,
        conflicts=applied.conflicts,
        unchecked_jumps=manifest.unchecked_jumps,
    )


def identities(books: Books) -> tuple[Identity, ...]:
    """Evaluate every identity. Nothing is raised: a caller that must stop uses `require_closed`."""
    return (
        *_plan(books.manifest),
        _staged(books),
        _loaded(books),
        *_ledger(books),
        *_applied(books),
        *_receipt(books),
    )


def require_closed(found: tuple[Identity, ...], batch_id: str) -> None:
    """Do nothing when every identity holds.

    Raises:
        IntegrityError: It names each identity that doesn't hold, with its numbers.
    """
    broken = [f"{identity.name}: {identity.text}" for identity in found if not identity.holds]
    if broken:
        raise IntegrityError(
            f"the books of batch {batch_id} don't close: {'; '.join(broken)}. Nothing of this batch was committed "
            "by the step that says this; keep the log and the staged files, and look before clearing anything",
            code="books-open",
            batch_id=batch_id,
        )


def _plan(manifest: Manifest) -> Iterator[Identity]:
    for p in manifest.partitions:
        text = (
            f"partition {p.partition}: end {p.end} - start {p.start} = "
            f"gap {p.gap} + records {p.records} + invisible {p.invisible}"
        )
        yield Identity("I1", text, p.end - p.start == p.gap + p.records + p.invisible)


def _staged(books: Books) -> Identity:
    staged, records = books.staged, books.manifest.records
    text = (
        f"records {records} = rows {staged.rows} + dead letters {staged.dead_letters} + tombstones {staged.tombstones}"
    )
    holds = records == staged.rows + staged.dead_letters + staged.tombstones
    if staged.distinct_coordinates is not None:
        text += f"; distinct coordinates {staged.distinct_coordinates}"
        holds = holds and staged.distinct_coordinates == records
    if staged.outside_plan is not None:
        text += f"; outside the plan {staged.outside_plan}"
        holds = holds and staged.outside_plan == 0
    return Identity("I2", text, holds)


def _loaded(books: Books) -> Identity:
    records, a = books.manifest.records, books.applied
    text = (
        f"records {records} = already_loaded {a.already_loaded} + loaded {a.loaded} + duplicates {a.duplicates} + "
        f"dead_letters {a.dead_letters} + tombstones {a.tombstones}"
    )
    return Identity("I3", text, records == a.already_loaded + a.loaded + a.duplicates + a.dead_letters + a.tombstones)


def _ledger(books: Books) -> Iterator[Identity]:
    for p in books.ledger:
        text = (
            f"partition {p.partition} of {p.topic_id}: sum of applied {p.applied} = "
            f"position {p.position} - origin {p.origin}"
        )
        yield Identity("I4", text, p.close)
    have = {p.partition for p in books.ledger if p.topic_id == books.manifest.topic_id}
    missing = [p.partition for p in books.manifest.partitions if p.partition not in have]
    if missing:
        yield Identity("I4", f"the ledger has no position for partitions {missing}", holds=False)


def _applied(books: Books) -> Iterator[Identity]:
    yield _applied_length(books)
    planned = {p.partition: p for p in books.manifest.partitions}
    for r in books.applied_ranges:
        p = planned[r.partition]
        if not (p.start <= r.start <= r.end == p.end):
            text = (
                f"partition {r.partition}: applied [{r.start}, {r.end}) is not the end of planned [{p.start}, {p.end})"
            )
            yield Identity("I4", text, holds=False)


def _applied_length(books: Books) -> Identity:
    length, a = sum(r.length for r in books.applied_ranges), books.applied
    text = (
        f"length of applied {length} = gap {a.gap} + invisible {a.invisible} + loaded {a.loaded} + "
        f"duplicates {a.duplicates} + dead_letters {a.dead_letters} + tombstones {a.tombstones}"
    )
    return Identity(
        "I4",
        text,
        length == a.gap + a.invisible + a.loaded + a.duplicates + a.dead_letters + a.tombstones,
    )


def _receipt(books: Books) -> Iterator[Identity]:
    receipt, manifest = books.receipt, books.manifest
    if receipt is None:
        return
    positions = {p.partition: p.position for p in books.ledger if p.topic_id == receipt.topic_id}
    behind = [r for r in receipt.ranges if r.length and positions.get(r.partition, -1) < r.end]
    if not behind:
        yield Identity("I5", "position >= receipt.end in every partition", holds=True)
    else:
        missing = sum(r.end - max(r.start, positions.get(r.partition, -1)) for r in behind)
        named = ", ".join(f"{r.partition}: {positions.get(r.partition)} < {r.end}" for r in behind)
        text = (
            f"position < receipt.end in partition {named}: {missing} offsets of the receipt are not loaded, "
            f"of {manifest.left} that the cap left for later runs"
        )
        yield Identity("I5", text, holds=missing <= manifest.left)
    yield _acknowledged(manifest, receipt)


def _acknowledged(manifest: Manifest, receipt: Receipt) -> Identity:
    seen = manifest.acked_seen
    if seen is None:
        text = f"acked {receipt.acked}: not all of it is in this plan; see the other batches"
        return Identity("I5", text, holds=not receipt.inside(p.range for p in manifest.partitions))
    invisible = sum(p.invisible for p in manifest.partitions)
    lost = {p.partition: OffsetRange(p.partition, p.start, p.start + p.gap) for p in manifest.partitions}
    gap = sum(r.clipped_to(lost[r.partition]).length for r in receipt.ranges if r.length)
    missing = receipt.acked - seen
    allowed = gap + (0 if manifest.compacted is False else invisible)
    if missing == 0 or not allowed:
        return Identity("I5", f"acked_seen {seen} = acked {receipt.acked}", holds=missing == 0)
    text = f"acked {receipt.acked} - acked_seen {seen} <= {allowed} compacted or lost and accepted"
    return Identity("I5", text, holds=0 <= missing <= allowed)
