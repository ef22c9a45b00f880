"""The matrix of the warehouses is that of the contract suite: every cell names a test that is there, and runs there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.contract.places import ACCOUNT, EMULATED, KINDS, NOT_EMULATED, NOT_ON_SNOWFLAKE, SQL_ONLY
from tests.docs.pages import ROOT, read, section, spans, tables

(HEAD, *ROWS) = tables(section(read("docs/warehouses/README.md"), "What each was tested with"))[0]
SUITE = ROOT / "tests" / "contract"


def defined(place: str) -> tuple[str, ast.FunctionDef, ast.Module]:
    """Find the test that a cell names: its name, its function and its module."""
    file, _, name = place.partition("::")
    path = Path(ROOT / file) if "/" in file else SUITE / file
    module = ast.parse(path.read_text())
    return name, next(n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == name), module


def runs_everywhere(place: str) -> bool:
    """Whether the suite runs a test on each kind of warehouse: by its parameter, no fixture of its module's own."""
    _, function, module = defined(place)
    own = any(isinstance(node, ast.FunctionDef) and node.name == "place" for node in module.body)
    return not own and "place" in {argument.arg for argument in function.args.args}


def kind_of(column: str) -> str:
    """The kind that a column is about, as the suite calls it."""
    return column.lower().replace("postgresql", "postgres").replace(", ", "_")


def excepted(kind: str) -> dict[str, tuple[str, str]]:
    """The cases that don't run on a kind, each with what stands in its place there."""
    if kind == EMULATED:
        return {**NOT_ON_SNOWFLAKE, **NOT_EMULATED}
    return {} if kind in ("duckdb", "postgres") else SQL_ONLY


def test_each_kind_has_its_column() -> None:
    """The columns are the kinds that the suite runs on."""
    assert {kind_of(name) for name in HEAD[2:]} == set(KINDS) - {ACCOUNT}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row(row: list[str]) -> None:
    """`yes` stands where the row's test runs as it is; another cell names a test that exists, or says why not."""
    assert len(row) == len(HEAD)
    whole = spans(row[1])
    name = defined(whole[0])[0] if whole else ""
    assert not whole or runs_everywhere(whole[0])
    for column, cell in zip(HEAD[2:], row[2:], strict=True):
        instead = excepted(kind_of(column))
        assert not whole or (cell == "yes") is (name not in instead)
        if name_of := spans(cell):
            assert defined(name_of[0])
            if whole:
                assert name_of[0].endswith(f"::{instead[name][1]}")
        else:
            assert (cell == "yes" and whole) or cell.startswith("no: ")
