"""A pipeline's declaration is validated when it is made, before the first record."""

from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
import sys
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest

from topicledger.columns import Column
from topicledger.errors import SettingsError
from topicledger.event_fields import columns_of
from topicledger.field_types import Digits, EpochMicros, EpochMillis, EpochSeconds
from topicledger.pipeline import Check, Pipeline
from topicledger.signups import SIGNUPS

MANY = tuple(Column(f"c{number}", "text") for number in range(17))


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
        ({"columns": (*SIGNUPS.columns, Column("cost", "text", "no"))}, "cost is nullable='no': use True or False"),  # type: ignore[arg-type]
        ({"columns": SIGNUPS.columns[0]}, r"columns is Column\(.*: use a tuple of Column"),
        ({"columns": ()}, "is not one of the columns"),
        ({"checks": Check("email", "@", "is wrong")}, r"checks is Check\(.*: use a tuple of Check"),
        ({"checks": (Check("email", None, "is wrong"),)}, r"Check\(.* isn't made of three texts"),  # type: ignore[arg-type]
        ({"event": dict}, "its event is <class 'dict'>: declare a class derived from msgspec.Struct"),
        ({"event": None}, "its event is None"),
        ({"clean": {}}, r"clean is \{\}: use a function"),
        ({"name": "pay ments"}, "can't be a DAG's id"),
        ({"name": 7}, "name is 7: use a text"),
        ({"topic": b"events"}, "topic is b'events': use a text"),
        ({"table": b"t"}, "table is b't'"),
        ({"key": ()}, r"key is \(\): use a column's name, a tuple of the names .* or None where nothing is"),
        ({"key": ""}, "key is '': use a column's name"),
        ({"key": 7}, "key is 7: use a column's name"),
        ({"key": ("event_id", None)}, r"key is \('event_id', None\): use a column's name"),
        (
            {"key": ("event_id", "nothing")},
            "the key 'nothing' is not one of the columns: use event_id, .*, or None for",
        ),
        ({"key": ("event_id", "full_name")}, "the key full_name may be NULL"),
        ({"key": ("event_id", "event_id")}, "name each column once, and at most 16"),
        ({"columns": MANY, "key": [column.name for column in MANY]}, "name each column once, and at most 16"),
        ({"columns": (*SIGNUPS.columns, Column("x", "float64")), "key": "x"}, "the key x is float64, of which"),
        ({"columns": (*SIGNUPS.columns, Column("x", "json")), "key": ("x",)}, "the key x is json, of which"),
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


class Payment(msgspec.Struct):
    """An event of one field of each flat kind, null or not."""

    payment_id: str
    account: int
    currency: Literal["EUR", "USD"]
    rate: float
    amount: Decimal
    paid: bool
    paid_at: dt.datetime
    day: dt.date
    ref: uuid.UUID
    note: str | None = None
    seen_at: dt.datetime | msgspec.UnsetType = msgspec.UNSET


def test_a_declaration_of_topic_event_and_key_is_complete() -> None:
    """Columns follow from the event's fields; table and name from the topic, unless they are declared."""
    pipeline = Pipeline("card-payments.EU", Payment, key="payment_id")
    assert (pipeline.table, pipeline.name) == ("card_payments_eu", "card-payments.EU_to_card_payments_eu")
    assert pipeline.columns == (
        Column("payment_id", "text"),
        Column("account", "int64"),
        Column("currency", "text"),
        Column("rate", "float64"),
        Column("amount", "decimal(38,9)"),
        Column("paid", "bool"),
        Column("paid_at", "timestamptz"),
        Column("day", "date"),
        Column("ref", "uuid"),
        Column("note", "text", nullable=True),
        Column("seen_at", "timestamptz", nullable=True),
    )
    named = Pipeline("payments", Payment, key="ref", table="finance.paid")
    assert (named.table, named.name) == ("finance.paid", "payments_to_finance.paid")
    assert dataclasses.replace(named, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("key", "columns"),
    [("ref", ("ref",)), (("paid_at", "ref"), ("paid_at", "ref")), (["ref"], ("ref",)), (None, ())],
)
def test_a_key_of_one_column_of_several_and_none(key: Any, columns: tuple[str, ...]) -> None:
    """The key is a column's name, several in the order in which they are declared, or none, which is the default."""
    assert Pipeline("payments", Payment, key=key).key_columns == columns
    assert Pipeline("payments", Payment).key is None


class Item(msgspec.Struct):
    """A line of an order."""

    sku: str
    price: Annotated[Decimal, Digits(8, 2)]


class Customer(msgspec.Struct):
    """Who ordered."""

    id: int
    since: dt.date | msgspec.UnsetType = msgspec.UNSET
    referrer: Customer | None = None


class Order(msgspec.Struct):
    """What isn't flat, or says more than its Python type."""

    order_id: str
    customer: Customer
    items: list[Item]
    attributes: dict[str, Any]
    anything: Any
    either: int | str
    photo: bytes
    opens: dt.time
    lasts: dt.timedelta
    total: Annotated[Decimal, Digits(12, 2)]
    seconds: EpochSeconds
    millis: EpochMillis | None
    micros: EpochMicros | msgspec.UnsetType = msgspec.UNSET
    nothing: None = None


def test_columns_of_what_is_not_flat() -> None:
    """Whatever JSON carries has a column: nested values one of JSON; epochs are times, a decimal has its digits."""
    assert columns_of(Order) == (
        Column("order_id", "text"),
        *(
            Column(name, "json", name == "anything")
            for name in ("customer", "items", "attributes", "anything", "either")
        ),
        Column("photo", "bytes"),
        Column("opens", "time"),
        Column("lasts", "text"),
        Column("total", "decimal(12,2)"),
        Column("seconds", "timestamptz"),
        Column("millis", "timestamptz", nullable=True),
        Column("micros", "timestamptz", nullable=True),
        Column("nothing", "json", nullable=True),
    )


def test_columns_of_nested_fields_and_of_other_names() -> None:
    """A column may take a nested field by its path, and any name; without a type it has its field's."""
    made = columns_of(
        Order,
        Column("customer_id", field="customer.id"),
        Column("customer_since", field="customer.since"),
        Column("paid", field="total"),
    )
    assert made[9] == Column("paid", "decimal(12,2)", field="total")
    assert made[-2:] == (
        Column("customer_id", "int64", field="customer.id"),
        Column("customer_since", "date", nullable=True, field="customer.since"),
    )
    assert Pipeline("orders", Order, key="customer_id", columns=made).columns == made


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (Column("x", field="customer.name"), "the column x is of the field customer.name, which .* Order doesn't have"),
        (Column("x", "text", field="items.sku"), "is of the field items.sku, which"),
        (Column("x", "text", field="customer.referrer.id.x"), "is of the field customer.referrer.id.x, which"),
        (Column("x"), "the column x has no type, and the event type Order no field x"),
    ],
)
def test_a_column_of_no_field(column: Column, says: str) -> None:
    """A column that names a field which isn't there is refused when the pipeline is declared."""
    with pytest.raises(SettingsError, match=says):
        Pipeline("orders", Order, key="order_id", columns=(Column("order_id"), column))


def test_what_is_kept() -> None:
    """What else is kept of a record has columns behind the pipeline's own, in one order."""
    everything = ("topic", "key", "unknown", "raw", "headers", "key_bytes")
    kept = Pipeline("payments", Payment, key="ref", keep=everything).kept
    assert kept == (
        Column("_unknown_fields", "json", nullable=True),
        Column("_kafka_value", "text"),
        Column("_kafka_key", "text", nullable=True),
        Column("_kafka_key_bytes", "bytes", nullable=True),
        Column("_kafka_headers", "json"),
        Column("_kafka_topic", "text"),
    )
    given: tuple[Any, ...] = ("key", ("keys",), ([],), None)
    for keep in given:
        with pytest.raises(SettingsError, match=r"keep is .*: use some of unknown, raw, key"):
            Pipeline("payments", Payment, key="ref", keep=keep)


def test_the_events_own_columns_and_others() -> None:
    """A declared column takes the place of the field of its name; one that is no field's comes last; none is lost."""
    refined = columns_of(Payment, Column("paid_on", "date"), Column("payment_id", "uuid"))
    assert refined == (Column("payment_id", "uuid"), *columns_of(Payment)[1:], Column("paid_on", "date"))
    twice = columns_of(Payment, Column("payment_id", "uuid"), Column("payment_id", "text"))
    with pytest.raises(SettingsError, match="declares a column twice: payment_id, payment_id"):
        Pipeline("payments", Payment, key="payment_id", columns=twice)


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([("id", str), ("odd", complex)], "the field odd .* is a complex, which msgspec can't make of JSON"),
        ([("id", str), ("Id", str)], "declares a column twice: id, Id"),
        ([("id", str), ("_mark", str)], "belong to the engine"),
        ([("id", str | None)], "the key id may be NULL, which is never equal to another"),
    ],
)
def test_a_field_that_makes_no_column(fields: list[tuple[str, Any]], says: str) -> None:
    """What doesn't become a column is named when the pipeline is declared, with what to do."""
    with pytest.raises(SettingsError, match=says):
        Pipeline("made", msgspec.defstruct("Made", fields), key="id")


@pytest.mark.parametrize("topic", ["2026-orders", "x" * 49])
def test_a_topic_that_names_no_table(topic: str) -> None:
    """A topic whose name can't be a table's wants one declared."""
    with pytest.raises(SettingsError, match="makes no table's name of at most 48 characters: declare table="):
        Pipeline(topic, Payment, key="ref")
    assert Pipeline(topic, Payment, key="ref", table="orders").columns


def test_declaring_imports_nothing_large() -> None:
    """A pipeline is declared, its columns derived, without Arrow, Kafka's client or a driver."""
    code = (
        "import sys, msgspec\nfrom topicledger.pipeline import Pipeline\n"
        "class E(msgspec.Struct):\n    id: str\n"
        "Pipeline('events', E, key='id')\n"
        "print(sorted({'pyarrow', 'confluent_kafka', 'duckdb', 'psycopg', 'boto3'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize(
    "kind", ["decimal", "decimal(p,s)", "decimal(39,2)", "decimal(2,3)", "decimal(38,38)", "decimal(2,1", "int32", 7]
)
def test_a_type_that_no_column_may_have(kind: Any) -> None:
    """Another type than the documented ones is refused, and so is a decimal of more digits than all warehouses have."""
    with pytest.raises(SettingsError, match=r"cost has the type .*: use one of uuid, .* decimal\(p,s\)"):
        dataclasses.replace(SIGNUPS, columns=(*SIGNUPS.columns, Column("cost", kind)))
    assert dataclasses.replace(SIGNUPS, columns=(*SIGNUPS.columns, Column("cost", "decimal(38, 37)"))).columns


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
