"""speed.md's figures are those of a run of the benchmark that is kept, row by row."""

from __future__ import annotations

import re

from tests.docs.pages import read

SPEED = read("docs/speed.md")


def test_speed_is_what_was_measured() -> None:
    """Every row of figures stands in the results that the page names."""
    named = re.search(r"`(benchmarks/results/[^`]+\.md)`", SPEED)
    assert named is not None
    results = read(named[1]).splitlines()
    rows = [line for line in SPEED.splitlines() if re.match(r"\| .*\d", line)]
    assert len(rows) >= 10
    assert [row for row in rows if row not in results] == []
