"""Protobuf: what an event and its columns are made of, and what each kind of bad bytes becomes."""

from __future__ import annotations

import datetime as dt
import io
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.protobuf import compiled, text
from topicledger import Column, Pipeline, Protobuf, RejectedRecord, SettingsError
from topicledger.events.judge import Judge, Judged
from topicledger.events.protobuf_names import message_names
from topicledger.model.schemas import RegisteredSchema
from topicledger.steps.parallel_read import _Pickler


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("protobuf"), "shop")


@pytest.fixture(scope="module")
def orders(shop: Path) -> Pipeline:
    """The pipeline of bare orders, without an event type of its own."""
    return Pipeline(topic="orders", key="order_id", format=Protobuf("shop.Order", schema=shop, framed=False))


@pytest.fixture(scope="module")
def judge(orders: Pipeline) -> Judge:
    return Judge(orders)


@pytest.fixture(scope="module")
def order(orders: Pipeline) -> type[Any]:
    assert isinstance(orders.format, Protobuf)
    return orders.format.message_type()


def rows(judged: Judged) -> list[dict[str, Any]]:
    assert not judged.rejected
    found: list[dict[str, Any]] = judged.columns.to_pylist()
    return found


def refused(judge: Judge, value: bytes) -> tuple[str, str]:
    judged = judge.chunk([value])
    ((_, reason),) = judged.rejected
    assert judged.columns.num_rows == 0
    return reason.reason, str(reason)


def test_columns_follow_from_the_schema(orders: Pipeline) -> None:
    """Each field has its column: nullable where Protobuf can tell that it is unset, JSON where it is nested."""
    assert {column.name: f"{column.type}{'?' * column.nullable}" for column in orders.columns} == {
        "order_id": "text",
        "number": "int64",
        "status": "text",
        "note": "text?",
        "placed_at": "timestamptz?",
        "customer": "json?",
        "items": "json",
        "stock": "json",
        "by_choice": "json",
        "signature": "bytes",
        "card": "text?",
        "cents": "int64?",
        "lasted": "decimal(21,9)?",
        "points": "int64?",
        "nickname": "text?",
        "extras": "json?",
        "checksum": "int64",
        "weight": "float64",
        "ratio": "float64",
        "gift": "bool",
        "delta": "int64",
        "ticket": "int64",
        "history": "json",
        "anything": "json?",
        "listed": "json?",
        "tree": "json?",
        "seen_at": "json",
    }


def test_a_message_is_its_row(judge: Judge, order: type[Any]) -> None:
    """Each kind of field reaches its column as it was sent."""
    sent = order(
        order_id="é", number=-5, status=2, note="", signature=b"\0\xff", cents=0, weight=0.1, ratio=0.5, gift=True
    )
    sent.placed_at.FromJsonString("2026-01-02T03:04:05.123456789Z")
    sent.customer.name = "Ada"
    sent.items.add(sku="a", count=2, status=1, price=1.25)
    sent.stock["b"] = 2**40
    sent.by_choice[True].name = "Yes"
    sent.lasted.seconds, sent.lasted.nanos = -1, -1
    sent.points.value = 0
    sent.nickname.value = "x"
    sent.extras.update({"a": 1, "b": [True, None, {"c": "d"}]})
    sent.checksum, sent.delta, sent.ticket = 2**63 - 1, -(2**31), 7
    sent.history.extend([1, 0])
    sent.anything.string_value = "any"
    sent.listed.append(2)
    sent.tree.left.name = "deeper"
    sent.tree.left.left.name = "end"
    sent.seen_at.add(seconds=1)
    (row,) = rows(judge.chunk([sent.SerializeToString()]))
    nested = {column.name for column in judge.pipeline.columns if column.type == "json"}
    flat = {name: value for name, value in row.items() if name not in nested}
    assert flat == {
        "order_id": "é",
        "number": -5,
        "status": "PAID",
        "note": "",
        "placed_at": dt.datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=dt.UTC),
        "signature": r"\x00ff",
        "card": None,
        "cents": 0,
        "lasted": Decimal("-1.000000001"),
        "points": 0,
        "nickname": "x",
        "checksum": 2**63 - 1,
        "weight": 0.1,
        "ratio": 0.5,
        "gift": True,
        "delta": -(2**31),
        "ticket": 7,
    }
    assert {name: json.loads(row[name]) for name in nested} == {
        "customer": {"name": "Ada", "email": None},
        "items": [{"sku": "a", "count": 2, "status": "OPEN", "price": 1.25}],
        "stock": {"b": 2**40},
        "by_choice": {"true": {"name": "Yes", "email": None}},
        "extras": {"a": 1, "b": [True, None, {"c": "d"}]},
        "history": ["OPEN", "UNKNOWN"],
        "anything": "any",
        "listed": [2],
        "tree": {
            "name": "",
            "more": [],
            "left": {"name": "deeper", "more": [], "left": {"name": "end", "more": []}},
        },
        "seen_at": ["1970-01-01T00:00:01Z"],
    }


def test_what_is_unset_is_null_or_what_protobuf_says(judge: Judge) -> None:
    """A message of no bytes is one: NULL where it can be told, else the default that its syntax gives."""
    (row,) = rows(judge.chunk([b""]))
    assert {row[name] for name in ("note", "placed_at", "customer", "card", "cents", "points", "anything")} == {None}
    assert (row["order_id"], row["number"], row["status"], row["items"], row["gift"]) == ("", 0, "UNKNOWN", "[]", False)


class Placed(msgspec.Struct):
    """Some of an order's fields, as one would declare them."""

    order_id: str
    status: Literal["OPEN", "PAID"]
    number: int
    note: str | msgspec.UnsetType = msgspec.UNSET
    cents: int = -1


def placed(shop: Path, **more: Any) -> Judge:
    form = Protobuf("shop.Order", schema=shop, framed=False)
    return Judge(Pipeline(topic="orders", event=Placed, key="order_id", format=form, **more))


def test_an_event_type_of_ones_own_judges_as_it_does_json(shop: Path, order: type[Any]) -> None:
    """Its defaults stand for what is unset, its types refuse with the sentence that JSON has."""
    judge = placed(shop)
    assert rows(judge.chunk([order(order_id="a", status=1).SerializeToString()])) == [
        {"order_id": "a", "status": "OPEN", "number": 0, "note": None, "cents": -1}
    ]
    plain = Judge(Pipeline(topic="orders", event=Placed, key="order_id"))
    assert refused(judge, order(order_id="a").SerializeToString()) == refused(
        plain, b'{"order_id": "a", "status": "UNKNOWN", "number": 0}'
    )


def test_fields_of_a_newer_writer_are_counted_and_kept(orders: Pipeline, order: type[Any], tmp_path: Path) -> None:
    """What a later version of the schema adds, also in a nested message, is counted and kept under its number."""
    newer = text("shop").replace("uint64 checksum = 17;", "uint64 checksum = 17; int32 more = 99;")
    newer = newer.replace("optional string email = 2;", "optional string email = 2; string phone = 98;")
    (tmp_path / "newer.proto").write_text(newer)
    writer = Protobuf("shop.Order", schema=compiled(tmp_path, "newer")).message_type()
    sent = writer(order_id="a", more=7)
    sent.customer.phone = "1"
    values = [sent.SerializeToString(), order(order_id="b").SerializeToString()]
    judge = Judge(Pipeline(topic="orders", key="order_id", format=orders.format, keep=("unknown",)))
    judged = judge.chunk(values)
    assert judged.unknown_fields == 2
    first, second = rows(judged)
    assert first["order_id"] == "a"
    assert json.loads(first["_unknown_fields"]) == {"99": 7, "customer": {"98": "MQ=="}}
    assert second["_unknown_fields"] is None


def good(order: type[Any]) -> bytes:
    sent = order(order_id="a", number=5, note="né")
    sent.customer.name = "Ada"
    value: bytes = sent.SerializeToString()
    return value


def deep(levels: int) -> bytes:
    """A tree so deep, made by hand: the library refuses to."""
    value = b""
    for _ in range(levels):
        value = b"\x12" + _varint(len(value)) + value
    return b"\xd2\x01" + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


Make = Callable[[type[Any]], bytes]


def sent(**fields: Any) -> Make:
    """What the library itself makes of fields."""
    return lambda order: order(**fields).SerializeToString()


def behind_good(more: bytes) -> Make:
    """A good message, and something after it."""
    return lambda order: good(order) + more


BAD: list[tuple[str, bytes | Make, str, str]] = [
    ("truncated", lambda order: good(order)[:-1], "invalid_protobuf", "truncated: field 6 (customer) has 5 bytes from"),
    ("ends within a number", behind_good(b"\x10\x80"), "invalid_protobuf", "within a number"),
    ("trailing text", behind_good(b"}\n"), "invalid_protobuf", "truncated: field 15 (nickname) has 4 bytes from byte"),
    ("trailing zeros", behind_good(b"\0\0"), "invalid_protobuf", "message: no field begins at byte"),
    ("no such wire type", behind_good(b"\x0e"), "invalid_protobuf", "message: no field begins at byte"),
    ("a number of eleven bytes", b"\x10" + b"\xff" * 11, "invalid_protobuf", "has more than 10 bytes"),
    ("a group that doesn't end", behind_good(b"\xa3\x06"), "invalid_protobuf", "within group 100"),
    ("JSON", b'{"order_id": "a"}', "invalid_protobuf", "the value is no Protobuf message: "),
    (
        "wire type",
        b"\x0d\1\2\3\4",
        "invalid_event",
        "Field 1 is written as 4 bytes, by another schema - at `$.order_id`",
    ),
    ("wire type, nested", b"\x32\x02\x08\1", "invalid_event", "at `$.customer.name`"),
    ("not UTF-8", b"\x0a\x02\xff\xfe", "invalid_utf8", "order_id is not UTF-8: invalid start byte at byte 2"),
    ("nested 1,000 deep", deep(1_000), "too_deep", "nested more than 100 deep"),
    ("nested 100,000 deep", deep(20_000), "too_deep", "nested more than 100 deep"),
    ("a new enum value", b"\x18\x09", "invalid_event", "Invalid enum value 9 - at `$.status`"),
    ("one in a list", b"\xba\x01\x02\x01\x09", "invalid_event", "Invalid enum value 9 - at `$.history[1]`"),
    ("one that is nested", b"\x3a\x02\x18\x07", "invalid_event", "Invalid enum value 7 - at `$.items[0].status`"),
    ("past int64", sent(checksum=2**63), "out_of_range", "checksum doesn't fit int64"),
    ("U+0000", sent(order_id="a\0"), "nul_character", "order_id contains U+0000"),
    ("a time past 9999", sent(placed_at={"seconds": 2**60}), "invalid_event", "at `$.placed_at`"),
    ("negative nanoseconds", sent(placed_at={"nanos": -1}), "invalid_event", "at `$.placed_at`"),
    ("a time in a list", sent(seen_at=[{}, {"nanos": -1}]), "invalid_event", "at `$.seen_at[1]`"),
    ("NaN, nested", sent(items=[{"price": float("nan")}]), "out_of_range", "items"),
    ("infinity, in a Value", sent(anything={"number_value": float("inf")}), "out_of_range", "anything"),
]


@pytest.mark.fault(165, "dead letter")
@pytest.mark.parametrize(("make", "reason", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_bytes_are_dead_letters(judge: Judge, order: type[Any], make: bytes | Make, reason: str, says: str) -> None:
    """Each kind has its reason and a sentence that says what and where, and costs its own record only."""
    value = make if isinstance(make, bytes) else make(order)
    found, sentence = refused(judge, value)
    assert (found, says in sentence) == (reason, True), sentence
    assert judge.chunk([good(order), value, good(order)]).columns.num_rows == 2


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_whatever_the_bytes_a_record_is_a_row_or_a_dead_letter(
    judge: Judge, order: type[Any], data: st.DataObject
) -> None:
    """Any bytes, and good ones of which some are others."""
    value = bytearray(good(order) + order(items=[{}], stock={"a": 1}, tree={"left": {}}).SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(value) - 1))
        value[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    values = [bytes(value), data.draw(st.binary(max_size=30))]
    judged = judge.chunk(values)
    assert judged.columns.num_rows + len(judged.rejected) == len(values)
    assert not any("protobuf_values" in str(reason) for _, reason in judged.rejected)


class Registry:
    """Confluent's serializer, and the schemas that it registered, without a network."""

    def __init__(self) -> None:
        self.client = SchemaRegistryClient.new_client({"url": "mock://"})

    def value(self, message: Any) -> bytes:
        serializer = ProtobufSerializer(type(message), self.client, {"use.deprecated.format": False})
        value = serializer(message, SerializationContext("orders", MessageField.VALUE))
        assert isinstance(value, bytes)
        return value

    def schemas(self, schema_id: int) -> RegisteredSchema:
        try:
            schema = self.client.get_schema(schema_id)
        except Exception as error:
            raise RejectedRecord("unknown_schema", f"no schema {schema_id}") from error
        return RegisteredSchema(schema_id, "PROTOBUF", schema.schema_str or "")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.mark.fault(164, "dead letter")
@pytest.mark.parametrize("name", ["shop.Order", "shop.Order.Refund", "shop.Customer"])
def test_a_framed_message_is_the_one_that_its_indexes_name(
    shop: Path, order: type[Any], registry: Registry, name: str
) -> None:
    """Confluent's serializer names the first of a file, a nested one and a later one; every other is a dead letter."""
    kinds = [order, order.Refund, order.Item, type(order().customer), type(order().tree)]
    form = Protobuf(name, schema=shop)
    key = form.message_type().DESCRIPTOR.fields[0].name
    judge = Judge(Pipeline(topic="orders", key=key, format=form), registry.schemas)
    for kind in kinds:
        value = registry.value(kind())
        if kind.DESCRIPTOR.full_name == name:
            assert rows(judge.chunk([value, value]))
        else:
            reason, sentence = refused(judge, value)
            assert reason == "another_message"
            assert sentence.endswith(f"the message {kind.DESCRIPTOR.full_name}; {name} was expected")


FRAMED = [
    (b"\0\0\0\0\1\0", "row", ""),
    (b"\0\0\0\0\1\2\0", "row", ""),  # what is for short a zero
    (b"\0\0\0\0\1\2\2", "another_message", "by schema 1, the message shop.Customer; shop.Order was expected"),
    (b"\0\0\0\0\1\2\x12", "another_message", "by schema 1, its message 9, which it doesn't have"),
    (b"\0\0\0\0\1\4\0\2", "another_message", "the message shop.Order.Refund; "),
    (b"\0\0\0\0\1", "not_framed", "has no message indexes"),
    (b"\0\0\0\0\1\1", "not_framed", "has no message indexes"),
    (b"\0\0\0\0\1\xff\xff\xff\xff\xff", "not_framed", "has no message indexes"),
    (b"\0\0\0\0\1\x08\2", "not_framed", "has no message indexes"),
    (b"\0\0\0\0\2\0", "unresolved_schema", "schema 2 of the registry is no Protobuf schema but of kind AVRO"),
    (b"\0\0\0\0\3\0", "unknown_schema", "3"),
    (b"\0\0", "not_framed", ""),
    (b"", "empty_value", "no bytes"),
    (b'{"order_id": "a"}', "not_framed", "it looks like a JSON object"),
    (b"\x0a\x01a", "not_framed", "0x0a"),
    (b"\0\0\0\0\1\0\x0a\x05a", "invalid_protobuf", "field 1 (order_id) has 5 bytes from byte 8 on, and 1 are left"),
]


@pytest.mark.parametrize(("value", "reason", "says"), FRAMED)
def test_frames(shop: Path, value: bytes, reason: str, says: str) -> None:
    """A value that isn't framed, not by such a schema or not as the declared message is a dead letter that says so."""
    schemas = {1: RegisteredSchema(1, "PROTOBUF", text("shop")), 2: RegisteredSchema(2, "AVRO", '"string"')}

    def schema(schema_id: int) -> RegisteredSchema:
        if schema_id not in schemas:
            raise RejectedRecord("unknown_schema", f"no schema {schema_id}")
        return schemas[schema_id]

    judge = Judge(Pipeline(topic="orders", key="order_id", format=Protobuf("shop.Order", schema=shop)), schema)
    if reason == "row":
        assert rows(judge.chunk([value]))
    else:
        found, sentence = refused(judge, value)
        assert (found, says in sentence) == (reason, True), sentence


def test_names_of_a_schemas_text_are_its_descriptors(registry: Registry, order: type[Any]) -> None:
    """A registry that keeps the text says the same of which message is which as one that keeps the descriptor."""
    registry.value(order())
    descriptor = message_names(registry.schemas(1).text)
    of_maps = {indexes: name for indexes, name in descriptor.items() if name.endswith("Entry")}
    assert len(of_maps) == 2
    odd = '/* message A { */ // message B {\n string message = 5; option (x) = "message C {"; enum E { Z = 0; }'
    hard = text("shop").replace("message Item {", f"message Item {{ {odd}")
    assert message_names(hard) == {indexes: name for indexes, name in descriptor.items() if indexes not in of_maps}
    assert message_names('message A { message B {} oneof c { int32 d = 1; } message E {} }') == {
        (0,): "A", (0, 0): "A.B", (0, 1): "A.E"
    }  # fmt: skip


def test_a_framed_pipeline_without_a_registry_says_so(shop: Path) -> None:
    """Nothing is a dead letter because nobody gave the registry."""
    judge = Judge(Pipeline(topic="orders", key="order_id", format=Protobuf("shop.Order", schema=shop)))
    with pytest.raises(SettingsError, match="no connection of one was given"):
        judge.chunk([b"\0\0\0\0\1\0"])


@pytest.fixture
def generated(tmp_path: Path) -> Iterator[type[Any]]:
    """The class that protoc generates, imported as from beside a DAG file."""
    compiled(tmp_path, "sign_up", f"--python_out={tmp_path}")
    sys.path.insert(0, str(tmp_path))
    try:
        import sign_up_pb2  # type: ignore[import-not-found] # was made just now

        yield sign_up_pb2.SignUp
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("sign_up_pb2", None)


def travelled_to_a_process(pipeline: Pipeline) -> Pipeline:
    """The pipeline as a process has it that reads for another one."""
    order = io.BytesIO()
    _Pickler(order).dump(pipeline)
    travelled = pickle.loads(order.getvalue())  # noqa: S301 - from here
    assert isinstance(travelled, Pipeline)
    return travelled


def test_a_generated_class_is_a_schema(generated: type[Any]) -> None:
    """The class alone is a declaration, and such a pipeline travels to another process, as one of a file does."""
    pipeline = Pipeline(topic="sign_ups", key="event_id", format=Protobuf(generated, framed=False))
    travelled = travelled_to_a_process(pipeline)
    value = generated(event_id="a", plan=1).SerializeToString()
    assert rows(Judge(travelled).chunk([value])) == rows(Judge(pipeline).chunk([value]))
    assert rows(Judge(pipeline).chunk([value]))[0]["plan"] == "pro"


def test_a_pipeline_of_a_schema_travels(orders: Pipeline, order: type[Any]) -> None:
    """To another process goes the schema; the event type is derived there."""
    travelled = travelled_to_a_process(orders)
    assert travelled.columns == orders.columns
    assert travelled.event is not orders.event
    assert rows(Judge(travelled).chunk([good(order)])) == rows(Judge(orders).chunk([good(order)]))


def test_columns_may_be_of_nested_fields(orders: Pipeline, order: type[Any]) -> None:
    """A column takes a field of a nested message by its path."""
    columns = (Column("order_id"), Column("customer_name", field="customer.name"))
    judge = Judge(Pipeline(topic="orders", key="order_id", format=orders.format, columns=columns))
    assert rows(judge.chunk([good(order), b""])) == [
        {"order_id": "a", "customer_name": "Ada"},
        {"order_id": "", "customer_name": None},
    ]


def test_the_old_syntax_has_required_fields_and_closed_enums(tmp_path: Path) -> None:
    """Without a required field a message is a dead letter, and so is a new number, which the library hides."""
    (tmp_path / "old.proto").write_text(
        'syntax = "proto2"; message Old { required string id = 1; optional Kind kind = 2 [default = B]; '
        "enum Kind { A = 0; B = 1; } optional string from = 3; optional group Part = 4 { optional int32 n = 5; } }"
    )
    form = Protobuf("Old", schema=compiled(tmp_path, "old"), framed=False)
    judge = Judge(Pipeline(topic="old", key="id", format=form))
    assert rows(judge.chunk([b"\x0a\1a", b"\x0a\1b\x10\0\x1a\1c\x23\x28\x07\x24"])) == [
        {"id": "a", "kind": None, "from": None, "part": None},
        {"id": "b", "kind": "A", "from": "c", "part": '{"n":7}'},
    ]
    assert refused(judge, b"\x10\1") == ("invalid_event", "Object missing required field `id`")
    assert refused(judge, b"\x0a\1a\x10\x09") == ("invalid_event", "Invalid enum value 9 - at `$.kind`")
    assert refused(judge, b"\x0a\1\xff") == ("invalid_event", "Expected `str`, got `bytes` - at `$.id`")


@pytest.mark.parametrize(
    ("message", "schema", "says"),
    [
        ("shop.Order", None, "name a message and the file that has it"),
        (dict, None, "name a message and the file that has it"),
        ("shop.Order", Path("shop.binpb"), "from which folder a DAG file is run nobody knows"),
        ("shop.Order", "no.binpb", "can't be read"),
        ("shop.Order", "text.proto", "is no descriptor set with all its imports"),
        ("shop.Order", "alone.binpb", "is no descriptor set with all its imports"),
        ("Order", "shop.binpb", "has no message Order: name one of shop.Node, shop.Customer, shop.Order, google."),
    ],
)
def test_a_declaration_that_cant_work_is_refused(
    shop: Path, message: Any, schema: str | Path | None, says: str
) -> None:
    """What is no schema is said when the pipeline is declared, with how to make one."""
    shop.with_name("text.proto").write_text(text("shop"))
    compiled(shop.parent, "shop", f"--descriptor_set_out={shop.with_name('alone.binpb')}")
    with pytest.raises(SettingsError) as refusal:
        Pipeline(
            topic="orders",
            key="id",
            format=Protobuf(message, schema=shop.with_name(schema) if isinstance(schema, str) else schema),
        )
    assert says in str(refusal.value)
