"""Bytes to clean columns: a record's value becomes an event, or a `RejectedRecord` that says why not.

The typed decoder judges each record once; what vectorises (text rules, U+0000, the calendar's edges, the
clean-up) is done for a whole chunk. Nothing else ever leaves: whatever the bytes, a record is one or the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import sub
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import astuple

from topicledger.errors import RejectedRecord, SettingsError
from topicledger.event_types import COLUMN_TYPES, columns_schema, depends_on_values, encoded_names, field_types
from topicledger.pipeline import Pipeline
from topicledger.rejections import rejection, storable

# 0001-01-01 and 9999-12-31 in UTC: what every warehouse and Python's own datetime can hold.
_FIRST_US = -62_135_596_800_000_000
_LAST_US = 253_402_300_799_999_999
_FIRST_DAY = -719_162
_LAST_DAY = 2_932_896
# PostgreSQL's index takes 2,704 at most; the limit is the same for all warehouses.
_KEY_BYTES = 2_000
_UUID = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

_BLOCK = 1_000
_TIMES = COLUMN_TYPES["timestamptz"]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SINCE_EPOCH: pa.DataType = pa.duration("us")

_Broken = dict[int, RejectedRecord]
"""Rows of a set of columns that must be taken out, and why."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict over one chunk of values.

    Args:
        columns: The clean columns of the accepted records, those not in `rejected`, in the chunk's order.
        rejected: (index in the chunk, reason) of each rejected one, ascending.
        unknown_fields: Fields in accepted and rejected records that the event type doesn't have.
    """

    columns: pa.RecordBatch
    rejected: Sequence[tuple[int, RejectedRecord]]
    unknown_fields: int


class Judge:
    """Judges the records of one pipeline. Keeps no state between chunks.

    `columns` is the Arrow schema of the clean columns, `pipeline` whose records are judged. That there is a judge
    means that the whole way has been gone with an empty chunk.

    Raises:
        SettingsError: The pipeline's columns, checks, clean-up and event type don't fit together.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.columns = columns_schema(pipeline)
        self.pipeline = pipeline
        self._fields = field_types(pipeline)
        self._encoded = encoded_names(pipeline.event)
        self._names = pipeline.event.__struct_fields__
        self._uuids = [column.name for column in pipeline.columns if column.type == "uuid"]
        strict = msgspec.defstruct("Strict", [], bases=(pipeline.event,), forbid_unknown_fields=True)
        self._decode_strict = msgspec.json.Decoder(strict).decode
        self._decode: Callable[[bytes], msgspec.Struct] = msgspec.json.Decoder(pipeline.event).decode
        self.chunk([])

    def chunk(self, values: Sequence[bytes]) -> Judged:
        """Judge the values of one chunk, in order. Never raises for what a value holds.

        Raises:
            SettingsError: The clean-up fails, or doesn't give what the columns declare.
        """
        rejected: _Broken = {}
        broken: _Broken = {}
        arrays, unknown_fields = self._decoded(values, rejected, broken)
        self._find_broken(arrays, broken)
        if broken:
            arrays = _without(arrays, broken, rejected, len(values))
        columns = self._clean(arrays, len(values) - len(rejected))
        broken = self._find_unfit(columns)
        if broken:
            columns = _without(columns, broken, rejected, len(values))
        return Judged(
            columns=pa.RecordBatch.from_arrays(list(columns.values()), schema=self.columns),
            rejected=sorted(rejected.items()),
            unknown_fields=unknown_fields,
        )

    def _decoded(
        self, values: Sequence[bytes], rejected: _Broken, broken: _Broken
    ) -> tuple[dict[str, pa.Array[Any]], int]:
        """One Arrow array per flat field of the event, and how many unknown fields there were.

        Block by block: the events of a block are still in the processor's cache when they become columns.
        """
        blocks: dict[str, list[pa.Array[Any]]] = {name: [pa.array([], kind)] for name, kind in self._fields.items()}
        unknown_fields = rows = 0
        for first in range(0, len(values), _BLOCK):
            events, unknown = self._events(values[first : first + _BLOCK], first, rejected)
            for name, array in self._arrays(events, rows, broken).items():
                blocks[name].append(array)
            unknown_fields += unknown
            rows += len(events)
        return {name: pa.concat_arrays(arrays) for name, arrays in blocks.items()}, unknown_fields

    def _events(self, values: Sequence[bytes], first: int, rejected: _Broken) -> tuple[list[msgspec.Struct], int]:
        """Decode each value with the strict type; only what it refuses takes the longer way."""
        events: list[msgspec.Struct] = []
        decoded = map(self._decode_strict, values)
        refused = unknown_fields = 0
        while True:
            try:
                # What came before a value that is refused stays, and the map goes on behind it.
                events.extend(decoded)
            except (msgspec.MsgspecError, ValueError, RecursionError) as refusal:
                index = len(events) + refused
                try:
                    unknown = self._unknown_fields(values[index], refusal)
                    unknown_fields += unknown
                    if not unknown:
                        raise refusal  # the strict type is stricter with nothing else
                    events.append(self._decode(values[index]))
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                    rejected[first + index] = rejection(values[index], error)
                    refused += 1
            else:
                return events, unknown_fields

    def _unknown_fields(self, value: bytes, refusal: Exception) -> int:
        """Count the fields that the event type doesn't have; the whole document must be valid for that."""
        if type(refusal) is msgspec.DecodeError:  # of the bytes, which the strict type reads as any other does
            return 0
        try:
            document = msgspec.json.decode(value)
        except msgspec.ValidationError:
            self._decode(value)  # a number that nothing can hold: of its own fields the event type names the one
            raise
        return len(document.keys() - self._encoded) if isinstance(document, dict) else 0

    def _arrays(self, events: Sequence[msgspec.Struct], first: int, broken: _Broken) -> dict[str, pa.Array[Any]]:
        """One array per flat field of a block's events; the first of them is row `first`."""
        arrays: dict[str, pa.Array[Any]] = {}
        # All fields at once, then turned on their side: half the cost of asking each event for each field.
        values_of = dict(zip(self._names, zip(*map(astuple, events), strict=True), strict=True)) if events else {}
        for name, kind in self._fields.items():
            values = values_of.get(name, ())
            try:
                arrays[name] = _array(values, kind)
            except (OverflowError, pa.ArrowException):
                arrays[name] = _array_of_fitting(name, values, kind, first, broken)
        return arrays

    def _find_broken(self, arrays: Mapping[str, pa.Array[Any]], broken: _Broken) -> None:
        """Find the rows that break a rule which the decoder doesn't know; the first rule broken names it."""
        _find_unstorable(arrays, broken)
        for check in self.pipeline.checks:
            _find_unmatched(check.field, arrays[check.field], check.pattern, check.sentence, broken)

    def _clean(self, arrays: Mapping[str, pa.Array[Any]], count: int) -> dict[str, pa.Array[Any]]:
        try:
            cleaned = self.pipeline.clean(arrays)
        except Exception as error:  # whatever a clean-up raises, the next try of the task would meet it again
            raise SettingsError(
                f"the clean-up of pipeline {self.pipeline.name} failed with {type(error).__name__}: {error}. "
                "Correct the clean-up: it must not fail for any event that passes the event type and the checks, "
                "nor for none at all"
            ) from error
        if not isinstance(cleaned, Mapping):
            raise SettingsError(
                f"the clean-up of pipeline {self.pipeline.name} gives a {type(cleaned).__name__}: it must return a "
                "mapping of the columns' names to Arrow arrays"
            )
        missing = [name for name in self.columns.names if name not in cleaned]
        if missing:
            raise SettingsError(
                f"the clean-up of pipeline {self.pipeline.name} doesn't give the columns {', '.join(missing)}"
            )
        for name in self.columns.names:
            if not isinstance(cleaned[name], pa.Array) or len(cleaned[name]) != count:
                raise SettingsError(
                    f"the clean-up of pipeline {self.pipeline.name} doesn't give an Arrow array of {count} values for "
                    f"the column {name}. Correct the clean-up: it must give one value for each event, in their order"
                )
        for field in self.columns:
            given = cleaned[field.name].type
            if depends_on_values(given, field.type):
                raise SettingsError(
                    f"the clean-up of pipeline {self.pipeline.name} gives {given} for the column {field.name}, which "
                    f"is {field.type}: one record that doesn't fit would stop a batch. Declare the event's field or "
                    "the column with the other's type, or convert it in the clean-up, with NULL for what doesn't fit"
                )
        try:
            return {field.name: cleaned[field.name].cast(field.type) for field in self.columns}
        except pa.ArrowException as error:
            raise SettingsError(
                f"the clean-up of pipeline {self.pipeline.name} gives values that a column can't hold: {error}. "
                "Correct the clean-up: it must give each column's type for every event"
            ) from error

    def _find_unfit(self, columns: Mapping[str, pa.Array[Any]]) -> _Broken:
        """Find the rows that the table couldn't take: a value that the clean-up left out, or made, or let through."""
        broken: _Broken = {}
        for field in self.columns:
            if not field.nullable and columns[field.name].null_count:
                for row in _rows(pc.is_null(columns[field.name])):
                    sentence = f"{field.name} has no value after the clean-up"
                    broken.setdefault(row, RejectedRecord("invalid_event", sentence))
        for name in self._uuids:
            _find_unmatched(name, columns[name], _UUID, "is not a UUID", broken)
        _find_long_key(self.pipeline.key, columns[self.pipeline.key], broken)
        _find_unstorable(columns, broken)
        return broken


def _without(
    columns: Mapping[str, pa.Array[Any]], broken: _Broken, rejected: _Broken, count: int
) -> dict[str, pa.Array[Any]]:
    """Take the broken rows out of the columns and, under their index in the chunk, into `rejected`."""
    accepted = [index for index in range(count) if index not in rejected]
    rejected.update((accepted[row], reason) for row, reason in broken.items())
    keep = pa.array([row not in broken for row in range(len(accepted))])
    return {name: column.filter(keep) for name, column in columns.items()}


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    if kind != _TIMES:
        return pa.array(values, type=kind)
    try:
        # Arrow asks each time for its zone; a difference of two times in UTC needs none, a fifth of the cost.
        since = pa.array(list(map(sub, values, repeat(_EPOCH))), _SINCE_EPOCH)
    except TypeError:  # none, or a time without a zone, which the event type lets through
        return pa.array(values, type=kind)
    times: pa.Array[Any] = since.view(pa.int64()).view(kind)
    return times


def _array_of_fitting(
    name: str, values: Sequence[Any], kind: pa.DataType, first: int, broken: _Broken
) -> pa.Array[Any]:
    """Find the values that Arrow's type can't hold, which the event type allowed; the others keep their place."""
    fitting = list(values)
    for row, value in enumerate(values):
        try:
            pa.scalar(value, kind)
        except (OverflowError, pa.ArrowException):
            broken.setdefault(first + row, RejectedRecord("out_of_range", f"{name} doesn't fit {kind}"))
            fitting[row] = None
    return pa.array(fitting, type=kind)


def _find_unmatched(name: str, array: pa.Array[Any], pattern: str, sentence: str, broken: _Broken) -> None:
    for row in _rows(pc.invert(pc.match_substring_regex(array, pattern))):
        text = storable(f"{name} {array[row].as_py()!r:.200} {sentence}")
        broken.setdefault(row, RejectedRecord("invalid_event", text))


def _find_unstorable(arrays: Mapping[str, pa.Array[Any]], broken: _Broken) -> None:
    """Find the values that their Arrow type can hold, but not every table."""
    for name, array in arrays.items():
        if pa.types.is_string(array.type):
            _find_nul(name, array, broken)
        elif pa.types.is_timestamp(array.type):
            _find_outside(name, array.cast(pa.int64()), (_FIRST_US, _LAST_US), broken)
        elif pa.types.is_date32(array.type):
            _find_outside(name, array.cast(pa.int32()), (_FIRST_DAY, _LAST_DAY), broken)


def _find_long_key(name: str, key: pa.Array[Any], broken: _Broken) -> None:
    if isinstance(key, pa.StringArray):
        for row in _rows(pc.greater(pc.binary_length(key), pa.scalar(_KEY_BYTES))):
            sentence = f"{name} has more than the {_KEY_BYTES} bytes that a unique index can hold"
            broken.setdefault(row, RejectedRecord("out_of_range", sentence))


def _find_nul(name: str, array: pa.Array[Any], broken: _Broken) -> None:
    data = array.buffers()[2]
    # One memchr over all texts of the chunk; rows are only looked at when it finds something.
    if data is None or b"\0" not in data.to_pybytes():
        return
    for row in _rows(pc.match_substring(array, "\0")):
        broken.setdefault(row, RejectedRecord("nul_character", f"{name} contains U+0000, which no table can hold"))


def _find_outside(name: str, counted: pa.Array[Any], calendar: tuple[int, int], broken: _Broken) -> None:
    first, last = (pa.scalar(end, counted.type) for end in calendar)
    for row in _rows(pc.or_(pc.less(counted, first), pc.greater(counted, last))):
        message = f"{name} lies outside the years 0001 to 9999 in UTC"
        broken.setdefault(row, RejectedRecord("out_of_range", message))


def _rows(mask: pa.BooleanArray) -> list[int]:
    """Indices of the rows where the mask is true; a null is not."""
    if not pc.any(mask).as_py():
        return []
    rows: list[int] = pc.indices_nonzero(mask.fill_null(False)).to_pylist()  # type: ignore[assignment]
    return rows
