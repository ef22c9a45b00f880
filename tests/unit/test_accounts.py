"""The identities: closed books close, and no single falsified term goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topicledger.errors import IntegrityError
from topicledger.model.accounts import (
    AppliedCounts,
    Books,
    PartitionBooks,
    StagedCounts,
    accounts_of,
    identities,
    require_closed,
)
from topicledger.model.manifest import Manifest, StagedPartition
from topicledger.model.plan import OffsetRange, Receipt

TOPIC_ID = "mPqZ3xQkT5SxAbCdEfGhIj"

Falsify = Callable[[Books, int], Books]


class Fate(msgspec.Struct, frozen=True):
    """What became of the offsets of one partition, each counted for itself; `already` is its head."""

    start: int
    already: int
    gap: int
    invisible: int
    loaded: int
    duplicates: int
    dead_letters: int
    tombstones: int

    @property
    def records(self) -> int:
        return self.already + self.loaded + self.duplicates + self.dead_letters + self.tombstones

    @property
    def end(self) -> int:
        return self.start + self.gap + self.invisible + self.records


def closed_books(fates: Sequence[Fate], *, compacted: bool | None = False, left: int = 0) -> Books:
    """Books that close, as a run leaves them: everything of the plan is applied but what had been loaded."""
    ranges = tuple(OffsetRange(p, f.start, f.end) for p, f in enumerate(fates))
    records = sum(f.records for f in fates)
    receipt = Receipt("signups", TOPIC_ID, "attempt", acked=records, ranges=ranges)
    manifest = Manifest(
        contract_version=1,
        batch_id="0123456789abcdef",
        plan_id="fedcba9876543210",
        pipeline="pipeline",
        target="main.signups",
        run_id="manual__1",
        topic="signups",
        topic_id=TOPIC_ID,
        partitions=tuple(
            StagedPartition(
                partition=p,
                start=f.start,
                end=f.end,
                generation=0,
                start_epoch=None,
                end_epoch=None,
                epochs=(),
                gap=f.gap,
                records=f.records,
                invisible=f.invisible,
            )
            for p, f in enumerate(fates)
        ),
        receipt=receipt,
        acked_seen=records,
        compacted=compacted,
        left=left,
    )
    dead, tombs = sum(f.dead_letters for f in fates), sum(f.tombstones for f in fates)
    return Books(
        manifest=manifest,
        receipt=receipt,
        staged=StagedCounts(records - dead - tombs, dead, tombs, records, 0),
        applied_ranges=tuple(OffsetRange(p, f.start + f.already, f.end) for p, f in enumerate(fates)),
        applied=AppliedCounts(
            already_loaded=sum(f.already for f in fates),
            loaded=sum(f.loaded for f in fates),
            duplicates=sum(f.duplicates for f in fates),
            conflicts=0,
            dead_letters=dead,
            tombstones=tombs,
            gap=sum(f.gap for f in fates),
            invisible=sum(f.invisible for f in fates),
        ),
        ledger=tuple(PartitionBooks(TOPIC_ID, p, 0, f.end, f.end) for p, f in enumerate(fates)),
    )


def _replaced(books: Books, path: str, by: int, index: int = 0) -> Books:
    """Copy of the books with the term `part.field` changed, of the entry `index` where part is a tuple."""
    part, name = path.split(".")
    whole = getattr(books.manifest, part) if part == "partitions" else getattr(books, part)
    many = isinstance(whole, tuple)
    old = whole[index] if many else whole
    new = msgspec.structs.replace(old, **{name: getattr(old, name) + by})
    changed = (*whole[:index], new, *whole[index + 1 :]) if many else new
    if part == "partitions":
        return msgspec.structs.replace(books, manifest=msgspec.structs.replace(books.manifest, partitions=changed))
    return msgspec.structs.replace(books, **{part: changed})


def _receipt_end(books: Books, by: int) -> Books:
    assert books.receipt is not None
    first, *others = books.receipt.ranges
    ranges = (OffsetRange(first.partition, first.start, first.end + abs(by)), *others)
    return msgspec.structs.replace(books, receipt=msgspec.structs.replace(books.receipt, ranges=ranges))


def _acked(books: Books, by: int) -> Books:
    assert books.receipt is not None
    receipt = msgspec.structs.replace(books.receipt, acked=books.receipt.acked + by)
    return msgspec.structs.replace(books, receipt=receipt)


def _acked_seen(books: Books, by: int) -> Books:
    assert books.manifest.acked_seen is not None
    manifest = msgspec.structs.replace(books.manifest, acked_seen=books.manifest.acked_seen + by)
    return msgspec.structs.replace(books, manifest=manifest)


def _position_behind_receipt(books: Books, by: int) -> Books:
    # As a partial restore would leave it: the ledger agrees with itself, at a lower position.
    return _replaced(_replaced(books, "ledger.position", -abs(by)), "ledger.applied", -abs(by))


def _term(path: str) -> Falsify:
    return lambda books, by: _replaced(books, path, by)


TERMS: dict[str, tuple[Falsify, set[str]]] = {
    # The manifest's records are a term of three identities; all of them must speak.
    "records": (_term("partitions.records"), {"I1", "I2", "I3"}),
    "planned gap": (_term("partitions.gap"), {"I1"}),
    "planned invisible": (_term("partitions.invisible"), {"I1"}),
    "staged rows": (_term("staged.rows"), {"I2"}),
    "staged dead letters": (_term("staged.dead_letters"), {"I2"}),
    "staged tombstones": (_term("staged.tombstones"), {"I2"}),
    "distinct coordinates": (_term("staged.distinct_coordinates"), {"I2"}),
    "outside the plan": (_term("staged.outside_plan"), {"I2"}),
    "already_loaded": (_term("applied.already_loaded"), {"I3"}),
    "loaded": (_term("applied.loaded"), {"I3", "I4"}),
    "duplicates": (_term("applied.duplicates"), {"I3", "I4"}),
    "dead_letters": (_term("applied.dead_letters"), {"I3", "I4"}),
    "tombstones": (_term("applied.tombstones"), {"I3", "I4"}),
    "applied gap": (_term("applied.gap"), {"I4"}),
    "applied invisible": (_term("applied.invisible"), {"I4"}),
    "applied start": (lambda b, by: _applied_bound(b, by, 0), {"I4"}),
    "applied end": (lambda b, by: _applied_bound(b, 0, by), {"I4"}),
    "sum of applied": (_term("ledger.applied"), {"I4"}),
    "origin": (_term("ledger.origin"), {"I4"}),
    "receipt end": (_receipt_end, {"I5"}),
    "position behind the receipt": (_position_behind_receipt, {"I5"}),
    "acked": (_acked, {"I5"}),
    "acked_seen": (_acked_seen, {"I5"}),
}


def _applied_bound(books: Books, start: int, end: int) -> Books:
    first, *others = books.applied_ranges
    changed = OffsetRange(first.partition, first.start + start, first.end + end)
    return msgspec.structs.replace(books, applied_ranges=(changed, *others))


def broken(books: Books) -> set[str]:
    return {identity.name for identity in identities(books) if not identity.holds}


counts = st.integers(0, 10_000)
fates = st.builds(
    Fate,
    start=st.integers(0, 2**40),
    already=counts,
    gap=st.just(0),
    invisible=counts,
    loaded=st.integers(1, 10_000),
    duplicates=counts,
    dead_letters=counts,
    tombstones=counts,
)
some_fates = st.lists(fates, min_size=1, max_size=6)
wrong_by = st.integers(-50, 50).filter(bool)


@given(some_fates)
def test_closed_books_close(found: list[Fate]) -> None:
    """Every identity holds for books in which every offset has exactly one fate."""
    books = closed_books(found)
    assert broken(books) == set()
    require_closed(identities(books), "0123456789abcdef")


@pytest.mark.parametrize("term", TERMS)
@settings(max_examples=30)
@given(found=some_fates, by=wrong_by)
def test_every_falsified_term_is_named(term: str, found: list[Fate], by: int) -> None:
    """One wrong term breaks exactly the identities that it is a term of, and stops the run naming them."""
    falsify, names = TERMS[term]
    books = falsify(closed_books(found), by)
    assert broken(books) == names
    with pytest.raises(IntegrityError) as caught:
        require_closed(identities(books), "0123456789abcdef")
    for name in names:
        assert f"{name}: " in str(caught.value)
    assert caught.value.batch_id == "0123456789abcdef"


@given(found=some_fates, by=wrong_by)
def test_a_falsified_position_is_named(found: list[Fate], by: int) -> None:
    """A position that the sum of applied doesn't reach breaks I4, and before the receipt's end I5 too."""
    books = _replaced(closed_books(found), "ledger.position", by)
    assert broken(books) == ({"I4"} if by > 0 else {"I4", "I5"})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("partitions.gap", "I1"),
        ("partitions.invisible", "I1"),
        ("ledger.applied", "I4"),
        ("ledger.origin", "I4"),
    ],
)
@settings(max_examples=30)
@given(found=st.lists(fates, min_size=2, max_size=6), by=wrong_by, data=st.data())
def test_errors_of_two_partitions_dont_cancel_out(
    path: str, name: str, found: list[Fate], by: int, data: st.DataObject
) -> None:
    """What is counted per partition is checked so: a surplus in one can't hide a loss in another."""
    index = data.draw(st.integers(1, len(found) - 1))
    books = _replaced(_replaced(closed_books(found), path, by), path, -by, index)
    assert broken(books) == {name}


@pytest.mark.parametrize("path", ["partitions.start", "partitions.end"])
@given(found=some_fates, by=wrong_by)
def test_a_falsified_plan_is_named(path: str, found: list[Fate], by: int) -> None:
    """A planned bound that isn't what was read breaks I1, and I4 too where applied no longer ends with the plan."""
    names = broken(_replaced(closed_books(found), path, by))
    assert "I1" in names
    assert names <= {"I1", "I4", "I5"}


def test_a_shifted_applied_range_is_named() -> None:
    """Applied must end where the plan ends: a range of the right length in the wrong place breaks I4."""
    books = closed_books([Fate(10, 0, 0, 0, 5, 0, 0, 0)])
    [r] = books.applied_ranges
    shifted = msgspec.structs.replace(r, start=r.start - 1, end=r.end - 1)
    assert broken(msgspec.structs.replace(books, applied_ranges=(shifted,))) == {"I4"}


def test_a_receipt_in_the_plan_must_have_been_counted() -> None:
    """Without a count of the run's own records the books don't close, when the plan contains all of them."""
    books = closed_books([Fate(0, 0, 0, 0, 3, 0, 0, 0)])
    uncounted = msgspec.structs.replace(books.manifest, acked_seen=None)
    assert broken(msgspec.structs.replace(books, manifest=uncounted)) == {"I5"}


def test_an_accepted_gap_is_accounted_for() -> None:
    """A gap counts in the plan and in applied, and the receipt may miss as many records as it has offsets."""
    books = closed_books([Fate(100, 0, 40, 0, 10, 0, 0, 0)])
    assert broken(books) == set()
    assert broken(_replaced(books, "applied.gap", -1)) == {"I4"}


@pytest.mark.parametrize(
    ("compacted", "missing", "names"),
    [
        (False, 1, {"I5"}),
        (True, 3, set()),
        (True, 4, {"I5"}),
        (None, 3, set()),
        (None, 4, {"I5"}),
        (True, -1, {"I5"}),
    ],
)
def test_compaction_explains_no_more_than_the_invisible_offsets(
    compacted: bool | None, missing: int, names: set[str]
) -> None:
    """Acknowledged records may be missing only where a topic may be compacted, at most the invisible ones."""
    books = closed_books([Fate(0, 0, 0, 3, 10, 0, 0, 0)], compacted=compacted)
    assert broken(_acked(books, missing)) == names


def test_a_cap_may_leave_the_receipt_for_later() -> None:
    """Positions before the receipt's end close the books only when the plan says that a cap left offsets."""
    found = [Fate(0, 0, 0, 0, 10, 0, 0, 0)]
    capped = _receipt_end(closed_books(found, left=5), 5)
    capped = msgspec.structs.replace(capped, manifest=msgspec.structs.replace(capped.manifest, acked_seen=None))
    assert broken(capped) == set()
    assert any("of 5 that the cap left" in identity.text for identity in identities(capped))
    assert broken(_receipt_end(closed_books(found), 5)) == {"I5"}


def test_without_a_receipt_nothing_is_said_of_one() -> None:
    """A run that produced nothing has no I5."""
    books = msgspec.structs.replace(closed_books([Fate(0, 0, 0, 0, 1, 0, 0, 0)]), receipt=None)
    assert "I5" not in {identity.name for identity in identities(books)}


def test_a_partition_that_the_ledger_lacks_breaks_the_receipt() -> None:
    """A receipt for a partition without a position row is not taken for loaded, nor is the partition's plan."""
    books = msgspec.structs.replace(closed_books([Fate(0, 0, 0, 0, 1, 0, 0, 0)]), ledger=())
    assert broken(books) == {"I4", "I5"}


def test_accounts_take_each_number_from_the_place_that_counted_it() -> None:
    """The accounts repeat the terms under their public names."""
    books = closed_books([Fate(0, 5, 0, 2, 10, 3, 4, 1)])
    accounts = accounts_of(books.manifest, books.applied, books.receipt)
    assert (accounts.records, accounts.already_loaded, accounts.loaded) == (23, 5, 10)
    assert (accounts.duplicates, accounts.dead_letters, accounts.tombstones) == (3, 4, 1)
    assert (accounts.invisible, accounts.gap, accounts.acked, accounts.acked_seen) == (2, 0, 23, 23)
    assert accounts_of(books.manifest, books.applied, None).acked is None


def test_a_gap_outside_the_receipt_excuses_nothing() -> None:
    """An accepted gap lets the receipt miss only records whose offsets it covers, not others."""
    books = closed_books([Fate(100, 0, 40, 0, 10, 0, 0, 0)])
    assert books.receipt is not None
    assert books.manifest.acked_seen is not None
    one_missing = msgspec.structs.replace(
        books.receipt, ranges=(OffsetRange(0, 140, 150),), acked=books.manifest.acked_seen + 1
    )
    assert broken(msgspec.structs.replace(books, receipt=one_missing)) == {"I5"}
