"""What a key of several columns, and none, mean to a load, in every warehouse."""

from __future__ import annotations

import datetime as dt
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.contract.batches import COLUMNS, Batch, load, origin
from tests.contract.loader import numbered
from tests.contract.places import Place
from tests.support.falsified import Falsified
from tests.support.topics import wait_for
from topicledger.columns import Column
from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.accounts import StagedCounts
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.sql import staged_tables as staged

TWO = ("flag", "event_id")
"""Not in the order of the table's columns."""

NAMED = (COLUMNS[0], Column("Order", "int64"))
"""A column whose name PostgreSQL quotes."""


def offsets(place: Place, table: str = "events") -> list[int]:
    return [int(n) for (n,) in place.query(f"SELECT _kafka_offset FROM {place.schema}.{table} ORDER BY 1")]


def test_without_a_key_nothing_is_a_duplicate(place: Place) -> None:
    """Each record is a row by its position alone: repeats are rows, and no load, whatever it repeats, adds another."""
    warehouse = place.ready(key=None)
    origin(warehouse)
    first = Batch([OffsetRange(0, 0, 5)]).row(0, 0, 7).row(0, 1, 7).row(0, 2, 7, amount=2).dead(0, 3).tombstone(0, 4)
    a = load(warehouse, first).accounts
    assert (a.loaded, a.duplicates, a.conflicts, a.dead_letters, a.tombstones) == (3, 0, 0, 1, 1)
    assert load(warehouse, first).repeated
    longer = Batch([OffsetRange(0, 0, 8)], run="run-2", parts=2)
    longer.row(0, 0, 7).row(0, 1, 7).row(0, 2, 7, amount=2).dead(0, 3).tombstone(0, 4)
    longer.row(0, 7, 7).row(0, 5, 7).jump(0, 6, 7, "invisible")
    a = load(warehouse, longer).accounts
    assert (a.already_loaded, a.loaded, a.duplicates, a.conflicts, a.invisible) == (5, 2, 0, 0, 1)
    a = load(warehouse, Batch([OffsetRange(0, 1, 3)], run="zombie").row(0, 1, 7).row(0, 2, 7)).accounts
    assert (a.already_loaded, a.loaded, a.duplicates) == (2, 0, 0)
    assert offsets(place) == [0, 1, 2, 5, 7]
    assert offsets(place, "events_dead_letters") == [3]
    (books,) = warehouse.snapshot("", "").partitions
    assert (books.position, books.applied) == (8, 8)


def test_a_key_of_two_columns(place: Place) -> None:
    """Only a record that has both of another one is its duplicate; what differs in the others is a conflict."""
    warehouse = place.ready(key=TWO)
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 6)]).row(0, 0, 1).row(0, 1, 1, flag=False).row(0, 2, 2)
    batch.row(0, 5, 1, flag=False, amount=5).row(0, 4, 1, flag=False).row(0, 3, 2)
    a = load(warehouse, batch).accounts
    assert (a.loaded, a.duplicates, a.conflicts) == (3, 3, 1)
    if not place.is_lake:
        later = Batch([OffsetRange(0, 6, 9)], run="run-2").row(0, 6, 2, flag=False).row(0, 7, 2, name="").row(0, 8, 1)
        a = load(warehouse, later).accounts
        assert (a.loaded, a.duplicates, a.conflicts) == (1, 2, 1)
    assert offsets(place) == ([0, 1, 2] if place.is_lake else [0, 1, 2, 6])


COMPARED = tuple(replace(column, nullable=False) for column in COLUMNS if column.type not in ("float64", "json"))
FIRST: dict[str, Any] = {
    "amount": 1,
    "name": "",
    "note": "n",
    "flag": True,
    "at": dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
    "day": dt.date(1, 1, 1),
    "price": Decimal("0.000000001"),
    "opens": dt.time(23, 59, 59, 999_999),
    "photo": "\\x00ff",
}
OTHERS: dict[str, Any] = {
    "amount": -1,
    "name": " ",
    "note": "N",
    "flag": False,
    "at": dt.datetime(9999, 12, 31, 23, 59, 58, tzinfo=dt.UTC),
    "day": dt.date(1, 1, 2),
    "price": Decimal("0.000000002"),
    "opens": dt.time(23, 59, 59, 999_998),
    "photo": "\\x00fe",
}


def test_a_key_of_every_type(place: Place) -> None:
    """A key may have columns of any type but two: what differs in one of them is another row, in none a duplicate."""
    names = tuple(column.name for column in COMPARED)
    warehouse = place.ready(columns=COMPARED, key=names)
    origin(warehouse)
    different = [FIRST, *({**FIRST, name: other} for name, other in OTHERS.items())]
    batch = Batch([OffsetRange(0, 0, 2 * len(different))], columns=COMPARED)
    for offset, values in enumerate([*different, *different]):
        batch.row(0, offset, 1, **values)
    a = load(warehouse, batch).accounts
    assert (a.loaded, a.duplicates, a.conflicts) == (len(different), len(different), 0)
    if not place.is_lake:
        later = Batch([OffsetRange(0, 20, 22)], columns=COMPARED, run="run-2")
        a = load(warehouse, later.row(0, 20, 1, **FIRST).row(0, 21, 2, **FIRST)).accounts
        assert (a.loaded, a.duplicates, a.conflicts) == (1, 1, 0)


@pytest.mark.parametrize(
    ("method", "term", "identity"),
    [
        *(("count_staged", term, "I2") for term in StagedCounts.__struct_fields__),
        *(("apply", term, "I3") for term in ("already_loaded", "loaded", "duplicates", "dead_letters", "tombstones")),
        *(("apply", term, "I4") for term in ("gap", "invisible")),
        *(("applied_sums", term, "I4") for term in ("origin", "position", "applied")),
    ],
)
def test_a_wrong_count_without_a_key(duckdb_file_place: Place, method: str, term: str, identity: str) -> None:
    """Without a key each term of the identities, wrong by one, is named, and nothing is committed."""
    warehouse = duckdb_file_place.ready(key=None)
    origin(warehouse)
    load(warehouse, numbered(0, 2, "first"))
    batch = Batch([OffsetRange(0, 0, 8)], run="second").row(0, 0, 0).row(0, 1, 1).row(0, 2, 1).dead(0, 3)
    batch.tombstone(0, 4).jump(0, 5, 7, "gap").jump(0, 7, 8, "invisible")
    with pytest.raises(IntegrityError, match=f"don't close: (.*; )?{identity}: "):
        load(Falsified(warehouse, method, term), batch)
    assert offsets(duckdb_file_place) == [0, 1]
    assert load(warehouse, batch).accounts.loaded == 1


def test_the_view_of_files_goes_by_the_key(local_folder_place: Place) -> None:
    """What an earlier batch loaded is hidden where both columns are the same; without a key nothing is hidden."""
    for key, shown in ((TWO, [0, 1, 3]), (None, [0, 1, 2, 3])):
        warehouse = local_folder_place.ready("v" if key else "w", key=key)
        origin(warehouse)
        load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1).row(0, 1, 2))
        load(warehouse, Batch([OffsetRange(0, 2, 4)], run="run-2").row(0, 2, 1, amount=5).row(0, 3, 2, flag=False))
        assert offsets(local_folder_place, "v" if key else "w") == shown


@pytest.mark.parametrize("key", [TWO, None])
def test_many_rows_with_another_key(
    duckdb_file_place: Place, monkeypatch: pytest.MonkeyPatch, key: tuple[str, ...] | None
) -> None:
    """Shares of a key's combinations find what all of them at once do; without a key there is nothing to find."""
    monkeypatch.setattr(staged, "_ROWS_AT_A_TIME", 7)
    warehouse = duckdb_file_place.ready(key=key)
    origin(warehouse)
    load(warehouse, numbered(0, 40, "first"))
    batch = Batch([OffsetRange(0, 40, 140)])
    for offset in range(40, 140):
        batch.row(0, offset, offset % 50, flag=offset < 100)
    found = load(warehouse, batch).accounts
    # Of 50 keys that are flagged 40 are there; the 40 that aren't flagged are new.
    assert (found.loaded, found.duplicates) == ((50, 50) if key else (100, 0))


def test_constraints_of_a_key(postgres_place: Place) -> None:
    """A key of two columns needs them UNIQUE together, in any order, and nothing else; no key needs no constraint."""
    place, add = postgres_place, r'ADD UNIQUE \("flag", "event_id"\)'
    place.ready(key=None)
    with pytest.raises(IntegrityError, match=f"on the key flag, event_id alone.*{add}"):
        place.ready(key=TWO)
    for other in ('("event_id", flag, amount)', "(event_id) INCLUDE (flag)", "(event_id, flag) WHERE amount > 0"):
        place.query(f"CREATE UNIQUE INDEX ON public.events {other}")
        with pytest.raises(IntegrityError, match=add):
            place.ready(key=TWO)
    place.query("CREATE UNIQUE INDEX ON public.events (event_id, flag) INCLUDE (name)")
    place.ready(key=TWO)
    assert place.warehouse(key=TWO).ddl().count('UNIQUE ("flag", "event_id")') == 1
    assert "UNIQUE" not in place.warehouse(key=None).ddl()


def test_a_key_of_two_columns_that_another_session_writes_meanwhile(postgres_place: Place) -> None:
    """The combination that another program commits during a load ends that try; the next one counts it."""
    place = postgres_place
    warehouse = place.ready(key=("event_id", "Order"), columns=NAMED)
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 2)], columns=NAMED).row(0, 0, 1, Order=1).row(0, 1, 1, Order=2)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(place.dsn()) as other:
        other.execute(
            b'INSERT INTO public.events (event_id, "Order", _batch_id, _kafka_topic_id, _kafka_partition, '
            b"_kafka_offset) VALUES ('00000000-0000-0000-0000-000000000001', 1, 'by hand', '', 0, 0)"
        )
        loading = pool.submit(load, place.warehouse(key=("event_id", "Order"), columns=NAMED), batch)
        wait_for("the load to wait for the key", lambda: True if _waits(place) else None)
        other.commit()
        with pytest.raises(RetriableError, match="another session wrote that event_id, Order during the load"):
            loading.result()
    a = load(warehouse, batch).accounts
    assert (a.loaded, a.duplicates, a.conflicts) == (1, 1, 0)


def _waits(place: Place) -> bool:
    waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return place.query(waiting) == [(1,)]


def test_a_unique_constraint_of_a_table_without_a_key(postgres_place: Place) -> None:
    """Without a key no repeat is swallowed: where a constraint of somebody's refuses one, the load stops at it."""
    warehouse = postgres_place.ready(key=None)
    origin(warehouse)
    postgres_place.query("ALTER TABLE public.events ADD UNIQUE (event_id)")
    with pytest.raises(IntegrityError, match=r"partition 0, offset 2 .* is the first one .* 23505"):
        load(warehouse, Batch([OffsetRange(0, 0, 3)]).row(0, 0, 1).row(0, 1, 2).row(0, 2, 1))
    assert offsets(postgres_place) == []


@pytest.mark.parametrize("dropped", ["NEW.amount = 5", "TRUE"])
def test_a_row_that_the_table_drops_without_a_key(postgres_place: Place, dropped: str) -> None:
    """Without a key no lost row passes for a duplicate: the books don't close, and nothing is committed."""
    warehouse = postgres_place.ready(key=None)
    origin(warehouse)
    postgres_place.query(
        "CREATE FUNCTION public.dropped() RETURNS trigger LANGUAGE plpgsql AS "
        f"'BEGIN IF {dropped} THEN RETURN NULL; END IF; RETURN NEW; END'"
    )
    postgres_place.query(
        "CREATE TRIGGER d BEFORE INSERT ON public.events FOR EACH ROW EXECUTE FUNCTION public.dropped()"
    )
    with pytest.raises(IntegrityError, match=r"I3: records 2 = already_loaded 0 \+ loaded \d \+ duplicates 0 "):
        load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1).row(0, 1, 1, amount=5))
    assert offsets(postgres_place) == []


def test_the_longest_key(postgres_place: Place) -> None:
    """The index takes a key of as many columns and bytes as a declaration and the judge let through."""
    numbers = tuple(Column(f"n{number}", "decimal(38,9)") for number in range(15))
    columns = (Column("name", "text"), *numbers)
    warehouse = postgres_place.ready(columns=columns, key=tuple(column.name for column in columns))
    origin(warehouse)
    # Nothing in it repeats, so it can't be compressed.
    longest = "".join(map(chr, random.Random(0).sample(range(0x100, 0x7FF), 1_000)))
    values = {column.name: Decimal("9" * 29 + ".987654321") for column in numbers}
    batch = Batch([OffsetRange(0, 0, 2)], columns=columns)
    batch.row(0, 0, 1, name=longest, **values).row(0, 1, 2, name=longest, **values)
    assert len(longest.encode()) == 2_000
    assert load(warehouse, batch).accounts.duplicates == 1
