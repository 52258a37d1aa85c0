"""Figures: load rows, decide by the rules, give values. Reads only; what changes the store is in consumers.py."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from kit.context import current_caller
from kit.errors import Code, Refused
from reporting import domain, store
from reporting.store import Scope

SERIES_MONTHS = 12
# Sales older than count-back can ever look at are not read.
SALES_WINDOW = timedelta(days=domain.COUNT_BACK_MONTHS_MAX * 31 + 31)


def scope_for(session: Session, entity: str = "", account_id: str = "") -> Scope:
    """The caller's books, narrowed to an entity and an account.

    Refuses NOT_FOUND ENTITY_UNKNOWN and ACCOUNT_UNKNOWN, also for what exists but is not the caller's.
    """
    codes = current_caller().entity_codes
    if entity:
        if not current_caller().sees_entity(entity) or not store.entity_exists(session, entity):
            raise Refused(Code.NOT_FOUND, "ENTITY_UNKNOWN", f"there is no entity {entity}")
        codes = frozenset({entity})
    if account_id:
        code = store.account_scope(session, account_id)
        if code is None or not current_caller().sees_entity(code):
            raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account")
    return Scope(codes, account_id or None)


def aging(session: Session, as_of: date, scope: Scope) -> list[domain.Aging]:
    """Aging per currency as of a day."""
    return domain.aging(store.aging_groups(session, as_of, scope))


def dso(
    session: Session, as_of: date, scope: Scope, agings: list[domain.Aging], *, simple: bool = False
) -> dict[str, domain.Dso]:
    """DSO per currency as of a day, from the aging of that day."""
    if simple:
        sales = store.sales_minor(
            session, as_of, scope, as_of - timedelta(days=domain.SIMPLE_WINDOW_DAYS - 1), from_files=False
        )
        found = {}
        for total in agings:
            value = domain.simple_dso(total.total_minor, sum(sales.get(total.currency, {}).values()))
            found[total.currency] = _split(value, total)
        return found
    return _count_back(agings, store.sales_minor(session, as_of, scope, _sales_since(as_of)), as_of)


def months_from_files(session: Session, as_of: date, scope: Scope) -> dict[str, set[str]]:
    """The months by currency whose sales, of the count-back, files say at least in part."""
    return store.months_from_files(session, as_of, scope, _sales_since(as_of))


def _sales_since(as_of: date) -> date:
    """The first day of sales that the count-back as of a day looks at: whole months."""
    return (as_of.replace(day=1) - SALES_WINDOW).replace(day=1)


def _count_back(
    agings: list[domain.Aging], sales_minor: dict[str, dict[str, int]], as_of: date
) -> dict[str, domain.Dso]:
    """Count-back DSO per currency; of the sales by month, those are taken that are known as of the day."""
    first, last = domain.month_of(_sales_since(as_of)), domain.month_of(as_of)
    found = {}
    for total in agings:
        months = sales_minor.get(total.currency, {})
        known = {month: minor for month, minor in months.items() if first <= month <= last}
        found[total.currency] = _split(domain.count_back_dso(total.total_minor, known, as_of), total)
    return found


def _split(value: domain.Dso, total: domain.Aging) -> domain.Dso:
    return domain.split_dso(value, total.debit_minor - total.overdue_minor, total.debit_minor)


@dataclass
class CurrencyFigures:
    """The dashboard's figures in one currency; amounts in minor units."""

    aging: domain.Aging
    dso: domain.Dso
    held_minor_by_kind: dict[str, int] = field(default_factory=dict)
    held_overdue_minor: int = 0
    received_minor: int = 0


@dataclass
class Dashboard:
    """All figures of the dashboard."""

    currencies: list[CurrencyFigures]
    counts: RowMapping
    account_count: int
    series: list[tuple[date, CurrencyFigures]]


def dashboard(session: Session, as_of: date, scope: Scope) -> Dashboard:
    """All figures of the dashboard as of a day; holds and work are those of now."""
    # A month end's sales are those of whole months: one reading of the sales by month serves every day of the series.
    days = domain.month_ends(as_of, SERIES_MONTHS)
    by_day = {day: domain.aging(groups) for day, groups in store.aging_groups_by_day(session, days, scope).items()}
    sales = store.sales_minor(session, as_of, scope, _sales_since(days[0]))
    agings, values = by_day[as_of], _count_back(by_day[as_of], sales, as_of)
    received = store.received_minor(session, as_of.replace(day=1), as_of, scope)
    figures = {
        total.currency: CurrencyFigures(total, values[total.currency], received_minor=received.get(total.currency, 0))
        for total in agings
    }
    for currency, kind, is_overdue, minor in store.held_minor(session, as_of, scope):
        if currency in figures:
            kinds = figures[currency].held_minor_by_kind
            kinds[kind] = kinds.get(kind, 0) + minor
            figures[currency].held_overdue_minor += minor if is_overdue else 0
    series = []
    for day, then in by_day.items():
        then_dso = _count_back(then, sales, day)
        series += [(day, CurrencyFigures(total, then_dso[total.currency])) for total in then]
    return Dashboard(
        currencies=sorted(figures.values(), key=lambda one: (-one.aging.item_count, one.aging.currency)),
        counts=store.work_counts(session, as_of, scope.entity_codes),
        account_count=store.open_account_count(session, scope),
        series=series,
    )


@dataclass
class Activity:
    """One account's history and behaviour."""

    entries: list[RowMapping]
    aging: list[domain.Aging]
    average_delay_days: float
    paid_item_count: int
    profile: str


def account_activity(session: Session, account_id: str, today: date, limit: int) -> Activity:
    """What happened with one account, newest first, its aging and how it pays."""
    scope = replace(scope_for(session, account_id=account_id), entity_codes=None)
    delay, paid = store.payment_delay(session, account_id, domain.six_months_before(today))
    return Activity(
        entries=store.activity(session, account_id, limit),
        aging=aging(session, today, scope),
        average_delay_days=delay if paid >= domain.PROFILE_PAID_ITEMS_MIN else 0.0,
        paid_item_count=paid,
        profile=domain.payment_profile(delay, paid),
    )
