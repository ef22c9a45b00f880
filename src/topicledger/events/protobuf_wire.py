"""Where bytes stop being a Protobuf message: the library only says that they aren't one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topicledger.errors import RejectedRecord

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

_DEEPEST = 100
"""How deep the library follows messages in messages."""
_VARINT_BYTES = 10
_MOST_FIELDS = 2**29 - 1
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_TYPE_STRING = 9


def flaw(value: bytes, start: int, message: Descriptor) -> RejectedRecord | None:
    """Find the first byte that can't be right, or that is missing; None: there is none.

    Args:
        value: The record's value.
        start: Where the message begins in it.
        message: Its type.
    """
    try:
        _Walk(value).message(start, len(value), message, 0)
    except RejectedRecord as found:
        return found
    return None


class _Walk:
    def __init__(self, value: bytes) -> None:
        self._value = value

    def message(self, at: int, end: int, message: Descriptor | None, depth: int, group: int = 0) -> int:
        """Go through a message's fields; of a type that isn't known, None, through what their tags say.

        Returns:
            Where it ends: a group where its end tag says, all else at `end`.
        """
        if depth > _DEEPEST:
            raise RejectedRecord("too_deep", f"the message is nested more than {_DEEPEST} deep")
        while at < end:
            first = at
            tag, at = self._varint(at, end)
            number, kind = tag >> 3, tag & 7
            if kind == _END_GROUP and number == group:
                return at
            if not 0 < number <= _MOST_FIELDS or kind > _FIXED32 or kind == _END_GROUP:
                raise _invalid(f"no field begins at byte {first}: tag {tag}")
            field = message.fields_by_number.get(number) if message else None
            at = self._field(at, end, kind, field, depth, number)
        if group:
            raise _invalid(f"it ends at byte {end}, within group {group}")
        return at

    def _field(self, at: int, end: int, kind: int, field: FieldDescriptor | None, depth: int, number: int) -> int:
        inner = field.message_type if field else None
        if kind == _VARINT:
            return self._varint(at, end)[1]
        if kind == _GROUP:
            return self.message(at, end, inner, depth + 1, number)
        size, at = self._varint(at, end) if kind == _BYTES else (8 if kind == _FIXED64 else 4, at)
        if size > end - at:
            name = f"field {number}" + (f" ({field.name})" if field else "")
            raise _invalid(f"it is truncated: {name} has {size} bytes from byte {at} on, and {end - at} are left")
        if kind == _BYTES and inner is not None:
            self.message(at, at + size, inner, depth + 1)
        elif kind == _BYTES and field is not None and field.type == _TYPE_STRING:
            _require_utf8(self._value[at : at + size], at, field.name)
        return at + size

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        number = 0
        for place, byte in enumerate(self._value[at : min(end, at + _VARINT_BYTES)]):
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return number, at + place + 1
        if end - at < _VARINT_BYTES:
            raise _invalid(f"it is truncated: it ends at byte {end}, within a number")
        raise _invalid(f"the number at byte {at} has more than {_VARINT_BYTES} bytes")


def _invalid(why: str) -> RejectedRecord:
    return RejectedRecord("invalid_protobuf", f"the value is no Protobuf message: {why}")


def _require_utf8(text: bytes, at: int, name: str) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {at + error.start}"
        raise RejectedRecord("invalid_utf8", f"{name} is not UTF-8: {where}") from None
