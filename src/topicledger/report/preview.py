"""What the next run would read, decided by the very functions that plan a run, and shown as a table."""

from __future__ import annotations

from collections.abc import Sequence

from topicledger.model.acceptance import Accepted
from topicledger.model.plan import Plan, Position
from topicledger.model.planning import (
    TopicState,
    Watermarks,
    check_topic_id,
    current_positions,
    find_gaps,
    find_truncations,
    make_plan,
    missing_positions,
    require_accepted,
)
from topicledger.pipeline import Pipeline
from topicledger.report.display import aligned, number


def preview(state: TopicState, known: Sequence[Position], pipeline: Pipeline, target: str) -> Plan:
    """Plan as a run would that starts now and produces nothing. Nothing is written.

    Args:
        state: The topic as the broker describes it.
        known: The target's position rows of the topic; empty before the first run.
        pipeline: For its origin and its cap.
        target: The rows table's fully qualified name.

    Raises:
        IntegrityError: The run would stop: offsets were lost, or the topic was recreated.
    """
    check_topic_id(state, known, None, Accepted())
    positions = current_positions(state, [*known, *missing_positions(state, known, None, pipeline.origin)], None)
    losses = [loss for loss, _ in find_truncations(state, positions, None)] + find_gaps(state, positions)
    require_accepted(state, losses, positions, Accepted())
    return make_plan(state, positions, target=target, accepted=(), max_records=pipeline.max_records)


def plan_table(plan: Plan, state: TopicState, known: Sequence[Position]) -> str:
    """Show position, end and lag of every partition, and their sum."""
    marks = {m.partition: m for m in state.partitions}
    recorded = {p.partition for p in known if p.topic_id == plan.topic_id}
    lines = [
        (
            str(r.partition),
            number(r.start),
            number(r.end),
            number(r.end - r.start),
            number(marks[r.partition].last_stable - r.start),
            _remark(marks[r.partition], new=r.partition not in recorded),
        )
        for r in plan.ranges
    ]
    offsets = sum(r.end - r.start for r in plan.ranges)
    said = f"The next run would read {number(offsets)} offsets of {plan.topic}"
    if plan.left:
        said += f"; the cap leaves {number(plan.left)} for later runs"
    return f"{said}.\n\n{aligned(('>partition', '>position', '>end', '>to read', '>lag', ''), lines)}"


def _remark(marks: Watermarks, *, new: bool) -> str:
    remarks = ["not in the ledger yet"] if new else []
    hidden = marks.high - marks.last_stable
    if hidden:
        remarks.append(f"{number(hidden)} more behind an open transaction")
    return ", ".join(remarks)
