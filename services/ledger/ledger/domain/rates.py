"""Rates: which series there are, which half-years lack one, and the inverse of a rate."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

# Series that law fixes anew on 1 January and 1 July; the others hold until they are changed.
HALF_YEARLY = ("ECB_MAIN_REFINANCING", "BOE_BASE_REFERENCE", "FR_LEGAL_INTEREST_BUSINESS")
SERIES = (
    *HALF_YEARLY, "EU_MARGIN", "FR_DEFAULT_MARGIN", "FR_RECOVERY_SUM", "UK_MARGIN", "UK_FIXED_SUM_BELOW_1000",
    "UK_FIXED_SUM_BELOW_10000", "UK_FIXED_SUM_ABOVE",
)  # fmt: skip
RATE_DIGITS = Decimal("0.000000000001")


def half_year(day: date) -> date:
    """The first day of a day's half-year."""
    return date(day.year, 1 if day.month < 7 else 7, 1)


def missing_half_years(known: Iterable[tuple[str, date]], today: date) -> list[tuple[str, date]]:
    """Half-years of the half-yearly series, from the first one known to the current one, that have no rate of their own:
    none is ever taken over from the one before.

    Args: known, (series, first day) of all rates.
    """
    days: dict[str, set[date]] = {series: set() for series in HALF_YEARLY}
    for series, day in known:
        if series in days:
            days[series].add(day)
    missing = []
    for series, found in days.items():
        day = min(found, default=half_year(today))
        while day <= today:
            if day not in found:
                missing.append((series, day))
            day = date(day.year, 7, 1) if day.month < 7 else date(day.year + 1, 1, 1)
    return missing


def inverse(rate: Decimal) -> Decimal:
    """One quote in base, with twelve decimals."""
    return (1 / rate).quantize(RATE_DIGITS)
