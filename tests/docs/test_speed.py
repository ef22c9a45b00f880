"""speed.md's figures are those of runs of the benchmarks that are kept, row by row."""

from __future__ import annotations

import re

from tests.docs.pages import read

SPEED = read("docs/speed.md")


def test_speed_is_what_was_measured() -> None:
    """Every row of figures stands in the results that the page names."""
    results = {
        line for path in re.findall(r"`(benchmarks/results/[^`]+\.md)`", SPEED) for line in read(path).splitlines()
    }
    rows = [line for line in SPEED.splitlines() if re.match(r"\| .*\d", line)]
    assert len(rows) >= 10
    assert [row for row in rows if row not in results] == []
