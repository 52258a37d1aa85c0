"""Loads: what a file brings, merged chunk by chunk; each function is one unit of work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy.orm import Session

from kit import bulk, context
from kit.errors import Code, Refused
from ledger import domain
from ledger.store import holds, load, loads, master, queries, saying
from ledger.store.tables import EntityRow, LoadChunkRow, LoadRow


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
