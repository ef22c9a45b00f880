"""How long a schedule can leave a topic alone: the longest pause between two of its runs."""

from __future__ import annotations

import datetime as dt
import re
from itertools import pairwise

_PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[int, int, list[str]], ...] = (
    (0, 59, []),
    (0, 23, []),
    (1, 31, []),
    (1, 12, ["", *_MONTHS]),
    (0, 7, _DAYS),
)
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")

# Nine years hold every pattern of weekdays and leap days but that of a century.
_FROM, _LOOKED_AT = dt.date(2024, 1, 1), 9 * 366


def longest_pause(schedule: str | dt.timedelta | None) -> dt.timedelta | None:
    """The longest time between two runs, on a clock without summer time.

    Args:
        schedule: As a DAG declares it: an interval, a preset such as `@daily`, or a cron expression of five fields.

    Returns:
        The pause; None for anything else, and for what comes less than twice.
    """
    if schedule is None or isinstance(schedule, dt.timedelta):
        return schedule
    fields = _PRESETS.get(schedule, schedule).lower().split()
    sets = [_values(text, *bounds) for text, bounds in zip(fields, _FIELDS, strict=False)]
    if len(fields) != len(_FIELDS) or not all(sets):
        return None
    minutes, hours, *_ = sets
    times = sorted(hour * 60 + minute for hour in hours for minute in minutes)
    days = [n for n in range(_LOOKED_AT) if _comes(_FROM + dt.timedelta(n), fields, sets)]
    within = max((later - earlier for earlier, later in pairwise(times)), default=0)
    between = max((later - earlier for earlier, later in pairwise(days)), default=None)
    if between is None:
        return None
    return dt.timedelta(minutes=max(within, between * 24 * 60 + times[0] - times[-1]))


def _comes(day: dt.date, fields: list[str], sets: list[set[int]]) -> bool:
    _, _, days, months, weekdays = sets
    of_month, of_week = day.day in days, {day.isoweekday() % 7, day.isoweekday()} & weekdays != set()
    # Cron's own rule: when both are restricted, one of them is enough.
    restricted = not fields[2].startswith("*") and not fields[4].startswith("*")
    return day.month in months and (of_month or of_week if restricted else of_month and of_week)


def _values(text: str, lowest: int, highest: int, names: list[str]) -> set[int]:
    """The numbers that a field stands for; none when it isn't understood."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            return set()
        first = lowest if match["first"] == "*" else _number(match["first"], names)
        alone = match["first"] != "*" and match["last"] is None and match["step"] is None
        last = first if alone else _number(match["last"] or str(highest), names)
        step = int(match["step"] or 1)
        if first is None or last is None or not lowest <= first <= last <= highest or not step:
            return set()
        found |= set(range(first, last + 1, step))
    return found


def _number(text: str, names: list[str]) -> int | None:
    if text.isdecimal():
        return int(text)
    return names.index(text) if text in names else None
