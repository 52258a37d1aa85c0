"""Entities, accounts and contacts; each function is one unit of work inside a transaction that the edge opens."""

from collections.abc import Mapping, Sequence
from datetime import date
from zoneinfo import available_timezones

from sqlalchemy.orm import Session

from kit import context
from kit.errors import Code, Refused
from ledger import domain
from ledger.store import accounts, holds, queries, saying
from ledger.store.tables import AccountRow, ContactRow, EntityRow


def create_entity(
    session: Session, *, code: str, name: str, country: str, currency: str, time_zone: str, language: str
) -> EntityRow:
    """Opens an entity. Refuses: ALREADY_EXISTS ENTITY_CODE_TAKEN; INVALID_ARGUMENT for a zone that does not exist."""
    if time_zone and time_zone not in available_timezones():
        raise Refused(
            Code.INVALID_ARGUMENT, "INVALID_FIELDS", "no IANA time zone", {"time_zone": f"{time_zone!r} is unknown"}
        )
    row = accounts.insert_entity(
        session,
        code=code,
        name=name,
        country=country,
        currency=currency,
        time_zone=time_zone or domain.default_time_zone(country),
        language=language or domain.default_language(country),
    )
    if row is None:
        raise Refused(Code.ALREADY_EXISTS, "ENTITY_CODE_TAKEN", "there is an entity with this code", entity_code=code)
    saying.say_entity(session, row)
    return row


def locked_account(session: Session, account_id: str) -> tuple[AccountRow, EntityRow]:
    """An account, locked until the transaction ends. Refuses: NOT_FOUND ACCOUNT_UNKNOWN."""
    found = holds.lock_account(session, account_id)
    if found is None or not context.current_caller().sees_entity(found[1].code):
        raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account", account_id=account_id)
    return found


def update_account(
    session: Session,
    account_id: str,
    today: date,
    *,
    collector: str | None,
    language: str | None,
    groups: Sequence[str],
    custom_fields: Mapping[str, str],
) -> None:
    """Changes what people keep on an account; None and empty groups stay as they are, an empty custom field goes.

    Refuses: NOT_FOUND ACCOUNT_UNKNOWN.
    """
    account, _ = locked_account(session, account_id)
    wanted = {
        "collector": account.collector if collector is None else collector.strip(),
        "language": account.language if language is None else language,
        "groups": sorted({group.strip() for group in groups if group.strip()}) or account.groups,
        "custom_fields": {
            name: value for name, value in {**account.custom_fields, **custom_fields}.items() if value != ""
        },
    }
    if all(getattr(account, name) == value for name, value in wanted.items()):
        return
    for name, value in wanted.items():
        setattr(account, name, value)
    session.flush()
    say(session, [account_id], today)


def create_contact(session: Session, account_id: str, today: date, **columns: str) -> str:
    """Adds a contact, or changes the one with this address; returns its id. Refuses: NOT_FOUND ACCOUNT_UNKNOWN."""
    locked_account(session, account_id)
    contact_id = accounts.upsert_contact(session, account_id, **columns)
    say(session, [account_id], today)
    return contact_id


def mark_contact(session: Session, contact_id: str, today: date, *, valid: bool, reason: str) -> ContactRow:
    """Says whether a contact can be reached. Refuses: NOT_FOUND CONTACT_UNKNOWN; INVALID_ARGUMENT without a reason."""
    if not valid and not reason.strip():
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "say why", {"reason": "compulsory when not valid"})
    found = queries.contact(session, contact_id)
    if found is None:
        raise Refused(Code.NOT_FOUND, "CONTACT_UNKNOWN", "there is no such contact", contact_id=contact_id)
    locked_account(session, found[0].account_id)
    contact = accounts.lock_contact(session, contact_id)
    if (contact.valid, contact.invalid_reason) != (valid, "" if valid else reason.strip()):
        contact.valid, contact.invalid_reason = valid, "" if valid else reason.strip()
        session.flush()
        say(session, [contact.account_id], today)
    return contact


def say(session: Session, account_ids: Sequence[str], today: date) -> None:
    """A new version of locked accounts, and what is true of them now."""
    holds.bump_accounts(session, account_ids)
    saying.say_accounts(session, today, list(account_ids))
