"""Bytes to clean columns: a record's value becomes an event, or a `RejectedRecord` that says why not.

The typed decoder judges each record once; what vectorises (`topicledger.events.rules`, the clean-up) is done for a
whole chunk. Nothing else ever leaves: whatever the bytes, and whatever the event type's own code raises, a record is
one or the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import repeat
from operator import sub
from typing import Any

import msgspec
import pyarrow as pa
from msgspec.structs import astuple

from topicledger.columns import arrow_type
from topicledger.connection import Connection
from topicledger.errors import RejectedRecord, RetriableError, SettingsError
from topicledger.events.decoding import open_decoding
from topicledger.events.event_types import (
    bounded_columns,
    columns_schema,
    depends_on_values,
    encoded_names,
    field_types,
    plain_values,
    strict_type,
    unset_names,
)
from topicledger.events.rules import (
    UUID,
    Broken,
    find_long_key,
    find_missing,
    find_out_of_bounds,
    find_unmatched,
    find_unstorable,
)
from topicledger.pipeline import CleanUp, Pipeline

_BLOCK = 1_000
_TIMES = arrow_type("timestamptz")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SINCE_EPOCH: pa.DataType = pa.duration("us")

_NO_VERDICT = (MemoryError, RetriableError, SettingsError)
"""What decoding may raise that says nothing of the value: no schema registry answers, for instance."""

_Event = tuple[Any, ...]
"""An event's values, in the order of its fields."""


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

    Args:
        pipeline: The declaration.
        registry: The schema registry, for a format that asks one.

    Raises:
        SettingsError: The pipeline's columns, checks, clean-up and event type don't fit together.
    """

    def __init__(self, pipeline: Pipeline, registry: Connection | None = None) -> None:
        self.columns = columns_schema(pipeline)
        self.pipeline = pipeline
        self._fields = field_types(pipeline)
        self._encoded = encoded_names(pipeline.event)
        self._names = pipeline.event.__struct_fields__
        self._unset = unset_names(pipeline.event)
        self._plain = plain_values(pipeline.event)
        self._is_array = pipeline.event.__struct_config__.array_like
        self._uuids = [column.name for column in pipeline.columns if column.type == "uuid"]
        self._bounded = bounded_columns(pipeline)
        self._decoding = open_decoding(pipeline, registry)
        self._decode_strict = self._decoding.decoder(strict_type(pipeline))
        self._decode: Callable[[bytes], msgspec.Struct] = self._decoding.decoder(pipeline.event)
        self.chunk([])

    def chunk(self, values: Sequence[bytes]) -> Judged:
        """Judge the values of one chunk, in order. Never raises for what a value holds or an event's code raises.

        Raises:
            RetriableError: The schema registry doesn't answer.
            SettingsError: The clean-up fails, or doesn't give what the columns declare.
        """
        rejected: Broken = {}
        broken: Broken = {}
        arrays, unknown_fields = self._decoded(values, rejected, broken)
        self._find_broken(arrays, broken)
        if broken:
            arrays = _without(arrays, broken, rejected, len(values))
        columns = self._clean(arrays, len(values) - len(rejected))
        broken = self._find_unfit(columns, arrays)
        if broken:
            columns = _without(columns, broken, rejected, len(values))
        return Judged(
            columns=pa.RecordBatch.from_arrays(list(columns.values()), schema=self.columns),
            rejected=sorted(rejected.items()),
            unknown_fields=unknown_fields,
        )

    def _decoded(
        self, values: Sequence[bytes], rejected: Broken, broken: Broken
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

    def _events(self, values: Sequence[bytes], first: int, rejected: Broken) -> tuple[list[_Event], int]:
        """Decode each value with the strict type; only what it refuses takes the longer way."""
        events: list[_Event] = []
        decoded = map(astuple, map(self._decode_strict, values))
        refused = unknown_fields = 0
        while True:
            try:
                # What came before a value that is refused stays, and the map goes on behind it.
                events.extend(decoded)
                index = len(events) + refused
                if index == len(values):
                    return events, unknown_fields
                # A StopIteration of the event's own code has ended the map as its last value would.
                events.append(astuple(self._decode_strict(values[index])))
            except _NO_VERDICT:
                raise
            except Exception as refusal:  # noqa: BLE001 - of the bytes, or whatever the event type's own code raises
                index = len(events) + refused
                try:
                    unknown = self._unknown_fields(values[index], refusal)
                    unknown_fields += unknown
                    if not unknown:
                        raise refusal  # the strict type is stricter with nothing else
                    events.append(astuple(self._decode(values[index])))
                except _NO_VERDICT:
                    raise
                except Exception as error:  # noqa: BLE001 - the same
                    verdict = self._decoding.rejection(values[index], error, by_event=_is_by_event(error))
                    rejected[first + index] = verdict
                    refused += 1

    def _unknown_fields(self, value: bytes, refusal: Exception) -> int:
        """Count the fields that the event type doesn't have; the whole document must be valid for that."""
        if type(refusal) is msgspec.DecodeError:  # of the bytes, which the strict type reads as any other does
            return 0
        try:
            document = self._decoding.document(value)
        except msgspec.ValidationError:
            self._decode(value)  # a number that nothing can hold: of its own fields the event type names the one
            raise
        if self._is_array and isinstance(document, list):
            return max(len(document) - len(self._encoded), 0)
        return len(document.keys() - self._encoded) if isinstance(document, dict) else 0

    def _arrays(self, events: Sequence[_Event], first: int, broken: Broken) -> dict[str, pa.Array[Any]]:
        """One array per flat field of a block's events; the first of them is row `first`."""
        arrays: dict[str, pa.Array[Any]] = {}
        # All fields at once, then turned on their side: half the cost of asking each event for each field.
        values_of = dict(zip(self._names, zip(*events, strict=True), strict=True)) if events else {}
        for name, kind in self._fields.items():
            values: Sequence[Any] = values_of.get(name, ())
            if name in self._unset:
                values = [None if value is msgspec.UNSET else value for value in values]
            if plain := self._plain.get(name):
                values = [None if value is None else plain(value) for value in values]
            try:
                arrays[name] = _array(values, kind)
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001 - a value past the type's range, or whatever the event's own code set
                arrays[name] = _array_of_fitting(name, values, kind, first, broken)
        return arrays

    def _find_broken(self, arrays: Mapping[str, pa.Array[Any]], broken: Broken) -> None:
        """Find the rows that break a rule which the decoder doesn't know; the first rule broken names it."""
        find_unstorable(arrays, broken)
        for check in self.pipeline.checks:
            find_unmatched(check.field, arrays[check.field], check.pattern, check.sentence, broken)

    def _clean(self, arrays: Mapping[str, pa.Array[Any]], count: int) -> dict[str, pa.Array[Any]]:
        cleaned: Mapping[str, Any] = arrays
        whose = f"the event type of pipeline {self.pipeline.name}"
        if self.pipeline.clean is not None:
            cleaned = self._cleaned(self.pipeline.clean, arrays)
            whose = f"the clean-up of pipeline {self.pipeline.name}"
        missing = [name for name in self.columns.names if name not in cleaned]
        if missing:
            raise SettingsError(f"{whose} doesn't give the columns {', '.join(missing)}")
        for field in self.columns:
            array = cleaned[field.name]
            if not isinstance(array, pa.Array) or len(array) != count:
                raise SettingsError(
                    f"{whose} doesn't give an Arrow array of {count} values for the column {field.name}. Correct the "
                    "clean-up: it must give one value for each event, in their order"
                )
            if depends_on_values(array.type, field.type):
                raise SettingsError(
                    f"{whose} gives {array.type} for the column {field.name}, which is {field.type}: one record that "
                    "doesn't fit would stop a batch. Declare the event's field or the column with the other's type, or "
                    "convert it in the clean-up, with NULL for what doesn't fit"
                )
        try:
            return {field.name: cleaned[field.name].cast(field.type) for field in self.columns}
        except pa.ArrowException as error:
            raise SettingsError(
                f"{whose} gives values that a column can't hold: {error}. Correct it: it must give each column's type "
                "for every event"
            ) from error

    def _cleaned(self, clean: CleanUp, arrays: Mapping[str, pa.Array[Any]]) -> Mapping[str, Any]:
        try:
            cleaned: object = clean(arrays)
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
        return cleaned

    def _find_unfit(self, columns: Mapping[str, pa.Array[Any]], arrays: Mapping[str, pa.Array[Any]]) -> Broken:
        """Find the rows that the table couldn't take, or in which the clean-up has undone a rule.

        Args:
            columns: What the clean-up made.
            arrays: What it was given.
        """
        broken: Broken = {}
        for field in self.columns:
            if not field.nullable:
                find_missing(field.name, columns[field.name], broken)
        for name in self._uuids:
            find_unmatched(name, columns[name], UUID, "is not a UUID", broken)
        # What the clean-up has left as it was is known to keep these.
        changed = {
            name: column for name, column in columns.items() if name not in arrays or not column.equals(arrays[name])
        }
        for check in self.pipeline.checks:
            if check.field in changed and pa.types.is_string(changed[check.field].type):
                sentence = f"{check.sentence} after the clean-up"
                find_unmatched(check.field, changed[check.field], check.pattern, sentence, broken)
        for name, kind in self._bounded.items():
            if name in changed:
                find_out_of_bounds(name, changed[name], kind, broken)
        find_long_key(self.pipeline.key, columns[self.pipeline.key], broken)
        find_unstorable(changed, broken)
        return broken


def _is_by_event(error: Exception) -> bool:
    """Whether Python code of the event type raised it: the innermost frame of what a decoder raises is ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not trace.tb_frame.f_globals.get("__name__", "").startswith(__package__)


def _without(
    columns: Mapping[str, pa.Array[Any]], broken: Broken, rejected: Broken, count: int
) -> dict[str, pa.Array[Any]]:
    """Take the broken rows out of the columns and, under their index in the chunk, into `rejected`."""
    accepted = [index for index in range(count) if index not in rejected]
    rejected.update((accepted[row], reason) for row, reason in broken.items())
    keep = pa.array([row not in broken for row in range(len(accepted))])
    return {name: column.filter(keep) for name, column in columns.items()}


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    if isinstance(kind, pa.Decimal128Type):
        # Arrow's own conversion makes 0.00 of 1.000... with some hundred zeros: it only gets what fits.
        exact, step = Context(kind.precision, traps=[InvalidOperation, Inexact]), Decimal((0, (1,), -kind.scale))
        values = [None if value is None else exact.quantize(value, step) for value in values]
    if kind != _TIMES:
        return pa.array(values, type=kind)
    # Arrow asks each time for its zone; a difference of two times in UTC needs none, a fifth of the cost.
    try:
        since = pa.array(list(map(sub, values, repeat(_EPOCH))), _SINCE_EPOCH)
    except TypeError:  # NULL; a time without an offset, which a plain `datetime` lets through, raises once more
        since = pa.array([None if value is None else value - _EPOCH for value in values], _SINCE_EPOCH)
    times: pa.Array[Any] = since.view(pa.int64()).view(kind)
    return times


def _array_of_fitting(name: str, values: Sequence[Any], kind: pa.DataType, first: int, broken: Broken) -> pa.Array[Any]:
    """Find the values that Arrow's type can't hold, which the event type allowed; the others keep their place."""
    fitting = list(values)
    for row, value in enumerate(values):
        try:
            _array([value], kind)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - the same
            broken.setdefault(first + row, _misfit(name, value, kind))
            fitting[row] = None
    return _array(fitting, kind)


def _misfit(name: str, value: Any, kind: pa.DataType) -> RejectedRecord:
    if isinstance(value, dt.datetime):
        return RejectedRecord("invalid_event", f"{name} is a time without an offset from UTC")
    if isinstance(kind, pa.Decimal128Type) and isinstance(value, Decimal):
        digits = f"{kind.precision} digits, {kind.scale} of them behind the point"
        return RejectedRecord("unfit_decimal", f"{name} {value!s:.40} isn't exactly a decimal of at most {digits}")
    return RejectedRecord("out_of_range", f"{name} doesn't fit {kind}")
