"""JSON: a value's bytes straight to an event, by msgspec's typed decoder."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from topicledger.errors import RejectedRecord
from topicledger.events.envelopes import Unwrap
from topicledger.events.framing import FRAME, not_framed, schema_id
from topicledger.events.rejections import rejection

E = TypeVar("E", bound=msgspec.Struct)

# The largest a float64 holds has 309 digits; behind the point PostgreSQL's numbers have 16,383.
_MOST_DIGITS = 309
_MOST_BEHIND_POINT = 9_999


class JsonDecoding:
    """Implements `topicledger.events.decoding.Decoding`.

    Args:
        unwrap: Takes the envelope off a value; None: it has none.
    """

    def __init__(self, unwrap: Unwrap | None = None) -> None:
        self._unwrap = unwrap

    def decoder(self, event: type[E]) -> Callable[[bytes], E]:
        """What makes an event of a value; where the event type leaves a number open, its digits are kept."""
        decode, unwrap = msgspec.json.Decoder(event, float_hook=_exact).decode, self._unwrap
        return decode if unwrap is None else lambda value: decode(unwrap(value))

    def document(self, value: bytes) -> Any:
        """The value as it is, numbers exact."""
        return _decode(value if self._unwrap is None else self._unwrap(value))

    def rejection(self, value: bytes, error: Exception, *, by_event: bool) -> RejectedRecord:
        """Say why a value isn't an event."""
        if self._unwrap is not None and type(error) is msgspec.DecodeError:
            try:
                _decode(value)
            except msgspec.MsgspecError as of_the_whole:  # which says where in the value it is
                error = of_the_whole
        return rejection(value, error, by_event=by_event)


class FramedJsonDecoding(JsonDecoding):
    """The same behind Confluent's framing, as its serializer for JSON Schema writes it.

    Args:
        unwrap: As for `JsonDecoding`.
    """

    def __init__(self, unwrap: Unwrap | None = None) -> None:
        super().__init__(_unframed if unwrap is None else lambda value: unwrap(_unframed(value)))
        self._behind = JsonDecoding(unwrap)

    def rejection(self, value: bytes, error: Exception, *, by_event: bool) -> RejectedRecord:
        """Say why what is behind the frame isn't an event."""
        return self._behind.rejection(value[FRAME:], error, by_event=by_event)


def _unframed(value: bytes) -> bytes:
    if schema_id(value) is None:
        raise not_framed(value)
    return value[FRAME:]


def _exact(text: str) -> Decimal:
    """A number of no declared type, every digit of it."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("Infinity")
    if not number.is_finite() or not -_MOST_BEHIND_POINT < number.adjusted() < _MOST_DIGITS:
        raise ValueError("Number out of range")  # as the decoder says it of a float
    return number


_decode = msgspec.json.Decoder(float_hook=_exact).decode
