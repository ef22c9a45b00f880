"""How long a schedule leaves between two runs."""

from __future__ import annotations

import datetime as dt
from itertools import islice, pairwise
from typing import Any


def longest_pause(schedule: Any) -> dt.timedelta | None:
    """The longest time between two runs; None where the schedule doesn't say it.

    Args:
        schedule: As a DAG takes it: an interval, a preset such as `@daily`, a cron expression, or anything else.
    """
    if not isinstance(schedule, str):
        return schedule if isinstance(schedule, dt.timedelta) else None
    try:
        from croniter import croniter  # type: ignore[import-untyped] # Airflow's own

        # Enough for a week of minutes, and for every pattern of weekdays and leap days.
        times = croniter(schedule.replace("@quarterly", "0 0 1 */3 *"), dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
        return max((b - a for a, b in pairwise(islice(times.all_next(dt.datetime), 11_000))), default=None)
    except (ImportError, ValueError, KeyError):
        return None
