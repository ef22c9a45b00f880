"""How values look in a report: on one line, without surprises from hostile text."""

from __future__ import annotations

NOTHING = "-"
"""Stands for a value that doesn't apply."""


def printable(text: str) -> str:
    """Show every character, on one line.

    Line breaks, control characters, direction overrides and lone surrogates become their escapes: a run id
    can neither forge a line of the log nor hide a part of itself, and the result is always encodable.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def number(value: int | None) -> str:
    """Show a count with thousands separated by commas, or `-` where there is none."""
    return NOTHING if value is None else f"{value:,}"
