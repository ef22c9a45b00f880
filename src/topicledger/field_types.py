"""Types for an event's fields that say more of a number than Python's own do."""

from __future__ import annotations

from typing import Annotated

import msgspec

EpochSeconds = Annotated[int | float, msgspec.Meta(extra={"epoch": "s"})]
"""Seconds since 1970; the column is a time."""

EpochMillis = Annotated[int, msgspec.Meta(extra={"epoch": "ms"})]
"""Milliseconds since 1970; the column is a time."""

EpochMicros = Annotated[int, msgspec.Meta(extra={"epoch": "us"})]
"""Microseconds since 1970; the column is a time."""


def Digits(digits: int, behind_point: int) -> msgspec.Meta:  # noqa: N802 - reads as a type: Annotated[Decimal, Digits(12, 2)]
    """How many digits a `Decimal` field has in all and behind the point, and with it its column."""
    return msgspec.Meta(extra={"digits": (digits, behind_point)})
