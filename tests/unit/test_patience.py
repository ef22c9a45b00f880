"""Every question to broker or warehouse is asked with patience: outside of their own packages none is asked bare."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.docs.pages import parsed
from topicledger.kafka.topic import TopicObserver
from topicledger.warehouse.contract import Warehouse

ASKERS = (
    "src/topicledger/cli/app.py",
    "src/topicledger/cli/checks.py",
    "src/topicledger/steps/plan.py",
    "src/topicledger/steps/reconcile.py",
    "dags/kafka_utils.py",
)
"""Who asks. `topicledger.steps.load` does it with one patience around the whole attempt."""

UNASKED = {"target", "ddl", "loading", "close"}
"""What a warehouse answers by itself."""

METHODS = {name for kind in (Warehouse, TopicObserver) for name in vars(kind) if not name.startswith("_")}
QUESTIONS = (METHODS - UNASKED) | {"missing_grants", "commit_group"}
"""The names of all that asks a broker or a warehouse and waits for the answer."""

NAMESAKES = ("planning.set_back", "root.access")
"""A decision, and what is asked of a disk or of a client that is patient by itself."""


def bare(tree: ast.AST, *, patient: bool = False) -> Iterator[str]:
    """Every question that is asked neither in an argument of `with_retries` nor in a function that is one."""
    given = {
        ast.unparse(node).rpartition(".")[2]
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "with_retries"
        for argument in call.args
        for node in ast.walk(argument)
        if isinstance(node, ast.Attribute | ast.Name)
    }
    yield from _bare(tree, given, patient=patient)


def _bare(tree: ast.AST, given: set[str], *, patient: bool) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called.rpartition(".")[2] in QUESTIONS and called not in NAMESAKES and not patient:
            yield f"{node.lineno}: {ast.unparse(node)}"  # type: ignore[attr-defined] # a call has a line
        inside = called == "with_retries" or (isinstance(node, ast.FunctionDef) and node.name in given)
        yield from _bare(node, given, patient=patient or inside)


@pytest.mark.parametrize("name", ASKERS)
def test_no_question_is_asked_only_once(name: str) -> None:
    """Who asks goes through `with_retries`, so that an answer that passes by itself ends nothing."""
    assert list(bare(parsed(name))) == []
