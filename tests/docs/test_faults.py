"""docs/faults.md and the tests that prove it say the same: every row has its tests, every test its row."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from tests.docs.pages import ROOT, read, section, spans, table

FAULTS = read("docs/faults.md")
SECTIONS = (
    "Processes and Airflow",
    "Kafka",
    "Records",
    "Staged files and warehouses",
    "Credentials and secrets",
    "Several runs, zombies and restored backups",
)


@dataclass(frozen=True)
class Mark:
    """One `pytest.mark.fault` in a test file."""

    row: int
    outcome: str
    stands_in: bool
    place: str


def documented() -> dict[int, str]:
    """Give the outcome of each row of the tables."""
    rows = [row for title in SECTIONS for row in table(FAULTS, title)]
    assert len({row[0] for row in rows}) == len(rows), "a row's number stands twice"
    for row in rows:
        assert len(row) == 5
        assert all(row), f"row {row[0]} has an empty cell"
    return {int(row[0]): spans(row[2])[0] for row in rows}


@cache
def marks() -> list[Mark]:
    """Give every mark of the tests; each stands above a test function and has literal arguments."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if "pytest.mark.fault" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fault":
                row, outcome = (ast.literal_eval(argument) for argument in node.args)
                stands_in = {k.arg: ast.literal_eval(k.value) for k in node.keywords}.get("stands_in")
                found.append(Mark(row, outcome, bool(stands_in), f"{path.relative_to(ROOT)}:{node.lineno}"))
    return found


def test_each_row_has_its_tests_and_each_test_its_row() -> None:
    """Rows and marks are the same set of numbers."""
    assert {mark.row for mark in marks()} == set(documented())


def test_outcomes_agree() -> None:
    """A test promises the outcome that its row has, and the outcomes are those that the page explains."""
    rows = documented()
    known = {spans(line[0])[0] for line in _first_table()}
    assert set(rows.values()) <= known
    assert [mark for mark in marks() if rows.get(mark.row) != mark.outcome] == []


def test_what_stands_in_is_said() -> None:
    """The page lists just the rows that no test produces for real: six at most."""
    by_row = defaultdict(list)
    for mark in marks():
        by_row[mark.row].append(mark.stands_in)
    standing_in = {row for row, flags in by_row.items() if all(flags)}
    assert len(standing_in) <= 6
    assert {int(row[0]) for row in table(FAULTS, "Where something stands in")} == standing_in


def _first_table() -> list[list[str]]:
    head = FAULTS.partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in head.splitlines() if line.startswith("| `")
    ]


def test_sections_are_all_there_are() -> None:
    """No table of faults escapes these checks."""
    titles = [line.removeprefix("## ") for line in FAULTS.splitlines() if line.startswith("## ")]
    assert titles == [*SECTIONS, "Where something stands in"]
    assert section(FAULTS, titles[-1]).strip()
