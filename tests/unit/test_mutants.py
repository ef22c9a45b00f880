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
from tests.mutants.mutant import ROOT, Mutant, StaleError, product

GUARANTEE = read("docs/delivery-guarantee.md")


def test_every_mutant_can_be_set() -> None:
    """Each mutant's snippet stands once in the product, what comes out is Python, and its tests are there."""
    texts, stale = product(ROOT), []
    for mutant in MUTANTS:
        try:
            mutant.set_in(texts)
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
    fits = Mutant("m", ("I1",), "b", "c", ("test_names_are_unique",))
    assert fits.set_in({"e.py": "", "f.py": "a = b"}) == ("f.py", "a = c")
    assert fits.node_ids() == ("tests/unit/test_mutants.py::test_names_are_unique",)
    for texts in ({"f.py": "a"}, {"f.py": "b = b"}, {"e.py": "b", "f.py": "b"}):
        with pytest.raises(StaleError, match="not once"):
            fits.set_in(texts)
    with pytest.raises(StaleError, match="is no Python with it"):
        Mutant("m", ("I1",), "b", "(", ()).set_in({"f.py": "a = b"})
    with pytest.raises(StaleError, match="is in 0 files"):
        Mutant("m", ("I1",), "b", "c", ("test_nothing",)).node_ids()


def test_code_may_move() -> None:
    """A snippet is found in another file, indented and wrapped anew, and what replaces it is indented as it was."""
    mutant = Mutant("m", (), "if x: f('text', a=1)", "if y:\n    g()", ())
    text = "class A:\n    if x:\n        f(\n            'text',\n            a=1,\n        )\n"
    assert mutant.set_in({"moved.py": text}) == ("moved.py", "class A:\n    if y:\n        g()\n")


def test_a_function_or_class_tells_equal_snippets_apart() -> None:
    """With the name of what it is in, the same text elsewhere isn't meant."""
    texts = {"a.py": "def b():\n    return x\n", "c.py": "class D:\n    x = 1\n\n    def e():\n        return x\n"}
    for within, file in (("b", "a.py"), ("D", "c.py"), ("e", "c.py")):
        changed, broken = Mutant("m", (), "return x", "return y", (), within=within).set_in(texts)
        assert (changed, broken) == (file, texts[file].replace("return x", "return y"))
    with pytest.raises(StaleError, match="0 times"):
        Mutant("m", (), "return x", "return y", (), within="gone").set_in(texts)


def test_what_is_tested_is_this_tree() -> None:
    """These tests import the product beside them, also from a copy of the project: a mutant there is what runs."""
    for module in (topicledger, kafka_utils):
        assert Path(str(module.__file__)).is_relative_to(ROOT)
