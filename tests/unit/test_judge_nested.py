"""The judge over what isn't flat: nested fields, fields by path, epochs, and what an event type doesn't have."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from topicledger.columns import Column
from topicledger.event_fields import columns_of
from topicledger.events.judge import Judge
from topicledger.field_types import Digits, EpochMicros, EpochMillis, EpochSeconds
from topicledger.pipeline import Check, Pipeline

UTC = dt.UTC


class Item(msgspec.Struct):
    """A line of an order."""

    sku: str
    price: Annotated[Decimal, Digits(8, 2)]
    count: int = 1


class Customer(msgspec.Struct, rename="camel"):
    """Who ordered."""

    customer_id: int
    email: str | None = None
    since: dt.date | msgspec.UnsetType = msgspec.UNSET


class Order(msgspec.Struct):
    """An order as shops send it."""

    id: str
    customer: Customer | None = None
    items: list[Item] = []
    attributes: dict[str, Any] = {}


ORDERS = Pipeline(
    "orders",
    Order,
    key="id",
    columns=columns_of(
        Order, Column("customer_id", field="customer.customer_id"), Column("customer_since", field="customer.since")
    ),
    keep=("unknown",),
)
FULL = b"""{"id": "a", "customer": {"customerId": 7, "since": "2026-01-01", "vip": true, "next": {"x": 1.10}},
 "items": [{"sku": "s", "price": 1.50}, {"sku": "t", "price": "2", "count": 3, "tax": 19}],
 "attributes": {"b": [1e3, 12345678901234567890.123], "a": null}, "shop": 1}"""


def judged(pipeline: Pipeline, *values: bytes) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]], int]:
    """Rows, dead letters, unknown fields."""
    found = Judge(pipeline).chunk(values)
    return (
        found.columns.to_pylist(),
        [(index, reason.reason, str(reason)) for index, reason in found.rejected],
        found.unknown_fields,
    )


def test_nested_fields_are_json_and_columns_by_path() -> None:
    """A nested field is JSON as the type has it, with every digit; a path's column its value, NULL where none is."""
    rows, dead, unknown = judged(ORDERS, FULL, b'{"id":"b"}', b'{"id":"c","customer":{"customerId":8}}')
    assert not dead
    assert rows[0] == {
        "id": "a",
        "customer": '{"customerId":7,"email":null,"since":"2026-01-01"}',
        "items": '[{"sku":"s","price":1.50,"count":1},{"sku":"t","price":2,"count":3}]',
        "attributes": '{"b":[1E+3,12345678901234567890.123],"a":null}',
        "customer_id": 7,
        "customer_since": dt.date(2026, 1, 1),
        "_unknown_fields": '{"customer":{"vip":true,"next":{"x":1.10}},"items":{"1":{"tax":19}},"shop":1}',
    }
    assert [(row["customer"], row["customer_id"], row["customer_since"]) for row in rows[1:]] == [
        (None, None, None),
        ('{"customerId":8,"email":null}', 8, None),
    ]
    assert [row["_unknown_fields"] for row in rows[1:]] == [None, None]
    assert unknown == 4


@pytest.mark.fault(180, "dead letter")
@pytest.mark.parametrize(
    "field", [b'"x":"a\\u0000b"', b'"x":{"y\\u0000":1}', b'"customer":{"customerId":1,"x":"\\u0000"}']
)
def test_unknown_fields_that_no_table_holds(field: bytes) -> None:
    """An unknown field that is kept costs its own record alone, too; where it isn't kept it costs nothing."""
    values = [b'{"id":"a","x":1}', b'{"id":"b",%s}' % field, b'{"id":"c","x":2}']
    rows, dead, _ = judged(ORDERS, *values)
    assert [(row["id"], row["_unknown_fields"]) for row in rows] == [("a", '{"x":1}'), ("c", '{"x":2}')]
    assert dead == [(1, "nul_character", "_unknown_fields contains U+0000, which no table can hold")]
    assert [row["id"] for row in judged(Pipeline("orders", Order, key="id"), *values)[0]] == ["a", "b", "c"]


def test_a_clean_up_that_makes_no_number() -> None:
    """A struct of the clean-up's with NaN in it is a dead letter, and ends nothing for the others."""

    def clean(columns: Mapping[str, pa.Array[Any]]) -> Mapping[str, pa.Array[Any]]:
        return {
            "customer": pa.array([{"rate": float("nan") if name == "b" else 1.5} for name in columns["id"].to_pylist()])
        }

    pipeline = Pipeline("orders", Order, key="id", columns=columns_of(Order), clean=clean)
    rows, dead, _ = judged(pipeline, b'{"id":"a"}', b'{"id":"b"}')
    assert [row["customer"] for row in rows] == ['{"rate":1.5}']
    assert [(index, reason) for index, reason, _ in dead] == [(1, "invalid_event")]


def test_the_clean_up_sees_structs_and_lists() -> None:
    """A clean-up computes with nested fields as Arrow has them, and what it leaves alone stays as it was sent."""
    seen: dict[str, Any] = {}

    def clean(columns: Mapping[str, pa.Array[Any]]) -> Mapping[str, pa.Array[Any]]:
        seen.update({name: array.type for name, array in columns.items()})
        customer, items = columns["customer"], columns["items"]
        return {
            "customer": customer,
            "lines": pc.list_value_length(items).cast(pa.int64()),
            "items": pc.struct_field(customer, "email"),
        }

    pipeline = Pipeline(
        "orders",
        Order,
        key="id",
        columns=(*columns_of(Order)[:2], Column("items", "text", nullable=True), Column("lines", "int64")),
        clean=clean,
    )
    rows, dead, _ = judged(pipeline, FULL, b'{"id":"b","customer":{"customerId":8,"email":"e"}}')
    assert not dead
    assert [(row["lines"], row["items"], row["id"]) for row in rows] == [(2, None, "a"), (0, "e", "b")]
    assert rows[1]["customer"] == '{"customerId":8,"email":"e"}'
    assert seen["items"].value_type.names == ["sku", "price", "count"]
    assert seen["items"].value_type.field("price").type == pa.decimal128(8, 2)
    assert seen["customer"].field("since").type == pa.date32()
    assert seen["attributes"] == pa.string()


@pytest.mark.fault(183, "dead letter")
def test_json_of_the_clean_ups_own() -> None:
    """What a clean-up makes for a column of JSON may be text that is JSON, or structs; other text is a dead letter."""

    def clean(columns: Mapping[str, pa.Array[Any]]) -> Mapping[str, pa.Array[Any]]:
        return {"attributes": columns["id"], "customer": pa.array([{"n": 1}] * len(columns["id"]))}

    pipeline = Pipeline("orders", Order, key="id", columns=columns_of(Order), clean=clean)
    rows, dead, _ = judged(pipeline, b'{"id":"[1]"}', b'{"id":"{"}')
    assert [(row["attributes"], row["customer"]) for row in rows] == [("[1]", '{"n":1}')]
    assert dead == [(1, "invalid_event", "attributes '{' isn't JSON after the clean-up: Input data was truncated")]


@pytest.mark.fault(180, "dead letter")
@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (b'{"id":"a","attributes":{"x":"a\\u0000b"}}', "nul_character", "attributes contains U+0000"),
        (b'{"id":"a","attributes":{"x\\u0000":1}}', "nul_character", "attributes contains U+0000"),
        (b'{"id":"a","attributes":{"x":NaN}}', "invalid_json", "line 1 column 29"),
        (b'{"id":"a","attributes":{"x":1e400}}', "invalid_event", "Number out of range - at `$.attributes[...]`"),
        (
            b'{"id":"a","items":[{"sku":"s","price":1e20000}]}',
            "out_of_range",
            "items has a number that is none, or of",
        ),
        (b'{"id":"a","items":[{"sku":"s","price":0.%s1}]}' % (b"0" * 12_000), "out_of_range", "items has a number"),
        (b'{"id":"a","items":[{"sku":"s","price":"NaN"}]}', "out_of_range", "items has a number"),
        (b'{"id":"a","items":[{"sku":1,"price":1}]}', "invalid_event", "got `int` - at `$.items[0].sku`"),
        (b'{"id":"a","attributes":{"x":%s1%s}}' % (b"[" * 10_000, b"]" * 10_000), "too_deep", "nested too deeply"),
        (b'{"id":"a","customer":[7]}', "invalid_event", "Expected `object | null`, got `array` - at `$.customer`"),
    ],
)
def test_bad_values_in_nested_fields(value: bytes, reason: str, says: str) -> None:
    """What no table's JSON can hold, or the type doesn't allow, costs its own record alone; the sentence says where."""
    rows, [(index, given, sentence)], _ = judged(ORDERS, b'{"id":"before"}', value, b'{"id":"after"}')
    assert [row["id"] for row in rows] == ["before", "after"]
    assert (index, given) == (1, reason)
    assert says in sentence


def test_texts_that_only_look_unstorable() -> None:
    """An escaped backslash before u0000, and digits in a text, are ordinary texts."""
    rows, dead, _ = judged(ORDERS, b'{"id":"a","attributes":{"x":"\\\\u0000","y":"1e99999","z":"%s"}}' % (b"9" * 2_000))
    assert not dead
    assert json.loads(rows[0]["attributes"])["x"] == "\\u0000"


class Timed(msgspec.Struct):
    """Times of every kind."""

    id: str
    seconds: EpochSeconds | None = None
    millis: EpochMillis | None = None
    micros: EpochMicros | None = None
    opens: dt.time | None = None
    photo: bytes | None = None
    kind: Literal["a", "b"] = "a"


def test_epochs_times_and_bytes() -> None:
    """A number since 1970 is a time in UTC, to the microsecond; a time of day and bytes are their own."""
    rows, dead, _ = judged(
        Pipeline("timed", Timed, key="id"),
        b'{"id":"a","seconds":1735689600,"millis":1735689600001,"micros":-1,"opens":"12:30:00.5","photo":"AP8="}',
        b'{"id":"b","seconds":1735689600.000001}',
        b'{"id":"c"}',
    )
    assert not dead
    assert rows[0] == {
        "id": "a",
        "seconds": dt.datetime(2025, 1, 1, tzinfo=UTC),
        "millis": dt.datetime(2025, 1, 1, 0, 0, 0, 1_000, tzinfo=UTC),
        "micros": dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "opens": dt.time(12, 30, 0, 500_000),
        "photo": "\\x00ff",
        "kind": "a",
    }
    assert rows[1]["seconds"] == dt.datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert rows[2]["seconds"] is rows[2]["opens"] is rows[2]["photo"] is None


@pytest.mark.fault(181, "dead letter")
@pytest.mark.parametrize(
    ("fields", "reason", "says"),
    [
        (b'"millis":99999999999999999', "out_of_range", "millis"),
        (b'"millis":1.5', "invalid_event", "Expected `int | null`, got `float`"),
        (b'"seconds":1e300', "out_of_range", "seconds doesn't fit"),
        (b'"micros":9223372036854775807', "out_of_range", "micros lies outside the years 0001 to 9999"),
        (b'"opens":"12:00:00Z"', "invalid_event", "opens is a time of day with an offset"),
        (b'"photo":"?"', "invalid_event", "Invalid base64"),
        (b'"kind":"c"', "invalid_event", "Invalid enum value 'c' - at `$.kind`"),
    ],
)
def test_bad_times_and_bytes(fields: bytes, reason: str, says: str) -> None:
    """A number that is no time, a time with an offset, what isn't base64 or isn't a choice: a dead letter each."""
    rows, [(index, given, sentence)], _ = judged(
        Pipeline("timed", Timed, key="id"), b'{"id":"a"}', b'{"id":"x",%s}' % fields, b'{"id":"b"}'
    )
    assert [row["id"] for row in rows] == ["a", "b"]
    assert (index, given) == (1, reason)
    assert says in sentence


class Node(msgspec.Struct):
    """What may contain itself."""

    id: str
    children: list[Node] = []


@pytest.mark.fault(182, "goes on")
def test_an_event_type_that_contains_itself() -> None:
    """It is JSON, its unknown fields are counted at every depth, and what is nested too deeply is a dead letter."""
    pipeline = Pipeline("nodes", Node, key="id", keep=("unknown",))
    deep = b'{"id":"a","children":[' * 5_000 + b"]}" * 5_000
    rows, dead, unknown = judged(
        pipeline, b'{"id":"a","children":[{"id":"b","children":[{"id":"c","x":1}]}]}', b'{"id":"d"}', deep
    )
    assert [row["id"] for row in rows] == ["a", "d"]
    assert rows[0]["_unknown_fields"] == '{"children":{"0":{"children":{"0":{"x":1}}}}}'
    assert [(index, reason) for index, reason, _ in dead] == [(2, "too_deep")]
    assert unknown == 1


def test_a_check_of_a_nested_field() -> None:
    """A check may be of a text in a struct, by its path."""
    pipeline = Pipeline("orders", Order, key="id", checks=(Check("customer.email", "@", "is no e-mail address"),))
    values = [b'{"id":"a","customer":{"customerId":1,"email":"x"}}', b'{"id":"b","customer":{"customerId":1}}']
    rows, dead, _ = judged(pipeline, *values)
    assert [row["id"] for row in rows] == ["b"]
    assert dead == [(0, "invalid_event", "customer.email 'x' is no e-mail address")]
