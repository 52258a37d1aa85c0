"""Limits and exposure: load, decide, save, say."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from credit_risk import domain, store
from kit import outbox
from kit.context import current_caller
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money
from quittance.credit_risk.v1 import credit_risk_events_pb2, credit_risk_service_pb2

UNKNOWN_CURRENCY = "EUR"


@dataclass(frozen=True)
class UnitCredit:
    """A legal unit with its accounts, its limits and where it stands."""

    legal_unit_id: str
    name: str
    registration_number: str
    accounts: list[RowMapping]
    limits: list[domain.Limit]
    exposure: domain.Exposure
    covers: list[domain.Cover]
    information: list[domain.Information]


ToProto = Callable[[UnitCredit, date], credit_risk_service_pb2.Credit]


def unit_of(session: Session, account_id: str) -> str:
    """The legal unit behind an account of the caller's. Refuses NOT_FOUND ACCOUNT_UNKNOWN."""
    row = store.account(session, account_id)
    if row is None or not current_caller().sees_entity(row["entity_code"]):
        raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account")
    return row["legal_unit_id"]


def credits(session: Session, legal_unit_ids: list[str], today: date) -> list[UnitCredit]:
    """Where legal units stand on a day, in the order of the ids; seven queries however many they are."""
    accounts, amounts, limits = defaultdict(list), defaultdict(list), defaultdict(list)
    for row in store.unit_accounts(session, legal_unit_ids):
        accounts[row["legal_unit_id"]].append(row)
    backlog = defaultdict(list)
    for unit, part in store.backlogs(session, legal_unit_ids):
        backlog[unit].append(part)
    rules = store.exposure_rules(session)
    for unit, amount in store.open_amounts(session, legal_unit_ids):
        amounts[unit].append(amount)
    for unit, limit in store.limits(session, legal_unit_ids):
        limits[unit].append(limit)
    covers, information = defaultdict(list), defaultdict(list)
    for unit, cover in store.covers(session, legal_unit_ids):
        covers[unit].append(cover)
    for unit, one in store.information(session, legal_unit_ids):
        information[unit].append(one)
    found = []
    for unit in legal_unit_ids:
        own = accounts[unit]
        if not own:
            continue
        currency = own[0]["entity_currency"] or UNKNOWN_CURRENCY
        stands = domain.exposure(amounts[unit], limits[unit], today, currency, backlog[unit], rules)
        name = own[0]["legal_unit_name"] or own[0]["name"]
        registration = own[0]["registration_number"]
        found.append(UnitCredit(unit, name, registration, own, limits[unit], stands, covers[unit], information[unit]))
    return found


def set_limit(
    session: Session, account_id: str, amount: Money, valid_from: date, valid_until: date | None, reason: str,
    now: datetime,
) -> str:  # fmt: skip
    """Sets the limit of the legal unit behind an account; returns the unit's id."""
    domain.check_limit(amount, valid_from, valid_until)
    unit = unit_of(session, account_id)
    store.lock_unit(session, unit)
    store.add_limit(session, new_id(), unit, amount, valid_from, valid_until, reason, current_caller().actor, now)
    return unit


def say_risk(session: Session, legal_unit_ids: list[str], today: date, to_proto: ToProto) -> int:
    """Says where the legal units stand that changed since it was last said; returns how many."""
    said = 0
    for unit in legal_unit_ids:
        store.lock_unit(session, unit)
    for credit in credits(session, legal_unit_ids, today):
        message = to_proto(credit, today)
        for name in ("parts", "history", "explanation", "as_of", "ages", "covers", "insured", "information"):
            message.ClearField(name)
        version = store.say_if_new(session, credit.legal_unit_id, message.SerializeToString(deterministic=True))
        if version:
            event = credit_risk_events_pb2.RiskChanged(credit=message, version=version)
            outbox.emit(session, event, key=credit.legal_unit_id)
            said += 1
    return said
