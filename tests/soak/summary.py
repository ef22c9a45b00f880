"""What a soak says: its progress, and at its end how often everything occurred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tests.soak.actions import FAULTS, PLAIN
from tests.soak.sequence import Outcome
from topicledger.crash_points import POINTS


def failed(outcome: Outcome) -> str:
    """A failed sequence: its seed, its actions, what was wrong."""
    actions = "\n".join(f"  {number}. {name}" for number, name in enumerate(outcome.actions, 1))
    return (
        f"seed {outcome.seed} on {outcome.warehouse} FAILED in its last action:\n{actions}\n{outcome.failure}\n"
        f"Replay it: make soak SEED={outcome.seed}"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """How many ran, on which warehouse, how often each action and each crash point occurred, what failed."""
    warehouses = Counter(outcome.warehouse for outcome in outcomes)
    actions = Counter(name for outcome in outcomes for name in outcome.actions)
    points = Counter(point for outcome in outcomes for point in outcome.points)
    failures = [str(outcome.seed) for outcome in outcomes if outcome.failure is not None]
    seconds = sum(outcome.seconds for outcome in outcomes)
    return "\n".join(
        [
            f"{len(outcomes)} sequences, {seconds / max(1, len(outcomes)):.1f} s each",
            *_lines("warehouse", warehouses, warehouses),
            *_lines("action", [action.__name__ for action in PLAIN], actions),
            *_lines("fault", [action.__name__ for action in FAULTS], actions),
            *_lines("killed at", POINTS, points),
            f"failed: {len(failures)}" + (f", seeds {' '.join(failures)}" if failures else ""),
        ]
    )


def _lines(title: str, names: Iterable[str], counted: Counter[str]) -> list[str]:
    return [f"{title:10} {name:30} {counted[name]:6}" for name in names]
