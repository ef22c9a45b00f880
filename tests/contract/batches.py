"""Staged batches as the consume step would hand them over, and the load step's order of calls."""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import csv

from topicledger.columns import Column, arrow_type
from topicledger.model import identity
from topicledger.model.accounts import (
    Accounts,
    AppliedCounts,
    Books,
    StagedCounts,
    accounts_of,
    identities,
    require_closed,
)
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Manifest, StagedFile, StagedPart, StagedPartition
from topicledger.model.plan import OffsetRange, Position
from topicledger.pipeline import Pipeline
from topicledger.warehouse.contract import LoadTransaction, StagedStreams, Warehouse

TOPIC = "events"
TOPIC_ID = "Zm9vYmFyYmF6cXV1eA"


class Event(msgspec.Struct):
    """The test pipeline's event."""

    event_id: str


COLUMNS = (
    Column("event_id", "uuid"),
    Column("amount", "int64"),
    Column("ratio", "float64", nullable=True),
    Column("name", "text"),
    Column("note", "text", nullable=True),
    Column("flag", "bool"),
    Column("at", "timestamptz", nullable=True),
    Column("day", "date", nullable=True),
    Column("price", "decimal(38,9)", nullable=True),
    Column("opens", "time", nullable=True),
    Column("photo", "bytes", nullable=True),
    Column("document", "json", nullable=True),
)


def pipeline(table: str = "events", **changes: Any) -> Pipeline:
    declared: dict[str, Any] = {
        "name": "events_pipeline",
        "topic": TOPIC,
        "event": Event,
        "columns": COLUMNS,
        "key": "event_id",
        "table": table,
    }
    return Pipeline(**{**declared, **changes})


_ARROW: dict[str, pa.DataType] = {
    "uuid": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "decimal(38,9)": pa.decimal128(38, 9),
    "time": pa.time64("us"),
    "bytes": pa.string(),
    "json": pa.string(),
}


def event_id(number: int) -> str:
    return str(uuid.UUID(int=number))


@dataclass
class Batch:
    """What a consume step read: records by their coordinates, jumps, and the plan."""

    planned: Sequence[OffsetRange]
    rows: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    tombstones: list[tuple[int, int]] = field(default_factory=list)
    jumps: list[tuple[int, int, int, str]] = field(default_factory=list)
    run: str = "run-1"
    target: str = "?"
    topic_id: str = TOPIC_ID
    columns: Sequence[Column] = COLUMNS
    parts: int = 1

    def row(self, partition: int, offset: int, key: str | int, **values: Any) -> Batch:
        self.rows.append(
            {
                "event_id": event_id(key) if isinstance(key, int) else key,
                "amount": 1,
                "ratio": None,
                "name": "n",
                "note": None,
                "flag": True,
                "at": None,
                "day": None,
                "price": None,
                "opens": None,
                "photo": None,
                "document": None,
                **values,
                "_kafka_partition": partition,
                "_kafka_offset": offset,
                "_kafka_timestamp": values.get("_kafka_timestamp"),
            }
        )
        return self

    def dead(self, partition: int, offset: int, value: bytes | None = b"{", **more: Any) -> Batch:
        encoded = {
            name: None if raw is None else base64.b64encode(raw).decode()
            for name, raw in (("key", more.get("key")), ("value", value))
        }
        self.dead_letters.append(
            {
                "reason": more.get("reason", "invalid_json"),
                "error": more.get("error", "line 1"),
                **encoded,
                "headers": more.get("headers"),
                "_kafka_partition": partition,
                "_kafka_offset": offset,
                "_kafka_timestamp": None,
            }
        )
        return self

    def tombstone(self, partition: int, offset: int) -> Batch:
        self.tombstones.append((partition, offset))
        return self

    def jump(self, partition: int, start: int, end: int, kind: str) -> Batch:
        self.jumps.append((partition, start, end, kind))
        return self

    @property
    def batch_id(self) -> str:
        return identity.batch_id("dag", self.run)

    @property
    def plan_id(self) -> str:
        ranges = [(r.partition, r.start, r.end) for r in self.planned]
        return identity.plan_id(self.target, self.topic_id, ranges)

    def files(self) -> dict[str, bytes]:
        stamped = [
            ("_kafka_partition", pa.int32()),
            ("_kafka_offset", pa.int64()),
            ("_kafka_timestamp", pa.timestamp("us", tz="UTC")),
        ]
        text = pa.string()
        own = [(column.name, _ARROW.get(column.type) or arrow_type(column.type)) for column in self.columns]
        dead = [(name, text) for name in ("reason", "error", "key", "value", "headers")]
        where = ("_kafka_partition", "_kafka_offset")
        between = ("partition", "start", "end", "kind")
        return {
            "rows": _csv(self.rows, [*own, *stamped]),
            "dead_letters": _csv(self.dead_letters, [*dead, *stamped]),
            "tombstones": _csv([dict(zip(where, t, strict=True)) for t in self.tombstones], stamped[:2]),
            "jumps": _csv(
                [dict(zip(between, j, strict=True)) for j in self.jumps],
                [("partition", pa.int32()), ("start", pa.int64()), ("end", pa.int64()), ("kind", text)],
            ),
        }

    def manifest(self) -> Manifest:
        return Manifest(
            contract_version=identity.CONTRACT_VERSION,
            batch_id=self.batch_id,
            plan_id=self.plan_id,
            pipeline="events_pipeline",
            target=self.target,
            run_id=self.run,
            topic=TOPIC,
            topic_id=self.topic_id,
            partitions=tuple(self._partition(r) for r in self.planned),
            parts=tuple(part._part() for part in self.in_parts()),
        )

    def in_parts(self) -> list[Batch]:
        """What each of as many readers as there are parts has staged."""
        taken = [slice(number, None, self.parts) for number in range(self.parts)]
        tables = ("rows", "dead_letters", "tombstones", "jumps")
        return [replace(self, **{table: getattr(self, table)[one] for table in tables}) for one in taken]

    def _part(self) -> StagedPart:
        counts: tuple[list[Any], ...] = (self.rows, self.dead_letters, self.tombstones, self.jumps)
        staged: dict[str, Any] = {
            name: StagedFile(f"{name}.csv", len(raw), hashlib.sha256(raw).hexdigest(), len(count), _longest(count))
            for (name, raw), count in zip(self.files().items(), counts, strict=True)
        }
        return StagedPart(**staged)

    def _partition(self, planned: OffsetRange) -> StagedPartition:
        kinds = [(p, end - start, kind) for p, start, end, kind in self.jumps]
        records = [(r["_kafka_partition"], r["_kafka_offset"]) for r in (*self.rows, *self.dead_letters)]
        return StagedPartition(
            partition=planned.partition,
            start=planned.start,
            end=planned.end,
            generation=0,
            start_epoch=None,
            end_epoch=3,
            epochs=(),
            gap=sum(n for p, n, kind in kinds if p == planned.partition and kind == "gap"),
            records=sum(p == planned.partition for p, _ in (*records, *self.tombstones)),
            invisible=sum(n for p, n, kind in kinds if p == planned.partition and kind == "invisible"),
        )


def streams(files: Mapping[str, bytes]) -> list[StagedStreams]:
    return [StagedStreams(**{name: io.BytesIO(raw) for name, raw in files.items()})]


def _longest(records: Sequence[Any]) -> int:
    """At least the bytes of the longest record: every character escaped or of four bytes."""
    return max((4 * len(str(record)) for record in records), default=0)


def _csv(records: Sequence[Mapping[str, Any]], fields: Sequence[tuple[str, pa.DataType]]) -> bytes:
    table = pa.Table.from_pylist([dict(record) for record in records], schema=pa.schema(fields))
    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue()


def origin(warehouse: Warehouse, *partitions: int, at: int = 0) -> None:
    """Give the target its position rows, as planning does."""
    warehouse.add_positions([Position(TOPIC, TOPIC_ID, p, at, at) for p in partitions or (0,)])


@dataclass
class Loaded:
    """What one load did: nothing new when `repeated`."""

    row: LedgerRow
    repeated: bool
    staged: StagedCounts | None = None
    applied: AppliedCounts | None = None

    @property
    def accounts(self) -> Accounts:
        assert self.row.accounts
        return self.row.accounts


def load(warehouse: Warehouse, batch: Batch) -> Loaded:
    """Steps 13 to 19 as the load step does them, the identities checked before the commit."""
    batch.target = warehouse.target
    with warehouse.loading() as transaction:
        loaded = apply(transaction, batch)
        if not loaded.repeated:
            transaction.commit()
    return loaded


def apply(transaction: LoadTransaction, batch: Batch) -> Loaded:
    """Everything but the commit."""
    manifest = batch.manifest()
    transaction.copy_staged(manifest, [one for part in batch.in_parts() for one in streams(part.files())])
    positions = {(p.topic_id, p.partition): p for p in transaction.lock_positions()}
    found = transaction.find_batch(manifest.batch_id, manifest.plan_id)
    if found:
        return Loaded(found, repeated=True)
    staged = transaction.count_staged(batch.planned)
    here = {r.partition: positions[(batch.topic_id, r.partition)] for r in batch.planned}
    applied = tuple(
        OffsetRange(r.partition, min(r.end, max(r.start, here[r.partition].position)), r.end) for r in batch.planned
    )
    counts = transaction.apply(manifest, applied)
    row = LedgerRow(
        batch_id=manifest.batch_id,
        plan_id=manifest.plan_id,
        pipeline=manifest.pipeline,
        target=manifest.target,
        run_id=manifest.run_id,
        topic=manifest.topic,
        topic_id=manifest.topic_id,
        planned=tuple(batch.planned),
        applied=applied,
        manifest=manifest,
        receipt=None,
        accounts=accounts_of(manifest, counts, None),
        sha256="0" * 64,
    )
    moved = [
        msgspec.structs.replace(here[r.partition], position=max(here[r.partition].position, r.end))
        for r in batch.planned
    ]
    transaction.advance(moved, row)
    books = Books(manifest, None, staged, applied, counts, tuple(transaction.applied_sums()))
    require_closed(identities(books), manifest.batch_id)
    return Loaded(row, repeated=False, staged=staged, applied=counts)
