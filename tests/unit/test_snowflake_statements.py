"""The statements for a Snowflake account as text. None of them has ever run on one; the emulator runs the same ones.

To write the texts anew, run this file with TOPICLEDGER_WRITE_SNAPSHOTS=1 and read the difference.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.batches import TOPIC, TOPIC_ID, Batch, load, pipeline
from tests.support.written_down import WrittenDown, written_down
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Acceptance
from topicledger.model.plan import OffsetRange, Position
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.contract import Warehouse

TEXTS = Path(__file__).with_name("snowflake")
SETTINGS = Connection(
    "warehouse_default",
    "snowflake",
    login="loader",
    password="hunter2",
    extra={"account": "org-account", "database": "LAKE", "warehouse": "LOADING", "role": "LOADER"},
)
FIRST = Position(TOPIC, TOPIC_ID, 0, 0, 0)
ACCEPTED = LedgerRow(
    batch_id="b",
    plan_id="p",
    pipeline="events_pipeline",
    target="PUBLIC.EVENTS",
    run_id="manual",
    topic=TOPIC,
    topic_id=TOPIC_ID,
    planned=(),
    applied=(OffsetRange(0, 10, 5),),
    manifest=Acceptance("b", "manual", ("truncated:0:5:10",)),
    receipt=None,
    accounts=None,
    sha256="",
)

__all__ = ["written_down"]


@pytest.fixture
def warehouse() -> Warehouse:
    return open_warehouse(SETTINGS, pipeline())


def require_text(name: str, text: str) -> None:
    path = TEXTS / name
    if os.environ.get("TOPICLEDGER_WRITE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def one_row() -> Batch:
    return Batch([OffsetRange(0, 0, 1)]).row(0, 0, 1)


@pytest.mark.parametrize(
    ("text", "key"),
    [("load.sql", "event_id"), ("load_two_columns.sql", ("flag", "event_id")), ("load_keyless.sql", None)],
)
def test_the_statements_of_a_load(written_down: WrittenDown, text: str, key: str | tuple[str, ...] | None) -> None:
    """DDL, upload and copy come first; the transaction begins with the update that loaders wait on."""
    load(open_warehouse(SETTINGS, pipeline(key=key)), one_row())
    require_text(text, written_down.text())
    statements = written_down.text().splitlines()
    begun = statements.index("BEGIN TRANSACTION;")
    assert not [s for s in statements[begun:] if s.startswith(("CREATE", "DROP", "ALTER", "PUT", "COPY"))]
    assert statements[begun + 1].startswith('UPDATE "PUBLIC"."TOPICLEDGER_POSITIONS"')
    assert not [s for s in statements if "MERGE" in s]


def test_the_statements_that_create_tables(warehouse: Warehouse, written_down: WrittenDown) -> None:
    """Each statement may be repeated, and the version's table never stands without its row."""
    with pytest.raises(IntegrityError, match="is missing"):  # nobody created them
        warehouse.ensure_tables()
    require_text("tables.sql", written_down.text())
    created = [s for s in written_down.statements if s.startswith("CREATE")]
    assert len(created) == 6
    assert all("IF NOT EXISTS" in statement for statement in created)


def test_the_statements_of_planning(warehouse: Warehouse, written_down: WrittenDown) -> None:
    """Positions are added behind an update of one row, and set back by an update that compares."""
    second, after = Position(TOPIC, TOPIC_ID, 1, 7, 9, 3, 2), msgspec.structs.replace(FIRST, generation=1)
    written_down.has_positions(FIRST, second)
    warehouse.add_positions([second, FIRST])
    written_down.has_positions(after)
    warehouse.set_back(FIRST, after, ACCEPTED)
    require_text("planning.sql", written_down.text())


def test_many_partitions_cost_few_statements(warehouse: Warehouse, written_down: WrittenDown) -> None:
    """A thousand position rows are added by one statement and moved by one; with more of them there are more."""
    many = [msgspec.structs.replace(FIRST, partition=p) for p in range(2_000)]
    written_down.has_positions(*many, msgspec.structs.replace(FIRST, partition=2_000))
    warehouse.add_positions([*many, msgspec.structs.replace(FIRST, partition=2_000)])
    added = [s for s in written_down.statements if s.startswith('INSERT INTO "PUBLIC"."TOPICLEDGER_POSITIONS"')]
    assert [s.count("(") - added[2].count("(") for s in added] == [999, 999, 0]
    moves = r"UPDATE .* FROM \(SELECT"
    written_down.written.append((moves, 1_000))
    with warehouse.loading() as transaction, pytest.raises(IntegrityError, match="1000 of 1 rows were updated"):
        transaction.advance([*many, msgspec.structs.replace(FIRST, partition=2_000)], ACCEPTED)
    assert len([s for s in written_down.statements if re.match(moves, s)]) == 3


def test_the_statements_of_reading(warehouse: Warehouse, written_down: WrittenDown) -> None:
    """A snapshot reads the ledger row before the books; nothing is written."""
    warehouse.snapshot("batch", "plan")
    warehouse.history(3)
    found = ("TOPICLEDGER_POSITIONS", "TARGET", "VARCHAR", True, False)
    written_down.answers.append((r"\s*SELECT c\.table_name", [found]))
    warehouse.positions(TOPIC)
    require_text("reading.sql", written_down.text())
    assert not [s for s in written_down.statements if s.startswith(("INSERT", "UPDATE", "DELETE", "CREATE"))]


def test_what_a_session_is_opened_with(warehouse: Warehouse, written_down: WrittenDown) -> None:
    """No statement commits by itself; waiting ends; a lost client's statement ends; times are in UTC."""
    warehouse.positions(TOPIC)
    [given] = written_down.opened
    require_text("session.json", json.dumps({**given, "password": "***"}, indent=2, sort_keys=True) + "\n")


def test_a_transaction_that_was_ended_is_not_committed(warehouse: Warehouse, written_down: WrittenDown) -> None:
    """Where the session's transaction is another one than at the lock, COMMIT isn't sent."""
    batch = one_row()
    batch.target = warehouse.target

    def end_it() -> None:
        written_down.answers.append((r"SELECT CURRENT_TRANSACTION\(\)", [("another",)]))

    with pytest.raises(RetriableError, match="Nothing was committed"), warehouse.loading() as transaction:  # noqa: PT012 - the block is what rolls back
        transaction.lock_positions()
        end_it()
        transaction.commit()
    assert written_down.statements[-2:] == ["SELECT CURRENT_TRANSACTION();", "ROLLBACK"]


@pytest.mark.parametrize("answer", [[("1.parquet", "LOADED", 1, 0)], [("Copy executed with 0 files processed.",)]])
def test_fewer_rows_than_were_sent(warehouse: Warehouse, written_down: WrittenDown, answer: list[Any]) -> None:
    """A COPY that loaded another number of rows than were uploaded stops the load."""
    written_down.answers.append((r"COPY INTO", answer))
    with pytest.raises(IntegrityError, match="COPY loaded 0 of 1 records"):
        load(warehouse, one_row())
