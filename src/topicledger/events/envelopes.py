"""Envelopes around a JSON document, taken off: Kafka Connect's `schema` and `payload`, Debezium's change events."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from topicledger.errors import RejectedRecord
from topicledger.events.rejections import storable

Unwrap = Callable[[bytes], bytes | Raw]
"""Gives the document in an envelope. Raises as a decoder does, and `RejectedRecord` where there is no envelope."""

_Part = Raw | UnsetType
_NULL = Raw(b"null")
_SHOWN_KEYS = 12


class _Connect(msgspec.Struct, gc=False):
    schema: Raw
    payload: Raw


_connect = msgspec.json.Decoder(_Connect).decode


def unwrapping(envelope: Literal["connect", "debezium"], event: type[msgspec.Struct]) -> Unwrap:
    """What takes the envelope off.

    Of a change event the row is left, as it was after the change or, where that deleted it, before. What else the event
    says is put to it under the names that Debezium's own `ExtractNewRecordState` gives: `__op`, `__source_lsn`.

    Args:
        envelope: Which one; Connect's may be around Debezium's.
        event: The event type; only what one of its fields asks for is looked at.
    """
    return _payload if envelope == "connect" else _Changes(event).row


def _payload(value: bytes) -> Raw:
    try:
        return _connect(value).payload
    except msgspec.ValidationError:
        raise _no_envelope(value, "Kafka Connect's, schema and payload") from None


class _Changes:
    """Makes rows of change events."""

    def __init__(self, event: type[msgspec.Struct]) -> None:
        names = [field.encode_name for field in msgspec.structs.fields(event)]
        asked = {name: name.removeprefix("__") for name in names if name.startswith("__")}
        of_source = {name: part.removeprefix("source_") for name, part in asked.items() if part.startswith("source_")}
        self._own = [(_head(name), part) for name, part in asked.items() if name not in of_source]
        self._of_source = [(_head(name), part) for name, part in of_source.items()]
        self._decode = _decoder({"op", "before", "after", "source", "payload", *(part for _, part in self._own)})
        self._decode_source = _decoder(set(of_source.values()))

    def row(self, value: bytes) -> bytes | Raw:
        """The row of a change event, with what else is asked for."""
        try:
            change = self._decode(value)
            if change.op is UNSET and change.payload is not UNSET:
                change = self._decode(change.payload)
            said = _said(self._own, change)
            if self._of_source and change.source is not UNSET and change.source != _NULL:
                said += _said(self._of_source, self._decode_source(change.source))
        except msgspec.ValidationError:
            raise _no_envelope(value, "Debezium's, op, before and after") from None
        if change.op is UNSET or change.before is change.after is UNSET:
            raise _no_envelope(value, "Debezium's, op, before and after")
        image = change.after if change.after is not UNSET and change.after != _NULL else change.before
        if image is UNSET or image == _NULL:
            op = bytes(change.op).decode(errors="backslashreplace")
            raise RejectedRecord("no_row", f"the change has no row, neither before nor after: its op is {op:.40}")
        row = bytes(image)
        if not said or not row.startswith(b"{"):
            return row
        rest = row[1:].lstrip()
        return b"{" + b",".join(said) + (rest if rest == b"}" else b"," + rest)


def _decoder(parts: Collection[str]) -> Callable[[bytes | Raw], Any]:
    """A decoder that only looks for some parts of an object, and leaves them as they are."""
    return msgspec.json.Decoder(msgspec.defstruct("Parts", [(part, _Part, UNSET) for part in sorted(parts)])).decode


def _head(name: str) -> bytes:
    return msgspec.json.encode(name) + b":"


def _said(asked: list[tuple[bytes, str]], parts: Any) -> list[bytes]:
    return [head + found for head, part in asked if (found := getattr(parts, part)) is not UNSET]


def _no_envelope(value: bytes, expected: str) -> RejectedRecord:
    document = msgspec.json.decode(value)
    found = f"{msgspec.json.encode(document).decode():.40}"
    if isinstance(document, dict):
        keys = [f"{key:.40}" for key in document]
        found = f"an object of {', '.join(keys[:_SHOWN_KEYS]) or 'nothing'}" + ", ..." * (len(keys) > _SHOWN_KEYS)
    return RejectedRecord("not_an_envelope", storable(f"the value has no envelope, {expected}: it is {found}"))
