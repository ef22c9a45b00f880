"""A mutant: one small break of the product, what it breaks, and the tests that must notice."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


class StaleError(Exception):
    """A mutant no longer fits the product, or names a test that isn't there."""


def product(root: Path) -> dict[str, str]:
    """Give the text of each of the product's files, by its path from the project's folder."""
    paths = sorted(path for folder in ("src", "dags") for path in (root / folder).rglob("*.py"))
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


@dataclass(frozen=True)
class Mutant:
    """One break. Its snippet is its address: it is looked for in the whole product, so that code may move.

    Args:
        name: What is broken; unique.
        of: What it breaks: `step 12`, `I3`, `guarantee 2`, `staging`, `settings`, `errors`, `records`, `airflow`.
        old: What is replaced; it must stand in the product exactly once, however its lines are broken and indented.
        new: What replaces it; its further lines are indented from where the first line's statement begins.
        tests: The tests meant for it, each by its function's name; where that isn't unique with the end of its
            file's path in front (`unit/test_x.py::test_y`), and where one case is enough with its id (`test_y[z]`).
        within: The function or class in which it is looked for, where it stands elsewhere as well.
    """

    name: str
    of: tuple[str, ...]
    old: str
    new: str
    tests: tuple[str, ...]
    within: str = ""

    def set_in(self, texts: Mapping[str, str]) -> tuple[str, str]:
        """Break the product.

        Args:
            texts: The product's files.

        Returns:
            The file in which the snippet stands, and what that file holds when it is broken.

        Raises:
            StaleError: The snippet isn't there, is there twice, or what comes out isn't Python.
        """
        pattern = _pattern(self.old)
        found = [
            (file, match)
            for file, text in texts.items()
            for start, end in _scopes(text, self.within)
            for match in pattern.finditer(text, start, end)
        ]
        if len(found) != 1:
            where = ", ".join([file for file, _ in found]) or self.within
            raise StaleError(f"{self.name}: its snippet stands {len(found)} times in the product, not once: {where}")
        ((file, match),) = found
        text = texts[file]
        line = text[text.rfind("\n", 0, match.start()) + 1 :]
        indent = line[: len(line) - len(line.lstrip())]
        new = self.new.replace("\n", f"\n{indent}")
        broken = text[: match.start()] + new + text[match.end() :]
        try:
            compile(broken, file, "exec")
        except SyntaxError as error:
            raise StaleError(f"{self.name}: {file} is no Python with it: {error}") from error
        return file, broken

    def node_ids(self) -> tuple[str, ...]:
        """Give its tests as pytest names them.

        Raises:
            StaleError: A test isn't there, or its name isn't unique.
        """
        return tuple(_node_id(self.name, test) for test in self.tests)


@functools.cache
def _pattern(snippet: str) -> re.Pattern[str]:
    """Match a snippet as the formatter may lay it out: anew broken, indented, with a comma after the last argument."""
    parts = re.findall(r"\w+|[^\w\s]", snippet)
    return re.compile(
        r"\s*".join(rf"(?:,\s*)?{re.escape(part)}" if part in ")]}" else re.escape(part) for part in parts)
    )


def _scopes(text: str, name: str) -> list[tuple[int, int]]:
    """Give where each function or class of that name begins and ends; without a name the whole text."""
    if not name:
        return [(0, len(text))]
    if not re.search(rf"\b(?:def|class) {name}\b", text):
        return []
    lines = list(itertools.accumulate(map(len, text.splitlines(keepends=True)), initial=0))
    return [
        (lines[node.lineno - 1], lines[node.end_lineno or node.lineno])
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    ]


def _node_id(mutant: str, test: str) -> str:
    place, _, name = test.rpartition("::")
    function, bracket, case = name.partition("[")
    files = [file for file in _defined().get(function, ()) if file.endswith(place)]
    if len(files) != 1:
        raise StaleError(f"{mutant}: the test {test} is in {len(files)} files: {', '.join(files)}")
    return f"{files[0]}::{function}{bracket}{case}"


@functools.cache
def _defined() -> Mapping[str, tuple[str, ...]]:
    """Every test function, and the files that define it."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for function in _TEST.findall(path.read_text(encoding="utf-8")):
            found[function] = (*found.get(function, ()), str(path.relative_to(ROOT)))
    return found
