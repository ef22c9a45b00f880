"""What the decoder refused, as the reason and the sentence of a dead letter."""

from __future__ import annotations

import json
from traceback import format_exception_only

import msgspec

from topicledger.errors import RejectedRecord
from topicledger.events.framing import schema_id

_OF_THE_BYTES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def rejection(value: bytes, error: Exception, *, by_event: bool = False) -> RejectedRecord:
    """Say why a value isn't an event.

    Args:
        value: The record's value.
        error: What the decoder raised.
        by_event: Whether it comes from the event type's own code, such as `__post_init__`, and not from the decoder.
    """
    if isinstance(error, RejectedRecord):
        return error
    if type(error) is msgspec.ValidationError:
        # A ValueError or TypeError of the event's own code comes as one; where it says nothing, its type does.
        return RejectedRecord("invalid_event", storable(str(error)) or _raised(error.__cause__ or error))
    if by_event or not isinstance(error, _OF_THE_BYTES):
        return RejectedRecord("invalid_event", _raised(error))
    if not value:
        return RejectedRecord("empty_value", "the value has no bytes; a JSON object was expected")
    if isinstance(error, RecursionError):
        return RejectedRecord("too_deep", "the JSON document is nested too deeply to be decoded")
    if (framed := schema_id(value)) is not None:
        return RejectedRecord(
            "framed",
            f"the value starts with the magic byte of Confluent's framing and schema id {framed}: declare "
            "format=Avro(...), Protobuf(...) or JsonSchema() in place of Json()",
        )
    try:
        text = value.decode()
    except UnicodeDecodeError as undecodable:
        where = f"{undecodable.reason} at byte {undecodable.start}"
        return RejectedRecord("invalid_utf8", f"the value is not UTF-8: {where}")
    return _invalid_json(value, text, str(error))


def storable(message: str) -> str:
    """Shorten a message that may quote a value, and spell out what text columns can't hold."""
    shortened = message if len(message) <= 500 else f"{message[:400]} [...] {message[-90:]}"
    return shortened.encode(errors="backslashreplace").decode().replace("\0", "\\u0000")


def _raised(error: BaseException) -> str:
    # Python's own wording: it holds also where the exception can't be made a text.
    return storable("the event type raised " + "".join(format_exception_only(error)).strip())


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
