"""A column's type, once: event field -> Arrow -> staged file -> each warehouse. Pure; imports nothing large."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from topicledger.errors import SettingsError

if TYPE_CHECKING:
    import msgspec
    import pyarrow as pa
    from msgspec import inspect


class _Type(NamedTuple):
    """One type of column.

    Args:
        field: The event's field that it holds, by its `msgspec.inspect` type; empty: only the engine has such columns.
        arrow: Makes its Arrow type, of pyarrow: while it is judged, staged, and in Parquet files.
        postgres: Its name, spelled as the catalogue spells it.
        duckdb: The same in DuckDB.
        snowflake: The same in Snowflake.
    """

    field: str
    arrow: Callable[..., Any]
    postgres: str
    duckdb: str
    snowflake: str


# A UUID is text on its way: Parquet's own type for it isn't read everywhere. So is JSON.
_TYPES = {
    "uuid": _Type("UUID", lambda pa: pa.string(), "uuid", "UUID", "VARCHAR"),
    "int64": _Type("Int", lambda pa: pa.int64(), "bigint", "BIGINT", "NUMBER(38,0)"),
    "float64": _Type("Float", lambda pa: pa.float64(), "double precision", "DOUBLE", "FLOAT"),
    "text": _Type("Str", lambda pa: pa.string(), "text", "VARCHAR", "VARCHAR"),
    "bool": _Type("Bool", lambda pa: pa.bool_(), "boolean", "BOOLEAN", "BOOLEAN"),
    "timestamptz": _Type(
        "DateTime",
        lambda pa: pa.timestamp("us", "UTC"),
        "timestamp with time zone",
        "TIMESTAMP WITH TIME ZONE",
        "TIMESTAMP_TZ",
    ),
    "decimal": _Type(
        "Decimal", lambda pa, p, s: pa.decimal128(p, s), "numeric({},{})", "DECIMAL({},{})", "NUMBER({},{})"
    ),
    "date": _Type("Date", lambda pa: pa.date32(), "date", "DATE", "DATE"),
    "int32": _Type("", lambda pa: pa.int32(), "integer", "INTEGER", "NUMBER(38,0)"),
    "bytes": _Type("", lambda pa: pa.binary(), "bytea", "BLOB", "BINARY"),
    "json": _Type("", lambda pa: pa.string(), "jsonb", "JSON", "VARIANT"),
}

COLUMN_TYPES = tuple(f"{kind}(p,s)" if kind == "decimal" else kind for kind, known in _TYPES.items() if known.field)
"""What a pipeline's column may be. `timestamptz` is microseconds in UTC; a decimal has p digits, s behind the point."""

TYPE_PATTERN = rf"^({'|'.join(_TYPES)})(\(\d+, ?\d+\))?$"
"""What any column may be."""

PLAIN_DECIMAL = "decimal(38,9)"
"""The column of a `Decimal` field that nothing else is declared for."""

_OF_FIELDS = {known.field: PLAIN_DECIMAL if kind == "decimal" else kind for kind, known in _TYPES.items()}

# Of all warehouses Snowflake takes the fewest digits behind the point.
_MOST_DIGITS, _MOST_BEHIND_POINT = 38, 37
_DECIMAL = re.compile(r"decimal\(([1-9]\d?), ?(0|[1-9]\d?)\)\Z")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        name: The column's name; a pipeline's never starts with an underscore (those are the engine's own).
        type: Its type: one of `COLUMN_TYPES`, such as `text` or `decimal(12,2)`.
        nullable: Whether NULL is allowed. NULL and the empty string stay different.
    """

    name: str
    type: str
    nullable: bool = False


def is_column_type(kind: object) -> bool:
    """Whether a pipeline's column may have this type."""
    if not isinstance(kind, str):
        return False
    name, digits = _parsed(kind)
    if name == "decimal":
        return len(digits) == 2 and digits[1] <= digits[0] <= _MOST_DIGITS and digits[1] <= _MOST_BEHIND_POINT
    return name in _TYPES and _TYPES[name].field != ""


def arrow_type(kind: str) -> pa.DataType:
    """A column type's Arrow type: while it is judged, staged, and in Parquet files."""
    import pyarrow as pa

    name, digits = _parsed(kind)
    made: pa.DataType = _TYPES[name].arrow(pa, *digits)
    return made


def sql_type(kind: str, warehouse: Literal["postgres", "duckdb", "snowflake"]) -> str:
    """A column type's name in a warehouse, as its catalogue spells it."""
    name, digits = _parsed(kind)
    return str(getattr(_TYPES[name], warehouse)).format(*digits)


def _parsed(kind: str) -> tuple[str, tuple[int, ...]]:
    """The key of a type in the table, and a decimal's digits in all and behind the point."""
    decimal = _DECIMAL.match(kind)
    return ("decimal", (int(decimal[1]), int(decimal[2]))) if decimal else (kind, ())


def columns_of(event: type[msgspec.Struct], *declared: Column) -> tuple[Column, ...]:
    """The event's own columns, one for each field, in the fields' order.

    Args:
        event: The event type.
        declared: Columns that are declared otherwise, each in the place of the field of its name; what isn't a
            field's (the clean-up makes it) comes behind the others.

    Raises:
        SettingsError: msgspec can't decode the event, or no column holds a field.
    """
    by_name = {column.name: column for column in declared}
    own = tuple(by_name.get(field.name) or _own_column(event, field) for field in event_fields(event))
    return (*own, *(column for column in declared if column not in own))


def _own_column(event: type[msgspec.Struct], field: EventField) -> Column:
    if field.type is None:
        kinds = " or ".join(type(member).__name__.removesuffix("Type").lower() for member in field.members)
        raise SettingsError(
            f"the field {field.name} of the event type {event.__name__} is {kinds or 'always null'}, which no column "
            "holds. Declare it otherwise, or take it out of the event type: it is then ignored, and counted among the "
            "unknown fields"
        )
    return Column(field.name, field.type, field.nullable)


class EventField(NamedTuple):
    """A field of an event type.

    Args:
        name: Its name in Python, which its column has.
        members: The plain types that its value may have, null aside.
        nullable: Whether it may be null, or `msgspec.UNSET` where a record doesn't have it.
        type: The type of the column that holds all of these; None: no column does.
    """

    name: str
    members: tuple[inspect.Type, ...]
    nullable: bool
    type: str | None


def event_fields(event: type[msgspec.Struct]) -> tuple[EventField, ...]:
    """The fields of an event type, in their order.

    Raises:
        SettingsError: msgspec can't decode the event.
    """
    from msgspec import UNSET, inspect, structs

    try:
        described = inspect.type_info(event)
        unset = {field.name for field in structs.fields(event) if field.default is UNSET}
    except Exception as error:  # a name that isn't there, a union that can't be told apart, whatever msgspec refuses
        raise SettingsError(
            f"the event type {event.__name__} can't be decoded: {type(error).__name__}: {error}. Correct its fields"
        ) from error
    assert isinstance(described, inspect.StructType)  # noqa: S101 - `event` is a Struct
    fields = []
    for field in described.fields:
        given = _members(field.type)
        members = tuple(member for member in given if not isinstance(member, inspect.NoneType))
        for member in members:
            if isinstance(member, inspect.CustomType):
                raise SettingsError(
                    f"the field {field.name} of the event type {event.__name__} is a {member.cls.__name__}, which "
                    "msgspec can't make of JSON: declare the field with a type that it can"
                )
        kinds = {_member_type(member) for member in members}
        nullable = len(members) < len(given) or field.name in unset
        fields.append(EventField(field.name, members, nullable, kinds.pop() if len(kinds) == 1 else None))
    return tuple(fields)


def _members(kind: inspect.Type) -> list[inspect.Type]:
    """The plain types that a field may have, without the title or description that a `msgspec.Meta` may add."""
    from msgspec import inspect

    if isinstance(kind, inspect.Metadata):
        return _members(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [member for each in kind.types for member in _members(each)]
    if isinstance(kind, inspect.LiteralType) and None in kind.values:
        values = tuple(value for value in kind.values if value is not None)
        return [inspect.NoneType(), inspect.LiteralType(values)] if values else [inspect.NoneType()]
    return [kind]


def _member_type(member: inspect.Type) -> str | None:
    from msgspec import inspect

    if isinstance(member, inspect.LiteralType):
        values: tuple[object, ...] = member.values
    elif isinstance(member, inspect.EnumType):
        values = tuple(choice.value for choice in member.cls)
    else:
        return _OF_FIELDS.get(type(member).__name__.removesuffix("Type"))
    texts = [isinstance(value, str) for value in values]
    return "text" if all(texts) else None if any(texts) else "int64"
