"""Steps 16, 17 and 19 as pure decisions: does a staged batch still fit, what of it is applied, where positions go."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topicledger.errors import IntegrityError
from topicledger.model.manifest import LeaderEpoch, Manifest, StagedPartition
from topicledger.model.plan import OffsetRange, Position
from topicledger.steps.load import _advanced, _require_fit, applied_ranges

STAGED = StagedPartition(
    partition=0,
    start=10,
    end=20,
    generation=1,
    start_epoch=3,
    end_epoch=5,
    epochs=(LeaderEpoch(10, 3), LeaderEpoch(15, 5)),
    gap=0,
    records=10,
    invisible=0,
)
LEDGER = Position("t", "id", 0, origin=0, position=10, leader_epoch=3, generation=1)


def staged(start: int, end: int, epoch: int | None = 7) -> StagedPartition:
    return msgspec.structs.replace(STAGED, start=start, end=end, end_epoch=epoch)


def ledger_at(position: int) -> Position:
    return msgspec.structs.replace(LEDGER, position=position)


def manifest_of(*partitions: StagedPartition) -> Manifest:
    return Manifest(1, "b", "p", "pipeline", "main.t", "run", "t", "id", partitions)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"generation": 2}, "generation 2, planned was with 1"),
        ({"position": 9}, "the ledger is at 9: the warehouse went back"),
        ({"origin": 11, "position": 11}, "the ledger begins at 11: it was made anew"),
        ({"leader_epoch": 2}, "leader epoch 2, the staged records between 3 and 3"),
        ({"leader_epoch": 4}, "leader epoch 4, the staged records between 3 and 3"),
        ({"position": 17, "leader_epoch": 4}, "leader epoch 4, the staged records between 5 and 5"),
        ({"position": 20, "leader_epoch": 6}, "leader epoch 6, the staged records between 5 and 5"),
    ],
)
def test_what_no_longer_fits_is_refused(changes: dict[str, int], says: str) -> None:
    """A ledger that tells another story than the one that was planned from is refused, naming what differs."""
    _require_fit(STAGED, LEDGER)
    with pytest.raises(IntegrityError, match=says) as refused:
        _require_fit(STAGED, msgspec.structs.replace(LEDGER, **changes))
    assert (refused.value.partition, refused.value.offset) == (0, 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"position": 12},
        {"position": 15, "leader_epoch": 4},
        {"position": 21, "leader_epoch": 9},
        {"position": 20, "leader_epoch": None},
    ],
)
def test_what_others_loaded_meanwhile_still_fits(changes: dict[str, int | None]) -> None:
    """A position inside the plan fits with an epoch between its neighbours', one behind the plan with any."""
    _require_fit(STAGED, msgspec.structs.replace(LEDGER, **changes))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_applied_is_what_the_ledger_does_not_cover(start: int, length: int, position: int) -> None:
    """Applied has just the planned offsets at or behind the position, and is empty at the plan's end without any."""
    planned = staged(start, start + length)
    [applied] = applied_ranges([planned], {0: ledger_at(position)})
    assert set(range(applied.start, applied.end)) == {o for o in range(start, start + length) if o >= position}
    assert start <= applied.start <= applied.end == planned.end


def test_positions_only_grow() -> None:
    """A position moves only forward, and takes the staged leader epoch only when it does."""
    [moved] = _advanced(manifest_of(staged(10, 20)), {0: ledger_at(15)})
    assert moved == msgspec.structs.replace(LEDGER, position=20, leader_epoch=7)
    assert _advanced(manifest_of(staged(10, 20)), {0: ledger_at(25)}) == []
    assert _advanced(manifest_of(staged(20, 20, None)), {0: ledger_at(20)}) == []


def test_a_range_clipped_to_another() -> None:
    """Clipping keeps what lies in both, and what lies in neither is empty."""
    assert OffsetRange(0, 5, 15).clipped_to(OffsetRange(0, 10, 20)) == OffsetRange(0, 10, 15)
    assert OffsetRange(0, 0, 5).clipped_to(OffsetRange(0, 10, 20)).length == 0
    assert OffsetRange(0, 25, 30).clipped_to(OffsetRange(0, 10, 20)).length == 0
