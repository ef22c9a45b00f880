"""Topics as Confluent's own serializers write them, through a real registry and broker into a real table."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.message_factory import GetMessageClass

from devstack.registry import Registry
from tests.support.avro import field, logical, record, schema_file, written
from tests.support.looking import query
from tests.support.protobuf import compiled
from tests.support.records import Record
from tests.support.steps import Case, run_steps
from topicledger import Avro, JsonSchema, Pipeline, Protobuf, retries
from topicledger.connection import Connection
from topicledger.errors import RetriableError

pytestmark = pytest.mark.slow

OLD = record(field("order_id", "string"), field("amount", "int"), field("gone", "string", default=""))
NEW = record(
    field("order_id", "string"),
    field("amount", "long"),
    field("customer", ["null", record(field("id", "long"), name="Customer")], default=None),
    field("paid_at", logical("long", "timestamp-millis"), default=0),
)


class Order(msgspec.Struct):
    """What the JSON of an order is."""

    order_id: str
    amount: int


@pytest.fixture(name="client")
def confluents_client(schema_registry: Registry) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        yield client


@pytest.fixture(name="orders")
def a_topic_of_orders(duckdb_case: Case, schema_registry: Registry, tmp_path: Path) -> Case:
    """A topic whose pipeline has no event type but the schema's file."""
    pipeline = Pipeline(
        duckdb_case.topic,
        key="order_id",
        table=f"orders_{uuid.uuid4().hex[:8]}",
        format=Avro(schema=schema_file(tmp_path, NEW)),
        staging_dir=duckdb_case.pipeline.staging_dir,
        error_budget=1.0,
    )
    registry = Connection("schema_registry_default", "http", schema_registry.url)
    return dataclasses.replace(duckdb_case, pipeline=pipeline, registry=registry)


def avro(case: Case, client: SchemaRegistryClient, schema: Any, numbers: range) -> list[Record]:
    """Orders as Confluent's serializer writes them, which registers their schema."""
    serialize = AvroSerializer(client, json.dumps(schema))
    at = SerializationContext(case.topic, MessageField.VALUE)
    datums = ({"order_id": str(n), "amount": n, "gone": "x", "customer": {"id": n}, "paid_at": n} for n in numbers)
    return [Record(serialize(datum, at), partition=n % 2) for n, datum in zip(numbers, datums, strict=True)]


@pytest.mark.parametrize("processes", [1, 2])
def test_versions_of_a_schema_become_rows_of_one_table(
    processes: int, orders: Case, client: SchemaRegistryClient
) -> None:
    """Old and new records, dead letters among them, read by one process or several; the books close."""
    case = orders.changed(reading_processes=processes)
    case.send([*avro(case, client, OLD, range(5)), *avro(case, client, NEW, range(5, 10))])
    case.send([Record(b'{"order_id": "a"}'), Record(b"\0\x7f\xff\xff\xff\x02a"), Record(None)])
    accounts = run_steps(case).accounts
    assert (accounts.records, accounts.loaded, accounts.dead_letters, accounts.tombstones) == (13, 10, 2, 1)
    rows = query(case.place, f"SELECT amount, CAST(customer AS VARCHAR) FROM {case.pipeline.table} ORDER BY amount")
    assert rows == [(n, None if n < 5 else f'{{"id":{n}}}') for n in range(10)]
    reasons = query(case.place, f"SELECT reason FROM {case.pipeline.dead_letter_table} ORDER BY reason")
    assert reasons == [("not_framed",), ("unknown_schema",)]


@pytest.mark.parametrize("processes", [1, 2])
def test_protobuf_messages_become_rows(
    processes: int, orders: Case, client: SchemaRegistryClient, tmp_path: Path
) -> None:
    """The declared message as Confluent's serializer writes it; others of the schema, known by it, are dead letters."""
    form = Protobuf("shop.Customer", schema=compiled(tmp_path, "shop"))
    case = orders.changed(format=form, event=None, columns=None, key="name", reading_processes=processes)
    customer = form.message_type()
    order: Any = GetMessageClass(customer.DESCRIPTOR.file.message_types_by_name["Order"])
    at = SerializationContext(case.topic, MessageField.VALUE)
    sent = [*(customer(name=str(n)) for n in range(4)), order(order_id="a"), order.Refund(order_id="b")]
    serializers = {kind: ProtobufSerializer(kind, client, {"use.deprecated.format": False}) for kind in map(type, sent)}
    case.send(Record(serializers[type(one)](one, at), partition=n % 2) for n, one in enumerate(sent))
    accounts = run_steps(case).accounts
    assert (accounts.records, accounts.loaded, accounts.dead_letters) == (6, 4, 2)
    assert query(case.place, f"SELECT name, email FROM {case.pipeline.table} ORDER BY name") == [
        (str(n), None) for n in range(4)
    ]
    letters = query(case.place, f"SELECT reason, error FROM {case.pipeline.dead_letter_table} ORDER BY error")
    assert [reason for reason, _ in letters] == ["another_message"] * 2
    assert "the message shop.Order.Refund; shop.Customer was expected" in letters[0][1] + letters[1][1]


def test_json_behind_a_frame_becomes_rows(orders: Case, client: SchemaRegistryClient) -> None:
    """As Confluent's serializer for JSON Schema writes it."""
    case = orders.changed(format=JsonSchema(), event=Order, columns=None)
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Order",
        "type": "object",
        "properties": {},
    }
    serialize = JSONSerializer(json.dumps(schema), client)
    at = SerializationContext(case.topic, MessageField.VALUE)
    case.send(Record(serialize({"order_id": str(n), "amount": n}, at)) for n in range(3))
    assert run_steps(case).accounts.loaded == 3


@pytest.mark.fault(160, "dead letter")
def test_a_pipeline_of_plain_json_says_at_the_end_that_its_records_are_framed(
    orders: Case, client: SchemaRegistryClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the schema's id and what to declare, beside the counts of dead letters."""
    case = dataclasses.replace(orders, registry=None)
    case.send(avro(case, client, NEW, range(3)))
    plain = Pipeline(
        case.topic, Order, key="order_id", staging_dir=case.pipeline.staging_dir, error_budget=1.0, table="plain"
    )
    with caplog.at_level(logging.INFO):
        run_steps(dataclasses.replace(case, pipeline=plain))
    said = [line.getMessage() for line in caplog.records if "aren't plain JSON" in line.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("3 records aren't plain JSON: the value starts with the magic byte")
    assert "declare format=Avro(...)" in said[0]


@pytest.mark.fault(162, "retried")
def test_a_registry_that_is_down_leaves_nothing_behind(
    orders: Case, client: SchemaRegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The try fails with the registry's URL, nothing is staged; the next one loads everything."""
    orders.send(avro(orders, client, NEW, range(3)))
    monkeypatch.setattr(retries, "RETRY_S", 0.5)
    down = dataclasses.replace(orders, registry=Connection("schema_registry_default", "http", "http://127.0.0.1:1"))
    with pytest.raises(RetriableError, match=r"http://127\.0\.0\.1:1 can't be reached"):
        run_steps(down)
    assert orders.staged_files() == []
    assert run_steps(orders).accounts.loaded == 3


@pytest.mark.parametrize("staging_format", ["csv", "parquet"])
def test_numbers_that_json_doesnt_have_stay_what_they_are(
    staging_format: Literal["csv", "parquet"], case: Case, tmp_path: Path
) -> None:
    """NaN and both infinities of a double arrive in a float64 column, by either format of staged files."""
    schema = record(field("id", "long"), field("number", "double"))
    numbers = [1.5, math.nan, math.inf, -math.inf]
    pipeline = Pipeline(
        case.topic,
        key="id",
        table="numbers",
        format=Avro(schema=schema_file(tmp_path, schema), framed=False),
        staging_dir=case.pipeline.staging_dir,
        staging_format=staging_format,
    )
    case.send(Record(written(schema, {"id": n, "number": number})) for n, number in enumerate(numbers))
    run_steps(dataclasses.replace(case, pipeline=pipeline))
    rows = query(case.place, "SELECT number FROM numbers ORDER BY id")
    assert [repr(number) for (number,) in rows] == [repr(number) for number in numbers]
