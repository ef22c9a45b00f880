"""The DAG files of docs/examples on topics as people have them: a run's books, twice, in both warehouses."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from tests.docs.pages import ROOT, fences, read
from tests.support import example_topics as sent
from tests.support.looking import query
from tests.support.records import Record
from tests.support.steps import Case, OneRun, run_steps
from tests.support.topics import Topics, unique_topic
from topicledger.cli.declared import only_one
from topicledger.connection import Connection
from topicledger.events.json_decoding import JsonDecoding
from topicledger.inference.sample import Sample
from topicledger.inference.source import dag_file
from topicledger.pipeline import Pipeline
from topicledger.report.text import accounts_table
from topicledger.steps.reconcile import reconcile

PAGE = read("docs/examples.md")


def test_the_page_shows_the_files() -> None:
    """Each file is on the page, whole, and has 25 lines at most."""
    files = [read(f"docs/examples/{name}_dag.py") for name in ("orders", "changes", "clicks")]
    assert [code for language, code in fences(PAGE) if language == "python"] == files
    assert max(len(file.splitlines()) for file in files) <= 25


def test_the_page_shows_what_is_inferred() -> None:
    """What `topicledger infer` writes of a thousand orders is on the page, its imports aside."""
    records = [*sent.orders(1_000)]
    sample = Sample(JsonDecoding().document)
    sample.add([record.value for record in records], [record.key for record in records])
    _, _, classes = dag_file(sample, "orders", None, {}).partition("\n\n\n")
    assert f"```text\n{classes}```" in PAGE


def example(name: str) -> Pipeline:
    """What a DAG file of docs/examples declares."""
    return only_one(str(ROOT / "docs" / "examples" / f"{name}_dag.py")).pipeline


def case_of(name: str, topics: Topics, place: Connection, folder: Path) -> Case:
    """An example over a topic, a warehouse and a staging folder of the test's own."""
    staging = folder / "staging"
    staging.mkdir(mode=0o700)
    topic = unique_topic(name)
    topics.create(topic, 2)
    return Case(topics, place, replace(example(name), topic=topic, staging_dir=str(staging)))


class Books(NamedTuple):
    """What an example's first run says."""

    records: int
    loaded: int
    duplicates: int
    dead_letters: int
    tombstones: int
    unknown_fields: int


def books(run: OneRun, name: str) -> Books:
    """Those of a run; docs/examples.md has the sum as the run prints it."""
    assert run.row is not None
    printed = accounts_table(reconcile(run, run.row.plan_id)).splitlines()[0]
    assert printed.replace(run.pipeline.topic, name) in PAGE
    return Books(*(getattr(run.accounts, term) for term in Books._fields))


def positions(case: Case, table: str) -> int:
    """From how many positions of the topic there is a row."""
    ((rows,),) = query(case.place, f"SELECT count(DISTINCT (_kafka_partition, _kafka_offset)) FROM {table}")
    return int(rows)


def test_orders(topics: Topics, place: Connection, tmp_path: Path) -> None:
    """Amounts are exact to the cent, the customer's id is a column, items are JSON; an order sent twice is one row."""
    case = case_of("orders", topics, place, tmp_path)
    records = [*sent.orders(1_000)]
    case.send([*records, *sent.bad_orders(), records[7]])
    found = books(run_steps(case), "orders")
    assert found[:5] == (1_005, 1_000, 1, 4, 0)
    assert positions(case, "orders") == 1_000
    documents = {document["order_id"]: document for document in map(_document, records)}
    total, customer = "SELECT sum(total) FROM orders", "SELECT order_id, customer_id, items FROM orders"
    assert query(case.place, total) == [(sum(Decimal(str(each["total"])) for each in documents.values()),)]
    for order_id, customer_id, items in query(case.place, customer):
        document = documents[order_id]
        assert (customer_id, _plain(items)) == (document["customer"]["id"], document["items"])


def test_changes(topics: Topics, place: Connection, tmp_path: Path) -> None:
    """Each change is a row, a delete too; one that Debezium sent again is a duplicate, and tombstones are counted."""
    case = case_of("changes", topics, place, tmp_path)
    records = [*sent.changes(500)]
    tombstones = sum(record.value is None for record in records)
    case.send([*records, *sent.bad_changes(), *records[:3]])
    found = books(run_steps(case), "changes")
    assert tombstones > 0
    assert found == (506 + tombstones, 500, 3, 3, tombstones, 0)
    assert positions(case, "changes") == 500
    wanted: dict[int, tuple[str, Decimal | None]] = {}
    for change in (_document(record) for record in records if record.value):
        row = change["after"] or change["before"]
        wanted[row["id"]] = (change["op"], row["balance"] and Decimal(row["balance"]))
    newest = "SELECT id, op, balance FROM changes WHERE (id, lsn) IN (SELECT id, max(lsn) FROM changes GROUP BY id)"
    assert {account: (op, balance) for account, op, balance in query(case.place, newest)} == wanted


def test_clicks(topics: Topics, place: Connection, tmp_path: Path) -> None:
    """None of 2,100 clicks is a duplicate, though some are alike to the last byte; what else they carry is kept."""
    case = case_of("clicks", topics, place, tmp_path)
    records = [*sent.clicks()]
    case.send([*records, *sent.bad_clicks()])
    found = books(run_steps(case), "clicks")
    assert len({record.value for record in records}) < 2_050
    extra = [
        {name: value for name, value in document.items() if name.startswith("exp_")}
        for document in map(_document, records)
    ]
    assert found == (2_103, 2_100, 0, 3, 0, sum(map(len, extra)))
    assert positions(case, "clicks") == 2_100
    kept = query(case.place, "SELECT _unknown_fields FROM clicks WHERE _unknown_fields IS NOT NULL")
    assert sorted(map(str, (_plain(one) for (one,) in kept))) == sorted(map(str, filter(None, extra)))


def _document(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.value or b"{}")
    return found


def _plain(column: Any) -> Any:
    """A column of JSON, whatever the driver makes of it."""
    return json.loads(column) if isinstance(column, str) else column
