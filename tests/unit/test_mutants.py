"""The list of mutants fits the product: each can be set, names tests that are there, and no promise is without one."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import kafka_utils
import topicledger
from tests.docs.pages import read, section, table
from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import ROOT, Mutant, StaleError

GUARANTEE = read("docs/delivery-guarantee.md")


def test_every_mutant_can_be_set() -> None:
    """Each mutant's snippet stands once in its file, what comes out is Python, and its tests are there."""
    stale = []
    for mutant in MUTANTS:
        try:
            mutant.applied_to((ROOT / mutant.file).read_text(encoding="utf-8"))
            assert mutant.node_ids()
        except StaleError as error:
            stale.append(str(error))
    assert stale == []


def test_names_are_unique() -> None:
    """A mutant is found by its name."""
    assert [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1] == []


def test_every_promise_has_a_mutant() -> None:
    """Each bullet of the guarantee, each numbered step and each identity is broken by at least one mutant."""
    bullets = re.findall(r"^(\d+)\. ", section(GUARANTEE, "The guarantee"), re.MULTILINE)
    steps = re.findall(r"^(\d+)\. ", section(GUARANTEE, "The protocol"), re.MULTILINE)
    promises = {f"guarantee {number}" for number in bullets} | {f"step {number}" for number in steps}
    promises |= {row[0] for row in table(GUARANTEE, "The identities")}
    others = {"staging", "settings", "secrets", "errors", "records", "airflow"}
    assert {of for mutant in MUTANTS for of in mutant.of} == promises | others


def test_a_mutant_that_no_longer_fits_is_said() -> None:
    """A snippet that is gone or repeated, a break that is no Python and a test that isn't there are each refused."""
    fits = Mutant("m", ("I1",), "f.py", "b", "c", ("test_names_are_unique",))
    assert fits.applied_to("a = b") == "a = c"
    assert fits.node_ids() == ("tests/unit/test_mutants.py::test_names_are_unique",)
    for text in ("a", "b = b"):
        with pytest.raises(StaleError, match="not once"):
            fits.applied_to(text)
    with pytest.raises(StaleError, match="is no Python with it"):
        Mutant("m", ("I1",), "f.py", "b", "(", ()).applied_to("a = b")
    with pytest.raises(StaleError, match="is in 0 files"):
        Mutant("m", ("I1",), "f.py", "b", "c", ("test_nothing",)).node_ids()


def test_what_is_tested_is_this_tree() -> None:
    """These tests import the product beside them, also from a copy of the project: a mutant there is what runs."""
    for module in (topicledger, kafka_utils):
        assert Path(str(module.__file__)).is_relative_to(ROOT)
