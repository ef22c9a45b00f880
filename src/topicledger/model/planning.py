"""Steps 3 to 7 of the protocol as pure decisions: what the topic and the ledger say, to a plan or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.acceptance import Accepted, Loss
from topicledger.model.ledger import Loaded
from topicledger.model.plan import OffsetRange, Plan, PlannedRange, Position, Receipt


class Watermarks(msgspec.Struct, frozen=True):
    """What the broker says of one partition.

    Args:
        partition: The partition.
        low: First offset that is still there.
        last_stable: Before it every transaction is decided; where a read_committed reader ends.
        high: The next offset to be written.
        high_epoch: Leader epoch of the log's end, or None when the broker doesn't tell.
    """

    partition: int
    low: int
    last_stable: int
    high: int
    high_epoch: int | None = None


class TopicState(msgspec.Struct, frozen=True):
    """The topic as it stands at planning.

    Args:
        topic: The topic.
        topic_id: Kafka's id of it; another one means that it was recreated.
        partitions: One entry per partition, ascending.
    """

    topic: str
    topic_id: str
    partitions: tuple[Watermarks, ...]


def check_topic_id(state: TopicState, known: Sequence[Position], receipt: Receipt | None, accepted: Accepted) -> bool:
    """Step 3: the topic must be the one that the ledger and the receipt know.

    Returns:
        Whether the topic's id is new to the ledger and was accepted by a person in this run.

    Raises:
        IntegrityError: The topic was recreated and nobody accepted that, or since this run produced.
    """
    if receipt is not None and receipt.topic_id != state.topic_id:
        raise IntegrityError(
            f"topic {state.topic} was recreated after this run produced: its id was {receipt.topic_id}, now it is "
            f"{state.topic_id}",
            code="topic-recreated-after-producing",
            repeat="produce",
            topic=state.topic,
        )
    if not known or any(position.topic_id == state.topic_id for position in known):
        return False
    if state.topic_id in accepted.topic_ids:
        return True
    ids = ", ".join(sorted({position.topic_id for position in known}))
    raise IntegrityError(
        f"topic {state.topic} was recreated: the ledger knows the id {ids}, now it is {state.topic_id}. Records of the "
        "old topic that were not loaded are lost. If that is so and the new topic is the one to load, trigger the DAG "
        f'with {{"accept": ["topic_id:{state.topic_id}"]}}: the new topic is read from its first offset',
        code="topic-recreated",
        topic=state.topic,
    )


def check_target(pipeline: str, topic: str, target: str, others: Sequence[Loaded], accepted: Accepted) -> list[str]:
    """Step 4, where books would begin: this pipeline must not have loaded the topic into another table before.

    A pipeline of another name may: it has books of its own.

    Returns:
        What a person accepted in this run: the entries, for the record.

    Raises:
        IntegrityError: It has, so the table was renamed in the declaration, and nobody accepted what that means.
    """
    renamed = [f"{other.target}->{target}" for other in others if other.pipeline == pipeline]
    refused = [change for change in renamed if change not in accepted.targets]
    if refused:
        before = ", ".join(other.target for other in others if other.pipeline == pipeline)
        entries = ", ".join(f'"target:{change}"' for change in renamed)
        raise IntegrityError(
            f"pipeline {pipeline} has loaded topic {topic} into {before}, and now declares {target}, whose books "
            f"would begin anew: all that the topic still has would be loaded again, into {target}, and nothing more "
            f"into {before}. To go on where it is, declare the table as it was, or rename it in the warehouse and in "
            f'its ledger as well; to load everything again on record, trigger the DAG with {{"accept": [{entries}]}}',
            code="table-renamed",
            topic=topic,
        )
    return [f"target:{change}" for change in renamed]


def missing_positions(
    state: TopicState, known: Sequence[Position], receipt: Receipt | None, origin: str
) -> list[Position]:
    """Step 4: position rows for the partitions that have none yet; they are written when the batch was judged.

    The very first time the origin is as declared, but never after the receipt's start; partitions and accepted
    topics that appear later begin at 0, so that nothing of them is ever skipped.
    """
    have = {position.partition for position in known if position.topic_id == state.topic_id}
    starts = {r.partition: r.start for r in receipt.ranges} if receipt else {}
    added = []
    for marks in state.partitions:
        if marks.partition in have:
            continue
        start = 0
        if not known:
            start = marks.low if origin == "earliest" else marks.last_stable
            start = min(start, starts.get(marks.partition, start))
        added.append(Position(state.topic, state.topic_id, marks.partition, origin=start, position=start))
    return added


def require_begun(planned: Sequence[Position], known: Sequence[Position]) -> None:
    """Step 4: the ledger has each position that was planned from, or one of another run behind which the plan fits.

    Raises:
        RetriableError: Another run was first and began elsewhere; what was planned would leave records out.
    """
    there = {(position.topic_id, position.partition): position for position in known}
    for position in planned:
        found = there.get((position.topic_id, position.partition))
        if found is None or found.generation != position.generation:
            said = "its position is gone or was set back"
        elif not found.origin <= position.position <= found.position:
            said = f"another run began the books at {found.origin} and is at {found.position}"
        else:
            continue
        raise RetriableError(
            f"partition {position.partition} of {position.topic}: planned was from {position.position}, meanwhile "
            f"{said}. Nothing was staged: plan again",
            code="ledger-moved-while-planning",
            topic=position.topic,
            partition=position.partition,
            offset=position.position,
        )


def current_positions(state: TopicState, known: Sequence[Position], receipt: Receipt | None) -> dict[int, Position]:
    """Step 4: the ledger's positions of this topic, one for each partition, checked against the receipt.

    Raises:
        IntegrityError: A partition has none, or the books begin after records that this run produced.
    """
    positions = {p.partition: p for p in known if p.topic_id == state.topic_id}
    missing = [marks.partition for marks in state.partitions if marks.partition not in positions]
    if missing:
        raise IntegrityError(
            f"the ledger gives no position for partitions {missing} of {state.topic} ({state.topic_id}), which were "
            "written before: find out who removes or hides rows of topicledger_positions",
            code="positions-unreadable",
            repeat="step",
            topic=state.topic,
            partition=missing[0],
        )
    for produced in receipt.ranges if receipt else ():
        position = positions.get(produced.partition)
        if produced.length and position is not None and position.origin > produced.start:
            raise IntegrityError(
                f"partition {produced.partition} of {state.topic}: the books begin at {position.origin}, after this "
                f"run's own records from {produced.start} on",
                code="origin-after-receipt",
                repeat="produce",
                topic=state.topic,
                partition=produced.partition,
                offset=produced.start,
            )
    return positions


def find_truncations(
    state: TopicState, positions: Mapping[int, Position], receipt: Receipt | None
) -> list[tuple[Loss, Watermarks]]:
    """Step 5: partitions whose log ends before the ledger's position.

    Raises:
        IntegrityError: Records that this run produced were truncated; they are produced again.
    """
    ends = {r.partition: r.end for r in receipt.ranges if r.length} if receipt else {}
    found = []
    for marks in state.partitions:
        position = positions[marks.partition].position
        if marks.high < position:
            found.append((Loss("truncated", marks.partition, marks.high, position), marks))
        elif marks.high < ends.get(marks.partition, 0):
            raise IntegrityError(
                f"partition {marks.partition} of {state.topic} was truncated: it ends at {marks.high}, this run "
                f"produced through {ends[marks.partition]}",
                code="produced-records-truncated",
                repeat="produce",
                topic=state.topic,
                partition=marks.partition,
                offset=marks.high,
            )
    return found


def find_gaps(state: TopicState, positions: Mapping[int, Position]) -> list[Loss]:
    """Step 6: partitions whose log begins after the ledger's position."""
    return [
        Loss("gap", marks.partition, positions[marks.partition].position, marks.low)
        for marks in state.partitions
        if marks.low > positions[marks.partition].position
    ]


def require_accepted(
    state: TopicState, losses: Sequence[Loss], positions: Mapping[int, Position], accepted: Accepted
) -> list[str]:
    """Steps 5 and 6: every loss must be accepted exactly, and nothing else above the positions may be.

    Returns:
        Accepted intervals that the ledger has passed already: they are ignored, which the log should say.

    Raises:
        IntegrityError: A loss isn't accepted, or an accepted interval isn't lost.
    """
    ignored: list[str] = []
    wrong: list[str] = []
    for entry in accepted.losses:
        position = positions.get(entry.partition)
        passed = position is not None and (
            entry.start <= position.position if entry.kind == "truncated" else entry.end <= position.position
        )
        if entry in losses:
            continue
        (ignored if passed else wrong).append(str(entry))
    open_losses = [loss for loss in losses if loss not in accepted.losses]
    if open_losses or wrong:
        raise _refused(state, open_losses, wrong, [str(loss) for loss in losses])
    return ignored


def _refused(
    state: TopicState, lost: Sequence[Loss], wrong: Sequence[str], all_losses: Sequence[str]
) -> IntegrityError:
    said = [
        f"partition {loss.partition}: offsets [{loss.start}, {loss.end}), {loss.end - loss.start} in all, "
        + ("were deleted before they were loaded" if loss.kind == "gap" else "were truncated after they were loaded")
        for loss in lost
    ]
    if wrong:
        said.append(f"accept names {', '.join(wrong)}, which is not what is lost")
    entries = ", ".join(f'"{entry}"' for entry in all_losses)
    step = (
        f'look into why; then, to go on without them on record, trigger the DAG with {{"accept": [{entries}]}}'
        if all_losses
        else "trigger the DAG without it"
    )
    first = lost[0] if lost else None
    return IntegrityError(
        f"topic {state.topic}: {'; '.join(said)}. Next: {step}",
        code="offsets-lost",
        topic=state.topic,
        partition=first.partition if first else None,
        offset=first.start if first else None,
    )


def set_back(position: Position, loss: Loss, marks: Watermarks) -> Position:
    """Step 5: the position after an accepted truncation; its generation makes older staged files unusable."""
    return Position(
        position.topic,
        position.topic_id,
        position.partition,
        origin=min(position.origin, loss.start),
        position=loss.start,
        leader_epoch=marks.high_epoch,
        generation=position.generation + 1,
    )


def set_back_range(before: Position, loss: Loss) -> OffsetRange:
    """What an accepted truncation applies: a negative length, down to the truncation or the books' origin."""
    return OffsetRange(before.partition, before.position, max(loss.start, before.origin))


def unstable(state: TopicState, receipt: Receipt | None) -> list[Watermarks]:
    """Step 5: partitions where an open transaction hides records that this run must read.

    With a receipt those where it hides the run's own; without one every partition that has an open transaction.
    """
    if receipt is None:
        return [marks for marks in state.partitions if marks.high > marks.last_stable]
    ends = {r.partition: r.end for r in receipt.ranges if r.length}
    return [marks for marks in state.partitions if marks.last_stable < ends.get(marks.partition, 0) <= marks.high]


def make_plan(
    state: TopicState,
    positions: Mapping[int, Position],
    *,
    target: str,
    accepted: Sequence[str],
    max_records: int | None,
) -> Plan:
    """Step 7: fix the ranges. A cap lowers the ends, counted from where reading starts; each run advances."""
    froms = {m.partition: max(m.low, positions[m.partition].position) for m in state.partitions}
    available = {m.partition: max(0, m.last_stable - froms[m.partition]) for m in state.partitions}
    shares = available if max_records is None else shared_out(available, max_records)
    ranges = tuple(
        PlannedRange(
            partition=m.partition,
            start=positions[m.partition].position,
            end=froms[m.partition] + shares[m.partition],
            read_from=froms[m.partition],
            leader_epoch=positions[m.partition].leader_epoch,
            generation=positions[m.partition].generation,
        )
        for m in state.partitions
    )
    left = sum(available.values()) - sum(shares.values())
    return Plan(target, state.topic, state.topic_id, ranges, tuple(accepted), left)


def shared_out(available: Mapping[int, int], cap: int) -> dict[int, int]:
    """Share a cap out evenly, smallest first, so that what one partition doesn't need goes to the others."""
    shares = dict.fromkeys(available, 0)
    waiting = sorted((count, partition) for partition, count in available.items() if count)
    for index, (count, partition) in enumerate(waiting):
        partitions_left = len(waiting) - index
        # Rounded up, so that a cap below the number of partitions still moves the first ones.
        shares[partition] = min(count, -(-cap // partitions_left))
        cap -= shares[partition]
    return shares
