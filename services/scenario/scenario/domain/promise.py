"""Promises: what may be promised, and whether it was kept."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from kit.errors import Code, Refused

TOLERANCE_DAYS = 3
DAYS_AHEAD_MAX = 30


class PromiseState(enum.StrEnum):
    """Whether a promise was kept; values are the contract's names without prefix."""

    OPEN = "OPEN"
    KEPT = "KEPT"
    PARTLY_KEPT = "PARTLY_KEPT"
    BROKEN = "BROKEN"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class PromiseLine:
    """What was promised of one item: baseline_minor was open when it was said, open_minor is now."""

    item_id: str
    currency: str
    promised_minor: int
    baseline_minor: int
    open_minor: int

    @property
    def received_minor(self) -> int:
        """How much less is open than when it was said; never negative (a reversed payment counts as none)."""
        return max(self.baseline_minor - self.open_minor, 0)


def check_day(promised_on: date, today: date, may_exceed: bool) -> None:
    """Refuses INVALID_ARGUMENT DATE_PAST, and DATE_TOO_FAR beyond 30 days without the right to exceed them."""
    if promised_on < today:
        raise Refused(
            Code.INVALID_ARGUMENT, "DATE_PAST", "the day of a promise is today or later",
            {"promised_on": "is in the past"},
        )  # fmt: skip
    if not may_exceed and promised_on > today + timedelta(days=DAYS_AHEAD_MAX):
        raise Refused(
            Code.INVALID_ARGUMENT, "DATE_TOO_FAR", f"a promise is at most {DAYS_AHEAD_MAX} days ahead",
            {"promised_on": f"is more than {DAYS_AHEAD_MAX} days ahead"},
        )  # fmt: skip


def last_day(promised_on: date, tolerance_days: int = TOLERANCE_DAYS) -> date:
    """Last day on which payment still counts, and on which the items stay out of collection."""
    return promised_on + timedelta(days=tolerance_days)


def evaluate(lines: Sequence[PromiseLine], promised_on: date, tolerance_days: int, today: date) -> PromiseState:
    """Whether a promise is kept as of a business date: KEPT as soon as every line has come in, however early;
    OPEN until its day plus tolerance is over; then PARTLY_KEPT when anything came in, else BROKEN."""
    if lines and all(line.received_minor >= min(line.promised_minor, line.baseline_minor) for line in lines):
        return PromiseState.KEPT
    if today <= last_day(promised_on, tolerance_days):
        return PromiseState.OPEN
    return PromiseState.PARTLY_KEPT if any(line.received_minor > 0 for line in lines) else PromiseState.BROKEN
