"""How tables come to be, and what stops a load when they aren't what the pipeline declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.batches import COLUMNS, Batch, load, origin
from tests.contract.places import Place
from topicledger.columns import Column
from topicledger.errors import IntegrityError, SettingsError
from topicledger.model.plan import OffsetRange


def test_tables_are_created_once(place: Place) -> None:
    """A second call finds everything in place and keeps what is there."""
    warehouse = place.ready()
    origin(warehouse)
    warehouse.ensure_tables()
    assert len(warehouse.positions("events")) == 1
    assert warehouse.target == place.target("events")
    for table in ("events", "events_dead_letters", "topicledger_batches"):
        assert place.query(f"SELECT COUNT(*) FROM {place.schema}.{table}") == [(0,)]


def test_comparing_creates_nothing(place: Place) -> None:
    """Nothing is there and nothing gets there, no file or folder either; only once all is there, it is said."""
    warehouse = place.warehouse()
    for _ in range(2):
        assert not warehouse.compare_tables().there
        assert list(warehouse.positions("events")) == []
    for path in filter(None, (place.settings.host, place.settings.extra.get("path"))):
        assert place.kind == "postgres" or not Path(path).parent.joinpath(path).exists()
    origin(place.ready("others"))
    assert not warehouse.compare_tables().there
    assert list(warehouse.positions("events")) == []
    warehouse.ensure_tables()
    assert warehouse.compare_tables().as_declared


def test_another_schema_is_created(place: Place) -> None:
    """`schema.table` puts rows, dead letters and ledger into that schema."""
    warehouse = place.ready("landing.events")
    origin(warehouse)
    load(warehouse, Batch([OffsetRange(0, 0, 1)]).row(0, 0, 1))
    assert warehouse.target == place.target("landing.events")
    assert place.query("SELECT target FROM landing.topicledger_batches") == [(place.target("landing.events"),)]


@pytest.mark.fault(78, "stopped")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DROP COLUMN amount", "column amount"),
        ("ALTER COLUMN amount TYPE text", "column amount"),
        ("ALTER COLUMN price TYPE decimal(38,8)", "column price"),
        ("ALTER COLUMN name DROP NOT NULL", "column name"),
        ("DROP COLUMN _kafka_topic_id", "column _kafka_topic_id"),
    ],
)
def test_a_drifted_column_is_named(place: Place, change: str, named: str) -> None:
    """A column that is missing, of another type or of another nullability stops the run before any row."""
    warehouse = place.ready()
    place.query(f"ALTER TABLE {place.schema}.events {change}")
    with pytest.raises(IntegrityError, match=named):
        warehouse.ensure_tables()


def test_a_further_column_is_fine_when_it_may_be_null(place: Place) -> None:
    """A column that somebody added stays NULL."""
    warehouse = place.ready()
    place.query(f"ALTER TABLE {place.schema}.events ADD COLUMN added text")
    warehouse.ensure_tables()
    origin(warehouse)
    load(warehouse, Batch([OffsetRange(0, 0, 1)]).row(0, 0, 1))
    assert place.query(f"SELECT added FROM {place.schema}.events") == [(None,)]


def test_missing_tables_that_may_not_be_created(place: Place) -> None:
    """With create_tables=False the error has the DDL; once a DBA has run it, the load works."""
    if place.kind == "duckdb":
        place.warehouse("other.events").ensure_tables()
    warehouse = place.warehouse(create_tables=False)
    with pytest.raises(SettingsError, match="CREATE TABLE") as refused:
        warehouse.ensure_tables()
    assert "topicledger_positions" in str(refused.value).lower()
    for statement in warehouse.ddl().split(";\n"):
        if statement:
            place.query(statement)
    warehouse.ensure_tables()
    origin(warehouse)
    assert load(warehouse, Batch([OffsetRange(0, 0, 1)]).row(0, 0, 1)).accounts.loaded == 1


def test_a_newer_ledger_is_refused(place: Place) -> None:
    """A ledger that a later version wrote isn't touched by this one."""
    warehouse = place.ready()
    place.query(f"UPDATE {place.schema}.topicledger_schema SET version = 2")
    with pytest.raises(SettingsError, match="upgrade topicledger"):
        warehouse.ensure_tables()


def test_reserved_words_and_upper_case(place: Place) -> None:
    """Table and columns may have any name that a pipeline accepts."""
    names = ("order", "Select", "partition", "user", "first", "past", "s", "t", "numeric", "time", "bytea", "json")
    renamed = tuple(Column(name, column.type, column.nullable) for name, column in zip(names, COLUMNS, strict=True))
    warehouse = place.ready("Table.group", columns=renamed, key="order")
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 3)], columns=renamed)
    for offset, key in enumerate((1, 2, 1)):
        batch.row(0, offset, key, amount=offset)
    for row in batch.rows:
        row.update({name: row[column.name] for name, column in zip(names, COLUMNS, strict=True)})
    accounts = load(warehouse, batch).accounts
    assert (accounts.loaded, accounts.duplicates, accounts.conflicts) == (2, 1, 1)
    assert place.query('SELECT "Select" FROM "Table"."group" ORDER BY 1') == [(0,), (1,)]


def test_the_longest_names(place: Place) -> None:
    """Names as long as a declaration may have them are kept whole: none of the tables is cut to another one's name."""
    schema, table, column = "s" * 48, "t" * 48, "c" * 48
    columns = tuple(Column(column, c.type, c.nullable) if c.name == "name" else c for c in COLUMNS)
    warehouse = place.ready(f"{schema}.{table}", columns=columns)
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 2)], columns=columns).row(0, 0, 1).dead(0, 1)
    for row in batch.rows:
        row[column] = row["name"]
    assert load(warehouse, batch).accounts.loaded == 1
    assert place.query(f"SELECT {column} FROM {schema}.{table}") == [("n",)]
    assert place.query(f"SELECT reason FROM {schema}.{table}_dead_letters") == [("invalid_json",)]
