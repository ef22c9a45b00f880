"""Bytes to clean columns: a record's value becomes an event, or a `RejectedRecord` that says why not.

The typed decoder judges each record once; what vectorises (text rules, U+0000, the calendar's edges, the
clean-up) is done for a whole chunk. Nothing else ever leaves: whatever the bytes, a record is one or the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from topicledger.errors import RejectedRecord, SettingsError
from topicledger.pipeline import ColumnType, Pipeline

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    "uuid": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
}
"""How a column travels between the judge and the staged file."""

# 0001-01-01 and 9999-12-31 in UTC: what every warehouse and Python's own datetime can hold.
_FIRST_US = -62_135_596_800_000_000
_LAST_US = 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict over one chunk of values.

    Args:
        columns: The clean columns of the accepted records, in the pipeline's order.
        accepted: Index of each accepted record in the chunk, ascending; as long as `columns`.
        rejected: (index, reason) of each rejected one, ascending.
        unknown_fields: Fields in accepted and rejected records that the event type doesn't have.
    """

    columns: pa.RecordBatch
    accepted: Sequence[int]
    rejected: Sequence[tuple[int, RejectedRecord]]
    unknown_fields: int


class Judge:
    """Judges the records of one pipeline. Keeps no state between chunks.

    `columns` is the Arrow schema of the clean columns.

    Raises:
        SettingsError: The pipeline's columns, checks and event type don't fit together.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._fields = tuple(field.name for field in msgspec.structs.fields(pipeline.event))
        self._encoded = frozenset(field.encode_name for field in msgspec.structs.fields(pipeline.event))
        strict = msgspec.defstruct("Strict", [], bases=(pipeline.event,), forbid_unknown_fields=True)
        self._decode_strict = msgspec.json.Decoder(strict).decode
        self._decode: Callable[[bytes], msgspec.Struct] = msgspec.json.Decoder(pipeline.event).decode
        self.columns = pa.schema([pa.field(c.name, ARROW_TYPES[c.type], nullable=c.nullable) for c in pipeline.columns])
        self._arrow = {c.name: ARROW_TYPES[c.type] for c in pipeline.columns}
        for check in pipeline.checks:
            if check.field not in self._fields:
                raise SettingsError(
                    f"pipeline {pipeline.name} checks {check.field!r}, which {pipeline.event.__name__} doesn't have"
                )

    def chunk(self, values: Sequence[bytes]) -> Judged:
        """Judge the values of one chunk, in order. Never raises for what a value holds."""
        rejected: dict[int, RejectedRecord] = {}
        events, unknown_fields = self._events(values, rejected)
        accepted = [index for index in range(len(values)) if index not in rejected] if rejected else None
        arrays = self._arrays(events)
        broken = self._broken(arrays)
        if broken:
            indices = accepted if accepted is not None else range(len(values))
            rejected.update((indices[row], reason) for row, reason in broken.items())
            accepted = [index for row, index in enumerate(indices) if row not in broken]
            keep = pa.array([row not in broken for row in range(len(events))])
            arrays = {name: array.filter(keep) for name, array in arrays.items()}
        return Judged(
            columns=self._columns(arrays),
            accepted=range(len(values)) if accepted is None else accepted,
            rejected=sorted(rejected.items()),
            unknown_fields=unknown_fields,
        )

    def _events(self, values: Sequence[bytes], rejected: dict[int, RejectedRecord]) -> tuple[list[msgspec.Struct], int]:
        """Decode each value with the strict type; only what it refuses takes the longer way."""
        events: list[msgspec.Struct] = []
        append, decode, unknown_fields = events.append, self._decode_strict, 0
        for index, value in enumerate(values):
            try:
                append(decode(value))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                try:
                    unknown_fields += self._unknown_fields(value)
                    append(self._decode(value))
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                    rejected[index] = _rejection(value, error)
        return events, unknown_fields

    def _unknown_fields(self, value: bytes) -> int:
        """Count the fields that the event type doesn't have; the whole document must be valid for that."""
        document = msgspec.json.decode(value)
        return len(document.keys() - self._encoded) if isinstance(document, dict) else 0

    def _arrays(self, events: Sequence[msgspec.Struct]) -> dict[str, pa.Array[Any]]:
        """One Arrow array per field of the event; a field that is no column keeps Arrow's own idea of its type."""
        return {
            name: pa.array(list(map(attrgetter(name), events)), type=self._arrow.get(name)) for name in self._fields
        }

    def _broken(self, arrays: Mapping[str, pa.Array[Any]]) -> dict[int, RejectedRecord]:
        """Find the rows that break a rule which the decoder doesn't know; the first rule broken names it."""
        broken: dict[int, RejectedRecord] = {}
        for name, array in arrays.items():
            if pa.types.is_string(array.type):
                self._find_nul(name, array, broken)
            elif pa.types.is_timestamp(array.type):
                _find_out_of_calendar(name, array, broken)
        for check in self._pipeline.checks:
            array = arrays[check.field]
            for row in _rows(pc.invert(pc.match_substring_regex(array, check.pattern))):
                text = _storable(f"{check.field} {array[row].as_py()!r:.200} {check.sentence}")
                broken.setdefault(row, RejectedRecord("invalid_event", text))
        return broken

    @staticmethod
    def _find_nul(name: str, array: pa.Array[Any], broken: dict[int, RejectedRecord]) -> None:
        data = array.buffers()[2]
        # One memchr over all texts of the chunk; rows are only looked at when it finds something.
        if data is None or b"\0" not in data.to_pybytes():
            return
        for row in _rows(pc.match_substring(array, "\0")):
            broken.setdefault(row, RejectedRecord("nul_character", f"{name} contains U+0000, which no table can hold"))

    def _columns(self, arrays: Mapping[str, pa.Array[Any]]) -> pa.RecordBatch:
        cleaned = self._pipeline.clean(arrays)
        missing = [name for name in self.columns.names if name not in cleaned]
        if missing:
            raise SettingsError(
                f"the clean-up of pipeline {self._pipeline.name} doesn't give the columns {', '.join(missing)}"
            )
        return pa.RecordBatch.from_arrays(
            [cleaned[field.name].cast(field.type) for field in self.columns], schema=self.columns
        )


def empty_value() -> RejectedRecord:
    """Reject a record whose value is there but has no byte (a null value is a tombstone instead)."""
    return RejectedRecord("empty_value", "the value has no bytes; a JSON object was expected")


def _rejection(value: bytes, error: Exception) -> RejectedRecord:
    if not value:
        return empty_value()
    if isinstance(error, msgspec.ValidationError):
        return RejectedRecord("invalid_event", _storable(str(error)))
    if isinstance(error, RecursionError):
        return RejectedRecord("too_deep", "the JSON document is nested too deeply to be decoded")
    try:
        text = value.decode()
    except UnicodeDecodeError as undecodable:
        where = f"{undecodable.reason} at byte {undecodable.start}"
        return RejectedRecord("invalid_utf8", f"the value is not UTF-8: {where}")
    return _invalid_json(value, text, str(error))


def _storable(message: str) -> str:
    """Shorten a decoder's message, which may quote the value, and spell out what text columns can't hold."""
    shortened = message if len(message) <= 500 else f"{message[:400]} [...] {message[-90:]}"
    return shortened.replace("\0", "\\u0000")


def _invalid_json(value: bytes, text: str, message: str) -> RejectedRecord:
    """Say where the JSON breaks, with the line and column of a JSONDecodeError at the decoder's own byte."""
    head, _, tail = message.rpartition(" (byte ")
    size = tail.removesuffix(")")
    if head and size.isdigit():
        # Of trailing data the decoder names the byte after the first one, unlike everywhere else.
        byte = int(size) - head.endswith("trailing characters")
        position = len(value[:byte].decode(errors="ignore"))
    else:
        head, position = message, len(text)
    located = json.JSONDecodeError(head, text, position)
    return RejectedRecord("invalid_json", str(located))


def _find_out_of_calendar(name: str, array: pa.Array[Any], broken: dict[int, RejectedRecord]) -> None:
    micros = array.cast(pa.int64())
    outside = pc.or_(pc.less(micros, pa.scalar(_FIRST_US)), pc.greater(micros, pa.scalar(_LAST_US)))
    for row in _rows(outside):
        message = f"{name} lies outside the years 0001 to 9999 in UTC"
        broken.setdefault(row, RejectedRecord("out_of_range", message))


def _rows(mask: pa.BooleanArray) -> list[int]:
    """Indices of the rows where the mask is true; a null is not."""
    if not pc.any(mask).as_py():
        return []
    rows: list[int] = pc.indices_nonzero(mask.fill_null(False)).to_pylist()  # type: ignore[assignment]
    return rows
