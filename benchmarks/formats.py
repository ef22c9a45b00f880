"""How fast each format is, beside confluent-kafka's deserializers at the same work. `make bench-formats` runs it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pickle
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, timestamp_pb2

from benchmarks.format_tasks import FormatSetting
from benchmarks.ground import PARTITIONS, Ground, running_ground
from benchmarks.measured import Figure, measured
from benchmarks.report import found_conditions, middle
from benchmarks.setting import AT
from devstack.registry import Registry
from devstack.topics import ensure_topic
from topicledger import Protobuf
from topicledger.signups import SignUp
from topicledger.simulation import simulate

_HERE = Path(__file__).resolve().parent
_TEXTS = ("event_id", "username", "email", "country", "plan", "source")
_BAD = 1_000
"""One in so many is broken, where some are."""

FORMATS = ("json", "orders", "avro", "protobuf", "avro, some bad", "protobuf, some bad", "json, some bad")
"""What is measured; orders are nested JSON."""


def sign_ups(records: int) -> list[Any]:
    """The sign-ups of every format."""
    import msgspec

    made = simulate(records, malformed=0.0, seed=1, run_key="formats", at=AT)
    return [msgspec.json.decode(value, type=SignUp) for _, value in made]


def avro_values(events: Sequence[Any], client: SchemaRegistryClient, folder: Path) -> list[bytes]:
    """Sign-ups in Avro, by confluent-kafka's own serializer."""
    fields: list[dict[str, Any]] = [{"name": name, "type": "string"} for name in _TEXTS]
    fields += [{"name": "user_id", "type": "long"}, {"name": "full_name", "type": ["null", "string"], "default": None}]
    fields += [{"name": "marketing_opt_in", "type": "boolean"}]
    fields += [{"name": "signed_up_at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]
    schema = json.dumps({"type": "record", "name": "SignUp", "fields": fields})
    (folder / "sign_up.avsc").write_text(schema)
    serialize: Any = AvroSerializer(
        client, schema, lambda event, _: {n: getattr(event, n) for n in SignUp.__struct_fields__}
    )
    context = SerializationContext("avro", MessageField.VALUE)
    return [serialize(event, context) for event in events]


def protobuf_values(events: Sequence[Any], client: SchemaRegistryClient, folder: Path) -> list[bytes]:
    """The same in Protobuf."""
    field = descriptor_pb2.FieldDescriptorProto
    kinds = dict.fromkeys((*_TEXTS, "full_name"), field.TYPE_STRING)
    kinds |= {"user_id": field.TYPE_INT64, "marketing_opt_in": field.TYPE_BOOL, "signed_up_at": field.TYPE_MESSAGE}
    file = descriptor_pb2.FileDescriptorProto(name="sign_up.proto", package="bench", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    message = file.message_type.add(name="SignUp")
    for number, (name, kind) in enumerate(kinds.items(), start=1):
        one = message.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
        if name == "full_name":
            message.oneof_decl.add(name="_full_name")
            one.proto3_optional, one.oneof_index = True, 0
        if name == "signed_up_at":
            one.type_name = ".google.protobuf.Timestamp"
    known = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(known)
    path = folder / "sign_up.binpb"
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[known, file]).SerializeToString())
    made = Protobuf("bench.SignUp", schema=path).message_type()
    serialize = ProtobufSerializer(made, client, {"use.deprecated.format": False})
    context = SerializationContext("protobuf", MessageField.VALUE)

    def value(event: Any) -> bytes:
        fields = {name: getattr(event, name) for name in kinds if name != "signed_up_at"}
        one = made(**{name: value for name, value in fields.items() if value is not None})
        one.signed_up_at.FromDatetime(event.signed_up_at)
        found: bytes = serialize(one, context)
        return found

    return [value(event) for event in events]


def orders(records: int) -> list[bytes]:
    """Orders of one to three lines each."""
    some = random.Random(1)  # noqa: S311 - always the same ones

    def order(number: int) -> dict[str, Any]:
        items = [
            {
                "sku": f"SKU-{some.randrange(99_999):05}",
                "quantity": some.randrange(1, 9),
                "price": some.randrange(9_999) / 100,
            }
            for _ in range(some.randrange(1, 4))
        ]
        customer = {"id": some.randrange(10**6), "email": f"user{number}@example.com", "name": "Some One"}
        at = {"total": 123.45, "created_at": 1_764_200_000_000 + number, "status": "paid", "note": None}
        return {"order_id": f"o-{number:08}", "customer": customer, "items": items, **at}

    return [json.dumps(order(number)).encode() for number in range(records)]


def made_values(records: int, url: str, folder: Path) -> dict[str, list[bytes]]:
    """The values of every format."""
    import msgspec

    events, client = sign_ups(records), SchemaRegistryClient({"url": url})
    values = {
        "json": [msgspec.json.encode(event) for event in events],
        "orders": orders(records),
        "avro": avro_values(events, client, folder),
        "protobuf": protobuf_values(events, client, folder),
    }
    for name in ("json", "avro", "protobuf"):
        bad = [value[:-3] if number % _BAD == 0 else value for number, value in enumerate(values[name])]
        values[f"{name}, some bad"] = bad
    return values


@contextmanager
def running_registry(folder: Path) -> Iterator[str]:
    """A schema registry of our own."""
    registry = Registry(folder)
    registry.start()
    try:
        yield registry.url
    finally:
        registry.stop()


def fill(bootstrap: str, topic: str, values: Sequence[bytes]) -> None:
    """Put them onto a topic."""
    ensure_topic(bootstrap, topic, PARTITIONS)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 2_000_000})
    for value in values:
        producer.produce(topic, value)
        producer.poll(0)
    producer.flush()


def measure(
    ground: Ground, url: str, values: dict[str, list[bytes]], folder: Path, rounds: int
) -> dict[str, list[Figure]]:
    """Everything once a round, in turn."""
    figures: dict[str, list[Figure]] = {}
    for name, lying in values.items():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(lying))
        if "bad" not in name:
            fill(ground.bootstrap, name, lying)
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", flush=True)
        for name, lying in values.items():
            for task in _tasks(name):
                with ground.setting(name.partition(",")[0], len(lying)) as setting:
                    own = {**dataclasses.asdict(setting), "format": name.partition(",")[0], "url": url}
                    told = FormatSetting(**own, values=str(folder / f"{name}.pickle"))
                    figure = measured(task, told, "benchmarks.format_tasks")
                    figures.setdefault(f"{task}: {name}", []).append(figure)
    return figures


def _tasks(name: str) -> Sequence[str]:
    if "bad" in name:
        return ["clean_columns"]
    return ["clean_columns", "consume", *(["confluents", "airflow_operator"] if name != "orders" else [])]


def page(figures: dict[str, list[Figure]], records: int, rounds: int) -> str:
    """The medians, and what they are to each other."""
    where = found_conditions(peers=False)
    speed = {name: records / middle(many).seconds for name, many in figures.items()}
    lines = [
        f"# Formats, {records:,} records, {where['date']}",
        "",
        f"Commit {where['commit']}; {where['machine']}; Python {where['python']}. Medians of {rounds} rounds, in turn.",
        "Columns: records/s of one core's time. Topic: records/s from the broker to staged files, by the clock.",
        "",
        "| format | columns | confluent-kafka's deserializer | ratio | topic | Airflow's operator with it | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in FORMATS:
        numbers: list[str] = []
        for ours, others in (("clean_columns", "confluents"), ("consume", "airflow_operator")):
            own, other = speed.get(f"{ours}: {name}"), speed.get(f"{others}: {name}")
            ratio = f"{own / other:.2f}" if own and other else ""
            numbers += [f"{own:,.0f}" if own else "", f"{other:,.0f}" if other else "", ratio]
        lines.append(f"| {name} | {' | '.join(numbers)} |")
    flat = speed["consume: json"]
    lines += ["", f"Orders, from the topic, at {speed['consume: orders'] / flat:.2f} of flat JSON."]
    for name in ("json", "avro", "protobuf"):
        cost = speed[f"clean_columns: {name}"] / speed[f"clean_columns: {name}, some bad"]
        lines.append(f"One broken record in {_BAD:,} of {name}: {cost:.2f} times the time.")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure all formats."""
    parser = argparse.ArgumentParser(prog="make bench-formats", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000, help="records of each format")
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--results", type=Path, default=_HERE / "results" / "formats", help="where the results go")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="topicledger-bench-"))
    try:
        with running_ground(folder) as ground, running_registry(folder / "registry") as url:
            values = made_values(chosen.records, url, folder)
            figures = measure(ground, url, values, folder, chosen.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    where = found_conditions(peers=False)
    stem = chosen.results / f"{where['date']}-{where['commit']}"
    chosen.results.mkdir(parents=True, exist_ok=True)
    kept = {name: [dataclasses.asdict(figure) for figure in many] for name, many in figures.items()}
    stem.with_suffix(".json").write_text(json.dumps({"conditions": where, "figures": kept}, indent=1) + "\n")
    stem.with_suffix(".md").write_text(page(figures, chosen.records, chosen.rounds))
    print(stem.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
