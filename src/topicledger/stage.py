"""Step 11: each record becomes a row, a dead letter or a tombstone, always with its coordinates."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from topicledger.errors import IntegrityError, RejectedRecord
from topicledger.judge import Judge
from topicledger.model.plan import OffsetRange
from topicledger.model.records import Chunk, Headers
from topicledger.staging.schemas import MILLISECONDS
from topicledger.staging.writer import StagedBatch

# The years 0001 to 9999, in milliseconds: what a timestamp column and its readers can hold.
_FIRST_MS = -62_135_596_800_000
_LAST_MS = 253_402_300_799_999


class Stager:
    """Judges chunks and writes them to a staged batch.

    Args:
        judge: The pipeline's judge.
        batch: The open staged batch.
    """

    def __init__(self, judge: Judge, batch: StagedBatch) -> None:
        self._judge = judge
        self._batch = batch
        self.unknown_fields = 0
        self.reasons: Counter[str] = Counter()
        self._records = 0
        self._first: dict[str, tuple[int, int, RejectedRecord]] = {}

    def add(self, chunk: Chunk) -> None:
        """Stage one chunk. Every record of it ends up in exactly one of the files.

        Raises:
            RetriableError: The disk is full or failing.
        """
        self.add_jumps(chunk.jumps, "invisible")
        self._records += len(chunk.values)
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
            columns: list[pa.Array[Any]] = [
                pa.array([j.partition for j in jumps], pa.int32()),
                pa.array([j.start for j in jumps], pa.int64()),
                pa.array([j.end for j in jumps], pa.int64()),
                pa.array([kind] * len(jumps), pa.string()),
            ]
            self._batch.jumps.write(columns)

    def require_within_budget(self, budget: float | None) -> None:
        """Do nothing, unless a larger share of all records added so far than `budget` are dead letters.

        Raises:
            IntegrityError: They are; it has each reason with its count and its first record.
        """
        dead_letters = self.reasons.total()
        # A quotient, not a product: a share that meets the budget exactly is then the very same float.
        if budget is None or not dead_letters or dead_letters / self._records <= budget:
            return
        share = dead_letters / self._records
        enough = min(1.0, math.ceil(share * 1_000) / 1_000)
        said = "; ".join(f"{count} {reason}, {self._first_of(reason)}" for reason, count in self.reasons.most_common())
        partition, offset, _ = self._first[next(iter(self._first))]
        raise IntegrityError(
            f"{dead_letters} of {self._records} records can't become rows: {share:.4g} of the batch, the error budget "
            f"is {budget:g}. By reason: {said}. Nothing was staged or loaded. Look at them and have what produces them "
            f"mended; then trigger a run with the param error_budget at {enough:g} or more: it loads the same records, "
            "these as dead letters",
            partition=partition,
            offset=offset,
        )

    def _first_of(self, reason: str) -> str:
        partition, offset, rejected = self._first[reason]
        # As a literal: what a record holds must not begin a line of the log.
        return f"the first at partition {partition}, offset {offset}: {str(rejected)[:200]!r}"

    def _add_rows(self, chunk: Chunk, indices: Sequence[int], columns: pa.RecordBatch) -> None:
        if indices:
            self._batch.rows.write([*columns.columns, *_coordinates(chunk, indices)])

    def _add_dead_letters(self, chunk: Chunk, rejected: Sequence[tuple[int, RejectedRecord]]) -> None:
        self.reasons.update(reason.reason for _, reason in rejected)
        for index, reason in rejected:
            if reason.reason not in self._first:
                self._first[reason.reason] = (chunk.partitions[index], chunk.offsets[index], reason)
        indices = [index for index, _ in rejected]
        texts: list[list[str | None]] = [
            [reason.reason for _, reason in rejected],
            [str(reason) for _, reason in rejected],
            [_base64(chunk.key(index)) for index in indices],
            [_base64(chunk.values[index]) for index in indices],
            [_headers(chunk.headers(index)) for index in indices],
        ]
        columns: list[pa.Array[Any]] = [pa.array(column, pa.string()) for column in texts]
        self._batch.dead_letters.write([*columns, *_coordinates(chunk, indices)])

    def _add_tombstones(self, chunk: Chunk, indices: Sequence[int]) -> None:
        self._batch.tombstones.write(_coordinates(chunk, indices)[:2])


def _coordinates(chunk: Chunk, indices: Sequence[int]) -> list[pa.Array[Any]]:
    partitions, offsets, timestamps = chunk.partitions, chunk.offsets, chunk.timestamps_ms
    if len(indices) != len(partitions):
        partitions = [partitions[index] for index in indices]
        offsets = [offsets[index] for index in indices]
        timestamps = [timestamps[index] for index in indices]
    millis = pa.array(timestamps, pa.int64())
    known = pc.and_(pc.greater_equal(millis, pa.scalar(_FIRST_MS)), pc.less_equal(millis, pa.scalar(_LAST_MS)))
    return [
        pa.array(partitions, pa.int32()),
        pa.array(offsets, pa.int64()),
        pc.if_else(known, millis, None).cast(MILLISECONDS),
    ]


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _headers(headers: Headers) -> str:
    """Headers as JSON: [[name, base64 of the value or null], ...]; U+0000, which jsonb can't hold, spelled out."""
    return json.dumps([[name.replace("\0", "\\0"), _base64(value)] for name, value in headers])
