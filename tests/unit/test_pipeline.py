"""A pipeline's declaration is validated when it is made, before the first record."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from topicledger.columns import Column
from topicledger.errors import SettingsError
from topicledger.pipeline import Check
from topicledger.signups import SIGNUPS


@pytest.mark.parametrize(
    "name", ['x"; DROP TABLE y; --', "", "1st", "with space", "user_sıgnups", "schema.", "a" * 49, "t\n", "a.b c"]
)
def test_names_that_are_no_identifiers(name: str) -> None:
    """A table or column is named by letters, digits and underscores, whatever quoting would allow."""
    with pytest.raises(SettingsError, match="is not usable as a table or column name"):
        dataclasses.replace(SIGNUPS, table=name)
    if "." not in name:
        with pytest.raises(SettingsError, match="is not usable as a table or column name"):
            dataclasses.replace(SIGNUPS, columns=(*SIGNUPS.columns, Column(name, "text")))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"topic": "no topic"}, "not a valid Kafka topic name"),
        ({"table": "a.b.c"}, "use `table` or `schema.table`"),
        ({"columns": (*SIGNUPS.columns, SIGNUPS.columns[0])}, "declares a column twice"),
        ({"columns": (*SIGNUPS.columns, Column("_batch_id", "text"))}, "belong to the engine"),
        ({"key": "nothing"}, "is not one of the columns"),
        ({"key": "full_name"}, "may be NULL"),
        ({"origin": "newest"}, "use 'earliest' or 'latest'"),
        ({"max_records": 0}, "use a positive number"),
        ({"staging_dir": "staging"}, "is not an absolute path"),
        ({"columns": (*SIGNUPS.columns, Column("Event_ID", "text"))}, "a column twice: event_id, Event_ID. Rename one"),
        ({"columns": (*SIGNUPS.columns, Column("cost", "decimal(18,2)"))}, r"cost has the type 'decimal\(18,2\)': use"),
        ({"columns": (*SIGNUPS.columns, Column("cost", "text", "no"))}, "cost is nullable='no': use True or False"),  # type: ignore[arg-type]
        ({"columns": SIGNUPS.columns[0]}, r"columns is Column\(.*: use a tuple of Column"),
        ({"columns": ()}, "is not one of the columns"),
        ({"checks": Check("email", "@", "is wrong")}, r"checks is Check\(.*: use a tuple of Check"),
        ({"checks": (Check("email", None, "is wrong"),)}, r"Check\(.* isn't made of three texts"),  # type: ignore[arg-type]
        ({"event": dict}, "its event is <class 'dict'>: declare a class derived from msgspec.Struct"),
        ({"event": None}, "its event is None"),
        ({"clean": {}}, r"clean is \{\}: use a function"),
        ({"name": "pay ments"}, "can't be a DAG's id"),
        ({"name": None}, "name is None: use a text"),
        ({"topic": b"events"}, "topic is b'events': use a text"),
        ({"table": None}, "table is None"),
        ({"key": ("event_id",)}, r"key is \('event_id',\): use a text"),
        ({"staging_dir": None}, "staging_dir is None"),
        ({"max_records": "1000"}, "max_records is '1000'"),
        ({"max_records": True}, "max_records is True"),
        ({"reading_processes": 1.5}, "reading_processes is 1.5"),
        ({"error_budget": "1%"}, "error_budget is '1%'"),
        ({"create_tables": "no"}, "create_tables is 'no': use True or False"),
        ({"staging_format": None}, "use 'csv' or 'parquet'"),
        ({"transaction_wait_s": float("inf")}, "transaction_wait_s is inf: use seconds, up to a day"),
        ({"transaction_wait_s": "30"}, "transaction_wait_s is '30'"),
    ],
)
@pytest.mark.fault(130, "stopped")
def test_a_declaration_that_cannot_work(changes: dict[str, Any], says: str) -> None:
    """What can't work is a SettingsError that says what to use, in one sentence."""
    with pytest.raises(SettingsError, match=says) as refused:
        dataclasses.replace(SIGNUPS, **changes)
    assert "\n" not in str(refused.value)


OURS = (
    "topicledger_positions",
    "topicledger_batches",
    "TopicLedger_Schema",
    "_topicledger",
    "user_signups_Dead_Letters",
)


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize("schema", ["", "public."])
@pytest.mark.parametrize("name", [*OURS, "topicledger_staged_rows"])
def test_a_table_named_as_one_of_the_engines(schema: str, name: str) -> None:
    """No table is called as the ledger's, as a temporary one of a load, or as the dead letters of another one."""
    with pytest.raises(SettingsError, match="has a name that the engine gives its own tables"):
        dataclasses.replace(SIGNUPS, table=schema + name)


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize("schema", ["pg_catalog", "PG_temp", "information_schema"])
def test_a_schema_of_the_databases_own(schema: str) -> None:
    """Schemas that a database keeps for itself are refused."""
    with pytest.raises(SettingsError, match="lies in a schema that belongs to the database"):
        dataclasses.replace(SIGNUPS, table=f"{schema}.user_signups")


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize("name", ["ctid", "tableoid", "xmin", "xmax", "cmin", "CMAX"])
def test_a_column_named_as_a_system_column(name: str) -> None:
    """A column that no table of PostgreSQL can have is refused for every warehouse."""
    with pytest.raises(SettingsError, match=f"the column {name} can't be in a table of PostgreSQL"):
        dataclasses.replace(SIGNUPS, columns=(*SIGNUPS.columns, Column(name, "text")))
