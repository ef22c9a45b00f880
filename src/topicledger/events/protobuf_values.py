"""A Protobuf message as plain Python values, by the fields' names: what the event types of all formats are made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from keyword import iskeyword
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

from topicledger.protobuf_schema import WRAPPERS, entry_fields, is_map, is_repeated

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

Values = Callable[["Message"], dict[str, Any]]
"""A message's values. A field that is unset, where Protobuf can tell, isn't among them."""

_Convert = Callable[[Any], Any]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NANOS = 1_000_000_000

_WIRE_TYPES = {0: "a varint", 1: "8 bytes", 2: "bytes of a length", 3: "a group", 5: "4 bytes"}


class Unfit(ValueError):  # noqa: N818 - a verdict, as RejectedRecord is
    """A value that no event has: the sentence, and its path from the message on."""

    def __init__(self, sentence: str, path: str = "") -> None:
        super().__init__(sentence)
        self.path = path

    def __str__(self) -> str:
        return f"{self.args[0]} - at `${self.path}`"


# An enum's numbers are looked up in a dictionary, whose own error is as good and costs nothing.
_UNFIT = (Unfit, KeyError)


def _below(error: Exception, step: str) -> Unfit:
    """The same, seen from where it lies below `step`."""
    if isinstance(error, Unfit):
        return Unfit(error.args[0], step + error.path)
    return Unfit(f"Invalid enum value {error.args[0]}", step)


def values_of(message: Descriptor) -> Values:
    """What gives the values of a type's messages; it raises `Unfit` for what no event has.

    Fields of a newer writer are among them under their number.
    """
    return _Compiled().message(message)


class _Compiled:
    """The message types on the way, each compiled once: one may contain itself."""

    def __init__(self) -> None:
        self._known: dict[str, Values] = {}

    def message(self, message: Descriptor) -> Values:
        """See `values_of`."""
        name, known = message.full_name, self._known
        if name not in known:
            known[name] = lambda given: known[name](given)  # what it contains is compiled first, and may be itself
            known[name] = _values(message, [self._field(field) for field in message.fields])
        return known[name]

    def _field(self, field: FieldDescriptor) -> _Convert | None:
        """How the field's value becomes a plain one; None: it is one."""
        if is_map(field):
            entry = entry_fields(field)
            return _mapped(entry["key"].type == FieldDescriptor.TYPE_BOOL, self._one(entry["value"]))
        one = self._one(field)
        if not is_repeated(field):
            return one
        return list if one is None else _listed(one)

    def _one(self, field: FieldDescriptor) -> _Convert | None:
        if field.enum_type is not None:
            names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
            return names.__getitem__
        if (message := field.message_type) is None:
            return None
        if message.full_name in WRAPPERS:
            convert = self._one(message.fields_by_name["value"])
            return attrgetter("value") if convert is None else lambda wrapper: convert(wrapper.value)
        return _WELL_KNOWN.get(message.full_name) or self.message(message)


def _values(message: Descriptor, converts: Sequence[_Convert | None]) -> Values:
    """One function for each message type, made of its fields' names: asked in a loop, they cost half as much more."""
    names: dict[str, Any] = {
        "__name__": __name__,
        "unfit": _UNFIT,
        "first_unfit": partial(_first_unfit, message, converts),
        "unknown": UnknownFieldSet,
        "of_newer_writer": partial(_of_newer_writer, message),
        **{f"_{index}": convert for index, convert in enumerate(converts)},
    }
    always, optional = [], []
    for index, field in enumerate(message.fields):
        # Protobuf's names are identifiers, but some of Python's words are among them.
        got = f"getattr(given, {field.name!r})" if iskeyword(field.name) else f"given.{field.name}"
        value = got if converts[index] is None else f"_{index}({got})"
        if field.has_presence:
            optional.append(f"  if has({field.name!r}): made[{field.name!r}] = {value}")
        else:
            always.append(f"{field.name!r}: {value}")
    lines = [
        "def values(given):",
        " has = given.HasField",
        " try:",
        f"  made = {{{', '.join(always)}}}",
        *optional,
        " except unfit:",
        "  raise first_unfit(given) from None",
        " if len(unknown(given)):",
        "  made.update(of_newer_writer(given))",
        " return made",
    ]
    exec("\n".join(lines), names)  # noqa: S102 - of a descriptor, whose names are letters, digits and underscores
    values: Values = names["values"]
    return values


def _first_unfit(message: Descriptor, converts: Sequence[_Convert | None], given: Message) -> Exception:
    for field, convert in zip(message.fields, converts, strict=True):
        if convert is not None and (not field.has_presence or given.HasField(field.name)):
            try:
                convert(getattr(given, field.name))
            except _UNFIT as error:
                return _below(error, f".{field.name}")
    raise AssertionError(message.full_name)


def _of_newer_writer(message: Descriptor, given: Message) -> Iterable[tuple[str, Any]]:
    """The fields that the declared type doesn't have, by number.

    Raises:
        Unfit: It has one of the number, which is written otherwise.
    """
    for field in iter(UnknownFieldSet(given)):
        if (known := message.fields_by_number.get(field.field_number)) is not None:
            if known.enum_type is not None and field.wire_type == 0:
                raise Unfit(f"Invalid enum value {field.data}", f".{known.name}")
            written = _WIRE_TYPES[field.wire_type]
            raise Unfit(f"Field {known.number} is written as {written}, by another schema", f".{known.name}")
        yield str(field.field_number), field.data if isinstance(field.data, int | bytes) else "a group"


def _listed(one: _Convert) -> _Convert:
    def listed(values: Sequence[Any]) -> list[Any]:
        try:
            return list(map(one, values))
        except _UNFIT:
            for index, value in enumerate(values):
                try:
                    one(value)
                except _UNFIT as error:
                    raise _below(error, f"[{index}]") from None
            raise

    return listed


def _mapped(of_bools: bool, one: _Convert | None) -> _Convert:
    """JSON's keys are texts."""

    def mapped(values: Mapping[Any, Any]) -> dict[str, Any]:
        try:
            return {
                str(key).lower() if of_bools else str(key): value if one is None else one(value)
                for key, value in values.items()
            }
        except _UNFIT as error:
            raise _below(error, "[...]") from None

    return mapped


def _timestamp(value: Any) -> dt.datetime:
    """To the microsecond that lies before it."""
    seconds, nanos = value.seconds, value.nanos
    try:
        if 0 <= nanos < _NANOS:
            return _EPOCH + dt.timedelta(0, seconds, nanos // 1000)
    except OverflowError:
        pass
    raise Unfit(f"Invalid timestamp of {seconds} seconds and {nanos} nanoseconds")


def _duration(value: Any) -> Decimal:
    """In seconds."""
    return Decimal(value.seconds * _NANOS + value.nanos).scaleb(-9)


def _json_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    given = getattr(value, kind)
    convert = {"struct_value": _json_object, "list_value": _json_list}.get(kind)
    return given if convert is None else convert(given)


def _json_object(value: Any) -> dict[str, Any]:
    return {key: _json_value(inner) for key, inner in value.fields.items()}


def _json_list(value: Any) -> list[Any]:
    return [_json_value(inner) for inner in value.values]


_WELL_KNOWN: Mapping[str, _Convert] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Struct": _json_object,
    "google.protobuf.Value": _json_value,
    "google.protobuf.ListValue": _json_list,
}
