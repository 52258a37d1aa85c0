"""The only readers of time. Rules get "today" as an argument and never call this module."""

import os
from datetime import UTC, date, datetime, timedelta

TODAY_VARIABLE = "QUITTANCE_TODAY"


def utc_now() -> datetime:
    """The present instant, with its zone (UTC)."""
    return datetime.now(UTC)


def business_today() -> date:
    """The business date of the whole platform: QUITTANCE_TODAY (YYYY-MM-DD) where set, else today's UTC date."""
    fixed = os.environ.get(TODAY_VARIABLE, "")
    return date.fromisoformat(fixed) if fixed else utc_now().date()


def add_working_days(day: date, n: int) -> date:
    """The n-th working day (Monday to Friday) after day, or before it when n is negative; day itself when n is 0."""
    step = timedelta(days=1 if n >= 0 else -1)
    left = abs(n)
    while left:
        day += step
        if day.weekday() < 5:
            left -= 1
    return day
