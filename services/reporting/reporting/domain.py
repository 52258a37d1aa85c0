"""Rules of the figures: pure, no clock, no session, no message. Amounts are minor units of one currency."""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

# Upper edges in days past due, each inside its bucket.
BUCKET_EDGES_DAYS = (0, 30, 60, 90, 120)
BUCKET_LABELS = ("NOT_DUE", "1-30", "31-60", "61-90", "91-120", ">120")
NO_DUE_DATE = "NO_DUE_DATE"
CREDIT = "CREDIT"
ALL_LABELS = (*BUCKET_LABELS, NO_DUE_DATE)

# Months after which count-back gives up and says "more than".
COUNT_BACK_MONTHS_MAX = 24
SIMPLE_WINDOW_DAYS = 90
PROFILE_PAID_ITEMS_MIN = 3


@dataclass(frozen=True)
class CountedMonth:
    """One month of a count: sales and receivables set against them in minor units, days of it that count."""

    month: str
    days: int
    sales_minor: int
    used_minor: int
    counted_days: float


@dataclass(frozen=True)
class Dso:
    """Days sales outstanding with all that went into it."""

    days: float
    receivables_minor: int
    months: tuple[CountedMonth, ...] = ()
    insufficient_history: bool = False
    current_days: float = 0.0
    overdue_days: float = 0.0


@dataclass
class Aging:
    """Open items of one currency by age; buckets and credits add up to the total."""

    currency: str
    item_count: int = 0
    credits_minor: int = 0
    credit_count: int = 0
    amount_minor_by_label: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ALL_LABELS, 0))
    count_by_label: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ALL_LABELS, 0))

    @property
    def total_minor(self) -> int:
        """Sum of buckets and credits."""
        return sum(self.amount_minor_by_label.values()) + self.credits_minor

    @property
    def debit_minor(self) -> int:
        """Open debit items, credits left out."""
        return sum(self.amount_minor_by_label.values())

    @property
    def overdue_minor(self) -> int:
        """Open debit items past their due date."""
        return sum(self.amount_minor_by_label[label] for label in BUCKET_LABELS[1:])

    def add(self, label: str, amount_minor: int, count: int) -> None:
        """Adds a group of items of one bucket, or of CREDIT."""
        self.item_count += count
        if label == CREDIT:
            self.credits_minor += amount_minor
            self.credit_count += count
        else:
            self.amount_minor_by_label[label] += amount_minor
            self.count_by_label[label] += count


def aging(groups: Sequence[tuple[str, str, int, int]]) -> list[Aging]:
    """Aging per currency from groups (currency, label, amount in minor units, count); currencies in code order.

    Source: domain 2.11: due on the day is not due, one day later is 1-30; credits apart; sum of buckets + credits = total.
    """
    by_currency: dict[str, Aging] = {}
    for currency, label, amount_minor, count in groups:
        by_currency.setdefault(currency, Aging(currency)).add(label, amount_minor, count)
    return [by_currency[currency] for currency in sorted(by_currency)]


def percent(part_minor: int, whole_minor: int) -> float:
    """part / whole * 100 rounded to one decimal; 0.0 when the whole is 0."""
    return round(part_minor * 100 / whole_minor, 1) if whole_minor else 0.0


def month_of(day: date) -> str:
    """The month a day is in: "2026-03"."""
    return f"{day:%Y-%m}"


def months_back(as_of: date, count: int) -> list[tuple[str, int]]:
    """The month of as_of and those before it, newest first, each with the calendar days that count.

    The month of as_of counts its elapsed days only.
    """
    months, day, days = [], as_of, as_of.day
    for _ in range(count):
        months.append((month_of(day), days))
        day = day.replace(day=1) - timedelta(days=1)
        days = day.day
    return months


def count_back_dso(receivables_minor: int, sales_minor_by_month: Mapping[str, int], as_of: date) -> Dso:
    """Count-back DSO: sets month after month's sales against the receivables and counts their days.

    Args: receivables_minor, open items net of credits on as_of; sales_minor_by_month, "YYYY-MM" to gross sales.
    A month with sales <= 0 counts its days and uses nothing; receivables <= 0 give 0; when 24 months, or all months with
    known sales, do not use the receivables up, insufficient_history is set and days is the least it can be.
    Source: domain 2.3, edge rules there. 2,100,000 against 900,000 (31 d), 800,000 (28 d), 700,000 (31 d) gives 76.71.
    """
    if receivables_minor <= 0:
        return Dso(0.0, receivables_minor)
    first_known = min(sales_minor_by_month, default=month_of(as_of))
    left, total_days, months = receivables_minor, 0.0, []
    for month, days in months_back(as_of, COUNT_BACK_MONTHS_MAX):
        if month < first_known:
            break
        sales = sales_minor_by_month.get(month, 0)
        if 0 < left <= sales:
            counted = left / sales * days
            months.append(CountedMonth(month, days, sales, left, counted))
            return Dso(total_days + counted, receivables_minor, tuple(months))
        used = max(sales, 0)
        months.append(CountedMonth(month, days, sales, used, float(days)))
        left -= used
        total_days += days
    return Dso(total_days, receivables_minor, tuple(months), insufficient_history=True)


def simple_dso(receivables_minor: int, sales_minor: int, window_days: int = SIMPLE_WINDOW_DAYS) -> Dso:
    """Receivables x days / sales of the window. Source: domain 2.1: 10,869 x 90 / 17,674 gives 55.35."""
    if receivables_minor <= 0:
        return Dso(0.0, receivables_minor)
    if sales_minor <= 0:
        return Dso(0.0, receivables_minor, insufficient_history=True)
    return Dso(receivables_minor * window_days / sales_minor, receivables_minor)


def split_dso(dso: Dso, current_minor: int, debit_minor: int) -> Dso:
    """The same figure split into its current and its overdue part, in proportion to the debit items. Source: domain 2.3."""
    share = current_minor / debit_minor if debit_minor else 0.0
    current = dso.days * share
    return Dso(dso.days, dso.receivables_minor, dso.months, dso.insufficient_history, current, dso.days - current)


def month_ends(as_of: date, count: int) -> list[date]:
    """The last days of the count - 1 months before as_of's and as_of itself, oldest first."""
    ends, day = [as_of], as_of
    for _ in range(count - 1):
        day = day.replace(day=1) - timedelta(days=1)
        ends.append(day)
    return ends[::-1]


def payment_profile(average_delay_days: float, paid_item_count: int) -> str:
    """EXCELLENT below 0 days, GOOD to 7, AVERAGE to 20, SLOW to 45, BAD above; UNKNOWN below three paid items.

    Source: domain 2.12 (editable thresholds come later).
    """
    if paid_item_count < PROFILE_PAID_ITEMS_MIN:
        return "UNKNOWN"
    for limit_days, name in ((0, "EXCELLENT"), (8, "GOOD"), (21, "AVERAGE"), (46, "SLOW")):
        if average_delay_days < limit_days:
            return name
    return "BAD"


def six_months_before(day: date) -> date:
    """The same day six months earlier, or the last day of that month when it is shorter."""
    index = day.year * 12 + day.month - 1 - 6
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
