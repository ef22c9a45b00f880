"""`topicledger infer` on topics as people have them: what it writes passes `check`, and takes the whole sample."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from devstack.registry import Registry
from tests.support import avro, example_topics
from tests.support.command import Command, problems
from tests.support.places import duckdb_file
from tests.support.records import Record, produce, sign_ups
from tests.support.topics import Topics, unique_topic
from topicledger.cli.declared import only_one
from topicledger.events.judge import Judge


def inferred(command: Command, topics: Topics, records: Iterable[Record], *options: str) -> str:
    """What is written for a topic of these records, after it has been checked and has judged them."""
    sent = [*records]
    topic = unique_topic("orders")
    topics.create(topic, 2)
    produce(topics.bootstrap, topic, sent)
    command.connect_kafka({"bootstrap.servers": topics.bootstrap})
    command.connect_warehouse(duckdb_file(command.folder))
    ran = command("infer", topic, "--output", "inferred_dag.py", *options)
    assert (ran.status, ran.err) == (0, "")
    assert "topicledger check inferred_dag.py" in ran.out
    assert problems(command("check", "inferred_dag.py")) == []
    pipeline = only_one("inferred_dag.py").pipeline
    rejected = Judge(pipeline).chunk([record.value for record in sent if record.value is not None]).rejected
    assert [str(rejection) for _, rejection in rejected] == []
    return Path("inferred_dag.py").read_text()


@pytest.mark.parametrize(
    ("records", "lines"),
    [
        (
            lambda: sign_ups(range(300), 2),
            [
                "    event_id: UUID",
                "    full_name: Any | None  # null in 300 of 300",
                "    country: str",
                "    marketing_opt_in: bool",
            ],
        ),
        (
            lambda: example_topics.orders(600),
            [
                "    unit_price: Annotated[Decimal, Digits(18, 2)]  # always 2 digits behind the point",
                "    customer: Customer",
                "    items: list[Item]",
                '    currency: Literal["EUR", "USD"]',
                "    placed_at: EpochMillis",
                "# key: unique in 600 records, and the record's key",
            ],
        ),
        pytest.param(
            lambda: example_topics.clicks(700),
            [
                "    at: dt.datetime",
                "# no key: no field that every record has looks like an identifier",
                "    user_id: int | None  # null in",
                "hardly a record has are kept together, in the column _unknown_fields.",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: example_topics.changes(400),
            [
                '    op: str = msgspec.field(name="__op")',
                '    ts_ms: EpochMillis = msgspec.field(name="__ts_ms")',
                "    balance: Annotated[Decimal, Digits(18, 2)] | None  # null in",
                "# key: unique together; id alone repeats in",
                'key=("id", "source_lsn"), format=Json(envelope="debezium")',
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: [
                replace(order, value=b"\0\0\0\0\7" + (order.value or b"")) for order in example_topics.orders(200)
            ],
            ["    placed_at: EpochMillis", "format=JsonSchema()"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["sign-ups", "orders", "clicks", "changes", "framed"],
)
def test_what_it_writes_takes_the_sample(
    command: Command, topics: Topics, records: Callable[[], Iterable[Record]], lines: list[str]
) -> None:
    """The file says what the topic holds, nothing would stop its run, and no record of the sample is a dead letter."""
    source = inferred(command, topics, records())
    assert [line for line in lines if line not in source] == []


def test_it_reads_the_newest(command: Command, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a longer topic it looks at the newest records alone, with a bar on a terminal, and prints what it makes."""
    topic = unique_topic("1st")  # no table has such a name
    topics.create(topic, 1)
    produce(topics.bootstrap, topic, [Record(b'{"old": 1}')] * 50 + [Record(b'{"new": 1}')] * 20)
    command.connect_kafka({"bootstrap.servers": topics.bootstrap})
    ran = command("infer", topic, "--records", "20", "--table", "sales.mine")
    assert (ran.status, ran.err) == (0, "")
    assert "    new: int\n" in ran.out
    assert "old" not in ran.out
    assert 'table="sales.mine"' in ran.out
    assert topics.committed(f"{topic}_to_sales.mine.infer", topic) == {}
    assert "makes no table's name" in command("infer", topic).err
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert f"reading {topic}" in command("infer", topic, "--table", "mine").err


def test_what_it_can_not_do(command: Command, topics: Topics) -> None:
    """No topic, no record, nothing but other bytes, a file that is there: a line each, with the next step."""
    topic = unique_topic()
    topics.create(topic, 1)
    command.connect_kafka({"bootstrap.servers": topics.bootstrap})
    assert "topic no_such_topic does not exist" in command("infer", "no_such_topic").err
    assert f"topic {topic} has no record to read: produce some" in command("infer", topic).err
    produce(topics.bootstrap, topic, [Record(b"<order/>"), Record(None)])
    assert "of its 2 newest records 1 aren't JSON objects, 1 are tombstones" in command("infer", topic).err
    produce(topics.bootstrap, topic, [Record(b'{"a": 1}')])
    Path("there.py").write_text("mine")
    ran = command("infer", topic, "--output", "there.py")
    assert (ran.status, Path("there.py").read_text()) == (1, "mine")
    assert "there.py can't be written: File exists. Name a new file" in ran.err


@pytest.mark.slow
def test_the_registry_says_what_framed_records_are(command: Command, topics: Topics, schema_registry: Registry) -> None:
    """Avro is declared as such, with its own types; without the registry's connection the next step is to define it."""
    total = avro.logical("bytes", "decimal", precision=9, scale=2)
    fields = avro.field("id", "long"), avro.field("total", total), avro.field("note", ["null", "string"])
    schema = avro.record(*fields)
    topic = unique_topic()
    topics.create(topic, 1)
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        number = client.register_schema(f"{topic}-value", Schema(json.dumps(schema), "AVRO"))
    produce(
        topics.bootstrap,
        topic,
        [
            Record(avro.framed(schema, {"id": n, "total": Decimal(n), "note": "a b"}, number), b"%d" % n)
            for n in range(20)
        ],
    )
    command.connect_kafka({"bootstrap.servers": topics.bootstrap})
    assert "connection schema_registry_default is not defined" in command("infer", topic).err
    command.connect("own_registry", {"conn_type": "http", "host": schema_registry.url})
    ran = command("infer", topic, "--registry", "own_registry")
    assert (ran.status, ran.err) == (0, "")
    assert "    total: Annotated[Decimal, Digits(18, 2)]\n" in ran.out
    assert "    note: str | None  # may be null, never was\n" in ran.out
    assert 'key="id", format=Avro())' in ran.out
    assert 'schedule="@hourly", registry="own_registry")' in ran.out
