"""In which format records are, told by some of them: plain JSON, in an envelope, or in Confluent's framing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from topicledger.avro_schema import InvalidSchema, parse
from topicledger.formats import Avro, Format, Json, JsonSchema
from topicledger.model.schemas import RegisteredSchema

_LOOKED_AT = 200
_FRAME = 5
_PLACES = ("lsn", "change_lsn", "scn", "file", "pos")
"""What Debezium's connectors say of where in the database's log a change lies."""
_OF_KINDS: dict[str, tuple[Format, str]] = {"AVRO": (Avro(), "Avro()"), "JSON": (JsonSchema(), "JsonSchema()")}


class Recognised(NamedTuple):
    """A format.

    Args:
        format: The format, as a pipeline declares it.
        source: The same in the DAG file; empty for the default.
        asked: What an event of it has only where its type asks for it.
    """

    format: Format = Json()
    source: str = ""
    asked: tuple[str, ...] = ()


def framed_with(values: Sequence[bytes | None]) -> bytes | None:
    """The newest value in Confluent's framing, where most are; None: they aren't."""
    there = [value for value in values[-_LOOKED_AT:] if value]
    framed = [value for value in there if value[0] == 0 and len(value) > _FRAME]
    return framed[-1] if 2 * len(framed) > len(there) else None


def of_kind(kind: str) -> Recognised | None:
    """The format of framed values, by the kind of their schema as a registry has it; None: no format of ours."""
    known = _OF_KINDS.get(kind)
    return known and Recognised(*known)


def nullable_fields(schema: RegisteredSchema) -> frozenset[str]:
    """The fields that may be null, as an Avro schema says: a sample that has none may have been lucky."""
    try:
        fields = parse(schema.text, schema.references).fields if schema.kind == "AVRO" else ()
    except InvalidSchema:
        return frozenset()
    return frozenset(field.name for field in fields if any(branch.kind == "null" for branch in field.type.inner))


def of_json(values: Sequence[bytes | None], *, framed: bool = False) -> Recognised:
    """The envelope that most of these values are in; of a change, with the operation and its place in the log.

    Args:
        values: Some of the records' values.
        framed: Whether they are in Confluent's framing.
    """
    documents = [*_objects(value[_FRAME if framed else 0 :] for value in values[-_LOOKED_AT:] if value)]
    inner = [d["payload"] for d in documents if d.keys() == {"schema", "payload"} and isinstance(d["payload"], dict)]
    in_connect = 2 * len(inner) > len(documents)
    changes = [d for d in (inner if in_connect else documents) if {"op", "source"} <= d.keys()]
    changes = [d for d in changes if {"before", "after"} & d.keys() and isinstance(d["source"], dict)]
    name = "JsonSchema" if framed else "Json"
    declared = JsonSchema if framed else Json
    if changes and 2 * len(changes) > len(documents):
        places = [f"__source_{place}" for place in _PLACES if changes[-1]["source"].get(place) is not None]
        return Recognised(declared("debezium"), f'{name}(envelope="debezium")', ("__op", *places, "__ts_ms"))
    if in_connect:
        return Recognised(declared("connect"), f'{name}(envelope="connect")')
    return Recognised(declared(), "JsonSchema()" if framed else "")


def _objects(values: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for value in values:
        try:
            document = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(document, dict):
            yield document
