"""Step 11: each record becomes a row, a dead letter or a tombstone, always with its coordinates."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from topicledger.columns import Column
from topicledger.errors import RejectedRecord
from topicledger.events.field_arrays import as_hex
from topicledger.events.judge import Judge
from topicledger.model.plan import OffsetRange
from topicledger.model.records import Chunk, Headers
from topicledger.model.tally import Tally
from topicledger.pipeline import UNKNOWN_FIELDS
from topicledger.staged_files.schemas import MILLISECONDS

# The years 0001 to 9999, in milliseconds: what a timestamp column and its readers can hold.
_FIRST_MS = -62_135_596_800_000
_LAST_MS = 253_402_300_799_999


class StagedTable(Protocol):
    """Takes rows, one array per column."""

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Append them."""


class Part(Protocol):
    """What is staged together: `topicledger.staged_files.writer.PartWriter`, or tables in memory."""

    @property
    def rows(self) -> StagedTable:
        """The clean rows."""

    @property
    def dead_letters(self) -> StagedTable:
        """What can't be rows."""

    @property
    def tombstones(self) -> StagedTable:
        """Records without a value."""

    @property
    def jumps(self) -> StagedTable:
        """Intervals without a record."""


class Stager:
    """Judges chunks, and gives every record to one table of a part.

    Args:
        judge: The pipeline's judge.
        part: Takes what is staged.
    """

    def __init__(self, judge: Judge, part: Part) -> None:
        self._judge = judge
        self._part = part
        self._kept = [column for column in judge.pipeline.kept if column.name != UNKNOWN_FIELDS]
        self.tally = Tally()

    def add(self, chunk: Chunk) -> None:
        """Stage one chunk. Every record of it ends up in exactly one of the tables.

        Raises:
            RetriableError: The disk is full or failing.
        """
        stage_jumps(self._part, chunk.jumps, "invisible")
        self.tally.records += len(chunk.values)
        coordinates = _coordinates(chunk)
        live: Sequence[int] = range(len(chunk.values))
        tombstones: Sequence[int] = ()
        values = cast("Sequence[bytes]", chunk.values)
        if None in chunk.values:
            live = [index for index, value in enumerate(chunk.values) if value is not None]
            tombstones = [index for index, value in enumerate(chunk.values) if value is None]
            values = [value for value in chunk.values if value is not None]
            self._part.tombstones.write(_at(tombstones, coordinates[:2]))
        judged = self._judge.chunk(values)
        self.tally.unknown_fields += judged.unknown_fields
        rejected = [(live[index], reason) for index, reason in judged.rejected]
        if judged.columns.num_rows:
            others = [*tombstones, *(index for index, _ in rejected)]
            kept = self._kept_columns(chunk, others)
            self._part.rows.write([*judged.columns.columns, *kept, *_without(others, coordinates)])
        if rejected:
            self._add_dead_letters(chunk, rejected, coordinates)

    def _kept_columns(self, chunk: Chunk, others: Sequence[int]) -> list[pa.Array[Any]]:
        """What else the pipeline keeps of the records that became rows."""
        if not self._kept:
            return []
        no_rows = frozenset(others)
        rows = [index for index in range(len(chunk.values)) if index not in no_rows]
        return [pa.array(self._kept_values(column, chunk, rows), pa.string()) for column in self._kept]

    def _kept_values(self, column: Column, chunk: Chunk, rows: Sequence[int]) -> Sequence[str | bytes | None]:
        match column.name:
            case "_kafka_topic":
                return [self._judge.pipeline.topic] * len(rows)
            case "_kafka_headers":
                return [_headers(chunk.headers(row)) for row in rows]
            case "_kafka_key":
                return [_spelled(chunk.key(row)) for row in rows]
        kept = [chunk.values[row] if column.name == "_kafka_value" else chunk.key(row) for row in rows]
        return kept if column.type == "text" else [as_hex(value) for value in kept]

    def _add_dead_letters(
        self, chunk: Chunk, rejected: Sequence[tuple[int, RejectedRecord]], coordinates: Sequence[pa.Array[Any]]
    ) -> None:
        indices = [index for index, _ in rejected]
        reasons = [record.reason for _, record in rejected]
        sentences = [str(record) for _, record in rejected]
        places = [(chunk.partitions[index], chunk.offsets[index]) for index in indices]
        self.tally.add_dead_letters(places, reasons, sentences)
        texts: list[Iterable[Any]] = [
            reasons,
            sentences,
            _base64(map(chunk.key, indices)),
            _base64([chunk.values[index] for index in indices]),
            map(_headers, map(chunk.headers, indices)),
        ]
        columns: list[pa.Array[Any]] = [pa.array(column, pa.string()) for column in texts]
        self._part.dead_letters.write([*columns, *_at(indices, coordinates)])


def stage_jumps(part: Part, jumps: Sequence[OffsetRange], kind: str) -> None:
    """Stage intervals without records: `gap` (accepted losses) or `invisible`."""
    if jumps:
        columns: list[pa.Array[Any]] = [
            pa.array([j.partition for j in jumps], pa.int32()),
            pa.array([j.start for j in jumps], pa.int64()),
            pa.array([j.end for j in jumps], pa.int64()),
            pa.array([kind] * len(jumps), pa.string()),
        ]
        part.jumps.write(columns)


def _spelled(key: bytes | None) -> str | None:
    """A key as text; what isn't UTF-8 is spelled out, and U+0000 too, which no table can hold."""
    return None if key is None else key.decode(errors="backslashreplace").replace("\0", "\\0")


def _coordinates(chunk: Chunk) -> Sequence[pa.Array[Any]]:
    millis = pa.array(chunk.timestamps_ms, pa.int64())
    known = pc.and_(pc.greater_equal(millis, pa.scalar(_FIRST_MS)), pc.less_equal(millis, pa.scalar(_LAST_MS)))
    return [
        pa.array(chunk.partitions, pa.int32()),
        pa.array(chunk.offsets, pa.int64()),
        pc.if_else(known, millis, None).cast(MILLISECONDS),
    ]


def _at(indices: Sequence[int], columns: Sequence[pa.Array[Any]]) -> Sequence[pa.Array[Any]]:
    picked = pa.array(indices, pa.int64())
    return [column.take(picked) for column in columns]


def _without(indices: Sequence[int], columns: Sequence[pa.Array[Any]]) -> Sequence[pa.Array[Any]]:
    if not indices:
        return columns
    kept = bytearray(b"\1") * len(columns[0])
    for index in indices:
        kept[index] = 0
    mask = pa.Array.from_buffers(pa.uint8(), len(kept), [None, pa.py_buffer(kept)]).cast(pa.bool_())
    return [column.filter(mask) for column in columns]


def _base64(values: Iterable[bytes | None]) -> list[bytes | None]:
    return [None if value is None else b2a_base64(value, newline=False) for value in values]


def _headers(headers: Headers) -> bytes:
    """Headers as JSON: [[name, base64 of the value or null], ...]."""
    return _encode([_header(name, value) for name, value in headers])


def _header(name: str, value: bytes | None) -> tuple[str, bytes | None] | tuple[str, bytes | None, bytes]:
    """One of them; a name that JSON can't hold is spelled out, and its bytes, in base64, come third."""
    raw = name.encode(errors="surrogateescape")
    # U+0000 is a text, but one that jsonb can't hold.
    spelled = raw.decode(errors="backslashreplace").replace("\0", "\\0")
    return (name, value) if spelled == name else (spelled, value, raw)


_encode = msgspec.json.Encoder().encode
