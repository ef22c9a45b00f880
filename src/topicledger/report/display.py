"""How values look in a report: on one line, without surprises from hostile text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

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


def duration(time: dt.timedelta) -> str:
    """Show a length of time in its two largest units, such as `1 day 6 h`; less than a minute as seconds."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = (f"{days} day{'' if days == 1 else 's'}", f"{hours} h", f"{minutes} min", f"{seconds} s")
    shown = [part for part in parts if not part.startswith("0 ")][:2]
    return " ".join(shown) or "0 s"


def aligned(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Lay cells out in columns: those under a head that starts with `>` to the right, the others to the left.

    Returns:
        One line for the head and one for each of the lines, without a final line break.
    """
    rows = [[name.lstrip(">") for name in head], *([printable(cell) for cell in line] for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
