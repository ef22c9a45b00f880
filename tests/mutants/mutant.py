"""A mutant: one small break of the product, what it breaks, and the tests that must notice."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


class StaleError(Exception):
    """A mutant no longer fits the product, or names a test that isn't there."""


@dataclass(frozen=True)
class Mutant:
    """One break. It is held by text, not by line, so that edits elsewhere in the file leave it whole.

    Args:
        name: What is broken; unique.
        of: What it breaks: `step 12`, `I3`, `guarantee 2`, `staging`, `settings`, `errors`, `records`, `airflow`.
        file: The file, named from the project's folder.
        old: What is replaced; it must stand in the file exactly once.
        new: What replaces it.
        tests: The tests meant for it, each by its function's name; where that isn't unique with the end of its
            file's path in front (`unit/test_x.py::test_y`), and where one case is enough with its id (`test_y[z]`).
    """

    name: str
    of: tuple[str, ...]
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied_to(self, text: str) -> str:
        """Break the file's text.

        Raises:
            StaleError: The snippet isn't there, is there twice, or what comes out isn't Python.
        """
        count = text.count(self.old)
        if count != 1:
            raise StaleError(f"{self.name}: its snippet stands {count} times in {self.file}, not once")
        broken = text.replace(self.old, self.new)
        try:
            compile(broken, self.file, "exec")
        except SyntaxError as error:
            raise StaleError(f"{self.name}: {self.file} is no Python with it: {error}") from error
        return broken

    def node_ids(self) -> tuple[str, ...]:
        """Give its tests as pytest names them.

        Raises:
            StaleError: A test isn't there, or its name isn't unique.
        """
        return tuple(_node_id(self.name, test) for test in self.tests)


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
