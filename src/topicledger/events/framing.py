"""Confluent's framing: a zero byte and the id of the writer's schema, in four bytes, before what was serialized.

Serializers that were told to put a schema's GUID into a header instead send values without it.
"""

from __future__ import annotations

from topicledger.errors import RejectedRecord, SettingsError
from topicledger.model.schemas import RegisteredSchema, Schemas

FRAME = 5
"""Bytes of the frame."""

_MAGIC = b"\0"
_LIKE = ((b"{", "a JSON object"), (b"[", "a JSON array"), (b'"', "a JSON text"), (b"Obj\x01", "an Avro file"))


def schema_id(value: bytes) -> int | None:
    """The id of the schema that a value was written with, or None where it isn't framed."""
    return int.from_bytes(value[1:FRAME]) if len(value) >= FRAME and value[:1] == _MAGIC else None


def not_framed(value: bytes) -> RejectedRecord:
    """Say of a value that isn't framed what it looks like instead."""
    if not value:
        return RejectedRecord("empty_value", "the value has no bytes; Confluent's framing was expected")
    if value[:1] == _MAGIC:
        return RejectedRecord(
            "not_framed", f"the value ends within Confluent's framing: {len(value)} bytes, the frame alone has {FRAME}"
        )
    like = next((f"; it looks like {what}" for start, what in _LIKE if value.lstrip().startswith(start)), "")
    return RejectedRecord(
        "not_framed",
        f"the value doesn't begin with the zero byte of Confluent's framing but with 0x{value[:1].hex()}{like}",
    )


def registered(registry: Schemas | None, number: int, kind: str) -> RegisteredSchema:
    """The schema that a value was written with.

    Args:
        registry: Gives it.
        number: Its id.
        kind: What it has to describe, in the registry's words.

    Raises:
        RejectedRecord: The registry doesn't have it, or it describes something else.
        SettingsError: There is no registry.
    """
    if registry is None:
        raise SettingsError(
            "the records' schemas are in a schema registry, and no connection of one was given: name it, "
            'ledger_dag(..., registry="schema_registry_default")',
            code="registry-not-given",
        )
    schema = registry(number)
    if schema.kind != kind:
        sentence = f"schema {number} of the registry is no {kind.capitalize()} schema but of kind {schema.kind}"
        raise RejectedRecord("unresolved_schema", sentence)
    return schema
