"""The worked example of own-pipeline.md works: declared, judged, staged, and given a DAG as the page says."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, fences, parsed, read
from topicledger.connection import Connection
from topicledger.events.judge import Judge
from topicledger.model.records import Chunk
from topicledger.pipeline import Pipeline
from topicledger.staged_files.folder import stem
from topicledger.staged_files.root import LocalRoot
from topicledger.staged_files.writer import PartWriter
from topicledger.steps.stage import Stager
from topicledger.warehouse.choice import open_warehouse

EXAMPLE = ROOT / "docs" / "examples" / "payments.py"
PAGE = read("docs/own-pipeline.md")
GOOD = {
    "payment_id": "123e4567-e89b-12d3-a456-426614174000",
    "account_id": 7,
    "amount_cents": -250,
    "currency": "EUR",
    "paid_at": "2026-01-01T00:30:00+01:00",
    "note": '  twice, "really"\n ',
}


@pytest.fixture(name="payments")
def example(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The example's pipeline, imported as a module of its name."""
    spec = importlib.util.spec_from_file_location("payments", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "payments", module)
    spec.loader.exec_module(module)
    declared = module.PAYMENTS
    assert isinstance(declared, Pipeline)
    return declared


def test_records_become_rows_and_dead_letters(payments: Pipeline, tmp_path: Path) -> None:
    """A payment is staged as a clean row with its coordinates, what isn't one as a dead letter."""
    tmp_path.chmod(0o700)
    values = [
        json.dumps(GOOD).encode(),
        json.dumps({**GOOD, "currency": "XXX"}).encode(),
        json.dumps({**GOOD, "payment_id": "no"}).encode(),
        json.dumps({**GOOD, "paid_at": "2026-01-01T00:30:00"}).encode(),
        b"{",
        None,
    ]
    count = len(values)
    chunk = Chunk(
        partitions=[3] * count,
        offsets=list(range(120, 120 + count)),
        timestamps_ms=[0] * count,
        values=values,
        key=lambda _: b"key",
        headers=lambda _: [],
        jumps=[],
    )
    judge = Judge(payments)
    with PartWriter(LocalRoot(str(tmp_path)), stem("0" * 16), judge.columns) as part:
        Stager(judge, part).add(chunk)
        rows, dead_letters, tombstones, _ = (
            t.finish() for t in (part.rows, part.dead_letters, part.tombstones, part.jumps)
        )
    with (tmp_path / rows.name).open(newline="") as file:
        (row,) = csv.DictReader(file)
    with (tmp_path / dead_letters.name).open(newline="") as file:
        reasons = {letter["_kafka_offset"]: letter["reason"] for letter in csv.DictReader(file)}
    assert row["note"] == 'twice, "really"'
    assert (row["paid_date"], row["is_refund"], row["_kafka_offset"]) == ("2025-12-31", "true", "120")
    assert reasons == {"121": "invalid_event", "122": "invalid_event", "123": "invalid_event", "124": "invalid_json"}
    assert tombstones.records == 1


def test_its_tables_can_be_made(payments: Pipeline) -> None:
    """Both warehouses have a type for every column."""
    for kind in ("duckdb", "postgres"):
        ddl = open_warehouse(Connection("w", kind, host="/nowhere/a.duckdb"), payments).ddl()
        assert '"finance"."payments_dead_letters"' in ddl


def test_the_page_shows_the_example() -> None:
    """What the page shows is in the file, docstrings aside."""
    shown = "\n".join(code for language, code in fences(PAGE) if language == "python")
    assert _bare(ast.parse(shown)) == [
        line for line in _bare(parsed("docs/examples/payments.py")) if not line.startswith(("from", "import"))
    ]


def _bare(tree: ast.Module) -> list[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return [ast.unparse(node) for node in tree.body]


def test_airflow_takes_the_example_for_no_dag_file() -> None:
    """Airflow looks into files of the dags folder that hold both its words; the example doesn't."""
    text = EXAMPLE.read_text().lower()
    assert not ("dag" in text and "airflow" in text)
