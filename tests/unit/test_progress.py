"""What is kept of one partition's read: counts, jumps, and the leader epoch that holds at the planned end."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from topicledger.kafka.progress import Jumps, PartitionProgress
from topicledger.model.plan import OffsetRange, PlannedRange


@dataclass(frozen=True)
class Consumed:
    """A consumed record, as far as its place in the log goes."""

    at: int
    epoch: int | None = 0

    def error(self) -> KafkaError | None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def leader_epoch(self) -> int | None:
        return self.epoch

    def timestamp(self) -> tuple[int, int]:
        return (1, 0)

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes | None:
        return b"{}"

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None

    def __len__(self) -> int:
        return 2


def read(start: int, end: int) -> tuple[PartitionProgress, Jumps]:
    """Plan one partition from start to end."""
    jumps = Jumps()
    return PartitionProgress(PlannedRange(0, start, end, start, leader_epoch=None, generation=0), jumps), jumps


@given(st.sets(st.integers(0, 40)), st.integers(0, 40), st.integers(1, 7))
def test_every_offset_is_a_record_or_in_a_jump(there: set[int], end: int, run: int) -> None:
    """However the records come in runs, those before the end are taken once, and all else before it is a jump."""
    progress, jumps = read(0, end)
    messages = [Consumed(offset) for offset in sorted(there)]
    taken: list[int] = []
    for start in range(0, len(messages), run):
        taken += [message.offset() for message in progress.take(messages[start : start + run])]
    progress.reach_end()
    progress.finish(None)
    jumped = {offset for jump in jumps.take() for offset in range(jump.start, jump.end)}
    assert taken == sorted(offset for offset in there if offset < end)
    assert jumped == set(range(end)) - there
    staged = progress.staged()
    assert (staged.records, staged.invisible) == (len(taken), len(jumped))


def test_records_that_come_again_are_ignored() -> None:
    """A record before the position is not counted a second time."""
    progress, _ = read(0, 4)
    progress.take([Consumed(0), Consumed(1)])
    assert [message.offset() for message in progress.take([Consumed(1), Consumed(2), Consumed(3)])] == [2, 3]


def test_the_end_has_the_epoch_of_the_record_that_reached_it() -> None:
    """What was fetched beyond the end doesn't count, however much later its leader is."""
    progress, _ = read(0, 2)
    progress.take([Consumed(0, 3), Consumed(1, 3), Consumed(2, 9)])
    progress.finish(9)
    assert progress.staged().end_epoch == 3


def test_the_end_behind_a_jump_has_the_epoch_of_what_follows() -> None:
    """With a marker before the end only the first record past it, or the consumer's position, tells its epoch."""
    followed, _ = read(0, 3)
    followed.take([Consumed(0, 3), Consumed(5, 4), Consumed(6, 9)])
    followed.finish(9)
    assert followed.staged().end_epoch == 4
    last, _ = read(0, 3)
    last.take([Consumed(0, 3)])
    last.reach_end()
    last.finish(4)
    assert last.staged().end_epoch == 4
    unknown, _ = read(0, 1)
    unknown.take([Consumed(0, None)])
    unknown.finish(None)
    assert unknown.staged().end_epoch is None


def test_changes_of_the_leader_are_kept() -> None:
    """Where the records' epoch changes is on record, which bounds the epoch at any offset inside the plan."""
    progress, _ = read(0, 6)
    progress.take([Consumed(0, 1), Consumed(1, 1), Consumed(2, 4)])
    progress.take([Consumed(4, 4), Consumed(5, 6)])
    progress.finish(6)
    staged = progress.staged()
    assert [(change.offset, change.epoch) for change in staged.epochs] == [(0, 1), (2, 4), (5, 6)]
    assert staged.epoch_bounds(2) == (1, 4)
    assert staged.epoch_bounds(5) == (4, 6)
    assert staged.epoch_bounds(6) == (6, 6)


def test_the_longest_jumps_come_first() -> None:
    """Jumps to read again are given longest first; the others are counted."""
    jumps = Jumps()
    for start in range(1_200):
        jumps.add(OffsetRange(0, 1_000 * start, 1_000 * start + 1 + start % 7))
    lengths = [jump.length for jump in jumps.longest()]
    assert lengths == sorted((1 + start % 7 for start in range(1_200)), reverse=True)[:1_000]
    assert jumps.count == 1_200


def test_what_was_planned_is_what_is_staged() -> None:
    """Range, gap, epoch and generation of the plan are in the manifest as the ledger had them."""
    planned = PlannedRange(3, 10, 20, 15, leader_epoch=4, generation=2)
    staged = PartitionProgress(planned, Jumps()).staged()
    assert (staged.partition, staged.start, staged.end, staged.gap) == (3, 10, 20, 5)
    assert (staged.start_epoch, staged.generation) == (4, 2)
