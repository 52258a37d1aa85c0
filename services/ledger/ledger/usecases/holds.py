"""Holds: the single mechanism by which an amount is not collectable now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from kit import context
from kit.errors import Code, Refused
from ledger import domain
from ledger.store import holds, merging, queries
from ledger.store.tables import HoldRow, ItemRow
from ledger.usecases import audit
from ledger.usecases.customers import locked_account, say

# Accounts swept in one transaction.
SWEEP_ACCOUNTS = 500


@dataclass(frozen=True)
class HoldOrder:
    """A hold wanted. currency "" and amount_minor None mean all that is left; from_on None means today."""

    item_id: str
    kind: str
    currency: str
    amount_minor: int | None
    from_on: date | None
    until_on: date | None
    review_on: date | None
    reason: str


@dataclass(frozen=True)
class HoldSource:
    """All holds a source placed under one id; item_ids empty means on all items."""

    source: str
    source_id: str
    item_ids: tuple[str, ...] = ()


def place_holds(
    session: Session,
    account_id: str,
    source: str,
    source_id: str,
    orders: Sequence[HoldOrder],
    ends: Sequence[HoldSource],
    today: date,
) -> tuple[list[tuple[HoldRow, str]], int]:
    """Places holds on items of one account and ends others, all or none.

    Returns: the new holds with their currency, in the order asked for, and the account's version after it.
    Refuses: NOT_FOUND ACCOUNT_UNKNOWN, ITEM_UNKNOWN; FAILED_PRECONDITION HOLD_EXCEEDS_OPEN, ITEM_CLEARED;
    INVALID_ARGUMENT for an amount in another currency or an end before its beginning.
    """
    account, entity = locked_account(session, account_id)
    account_id = account.account_id
    # What is asked of a master may be about the accounts collected through it.
    account_ids = [account_id, *merging.grouped_under(session, [account_id])]
    for grouped_id in account_ids[1:]:
        holds.lock_account(session, grouped_id)
    items = {item.item_id: item for item in holds.lock_items(session, account_ids, [o.item_id for o in orders])}
    for order in orders:
        if order.item_id not in items:
            raise Refused(
                Code.NOT_FOUND, "ITEM_UNKNOWN", "there is no such item on this account", item_id=order.item_id
            )
    _check_orders(orders, items, today)
    gone = [
        hold
        for hold in holds.active_of_sources(session, [(e.source, e.source_id, e.item_ids) for e in ends])
        # A source may hold items of several accounts; only these accounts' rows are locked.
        if hold.account_id in account_ids
    ]
    changes = [(hold.hold_id, "RELEASED", hold.amount_minor, f"{source} {source_id}") for hold in gone]
    ended = {hold.hold_id for hold in gone}
    active = [hold for hold in holds.active_of_items(session, list(items)) if hold.hold_id not in ended]
    by_item: dict[str, list[domain.ActiveHold]] = {item_id: [] for item_id in items}
    keys = {(order.item_id, order.kind) for order in orders}
    for hold in active:
        if hold.until_on is not None and hold.until_on < today:
            changes.append((hold.hold_id, "EXPIRED", hold.amount_minor, ""))
        elif (hold.source, hold.source_id) == (source, source_id) and (hold.item_id, hold.kind) in keys:
            changes.append((hold.hold_id, "REPLACED", hold.amount_minor, ""))
        else:
            by_item[hold.item_id].append(domain.ActiveHold(hold.hold_id, hold.amount_minor))
    holds.change(session, changes)
    placed = []
    for order in orders:
        item = items[order.item_id]
        wish = domain.HoldWish(order.item_id, order.amount_minor)
        amount_minor = domain.hold_amount(wish, item.open_minor, by_item[order.item_id])
        hold = holds.place(
            session,
            item.account_id,
            order.item_id,
            today,
            kind=order.kind,
            amount_minor=amount_minor,
            from_on=order.from_on or today,
            until_on=order.until_on,
            review_on=order.review_on,
            reason=order.reason,
            source=source,
            source_id=source_id,
        )
        by_item[order.item_id].append(domain.ActiveHold(hold.hold_id, amount_minor))
        placed.append((hold, item.currency))
    touched = {account_id, *(item.account_id for item in items.values()), *(hold.account_id for hold in gone)}
    say(session, sorted(touched), today)
    audit.note(
        session,
        "holds.place",
        "account",
        account_id,
        {"ended": [hold_id for hold_id, *_ in changes]} if changes else None,
        {
            "source": source,
            "source_id": source_id,
            "holds": [
                {"hold_id": hold.hold_id, "item_id": hold.item_id, "kind": hold.kind, "amount_minor": hold.amount_minor,
                 "from_on": hold.from_on, "until_on": hold.until_on, "reason": hold.reason}
                for hold, _ in placed
            ],
        },
        entity_code=entity.code,
    )  # fmt: skip
    return placed, account.version + 1


def _check_orders(orders: Sequence[HoldOrder], items: Mapping[str, ItemRow], today: date) -> None:
    wrong: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for place, order in enumerate(orders):
        field = f"holds[{place}]"
        if order.amount_minor is not None and order.currency != items[order.item_id].currency:
            wrong[f"{field}.amount"] = f"the item is in {items[order.item_id].currency}"
        if order.until_on is not None and order.until_on < (order.from_on or today):
            wrong[f"{field}.until_on"] = "before its first day"
        if (order.item_id, order.kind) in seen:
            wrong[f"{field}.item_id"] = "twice with the same kind"
        seen.add((order.item_id, order.kind))
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "these holds cannot be placed", wrong)


def release_holds(
    session: Session, hold_ids: Sequence[str], sources: Sequence[HoldSource], reason: str, today: date
) -> list[tuple[HoldRow, str]]:
    """Ends holds by id or by source; those that are ended already stay as they are.

    Returns: the holds ended now, with their currency. Unknown ids, and ids out of the caller's scope, are passed over.
    """
    by_source = [(source.source, source.source_id, source.item_ids) for source in sources]

    def wanted() -> dict[str, HoldRow]:
        found = holds.active_by_ids(session, hold_ids) + holds.active_of_sources(session, by_source)
        return {hold.hold_id: hold for hold in found}

    caller = context.current_caller()
    account_ids, codes = [], {}
    for account_id in sorted({hold.account_id for hold in wanted().values()}):
        found = holds.lock_account(session, account_id)
        if found is not None and caller.sees_entity(found[1].code):
            account_ids.append(account_id)
            codes[account_id] = found[1].code
    # Under the locks nobody else ends or places; what was found before them may have ended meanwhile.
    ended = sorted(
        (hold for hold in wanted().values() if hold.account_id in set(account_ids)), key=lambda hold: hold.hold_id
    )
    holds.change(session, [(hold.hold_id, "RELEASED", hold.amount_minor, reason) for hold in ended])
    touched = sorted({hold.account_id for hold in ended})
    if touched:
        say(session, touched, today)
    for account_id in touched:
        before = {"hold_ids": [hold.hold_id for hold in ended if hold.account_id == account_id]}
        audit.note(
            session, "holds.release", "account", account_id, before, {"reason": reason}, entity_code=codes[account_id]
        )
    currencies = queries.currencies(session, [hold.item_id for hold in ended])
    return [(hold, currencies[hold.item_id]) for hold in ended]


def sweep_holds(session: Session, today: date) -> int:
    """Ends holds whose last day is past and says those that come into force today; returns how many accounts changed.

    At most 500 accounts at a time: call again until it returns 0.
    """
    account_ids = holds.due_accounts(session, today, SWEEP_ACCOUNTS)
    codes = {}
    for account_id in account_ids:
        found = holds.lock_account(session, account_id)
        if found is not None:
            codes[account_id] = found[1].code
    expired = holds.expired_of_accounts(session, account_ids, today)
    holds.change(session, [(hold.hold_id, "EXPIRED", hold.amount_minor, "") for hold in expired])
    holds.begin(session, account_ids, today)
    if account_ids:
        say(session, account_ids, today)
    for account_id in sorted({hold.account_id for hold in expired}):
        before = {"hold_ids": [hold.hold_id for hold in expired if hold.account_id == account_id]}
        audit.note(session, "holds.expire", "account", account_id, before, {"on": today}, entity_code=codes[account_id])
    return len(account_ids)


def visible_hold(session: Session, hold_id: str) -> tuple[HoldRow, str]:
    """A hold within the caller's scope, and the currency of its item. Refuses: NOT_FOUND HOLD_UNKNOWN."""
    found = holds.visible(session, hold_id)
    if found is None or not context.current_caller().sees_entity(found[2].code):
        raise Refused(Code.NOT_FOUND, "HOLD_UNKNOWN", "there is no such hold", hold_id=hold_id)
    return found[0], found[1]


def update_hold(session: Session, hold_id: str, wanted: Mapping[str, str], today: date) -> tuple[HoldRow, str]:
    """Changes a hold in force. wanted: until_on and review_on as ISO days or "" for none, reason; what is not there stays.

    Refuses: NOT_FOUND HOLD_UNKNOWN; FAILED_PRECONDITION HOLD_ENDED; INVALID_ARGUMENT for days that cannot be.
    """
    hold, _ = visible_hold(session, hold_id)
    _, entity = locked_account(session, hold.account_id)
    hold, currency = visible_hold(session, hold_id)
    if hold.state != "ACTIVE" or (hold.until_on is not None and hold.until_on < today):
        raise Refused(Code.FAILED_PRECONDITION, "HOLD_ENDED", "this hold has ended", hold_id=hold_id)
    before: dict[str, Any] = {"until_on": hold.until_on, "review_on": hold.review_on, "reason": hold.reason}
    after = dict(before)
    for name, value in wanted.items():
        after[name] = value.strip() if name == "reason" else (date.fromisoformat(value) if value else None)
    wrong: dict[str, str] = {}
    until_on = after["until_on"]
    if until_on is not None and until_on < max(today, hold.from_on):
        wrong["until_on"] = "before today" if until_on >= hold.from_on else "before its first day"
    if not after["reason"]:
        wrong["reason"] = "say why"
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "this hold cannot be changed so", wrong)
    if after != before:
        holds.revise(session, hold, until_on=until_on, review_on=after["review_on"], reason=after["reason"])
        say(session, [hold.account_id], today)
        audit.note(session, "hold.update", "hold", hold_id, before, after, entity_code=entity.code)
    return hold, currency
