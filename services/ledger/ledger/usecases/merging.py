"""Accounts that are one customer, put into one and taken apart; grouped collection; legal units of accounts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from kit import context
from kit.errors import Code, Refused
from ledger.store import holds, legal_units, load, merging, queries, saying
from ledger.store.tables import AccountRow, EntityRow, LegalUnitRow
from ledger.usecases import audit
from ledger.usecases.customers import locked_account, say

CONFLICTS_MAX = 50
# So many items of all accounts together are said in one event.
ONE_EVENT_ITEMS = 1500
# Accounts that are collected through one: a look at the ledger reads them all.
GROUPED_MAX = 200


@dataclass(frozen=True)
class MergePlan:
    """What a merge moves; balances as of the business date, by currency."""

    item_count: int
    hold_count: int
    balances: Sequence[Any]
    contact_ids: list[str]
    names: list[str]
    groups: list[str]
    conflicts: list[Row] = field(default_factory=list)
    registrations_differ: bool = False


def _unknown(account_id: str) -> Refused:
    return Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account", account_id=account_id)


def merge_accounts(
    session: Session, survivor_id: str, merged_ids: Sequence[str], reason: str, today: date, *, plan_only: bool
) -> MergePlan:
    """Puts accounts of one entity into one of them, or says what that would do.

    Refuses: NOT_FOUND ACCOUNT_UNKNOWN; FAILED_PRECONDITION MERGE_IMPOSSIBLE, MERGE_CONFLICT.
    """
    wanted = sorted({survivor_id, *merged_ids})
    seen = queries.account(session, survivor_id)
    if seen is None:
        raise _unknown(survivor_id)
    entity: EntityRow = seen[1]
    if not plan_only:
        # No load of the entity may be between two looks at its accounts.
        load.lock_entity(session, entity.entity_id)
    rows = {account_id: _seen_account(session, account_id, is_locked=not plan_only) for account_id in wanted}
    if survivor_id in merged_ids or any(row.entity_id != entity.entity_id for row in rows.values()):
        raise Refused(Code.FAILED_PRECONDITION, "MERGE_IMPOSSIBLE", "only different accounts of one entity become one")
    if any(row.merged_into_id is not None for row in rows.values()):
        raise Refused(Code.FAILED_PRECONDITION, "MERGE_IMPOSSIBLE", "one of the accounts was merged already")
    plan = _plan(session, rows, survivor_id, today)
    if plan_only:
        return plan
    if plan.conflicts:
        raise Refused(
            Code.FAILED_PRECONDITION,
            "MERGE_CONFLICT",
            "the accounts have the same item: correct it where it was made",
            numbers=", ".join(row.number for row in plan.conflicts[:10]),
        )
    _write_merge(session, rows, survivor_id, plan, reason, entity, today)
    return plan


def _seen_account(session: Session, account_id: str, *, is_locked: bool) -> AccountRow:
    if is_locked:
        found = holds.lock_account(session, account_id)
        if found is None or not context.current_caller().sees_entity(found[1].code):
            raise _unknown(account_id)
        return found[0]
    row = queries.account(session, account_id)
    if row is None:
        raise _unknown(account_id)
    return row[0]


def _plan(session: Session, rows: dict[str, AccountRow], survivor_id: str, today: date) -> MergePlan:
    merged_ids = [account_id for account_id in rows if account_id != survivor_id]
    item_count, hold_count = merging.sizes(session, merged_ids)
    spellings = merging.names(session, list(rows))
    new_names = set().union(*(spellings[account_id] for account_id in merged_ids)) - spellings[survivor_id]
    groups = set().union(*(rows[account_id].groups for account_id in merged_ids)) - set(rows[survivor_id].groups)
    found = queries.balances(session, merged_ids, today)
    units = {account_id: queries.account(session, account_id) for account_id in rows}
    numbers = {
        (row[2].registration_number, row[2].country)
        for row in units.values()
        if row is not None and row[2].registration_number
    }
    return MergePlan(
        item_count=item_count,
        hold_count=hold_count,
        balances=sum_balances([balance for balances in found.values() for balance in balances]),
        contact_ids=merging.moving_contacts(session, survivor_id, merged_ids),
        names=sorted(new_names),
        groups=sorted(groups),
        conflicts=merging.conflicts(session, list(rows), CONFLICTS_MAX),
        registrations_differ=len(numbers) > 1,
    )


_SUMMED = ("open_minor", "credits_minor", "overdue_minor", "held_minor", "collectable_overdue_minor", "item_count")


@dataclass
class BalanceSum:
    """Balances of several accounts in one currency."""

    currency: str
    open_minor: int = 0
    credits_minor: int = 0
    overdue_minor: int = 0
    held_minor: int = 0
    collectable_overdue_minor: int = 0
    item_count: int = 0


def sum_balances(balances: Sequence[Any]) -> list[BalanceSum]:
    """One sum per currency, by currency."""
    sums: dict[str, BalanceSum] = {}
    for balance in balances:
        total = sums.setdefault(balance.currency, BalanceSum(balance.currency))
        for name in _SUMMED:
            setattr(total, name, getattr(total, name) + int(getattr(balance, name)))
    return [sums[currency] for currency in sorted(sums)]


def _write_merge(
    session: Session,
    rows: dict[str, AccountRow],
    survivor_id: str,
    plan: MergePlan,
    reason: str,
    entity: EntityRow,
    today: date,
) -> None:
    merged_ids = [account_id for account_id in rows if account_id != survivor_id]
    survivor = rows[survivor_id]
    spellings, known = merging.names(session, list(rows)), set(merging.names(session, [survivor_id])[survivor_id])
    known_groups = set(survivor.groups)
    grouped = merging.grouped_under(session, merged_ids)
    signs = merging.signs_to(session, merged_ids)
    merging.touch(session, list(rows))
    for account_id in merged_ids:
        names, groups = spellings[account_id] - known, set(rows[account_id].groups) - known_groups
        merging.keep(
            session,
            entity_id=entity.entity_id,
            survivor_id=survivor_id,
            merged_id=account_id,
            item_count=merging.sizes(session, [account_id])[0],
            names_added=sorted(names),
            groups_added=sorted(groups),
            reason=reason,
        )
        known |= names
        known_groups |= groups
    item_count = merging.move_items(session, survivor_id, merged_ids, entity.code)
    merging.move_contacts(session, plan.contact_ids, survivor_id)
    survivor.groups = sorted(known_groups)
    if survivor.master_account_id in merged_ids:
        survivor.master_account_id = None
    session.flush()
    merging.link(session, survivor_id, merged_ids)
    merging.add_names(session, survivor_id, plan.names)
    merging.recount_names(session, list(rows))
    load.refresh_accounts(session)
    item_count += merging.sizes(session, [survivor_id])[0]
    _say_moved(session, [survivor_id], merged_ids, item_count, today)
    others = sorted({*grouped, *signs} - set(rows))
    if others:
        say(session, others, today)
    for account_id in merged_ids:
        audit.note(
            session, "account.merge", "account", account_id, {"number": rows[account_id].number},
            {"survivor_id": survivor_id, "survivor_number": survivor.number, "reason": reason}, entity_code=entity.code,
        )  # fmt: skip


def _say_moved(session: Session, takers: Sequence[str], givers: Sequence[str], item_count: int, today: date) -> None:
    """Says accounts between which items moved so that no reader ever misses one of these.

    In one event where they fit. Else who has the items now comes first (a promise about an item that is nowhere would
    count as kept), and once more at the end (a reader that knows an item or a contact once only takes it then).
    """
    if item_count <= ONE_EVENT_ITEMS:
        saying.say_accounts(session, today, [*takers, *givers])
        return
    saying.say_accounts(session, today, list(takers))
    saying.say_accounts(session, today, list(givers))
    say(session, sorted(takers), today)


def split_merge(session: Session, account_id: str, reason: str, today: date) -> tuple[str, int]:
    """Undoes the merge of one account; returns the account it came out of and how many items went back.

    Refuses: NOT_FOUND ACCOUNT_UNKNOWN; FAILED_PRECONDITION NOT_MERGED, SPLIT_IMPOSSIBLE.
    """
    seen = queries.account(session, account_id)
    if seen is None:
        raise _unknown(account_id)
    entity: EntityRow = seen[1]
    load.lock_entity(session, entity.entity_id)
    row = merging.in_force(session, account_id)
    survivor_id = merging.surviving(session, account_id)
    if row is None or survivor_id == account_id:
        raise Refused(Code.FAILED_PRECONDITION, "NOT_MERGED", "this account was not merged into another")
    if merging.crosses_allocations(session, survivor_id, account_id):
        raise Refused(
            Code.FAILED_PRECONDITION, "SPLIT_IMPOSSIBLE", "a credit of one account is set against a debt of the other"
        )
    merging.touch(session, [account_id, survivor_id])
    survivor = _seen_account(session, survivor_id, is_locked=True)
    moved = merging.move_items_back(session, survivor_id, account_id, entity.code)
    merging.move_contacts_back(session, survivor_id, account_id)
    survivor.groups = sorted(set(survivor.groups) - set(row.groups_added))
    session.flush()
    merging.unlink(session, account_id)
    merging.recount_names(session, [account_id, survivor_id])
    merging.drop_names(session, survivor_id, row.names_added)
    merging.end(session, row)
    load.refresh_accounts(session)
    _say_moved(session, [account_id], [survivor_id], moved + merging.sizes(session, [survivor_id])[0], today)
    audit.note(
        session, "account.split", "account", account_id, {"survivor_id": survivor_id, "survivor_number": survivor.number},
        {"items": moved, "reason": reason}, entity_code=entity.code,
    )  # fmt: skip
    return survivor_id, moved


def set_master(session: Session, account_id: str, master_id: str, today: date) -> None:
    """Collects an account through another one, or (master_id empty) by itself again.

    Refuses: NOT_FOUND ACCOUNT_UNKNOWN; FAILED_PRECONDITION MASTER_IMPOSSIBLE.
    """
    for locked in sorted({account_id, master_id} - {""}):
        holds.lock_account(session, locked)
    account, entity = locked_account(session, account_id)
    wanted = None
    if master_id:
        master, _ = locked_account(session, master_id)
        wanted = master.account_id
        check_master(session, account, master)
    if account.master_account_id == wanted:
        return
    before = account.master_account_id
    account.master_account_id = wanted
    session.flush()
    # Both masters collect something else now.
    say(session, sorted({account.account_id, *filter(None, (before, wanted))}), today)
    audit.note(
        session, "account.master", "account", account.account_id, {"master_account_id": before},
        {"master_account_id": wanted}, entity_code=entity.code,
    )  # fmt: skip


def check_master(session: Session, account: AccountRow, master: AccountRow) -> None:
    """Refuses FAILED_PRECONDITION MASTER_IMPOSSIBLE unless one level of accounts of one entity comes of it."""
    if master.account_id == account.account_id or master.entity_id != account.entity_id:
        raise Refused(Code.FAILED_PRECONDITION, "MASTER_IMPOSSIBLE", "a master is another account of the same entity")
    if master.master_account_id is not None or merging.grouped_under(session, [account.account_id]):
        raise Refused(
            Code.FAILED_PRECONDITION, "MASTER_IMPOSSIBLE", "a master is collected by itself, and its accounts lead none"
        )
    if len(merging.grouped_under(session, [master.account_id])) >= GROUPED_MAX:
        raise Refused(
            Code.FAILED_PRECONDITION, "MASTER_IMPOSSIBLE", "no more than 200 accounts are collected through one"
        )


# ---- legal units -----------------------------------------------------------------------------------------------------


def update_unit(
    session: Session,
    legal_unit_id: str,
    today: date,
    *,
    name: str | None,
    registration_number: str | None,
    country: str | None,
) -> None:
    """Changes a company; says all its accounts. Refuses: NOT_FOUND LEGAL_UNIT_UNKNOWN; ALREADY_EXISTS REGISTRATION_TAKEN."""
    if legal_units.unit(session, legal_unit_id) is None:
        raise _unit_unknown(legal_unit_id)
    row = legal_units.lock_unit(session, legal_unit_id)
    assert row is not None, "it has an account"
    given = {"name": name, "registration_number": registration_number, "country": country}
    wanted = {field: value.strip() for field, value in given.items() if value is not None}
    changed = {field: value for field, value in wanted.items() if getattr(row, field) != value}
    if not changed:
        return
    registration = (changed.get("registration_number", row.registration_number), changed.get("country", row.country))
    other = legal_units.by_registration(session, *registration) if registration[0] else None
    if other is not None and other.legal_unit_id != legal_unit_id:
        raise Refused(Code.ALREADY_EXISTS, "REGISTRATION_TAKEN", "another company has this registration number")
    before = {field: getattr(row, field) for field in changed}
    for field_name, value in changed.items():
        setattr(row, field_name, value)
    session.flush()
    _say_many(session, legal_units.account_ids(session, legal_unit_id), today)
    audit.note(session, "legal_unit.update", "legal_unit", legal_unit_id, before, changed)


def _unit_unknown(legal_unit_id: str) -> Refused:
    return Refused(Code.NOT_FOUND, "LEGAL_UNIT_UNKNOWN", "there is no such company", legal_unit_id=legal_unit_id)


def _say_many(session: Session, account_ids: Sequence[str], today: date) -> None:
    """A new version of accounts, as many as there are."""
    if not account_ids:
        return
    merging.touch(session, account_ids)
    holds.bump_accounts(session, account_ids)
    saying.say_accounts(session, today)


def assign_unit(
    session: Session,
    account_id: str,
    today: date,
    *,
    legal_unit_id: str,
    registration_number: str,
    country: str,
    name: str,
) -> None:
    """Puts an account behind another company. Refuses: NOT_FOUND ACCOUNT_UNKNOWN, LEGAL_UNIT_UNKNOWN."""
    account, entity = locked_account(session, account_id)
    before = account.legal_unit_id
    unit = _wanted_unit(session, account, legal_unit_id, registration_number.strip(), country, name.strip())
    if unit.legal_unit_id == before:
        return
    account.legal_unit_id = unit.legal_unit_id
    session.flush()
    legal_units.drop_if_empty(session, before)
    say(session, [account.account_id], today)
    after = {"legal_unit_id": unit.legal_unit_id, "registration_number": unit.registration_number}
    audit.note(
        session, "account.legal_unit", "account", account.account_id, {"legal_unit_id": before}, after,
        entity_code=entity.code,
    )  # fmt: skip


def _wanted_unit(
    session: Session, account: AccountRow, legal_unit_id: str, registration_number: str, country: str, name: str
) -> LegalUnitRow:
    if legal_unit_id:
        known = legal_units.lock_unit(session, legal_unit_id)
        if known is None or legal_units.unit(session, legal_unit_id) is None:
            raise _unit_unknown(legal_unit_id)
        return known
    country = country or account.country
    if registration_number:
        known = legal_units.by_registration(session, registration_number, country)
        if known is not None:
            return known
    elif len(legal_units.account_ids(session, account.legal_unit_id)) == 1:
        # It has a company of its own already.
        own = legal_units.lock_unit(session, account.legal_unit_id)
        assert own is not None, "every account has a company"
        return own
    return legal_units.insert_unit(
        session,
        registration_number=registration_number,
        country=country if registration_number else "",
        name=name or account.name,
    )
