"""Planning as pure decisions: what the topic and the ledger say, to a plan or an error."""

from __future__ import annotations

import re

import msgspec
import pytest
from confluent_kafka import Uuid
from hypothesis import assume, given
from hypothesis import strategies as st

from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.kafka.topic import written_id
from topicledger.model import planning
from topicledger.model.acceptance import Accepted, Loss, parse_accepted
from topicledger.model.plan import OffsetRange, Plan, Position, Receipt
from topicledger.model.planning import TopicState, Watermarks

ID, OTHER_ID = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBB"
NOTHING = Accepted()


def topic(*marks: tuple[int, int, int], topic_id: str = ID) -> TopicState:
    """A topic by (low, last stable, high) of its partitions."""
    return TopicState("t", topic_id, tuple(Watermarks(p, *m) for p, m in enumerate(marks)))


def at(partition: int, position: int, origin: int = 0, topic_id: str = ID) -> Position:
    return Position("t", topic_id, partition, origin, position, leader_epoch=3, generation=1)


def receipt_of(*ranges: tuple[int, int, int], topic_id: str = ID) -> Receipt:
    return Receipt("t", topic_id, "attempt", acked=1, ranges=tuple(OffsetRange(*r) for r in ranges))


def plan(state: TopicState, *positions: Position, cap: int | None = None) -> Plan:
    by_partition = {p.partition: p for p in positions}
    return planning.make_plan(state, by_partition, target="main.t", accepted=(), max_records=cap)


watermarks = st.tuples(*[st.integers(0, 50)] * 3).map(sorted)
states = st.lists(watermarks, min_size=1, max_size=6).map(lambda marks: topic(*(tuple(m) for m in marks)))


@given(states, st.lists(st.integers(0, 60), min_size=6, max_size=6), st.sampled_from([None, 1, 3, 10, 40, 200]))
def test_plan_reads_what_is_new_and_no_more(state: TopicState, at_offsets: list[int], cap: int | None) -> None:
    """A range begins at its position, ends at the last stable offset at most, and what a cap leaves is counted."""
    positions = [
        at(m.partition, min(offset, m.last_stable)) for m, offset in zip(state.partitions, at_offsets, strict=False)
    ]
    made = plan(state, *positions, cap=cap)
    read = available = 0
    for marks, planned, position in zip(state.partitions, made.ranges, positions, strict=True):
        assert planned.start == position.position <= planned.read_from <= planned.end
        assert planned.read_from == max(position.position, marks.low)
        assert planned.end <= max(marks.last_stable, planned.read_from)
        assert (planned.leader_epoch, planned.generation) == (3, 1)
        read += planned.end - planned.read_from
        available += max(0, marks.last_stable - planned.read_from)
    assert made.left == available - read
    assert read == (available if cap is None else min(cap, available))


def test_a_cap_is_shared_out_and_says_what_it_leaves() -> None:
    """A cap counts from where reading starts; what one partition doesn't need goes to the others; the rest is left."""
    made = plan(topic((0, 2, 2), (5, 20, 20), (0, 9, 9)), at(0, 0), at(1, 3), at(2, 9), cap=10)
    assert [(r.start, r.read_from, r.end) for r in made.ranges] == [(0, 0, 2), (3, 5, 13), (9, 9, 9)]
    assert made.left == 7


@given(states, st.integers(1, 7))
def test_capped_runs_reach_the_end(state: TopicState, cap: int) -> None:
    """With any cap each run advances a partition that has records, until nothing is left."""
    positions = [at(m.partition, m.low) for m in state.partitions]
    for _ in range(sum(m.last_stable - m.low for m in state.partitions)):
        made = plan(state, *positions, cap=cap)
        advanced = [at(r.partition, r.end) for r in made.ranges]
        assert advanced != positions
        positions = advanced
        if not made.left:
            break
    assert [p.position for p in positions] == [m.last_stable for m in state.partitions]


@given(states)
def test_a_plan_is_named_by_its_content(state: TopicState) -> None:
    """The same ranges have the same plan_id; another topic, target or range has another one."""
    positions = [at(m.partition, m.low) for m in state.partitions]
    made = plan(state, *positions)
    assert made.plan_id == plan(state, *positions, cap=10_000).plan_id
    renamed = [Position("t", OTHER_ID, p.partition, p.origin, p.position) for p in positions]
    recreated = TopicState("t", OTHER_ID, state.partitions)
    assert made.plan_id != plan(recreated, *renamed).plan_id


def test_first_origin_as_declared() -> None:
    """The first run begins at the low watermark, or with `latest` at the last stable offset."""
    state = topic((5, 8, 9), (0, 0, 0))
    for origin, expected in (("earliest", [5, 0]), ("latest", [8, 0])):
        added = planning.missing_positions(state, (), None, origin)
        assert [(p.origin, p.position) for p in added] == [(e, e) for e in expected]


def test_first_origin_is_never_after_the_receipt() -> None:
    """Whatever is declared, the books begin no later than this run's own first record."""
    added = planning.missing_positions(topic((0, 9, 9)), (), receipt_of((0, 4, 9)), "latest")
    assert [p.origin for p in added] == [4]


@pytest.mark.parametrize("origin", ["earliest", "latest"])
def test_later_partitions_begin_at_zero(origin: str) -> None:
    """A partition that appears later is read from 0, and positions that are there are left alone."""
    added = planning.missing_positions(topic((0, 5, 5), (3, 7, 7)), [at(0, 4)], None, origin)
    assert [(p.partition, p.origin, p.position) for p in added] == [(1, 0, 0)]


def test_books_begun_by_another_run() -> None:
    """A plan made before the books began holds when it fits behind where another run began them, else not."""
    planned = [at(0, 4), at(1, 0)]
    planning.require_begun(planned, planned)
    planning.require_begun(planned, [at(0, 9, origin=4), at(1, 7, origin=0)])
    for wrong in (at(0, 9, origin=5), at(0, 3, origin=0), msgspec.structs.replace(at(0, 4), generation=2)):
        with pytest.raises(RetriableError, match=r"partition 0 of t: planned was from 4, .*plan again"):
            planning.require_begun(planned, [wrong, at(1, 0)])
    with pytest.raises(RetriableError, match=r"partition 1 of t: .* its position is gone"):
        planning.require_begun(planned, [at(0, 4)])


def test_books_that_begin_after_the_receipt() -> None:
    """Books that begin after the run's own records are refused, naming the partition and what to clear."""
    with pytest.raises(IntegrityError, match="Repeat the run from producing on") as refused:
        planning.current_positions(topic((9, 9, 9)), [at(0, 9, origin=9)], receipt_of((0, 4, 9)))
    assert (refused.value.partition, refused.value.offset) == (0, 4)


def test_known_topic() -> None:
    """The topic that the ledger knows needs no acceptance, also after it once was another."""
    assert not planning.check_topic_id(topic((0, 0, 0)), [at(0, 0), at(0, 0, topic_id=OTHER_ID)], None, NOTHING)
    assert not planning.check_topic_id(topic((0, 0, 0)), [], None, NOTHING)


def test_recreated_topic() -> None:
    """A topic with another id is refused with the entry that accepts it, and goes on with exactly that entry."""
    state, known = topic((0, 1, 1), topic_id=OTHER_ID), [at(0, 5)]
    with pytest.raises(IntegrityError, match="recreated") as refused:
        planning.check_topic_id(state, known, None, Accepted(topic_ids=(ID,)))
    [entry] = re.findall(r'"(topic_id:[^"]+)"', str(refused.value))
    assert planning.check_topic_id(state, known, None, parse_accepted([entry]))


def test_topic_recreated_since_producing() -> None:
    """A receipt of another topic is refused whatever is accepted: the run has to produce again."""
    with pytest.raises(IntegrityError, match="Repeat the run from producing on"):
        planning.check_topic_id(
            topic((0, 1, 1), topic_id=OTHER_ID), [], receipt_of((0, 0, 1)), Accepted(topic_ids=(OTHER_ID,))
        )


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_any_topic_id_can_be_accepted(most: int, least: int) -> None:
    """Whatever id the broker gives a topic, the printed entry parses to that very id."""
    written = written_id(Uuid(most, least))
    assert parse_accepted([f"topic_id:{written}"]).topic_ids == (written,)


@given(st.sampled_from(["gap", "truncated"]), st.tuples(*[st.integers(0, 2**63)] * 3))
def test_any_printed_loss_can_be_accepted(kind: str, numbers: tuple[int, int, int]) -> None:
    """A loss as an error prints it parses to that very loss, also with white space around it."""
    loss = Loss(kind, *numbers)
    assert parse_accepted([f" {loss}\n"]).losses == (loss,)


@pytest.mark.parametrize(
    "entry", ["", "gap", "gap:0:1", "gap:0:1:2:3", "gap:a:1:2", "gap:-1:0:1", "topic_id:short", "all"]
)
def test_malformed_entries(entry: str) -> None:
    """An entry that no error has printed is a SettingsError that quotes it."""
    with pytest.raises(SettingsError, match=re.escape(repr(entry))):
        parse_accepted(["gap:0:1:2", entry])


def test_losses_are_found() -> None:
    """A log that begins after the position is a gap, one that ends before it is truncated; both name the interval."""
    state = topic((7, 9, 9), (0, 4, 4), (0, 5, 5))
    positions = {0: at(0, 3), 1: at(1, 6), 2: at(2, 5)}
    assert planning.find_gaps(state, positions) == [Loss("gap", 0, 3, 7)]
    assert [loss for loss, _ in planning.find_truncations(state, positions, None)] == [Loss("truncated", 1, 4, 6)]


def test_own_records_truncated() -> None:
    """When the run's own records are gone from the end, it is told to produce again."""
    with pytest.raises(IntegrityError, match="Repeat the run from producing on"):
        planning.find_truncations(topic((0, 4, 4)), {0: at(0, 2)}, receipt_of((0, 2, 6)))


def accept(lost: list[Loss], accepted: list[Loss], position: int = 10) -> list[str]:
    return planning.require_accepted(topic((0, 9, 9)), lost, {0: at(0, position)}, Accepted(losses=tuple(accepted)))


GAP = Loss("gap", 0, 10, 20)


def test_a_loss_must_be_accepted() -> None:
    """An unaccepted loss is refused with its interval, its length, and the entry that accepts it."""
    with pytest.raises(IntegrityError, match=r"\[10, 20\), 10 in all") as refused:
        accept([GAP], [])
    assert '{"accept": ["gap:0:10:20"]}' in str(refused.value)
    assert (refused.value.partition, refused.value.offset) == (0, 10)
    assert accept([GAP], [GAP]) == []


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from(["gap", "truncated"]), st.integers(0, 1))
def test_only_exactly_the_loss_is_accepted(start: int, end: int, kind: str, partition: int) -> None:
    """Any other interval, kind or partition than the lost one leaves the loss refused."""
    other = Loss(kind, partition, start, end)
    assume(other != GAP)
    with pytest.raises(IntegrityError, match="gap:0:10:20"):
        accept([GAP], [other])


def test_an_accepted_loss_that_is_passed_is_ignored() -> None:
    """An accepted interval at or below the position is ignored and named, so that a cleared run stays green."""
    assert accept([], [GAP], position=20) == ["gap:0:10:20"]
    assert accept([], [Loss("truncated", 0, 20, 30)], position=20) == ["truncated:0:20:30"]


def test_accepting_what_is_not_lost() -> None:
    """An accepted interval above the position that isn't lost is refused: nobody accepts ahead of time."""
    with pytest.raises(IntegrityError, match="not what is lost"):
        accept([], [GAP], position=19)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_set_back(origin: int, kept: int, lost: int) -> None:
    """An accepted truncation sets the position back with a new generation, and its books still balance."""
    before = at(0, kept + lost, origin=min(origin, kept + lost))
    loss = Loss("truncated", 0, kept, kept + lost)
    after = planning.set_back(before, loss, Watermarks(0, 0, kept, kept, high_epoch=9))
    applied = planning.set_back_range(before, loss)
    assert (after.position, after.leader_epoch, after.generation) == (kept, 9, before.generation + 1)
    assert applied.length <= 0
    assert before.position - before.origin + applied.length == after.position - after.origin


def test_open_transactions() -> None:
    """Without a receipt every open transaction counts, with one only what hides the run's own records."""
    state = topic((0, 4, 9), (0, 9, 9), (0, 4, 9))
    assert [m.partition for m in planning.unstable(state, None)] == [0, 2]
    assert [m.partition for m in planning.unstable(state, receipt_of((0, 2, 9), (1, 2, 9), (2, 2, 4)))] == [0]


def test_a_partition_without_a_position() -> None:
    """Positions that were added and aren't read back stop the planning, naming the partitions."""
    with pytest.raises(IntegrityError, match=r"no position for partitions \[1, 2\] of t .*who removes") as refused:
        planning.current_positions(topic((0, 1, 1), (0, 1, 1), (0, 1, 1)), [at(0, 0)], None)
    assert (refused.value.topic, refused.value.partition) == ("t", 1)
