"""Bytes to clean columns: a record's value becomes an event, or a `RejectedRecord` that says why not.

The typed decoder judges each record once; what vectorises (`topicledger.events.rules`, the clean-up) is done for a
whole chunk. Nothing else ever leaves: whatever the bytes, and whatever the event type's own code raises, a record is
one or the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
from msgspec.structs import astuple

from topicledger.columns import Column
from topicledger.errors import RejectedRecord, RetriableError, SettingsError
from topicledger.events.decoding import open_decoding
from topicledger.events.event_types import (
    bounded_columns,
    clean_schema,
    depends_on_values,
    staged_schema,
    used_fields,
)
from topicledger.events.field_arrays import FieldArray, as_hex, field_array, json_texts, nested_json, structured_array
from topicledger.events.rules import (
    UUID,
    Broken,
    find_long_key,
    find_missing,
    find_no_json,
    find_out_of_bounds,
    find_unmatched,
    find_unstorable,
    find_unstorable_json,
)
from topicledger.events.unknown_fields import Unknown, UnknownFields, strict_type
from topicledger.model.schemas import Schemas
from topicledger.pipeline import UNKNOWN_FIELDS, CleanUp, Pipeline

_BLOCK = 1_000
_STRUCTURED = "[]"
"""Ends the name of a nested field's array as the clean-up sees it; that of its JSON has the field's own."""

_NO_VERDICT = (MemoryError, RetriableError, SettingsError)
"""What decoding may raise that says nothing of the value: no schema registry answers, for instance."""

_Event = tuple[Any, ...]
"""An event's values, in the order of its fields."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict over one chunk of values.

    Args:
        columns: The clean columns of the accepted records, those not in `rejected`, in the chunk's order, as they are
            staged; behind them the unknown fields, where the pipeline keeps them.
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
        registry: The schema registry's schemas, for a format that asks one.

    Raises:
        SettingsError: The pipeline's columns, checks, clean-up and event type don't fit together.
    """

    def __init__(self, pipeline: Pipeline, registry: Schemas | None = None) -> None:
        kept = [column for column in pipeline.kept if column.name == UNKNOWN_FIELDS]
        self.columns = staged_schema((*pipeline.columns, *kept))
        self.pipeline = pipeline
        self._clean_columns = clean_schema(pipeline)
        self._names = pipeline.event.__struct_fields__
        self._arrays = _field_arrays(pipeline)
        self._json = [column.name for column in (*pipeline.columns, *kept) if column.type == "json"]
        self._uuids = [column.name for column in pipeline.columns if column.type == "uuid"]
        self._bounded = bounded_columns(pipeline)
        self._keeps_unknown = bool(kept)
        self._unknown_fields = UnknownFields(pipeline.event)
        self._decoding = open_decoding(pipeline, registry)
        self._decode: Callable[[bytes], msgspec.Struct] = self._decoding.decoder(pipeline.event)
        strict = strict_type(pipeline.event)
        self._decode_strict = self._decode_knowing if strict is None else self._decoding.decoder(strict)
        self.chunk([])

    def chunk(self, values: Sequence[bytes]) -> Judged:
        """Judge the values of one chunk, in order. Never raises for what a value holds or an event's code raises.

        Raises:
            RetriableError: The schema registry doesn't answer.
            SettingsError: The clean-up fails, or doesn't give what the columns declare.
        """
        rejected: Broken = {}
        broken: Broken = {}
        unknown: dict[int, Sequence[Unknown]] = {}
        arrays = self._decoded(values, rejected, broken, unknown)
        self._find_broken(arrays, broken)
        if broken:
            arrays = _without(arrays, broken, rejected, len(values))
        columns, changed = self._clean(arrays, len(values) - len(rejected))
        if self._keeps_unknown:
            accepted = (unknown.get(index) for index in range(len(values)) if index not in rejected)
            columns[UNKNOWN_FIELDS] = pa.array([found and nested_json(found) for found in accepted], pa.string())
        broken = self._find_unfit(columns, changed)
        if broken:
            columns = _without(columns, broken, rejected, len(values))
        return Judged(
            columns=pa.RecordBatch.from_arrays(list(map(_as_staged, columns.values())), schema=self.columns),
            rejected=sorted(rejected.items()),
            unknown_fields=sum(map(len, unknown.values())),
        )

    def _decoded(
        self, values: Sequence[bytes], rejected: Broken, broken: Broken, unknown: dict[int, Sequence[Unknown]]
    ) -> dict[str, pa.Array[Any]]:
        """One Arrow array for each that is needed of the events' fields.

        Block by block: the events of a block are still in the processor's cache when they become columns.
        """
        blocks: dict[str, list[pa.Array[Any]]] = {name: [pa.array([], of.kind)] for name, of in self._arrays.items()}
        rows = 0
        for first in range(0, len(values), _BLOCK):
            events = self._events(values[first : first + _BLOCK], first, rejected, unknown)
            # All fields at once, then turned on their side: half the cost of asking each event for each field.
            values_of = dict(zip(self._names, zip(*events, strict=True), strict=True)) if events else {}
            for name, of in self._arrays.items():
                outermost = values_of.get(of.path.partition(".")[0], ())
                blocks[name].append(of.array(outermost, rows, broken))
            rows += len(events)
        return {name: pa.concat_arrays(arrays) for name, arrays in blocks.items()}

    def _events(
        self, values: Sequence[bytes], first: int, rejected: Broken, unknown: dict[int, Sequence[Unknown]]
    ) -> list[_Event]:
        """Decode each value with the strict type; only what it refuses takes the longer way."""
        events: list[_Event] = []
        decoded = map(astuple, map(self._decode_strict, values))
        refused = 0
        while True:
            try:
                # What came before a value that is refused stays, and the map goes on behind it.
                events.extend(decoded)
                index = len(events) + refused
                if index == len(values):
                    return events
                # A StopIteration of the event's own code has ended the map as its last value would.
                events.append(astuple(self._decode_strict(values[index])))
            except _NO_VERDICT:
                raise
            except Exception as refusal:  # noqa: BLE001 - of the bytes, or whatever the event type's own code raises
                index = len(events) + refused
                try:
                    found = self._unknown(values[index], refusal)
                    if not found:
                        raise refusal  # the strict type is stricter with nothing else
                    unknown[first + index] = found
                    events.append(astuple(self._decode(values[index])))
                except _NO_VERDICT:
                    raise
                except Exception as error:  # noqa: BLE001 - the same
                    verdict = self._decoding.rejection(values[index], error, by_event=_is_by_event(error))
                    rejected[first + index] = verdict
                    refused += 1

    def _unknown(self, value: bytes, refusal: Exception) -> Sequence[Unknown]:
        """The fields that the event type doesn't have; the whole document must be valid for that."""
        if type(refusal) is msgspec.DecodeError:  # of the bytes, which the strict type reads as any other does
            return ()
        try:
            document = self._decoding.document(value)
        except msgspec.ValidationError:
            self._decode(value)  # a number that nothing can hold: of its own fields the event type names the one
            raise
        return self._unknown_fields.find(document)

    def _decode_knowing(self, value: bytes) -> msgspec.Struct:
        """Decode as the strict type would where there is none."""
        event = self._decode(value)
        if self._unknown_fields.find(self._decoding.document(value)):
            raise msgspec.ValidationError("it has fields that the event type doesn't have")
        return event

    def _find_broken(self, arrays: Mapping[str, pa.Array[Any]], broken: Broken) -> None:
        """Find the rows that break a rule which the decoder doesn't know; the first rule broken names it."""
        find_unstorable(arrays, broken)
        for check in self.pipeline.checks:
            find_unmatched(check.field, arrays[check.field], check.pattern, check.sentence, broken)

    def _clean(
        self, arrays: Mapping[str, pa.Array[Any]], count: int
    ) -> tuple[dict[str, pa.Array[Any]], dict[str, pa.Array[Any]]]:
        """The columns, and those of them that the clean-up made or changed."""
        cleaned: Mapping[str, Any] = {}
        whose = f"the event type of pipeline {self.pipeline.name}"
        if self.pipeline.clean is not None:
            cleaned = self._cleaned(self.pipeline.clean, arrays)
            whose = f"the clean-up of pipeline {self.pipeline.name}"
        own = {c.name: arrays.get(c.source) for c in self.pipeline.columns}
        missing = [name for name, array in own.items() if array is None and name not in cleaned]
        if missing:
            raise SettingsError(f"{whose} doesn't give the columns {', '.join(missing)}", code="clean-columns-missing")
        columns: dict[str, pa.Array[Any]] = {}
        changed: dict[str, pa.Array[Any]] = {}
        for field, column in zip(self._clean_columns, self.pipeline.columns, strict=True):
            array, given = own[field.name], cleaned.get(field.name)
            # What the clean-up has left as it was is known to keep the rules.
            if given is not None and given is not arrays.get(column.source + _STRUCTURED):
                array = json_texts(given) if _is_nested(given, column) else given
            columns[field.name] = self._fitting(array, field, count, whose)
            before = own[field.name]
            if before is None or not columns[field.name].equals(before):
                changed[field.name] = columns[field.name]
        return columns, changed

    def _fitting(self, array: Any, field: pa.Field[Any], count: int, whose: str) -> pa.Array[Any]:
        """An array as its column takes it."""
        if not isinstance(array, pa.Array) or len(array) != count:
            raise SettingsError(
                f"{whose} doesn't give an Arrow array of {count} values for the column {field.name}. Correct the "
                "clean-up: it must give one value for each event, in their order",
                code="clean-array-misfit",
            )
        if depends_on_values(array.type, field.type):
            raise SettingsError(
                f"{whose} gives {array.type} for the column {field.name}, which is {field.type}: one record that "
                "doesn't fit would stop a batch. Declare the event's field or the column with the other's type, or "
                "convert it in the clean-up, with NULL for what doesn't fit",
                code="clean-type-differs",
            )
        try:
            return array.cast(field.type)
        except pa.ArrowException as error:
            raise SettingsError(
                f"{whose} gives values that a column can't hold: {error}. Correct it: it must give each column's type "
                "for every event",
                code="clean-value-misfit",
            ) from error

    def _cleaned(self, clean: CleanUp, arrays: Mapping[str, pa.Array[Any]]) -> Mapping[str, Any]:
        seen = {name: arrays.get(name + _STRUCTURED, arrays[name]) for name in self._names}
        try:
            cleaned: object = clean(seen)
        except Exception as error:  # whatever a clean-up raises, the next try of the task would meet it again
            raise SettingsError(
                f"the clean-up of pipeline {self.pipeline.name} failed with {type(error).__name__}: {error}. "
                "Correct the clean-up: it must not fail for any event that passes the event type and the checks, "
                "nor for none at all",
                code="clean-failed",
            ) from error
        if not isinstance(cleaned, Mapping):
            raise SettingsError(
                f"the clean-up of pipeline {self.pipeline.name} gives a {type(cleaned).__name__}: it must return a "
                "mapping of the columns' names to Arrow arrays",
                code="clean-not-a-mapping",
            )
        return cleaned

    def _find_unfit(self, columns: Mapping[str, pa.Array[Any]], changed: Mapping[str, pa.Array[Any]]) -> Broken:
        """Find the rows that the table couldn't take, or in which the clean-up has undone a rule.

        Args:
            columns: All columns.
            changed: Those that the clean-up made or changed.
        """
        broken: Broken = {}
        for field in self._clean_columns:
            if not field.nullable:
                find_missing(field.name, columns[field.name], broken)
        for name in self._uuids:
            find_unmatched(name, columns[name], UUID, "is not a UUID", broken)
        for check in self.pipeline.checks:
            if check.field in changed and pa.types.is_string(changed[check.field].type):
                sentence = f"{check.sentence} after the clean-up"
                find_unmatched(check.field, changed[check.field], check.pattern, sentence, broken)
        for name, kind in self._bounded.items():
            if name in changed:
                find_out_of_bounds(name, changed[name], kind, broken)
        find_long_key({name: columns[name] for name in self.pipeline.key_columns}, broken)
        find_unstorable(changed, broken)
        for name in self._json:
            if name in changed:
                find_no_json(name, changed[name], broken)
            find_unstorable_json(name, columns[name], broken)
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


def _field_arrays(pipeline: Pipeline) -> Mapping[str, FieldArray]:
    """All arrays that are made of the events' fields, by their names."""
    arrays: dict[str, FieldArray] = {}
    for path, field in used_fields(pipeline).items():
        arrays[path] = field_array(field, finite=pipeline.format.is_text)
        structured = structured_array(field) if pipeline.clean is not None and field.type == "json" else None
        if structured is not None:
            arrays[path + _STRUCTURED] = structured
    return arrays


def _is_nested(array: Any, column: Column) -> bool:
    """Whether a clean-up gives something for a column of JSON that isn't JSON yet."""
    return column.type == "json" and isinstance(array, pa.Array) and not pa.types.is_string(array.type)


def _as_staged(array: pa.Array[Any]) -> pa.Array[Any]:
    if not pa.types.is_binary(array.type):
        return array
    return pa.array([as_hex(value) for value in array.to_pylist()], pa.string())
