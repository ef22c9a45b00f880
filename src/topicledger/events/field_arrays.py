"""An event's values as Arrow arrays: a field's, or those of a field that is nested in it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import repeat
from operator import attrgetter, sub
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from topicledger.columns import arrow_type
from topicledger.errors import RejectedRecord
from topicledger.event_fields import EventField
from topicledger.events.event_types import field_type, nested_type
from topicledger.events.rules import Broken

_TIMES = arrow_type("timestamptz")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SINCE_EPOCH: pa.DataType = pa.duration("us")
_PER_SECOND = 1e6

Build = Callable[[Sequence[Any]], "pa.Array[Any]"]


@dataclass(frozen=True, slots=True)
class FieldArray:
    """Makes the array of one field.

    Args:
        path: The field's path.
        kind: The array's type.
        plain: Makes what Arrow knows of a value that isn't NULL; None: it knows it.
        build: Makes the array of plain values; it raises for one that doesn't fit.
        inner: Get a value out of what it is nested in, from the outermost on.
        unset: Whether `msgspec.UNSET` may stand for NULL.
    """

    path: str
    kind: pa.DataType
    plain: Callable[[Any], Any] | None
    build: Build
    inner: tuple[Callable[[Any], Any], ...]
    unset: bool

    def array(self, outermost: Sequence[Any], first: int, broken: Broken) -> pa.Array[Any]:
        """One value for each event; NULL where it can't be one, and then it is `broken`.

        Args:
            outermost: The events' values of the field that the path begins with.
            first: The row of the first event.
            broken: Gets the rows of the values that don't fit.
        """
        values = outermost
        for get in self.inner:
            values = [None if value is None or value is msgspec.UNSET else get(value) for value in values]
        if self.unset:
            values = [None if value is msgspec.UNSET else value for value in values]
        try:
            return self._array(values)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - a value past the type's range, or whatever the event's own code set
            return self._of_fitting(values, first, broken)

    def _array(self, values: Sequence[Any]) -> pa.Array[Any]:
        if self.plain is not None:
            plain = self.plain
            values = [None if value is None else plain(value) for value in values]
        return self.build(values)

    def _of_fitting(self, values: Sequence[Any], first: int, broken: Broken) -> pa.Array[Any]:
        """Find the values that Arrow's type can't hold, which the event type allowed; the others keep their place."""
        fitting = list(values)
        for row, value in enumerate(values):
            try:
                self._array([value])
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                broken.setdefault(first + row, self._misfit(value, error))
                fitting[row] = None
        return self._array(fitting)

    def _misfit(self, value: Any, error: Exception) -> RejectedRecord:
        if isinstance(error, RejectedRecord):
            return RejectedRecord(error.reason, f"{self.path} {error}")
        if isinstance(value, dt.datetime):
            return RejectedRecord("invalid_event", f"{self.path} is a time without an offset from UTC")
        if isinstance(self.kind, pa.Decimal128Type) and isinstance(value, Decimal):
            digits = f"{self.kind.precision} digits, {self.kind.scale} of them behind the point"
            return RejectedRecord(
                "unfit_decimal", f"{self.path} {value!s:.40} isn't exactly a decimal of at most {digits}"
            )
        return RejectedRecord("out_of_range", f"{self.path} doesn't fit {self.kind}")


def field_array(field: EventField, *, finite: bool) -> FieldArray:
    """How a field becomes an array; a nested one becomes JSON.

    Args:
        field: The field.
        finite: Whether the format has no number but finite ones, so that they needn't be looked for.
    """
    kind = field_type(field)
    plain: Callable[[Any], Any] | None = None
    if field.type == "json":
        plain = _json if finite else _finite_json
    elif any(isinstance(member, msgspec.inspect.EnumType) for member in field.members):
        plain = _enum_value
    elif field.type == "uuid":
        plain = str
    elif any(isinstance(member, msgspec.inspect.TimeDeltaType) for member in field.members):
        plain = msgspec.to_builtins
    return _of(field, kind, plain, _build(field, kind))


def structured_array(field: EventField) -> FieldArray | None:
    """How a nested field becomes structs and lists for the clean-up; None where it has no such type."""
    kind = nested_type(field.kind)
    return None if kind is None else _of(field, kind, _builtin, lambda values: pa.array(values, kind))


def _of(field: EventField, kind: pa.DataType, plain: Callable[[Any], Any] | None, build: Build) -> FieldArray:
    inner = tuple(attrgetter(name) for name in field.path.split(".")[1:])
    return FieldArray(field.path, kind, plain, build, inner, unset=field.nullable)


def _build(field: EventField, kind: pa.DataType) -> Build:
    if field.epoch == "s":
        return _of_seconds
    if field.epoch:
        return lambda values: pa.array(values, pa.int64()).cast(pa.timestamp(field.epoch, "UTC")).cast(_TIMES)
    if isinstance(kind, pa.Decimal128Type):
        return lambda values: _of_decimals(values, kind)
    if pa.types.is_time(kind):
        return _of_times_of_day
    return _of_times if kind == _TIMES else lambda values: pa.array(values, kind)


def _of_decimals(values: Sequence[Any], kind: pa.Decimal128Type) -> pa.Array[Any]:
    # Arrow's own conversion makes 0.00 of 1.000... with some hundred zeros: it only gets what fits.
    exact, step = Context(kind.precision, traps=[InvalidOperation, Inexact]), Decimal((0, (1,), -kind.scale))
    return pa.array([None if value is None else exact.quantize(value, step) for value in values], kind)


def _of_times(values: Sequence[Any]) -> pa.Array[Any]:
    # Arrow asks each time for its zone; a difference of two times in UTC needs none, a fifth of the cost.
    try:
        since = pa.array(list(map(sub, values, repeat(_EPOCH))), _SINCE_EPOCH)
    except TypeError:  # NULL; a time without an offset, which a plain `datetime` lets through, raises once more
        since = pa.array([None if value is None else value - _EPOCH for value in values], _SINCE_EPOCH)
    times: pa.Array[Any] = since.view(pa.int64()).view(_TIMES)
    return times


def _of_times_of_day(values: Sequence[dt.time | None]) -> pa.Array[Any]:
    if any(value is not None and value.tzinfo is not None for value in values):
        raise RejectedRecord("invalid_event", "is a time of day with an offset, which its column doesn't have")
    return pa.array(values, pa.time64("us"))


def _of_seconds(values: Sequence[int | float | None]) -> pa.Array[Any]:
    # Arrow drops a fraction without a word.
    if not any(isinstance(value, float) for value in values):
        return pa.array(values, pa.int64()).cast(pa.timestamp("s", "UTC")).cast(_TIMES)
    micros = pc.round(pc.multiply(pa.array(values, pa.float64()), pa.scalar(_PER_SECOND)))
    times: pa.Array[Any] = micros.cast(pa.int64()).view(_TIMES)
    return times


def _enum_value(value: Any) -> Any:
    return getattr(value, "value", value)


def _builtin(value: Any) -> Any:
    return msgspec.to_builtins(value, builtin_types=(bytes, dt.datetime, dt.date, dt.time, Decimal))


_json = msgspec.json.Encoder(decimal_format="number").encode


def _finite_json(value: Any) -> bytes:
    """The same of a format that has numbers which JSON doesn't: they would be written as null."""
    _require_finite(msgspec.to_builtins(value))
    return _json(value)


def _json_or_nan(value: Any) -> bytes:
    """The same for whoever looks through the texts afterwards: no record ends the chunk of all others."""
    try:
        return _finite_json(value)
    except RejectedRecord:
        return b"NaN"


def _require_finite(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise RejectedRecord("out_of_range", f"has the number {value}, which JSON doesn't have")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _require_finite(inner)


def json_texts(array: pa.Array[Any]) -> pa.Array[Any]:
    """JSON of what a clean-up made, which isn't text; NULL stays NULL, and what JSON can't say is `NaN`, no JSON."""
    return pa.array([None if value is None else _json_or_nan(value) for value in array.to_pylist()], pa.string())


def nested_json(unknown: Sequence[tuple[tuple[str, ...], Any]]) -> bytes:
    """Fields by where they lie, as one JSON object; of an array the places are names."""
    document: dict[str, Any] = {}
    for path, value in unknown:
        inner = document
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return _json_or_nan(document)


def as_hex(value: bytes | None) -> str | None:
    """Bytes as they are staged: as PostgreSQL writes them."""
    return None if value is None else f"\\x{value.hex()}"
