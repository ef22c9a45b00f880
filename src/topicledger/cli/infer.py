"""`topicledger infer`: a topic's newest records to the DAG file that loads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from topicledger.airflow.ledger import KAFKA_CONN_ID, REGISTRY_CONN_ID, WAREHOUSE_CONN_ID, Ledger
from topicledger.cli.connections import REGISTRY_EXAMPLE, kafka_settings, require_connection
from topicledger.errors import SettingsError
from topicledger.events.decoding import open_decoding
from topicledger.events.framing import FRAME, schema_id
from topicledger.inference.formats import framed_with, nullable_fields, of_json, of_kind
from topicledger.inference.sample import Sample
from topicledger.inference.source import dag_file
from topicledger.kafka.registry import SchemaRegistry
from topicledger.kafka.sample import newest_records
from topicledger.kafka.topic import TopicObserver
from topicledger.pipeline import Pipeline, table_of
from topicledger.retries import with_retries


def infer(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The Kafka topic.")],
    records: Annotated[int, typer.Option("--records", min=1, help="How many of its newest records to look at.")] = 1000,
    table: Annotated[str | None, typer.Option("--table", help="The rows table; by default named as the topic.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="A new file; else it is printed.")] = None,
    kafka: Annotated[str, typer.Option("--kafka", help="Id of the Kafka connection.")] = KAFKA_CONN_ID,
    warehouse: Annotated[str, typer.Option("--warehouse", help="Id of the warehouse's.")] = WAREHOUSE_CONN_ID,
    registry: Annotated[str, typer.Option("--registry", help="Id of the schema registry's.")] = REGISTRY_CONN_ID,
) -> None:
    """Write a DAG file for TOPIC from a sample of it: event type, key, format, with comments where it is unsure."""
    # There is no declaration yet: of the ledger only connections are asked for.
    ledger = Ledger("", kafka=kafka, warehouse=warehouse, registry=registry)
    sample = read_sample(ledger, topic, records, f"{topic}_to_{table or table_of(topic)}.infer")
    require_objects(sample, topic)
    defaults = {"kafka": KAFKA_CONN_ID, "warehouse": WAREHOUSE_CONN_ID, "registry": REGISTRY_CONN_ID}
    other = {name: getattr(ledger, name) for name, default in defaults.items() if getattr(ledger, name) != default}
    text = dag_file(sample, topic, table, other)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(
            f"{output} can't be written: {error.strerror or error}. Name a new file in a folder that is there",
            code="output-not-writable",
        ) from error
    typer.echo(f"wrote   {output}\n\nNext: read it, then\n  topicledger check {output}")


def read_sample(ledger: Ledger, topic: str, records: int, group_id: str) -> Sample:
    """Look at the newest records of a topic, with a bar where somebody watches.

    Args:
        ledger: Names the connections.
        topic: The topic.
        records: How many records.
        group_id: A consumer group's name; there is no offset of it afterwards.

    Raises:
        TopicLedgerError: There is no connection, topic or answer, or the records are in a format of others.
    """
    settings, sample = kafka_settings(ledger), None
    with TopicObserver(settings, topic) as observer:
        state = with_retries(f"describing {topic}", observer.state)
    there = sum(marks.last_stable - marks.low for marks in state.partitions)
    with _bar(f"reading {topic}", min(records, there)) as progress:
        for chunk in newest_records(settings, state, records, group_id):
            sample = sample or _sample(ledger, topic, chunk.values)
            sample.add(chunk.values, [chunk.key(index) for index in range(len(chunk.values))])
            progress.update(progress.task_ids[0], completed=sample.records)
    return sample or Sample(lambda _: None)


def _sample(ledger: Ledger, topic: str, values: Sequence[bytes | None]) -> Sample:
    """An empty sample of records in the format that the first of them have."""
    framed, schemas, nullable = framed_with(values), None, frozenset[str]()
    if framed is None:
        found = of_json(values)
    elif framed[FRAME:].startswith(b"{"):
        found = of_json(values, framed=True)
    else:
        schemas = SchemaRegistry(require_connection(ledger.registry, REGISTRY_EXAMPLE)).schema
        schema = schemas(schema_id(framed) or 0)
        declared = of_kind(schema.kind)
        if declared is None:
            raise SettingsError(
                f"topic {topic}: its records are in Confluent's framing, of a schema of kind {schema.kind}, which "
                "follows from its own file: declare it as docs/formats.md has it",
                code="sample-of-schema",
            )
        found, nullable = declared, nullable_fields(schema)
    asked = msgspec.defstruct("Asked", [(f"field_{n}", Any, msgspec.field(name=n)) for n in found.asked])
    decoding = open_decoding(Pipeline(topic="sample", event=asked, format=found.format), schemas)
    return Sample(decoding.document, found.source, nullable)


def require_objects(sample: Sample, topic: str) -> None:
    """Do nothing where there is something to infer from.

    Raises:
        SettingsError: The topic has no records, or they aren't JSON objects.
    """
    if not sample.records:
        raise SettingsError(
            f"topic {topic} has no record to read: produce some, or write the DAG file by hand (docs/own-pipeline.md)",
            code="sample-empty",
        )
    if sample.root.fields:
        return
    raise SettingsError(
        f"topic {topic}: of its {sample.records:,} newest records {sample.unreadable:,} aren't JSON objects, "
        f"{sample.tombstones:,} are tombstones, and there is no field to declare. Look at one of them, such as with "
        f"`kcat -C -t {topic} -o -1 -c 1`",
        code="sample-without-objects",
    )


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Progress]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(doing, total=total)
        yield progress
