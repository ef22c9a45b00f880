"""JSON: a value's bytes straight to an event, by msgspec's typed decoder."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from topicledger.errors import RejectedRecord
from topicledger.events.rejections import rejection

E = TypeVar("E", bound=msgspec.Struct)

# The largest a float64 holds has 309 digits; behind the point PostgreSQL's numbers have 16,383.
_MOST_DIGITS = 309
_MOST_BEHIND_POINT = 9_999


class JsonDecoding:
    """Implements `topicledger.events.decoding.Decoding`."""

    def decoder(self, event: type[E]) -> Callable[[bytes], E]:
        """What makes an event of a value; where the event type leaves a number open, its digits are kept."""
        return msgspec.json.Decoder(event, float_hook=_exact).decode

    def document(self, value: bytes) -> Any:
        """The value as it is, numbers exact."""
        return _decode(value)

    def rejection(self, value: bytes, error: Exception, *, by_event: bool) -> RejectedRecord:
        """Say why a value isn't an event."""
        return rejection(value, error, by_event=by_event)


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
