"""What the ledger does: each function is one unit of work inside a transaction that the edge opens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import available_timezones

import pyarrow as pa
from sqlalchemy.orm import Session

from kit import bulk, context
from kit.errors import Code, Refused
from ledger import domain
from ledger.store import accounts, holds, load, loads, master, queries, saying
from ledger.store.tables import AccountRow, ContactRow, EntityRow, HoldRow, ItemRow, LoadChunkRow, LoadRow

# Accounts swept in one transaction.
SWEEP_ACCOUNTS = 500

# ---- loads -----------------------------------------------------------------------------------------------------------


def visible_entity(session: Session, code: str) -> EntityRow:
    """The entity with this code. Refuses: NOT_FOUND ENTITY_UNKNOWN, also where the caller may not see it."""
    entity = queries.entity_by_code(session, code) if context.current_caller().sees_entity(code) else None
    if entity is None:
        raise Refused(Code.NOT_FOUND, "ENTITY_UNKNOWN", "there is no such entity", entity_code=code)
    return entity


@dataclass(frozen=True)
class LoadHeader:
    """What a load says of itself; file_on None means the business date."""

    load_id: str
    entity_code: str
    mode: str
    source_system: str
    file_on: date | None
    plan_only: bool


def open_load(session: Session, header: LoadHeader, today: date) -> tuple[LoadRow, EntityRow]:
    """Registers a load, or finds it again. Refuses: NOT_FOUND ENTITY_UNKNOWN; INVALID_ARGUMENT LOAD_HEADER."""
    entity = visible_entity(session, header.entity_code)
    row = loads.open_load(
        session,
        load_id=header.load_id,
        entity_id=entity.entity_id,
        mode=header.mode,
        source_system=header.source_system,
        file_on=header.file_on or today,
    )
    if row.entity_id != entity.entity_id:
        raise Refused(Code.INVALID_ARGUMENT, "LOAD_HEADER", "this load was begun for another entity")
    return row, entity


def load_chunk(
    session: Session, header: LoadHeader, load_object: str, number: int, data: bytes, today: date
) -> LoadChunkRow:
    """Merges one chunk of ITEMS, ACCOUNTS or CONTACTS, or answers from the record when it is committed already.

    Refuses: INVALID_ARGUMENT LOAD_SCHEMA; FAILED_PRECONDITION LOAD_FINISHED; and what open_load refuses.
    """
    row, entity = open_load(session, header, today)
    if not header.plan_only:
        known = loads.chunk(session, row.load_id, load_object, number)
        if known is not None:
            return known
    if row.finished_at is not None:
        raise Refused(Code.FAILED_PRECONDITION, "LOAD_FINISHED", "this load has ended", load_id=row.load_id)
    try:
        rows = bulk.from_ipc(data)
    except ValueError as error:
        raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", str(error)) from error
    rows = domain.conform(rows, load_object)
    if not header.plan_only:
        load.lock_entity(session, entity.entity_id)
        if number == 0:
            loads.forget_plan(session, row.load_id)
    merge = {"ITEMS": _merge_items, "ACCOUNTS": _merge_accounts, "CONTACTS": _merge_contacts}[load_object]
    counts, rejects = merge(session, row, entity, number, rows, today, header.plan_only)
    assert sum(counts.values()) == rows.num_rows, "every row has one effect"
    return loads.keep_chunk(
        session,
        load_id=row.load_id,
        load_object=load_object,
        planned=header.plan_only,
        number=number,
        counts=counts,
        rejects=rejects,
    )


def _merge_items(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    rows = domain.check_items(rows)
    load.stage_items(session, rows)
    load.merge_items(
        session,
        entity_id=entity.entity_id,
        source_system=row.source_system,
        file_on=row.file_on,
        rows=rows,
        keeps_unchanged=row.mode == "STOCK",
    )
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if row.mode == "STOCK":
        load.keep_keys(session, load_id=row.load_id, planned=plan_only, chunk_number=number)
    if not plan_only:
        _write(session, row, entity, counts, today)
    return counts, rejects


def _write(session: Session, row: LoadRow, entity: EntityRow, counts: dict[str, int], today: date) -> None:
    """Writes merged into the books and says so; nothing at all when nothing changes."""
    has_created = bool(counts.get("created"))
    has_changed = bool(counts.get("updated") or counts.get("cleared"))
    if not has_created and not has_changed:
        return
    load.write_merged(
        session,
        entity_id=entity.entity_id,
        load_id=row.load_id,
        source_system=row.source_system,
        file_on=row.file_on,
        has_created=has_created,
        has_changed=has_changed,
    )
    if has_changed:
        _fit_holds(session)
    load.refresh_accounts(session)
    saying.say_facts(
        session, entity_code=entity.code, file_on=row.file_on, has_created=has_created, has_changed=has_changed
    )
    saying.say_accounts(session, today, is_bulk=True)


def _fit_holds(session: Session) -> None:
    """Holds give way where less is open than they hold; the newest first."""
    by_item: dict[str, list] = {}
    for hold in holds.over_open(session):
        by_item.setdefault(str(hold.item_id), []).append(hold)
    changes: list[tuple[str, str, int, str]] = []
    for rows in by_item.values():
        active = [domain.ActiveHold(str(hold.hold_id), hold.amount_minor) for hold in rows]
        for left in domain.shrink(rows[0].open_minor, active):
            what = "SHRUNK" if left.amount_minor else "RELEASED"
            changes.append((left.hold_id, what, left.amount_minor, "paid"))
    holds.change(session, changes)


def _merge_accounts(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    rows = domain.check_accounts(rows)
    master.stage(session, rows, "number")
    master.merge_accounts(session, entity.entity_id, has_custom_fields=rows["custom_fields"].null_count < rows.num_rows)
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if not plan_only and (counts.get("created") or counts.get("updated")):
        master.write_accounts(session, entity.entity_id)
        load.refresh_accounts(session)
        saying.say_accounts(session, today, is_bulk=True)
    return counts, rejects


def _merge_contacts(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    rows = domain.check_contacts(rows)
    master.stage(session, rows, "account_number, contact_key")
    master.merge_contacts(session, entity.entity_id)
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if not plan_only and (counts.get("created") or counts.get("updated")):
        master.write_contacts(session)
        load.refresh_accounts(session)
        saying.say_accounts(session, today, is_bulk=True)
    return counts, rejects


@dataclass(frozen=True)
class LoadEnd:
    """What the end of a load did or would do."""

    cleared_absent: int
    open_items: int


def finish_load(session: Session, load_id: str, *, confirm_clearing: bool, plan_only: bool, today: date) -> LoadEnd:
    """Ends a load; a STOCK load clears what it did not hold, unless that is too much to be true.

    Refuses: NOT_FOUND LOAD_UNKNOWN; FAILED_PRECONDITION STOCK_GUARD (metadata cleared_items, open_items).
    """
    row = loads.lock_load(session, load_id)
    entity = None if row is None else queries.entity_by_id(session, row.entity_id)
    if row is None or entity is None or not context.current_caller().sees_entity(entity.code):
        raise Refused(Code.NOT_FOUND, "LOAD_UNKNOWN", "there is no such load", load_id=load_id)
    if row.finished_at is not None:
        return LoadEnd(row.cleared_absent or 0, row.open_items or 0)
    if not plan_only:
        load.lock_entity(session, entity.entity_id)
        if not loads.chunks(session, load_id):
            # The plan of a load whose chunks never came must not stand in for them.
            loads.forget_plan(session, load_id)
    if row.mode != "STOCK":
        end = LoadEnd(0, queries.open_item_count(session, entity.entity_id))
    else:
        load.absent_items(
            session, load_id=load_id, entity_id=entity.entity_id, file_on=row.file_on, cause="ABSENT_FROM_STOCK"
        )
        end = _guarded_end(session, load_id, entity, is_free=confirm_clearing or plan_only)
        if end.cleared_absent and not plan_only:
            _write(session, row, entity, {"cleared": end.cleared_absent}, today)
    if not plan_only:
        loads.finish(session, load_id, end.cleared_absent, end.open_items)
    return end


def _guarded_end(session: Session, load_id: str, entity: EntityRow, *, is_free: bool) -> LoadEnd:
    rows = load.stock_shares(session, load_id=load_id, entity_id=entity.entity_id)
    shares = [domain.StockShare(int(row.open_minor), int(row.cleared_minor)) for row in rows]
    end = LoadEnd(sum(row.cleared_items for row in rows), sum(row.open_items for row in rows))
    shares.append(domain.StockShare(end.open_items, end.cleared_absent))
    if not is_free and not domain.stock_guard_holds(shares):
        raise Refused(
            Code.FAILED_PRECONDITION,
            "STOCK_GUARD",
            "the complete file would clear more than 30 % of what is open: is it the right file?",
            cleared_items=str(end.cleared_absent),
            open_items=str(end.open_items),
        )
    return end


def load_progress(session: Session, load_id: str) -> tuple[LoadRow, Sequence[LoadChunkRow]]:
    """A load and its committed chunks. Refuses: NOT_FOUND LOAD_UNKNOWN."""
    row = loads.find_load(session, load_id)
    entity = None if row is None else queries.entity_by_id(session, row.entity_id)
    if row is None or entity is None or not context.current_caller().sees_entity(entity.code):
        raise Refused(Code.NOT_FOUND, "LOAD_UNKNOWN", "there is no such load", load_id=load_id)
    return row, loads.chunks(session, load_id)


# ---- entities, accounts, contacts ------------------------------------------------------------------------------------


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


def _locked_account(session: Session, account_id: str) -> tuple[AccountRow, EntityRow]:
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
    account, _ = _locked_account(session, account_id)
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
    _say(session, [account_id], today)


def create_contact(session: Session, account_id: str, today: date, **columns: str) -> str:
    """Adds a contact, or changes the one with this address; returns its id. Refuses: NOT_FOUND ACCOUNT_UNKNOWN."""
    _locked_account(session, account_id)
    contact_id = accounts.upsert_contact(session, account_id, **columns)
    _say(session, [account_id], today)
    return contact_id


def mark_contact(session: Session, contact_id: str, today: date, *, valid: bool, reason: str) -> ContactRow:
    """Says whether a contact can be reached. Refuses: NOT_FOUND CONTACT_UNKNOWN; INVALID_ARGUMENT without a reason."""
    if not valid and not reason.strip():
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "say why", {"reason": "compulsory when not valid"})
    found = queries.contact(session, contact_id)
    if found is None:
        raise Refused(Code.NOT_FOUND, "CONTACT_UNKNOWN", "there is no such contact", contact_id=contact_id)
    _locked_account(session, found[0].account_id)
    contact = accounts.lock_contact(session, contact_id)
    if (contact.valid, contact.invalid_reason) != (valid, "" if valid else reason.strip()):
        contact.valid, contact.invalid_reason = valid, "" if valid else reason.strip()
        session.flush()
        _say(session, [contact.account_id], today)
    return contact


def _say(session: Session, account_ids: Sequence[str], today: date) -> None:
    """A new version of locked accounts, and what is true of them now."""
    holds.bump_accounts(session, account_ids)
    saying.say_accounts(session, today, list(account_ids))


# ---- holds -----------------------------------------------------------------------------------------------------------


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
    account, _ = _locked_account(session, account_id)
    items = {item.item_id: item for item in holds.lock_items(session, account_id, [o.item_id for o in orders])}
    for order in orders:
        if order.item_id not in items:
            raise Refused(
                Code.NOT_FOUND, "ITEM_UNKNOWN", "there is no such item on this account", item_id=order.item_id
            )
    _check_orders(orders, items, today)
    gone = [
        hold
        for hold in holds.active_of_sources(session, [(e.source, e.source_id, e.item_ids) for e in ends])
        # A source may hold items of several accounts; only this account's row is locked.
        if hold.account_id == account_id
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
            account_id,
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
    _say(session, [account_id], today)
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
    account_ids = []
    for account_id in sorted({hold.account_id for hold in wanted().values()}):
        found = holds.lock_account(session, account_id)
        if found is not None and caller.sees_entity(found[1].code):
            account_ids.append(account_id)
    # Under the locks nobody else ends or places; what was found before them may have ended meanwhile.
    ended = sorted(
        (hold for hold in wanted().values() if hold.account_id in set(account_ids)), key=lambda hold: hold.hold_id
    )
    holds.change(session, [(hold.hold_id, "RELEASED", hold.amount_minor, reason) for hold in ended])
    touched = sorted({hold.account_id for hold in ended})
    if touched:
        _say(session, touched, today)
    currencies = queries.currencies(session, [hold.item_id for hold in ended])
    return [(hold, currencies[hold.item_id]) for hold in ended]


def sweep_holds(session: Session, today: date) -> int:
    """Ends holds whose last day is past and says those that come into force today; returns how many accounts changed.

    At most 500 accounts at a time: call again until it returns 0.
    """
    account_ids = holds.due_accounts(session, today, SWEEP_ACCOUNTS)
    for account_id in account_ids:
        holds.lock_account(session, account_id)
    expired = holds.expired_of_accounts(session, account_ids, today)
    holds.change(session, [(hold.hold_id, "EXPIRED", hold.amount_minor, "") for hold in expired])
    holds.begin(session, account_ids, today)
    if account_ids:
        _say(session, account_ids, today)
    return len(account_ids)
