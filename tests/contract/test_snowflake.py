"""What only Snowflake can do to us, on an emulator; none of it has run on a real account.

docs/warehouses/snowflake.md lists what the emulator lacks, and what tests/support/snowflake_server.py adds to it.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from json import dumps
from threading import Thread

import pytest

from tests.contract.batches import TOPIC, Batch, apply, load, origin, streams
from tests.contract.loader import load_patiently, numbered
from tests.contract.places import Place
from tests.support.snowflake_emulator import PASSWORD, Emulator
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.accounts import Accounts
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.snowflake import files as snowflake_files

pytestmark = pytest.mark.slow


@pytest.fixture
def place(snowflake_emulated_place: Place) -> Place:
    return snowflake_emulated_place


def test_the_second_load_waits_on_the_emulators_lock(place: Place) -> None:
    """A load that waited for another one's update finds the positions where that one left them, and loads the rest."""
    warehouse = place.ready()
    origin(warehouse)
    found: list[Accounts] = []
    waiting = Thread(target=lambda: found.append(load(place.warehouse(), numbered(0, 15, "longer")).accounts))
    with warehouse.loading() as transaction:
        batch = numbered(0, 10, "shorter")
        batch.target = warehouse.target
        apply(transaction, batch)
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        transaction.commit()
    waiting.join(60)
    [accounts] = found
    assert (accounts.already_loaded, accounts.loaded, accounts.duplicates) == (10, 5, 0)


def test_a_load_that_was_stopped_while_it_blocked_another(place: Place) -> None:
    """The emulator ends its transaction, as Snowflake does; what it writes after that is never committed."""
    warehouse = place.ready()
    origin(warehouse)
    slow = numbered(0, 10, "slow")
    slow.target = warehouse.target
    with warehouse.loading() as transaction:
        transaction.copy_staged(slow.manifest(), streams(slow.files()))
        transaction.lock_positions()
        assert load(place.warehouse(), numbered(0, 15, "fast")).accounts.loaded == 15
        transaction.apply(slow.manifest(), slow.planned)
        with pytest.raises(RetriableError, match="Nothing was committed"):
            transaction.commit()
    assert warehouse.positions(TOPIC)[0].position == 15
    assert place.query("SELECT COUNT(*), COUNT(DISTINCT _batch_id) FROM PUBLIC.EVENTS") == [(15, 1)]
    a = load(warehouse, slow).accounts
    assert (a.already_loaded, a.loaded) == (10, 0)


def test_an_answer_to_the_commit_that_stays_lost(place: Place, snowflake_emulator: Emulator) -> None:
    """Where no answer comes it is unknown; a new session asks the ledger behind the lock, and finds the batch."""
    warehouse = place.ready()
    origin(warehouse)
    impatient = place.with_extra(network_timeout=3).warehouse()
    batch = numbered(0, 5, "run")
    batch.target = warehouse.target
    with impatient.loading() as transaction:
        apply(transaction, batch)
        snowflake_emulator.lose_answers("COMMIT", 99)
        try:
            with pytest.raises(RetriableError, match="it is unknown whether COMMIT succeeded"):
                transaction.commit()
        finally:
            snowflake_emulator.lose_answers("COMMIT", 0)
    assert load(warehouse, batch).repeated
    assert place.query("SELECT COUNT(*) FROM PUBLIC.EVENTS") == [(5,)]


def test_a_lost_answer_that_the_connector_asks_for_again(place: Place, snowflake_emulator: Emulator) -> None:
    """The connector repeats its request by itself; the load goes on, and nothing is there twice."""
    warehouse = place.ready()
    origin(warehouse)
    batch = numbered(0, 5, "run")
    batch.target = warehouse.target
    with warehouse.loading() as transaction:
        apply(transaction, batch)
        snowflake_emulator.lose_answers("COMMIT", 1)
        transaction.commit()
    assert load(warehouse, batch).repeated
    assert place.query("SELECT COUNT(*) FROM PUBLIC.EVENTS") == [(5,)]


def test_a_row_that_was_seen_is_in_the_books(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that commits between the two statements of a snapshot is in the books, and they close."""
    from topicledger.warehouse.sql.ledger import LedgerTables

    warehouse = place.ready()
    origin(warehouse)
    first = load(warehouse, numbered(0, 10, "first")).row
    honest = LedgerTables.books

    def with_a_load_in_between(ledger: LedgerTables, session: object) -> object:
        monkeypatch.undo()
        load(place.warehouse(), numbered(10, 15, "second"))
        return honest(ledger, session)  # type: ignore[arg-type]

    monkeypatch.setattr(LedgerTables, "books", with_a_load_in_between)
    snapshot = warehouse.snapshot(first.batch_id, first.plan_id)
    assert snapshot.row is not None
    assert [(books.position, books.applied) for books in snapshot.partitions] == [(15, 15)]


@pytest.mark.fault(78, "stopped")
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (("DROP COLUMN NOTE",), "column note"),
        (("DROP COLUMN AMOUNT", "ADD COLUMN AMOUNT FLOAT"), "column amount is FLOAT"),
        (("ALTER COLUMN NAME DROP NOT NULL",), "column name"),
        (("DROP COLUMN _KAFKA_TOPIC_ID",), "column _kafka_topic_id"),
        (("DROP COLUMN NOTE", "ADD COLUMN NOTE VARCHAR(10)"), r"column note is VARCHAR\(10\)"),
    ],
)
def test_a_column_that_drifted(place: Place, changes: tuple[str, ...], named: str) -> None:
    """A column that is missing, of another type, of another nullability or shorter stops the run before any row."""
    warehouse = place.ready()
    for change in changes:
        place.query(f"ALTER TABLE PUBLIC.EVENTS {change}")
    with pytest.raises(IntegrityError, match=named):
        warehouse.ensure_tables()


def test_tables_created_by_two_at_once(place: Place) -> None:
    """One schema, one set of tables and one version, whoever came first."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: place.ready(), range(2)))
    assert place.query("SELECT version FROM PUBLIC.TOPICLEDGER_SCHEMA") == [(1,)]


def test_tables_of_which_some_are_there(place: Place) -> None:
    """What a kill between two CREATEs left is completed by the next try."""
    warehouse = place.ready()
    place.query("DROP TABLE PUBLIC.TOPICLEDGER_SCHEMA")
    place.query("DROP TABLE PUBLIC.TOPICLEDGER_BATCHES")
    warehouse.ensure_tables()
    origin(warehouse)
    assert load(warehouse, numbered(0, 2, "run")).accounts.loaded == 2


def test_a_table_that_is_gone_or_not_granted(place: Place) -> None:
    """A table that somebody drops while a batch waits is named, for a person; the ledger stays as it is."""
    warehouse = place.ready()
    origin(warehouse)
    place.query("DROP TABLE PUBLIC.EVENTS")
    with pytest.raises(SettingsError, match=r"EVENTS.*Grant it to the connection's role"):
        load(warehouse, numbered(0, 3, "run"))
    assert warehouse.positions(TOPIC)[0].position == 0
    assert warehouse.history(1) == ()


def test_several_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is uploaded as several files is loaded whole."""
    monkeypatch.setattr(snowflake_files, "PART_BYTES", 100_000)
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 20)])
    for offset in range(20):
        batch.row(0, offset, offset, name=os.urandom(200_000).hex())
    assert load(warehouse, batch).accounts.loaded == 20


def test_types_at_their_edges_as_far_as_the_emulator_goes(place: Place) -> None:
    """The extremes of every type arrive, times but for the last microsecond of the year 9999."""
    low, high = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 2)])
    batch.row(0, 0, "ABCDEF00-1234-5678-9ABC-DEF012345678", amount=2**63 - 1, ratio=1.7976931348623157e308, at=high)
    batch.row(0, 1, 1, amount=-(2**63), ratio=5e-324, at=low, day=dt.date(1, 1, 1), flag=False)
    load(warehouse, batch)
    assert place.query(
        'SELECT event_id, amount, ratio, flag, day, DATE_PART(EPOCH_MICROSECOND, "AT") '
        "FROM PUBLIC.EVENTS ORDER BY _kafka_offset"
    ) == [
        ("abcdef00-1234-5678-9abc-def012345678", 2**63 - 1, 1.7976931348623157e308, True, None, 253402300799000000),
        ("00000000-0000-0000-0000-000000000001", -(2**63), 5e-324, False, dt.date(1, 1, 1), -62135596800000000),
    ]


def test_an_account_that_does_not_answer(place: Place) -> None:
    """It may come back: try again. No message has the password."""
    nobody = place.with_extra(port=9, login_timeout=2)
    started = time.monotonic()
    with pytest.raises(RetriableError, match="try again") as refused:
        nobody.warehouse().ensure_tables()
    assert PASSWORD not in str(refused.value)
    assert time.monotonic() - started < 60


def test_a_schema_that_nobody_created(place: Place) -> None:
    """Without the right to create, what is missing is said with its statements."""
    missing = replace(place, settings=replace(place.settings, schema="nowhere"))
    with pytest.raises(SettingsError, match='CREATE TABLE IF NOT EXISTS "NOWHERE"'):
        missing.warehouse(create_tables=False).ensure_tables()


FORK = """
import json, sys
from contextlib import closing
from tests.contract.batches import pipeline
from tests.support.forked import in_a_fork
from topicledger.warehouse.choice import open_warehouse
from topicledger.connection import Connection
warehouse = open_warehouse(Connection(**json.load(sys.stdin)), pipeline())
warehouse.ensure_tables()
with warehouse.loading() as transaction:
    print(in_a_fork(transaction.lock_positions))
"""


def test_a_session_stays_in_its_process(place: Place) -> None:
    """A fork doesn't use the session that its parent has opened."""
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        input=dumps(asdict(place.settings)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is used in its fork" in done.stdout


def test_many_loads_at_once(place: Place) -> None:
    """Several overlapping plans, each tried until it is through: every offset is applied once."""
    origin(place.ready())
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(
            lambda end: load_patiently(place.warehouse(), numbered(0, end, f"run-{end}"), 120), (5, 9, 13, 17)
        )
    assert sum(one.accounts.loaded for one in done) == 17
    assert place.query("SELECT COUNT(*), COUNT(DISTINCT _kafka_offset) FROM PUBLIC.EVENTS") == [(17, 17)]
