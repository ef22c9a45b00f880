"""Step 11: each record becomes a row, a dead letter or a tombstone, always with its coordinates."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from topicledger.errors import RejectedRecord
from topicledger.judge import ARROW_TYPES, Judge
from topicledger.model.plan import OffsetRange
from topicledger.model.records import Chunk, Headers
from topicledger.pipeline import Pipeline
from topicledger.staging.writer import JUMPS, TOMBSTONES, StagedBatch

_MILLISECONDS = pa.timestamp("ms", tz="UTC")
_COORDINATES = [
    pa.field("_kafka_partition", pa.int32(), nullable=False),
    pa.field("_kafka_offset", pa.int64(), nullable=False),
    pa.field("_kafka_timestamp", _MILLISECONDS),
]
DEAD_LETTERS = pa.schema(
    [
        pa.field("reason", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("key", pa.string()),
        pa.field("value", pa.string()),
        pa.field("headers", pa.string(), nullable=False),
        *_COORDINATES,
    ]
)

# The years 0001 to 9999, in milliseconds: what a timestamp column and its readers can hold.
_FIRST_MS = -62_135_596_800_000
_LAST_MS = 253_402_300_799_999


def rows_schema(pipeline: Pipeline) -> pa.Schema:
    """The rows file's columns: the pipeline's own, then the coordinates."""
    own = [pa.field(c.name, ARROW_TYPES[c.type], nullable=c.nullable) for c in pipeline.columns]
    return pa.schema([*own, *_COORDINATES])


class Stager:
    """Judges chunks and writes them to a staged batch.

    Args:
        pipeline: The pipeline.
        batch: The open staged batch.
    """

    def __init__(self, pipeline: Pipeline, batch: StagedBatch) -> None:
        self._judge = Judge(pipeline)
        self._schema = rows_schema(pipeline)
        self._batch = batch
        self.unknown_fields = 0

    def add(self, chunk: Chunk) -> None:
        """Stage one chunk. Every record of it ends up in exactly one of the files.

        Raises:
            RetriableError: The disk is full or failing.
        """
        self.add_jumps(chunk.jumps, "invisible")
        live: Sequence[int] = range(len(chunk.values))
        values = chunk.values
        if None in values:
            live = [index for index, value in enumerate(values) if value is not None]
            self._add_tombstones(chunk, [index for index, value in enumerate(values) if value is None])
        judged = self._judge.chunk([value for value in values if value is not None])
        self.unknown_fields += judged.unknown_fields
        self._add_rows(chunk, [live[index] for index in judged.accepted], judged.columns)
        if judged.rejected:
            self._add_dead_letters(chunk, [(live[index], reason) for index, reason in judged.rejected])

    def add_jumps(self, jumps: Sequence[OffsetRange], kind: str) -> None:
        """Stage intervals without records: `gap` (accepted losses) or `invisible`."""
        if jumps:
            columns = [[j.partition for j in jumps], [j.start for j in jumps], [j.end for j in jumps], [kind] * len(jumps)]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, JUMPS, strict=True)]
            self._batch.jumps.write(pa.RecordBatch.from_arrays(arrays, schema=JUMPS))

    def _add_rows(self, chunk: Chunk, indices: Sequence[int], columns: pa.RecordBatch) -> None:
        if indices:
            arrays = [*columns.columns, *_coordinates(chunk, indices)]
            self._batch.rows.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def _add_dead_letters(self, chunk: Chunk, rejected: Sequence[tuple[int, RejectedRecord]]) -> None:
        indices = [index for index, _ in rejected]
        texts = [
            [reason.reason for _, reason in rejected],
            [str(reason) for _, reason in rejected],
            [_base64(chunk.key(index)) for index in indices],
            [_base64(chunk.values[index]) for index in indices],
            [_headers(chunk.headers(index)) for index in indices],
        ]
        arrays = [*(pa.array(column, pa.string()) for column in texts), *_coordinates(chunk, indices)]
        self._batch.dead_letters.write(pa.RecordBatch.from_arrays(arrays, schema=DEAD_LETTERS))

    def _add_tombstones(self, chunk: Chunk, indices: Sequence[int]) -> None:
        arrays = _coordinates(chunk, indices)[:2]
        self._batch.tombstones.write(pa.RecordBatch.from_arrays(arrays, schema=TOMBSTONES))


def _coordinates(chunk: Chunk, indices: Sequence[int]) -> list[pa.Array]:
    partitions, offsets, timestamps = chunk.partitions, chunk.offsets, chunk.timestamps_ms
    if len(indices) != len(partitions):
        partitions = [partitions[index] for index in indices]
        offsets = [offsets[index] for index in indices]
        timestamps = [timestamps[index] for index in indices]
    millis = pa.array(timestamps, pa.int64())
    known = pc.and_(pc.greater_equal(millis, _FIRST_MS), pc.less_equal(millis, _LAST_MS))
    return [
        pa.array(partitions, pa.int32()),
        pa.array(offsets, pa.int64()),
        pc.if_else(known, millis, None).cast(_MILLISECONDS),
    ]


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _headers(headers: Headers) -> str:
    """Headers as JSON: [[name, base64 of the value or null], ...]; U+0000, which jsonb can't hold, spelled out."""
    return json.dumps([[name.replace("\0", "\\0"), _base64(value)] for name, value in headers])
