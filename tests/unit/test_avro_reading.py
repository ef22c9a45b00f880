"""Avro's bytes are read as fastavro reads them where it is right, and strictly where it isn't."""

from __future__ import annotations

import datetime as dt
import io
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.avro import field, logical, record, written
from topicledger.avro_schema import InvalidSchema, parse
from topicledger.events.avro_encoding import Malformed
from topicledger.events.avro_reading import Unresolved, reading

TREE = record(field("value", "long"), field("next", ["null", "Tree"]), name="Tree")
EVERY = record(
    field("yes", "boolean"),
    field("int", "int"),
    field("long", "long"),
    field("float", "float"),
    field("double", "double"),
    field("text", "string"),
    field("bytes", "bytes"),
    field("fixed", {"type": "fixed", "name": "Three", "size": 3}),
    field("plan", {"type": "enum", "name": "Plan", "symbols": ["free", "pro"]}),
    field("texts", {"type": "array", "items": "string"}),
    field("counts", {"type": "map", "values": "long"}),
    field("perhaps", ["null", "string"]),
    field("one_of", ["null", "string", "long", "Plan"]),
    field("id", logical("string", "uuid")),
    field("day", logical("int", "date")),
    field("time", logical("long", "time-micros")),
    field("millis", logical("long", "timestamp-millis")),
    field("micros", logical("long", "timestamp-micros")),
    field("local", logical("long", "local-timestamp-micros")),
    field("price", logical("bytes", "decimal", precision=20, scale=4)),
    field("tree", TREE),
    name="Every",
    namespace="shop",
)
LONGS = st.integers(-(2**63), 2**63 - 1)
# Of a union fastavro takes the first branch that a value fits.
EVERYTHING = st.fixed_dictionaries(
    {
        "yes": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": LONGS,
        "float": st.floats(width=32, allow_nan=False),
        "double": st.floats(allow_nan=False),
        "text": st.text(),
        "bytes": st.binary(),
        "fixed": st.binary(min_size=3, max_size=3),
        "plan": st.sampled_from(["free", "pro"]),
        "texts": st.lists(st.text()),
        "counts": st.dictionaries(st.text(), LONGS),
        "perhaps": st.none() | st.text(),
        "one_of": st.none() | st.text() | LONGS,
        "id": st.uuids(),
        "day": st.dates(),
        "time": st.times(),
        "millis": st.datetimes(timezones=st.just(dt.UTC)).map(lambda at: at.replace(microsecond=0)),
        "micros": st.datetimes(timezones=st.just(dt.UTC)),
        "local": st.datetimes(),
        "price": st.decimals(-10_000, 10_000, places=4),
        "tree": st.recursive(
            st.fixed_dictionaries({"value": LONGS, "next": st.none()}),
            lambda inner: st.fixed_dictionaries({"value": LONGS, "next": inner}),
            max_leaves=4,
        ),
    }
)

SOME = {
    "yes": True,
    "int": 1,
    "long": -(2**40),
    "float": 0.5,
    "double": 0.1,
    "text": "täxt",
    "bytes": b"abc",
    "fixed": b"abc",
    "plan": "pro",
    "texts": ["a", "b"],
    "counts": {"a": 1},
    "perhaps": None,
    "one_of": 5,
    "id": UUID(int=1),
    "day": dt.date(2026, 1, 1),
    "time": dt.time(1, 2, 3),
    "millis": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "micros": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "local": dt.datetime(2026, 1, 1),
    "price": Decimal("12.3400"),
    "tree": {"value": 1, "next": {"value": 2, "next": None}},
}
EVERY_READ = reading(parse(json.dumps(EVERY)))


def read(writer: Any, data: bytes, reader: Any = None) -> Any:
    to = None if reader is None else parse(json.dumps(reader))
    return reading(parse(json.dumps(writer)), to)(data, 0)


def fastavros(writer: Any, data: bytes, reader: Any = None) -> Any:
    to = None if reader is None else fastavro.parse_schema(reader)
    return fastavro.schemaless_reader(io.BytesIO(data), fastavro.parse_schema(writer), to)


@settings(max_examples=30)
@given(EVERYTHING)
def test_every_type_is_read_as_fastavro_reads_it(datum: Any) -> None:
    """What its writer wrote comes back as its reader gives it."""
    data = written(EVERY, datum)
    assert EVERY_READ(data, 0) == fastavros(EVERY, data) == datum


@settings(max_examples=50)
@given(EVERYTHING, st.data())
def test_damaged_bytes_are_refused_or_read_never_anything_else(datum: Any, drawn: st.DataObject) -> None:
    """Whatever is flipped, cut or put in, it is a datum or one of the errors that become dead letters."""
    data = bytearray(written(EVERY, datum))
    for _ in range(drawn.draw(st.integers(1, 3))):
        at = drawn.draw(st.integers(0, len(data)))
        data[at : at + drawn.draw(st.integers(0, 2))] = drawn.draw(st.binary(max_size=3))
    with suppress(Malformed, Unresolved, UnicodeDecodeError):
        EVERY_READ(bytes(data), 0)


@pytest.mark.parametrize("last", ["tree", "text", "bytes", "fixed", "double", "texts"])
def test_every_cut_is_found(last: str) -> None:
    """A datum that ends early is never a shorter one, whatever its last field is."""
    schema = {**EVERY, "fields": sorted(EVERY["fields"], key=lambda one: one["name"] == last)}
    data, datum = written(schema, SOME), reading(parse(json.dumps(schema)))
    assert datum(data, 0) == SOME
    for size in range(len(data)):
        with pytest.raises((Malformed, UnicodeDecodeError)):
            datum(data[:size], 0)


RESOLVED = [
    ("int", "long", 7),
    ("int", "double", 7),
    ("long", "float", 7),
    ("float", "double", 1.5),
    ("string", "bytes", "é"),
    ("bytes", "string", b"abc"),
    ("string", ["null", "string"], "a"),
    (["null", "string"], "string", "a"),
    (["int", "string"], ["string", "long"], 3),
    (["null", "long"], ["null", "double"], 3),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, [1, 2]),
    ({"type": "map", "values": "int"}, {"type": "map", "values": "double"}, {"a": 1}),
]


@pytest.mark.parametrize(("writer", "reader", "datum"), RESOLVED)
def test_types_are_resolved_as_fastavro_resolves_them(writer: Any, reader: Any, datum: Any) -> None:
    """By the specification's rules: promotions, unions on either side, what is inside arrays and maps."""
    w, r = record(field("a", writer)), record(field("a", reader))
    data = written(w, {"a": datum})
    assert read(w, data, r) == fastavros(w, data, r)


def test_fields_are_resolved_by_name_alias_and_default() -> None:
    """A field more is passed over, one less is its default, another order and another name don't matter."""
    plan = {"type": "enum", "name": "Plan", "symbols": ["free", "pro", "team"]}
    writer = record(field("gone", TREE), field("plan", plan), field("old", "long"), field("same", "string"))
    reader = record(
        field("same", "string"),
        field("new", "long", aliases=["old"]),
        field("plan", {**plan, "symbols": ["other", "free"], "default": "other"}),
        field("more", ["null", "string"], default=None),
    )
    data = written(writer, {"gone": {"value": 1, "next": None}, "plan": "team", "old": 5, "same": "s"})
    expected = {"same": "s", "new": 5, "plan": "other", "more": None}
    assert read(writer, data, reader) == fastavros(writer, data, reader) == expected


def test_defaults_are_the_values_that_they_stand_for() -> None:
    """A default's JSON becomes the value of its type, also of a logical one, at every depth."""
    inner = record(field("at", logical("long", "timestamp-millis"), default=1_000), name="Inner")
    reader = record(
        field("id", "long"),
        field("day", logical("int", "date"), default=1),
        field("price", logical("bytes", "decimal", precision=4, scale=2), default="\u0001\u0000"),
        field("bytes", "bytes", default="\u00ff"),
        field("ref", logical("string", "uuid"), default="00000000-0000-0000-0000-000000000001"),
        field("double", "double", default=1),
        field("inner", inner, default={}),
        field("many", {"type": "array", "items": ["null", "Inner"]}, default=[]),
    )
    assert read(record(field("id", "long")), b"\x02", reader) == {
        "id": 1,
        "day": dt.date(1970, 1, 2),
        "price": Decimal("2.56"),
        "bytes": b"\xff",
        "ref": UUID(int=1),
        "double": 1.0,
        "inner": {"at": dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)},
        "many": [],
    }


def test_a_unit_of_time_is_the_writers() -> None:
    """Milliseconds that were written are never taken for microseconds because the reader's schema says so."""
    writer, reader = (record(field("at", logical("long", f"timestamp-{unit}"))) for unit in ("millis", "micros"))
    assert read(writer, b"\xd0\x0f", reader) == {"at": dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)}


@given(st.integers(-(10**400), 10**400))
@example(1_234_567)
def test_a_decimal_is_exact_whatever_its_schema_says(unscaled: int) -> None:
    """One with more digits than declared keeps them; nothing is rounded."""
    data = unscaled.to_bytes(unscaled.bit_length() // 8 + 1, signed=True)
    schema = record(field("price", logical("bytes", "decimal", precision=4, scale=2)))
    got = read(schema, written(record(field("price", "bytes")), {"price": data}))["price"]
    assert got.as_tuple().exponent == -2
    assert int(got.scaleb(2)) == unscaled if abs(unscaled) < 10**20 else True
    assert got.as_tuple().digits == Decimal(abs(unscaled)).as_tuple().digits


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("boolean", b"\x07", "a boolean in it is 7"),
        ("string", b"\x01", "less than no bytes"),
        ("bytes", b"\x01", "something in it has -1 bytes"),
        ("long", b"\xff" * 10 + b"\x01", "more than 64 bits"),
        ("long", b"\xff" * 9 + b"\x02", "more than 64 bits"),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, b"\x01", "symbol -1 in it isn't one of 2"),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, b"\x04", "symbol 2 in it isn't one of 2"),
        (["null", "long"], b"\x01\x02", "branch -1 in it isn't one of 2"),
        (["null", "long"], b"\x04\x02", "branch 2 in it isn't one of 2"),
        ({"type": "array", "items": "null"}, b"\xfe" * 5 + b"\x00", "items, in 6 bytes"),
        (logical("string", "uuid"), b"\x02a", "'a' in it is no uuid"),
        (logical("int", "date"), b"\xfe\xff\xff\xff\x0f", "in it is no date"),
        (logical("int", "time-millis"), b"\x01", "-1 in it is no time-millis"),
        (logical("long", "timestamp-micros"), b"\xfe" + b"\xff" * 8 + b"\x01", "in it is no timestamp-micros"),
    ],
)
def test_what_no_datum_has_is_no_value(kind: Any, data: bytes, says: str) -> None:
    """Where the encoding leaves no doubt that bytes are wrong they are refused, with the field that they are in."""
    with pytest.raises(Malformed, match=says) as refused:
        read(record(field("a", kind)), data)
    assert refused.value.__notes__ == ["a"]


def test_a_cut_within_what_is_passed_over_is_found() -> None:
    """Also where the reader's schema doesn't have the field."""
    writer, reader = record(field("a", "long"), field("b", "string")), record(field("a", "long"))
    with pytest.raises(Malformed, match="ends early"):
        read(writer, b"\x02\x14abc", reader)


def test_nesting_is_bounded_and_ends_no_process() -> None:
    """A record that has itself inside a hundred thousand times is an error like any other."""
    with pytest.raises(RecursionError):
        read(TREE, b"\x02\x02" * 100_000)


@pytest.mark.parametrize(
    ("writer", "reader", "says"),
    [
        ("string", "long", "the writer's string can't be read as long"),
        (logical("int", "date"), logical("int", "time-millis"), "date can't be read as time-millis"),
        ({"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 3}, "fixed F"),
        ("string", ["null", "long"], "string can't be read as null or long"),
    ],
)
def test_what_doesnt_resolve_says_so(writer: Any, reader: Any, says: str) -> None:
    """Before a record is read, with both types and the field."""
    with pytest.raises(Unresolved, match=says) as refused:
        read(record(field("a", writer)), b"", record(field("a", reader)))
    assert refused.value.__notes__ == ["a"]


def test_a_branch_that_doesnt_resolve_costs_only_the_records_that_have_it() -> None:
    """Of a union of three, one branch that the reader doesn't have."""
    writer, reader = record(field("a", ["null", "string", "long"])), record(field("a", ["null", "long"]))
    assert read(writer, written(writer, {"a": 5}), reader) == {"a": 5}
    with pytest.raises(Unresolved, match="string can't be read as null or long"):
        read(writer, written(writer, {"a": "x"}), reader)


def test_a_field_without_a_default_must_be_written() -> None:
    """Else nothing says what it is."""
    with pytest.raises(Unresolved, match="no field b, which has no default"):
        read(record(field("a", "long")), b"", record(field("a", "long"), field("b", "long")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ('{"type": "record", "name": "R"}', "something in it has no 'fields'"),
        ('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "Nobody"}]}', "nothing defines .*Nobody"),
        ('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long", "default": "x"}]}', "field a is no"),
        ('{"type": "record", "name": "R", "fields": [{"name": "a", "type": 7}]}', "not built as a schema is"),
        (
            '[{"type": "fixed", "name": "F", "size": 1}, {"type": "fixed", "name": "F", "size": 1}]',
            "F is defined twice",
        ),
        ('{"type": "bytes", "logicalType": "decimal", "precision": 1, "scale": 2}', "a decimal of 1 digits"),
        ('{"type":' * 100_000, "no JSON|too deeply"),
    ],
)
def test_what_is_no_schema_says_why(text: str, says: str) -> None:
    """A text that isn't a schema is refused with what is wrong about it."""
    with pytest.raises(InvalidSchema, match=says):
        parse(text)


def test_names_are_those_of_their_namespace() -> None:
    """A type is found by its full name and, within its namespace, by its own; references come before."""
    customer = json.dumps(record(field("id", "long"), name="Customer", namespace="shop"))
    order = json.dumps(record(field("by", "Customer"), field("to", "shop.Customer"), namespace="shop"))
    by, to = (one.type for one in parse(order, {"Customer": customer}).fields)
    assert by is to
    assert by.name == "shop.Customer"
