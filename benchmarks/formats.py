"""What a format costs: sign-ups from bytes to clean columns, in one process, without a broker.

`python -m benchmarks.formats` prints it: processor time, so that one core is what is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import fastavro
import msgspec
import pyarrow as pa
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from topicledger.events.framing import FRAME
from topicledger.events.judge import Judge
from topicledger.formats import Avro
from topicledger.model.schemas import RegisteredSchema
from topicledger.signups import SIGNUPS
from topicledger.simulation import simulate

_CHUNK = 10_000
_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

_SCHEMA: Mapping[str, Any] = {
    "type": "record",
    "name": "SignUp",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "user_id", "type": "long"},
        {"name": "username", "type": "string"},
        {"name": "email", "type": "string"},
        {"name": "full_name", "type": ["null", "string"], "default": None},
        {"name": "country", "type": "string"},
        {"name": "plan", "type": {"type": "enum", "name": "Plan", "symbols": ["free", "pro", "team"]}},
        {
            "name": "source",
            "type": {"type": "enum", "name": "Source", "symbols": ["organic", "ads", "referral", "social"]},
        },
        {"name": "marketing_opt_in", "type": "boolean"},
        {"name": "signed_up_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}
_NEWER: Mapping[str, Any] = {**_SCHEMA, "fields": [*_SCHEMA["fields"], {"name": "campaign", "type": "string"}]}
_OF_NUMBERS: Mapping[str, pa.DataType] = {
    "user_id": pa.int64(),
    "marketing_opt_in": pa.bool_(),
    "signed_up_at": pa.timestamp("us", "UTC"),
}
_COLUMNS = {field["name"]: _OF_NUMBERS.get(field["name"], pa.string()) for field in _SCHEMA["fields"]}

Work = Callable[[Sequence[bytes]], int]
"""Does a chunk, and gives how many rows came of it."""


def works(records: int, folder: Path) -> Mapping[str, tuple[Sequence[bytes], Work]]:
    """What is measured, by what the table calls it: the values and the work on them."""
    sent = [value for _, value in simulate(records, malformed=0.0, seed=1, run_key="formats", at=_AT)]
    datums = [msgspec.convert(msgspec.json.decode(value), dict[str, Any]) for value in sent]
    for datum in datums:
        datum["signed_up_at"] = dt.datetime.fromisoformat(datum["signed_up_at"])
    avro, newer = _framed(_SCHEMA, 1, datums), _framed(_NEWER, 2, [{**datum, "campaign": "x"} for datum in datums])
    cut = [value[:-1] if number % 1_000 == 0 else value for number, value in enumerate(avro)]
    path = folder / "sign_up.avsc"
    path.write_text(json.dumps(_SCHEMA))
    by_file = _judging(Judge(dataclasses.replace(SIGNUPS, format=Avro(schema=path)), _schema))
    as_written = _judging(Judge(dataclasses.replace(SIGNUPS, format=Avro()), _schema))
    return {
        "JSON": (sent, _judging(Judge(SIGNUPS))),
        "Avro by a schema file": (avro, by_file),
        "the same, one record in 1,000 cut": (cut, by_file),
        "the same, written with a newer schema": (newer, by_file),
        "Avro without a file": (avro, as_written),
        "the same, with a field that the event type doesn't have": (newer, as_written),
        "fastavro into Arrow, judges nothing": (avro, _to_arrow(_by_fastavro())),
        "Confluent's AvroDeserializer into Arrow, judges nothing": (avro, _to_arrow(_by_confluent())),
    }


def _schema(number: int) -> RegisteredSchema:
    return RegisteredSchema(number, "AVRO", json.dumps(_SCHEMA if number == 1 else _NEWER))


def _framed(schema: Mapping[str, Any], number: int, datums: Sequence[Mapping[str, Any]]) -> list[bytes]:
    parsed, frame = fastavro.parse_schema(dict(schema)), b"\0" + number.to_bytes(4)
    values = []
    for datum in datums:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, datum)
        values.append(frame + out.getvalue())
    return values


def _judging(judge: Judge) -> Work:
    return lambda values: judge.chunk(values).columns.num_rows


def _to_arrow(read: Callable[[bytes], Any]) -> Work:
    def work(values: Sequence[bytes]) -> int:
        datums = [read(value) for value in values]
        arrays = [pa.array([datum[name] for datum in datums], kind) for name, kind in _COLUMNS.items()]
        return pa.RecordBatch.from_arrays(arrays, names=list(_COLUMNS)).num_rows

    return work


def _by_fastavro() -> Callable[[bytes], Any]:
    parsed = fastavro.parse_schema(dict(_SCHEMA))

    def read(value: bytes) -> Any:
        source = io.BytesIO(value)
        source.seek(FRAME)
        return fastavro.schemaless_reader(source, parsed, None)

    return read


def _by_confluent() -> Callable[[bytes], Any]:
    client = SchemaRegistryClient.new_client({"url": "mock://formats"})
    client.register_schema("sign-ups", Schema(json.dumps(_SCHEMA), "AVRO"))
    deserialize, at = AvroDeserializer(client), SerializationContext("sign-ups", MessageField.VALUE)
    return lambda value: deserialize(value, at)


def main() -> None:
    """Measure everything in turn, round after round, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = works(given.records, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in measured}
        rows: dict[str, int] = {}
        for _ in range(given.rounds):
            for name, (values, work) in measured.items():
                began = time.process_time()
                rows[name] = sum(work(values[at : at + _CHUNK]) for at in range(0, len(values), _CHUNK))
                seconds[name].append(time.process_time() - began)
    print("| what | records/s of one core | rows |\n|---|---:|---:|")
    for name, took in seconds.items():
        print(f"| {name} | {given.records / median(took):,.0f} | {rows[name]:,} |")


if __name__ == "__main__":
    main()
