"""Clients and connections in a fork: refused with a sentence, where librdkafka and the drivers would hang."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import sign_ups
from tests.support.step_process import orders_of
from tests.support.steps import Case, OneRun
from tests.support.topics import LIMIT_S

ROOT = Path(__file__).parents[2]
OPENING = {"Consumer", "Producer", "AdminClient", "connect", "open_warehouse", "TopicObserver", "RangeReader"} | {
    "BatchProducer",
    "admin_client",
    "consumer_client",
    "producer_client",
    "get_connection",
}
"""Calls that open a client or a connection."""


def forked(case: Case, what: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.forked"],
        input=json.dumps(orders_of(OneRun(case), what)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * LIMIT_S,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.fault(22, "stopped")
def test_a_kafka_client_in_a_fork(duckdb_case: Case) -> None:
    """A client that was made before a fork is refused there at once, and its own process goes on with it."""
    duckdb_case.send(sign_ups(range(10), partitions=2))
    answer = forked(duckdb_case, "kafka")
    for what in ("observer", "reader"):
        assert answer[what].startswith("SettingsError: "), answer
        assert "is used in its fork" in answer[what]
    assert answer["parent"] == [True, 10]


@pytest.mark.fault(22, "stopped")
def test_a_warehouses_session_in_a_fork(case: Case) -> None:
    """A load that began before a fork is refused there, and goes on outside; the warehouse opens a new session."""
    answer = forked(case, "warehouse")
    assert answer["load"].startswith("SettingsError: "), answer
    assert "is used in its fork" in answer["load"]
    assert answer["new session"] == "nothing"
    assert answer["parent"] == 0


def at_import(tree: ast.AST) -> Iterator[ast.Call]:
    """Give the calls that are made when a file is imported: all but those in the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in (*node.decorator_list, node.args):
                yield from at_import(part)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Call):
                yield node
            yield from at_import(node)


@pytest.mark.fault(22, "stopped")
def test_nothing_is_opened_at_import() -> None:
    """No file of the product opens a client or a connection when it is imported."""
    opened = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for folder in ("src", "dags")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for call in at_import(ast.parse(path.read_text(encoding="utf-8")))
        if ast.unparse(call.func).rpartition(".")[2] in OPENING
    ]
    assert opened == []
