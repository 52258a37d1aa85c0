"""Entities, accounts and contacts; each function is one unit of work inside a transaction that the edge opens."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from zoneinfo import available_timezones

from sqlalchemy.orm import Session

from kit import context
from kit.errors import Code, Refused
from ledger import domain
from ledger.store import accounts, holds, queries, saying
from ledger.store import groups as groups_store
from ledger.store.tables import AccountRow, ContactRow, EntityRow
from ledger.usecases import audit


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
    said = {
        "name": name,
        "country": country,
        "currency": currency,
        "time_zone": row.time_zone,
        "language": row.language,
    }
    audit.note(session, "entity.create", "entity", row.entity_id, None, {"code": code, **said}, entity_code=code)
    return row


def locked_account(session: Session, account_id: str) -> tuple[AccountRow, EntityRow]:
    """An account, locked until the transaction ends; of one that was merged, the account it is now. Refuses: NOT_FOUND
    ACCOUNT_UNKNOWN."""
    found = holds.lock_account(session, account_id)
    if found is not None and found[0].merged_into_id is not None:
        found = holds.lock_account(session, found[0].merged_into_id)
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
    remove_groups: Sequence[str] = (),
    pinned_comment: str | None = None,
) -> None:
    """Changes what people keep on an account; None and empty groups stay as they are, an empty custom field goes.

    Refuses: NOT_FOUND ACCOUNT_UNKNOWN; INVALID_ARGUMENT for a value that is not of its field's type.
    """
    check_custom_fields(session, custom_fields)
    account, entity = locked_account(session, account_id)
    kept = domain.groups_after(groups, (), ()) or account.groups
    wanted = {
        "collector": account.collector if collector is None else collector.strip(),
        "language": account.language if language is None else language,
        "groups": domain.groups_after(kept, (), remove_groups),
        "custom_fields": {
            name: value for name, value in {**account.custom_fields, **custom_fields}.items() if value != ""
        },
        "pinned_comment": account.pinned_comment if pinned_comment is None else pinned_comment.strip(),
    }
    changed = apply(account, wanted)
    if not changed:
        return
    session.flush()
    say(session, [account.account_id], today)
    before = {name: value for name, (value, _) in changed.items()}
    after = {name: value for name, (_, value) in changed.items()}
    audit.note(session, "account.update", "account", account.account_id, before, after, entity_code=entity.code)


def apply(account: AccountRow, wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Writes what differs to a locked account, and that people did so; returns (before, after) by field."""
    changed = {
        name: (getattr(account, name), value) for name, value in wanted.items() if getattr(account, name) != value
    }
    for name, (_, value) in changed.items():
        setattr(account, name, value)
    edited = {*account.edited_fields, *(name for name in changed if name in domain.OWNED_FIELDS)}
    if edited != set(account.edited_fields):
        account.edited_fields = sorted(edited)
    return changed


def check_custom_fields(session: Session, values: Mapping[str, str]) -> None:
    """Refuses INVALID_FIELDS for values that are not of the type of their field."""
    known = {name: (row.type, row.options) for name, row in groups_store.definitions(session, "ACCOUNT").items()}
    wrong = domain.misfits(known, values)
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "a value is not of its field's type", wrong)
    groups_store.define(session, "ACCOUNT", [name for name, value in values.items() if value and name not in known])


def create_contact(session: Session, account_id: str, today: date, **columns: Any) -> str:
    """Adds a contact, or changes the one with this address; returns its id.

    Refuses: NOT_FOUND ACCOUNT_UNKNOWN, ITEM_UNKNOWN; INVALID_ARGUMENT where scope and items do not fit.
    """
    account, entity = locked_account(session, account_id)
    account_id = account.account_id
    _check_scope(session, account_id, columns.get("scope", "ACCOUNT"), columns.get("item_ids", ()))
    contact_id, before = accounts.upsert_contact(session, account_id, **columns)
    say(session, [account_id], today)
    what = "contact.create" if before is None else "contact.update"
    after = {"account_id": account_id, **columns}
    audit.note(session, what, "contact", contact_id, before, after, entity_code=entity.code)
    return contact_id


def mark_contact(session: Session, contact_id: str, today: date, *, valid: bool, reason: str) -> ContactRow:
    """Says whether a contact can be reached. Refuses: NOT_FOUND CONTACT_UNKNOWN; INVALID_ARGUMENT without a reason."""
    if not valid and not reason.strip():
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "say why", {"reason": "compulsory when not valid"})
    found = queries.contact(session, contact_id)
    if found is None:
        raise Refused(Code.NOT_FOUND, "CONTACT_UNKNOWN", "there is no such contact", contact_id=contact_id)
    _, entity = locked_account(session, found[0].account_id)
    contact = accounts.lock_contact(session, contact_id)
    if (contact.valid, contact.invalid_reason) != (valid, "" if valid else reason.strip()):
        before = {"valid": contact.valid, "invalid_reason": contact.invalid_reason}
        contact.valid, contact.invalid_reason = valid, "" if valid else reason.strip()
        session.flush()
        say(session, [contact.account_id], today)
        after = {"valid": contact.valid, "invalid_reason": contact.invalid_reason}
        audit.note(session, "contact.mark", "contact", contact_id, before, after, entity_code=entity.code)
    return contact


def _check_scope(session: Session, account_id: str, scope: str, item_ids: Sequence[str]) -> None:
    if (scope == "ITEMS") != bool(item_ids):
        text = "items are named when, and only when, the scope is items"
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", text, {"item_ids": text})
    if item_ids and len(accounts.items_of(session, account_id, item_ids)) < len(set(item_ids)):
        raise Refused(Code.NOT_FOUND, "ITEM_UNKNOWN", "there is no such item on this account", account_id=account_id)


def _locked_contact(session: Session, contact_id: str) -> tuple[ContactRow, AccountRow, EntityRow]:
    found = queries.contact(session, contact_id)
    if found is None:
        raise Refused(Code.NOT_FOUND, "CONTACT_UNKNOWN", "there is no such contact", contact_id=contact_id)
    account, entity = locked_account(session, found[0].account_id)
    return accounts.lock_contact(session, contact_id), account, entity


def update_contact(session: Session, contact_id: str, today: date, changes: Mapping[str, Any]) -> ContactRow:
    """Changes a contact. Refuses: NOT_FOUND CONTACT_UNKNOWN, ITEM_UNKNOWN; ALREADY_EXISTS CONTACT_TAKEN."""
    contact, account, entity = _locked_contact(session, contact_id)
    changes = dict(changes)
    scope = changes.get("scope", contact.scope)
    if scope != "ITEMS":
        changes["item_ids"] = []
    _check_scope(session, account.account_id, scope, changes.get("item_ids", contact.item_ids))
    changed = {name: value for name, value in changes.items() if getattr(contact, name) != value}
    if not changed:
        return contact
    email, name = changed.get("email", contact.email), changed.get("name", contact.name)
    if accounts.has_other_contact(session, account.account_id, contact_id, email, name):
        raise Refused(Code.ALREADY_EXISTS, "CONTACT_TAKEN", "the account has another contact with this address or name")
    before = {name: getattr(contact, name) for name in changed}
    for field, value in {**changed, "edited": True}.items():
        setattr(contact, field, value)
    if "email" in changed:
        # A new address has not failed yet.
        contact.valid, contact.invalid_reason = True, ""
    session.flush()
    say(session, [account.account_id], today)
    audit.note(session, "contact.update", "contact", contact_id, before, changed, entity_code=entity.code)
    return contact


def delete_contact(session: Session, contact_id: str, today: date) -> None:
    """Takes a contact away; its row stays, so that no file brings it back. Refuses: NOT_FOUND CONTACT_UNKNOWN."""
    contact, account, entity = _locked_contact(session, contact_id)
    contact.active = False
    session.flush()
    say(session, [account.account_id], today)
    before = {"name": contact.name, "email": contact.email, "phone": contact.phone}
    audit.note(session, "contact.delete", "contact", contact_id, before, None, entity_code=entity.code)


def update_entity(session: Session, id_or_code: str, changes: Mapping[str, Any]) -> EntityRow:
    """Changes an entity: name, language, time_zone, ignore_item_below_minor, min_account_minor, field_owners (merged).

    Refuses: NOT_FOUND ENTITY_UNKNOWN; INVALID_ARGUMENT for a zone or a field that does not exist.
    """
    row = groups_store.lock_entity_row(session, id_or_code)
    if row is None or not context.current_caller().sees_entity(row.code):
        raise Refused(Code.NOT_FOUND, "ENTITY_UNKNOWN", "there is no such entity", entity=id_or_code)
    changes = dict(changes)
    zone = changes.get("time_zone")
    if zone is not None and zone not in available_timezones():
        raise Refused(
            Code.INVALID_ARGUMENT, "INVALID_FIELDS", "no IANA time zone", {"time_zone": f"{zone!r} is unknown"}
        )
    if changes.get("name", "x") == "":
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "an entity has a name", {"name": "an entity has a name"})
    wrong = {}
    for field, owner in changes.get("field_owners", {}).items():
        if field not in domain.OWNED_FIELDS or owner not in domain.FIELD_OWNERS:
            wrong[f"field_owners.{field}"] = "no field that can have an owner"
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "no field that can have an owner", wrong)
    if "field_owners" in changes:
        changes["field_owners"] = {**row.field_owners, **changes["field_owners"]}
    changed = {name: value for name, value in changes.items() if getattr(row, name) != value}
    if not changed:
        return row
    before = {name: getattr(row, name) for name in changed}
    for name, value in changed.items():
        setattr(row, name, value)
    row.version += 1
    session.flush()
    saying.say_entity(session, row)
    audit.note(session, "entity.update", "entity", row.entity_id, before, changed, entity_code=row.code)
    return row


def say(session: Session, account_ids: Sequence[str], today: date) -> None:
    """A new version of locked accounts, and what is true of them now."""
    holds.bump_accounts(session, account_ids)
    saying.say_accounts(session, today, list(account_ids))
