"""How the fields of an event type travel as Arrow arrays; and what of a declaration can't fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import inspect

from topicledger.errors import SettingsError
from topicledger.pipeline import ColumnType, Pipeline

COLUMN_TYPES: Mapping[ColumnType, pa.DataType] = {
    "uuid": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
}
"""How a column travels between the judge and the staged file."""

_FIELD_TYPES: Mapping[type[inspect.Type], pa.DataType] = {
    inspect.IntType: pa.int64(),
    inspect.FloatType: pa.float64(),
    inspect.StrType: pa.string(),
    inspect.BoolType: pa.bool_(),
    inspect.DateTimeType: pa.timestamp("us", tz="UTC"),
    inspect.DateType: pa.date32(),
}

_BOUNDS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


def columns_schema(pipeline: Pipeline) -> pa.Schema:
    """The Arrow schema of the pipeline's clean columns."""
    return pa.schema([pa.field(c.name, COLUMN_TYPES[c.type], nullable=c.nullable) for c in pipeline.columns])


def field_types(pipeline: Pipeline) -> dict[str, pa.DataType]:
    """Give the Arrow type of each of the event's fields, by the field's name.

    A field that isn't flat (a list, an object, bytes) has none: it doesn't reach the clean-up.

    Raises:
        SettingsError: msgspec can't decode the event, or a check or a column asks of a field what it can't give.
    """
    try:
        event = inspect.type_info(pipeline.event)
    except Exception as error:  # a name that isn't there, a union that can't be told apart, whatever msgspec refuses
        raise SettingsError(
            f"pipeline {pipeline.name}: the event type {pipeline.event.__name__} can't be decoded: "
            f"{type(error).__name__}: {error}. Correct its fields"
        ) from error
    assert isinstance(event, inspect.StructType)  # noqa: S101 - `event` is declared as a Struct
    columns = {column.name: column for column in pipeline.columns}
    types: dict[str, pa.DataType] = {}
    for field in event.fields:
        members = _members(field.type)
        nullable = any(isinstance(member, inspect.NoneType) for member in members) or field.default is msgspec.UNSET
        custom = next((member.cls for member in members if isinstance(member, inspect.CustomType)), None)
        if custom is not None:
            raise SettingsError(
                f"pipeline {pipeline.name}: the field {field.name} is a {custom.__name__}, which msgspec can't make of "
                "JSON: declare the field with a type that it can"
            )
        column = columns.get(field.name)
        if column is not None and nullable and not column.nullable:
            raise SettingsError(
                f"pipeline {pipeline.name}: the field {field.name} may be null, its column may not: declare the column "
                "with nullable=True, or the field without None"
            )
        kind = _arrow_type([member for member in members if not isinstance(member, inspect.NoneType)])
        if kind is not None:
            types[field.name] = kind
    for check in pipeline.checks:
        if types.get(check.field) != pa.string():
            raise SettingsError(
                f"pipeline {pipeline.name} checks {check.field!r}, which is no text field of {pipeline.event.__name__}"
            )
        try:
            pc.match_substring_regex(pa.array([""]), check.pattern)
        except pa.ArrowException as error:
            raise SettingsError(
                f"pipeline {pipeline.name}: the pattern {check.pattern!r:.200} for {check.field} isn't valid RE2, "
                f"which has no look-around and no back references: {error}. Correct the pattern"
            ) from error
    return types


def _members(kind: inspect.Type) -> list[inspect.Type]:
    """The plain types that a field may have, without the title or description that a `msgspec.Meta` may add."""
    if isinstance(kind, inspect.Metadata):
        return _members(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [member for each in kind.types for member in _members(each)]
    if isinstance(kind, inspect.LiteralType) and None in kind.values:
        values = tuple(value for value in kind.values if value is not None)
        return [inspect.NoneType(), inspect.LiteralType(values)] if values else [inspect.NoneType()]
    return [kind]


def _arrow_type(members: Sequence[inspect.Type]) -> pa.DataType | None:
    """The one flat type that all members have, if any."""
    kinds = {_member_type(member) for member in members}
    return kinds.pop() if len(kinds) == 1 else None


def _member_type(member: inspect.Type) -> pa.DataType | None:
    if isinstance(member, inspect.LiteralType):
        texts = [isinstance(value, str) for value in member.values]
        return pa.string() if all(texts) else None if any(texts) else pa.int64()
    return _FIELD_TYPES.get(type(member))


def depends_on_values(given: pa.DataType, column: pa.DataType) -> bool:
    """Whether it depends on the values if an array of one type can be cast to another one: then one stops a batch."""
    text = pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given)
    return (
        (text and not pa.types.is_string(column))
        or ((pa.types.is_floating(given) or pa.types.is_decimal(given)) and pa.types.is_integer(column))
        or (given in (pa.int64(), pa.uint64()) and pa.types.is_floating(column))
        or (pa.types.is_timestamp(given) and pa.types.is_date(column))
    )


def strict_type(pipeline: Pipeline) -> type[msgspec.Struct]:
    """The event type, but that it refuses fields which it doesn't have.

    Raises:
        SettingsError: The event type can't be derived from.
    """
    event, config = pipeline.event, pipeline.event.__struct_config__
    try:
        # The tag as it is: one that is made of the class's name would be another for this class.
        return msgspec.defstruct(
            event.__name__,
            [],
            bases=(event,),
            module=event.__module__,
            tag=config.tag,
            tag_field=config.tag_field,
            forbid_unknown_fields=True,
        )
    except Exception as error:  # whatever its own `__init_subclass__` raises
        raise SettingsError(
            f"pipeline {pipeline.name}: no class can be derived from the event type {event.__name__}, which the judge "
            f"does to find unknown fields: {type(error).__name__}: {error}. Let it be derived from without arguments"
        ) from error


def unset_names(event: type[msgspec.Struct]) -> frozenset[str]:
    """The fields that have `msgspec.UNSET` where a record doesn't have them; a column has NULL."""
    return frozenset(field.name for field in msgspec.structs.fields(event) if field.default is msgspec.UNSET)


def encoded_names(event: type[msgspec.Struct]) -> frozenset[str]:
    """The names that the event's fields have in JSON, and its tag's."""
    names = {field.encode_name for field in msgspec.structs.fields(event)}
    tag_field = event.__struct_config__.tag_field
    return frozenset(names if tag_field is None else {*names, tag_field})


def bounded_columns(pipeline: Pipeline) -> Mapping[str, Any]:
    """The types of the fields with a bound, length or pattern (`msgspec.Meta`), where a column has their name and type.

    What the clean-up makes of such a field has to stay within them.
    """
    columns, kinds = columns_schema(pipeline), field_types(pipeline)
    return {
        field.name: field.type
        for field in msgspec.structs.fields(pipeline.event)
        if field.name in columns.names
        and kinds.get(field.name) == columns.field(field.name).type
        and any(
            getattr(member, bound, None) is not None
            for member in _members(inspect.type_info(field.type))
            for bound in _BOUNDS
        )
    }
