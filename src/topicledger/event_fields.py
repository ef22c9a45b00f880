"""The fields of an event type, and the column that each has unless it is declared otherwise. Imports nothing large."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from topicledger.columns import Column
from topicledger.errors import SettingsError

if TYPE_CHECKING:
    import msgspec
    from msgspec import inspect

_PLAIN_DECIMAL = (38, 9)
"""The digits of a `Decimal` field that none are declared for."""

_KINDS = {
    "Bool": "bool",
    "ByteArray": "bytes",
    "Bytes": "bytes",
    "Date": "date",
    "DateTime": "timestamptz",
    "Float": "float64",
    "Int": "int64",
    "Str": "text",
    "Time": "time",
    "TimeDelta": "text",
    "UUID": "uuid",
}
"""The type of the column of a flat field, by its `msgspec.inspect` type. Whatever has no flat column is JSON."""


class EventField(NamedTuple):
    """A field of an event type, or a field of one that is nested in it.

    Args:
        path: Its name in Python, and those of the fields that it lies in: `customer.id`.
        kind: Its `msgspec.inspect` type.
        members: The plain types that its value may have, null aside.
        nullable: Whether it, or what it lies in, may be null, or `msgspec.UNSET` where a record doesn't have it.
        type: The type of the column that holds it.
        epoch: The unit of a number that is a time: `s`, `ms`, `us`, or empty.
    """

    path: str
    kind: inspect.Type
    members: tuple[inspect.Type, ...]
    nullable: bool
    type: str
    epoch: str


def columns_of(event: type[msgspec.Struct], *declared: Column) -> tuple[Column, ...]:
    """The event's own columns, one for each field, in the fields' order.

    Args:
        event: The event type.
        declared: Columns that are declared otherwise, each in the place of the field that it holds; one of a nested
            field, or that the clean-up makes, comes behind the others.

    Raises:
        SettingsError: msgspec can't decode the event, or a column is of a nested field that it doesn't have.
    """
    by_source = {column.source: column for column in declared}
    fields = event_fields(event)
    own = tuple(by_source.get(field.path) or Column(field.path, field.type, field.nullable) for field in fields)
    return tuple(typed(event, column) for column in (*own, *(column for column in declared if column not in own)))


def typed(event: type[msgspec.Struct], column: Column) -> Column:
    """A column with a type: its own, or its field's.

    Raises:
        SettingsError: It has none, and no field; or it is of a nested field that the event type doesn't have.
    """
    field = field_of(event, column)
    if column.type:
        return column
    if field is None:
        raise SettingsError(
            f"the column {column.name} has no type, and the event type {event.__name__} no field {column.source}: "
            "declare the type, or the field",
            code="column-without-type",
        )
    return replace(column, type=field.type, nullable=field.nullable)


def field_of(event: type[msgspec.Struct], column: Column) -> EventField | None:
    """The field that a column holds; None where the clean-up has to make the column.

    Raises:
        SettingsError: It names a field that the event type doesn't have.
    """
    fields = event_fields(event)
    first, *rest = column.source.split(".")
    found = next((field for field in fields if field.path == first), None)
    for name in rest:
        found = found and _nested(found, name)
    if found is None and column.field:
        raise SettingsError(
            f"the column {column.name} is of the field {column.field}, which the event type {event.__name__} doesn't "
            "have: name a field, and with points one of a struct in it, such as customer.id",
            code="column-without-field",
        )
    return found


def event_fields(event: type[msgspec.Struct]) -> tuple[EventField, ...]:
    """The fields of an event type, in their order.

    Raises:
        SettingsError: msgspec can't decode the event.
    """
    from msgspec import inspect

    try:
        info = inspect.type_info(event)
    except Exception as error:  # a name that isn't there, a union that can't be told apart, whatever msgspec refuses
        raise SettingsError(
            f"the event type {event.__name__} can't be decoded: {type(error).__name__}: {error}. Correct its fields",
            code="event-type-undecodable",
        ) from error
    fields = _fields(info, "")
    for field in fields:
        for member in field.members:
            if isinstance(member, inspect.CustomType):
                raise SettingsError(
                    f"the field {field.path} of the event type {event.__name__} is a {member.cls.__name__}, which "
                    "msgspec can't make of JSON: declare the field with a type that it can",
                    code="field-not-json",
                )
    return fields


def _fields(struct: Any, inside: str) -> tuple[EventField, ...]:
    from msgspec import UNSET

    # Its description has no such default.
    unset = {name for name, default in _defaults(struct.cls).items() if default is UNSET}
    return tuple(described(f"{inside}{field.name}", field.type, unset=field.name in unset) for field in struct.fields)


def _defaults(cls: Any) -> Mapping[str, Any]:
    from msgspec import structs

    fields = structs.fields(cls) if hasattr(cls, "__struct_fields__") else dataclasses.fields(cls)
    return {field.name: field.default for field in fields}


def _nested(field: EventField, name: str) -> EventField | None:
    """A field of the struct that is in another one."""
    from msgspec import inspect

    structs = [m for m in field.members if isinstance(m, inspect.StructType | inspect.DataclassType)]
    if len(structs) != 1 or len(field.members) != 1:
        return None
    found = next((one for one in _fields(structs[0], f"{field.path}.") if one.path == f"{field.path}.{name}"), None)
    return found and found._replace(nullable=found.nullable or field.nullable)


def described(path: str, kind: inspect.Type, *, unset: bool) -> EventField:
    """A field by its type.

    Args:
        path: Where it lies.
        kind: Its `msgspec.inspect` type.
        unset: Whether it is `msgspec.UNSET` where a record doesn't have it.
    """
    from msgspec import inspect

    extra: dict[str, Any] = {}
    given = _members(kind, extra)
    members = tuple(member for member in given if not isinstance(member, inspect.NoneType))
    # Any may be null, too.
    nullable = unset or len(members) < len(given) or any(isinstance(member, inspect.AnyType) for member in members)
    epoch = str(extra.get("epoch", ""))
    return EventField(path, kind, members, nullable, "timestamptz" if epoch else _type_of(members, extra), epoch)


def _type_of(members: tuple[inspect.Type, ...], extra: Mapping[str, Any]) -> str:
    kinds = {_member_type(member, extra) for member in members}
    return kinds.pop() if len(kinds) == 1 else "json"


def _members(kind: inspect.Type, extra: dict[str, Any]) -> list[inspect.Type]:
    """The plain types that a field may have; what a `msgspec.Meta` adds for others goes into `extra`."""
    from msgspec import inspect

    if isinstance(kind, inspect.Metadata):
        extra.update(kind.extra or {})
        return _members(kind.type, extra)
    if isinstance(kind, inspect.UnionType):
        return [member for each in kind.types for member in _members(each, extra)]
    if isinstance(kind, inspect.LiteralType) and None in kind.values:
        values = tuple(value for value in kind.values if value is not None)
        return [inspect.NoneType(), inspect.LiteralType(values)] if values else [inspect.NoneType()]
    return [kind]


def _member_type(member: inspect.Type, extra: Mapping[str, Any]) -> str:
    from msgspec import inspect

    if isinstance(member, inspect.LiteralType):
        values: tuple[object, ...] = member.values
    elif isinstance(member, inspect.EnumType):
        values = tuple(choice.value for choice in member.cls)
    elif isinstance(member, inspect.DecimalType):
        digits, behind_point = extra.get("digits", _PLAIN_DECIMAL)
        return f"decimal({digits},{behind_point})"
    else:
        return _KINDS.get(type(member).__name__.removesuffix("Type"), "json")
    texts = [isinstance(value, str) for value in values]
    return "text" if all(texts) else "json" if any(texts) else "int64"
