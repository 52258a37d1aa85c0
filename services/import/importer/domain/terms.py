"""When a debt is due by its payment terms: "30 days", "45 jours fin de mois le 10", "2/10 net 30", "sofort".

Terms of trade are written in words by some systems and as codes of their own by others (SAP's ZB30). Words are
understood in English, French, German, Spanish, Dutch and the Nordic languages; a code that says nothing by itself stays
text, and nothing is guessed from it.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass

import numpy as np

# Payment terms beyond two years are typing errors or codes.
_LONGEST_DAYS = 730
# A bare number is days only when it is one that terms use; "0001" and "7" may be anybody's code.
_BARE_DAYS = frozenset((7, 8, 10, 14, 15, 20, 21, 28, 30, 35, 40, 42, 45, 50, 60, 75, 90, 100, 120, 150, 180))

_DAYS = r"(?:calendar\s+|net\s+)?(?:days?|d|jours?|jrs?|j|tagen?|tage|tag|t|dias?|dagen|dagar|dager|dage|giorni|gg)\b"
_MONTHS = r"(?:months?|mois|monate?n?|meses|mes|maanden|manader)\b"
_MONTH_END = (
    r"(?:j\s*(?=f\.?d\.?m))?(?:(?:net\s+)?(?:(?:from|after|the)\s+)*end\s+of\s+(?:the\s+)?(?:invoice\s+)?month|month[\s-]?end|e\.?o\.?m\.?\b"
    r"|fin\s+(?:de|du)\s+mois|f\.?d\.?m\.?\b|monatsende|ende\s+des\s+monats|ultimo|fin\s+de\s+mes|fine\s+mese)"
)
_SHARE = r"\d+(?:[.,]\d+)?\s*%"
_UNTIL_DAY = r"(?:[^;,]*?bis(?:\s+zum)?\s+\d{1,2}\.\d{1,2}\.\d{4})?"
# What is no due date: discounts for early payment, in either order of words, and penalties for late payment.
_NOT_DUE = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:penal|verzugs|interest|late fee|drojsmals|zinsen|interets)[^;.,]*?" + _SHARE,
        r"\b\d+(?:[.,]\d+)?\s*%?\s*/\s*\d+\b\s*,?\s*(?=(?:net|n)\b|(?:net|n)\s*/?\s*\d)",
        _SHARE + r"\s*\d+\s*,?\s*(?=net|n\s*/)",
        rf"(?:within|innerhalb(?: von)?|sous|en)?\s*\d+\s*{_DAYS}[^;,.%\d]*{_SHARE}"
        r"\s*(?:skonto|discount|d'escompte|escompte|descuento)?",
        _SHARE + rf"[^;,%\d]*?\d+\s*{_DAYS}" + _UNTIL_DAY,
    )
)
_UNTIL = re.compile(
    r"(?:\bbis(?: zum)?|\bby|\buntil|\bdue(?: on)?|\bpayable (?:on|by)|\bjusqu'au|\bau plus tard le|\bfallig am|\bhasta(?: el)?)"
    r"\s+(\d{4})-(\d{2})-(\d{2})\b|(?:\bbis(?: zum)?|\bfallig am)\s+(\d{1,2})\.(\d{1,2})\.(\d{4})\b"
)
_AT_ONCE = re.compile(
    r"\b(immediate(?:ly)?|due (?:up)?on receipt|upon receipt|on receipt|payable at sight|cash on delivery|c\.?o\.?d\.?"
    r"|comptant|a reception|des reception|immediat(?:ement)?|sofort(?: fallig)?|sofortige|zahlbar sofort|bei erhalt"
    r"|al contado|contado|inmediato|direct(?:ement)? a reception|prepaid)\b"
)
_NET_DAYS = re.compile(
    rf"\b(?:net(?:to)?|nt|n)\s*/?\s*(\d{{1,3}})\b(?!\s*(?:{_MONTHS}|%))|\b(\d{{1,3}})\s*(?:{_DAYS})|\b(\d{{1,3}})\s+net(?:to)?\b"
)
_NET_MONTHS = re.compile(rf"\b(\d{{1,2}}|one|un|ein(?:en)?|two|deux|zwei|three|trois|drei)\s+{_MONTHS}")
_NUMBERS = {"one": 1, "un": 1, "ein": 1, "einen": 1, "two": 2, "deux": 2, "zwei": 2, "three": 3, "trois": 3, "drei": 3}
_NTH_NEXT = re.compile(
    r"\b(?:the\s+|le\s+|am\s+|zum\s+)?(\d{1,2})\.?(?:st|nd|rd|th|er)?\s+(?:day\s+)?(?:of\s+)?(?:the\s+)?"
    r"(?:next|following|du mois suivant|des folgemonats|des nachsten monats|del mes siguiente)(?:\s+month)?\b"
)
# Beside a month's end a number can only be days: "EOM 30", "45FDM", "45 JFDM".
_BARE_BY_END = re.compile(r"(?<![\d.,/])(\d{1,3})(?=\s*~|\s*$|\s+)")
_ON_DAY = re.compile(r"\b(?:le|the|on the|am|dia)\s+(\d{1,2})\b")


@dataclass(frozen=True)
class Terms:
    """How a due date follows from a start date: months, then days, then the month's end, then more days or a day of the
    month after. `fixed_on` beats all of it."""

    months: int = 0
    days: int = 0
    month_end: bool = False
    days_after_end: int = 0
    day_of_next_month: int = 0
    fixed_on: dt.date | None = None


def read_terms(text: str) -> Terms | None:
    """What a text says about the net due date; None when it says nothing that is certain."""
    words = unicodedata.normalize("NFKD", text.lower().replace("\u2019", "'"))
    words = " ".join("".join(char for char in words if not unicodedata.combining(char)).split())
    if not words:
        return None
    for pattern in _NOT_DUE:
        words = pattern.sub(" ", words)
    words = " ".join(words.split())
    until = _UNTIL.search(words)
    if until:
        parts = until.groups()
        year, month, day = (parts[0], parts[1], parts[2]) if parts[0] else (parts[5], parts[4], parts[3])
        try:
            return Terms(fixed_on=dt.date(int(year), int(month), int(day)))
        except ValueError:
            return None
    if "%" in words:
        return None  # Shares of the amount at different times, penalties: not one due date.
    if words.isdigit():
        bare = int(words)
        return Terms(days=bare) if bare in _BARE_DAYS and not words.startswith("0") else None
    found = _Found(words)
    return found.terms() if not found.unexplained() else None


class _Found:
    """The parts of a text that say something, and what is left of it."""

    def __init__(self, words: str) -> None:
        self.rest = words
        nth = self._take(_NTH_NEXT)
        self.nth = int(nth[1]) if nth else 0
        end = re.search(_MONTH_END, self.rest)
        self.end_at = end.start() if end else -1
        self.on_day = 0
        if end:
            day = _ON_DAY.search(self.rest, end.end())
            self.on_day = int(day[1]) if day else 0
            self.rest = _ON_DAY.sub(lambda match: " " * len(match[0]), self.rest) if day else self.rest
            self.rest = self.rest[: end.start()] + "~" * len(end[0]) + self.rest[end.end() :]
        self.days, self.months, self.days_at = -1, 0, -1
        days = self._take(_NET_DAYS) or (self._take(_BARE_BY_END) if end else None)
        if days:
            self.days, self.days_at = int(next(filter(None, days.groups()))), days.start()
        months = self._take(_NET_MONTHS)
        if months:
            self.months, self.days_at = _NUMBERS.get(months[1]) or int(months[1]), months.start()

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.search(self.rest)
        if match:
            self.rest = self.rest[: match.start()] + " " * len(match[0]) + self.rest[match.end() :]
        return match

    def unexplained(self) -> bool:
        """A number that no part accounts for may change everything: then nothing is certain."""
        return re.search(r"\d", self.rest) is not None or max(self.days, self.months * 30) > _LONGEST_DAYS

    def terms(self) -> Terms | None:
        if self.nth:
            return Terms(month_end=True, day_of_next_month=self.nth) if 1 <= self.nth <= 31 else None
        if self.on_day > 31:
            return None
        says_time = self.days >= 0 or self.months
        if not says_time and self.end_at < 0:
            return Terms() if _AT_ONCE.search(self.rest) else None
        days = max(self.days, 0)
        if self.end_at >= 0 and says_time and self.end_at < self.days_at:
            # "End of month + 30 days" counts from the month's end, "30 days end of month" to it.
            return Terms(months=0, month_end=True, days_after_end=days) if not self.months else None
        return Terms(self.months, days, self.end_at >= 0, day_of_next_month=self.on_day)


def due_days(start: np.ndarray, terms: Terms) -> np.ndarray:
    """Due dates for start dates, both as days since 1970-01-01 (int64)."""
    if terms.fixed_on is not None:
        return np.full(len(start), (terms.fixed_on - dt.date(1970, 1, 1)).days, dtype=np.int64)
    days = start.astype("datetime64[D]")
    if terms.months:
        days = _add_months(days, terms.months)
    days = days + np.timedelta64(terms.days, "D")
    if terms.month_end:
        next_month = days.astype("datetime64[M]") + 1
        days = next_month.astype("datetime64[D]") - 1
        if terms.day_of_next_month:
            last = (next_month + 1).astype("datetime64[D]") - 1
            days = np.minimum(next_month.astype("datetime64[D]") + (terms.day_of_next_month - 1), last)
        days = days + np.timedelta64(terms.days_after_end, "D")
    return days.astype(np.int64)


def _add_months(days: np.ndarray, months: int) -> np.ndarray:
    """The same day of a later month, or that month's last day: 31 January + 1 month is 28 or 29 February."""
    month = days.astype("datetime64[M]")
    offset = (days - month.astype("datetime64[D]")).astype(np.int64)
    target = month + months
    last = ((target + 1).astype("datetime64[D]") - np.timedelta64(1, "D")).astype("datetime64[D]")
    return np.minimum(target.astype("datetime64[D]") + offset, last)
