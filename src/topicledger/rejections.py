"""What the decoder refused, as the reason and the sentence of a dead letter."""

from __future__ import annotations

import json

import msgspec

from topicledger.errors import RejectedRecord


def rejection(value: bytes, error: Exception) -> RejectedRecord:
    """Say why a value isn't an event.

    Args:
        value: The record's value.
        error: What the decoder raised.
    """
    if not value:
        return RejectedRecord("empty_value", "the value has no bytes; a JSON object was expected")
    if isinstance(error, msgspec.ValidationError):
        return RejectedRecord("invalid_event", storable(str(error)))
    if isinstance(error, RecursionError):
        return RejectedRecord("too_deep", "the JSON document is nested too deeply to be decoded")
    try:
        text = value.decode()
    except UnicodeDecodeError as undecodable:
        where = f"{undecodable.reason} at byte {undecodable.start}"
        return RejectedRecord("invalid_utf8", f"the value is not UTF-8: {where}")
    return _invalid_json(value, text, str(error))


def storable(message: str) -> str:
    """Shorten a message that may quote a value, and spell out what text columns can't hold."""
    shortened = message if len(message) <= 500 else f"{message[:400]} [...] {message[-90:]}"
    return shortened.replace("\0", "\\u0000")


def _invalid_json(value: bytes, text: str, message: str) -> RejectedRecord:
    """Say where the JSON breaks, with the line and column of a JSONDecodeError at the decoder's own byte."""
    head, _, tail = message.rpartition(" (byte ")
    size = tail.removesuffix(")")
    if head and size.isdigit():
        # Of trailing data the decoder names the byte after the first one, unlike everywhere else.
        byte = int(size) - head.endswith("trailing characters")
        position = len(value[:byte].decode(errors="ignore"))
    else:
        head, position = message, len(text)
    located = json.JSONDecodeError(head, text, position)
    return RejectedRecord("invalid_json", str(located))
