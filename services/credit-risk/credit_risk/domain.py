"""Rules of exposure: pure, no clock, no session, no message. Amounts are minor units."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kit.errors import Code, Refused
from kit.money import Money

BUCKET_EDGES_DAYS = (0, 30, 60, 90, 120)
BUCKET_LABELS = ("NOT_DUE", "1-30", "31-60", "61-90", "91-120", ">120")
NO_DUE_DATE = "NO_DUE_DATE"


@dataclass(frozen=True)
class Limit:
    """How much a legal unit may owe, from a day on."""

    amount: Money
    valid_from: date
    valid_until: date | None
    reason: str
    decided_by: str
    decided_at: datetime


COVER_KINDS = ("INSURANCE", "GUARANTEE")


@dataclass(frozen=True)
class Cover:
    """An insured limit or a guarantee of a legal unit; a day that is None is no bound."""

    kind: str
    insurer: str
    policy: str
    amount: Money
    valid_from: date | None
    valid_until: date | None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same cover in the next file."""
        return (self.kind, self.insurer, self.policy, self.amount.currency, self.valid_from)

    def holds_on(self, on: date) -> bool:
        """Whether it is in force on a day; both bounds belong to it."""
        return (self.valid_from is None or self.valid_from <= on) and (
            self.valid_until is None or on <= self.valid_until
        )


@dataclass(frozen=True)
class Information:
    """What a provider says of a legal unit on a day; score and rating as it writes them."""

    provider: str
    informed_on: date
    score: str
    rating: str
    facts: dict[str, str]

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same information in the next file."""
        return (self.provider, self.informed_on)


def insured(covers: Sequence[Cover], currency: str, on: date) -> Money | None:
    """Sum of what is in force on a day in a currency; None without any. Other currencies are never added."""
    amounts = [one.amount.minor_units for one in covers if one.amount.currency == currency and one.holds_on(on)]
    return Money(currency, sum(amounts)) if amounts else None


@dataclass(frozen=True)
class OpenAmount:
    """What one account owes in one currency with one due date; credits are negative."""

    account_id: str
    currency: str
    due_on: date | None
    open_minor: int


@dataclass(frozen=True)
class Backlog:
    """Orders of one account in one currency that are not invoiced: neither delivered, and delivered."""

    account_id: str
    currency: str
    orders_minor: int
    delivered_minor: int


@dataclass(frozen=True)
class ExposureRules:
    """Which parts of the order backlog count as exposure; open items always do."""

    with_orders: bool = False
    with_delivered: bool = False


@dataclass(frozen=True)
class Exposure:
    """Where a legal unit stands on a day, in one currency; other currencies apart. orders and delivered are shown in any
    case, and part of exposure as the rules say."""

    exposure: Money
    orders: Money
    delivered: Money
    rules: ExposureRules
    limit: Limit | None
    other_currencies: tuple[Money, ...]
    ages: tuple[tuple[str, int], ...]
    open_by_account: dict[str, int]
    overdue_by_account: dict[str, int]

    @property
    def available(self) -> Money | None:
        """Limit less exposure, negative when exceeded; None without a limit."""
        return None if self.limit is None else self.limit.amount - self.exposure

    @property
    def over_limit(self) -> Money | None:
        """Exposure above the limit, zero when within; None without a limit."""
        if self.limit is None:
            return None
        return Money(self.exposure.currency, max(self.exposure.minor_units - self.limit.amount.minor_units, 0))

    @property
    def is_over_limit(self) -> bool:
        """True when the exposure is above the limit."""
        return bool(self.over_limit)

    @property
    def utilisation_percent(self) -> float:
        """Exposure / limit * 100, one decimal; 0.0 without a limit or with one of zero and nothing owed."""
        if self.limit is None:
            return 0.0
        if not self.limit.amount:
            return 0.0 if self.exposure.minor_units <= 0 else 999.9
        return round(self.exposure.minor_units * 100 / self.limit.amount.minor_units, 1)


def limit_in_force(limits: Sequence[Limit], on: date) -> Limit | None:
    """The limit of a day: of those whose days hold it, the one decided last."""
    holding = [one for one in limits if one.valid_from <= on and (one.valid_until is None or on <= one.valid_until)]
    return max(holding, key=lambda one: (one.decided_at, one.valid_from), default=None)


def bucket(due_on: date | None, on: date) -> str:
    """The age of an open debit on a day. Source: domain 2.11: due on the day is not due."""
    if due_on is None:
        return NO_DUE_DATE
    days_late = (on - due_on).days
    for edge, label in zip(BUCKET_EDGES_DAYS, BUCKET_LABELS, strict=False):
        if days_late <= edge:
            return label
    return BUCKET_LABELS[-1]


def exposure(
    amounts: Sequence[OpenAmount],
    limits: Sequence[Limit],
    on: date,
    fallback_currency: str,
    backlog: Sequence[Backlog] = (),
    rules: ExposureRules = ExposureRules(),
) -> Exposure:
    """Open items net of credits, disputed ones included, and what the rules take of the order backlog, in the limit's
    currency; other currencies stay apart.

    Without a limit the currency with the largest open debit sum in minor units is taken, else fallback_currency.
    Source: domain 4.4.
    """
    limit = limit_in_force(limits, on)
    debit_by_currency: dict[str, int] = {}
    net_by_currency: dict[str, int] = {}
    for one in amounts:
        net_by_currency[one.currency] = net_by_currency.get(one.currency, 0) + one.open_minor
        debit_by_currency[one.currency] = debit_by_currency.get(one.currency, 0) + max(one.open_minor, 0)
    orders_by_currency: dict[str, int] = {}
    delivered_by_currency: dict[str, int] = {}
    for part in backlog:
        orders_by_currency[part.currency] = orders_by_currency.get(part.currency, 0) + part.orders_minor
        delivered_by_currency[part.currency] = delivered_by_currency.get(part.currency, 0) + part.delivered_minor
        counted = part.orders_minor * rules.with_orders + part.delivered_minor * rules.with_delivered
        net_by_currency[part.currency] = net_by_currency.get(part.currency, 0) + counted
    if limit is not None:
        currency = limit.amount.currency
    else:
        currency = max(sorted(debit_by_currency), key=debit_by_currency.__getitem__, default=fallback_currency)
    ages = dict.fromkeys((*BUCKET_LABELS, NO_DUE_DATE), 0)
    open_by_account: dict[str, int] = {}
    overdue_by_account: dict[str, int] = {}
    for one in amounts:
        if one.currency != currency:
            continue
        open_by_account[one.account_id] = open_by_account.get(one.account_id, 0) + one.open_minor
        if one.open_minor > 0:
            label = bucket(one.due_on, on)
            ages[label] += one.open_minor
            if label in BUCKET_LABELS[1:]:
                overdue_by_account[one.account_id] = overdue_by_account.get(one.account_id, 0) + one.open_minor
    return Exposure(
        exposure=Money(currency, net_by_currency.get(currency, 0)),
        orders=Money(currency, orders_by_currency.get(currency, 0)),
        delivered=Money(currency, delivered_by_currency.get(currency, 0)),
        rules=rules,
        limit=limit,
        other_currencies=tuple(
            Money(other, minor) for other, minor in sorted(net_by_currency.items()) if other != currency and minor
        ),
        ages=tuple(ages.items()),
        open_by_account=open_by_account,
        overdue_by_account=overdue_by_account,
    )


def check_limit(amount: Money, valid_from: date, valid_until: date | None) -> None:
    """Refuses INVALID_ARGUMENT DATE_ORDER for an end before its start, LIMIT_NEGATIVE for an amount below zero."""
    if amount.minor_units < 0:
        raise Refused(Code.INVALID_ARGUMENT, "LIMIT_NEGATIVE", "a limit is not negative", {"amount": "zero or more"})
    if valid_until is not None and valid_until < valid_from:
        raise Refused(
            Code.INVALID_ARGUMENT, "DATE_ORDER", "the limit ends before it starts", {"validUntil": "before validFrom"}
        )
