"""The places where tests kill the process: listed once, used once, at every step."""

from __future__ import annotations

import ast
from pathlib import Path

from topicledger.crash_points import LOG_POINTS, POINTS

ROOT = Path(__file__).parents[2]
STEPS_IN_PYTHON = range(1, 21)
"""Step 21 is a shell command."""


def names_in_the_code() -> list[str]:
    """Give the argument of each call of `crash_point`; every one is written out."""
    return [
        ast.literal_eval(node.args[0])
        for folder in ("src", "dags")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("crash_point")
    ]


def test_each_point_stands_in_one_place() -> None:
    """The lists and the calls in the code are the same names, each there once."""
    assert sorted(names_in_the_code()) == sorted((*POINTS, *LOG_POINTS))


def test_every_step_has_a_point() -> None:
    """A process can be killed at each numbered step that Python carries out, and the list keeps the steps' order."""
    steps = [int(point.removeprefix("step-").partition(".")[0]) for point in POINTS]
    assert steps == sorted(steps)
    assert set(steps) == set(STEPS_IN_PYTHON)
