"""README.md's figures are those of a run of the benchmark that is kept, row by row."""

from __future__ import annotations

import re

from tests.docs.pages import read, section

README = read("README.md")


def test_speed_is_what_was_measured() -> None:
    """Every row of figures under Speed stands in the results that the section links to."""
    speed = section(README, "Speed")
    named = re.search(r"\]\((benchmarks/results/[^)]+\.md)\)", speed)
    assert named is not None
    results = read(named[1]).splitlines()
    rows = [line for line in speed.splitlines() if re.match(r"\| .*\d", line)]
    assert len(rows) >= 10
    assert [row for row in rows if row not in results] == []
