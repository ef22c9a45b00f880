"""Formats with a schema: what their records become, and what a declaration gets wrong."""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import ZipFile

import msgspec
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.support.avro import field, framed, known, logical, record, schema_file, written
from topicledger import Avro, Json, JsonSchema, Pipeline, SettingsError
from topicledger.errors import RejectedRecord, RetriableError
from topicledger.events.judge import Judge, Judged
from topicledger.model.schemas import RegisteredSchema, Schemas
from topicledger.steps.parallel_read import _Pickler

PLAN = {"type": "enum", "name": "Plan", "symbols": ["free", "pro"]}
CUSTOMER = record(field("id", "long"), field("plan", ["null", "Plan"]), name="Customer")
ITEM = record(field("sku", "string"), field("weight", "double"), name="Item")
NODE = record(field("value", "long"), field("next", ["null", "Node"]), name="Node")
ORDER = record(
    field("order_id", logical("string", "uuid")),
    field("plan", PLAN),
    field("user_id", "long"),
    field("amount", logical("bytes", "decimal", precision=12, scale=2)),
    field("note", ["null", "string"], default=None),
    field("paid_at", logical("long", "timestamp-micros")),
    field("local_at", logical("long", "local-timestamp-millis")),
    field("day", logical("int", "date")),
    field("at", logical("int", "time-millis")),
    field("token", {"type": "fixed", "name": "Token", "size": 2}),
    field("customer", CUSTOMER),
    field("items", {"type": "array", "items": ITEM}),
    field("counts", {"type": "map", "values": "long"}),
    field("either", ["null", "string", "long"]),
    field("chain", ["null", NODE]),
)
GOOD = {
    "order_id": "123e4567-e89b-12d3-a456-426614174000",
    "plan": "pro",
    "user_id": 7,
    "amount": Decimal("12.30"),
    "note": None,
    "paid_at": dt.datetime(2026, 1, 1, 0, 30, tzinfo=dt.UTC),
    "local_at": dt.datetime(2026, 1, 1, 1, 30),
    "day": dt.date(2026, 1, 1),
    "at": dt.time(0, 30),
    "token": b"\x00\xff",
    "customer": {"id": 1, "plan": "free"},
    "items": [{"sku": "a", "weight": 1.5}],
    "counts": {"a": 1},
    "either": 5,
    "chain": {"value": 1, "next": {"value": 2, "next": None}},
}


class Order(msgspec.Struct):
    """An event type of one's own, narrower than the schema."""

    order_id: str
    user_id: Annotated[int, msgspec.Meta(ge=0)]
    plan: Literal["free", "pro"] = "free"


OWN = record(field("order_id", "string"), field("user_id", ["long", "string"]), field("plan", "string", default="free"))


def judge(format: Avro | JsonSchema, registry: Schemas | None = None, event: Any = None) -> Judge:  # noqa: A002 - its name
    return Judge(Pipeline("orders", event, key="order_id", format=format), registry)


def rows(judged: Judged) -> list[dict[str, Any]]:
    return judged.columns.to_pylist()


def refused(judged: Judged) -> list[tuple[str, str]]:
    return [(rejected.reason, str(rejected)) for _, rejected in judged.rejected]


def test_columns_follow_from_the_schema_file(tmp_path: Path) -> None:
    """Each field has its column: flat ones of their own type, what is nested or of several types as JSON."""
    pipeline = Pipeline("orders", key="order_id", format=Avro(schema=schema_file(tmp_path, ORDER)))
    assert {column.name: column.type + "?" * column.nullable for column in pipeline.columns} == {
        "order_id": "uuid",
        "plan": "text",
        "user_id": "int64",
        "amount": "decimal(12,2)",
        "note": "text?",
        "paid_at": "timestamptz",
        "local_at": "timestamptz",
        "day": "date",
        "at": "time",
        "token": "bytes",
        "customer": "json",
        "items": "json",
        "counts": "json",
        "either": "json?",
        "chain": "json?",
    }


def test_a_datum_becomes_a_row(tmp_path: Path) -> None:
    """Each value arrives exact, nested ones as JSON; a field without a value is NULL."""
    judged = judge(Avro(schema=schema_file(tmp_path, ORDER)), known(ORDER)).chunk([framed(ORDER, GOOD)])
    (row,) = rows(judged)
    assert row == {
        **GOOD,
        "token": "\\x00ff",
        "local_at": dt.datetime(2026, 1, 1, 1, 30, tzinfo=dt.UTC),
        "customer": '{"id":1,"plan":"free"}',
        "items": '[{"sku":"a","weight":1.5}]',
        "counts": '{"a":1}',
        "either": "5",
        "chain": '{"value":1,"next":{"value":2,"next":null}}',
    }


def test_writers_of_several_versions_are_resolved_to_the_file(tmp_path: Path) -> None:
    """A field more, a field less, an older one: each schema is asked for once, whatever their order."""
    asked: list[int] = []
    newer = record(*OWN["fields"], field("more", "string"))
    older = record(*OWN["fields"][:2])

    def registry(number: int) -> RegisteredSchema:
        asked.append(number)
        return known(OWN, newer, older)(number)

    judging = judge(Avro(schema=schema_file(tmp_path, OWN)), registry, Order)
    datum = {"order_id": "a", "user_id": 1, "plan": "pro", "more": "x"}
    judged = judging.chunk([framed(schema, datum, number) for number, schema in ((2, newer), (1, OWN), (3, older))] * 3)
    assert [row["plan"] for row in rows(judged)] == ["pro", "pro", "free"] * 3
    assert judged.rejected == []
    assert asked == [2, 1, 3]


def test_without_a_readers_schema_the_event_type_judges_what_was_written() -> None:
    """Its sentences are those of JSON; fields that it doesn't have are counted."""
    judging = judge(Avro(), known(record(*OWN["fields"], field("more", "string"))), Order)
    schema = record(*OWN["fields"], field("more", "string"))
    good = {"order_id": "a", "user_id": 1, "plan": "free", "more": "x"}
    judged = judging.chunk(
        [framed(schema, {**good, **changed}) for changed in ({}, {"user_id": "7"}, {"user_id": -1}, {"plan": "team"})]
    )
    assert [row["order_id"] for row in rows(judged)] == ["a"]
    assert judged.unknown_fields == 4
    decoder = msgspec.json.Decoder(Order)
    for (reason, sentence), document in zip(
        refused(judged),
        (
            '{"order_id":"a","user_id":"7"}',
            '{"order_id":"a","user_id":-1}',
            '{"order_id":"a","user_id":1,"plan":"team"}',
        ),
        strict=True,
    ):
        with pytest.raises(msgspec.ValidationError) as of_json:
            decoder.decode(document)
        assert (reason, sentence) == ("invalid_event", str(of_json.value))


def test_bare_datums_need_no_registry(tmp_path: Path) -> None:
    """Without a frame the file's schema is the writer's."""
    judging = judge(Avro(schema=schema_file(tmp_path, OWN), framed=False), None, Order)
    judged = judging.chunk([written(OWN, {"order_id": "a", "user_id": 1, "plan": "pro"}), b""])
    assert rows(judged) == [{"order_id": "a", "user_id": 1, "plan": "pro"}]
    assert not Avro(schema=schema_file(tmp_path, OWN), framed=False).asks_registry
    assert [reason for reason, _ in refused(judged)] == ["invalid_avro"]


GOOD_BYTES = framed(ORDER, GOOD)
LAX = record(*(field("amount", "bytes") if one["name"] == "amount" else one for one in ORDER["fields"]))
"""The same bytes as the schema's, whatever is in the decimal."""


@pytest.mark.fault(163, "dead letter")
@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (GOOD_BYTES[:-1], "invalid_avro", "it ends early"),
        (GOOD_BYTES + b"\0", "invalid_avro", "1 bytes follow behind its end"),
        (GOOD_BYTES[:5] + b"\x01" + GOOD_BYTES[6:], "invalid_avro", "at `$.order_id`"),
        (b"\0\0\0\0\x09" + GOOD_BYTES[5:], "unknown_schema", "no schema 9"),
        (b'{"order_id": "a"}', "not_framed", "it looks like a JSON object"),
        (b"\0\0", "not_framed", "ends within Confluent's framing"),
        (b"", "empty_value", "no bytes"),
        (
            framed(ORDER, {**GOOD, "items": [{"sku": "a", "weight": float("nan")}]}),
            "out_of_range",
            "items has the number",
        ),
        (framed(ORDER, {**GOOD, "note": "a\0b"}), "nul_character", "note contains U+0000"),
        (framed(LAX, {**GOOD, "amount": (10**400).to_bytes(170)}), "unfit_decimal", "amount 1000"),
        (framed(ORDER, GOOD, 2), "unresolved_schema", "schema 2 of the registry is no Avro schema but of kind JSON"),
        (framed(ORDER, GOOD, 3), "unresolved_schema", "schema 3 of the registry isn't valid Avro, no JSON"),
        (framed(ORDER, GOOD, 4), "unresolved_schema", "no field order_id, which has no default"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_each_bad_value_is_a_dead_letter_with_its_sentence(
    value: bytes, reason: str, says: str, tmp_path: Path
) -> None:
    """And nothing else of the batch is."""
    schemas = {
        1: RegisteredSchema(1, "AVRO", json.dumps(ORDER)),
        2: RegisteredSchema(2, "JSON", "{}"),
        3: RegisteredSchema(3, "AVRO", "{"),
        4: RegisteredSchema(4, "AVRO", json.dumps(record(field("other", "long")))),
    }

    def registry(number: int) -> RegisteredSchema:
        if number not in schemas:
            raise RejectedRecord("unknown_schema", f"the registry has no schema {number}")
        return schemas[number]

    judged = judge(Avro(schema=schema_file(tmp_path, ORDER)), registry).chunk([GOOD_BYTES, value, GOOD_BYTES])
    ((got, sentence),) = refused(judged)
    assert got == reason
    assert says in sentence
    assert len(rows(judged)) == 2


def test_text_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    """With the field that it is in."""
    value = framed(record(field("order_id", "bytes")), {"order_id": b"\xff"})
    judging = judge(
        Avro(schema=schema_file(tmp_path, record(field("order_id", "string")))),
        known(record(field("order_id", "string"))),
    )
    assert refused(judging.chunk([value])) == [
        ("invalid_utf8", "a text in the datum is not UTF-8: invalid start byte - at `$.order_id`")
    ]


@pytest.mark.fault(163, "dead letter")
def test_a_record_within_itself_is_bounded(tmp_path: Path) -> None:
    """A datum that is nested a hundred thousand times is a dead letter; the process goes on."""
    schema = record(field("order_id", "string"), field("chain", ["null", NODE]))
    deep = b"\0\0\0\0\1\x02a" + b"\x02\x02" * 100_000 + b"\0"
    judged = judge(Avro(schema=schema_file(tmp_path, schema)), known(schema)).chunk([deep])
    assert refused(judged) == [("too_deep", "the datum is nested too deeply to be decoded")]


def test_a_registry_that_is_down_ends_the_step(tmp_path: Path) -> None:
    """No verdict on a record comes of it."""

    def down(_: int) -> RegisteredSchema:
        raise RetriableError("the registry is down", code="registry-unreachable")

    with pytest.raises(RetriableError, match="is down"):
        judge(Avro(schema=schema_file(tmp_path, ORDER)), down).chunk([GOOD_BYTES])


def test_without_a_registrys_connection_framed_records_stop_the_step(tmp_path: Path) -> None:
    """The sentence says where it is declared."""
    judging = judge(Avro(schema=schema_file(tmp_path, ORDER)))
    with pytest.raises(SettingsError, match="no connection of one was given"):
        judging.chunk([GOOD_BYTES])


def test_a_generated_event_type_travels_to_a_reading_process(tmp_path: Path) -> None:
    """It pickles as the call that makes it, by nothing but what the other process has; the file may be gone."""
    path = schema_file(tmp_path, ORDER)
    pipeline = Pipeline("orders", key="order_id", format=Avro(schema=path))
    path.unlink()
    out = io.BytesIO()
    _Pickler(out).dump(pipeline)
    code = (
        "import pickle, sys; p = pickle.load(sys.stdin.buffer); from topicledger.events.judge import Judge; "
        "print(p.event.__struct_fields__ == tuple(c.name for c in p.columns), Judge(p).columns.names[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=out.getvalue(), capture_output=True, check=True)
    assert done.stdout.decode().split() == ["True", "order_id"]


def test_confluents_own_serializers_are_read(tmp_path: Path) -> None:
    """What AvroSerializer and JSONSerializer write is read as the event that was given to them."""
    client = SchemaRegistryClient.new_client({"url": "mock://formats"})
    at = SerializationContext("orders", MessageField.VALUE)
    datum = {"order_id": "a", "user_id": 1, "plan": "pro"}
    title = {"title": "Order", "type": "object", "properties": {name: {} for name in datum}}
    values = [
        AvroSerializer(client, json.dumps(OWN))(datum, at),
        JSONSerializer(json.dumps(title), client)(datum, at),
    ]

    def registry(number: int) -> RegisteredSchema:
        schema: Schema = client.get_schema(number)
        return RegisteredSchema(number, schema.schema_type, schema.schema_str)  # type: ignore[arg-type]

    formats: list[Avro | JsonSchema] = [Avro(schema=schema_file(tmp_path, OWN)), JsonSchema()]
    for format_, value in zip(formats, values, strict=True):
        assert isinstance(value, bytes)
        assert rows(judge(format_, registry, Order).chunk([value])) == [datum]
    client.close()


def test_json_schema_is_json_behind_a_frame() -> None:
    """The event type judges, and says of what is behind the frame what it says of JSON; no registry is asked."""
    assert not JsonSchema().asks_registry
    frame = b"\0\0\0\0\1"
    good = b'{"order_id":"a","user_id":1,"more":{"x":1}}'
    judged = judge(JsonSchema(), None, Order).chunk(
        [frame + good, good, frame + b"{", frame, frame + b'{"order_id":"a","user_id":"7"}', b""]
    )
    assert len(rows(judged)) == 1
    assert judged.unknown_fields == 1
    assert [reason for reason, _ in refused(judged)] == [
        "not_framed",
        "invalid_json",
        "empty_value",
        "invalid_event",
        "empty_value",
    ]
    assert refused(judged)[3][1] == "Expected `int`, got `str` - at `$.user_id`"


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (lambda _: Avro(schema=Path("order.avsc")), r"schema=Path\(__file__\).with_name\(\"order.avsc\"\)"),
        (lambda _: Avro(schema="order.avsc"), r"schema=Path\(__file__\)"),  # type: ignore[arg-type]
        (lambda folder: Avro(schema=folder / "none.avsc"), "none.avsc can't be read"),
        (lambda _: Avro(framed=False), "without a schema"),
        (lambda folder: Avro(schema=schema_file(folder, ["null", "long"])), "is of null or long"),
        (
            lambda folder: Avro(schema=schema_file(folder, record(field("a", "Nobody")))),
            "nothing defines the type 'Nobody'",
        ),
        (
            lambda folder: Avro(schema=schema_file(folder, record(field("a", "long", default="x")))),
            "the default of the field a is no long",
        ),
        (lambda _: Pipeline("orders", key="a", format=Avro()), "declare a class derived from msgspec.Struct"),
        (lambda _: Pipeline("orders", Order, key="order_id", format=Avro), "format is <class"),  # type: ignore[arg-type]
    ],
)
def test_what_a_declaration_gets_wrong_is_said_at_once(declared: Any, says: str, tmp_path: Path) -> None:
    """Nothing is asked for that: neither a registry nor a broker."""
    with pytest.raises(SettingsError, match=says):
        declared(tmp_path)


def test_a_schema_may_lie_in_a_zip_of_dag_files(tmp_path: Path) -> None:
    """Beside the DAG file, as in a folder; one that isn't there is said as such."""
    packed = tmp_path / "packed.zip"
    with ZipFile(packed, "w") as archive:
        archive.write(schema_file(tmp_path, OWN), "team/order.avsc")
    assert Avro(schema=packed / "team" / "order.avsc").text == json.dumps(OWN)
    with pytest.raises(SettingsError, match="can't be read"):
        Avro(schema=packed / "order.avsc")


def test_a_declaration_of_json_reads_no_schema() -> None:
    """Parsing a DAG file of plain JSON loads nothing of Avro."""
    code = "import sys, topicledger; topicledger.Pipeline; print([m for m in sys.modules if 'avro' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
    assert not Json().asks_registry
