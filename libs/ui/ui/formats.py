"""Numbers, dates and money as section 6 of the design guide wants them. Pure: the language and the day come in.

Every function takes `language` ("en", "fr", "de", "es"). Text is plain; markup is made in ui.filters.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, Protocol

from babel import Locale
from babel.dates import format_date

MINUS = "\u2212"
NO_BREAK = "\u00a0"
NARROW_NO_BREAK = "\u202f"

# Upper edges of the aging buckets 1-30, 31-60, 61-90, 91-120; above the last is "over 120".
AGE_EDGES_DAYS = (30, 60, 90, 120)

# ISO 4217, list one: currencies whose minor unit is not a hundredth. CLDR's own figures differ (they are customs of
# display), and kit.money uses these; tests compare the two.
_EXPONENTS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}

# Where the currency code stands. Guide: before the amount in English and German, after it in French and Spanish.
_CODE_AFTER = frozenset({"fr", "es"})


class HasMoney(Protocol):
    """kit.money.Money and the Money message alike."""

    currency: str
    minor_units: int


def exponent(currency: str) -> int:
    """Decimals of the currency's minor unit: EUR 2, JPY 0, KWD 3."""
    return _EXPONENTS.get(currency, 2)


def code_after(language: str) -> bool:
    """Whether the currency code follows the amount in this language."""
    return language in _CODE_AFTER


@lru_cache(maxsize=16)
def _symbols(language: str) -> tuple[str, str, int]:
    """Group sign, decimal sign and the fewest digits from which grouping starts, from CLDR."""
    locale = Locale.parse(language)
    symbols = locale.number_symbols["latn"]
    # Spanish writes 1234 but 12 345; the others group from four digits on.
    return str(symbols["group"]), str(symbols["decimal"]), 5 if language == "es" else 4


def _grouped(digits: str, language: str) -> str:
    group, _, first = _symbols(language)
    return digits if len(digits) < first else f"{int(digits):,}".replace(",", group)


def minor_text(minor: int, currency: str, language: str, decimals: int | None = None) -> str:
    """An amount in minor units as text without its code: (1248050, "EUR", "en") gives 12,480.50.

    Args: decimals, None for the currency's own; fewer round half to even (KPIs and charts show none), more are
        not made up.
    """
    digits = exponent(currency)
    shown = digits if decimals is None else min(decimals, digits)
    value = Decimal(int(minor)).scaleb(-digits)
    return number_text(value, language, shown)


def number_text(value: int | float | str | Decimal, language: str, decimals: int = 0, *, signed: bool = False) -> str:
    """A number with grouping, a real minus sign and exactly `decimals` decimals; `signed` shows a plus as well."""
    rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
    whole, _, fraction = f"{abs(rounded):f}".partition(".")
    _, point, _ = _symbols(language)
    sign = (MINUS if rounded < 0 else "+" if signed and rounded > 0 else "") if rounded else ""
    return sign + _grouped(whole, language) + (point + fraction if fraction else "")


def money_text(minor: int, currency: str, language: str, decimals: int | None = None) -> str:
    """An amount with its code and a no-break space: EUR 12,480.50 in English, 12 480,50 EUR in French."""
    text = minor_text(minor, currency, language, decimals)
    return f"{text}{NO_BREAK}{currency}" if code_after(language) else f"{currency}{NO_BREAK}{text}"


def percent_text(ratio: float | Decimal, language: str, decimals: int = 1, *, signed: bool = False) -> str:
    """A ratio as percent with a no-break space: 0.215 gives 21.5 %."""
    return number_text(Decimal(str(ratio)) * 100, language, decimals, signed=signed) + NO_BREAK + "%"


def compact_text(value: int | float | Decimal, language: str) -> str:
    """A large number for an axis: 2.0 m, 400 k, 950."""
    value = Decimal(str(value))
    if abs(value) >= 1_000_000:
        return number_text(value / 1_000_000, language, 1) + NO_BREAK + ("M" if language == "fr" else "m")
    if abs(value) >= 1_000:
        return number_text(value / 1_000, language, 0) + NO_BREAK + "k"
    return number_text(value, language, 0)


def age_step(days_late: int | None, edges_days: tuple[int, ...] = AGE_EDGES_DAYS) -> int:
    """The colour step 0-5 of an age: 0 not due (or due today), 1 up to 30 days, ... 5 over 120. None gives 0."""
    if days_late is None or days_late <= 0:
        return 0
    return 1 + sum(days_late > edge for edge in edges_days)


def as_date(value: Any) -> date | None:
    """A civil date from a date, a datetime, "2026-08-12" or nothing. Raises ValueError for any other text."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    return date.fromisoformat(str(value)[:10])


def as_datetime(value: Any, zone: tzinfo = UTC) -> datetime | None:
    """A moment in the reader's zone from a datetime, an ISO text or a protobuf Timestamp; naive ones are UTC."""
    if value is None or value == "":
        return None
    if hasattr(value, "ToDatetime"):
        if not value.seconds and not value.nanos:
            return None  # A Timestamp never set reads as 1970.
        value = value.ToDatetime(tzinfo=UTC)
    elif not isinstance(value, datetime):
        value = datetime.fromisoformat(str(value))
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return value.astimezone(zone)


_DATE_PATTERNS = {"short": "d MMM", "year": "d MMM y", "weekday": "EEE d MMM y", "day": "EEE d MMM", "month": "MMM y"}
_LONG = {"en": "d MMMM y", "fr": "d MMMM y", "de": "d. MMMM y", "es": "d 'de' MMMM 'de' y"}
_DATE_STYLES = (*_DATE_PATTERNS, "long")


def date_text(day: date, language: str, style: str = "short", business_year: int | None = None) -> str:
    """A date as words, never 03/04.

    Args: style "short" (12 Aug, with its year when that is not `business_year`), "year" (12 Aug 2026), "day"
        (Tue 15 Sep), "weekday" (Tue 15 Sep 2026), "long" (12 August 2026), "month" (Aug 2026).
    """
    if style not in _DATE_STYLES:
        raise ValueError(f"date style {style!r} is none of {_DATE_STYLES}")
    if style == "short" and business_year is not None and day.year != business_year:
        style = "year"
    pattern = _LONG.get(language, _LONG["en"]) if style == "long" else _DATE_PATTERNS[style]
    text = format_date(day, pattern, locale=language)
    return text.replace(" ", NO_BREAK)


def time_text(moment: datetime) -> str:
    """24 hours, in the zone the moment carries: 14:20."""
    return f"{moment:%H:%M}"
