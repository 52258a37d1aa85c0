"""Groups, custom fields, items left out of collection, and one change to many accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from kit.errors import Code, Refused
from ledger import domain
from ledger.store import groups, holds, queries
from ledger.store.tables import AccountRow, FieldDefinitionRow
from ledger.usecases import audit
from ledger.usecases.customers import apply, check_custom_fields, locked_account, say
from ledger.usecases.holds import HoldOrder, place_holds, release_holds
from ledger.usecases.merging import check_master

BULK_MAX = 5000
BULK_BATCH = 500
EFFECTS_MAX = 50
EXCLUSION_SOURCE, EXCLUSION_ID = "ledger", "exclusion"


# ---- groups ----------------------------------------------------------------------------------------------------------


def create_group(session: Session, code: str, name: str, colour: str) -> None:
    """Names a group. Refuses: ALREADY_EXISTS GROUP_CODE_TAKEN."""
    if not groups.insert_group(session, code, name, colour):
        raise Refused(Code.ALREADY_EXISTS, "GROUP_CODE_TAKEN", "there is a group with this code", group_code=code)
    audit.note(session, "group.create", "group", code, None, {"name": name, "colour": colour})


def update_group(session: Session, code: str, name: str | None, colour: str | None) -> None:
    """Changes a group; one that only accounts named joins the registry. Refuses: NOT_FOUND GROUP_UNKNOWN."""
    row = groups.group(session, code)
    if row is None:
        raise Refused(Code.NOT_FOUND, "GROUP_UNKNOWN", "there is no such group", group_code=code)
    after = {"name": row.name if name is None else name, "colour": row.colour if colour is None else colour}
    groups.save_group(session, code, **after)
    audit.note(session, "group.update", "group", code, {"name": row.name, "colour": row.colour}, after)


def delete_group(session: Session, code: str) -> None:
    """Forgets a group. Refuses: NOT_FOUND GROUP_UNKNOWN; FAILED_PRECONDITION GROUP_IN_USE."""
    row = groups.group(session, code)
    if row is None:
        raise Refused(Code.NOT_FOUND, "GROUP_UNKNOWN", "there is no such group", group_code=code)
    if groups.is_group_used(session, code):
        raise Refused(Code.FAILED_PRECONDITION, "GROUP_IN_USE", "accounts are in this group: take them out first")
    groups.delete_group(session, code)
    audit.note(session, "group.delete", "group", code, {"name": row.name, "colour": row.colour}, None)


# ---- custom fields ---------------------------------------------------------------------------------------------------


def set_custom_field(
    session: Session, field_object: str, name: str, kind: str, options: Sequence[str], label_en: str, label_fr: str
) -> FieldDefinitionRow:
    """Defines a field, or changes its definition.

    Refuses: INVALID_ARGUMENT for a list without options; FAILED_PRECONDITION VALUES_DO_NOT_FIT.
    """
    if (kind == "LIST") != bool(options):
        text = "a list has options, nothing else has"
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", text, {"options": text})
    others = {groups.filter_name(other): other for other in groups.definitions(session, field_object)}
    if others.get(groups.filter_name(name), name) != name:
        text = "a field with almost the same name exists"
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", text, {"name": text})
    bad = groups.misfits(session, field_object, name, kind, options)
    if bad:
        raise Refused(
            Code.FAILED_PRECONDITION, "VALUES_DO_NOT_FIT", "values that are kept are not of this type", values=str(bad)
        )
    before = groups.definitions(session, field_object).get(name)
    was = None if before is None else {"type": before.type, "options": before.options}
    columns = {"type": kind, "options": list(options), "label_en": label_en, "label_fr": label_fr}
    row = groups.save_definition(session, field_object, name, **columns)
    audit.note(session, "custom_field.set", "custom_field", f"{field_object}/{name}", was, columns)
    return row


def delete_custom_field(session: Session, field_object: str, name: str) -> None:
    """Forgets a definition; values stay. Refuses: NOT_FOUND CUSTOM_FIELD_UNKNOWN."""
    if not groups.delete_definition(session, field_object, name):
        raise Refused(Code.NOT_FOUND, "CUSTOM_FIELD_UNKNOWN", "there is no such custom field", name=name)
    audit.note(session, "custom_field.delete", "custom_field", f"{field_object}/{name}", {"name": name}, None)


# ---- items left out --------------------------------------------------------------------------------------------------


def exclude_items(
    session: Session, account_id: str, item_ids: Sequence[str], reason: str, until_on: date | None, today: date
) -> int:
    """Holds all of these items, for collection only; they stay in every balance and figure.

    Refuses: what place_holds refuses.
    """
    orders = [
        HoldOrder(item_id, "EXCLUSION", "", None, None, until_on, None, reason) for item_id in dict.fromkeys(item_ids)
    ]
    placed, _ = place_holds(session, account_id, EXCLUSION_SOURCE, EXCLUSION_ID, orders, [], today)
    return len(placed)


def include_items(session: Session, account_id: str, item_ids: Sequence[str], reason: str, today: date) -> int:
    """Ends every exclusion of these items; returns how many items are collected again. Refuses: NOT_FOUND
    ACCOUNT_UNKNOWN."""
    account, _ = locked_account(session, account_id)
    active = holds.active_of_items(session, list(item_ids))
    ids = [hold.hold_id for hold in active if hold.kind == "EXCLUSION" and hold.account_id == account.account_id]
    ended = release_holds(session, ids, [], reason, today) if ids else []
    return len({hold.item_id for hold, _ in ended})


# ---- many accounts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BulkChange:
    """What many accounts become; None stays. master_account_id "" means by themselves."""

    collector: str | None = None
    language: str | None = None
    add_groups: Sequence[str] = ()
    remove_groups: Sequence[str] = ()
    custom_fields: Mapping[str, str] = field(default_factory=dict)
    master_account_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing at all."""
        return self == BulkChange()

    def wanted(self, account: AccountRow) -> dict[str, Any]:
        """The account's columns afterwards."""
        found: dict[str, Any] = {
            "groups": domain.groups_after(account.groups, self.add_groups, self.remove_groups),
            "custom_fields": {
                name: value for name, value in {**account.custom_fields, **self.custom_fields}.items() if value != ""
            },
        }
        if self.collector is not None:
            found["collector"] = self.collector.strip()
        if self.language is not None:
            found["language"] = self.language
        if self.master_account_id is not None:
            found["master_account_id"] = self.master_account_id or None
        return found


@dataclass(frozen=True)
class BulkEffect:
    """What one account becomes: (before, after) by field."""

    account: AccountRow
    changed: dict[str, tuple[Any, Any]]


def bulk_targets(session: Session, account_ids: Sequence[str], filter_text: str, words: str) -> list[str]:
    """The accounts a bulk change means, ascending, those the caller may see. Refuses: INVALID_ARGUMENT
    TOO_MANY_ACCOUNTS, INVALID_FIELDS."""
    if account_ids:
        found = [
            row[0].account_id for i in sorted(set(account_ids)) if (row := queries.account(session, i)) is not None
        ]
    else:
        page = queries.Page(filter=filter_text)
        custom = groups.conditions(session, filter_text)
        found = queries.account_ids_like(session, page, words, custom, BULK_MAX + 1)
    if len(found) > BULK_MAX:
        raise Refused(
            Code.INVALID_ARGUMENT, "TOO_MANY_ACCOUNTS", "no more than 5,000 accounts change at once: narrow the filter"
        )
    return found


def plan_bulk(session: Session, account_ids: Sequence[str], change: BulkChange) -> tuple[int, list[BulkEffect]]:
    """How many of these accounts would change, and the first of them."""
    _check_bulk(session, change)
    count = 0
    effects: list[BulkEffect] = []
    for account in queries.accounts_by_id(session, account_ids):
        wanted = change.wanted(account)
        changed = {
            name: (getattr(account, name), value) for name, value in wanted.items() if getattr(account, name) != value
        }
        if "master_account_id" in changed and change.master_account_id:
            _check_master(session, account, change.master_account_id)
        if changed:
            count += 1
            if len(effects) < EFFECTS_MAX:
                effects.append(BulkEffect(account, changed))
    return count, effects


def write_bulk(session: Session, account_ids: Sequence[str], change: BulkChange, today: date) -> int:
    """Changes one batch of accounts (BULK_BATCH at most); returns how many did change."""
    _check_bulk(session, change)
    touched: set[str] = set()
    count = 0
    if change.master_account_id:
        holds.lock_account(session, change.master_account_id)
    for account_id in sorted(account_ids):
        found = holds.lock_account(session, account_id)
        if found is None or found[0].merged_into_id is not None:
            continue
        account, entity = found
        wanted = change.wanted(account)
        if wanted.get("master_account_id", account.master_account_id) != account.master_account_id:
            if change.master_account_id:
                _check_master(session, account, change.master_account_id)
            touched |= {*filter(None, (account.master_account_id, change.master_account_id))}
        changed = apply(account, wanted)
        if not changed:
            continue
        session.flush()
        count += 1
        touched.add(account_id)
        before = {name: value for name, (value, _) in changed.items()}
        after = {name: value for name, (_, value) in changed.items()}
        audit.note(session, "account.update", "account", account_id, before, after, entity_code=entity.code)
    if touched:
        say(session, sorted(touched), today)
    return count


def _check_bulk(session: Session, change: BulkChange) -> None:
    if change.is_empty:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "say what changes", {"collector": "say what changes"})
    check_custom_fields(session, change.custom_fields)


def _check_master(session: Session, account: AccountRow, master_id: str) -> None:
    row = queries.account(session, master_id)
    if row is None or row[0].merged_into_id is not None:
        raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account", account_id=master_id)
    check_master(session, account, row[0])
