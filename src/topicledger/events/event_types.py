"""How the fields of an event type travel as Arrow arrays; and what of a declaration can't fit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import inspect

from topicledger.columns import PLAIN_DECIMAL, arrow_type, event_fields
from topicledger.errors import SettingsError
from topicledger.pipeline import Pipeline

_BOUNDS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


def columns_schema(pipeline: Pipeline) -> pa.Schema:
    """The Arrow schema of the pipeline's clean columns."""
    return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=c.nullable) for c in pipeline.columns])


def field_types(pipeline: Pipeline) -> dict[str, pa.DataType]:
    """Give the Arrow type of each of the event's fields, by the field's name.

    A field that isn't flat (a list, an object, bytes) has none: it doesn't reach the clean-up.

    Raises:
        SettingsError: msgspec can't decode the event, or a check or a column asks of a field what it can't give.
    """
    columns = {column.name: column for column in pipeline.columns}
    types: dict[str, pa.DataType] = {}
    for field in event_fields(pipeline.event):
        column = columns.get(field.name)
        if column is not None and field.nullable and not column.nullable:
            raise SettingsError(
                f"pipeline {pipeline.name}: the field {field.name} may be null, its column may not: declare the column "
                "with nullable=True, or the field without None"
            )
        if field.type is not None:
            utc = any(getattr(member, "tz", None) is False for member in field.members)
            exact = column.type if column and column.type.startswith("decimal") else PLAIN_DECIMAL
            kind = exact if field.type == PLAIN_DECIMAL else field.type
            types[field.name] = pa.timestamp("us") if utc else arrow_type(kind)
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
        or (pa.types.is_timestamp(given) and pa.types.is_date(column))
    )


def _loses_digits(given: pa.DataType, column: pa.DataType) -> bool:
    """Whether a decimal column may have too few digits for a decimal or a whole number."""
    before_point, behind_point = 20 if pa.types.is_integer(given) else 0, 0
    if isinstance(given, pa.Decimal128Type):
        before_point, behind_point = given.precision - given.scale, given.scale
    assert isinstance(column, pa.Decimal128Type)  # noqa: S101 - no column has another kind
    return bool(before_point > column.precision - column.scale or behind_point > column.scale)


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


def plain_values(event: type[msgspec.Struct]) -> Mapping[str, Callable[[Any], Any]]:
    """How the values that aren't Arrow's own become such, by the field's name; NULL aside."""
    plain: dict[str, Callable[[Any], Any]] = {}
    for field in event_fields(event):
        if any(isinstance(member, inspect.EnumType) for member in field.members):
            plain[field.name] = lambda value: getattr(value, "value", value)
        elif field.type == "uuid":
            plain[field.name] = str
    return plain


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
    types = {field.name: field.type for field in msgspec.structs.fields(pipeline.event)}
    return {
        field.name: types[field.name]
        for field in event_fields(pipeline.event)
        if field.name in columns.names
        and kinds.get(field.name) == columns.field(field.name).type
        and any(getattr(member, bound, None) is not None for member in field.members for bound in _BOUNDS)
    }
