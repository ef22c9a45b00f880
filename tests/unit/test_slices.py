"""Slices of a plan: together they are the plan, and their readings join to what one reader would have found."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from topicledger.kafka.jumps import check_jumps
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.manifest import LeaderEpoch, StagedFile, StagedPart, StagedPartition
from topicledger.model.plan import OffsetRange, PlannedRange
from topicledger.model.slices import CHECKED_JUMPS, Reading, joined, offsets_to_read, sliced
from topicledger.model.tally import Tally


@st.composite
def plans(draw: st.DrawFn) -> list[PlannedRange]:
    ranges = []
    for partition in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, 1_000))
        gap, length = draw(st.integers(0, 10)), draw(st.integers(0, 50))
        end = start + gap + length
        ranges.append(PlannedRange(partition, start, end, start + gap, leader_epoch=3, generation=1))
    return ranges


@given(plans(), st.integers(1, 9))
def test_slices_are_the_plan(ranges: list[PlannedRange], count: int) -> None:
    """Every planned offset is in one slice, in order, with its gap; slices differ by one offset at most."""
    count = max(1, min(count, offsets_to_read(ranges)))
    slices = sliced(ranges, count)
    lengths = [offsets_to_read(part) for part in slices]
    assert len(slices) == count
    assert max(lengths) - min(lengths) <= 1
    for planned in ranges:
        parts = [part for one in slices for part in one if part.partition == planned.partition]
        assert (parts[0].start, parts[0].read_from, parts[-1].end) == (planned.start, planned.read_from, planned.end)
        assert parts[0].leader_epoch == planned.leader_epoch
        for before, after in pairwise(parts):
            assert before.end == after.start == after.read_from
            assert after.leader_epoch is None
        assert {part.generation for part in parts} == {planned.generation}


def _staged(start: int, end: int, epochs: list[tuple[int, int]], end_epoch: int, records: int) -> StagedPartition:
    changes = tuple(LeaderEpoch(*change) for change in epochs)
    start_epoch = 1 if start == 10 else None
    return StagedPartition(0, start, end, 2, start_epoch, end_epoch, changes, 5 if start == 10 else 0, records, 1)


def _reading(partition: StagedPartition, seen: int | None, jump: OffsetRange, tally: Tally) -> Reading:
    file = StagedFile(f"from {partition.start}", 0, "", 0, 0)
    return Reading((partition,), (jump,), 1, seen, tally, (StagedPart(file, file, file, file),))


def test_joined_readings_are_one() -> None:
    """Of a partition in three slices the counts add up; its ends, gap and epochs are as one reader would have them."""
    first, second, third = Tally(4, 1), Tally(5), Tally(6)
    first.add_dead_letters([(0, 12)], ["invalid_json"], ["late"])
    second.add_dead_letters([(0, 11)], ["invalid_json"], ["early"])
    readings = [
        _reading(_staged(10, 20, [(15, 1)], 1, 4), 1, OffsetRange(0, 16, 17), first),
        _reading(_staged(30, 40, [(30, 2), (35, 4)], 4, 6), 3, OffsetRange(0, 31, 36), third),
        _reading(_staged(20, 30, [(20, 1), (25, 2)], 2, 5), 2, OffsetRange(0, 21, 23), second),
    ]
    whole = joined(readings)
    changes = (LeaderEpoch(15, 1), LeaderEpoch(25, 2), LeaderEpoch(35, 4))
    assert whole.partitions == (StagedPartition(0, 10, 40, 2, 1, 4, changes, 5, 15, 3),)
    assert whole.jumps == (OffsetRange(0, 31, 36), OffsetRange(0, 21, 23), OffsetRange(0, 16, 17))
    assert (whole.jump_count, whole.acked_seen) == (3, 6)
    assert whole.parts == tuple(part for reading in readings for part in reading.parts)
    assert len(whole.parts) == 3
    assert (whole.tally.records, whole.tally.unknown_fields) == (15, 1)
    assert whole.tally.first == {"invalid_json": (0, 11, "early")}
    assert whole.tally.reasons == {"invalid_json": 2}


def test_without_a_receipt_nothing_was_compared() -> None:
    """Slices that had no receipt to count for join to none, not to zero."""
    reading = _reading(_staged(10, 20, [], 1, 4), None, OffsetRange(0, 16, 17), Tally())
    assert joined([reading, reading]).acked_seen is None


def test_the_longest_jumps_of_all_slices() -> None:
    """Of more jumps than are read again the longest of all slices are kept, and the others are counted."""
    short = tuple(OffsetRange(0, 10 * n, 10 * n + 1) for n in range(CHECKED_JUMPS))
    long = tuple(OffsetRange(1, 10 * n, 10 * n + 5) for n in range(CHECKED_JUMPS // 2))
    whole = joined([Reading((), jumps, len(jumps) + 7, None, Tally()) for jumps in (short, long)])
    assert len(whole.jumps) == CHECKED_JUMPS
    assert set(long) <= set(whole.jumps)
    assert whole.jump_count == len(short) + len(long) + 14


def test_jumps_left_unchecked_are_said() -> None:
    """How many jumps weren't read again is told."""
    nobody = KafkaSettings("kafka_default", {"bootstrap.servers": "127.0.0.1:1"})
    assert check_jumps(nobody, "topic", "group", Reading((), (), 3, None, Tally())) == 3
