"""What is measured of formats, each in a process of its own: values to clean columns, and a topic to staged files.

Judging is measured in processor time: it is one thread's work, so that others on the machine count less.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pyarrow as pa

from benchmarks.peers.work import COLUMNS, REFUSED, Work, cleaned, cleaned_event
from benchmarks.setting import Setting
from topicledger import Avro, Column, Digits, EpochMillis, Json, Pipeline, Protobuf, columns_of
from topicledger.connection import Connection
from topicledger.events.judge import Judge
from topicledger.formats import Format
from topicledger.kafka.registry import registry_schemas
from topicledger.signups import SIGNUPS
from topicledger.steps.consume import consume_batch

_CHUNK = 10_000


class Customer(msgspec.Struct, frozen=True):
    """Who ordered."""

    id: int
    email: str
    name: str | None = None


class Item(msgspec.Struct, frozen=True):
    """A line of an order."""

    sku: str
    quantity: int
    price: Annotated[Decimal, Digits(12, 2)]


class Order(msgspec.Struct, frozen=True):
    """An order as shops send it: a struct, an array of structs, money, a time in milliseconds."""

    order_id: str
    customer: Customer
    items: list[Item]
    total: Annotated[Decimal, Digits(12, 2)]
    created_at: EpochMillis
    status: str
    note: str | None = None


ORDERS = Pipeline(
    "orders", Order, key="order_id", columns=columns_of(Order, Column("customer_id", field="customer.id"))
)


@dataclasses.dataclass(frozen=True)
class FormatSetting(Setting):
    """A setting over a topic of another format.

    Args:
        format: `json`, `orders`, `avro` or `protobuf`.
        values: The file with the values that lie ready, and beside it the schemas.
        url: The schema registry.
    """

    format: str = "json"
    values: str = ""
    url: str = ""

    @property
    def pipeline(self) -> Pipeline:
        """The shipped pipeline, or that of orders, in this format."""
        of = ORDERS if self.format == "orders" else SIGNUPS
        return dataclasses.replace(
            of,
            topic=self.topic,
            staging_dir=str(Path(self.folder) / "staging"),
            format=self._format(),
        )

    def _format(self) -> Format:
        if self.format == "avro":
            return Avro(schema=Path(self.values).with_name("sign_up.avsc"))
        if self.format == "protobuf":
            return Protobuf("bench.SignUp", schema=Path(self.values).with_name("sign_up.binpb"))
        return Json()

    @property
    def registry(self) -> Connection | None:  # type: ignore[override] # the others need none
        """The schema registry."""
        return Connection("schema_registry_default", "http", self.url) if self.pipeline.format.asks_registry else None


def clean_columns(setting: FormatSetting) -> float:
    """Values to clean columns, as the step does it."""
    judge, values = Judge(setting.pipeline, registry_schemas(setting.registry)), _values(setting)
    for _, reason in judge.chunk(values[1:2]).rejected:
        raise ValueError(str(reason))
    started = time.process_time()
    rows = sum(judge.chunk(values[at : at + _CHUNK]).columns.num_rows for at in range(0, len(values), _CHUNK))
    seconds = time.process_time() - started
    return _all_of(setting, rows, seconds)


def confluents(setting: FormatSetting) -> float:
    """The same by confluent-kafka's own deserializer, the rules and the clean-up by hand."""
    clean, values = by_hand(setting), _values(setting)
    clean(values[0])
    started, rows = time.process_time(), 0
    for at in range(0, len(values), _CHUNK):
        found = []
        for value in values[at : at + _CHUNK]:
            try:
                found.append(clean(value))
            except REFUSED:
                continue
        batch = pa.RecordBatch.from_arrays(
            [pa.array(column) for column in zip(*found, strict=True)], names=list(COLUMNS)
        )
        rows += batch.num_rows
    return _all_of(setting, rows, time.process_time() - started)


def consume(setting: FormatSetting) -> float:
    """Steps 3 to 12 over the topic."""
    started = time.perf_counter()
    consume_batch(setting, None)
    return time.perf_counter() - started


def airflow_operator(setting: FormatSetting) -> float:
    """Airflow's operator over the topic, with that deserializer in its callback."""
    from benchmarks.peers.airflow_operator import consume as consume_by_operator

    work = dataclasses.replace(Work.from_json(setting.to_json()), malformed=0.0)
    return consume_by_operator(work, by_hand(setting))


def by_hand(setting: FormatSetting) -> Callable[[bytes], Sequence[Any]]:
    """Decode with confluent-kafka's deserializer, judge and clean up as one would without the product."""
    if setting.format == "json":
        return cleaned
    from confluent_kafka.error import ValueDeserializationError
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.serialization import MessageField, SerializationContext

    client = SchemaRegistryClient({"url": setting.url})
    context = SerializationContext(setting.topic, MessageField.VALUE)
    decode = _avro(client) if setting.format == "avro" else _protobuf(setting)

    def clean(value: bytes) -> Sequence[Any]:
        try:
            event, at = decode(value, context)
        except (ValueDeserializationError, EOFError) as error:
            raise ValueError(str(error)) from error
        return cleaned_event(event, at)

    return clean


def _avro(client: Any) -> Callable[[bytes, Any], tuple[Any, dt.datetime]]:
    from confluent_kafka.schema_registry.avro import AvroDeserializer

    deserialize = AvroDeserializer(client)

    def decode(value: bytes, context: Any) -> tuple[Any, dt.datetime]:
        event: Any = deserialize(value, context)
        return event, event["signed_up_at"]

    return decode


def _protobuf(setting: FormatSetting) -> Callable[[bytes, Any], tuple[Any, dt.datetime]]:
    from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer

    message = setting.pipeline.format.message_type()  # type: ignore[union-attr] # it is Protobuf
    # Without a registry: it would ask for the schema in a form that Apicurio's doesn't give.
    deserialize: Any = ProtobufDeserializer(message, {"use.deprecated.format": False})
    names = [field.name for field in message.DESCRIPTOR.fields]

    def decode(value: bytes, context: Any) -> tuple[Any, dt.datetime]:
        event = deserialize(value, context)
        return {name: getattr(event, name) for name in names}, event.signed_up_at.ToDatetime(dt.UTC)

    return decode


@functools.cache
def _values(setting: FormatSetting) -> list[bytes]:
    values: list[bytes] = pickle.loads(Path(setting.values).read_bytes())  # noqa: S301 - from the process that started this one
    return values


def _all_of(setting: FormatSetting, rows: int, seconds: float) -> float:
    if not 0.99 * setting.records < rows <= setting.records:
        raise ValueError(f"{rows} rows of {setting.records} records")
    return seconds


TASKS = {task.__name__: task for task in (clean_columns, confluents, consume, airflow_operator)}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](FormatSetting.from_json(sys.argv[2]))))  # type: ignore[arg-type]
