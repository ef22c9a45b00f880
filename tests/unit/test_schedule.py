"""How long a schedule leaves a topic alone."""

from __future__ import annotations

import datetime as dt

import pytest

from topicledger.model.schedule import longest_pause

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("schedule", "pause"),
    [
        ("@hourly", HOUR),
        ("@daily", DAY),
        ("@weekly", 7 * DAY),
        ("@monthly", 31 * DAY),
        ("@quarterly", 92 * DAY),
        ("@yearly", 366 * DAY),
        ("*/15 * * * *", HOUR / 4),
        ("0 */6 * * *", 6 * HOUR),
        ("0 0/12 * * *", 12 * HOUR),
        ("30 6,18 * * *", 12 * HOUR),
        ("0 9-17 * * *", 16 * HOUR),
        ("0 6 * * MON-FRI", 3 * DAY),
        ("0 6 * * 7", 7 * DAY),
        ("0 0 1,15 * *", 17 * DAY),
        ("0 0 1 feb,AUG *", 184 * DAY),
        ("0 0 29 2 *", 1461 * DAY),
        (dt.timedelta(minutes=20), HOUR / 3),
    ],
)
def test_the_longest_pause(schedule: str | dt.timedelta, pause: dt.timedelta) -> None:
    """Of an interval it is the interval, of presets and cron expressions the longest time between two of them."""
    assert longest_pause(schedule) == pause


def test_a_day_of_the_month_or_of_the_week() -> None:
    """As in cron, a schedule that restricts both comes on either; a step over all days restricts nothing."""
    assert longest_pause("0 0 1 * 1") == 7 * DAY
    # Mondays on odd days: the 23rd, not the 30th, not the 6th, the 13th.
    assert longest_pause("0 0 */2 * 1") == 21 * DAY


@pytest.mark.parametrize(
    "schedule", [None, "@once", "@continuous", "nonsense", "* * * * * *", "61 * * * *", "0 0 30 2 *"]
)
def test_a_schedule_that_tells_nothing(schedule: str | None) -> None:
    """What isn't understood, and what never comes twice, has no pause."""
    assert longest_pause(schedule) is None
