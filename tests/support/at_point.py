"""Something that happens to topic or brokers in the middle of a step, while the step itself is the real one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import kafka_utils


def at_point(monkeypatch: pytest.MonkeyPatch, point: str, act: Callable[[], object], times: int = 1) -> None:
    """Let something happen when the steps of `kafka_utils` pass one of their named points.

    Args:
        monkeypatch: Takes the place of the point's own function.
        point: One of `topicledger.crash_points.POINTS` that lies in `kafka_utils`.
        act: What happens.
        times: At how many of the first passes.
    """
    left = times

    def passing(name: str) -> None:
        nonlocal left
        if name == point and left:
            left -= 1
            act()

    monkeypatch.setattr(kafka_utils, "crash_point", passing)
