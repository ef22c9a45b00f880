"""How the fields of an event type travel as Arrow arrays; and what of a declaration can't fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import inspect

from topicledger.columns import Column, arrow_type, staged_type
from topicledger.errors import SettingsError
from topicledger.event_fields import EventField, described, event_fields, field_of
from topicledger.pipeline import Pipeline

_BOUNDS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


def clean_schema(pipeline: Pipeline) -> pa.Schema:
    """The Arrow schema of the pipeline's clean columns."""
    return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=c.nullable) for c in pipeline.columns])


def staged_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of columns in a staged file."""
    return pa.schema([pa.field(c.name, staged_type(c.type), nullable=c.nullable) for c in columns])


def used_fields(pipeline: Pipeline) -> Mapping[str, EventField]:
    """The fields that become arrays, by their path: the event's own, and the nested ones that are asked for.

    Raises:
        SettingsError: msgspec can't decode the event, or a check or a column asks of a field what it can't give.
    """
    fields = {field.path: field for field in event_fields(pipeline.event)}
    for check in pipeline.checks:
        field = field_of(pipeline.event, Column(check.field))
        if field is None or field.type != "text":
            raise SettingsError(
                f"pipeline {pipeline.name} checks {check.field!r}, which is no text field of {pipeline.event.__name__}",
                code="check-field-not-text",
            )
        fields[field.path] = field
        try:
            pc.match_substring_regex(pa.array([""]), check.pattern)
        except pa.ArrowException as error:
            raise SettingsError(
                f"pipeline {pipeline.name}: the pattern {check.pattern!r:.200} for {check.field} isn't valid RE2, "
                f"which has no look-around and no back references: {error}. Correct the pattern",
                code="check-pattern-invalid",
            ) from error
    for column in pipeline.columns:
        field = field_of(pipeline.event, column)
        if field is None:
            continue
        if field.nullable and not column.nullable:
            raise SettingsError(
                f"pipeline {pipeline.name}: the field {field.path} may be null, its column may not: declare the column "
                "with nullable=True, or the field without None",
                code="nullable-field",
            )
        if field.type.startswith("decimal") and column.type.startswith("decimal"):
            field = field._replace(type=column.type)
        fields[field.path] = field
    return fields


def field_type(field: EventField) -> pa.DataType:
    """The Arrow type in which a field reaches the clean-up and the columns; that of a nested one is text, its JSON."""
    utc = any(getattr(member, "tz", None) is False for member in field.members if not field.epoch)
    return pa.timestamp("us") if utc and field.type == "timestamptz" else arrow_type(field.type)


def nested_type(kind: inspect.Type, within: tuple[type, ...] = ()) -> pa.DataType | None:
    """The Arrow type in which the clean-up sees a nested field: structs and lists.

    Args:
        kind: The field's type.
        within: The structs that it lies in.

    Returns:
        None where it has none (an object of any keys, a union, what contains itself): the clean-up sees its JSON.
    """
    field = described("", kind, unset=False)
    if field.type != "json":
        return _NUMBERS[field.epoch] if field.epoch else field_type(field)
    member = field.members[0] if len(field.members) == 1 else None
    if isinstance(member, inspect.CollectionType):
        items = nested_type(member.item_type, within)
        return None if items is None else pa.list_(items)
    if isinstance(member, inspect.StructType) and not member.array_like and member.cls not in within:
        inner = {one.encode_name: nested_type(one.type, (*within, member.cls)) for one in member.fields}
        fields = [pa.field(name, kind) for name, kind in inner.items() if kind is not None]
        return pa.struct(fields) if 0 < len(fields) == len(inner) else None
    return None


_NUMBERS: Mapping[str, pa.DataType] = {"s": pa.float64(), "ms": pa.int64(), "us": pa.int64()}


def depends_on_values(given: pa.DataType, column: pa.DataType) -> bool:
    """Whether it depends on the values if an array of one type can be cast to another one: then one stops a batch."""
    text = pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given)
    if pa.types.is_decimal(column):
        return text or pa.types.is_floating(given) or _loses_digits(given, column)
    return (
        (text and not pa.types.is_string(column))
        or (pa.types.is_floating(given) and pa.types.is_integer(column))
        or (pa.types.is_decimal(given) and not pa.types.is_string(column))
        or (given in (pa.int64(), pa.uint64()) and pa.types.is_floating(column))
        or (pa.types.is_timestamp(given) and (pa.types.is_date(column) or pa.types.is_time(column)))
        or (pa.types.is_binary(given) and pa.types.is_string(column))
    )


def _loses_digits(given: pa.DataType, column: pa.DataType) -> bool:
    """Whether a decimal column may have too few digits for a decimal or a whole number."""
    before_point, behind_point = 20 if pa.types.is_integer(given) else 0, 0
    if isinstance(given, pa.Decimal128Type):
        before_point, behind_point = given.precision - given.scale, given.scale
    assert isinstance(column, pa.Decimal128Type)  # noqa: S101 - no column has another kind
    return bool(before_point > column.precision - column.scale or behind_point > column.scale)


def bounded_columns(pipeline: Pipeline) -> Mapping[str, Any]:
    """The types of the fields with a bound, length or pattern (`msgspec.Meta`), where a column has their name and type.

    What the clean-up makes of such a field has to stay within them.
    """
    columns = clean_schema(pipeline)
    types = {field.name: field.type for field in msgspec.structs.fields(pipeline.event)}
    return {
        field.path: types[field.path]
        for field in event_fields(pipeline.event)
        if field.path in columns.names
        and field.type != "json"
        and not field.epoch
        and field_type(field) == columns.field(field.path).type
        and any(getattr(member, bound, None) is not None for member in field.members for bound in _BOUNDS)
    }
