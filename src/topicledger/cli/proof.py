"""What would become of a topic's newest records: judged and shared out by the very code of a run, into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from topicledger.cli.findings import Finding
from topicledger.columns import Column
from topicledger.errors import IntegrityError
from topicledger.events.event_types import staged_schema
from topicledger.events.judge import Judge
from topicledger.kafka.sample import newest_records
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.planning import TopicState
from topicledger.model.records import Chunk
from topicledger.pipeline import Pipeline
from topicledger.report.display import aligned, number
from topicledger.retries import with_retries
from topicledger.staged_files.schemas import rows_schema
from topicledger.steps.stage import Stager

SAMPLE = 1_000
_SHOWN, _REASONS, _WIDTH = 3, 3, 24


@dataclass(frozen=True, slots=True)
class Reason:
    """Why records would be dead letters, how many, and the first of them."""

    reason: str
    records: int
    partition: int
    offset: int
    error: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What would become of the topic's newest records.

    Args:
        records: How many there were.
        rows: Those that would be rows, repeated keys included.
        dead_letters: Those that couldn't.
        tombstones: Those without a value.
        unknown_fields: Fields that the event type doesn't have.
        repeated_keys: Rows whose key came before: they would be counted, not loaded.
        conflicts: Those of them that differ in a column from all with their key.
        reasons: Why there are dead letters, the commonest first.
        shown: Some of the rows, by the columns' names.
        over_budget: Why a run with such a batch would stop; empty: it wouldn't.
    """

    records: int
    rows: int
    dead_letters: int
    tombstones: int
    unknown_fields: int
    repeated_keys: int
    conflicts: int
    reasons: tuple[Reason, ...]
    shown: tuple[dict[str, Any], ...]
    over_budget: str


class _Kept:
    """A staged table that stays in memory."""

    def __init__(self) -> None:
        self.written: list[Sequence[pa.Array[Any]]] = []

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        self.written.append(columns)

    @property
    def records(self) -> int:
        return sum(len(columns[0]) for columns in self.written)


class _InMemory:
    """A part that nobody finds."""

    def __init__(self) -> None:
        self.rows, self.dead_letters, self.tombstones, self.jumps = _Kept(), _Kept(), _Kept(), _Kept()


def prove(judge: Judge, settings: KafkaSettings, state: TopicState) -> Proof:
    """Judge the topic's newest records as a run would. Nothing is written anywhere, and no group's offsets either.

    Raises:
        TopicLedgerError: What would stop a run: the clean-up fails, or broker or registry refuse.
    """
    group = f"{judge.pipeline.name}.{'0' * 16}"
    chunks = with_retries(
        f"reading the newest records of {state.topic}", lambda: list(newest_records(settings, state, SAMPLE, group))
    )
    return _proven(judge, chunks)


def _proven(judge: Judge, chunks: Sequence[Chunk]) -> Proof:
    part, pipeline = _InMemory(), judge.pipeline
    stager = Stager(judge, part)
    for chunk in chunks:
        stager.add(chunk)
    tally, schema = stager.tally, rows_schema(staged_schema(pipeline.stored))
    batches = [pa.RecordBatch.from_arrays(list(columns), schema=schema) for columns in part.rows.written]
    table = pa.Table.from_batches(batches, schema)
    repeated, conflicts = _repeats(table, pipeline)
    try:
        tally.require_within_budget(pipeline.error_budget)
        over_budget = ""
    except IntegrityError:
        budget = "half" if pipeline.error_budget is None else f"{pipeline.error_budget:g}"
        over_budget = f"more than the error budget, {budget} of a batch"
    return Proof(
        records=tally.records,
        rows=part.rows.records,
        dead_letters=part.dead_letters.records,
        tombstones=part.tombstones.records,
        unknown_fields=tally.unknown_fields,
        repeated_keys=repeated,
        conflicts=conflicts,
        reasons=tuple(Reason(r, n, *tally.first[r]) for r, n in tally.reasons.most_common()),
        shown=tuple(table.slice(0, _SHOWN).to_pylist()),
        over_budget=over_budget,
    )


def _repeats(table: pa.Table, pipeline: Pipeline) -> tuple[int, int]:
    """How many rows repeat a key, and how many of these are other rows than any before with it."""
    keys = list(pipeline.key_columns)
    if not keys:
        return 0, 0
    different = table.group_by([column.name for column in pipeline.columns]).aggregate([]).num_rows
    distinct = table.group_by(keys).aggregate([]).num_rows
    return table.num_rows - distinct, different - distinct


def findings_of(proof: Proof, pipeline: Pipeline) -> Iterator[Finding]:
    """Say it, a line each."""
    topic = pipeline.topic
    if not proof.records:
        yield Finding("note", f"topic {topic} has no record yet: the declaration was tried on none")
        return
    said = f"of the newest {number(proof.records)} records {number(proof.rows)} would be rows"
    said += f", {number(proof.tombstones)} are tombstones" if proof.tombstones else ""
    share = f"{proof.dead_letters / proof.records:.1%}"
    if proof.over_budget:
        first = "; ".join(map(_said, proof.reasons[:_REASONS]))
        yield Finding(
            "problem",
            f"{said}, and {number(proof.dead_letters)} ({share}) dead letters, {proof.over_budget}: a run that reads "
            f"such a batch stops. {first}. Correct the declaration, or have what produces them mended",
        )
        return
    yield Finding("ok", f"{said}, {number(proof.dead_letters)} ({share}) dead letters")
    for reason in proof.reasons[:_REASONS]:
        yield Finding("note", _said(reason))
    if proof.unknown_fields:
        yield Finding("note", f"{number(proof.unknown_fields)} fields in them that the event type doesn't have")
    if proof.repeated_keys:
        key = ", ".join(pipeline.key_columns)
        other = f"{number(proof.conflicts)} with other values" if proof.conflicts else "all with the same values"
        yield Finding(
            "note",
            f"{number(proof.repeated_keys)} of the rows repeat a {key}, {other}: they would be counted as duplicates, "
            "not loaded. See that it is the key of a record",
        )


def _said(reason: Reason) -> str:
    # As a literal: what a record holds must not begin a line.
    return f"{number(reason.records)} {reason.reason}, first {reason.partition}:{reason.offset}: {reason.error[:200]!r}"


def columns_table(pipeline: Pipeline, spelled: Sequence[tuple[str, str]], proof: Proof | None) -> str:
    """Show the pipeline's columns as the warehouse has them, and some rows as they would be, column by column.

    Args:
        pipeline: The pipeline.
        spelled: Names and types of its columns, as the warehouse spells them.
        proof: What became of a sample, where one was read.
    """
    shown = proof.shown if proof else ()
    head = ("column", "type", "NULL", "from", *(f"{r['_kafka_partition']}:{r['_kafka_offset']}" for r in shown))
    lines = []
    for column, (name, kind) in zip(pipeline.stored, spelled, strict=False):
        cells = [_cell(row[column.name]) for row in shown]
        lines.append((name, kind, "yes" if column.nullable else "no", source_of(pipeline, column), *cells))
    return aligned(head, lines)


def source_of(pipeline: Pipeline, column: Column) -> str:
    """The event's field that a column comes from, or what makes it."""
    if column in pipeline.kept:
        return "the record"
    known = column.source.partition(".")[0] in pipeline.event.__struct_fields__
    return column.source if known else "the clean-up"


def _cell(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
