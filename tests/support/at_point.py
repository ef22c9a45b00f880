"""Something that happens to topic or brokers in the middle of a step, while the step itself is the real one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from topicledger.steps import consume, produce


def at_point(monkeypatch: pytest.MonkeyPatch, point: str, act: Callable[[], object], times: int = 1) -> None:
    """Let something happen when producing or consuming passes one of their named points.

    Args:
        monkeypatch: Takes the place of the point's own function.
        point: One of `topicledger.crash_points.POINTS` that lies in `topicledger.steps.produce` or `consume`.
        act: What happens.
        times: At how many of the first passes.
    """
    left = times

    def passing(name: str) -> None:
        nonlocal left
        if name == point and left:
            left -= 1
            act()

    for step in (produce, consume):
        monkeypatch.setattr(step, "crash_point", passing)
