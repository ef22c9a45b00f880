"""An event type made of an Avro schema, so that nobody writes its fields twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from topicledger.avro_schema import InvalidSchema, Type, parse
from topicledger.errors import SettingsError
from topicledger.field_types import Digits

_ZONED = {zoned: Annotated[dt.datetime, msgspec.Meta(tz=zoned)] for zoned in (True, False)}
_PLAIN: Mapping[str, Any] = {
    "null": None,
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "bytes": bytes,
    "fixed": bytes,
    "string": str,
    "uuid": UUID,
    "date": dt.date,
    "time-millis": dt.time,
    "time-micros": dt.time,
    "timestamp-millis": _ZONED[True],
    "timestamp-micros": _ZONED[True],
    "local-timestamp-millis": _ZONED[False],
    "local-timestamp-micros": _ZONED[False],
}


def event_of_avro(text: str) -> type[msgspec.Struct]:
    """Make the event type of a record's schema: a field for each of its own, records in it as types of their own.

    What no one type holds, a union of several and a record inside of itself, is `Any`: a json column takes it. The
    class pickles as the call that makes it.

    Args:
        text: The schema, as JSON.

    Raises:
        SettingsError: It is no record's schema.
    """
    try:
        schema = parse(text)
    except InvalidSchema as error:
        raise SettingsError(f"the Avro schema isn't valid, {error}: correct it", code="avro-schema-invalid") from error
    if schema.kind != "record":
        raise SettingsError(
            f"the Avro schema is of {schema}: an event has fields, so name a record's schema",
            code="avro-schema-invalid",
        )
    return _record(schema, {}, {"made_by": (event_of_avro, (text,))})


def _record(schema: Type, known: dict[Type, Any], namespace: dict[str, Any]) -> type[msgspec.Struct]:
    known[schema] = Any
    fields = [(field.name, _of(field.type, known)) for field in schema.fields]
    name = schema.name.rpartition(".")[2]
    made = msgspec.defstruct(name, fields, frozen=True, gc=False, module=__name__, namespace=namespace)
    known[schema] = made
    return made


def _of(schema: Type, known: dict[Type, Any]) -> Any:
    if schema.kind == "record":
        return known[schema] if schema in known else _record(schema, known, {})
    if schema.kind == "union":
        branches = [branch for branch in schema.inner if branch.kind != "null"]
        if len(branches) != 1:
            return Any if branches else None
        one = _of(branches[0], known)
        return one | None if len(branches) < len(schema.inner) else one
    if schema.logical == "decimal":
        return Annotated[Decimal, Digits(schema.precision, schema.scale)]
    if schema.kind == "enum":
        return Literal[schema.symbols]
    if schema.kind == "array":
        return list[_of(schema.inner[0], known)]  # type: ignore[misc] # mypy knows no type that is made here
    if schema.kind == "map":
        return dict[str, _of(schema.inner[0], known)]  # type: ignore[misc]
    return _PLAIN[schema.logical or schema.kind]
