"""Allocations: credits set against debts of the same account and currency, and taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy.orm import Session

from kit.errors import Code, Refused
from kit.ids import new_id
from ledger import domain
from ledger.domain.allocations import Allocated, AllocationWish, Side, allocate, cause_of
from ledger.store import allocations, corrections, holds, load, saying
from ledger.store.allocations import AllocationRow
from ledger.store.corrections import Entry
from ledger.store.tables import EntityRow, ItemRow, LoadRow
from ledger.usecases import audit
from ledger.usecases.customers import locked_account
from ledger.usecases.loads import fit_holds


@dataclass(frozen=True)
class AllocationOrder:
    """A credit wanted against a debit. currency "" and amount_minor None: as much as both have open."""

    credit_item_id: str
    debit_item_id: str
    currency: str
    amount_minor: int | None


def record_allocations(
    session: Session,
    account_id: str,
    orders: Sequence[AllocationOrder],
    value_on: date | None,
    reason: str,
    today: date,
) -> tuple[list[str], int]:
    """Sets credits against debits of one account, all or none.

    Returns: the ids of the new rows in the order asked for, and the account's version after it.
    Refuses: NOT_FOUND ACCOUNT_UNKNOWN, ITEM_UNKNOWN; FAILED_PRECONDITION ALLOCATION_EXCEEDS_OPEN; INVALID_ARGUMENT.
    """
    account, entity = locked_account(session, account_id)
    wanted = [item_id for order in orders for item_id in (order.credit_item_id, order.debit_item_id)]
    items = {item.item_id: item for item in holds.lock_items(session, [account.account_id], wanted)}
    for item_id in wanted:
        if item_id not in items:
            raise Refused(Code.NOT_FOUND, "ITEM_UNKNOWN", "there is no such item on this account", item_id=item_id)
    day = value_on or today
    sides = {item_id: _side(item) for item_id, item in items.items()}
    _check(orders, sides, day, today)
    wishes = [AllocationWish(order.credit_item_id, order.debit_item_id, order.amount_minor) for order in orders]
    done = allocate(wishes, sides)
    rows = _rows(done, items, sides, [{"value_on": day, "reason": reason} for _ in done])
    _write(session, rows, sides, entity, today, is_bulk=False)
    ids = [row["allocation_id"] for row in rows]
    said = [
        {"allocation_id": row["allocation_id"], "credit_item_id": row["credit_item_id"],
         "debit_item_id": row["debit_item_id"], "amount_minor": row["amount_minor"], "value_on": day}
        for row in rows
    ]  # fmt: skip
    audit.note(
        session, "allocations.record", "account", account_id, None, {"reason": reason, "allocations": said},
        entity_code=entity.code,
    )  # fmt: skip
    return ids, account.version + 1


def _side(item: ItemRow) -> Side:
    return Side(item.item_id, item.kind, item.currency, item.issue_on, item.open_minor)


def _check(orders: Sequence[AllocationOrder], sides: Mapping[str, Side], day: date, today: date) -> None:
    wrong: dict[str, str] = {}
    if day > today:
        wrong["value_on"] = "in the future"
    for place, order in enumerate(orders):
        credit, debit = sides[order.credit_item_id], sides[order.debit_item_id]
        if credit.currency != debit.currency:
            wrong[f"allocations[{place}].debit_item_id"] = "the two items are in different currencies"
        if order.amount_minor is not None and order.currency != credit.currency:
            wrong[f"allocations[{place}].amount"] = f"the item is in {credit.currency}"
        if order.amount_minor is not None and order.amount_minor <= 0:
            wrong[f"allocations[{place}].amount"] = "must be more than nothing"
        if day < max(credit.issue_on, debit.issue_on):
            wrong["value_on"] = "before one of the items was issued"
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "these items cannot be allocated", wrong)


def _rows(
    done: Sequence[Allocated],
    items: Mapping[str, ItemRow],
    sides: Mapping[str, Side],
    more: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Rows of allocations, numbered in the histories of their items."""
    counts = {item_id: item.change_count for item_id, item in items.items()}
    rows = []
    for one, columns in zip(done, more, strict=True):
        for item_id in (one.credit_item_id, one.debit_item_id):
            counts[item_id] += 1
        rows.append(
            {
                "allocation_id": new_id(),
                "account_id": items[one.debit_item_id].account_id,
                "credit_item_id": one.credit_item_id,
                "debit_item_id": one.debit_item_id,
                "currency": sides[one.credit_item_id].currency,
                "amount_minor": one.amount_minor,
                "credit_sequence": counts[one.credit_item_id],
                "debit_sequence": counts[one.debit_item_id],
                "credit_left_minor": one.credit_left_minor,
                "debit_left_minor": one.debit_left_minor,
                "reason": "",
                "external_id": "",
                "reverses_id": None,
                "load_id": None,
                **columns,
            }
        )
    return rows


def _write(
    session: Session,
    rows: Sequence[Mapping[str, Any]],
    sides: Mapping[str, Side],
    entity: EntityRow,
    today: date,
    *,
    is_bulk: bool,
    load_id: str | None = None,
) -> None:
    """Writes rows of allocations and what they do to both sides, and says so."""
    entries = []
    for row in rows:
        cause = cause_of(sides[row["credit_item_id"]])
        entries += [
            Entry(row["credit_item_id"], cause, row["amount_minor"], row["value_on"]),
            Entry(row["debit_item_id"], cause, -row["amount_minor"], row["value_on"]),
        ]
    corrections.prepare(session, entries)
    corrections.write(session, load_id)
    allocations.insert_rows(session, rows)
    fit_holds(session, "paid")
    load.refresh_accounts(session)
    saying.say_facts(session, entity_code=entity.code, file_on=today, has_created=False, has_changed=True)
    saying.say_accounts(session, today, is_bulk=is_bulk)


def reverse_allocation(session: Session, allocation_id: str, value_on: date | None, reason: str, today: date) -> str:
    """Takes an allocation back from a day on; returns the id of the reversing row.

    Refuses: NOT_FOUND ALLOCATION_UNKNOWN; FAILED_PRECONDITION ALREADY_REVERSED, IS_REVERSAL; INVALID_ARGUMENT.
    """
    found = allocations.find(session, allocation_id)
    if found is None:
        raise Refused(Code.NOT_FOUND, "ALLOCATION_UNKNOWN", "there is no such allocation", allocation_id=allocation_id)
    row, entity = found.row, found.entity
    wanted = [row.credit_item_id, row.debit_item_id]
    items = {item.item_id: item for item in allocations.lock_sides(session, found.account_ids, wanted)}
    # Under the locks it is what it is.
    found = allocations.find(session, allocation_id)
    assert found is not None, "rows of allocations never go"
    if row.reverses_id is not None:
        raise Refused(Code.FAILED_PRECONDITION, "IS_REVERSAL", "this row takes another allocation back")
    if found.is_reversed:
        raise Refused(Code.FAILED_PRECONDITION, "ALREADY_REVERSED", "this allocation has been taken back already")
    day = value_on or today
    if not row.value_on <= day <= today:
        wrong = {"value_on": "in the future" if day > today else "before the allocation's own"}
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "this allocation cannot be taken back then", wrong)
    reversal_id = _take_back(session, [(row, day)], items, reason, entity, today, is_bulk=False)[0]
    before = {"amount_minor": row.amount_minor, "value_on": row.value_on}
    after = {"value_on": day, "reason": reason, "reversal_id": reversal_id}
    audit.note(session, "allocations.reverse", "allocation", allocation_id, before, after, entity_code=entity.code)
    return reversal_id


def reverse_load(session: Session, load_id: str, entity: EntityRow, reason: str, today: date) -> int:
    """Takes back what a load allocated, each from its own value date on; returns how many it were."""
    rows = allocations.of_load(session, load_id)
    if rows:
        ids = [item_id for row in rows for item_id in (row.credit_item_id, row.debit_item_id)]
        accounts = sorted({row.account_id for row in rows})
        items = {item.item_id: item for item in allocations.lock_sides(session, accounts, ids)}
        _take_back(session, [(row, row.value_on) for row in rows], items, reason, entity, today, is_bulk=True)
    return len(rows)


def _take_back(
    session: Session,
    rows: Sequence[tuple[AllocationRow, date]],
    items: Mapping[str, ItemRow],
    reason: str,
    entity: EntityRow,
    today: date,
    *,
    is_bulk: bool,
) -> list[str]:
    """Writes reversing rows of these allocations, each from its day on; returns their ids."""
    left = {item_id: item.open_minor for item_id, item in items.items()}
    done, more = [], []
    for row, day in rows:
        left[row.credit_item_id] -= row.amount_minor
        left[row.debit_item_id] += row.amount_minor
        done.append(
            Allocated(
                row.credit_item_id, row.debit_item_id, -row.amount_minor, left[row.credit_item_id],
                left[row.debit_item_id],
            )
        )  # fmt: skip
        more.append({"value_on": day, "reason": reason, "reverses_id": row.allocation_id})
    sides = {item_id: _side(item) for item_id, item in items.items()}
    written = _rows(done, items, sides, more)
    _write(session, written, sides, entity, today, is_bulk=is_bulk)
    return [one["allocation_id"] for one in written]


def merge_allocations(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Allocations of a file: each row in its order, refused (EXCEEDS_OPEN) where one side has no room for it by then."""
    found = allocations.merge_rows(session, entity.entity_id, domain.check_allocations(rows))
    good = [one for one in found if one.reason is None and not one.is_known]
    accounts = sorted({str(one.account_id) for one in good})
    ids = [str(item_id) for one in good for item_id in (one.credit_item_id, one.debit_item_id)]
    items = {item.item_id: item for item in allocations.lock_sides(session, accounts, ids)}
    left = {item_id: _side(item) for item_id, item in items.items()}
    rejects = [{"line": one.line, "field": one.field, "reason": one.reason} for one in found if one.reason is not None]
    done: list[Allocated] = []
    more: list[Mapping[str, Any]] = []
    for one in good:
        wish = AllocationWish(str(one.credit_item_id), str(one.debit_item_id), one.amount_minor)
        sides = {item_id: left[item_id] for item_id in (wish.credit_item_id, wish.debit_item_id)}
        if one.value_on > today or one.value_on < max(side.issue_on for side in sides.values()):
            rejects.append({"line": one.line, "field": "value_on", "reason": "IMPOSSIBLE"})
            continue
        try:
            (taken,) = allocate([wish], sides)
        except Refused:
            rejects.append({"line": one.line, "field": "amount_minor", "reason": "EXCEEDS_OPEN"})
            continue
        for item_id, rest in (
            (taken.credit_item_id, taken.credit_left_minor),
            (taken.debit_item_id, taken.debit_left_minor),
        ):
            left[item_id] = Side(item_id, left[item_id].kind, left[item_id].currency, left[item_id].issue_on, rest)
        done.append(taken)
        more.append({"value_on": one.value_on, "external_id": one.external_id, "load_id": row.load_id})
    if done and not plan_only:
        written = _rows(done, items, left, more)
        _write(session, written, left, entity, today, is_bulk=True, load_id=row.load_id)
    counts = {
        "created": len(done),
        "unchanged": sum(one.reason is None and one.is_known for one in found),
        "rejected": len(rejects),
    }
    return counts, sorted(rejects, key=lambda reject: reject["line"])[: load.REJECTS_MAX]
