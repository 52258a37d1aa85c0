"""Loads: what a file brings, merged chunk by chunk; each function is one unit of work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from kit import bulk, context, pgcopy
from kit.errors import Code, Refused
from ledger import domain
from ledger.domain.rows import ItemRows, arrange, new_accounts
from ledger.store import fresh, holds, load, loads, master, plans, queries, saying, undo
from ledger.store.tables import EntityRow, LoadChunkRow, LoadRow
from ledger.usecases import audit


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


@dataclass(frozen=True)
class Chunk:
    """Rows of a load that were looked at, but not yet compared with the books; items are arranged besides."""

    rows: pa.Table
    items: ItemRows | None = None


def prepare_chunk(header: LoadHeader, load_object: str, data: bytes) -> Chunk:
    """The part of a chunk's work that needs no database. Refuses: INVALID_ARGUMENT LOAD_SCHEMA."""
    try:
        rows = bulk.from_ipc(data)
    except ValueError as error:
        raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", str(error)) from error
    rows = domain.conform(rows, load_object)
    if load_object != "ITEMS":
        return Chunk(rows)
    return Chunk(rows, arrange(domain.check_items(rows), header.source_system))


def prepare_ahead(
    header: LoadHeader, load_object: str, chunks: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[int, Callable[[], Chunk]]]:
    """The chunks (number, Arrow stream) as load_chunk takes them. While PostgreSQL is busy with one of them, a thread
    already fetches the next one and prepares it; what is wrong with it is raised where it is used."""

    def fetch() -> tuple[int, Callable[[], Chunk]] | None:
        found = next(chunks, None)
        if found is None:
            return None
        number, data = found
        try:
            chunk = prepare_chunk(header, load_object, data)
        except Refused as refusal:
            return number, partial(_refuse, refusal)
        return number, lambda: chunk

    pool = ThreadPoolExecutor(1, "prepare")
    try:
        waiting = pool.submit(fetch)
        while (found := waiting.result()) is not None:
            waiting = pool.submit(fetch)
            yield found
    finally:
        # The thread may be waiting for a client that sends nothing more; the end of the call ends it.
        pool.shutdown(wait=False, cancel_futures=True)


def _refuse(refusal: Refused) -> Chunk:
    raise refusal


def load_chunk(
    session: Session,
    header: LoadHeader,
    load_object: str,
    number: int,
    data: bytes | Callable[[], Chunk],
    today: date,
) -> LoadChunkRow:
    """Merges one chunk of ITEMS or of an object of MERGES, or answers from the record when it is committed already.

    Args: data, an Arrow stream, or what gives the chunk that prepare_chunk has made of it.
    Refuses: INVALID_ARGUMENT LOAD_SCHEMA; FAILED_PRECONDITION LOAD_FINISHED; and what open_load refuses.
    """
    row, entity = open_load(session, header, today)
    if not header.plan_only:
        known = loads.chunk(session, row.load_id, load_object, number)
        if known is not None:
            return known
    if row.finished_at is not None:
        raise Refused(Code.FAILED_PRECONDITION, "LOAD_FINISHED", "this load has ended", load_id=row.load_id)
    chunk = prepare_chunk(header, load_object, data) if isinstance(data, bytes) else data()
    if not header.plan_only:
        load.lock_entity(session, entity.entity_id)
        if number == 0:
            loads.forget_plan(session, row.load_id)
        plans.keep_books_before(session, row)
    told = plans.NOTHING
    if chunk.items is not None:
        counts, rejects, told = _load_items(session, row, entity, number, chunk.items, today, header.plan_only)
    else:
        counts, rejects = MERGES[load_object](session, row, entity, number, chunk.rows, today, header.plan_only)
    assert sum(counts.values()) == chunk.rows.num_rows, "every row has one effect"
    kept = loads.keep_chunk(
        session,
        load_id=row.load_id,
        load_object=load_object,
        planned=header.plan_only,
        number=number,
        counts={**counts, "reopened": told.reopened},
        rejects=rejects,
        moves=told.moves,
    )
    kept.effects = told.effects
    if load_object in ("ACCOUNTS", "CONTACTS", "ASSIGNMENTS"):
        kept.kept = loads.note_kept(session, row.load_id, load_object, number, header.plan_only, master.kept(session))
    return kept


def _load_items(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: ItemRows, today: date, plan_only: bool
) -> tuple[dict[str, int], list[dict[str, Any]], plans.Told]:
    """Takes each account of a chunk the shortest way that gives the same books: written as it comes, recognised, or
    merged row by row."""
    if rows.source_system != row.source_system:
        rows = arrange(rows.table, row.source_system)
    is_stock = row.mode == "STOCK"
    fresh.clean(session)
    known = fresh.known_accounts(session, entity.entity_id, rows)
    is_known, is_same = np.zeros(len(rows.numbers), dtype=bool), np.zeros(len(rows.numbers), dtype=bool)
    is_known[known["place"]] = True
    # Of a complete file we must know each item it holds, unless these are all there are.
    same = known[(known["is_same"] == 1) & ((known["covers"] == 1) | (not is_stock))]
    is_same[same["place"]] = True
    # A plan tells what each row would do, which only merging says.
    is_new = ~is_known & rows.is_clean & (not plan_only)
    if is_new.any():
        is_new = _really_new(session, entity, rows, is_new)
    is_rest = ~is_new & ~is_same
    sizes = np.diff(rows.starts)
    counts = {"created": int(sizes[is_new].sum()), "unchanged": int(sizes[is_same].sum())}
    new = new_accounts(rows, is_new, row.file_on) if is_new.any() else None
    rejects: list[dict[str, Any]] = []
    told = plans.NOTHING
    if is_rest.any():
        rest = rows.of(is_rest)
        load.stage_items(session, rest)
        load.merge_items(
            session,
            entity_id=entity.entity_id,
            source_system=row.source_system,
            file_on=row.file_on,
            rows=rest,
            keeps_unchanged=is_stock,
        )
        merged, rejects = load.counts(session, rest.num_rows), load.rejects(session)
        told = plans.tell(session, merged, plan_only=plan_only)
        counts = {effect: counts.get(effect, 0) + merged.get(effect, 0) for effect in {*counts, *merged}}
    if is_stock:
        held = [] if new is None else pgcopy.uuid_texts(pgcopy.uuid_values(new.accounts["account_id"])).to_pylist()
        held += pgcopy.uuid_texts(same["account_id"]).to_pylist()
        load.keep_keys(
            session, load_id=row.load_id, planned=plan_only, chunk_number=number, account_ids=held,
            has_merged=bool(is_rest.any()),
        )  # fmt: skip
    if plan_only:
        return counts, rejects, told
    if is_rest.any():
        _write(session, row, entity, merged, today)
        fresh.remember(session, entity.entity_id, rows, is_rest)
    if new is not None:
        with ThreadPoolExecutor(1, "say") as pool:
            # What is said and what is written come from the same rows: encoding the one hides behind the other.
            words = pool.submit(saying.words_of_new, saying.EntityWords.of(entity), new, saying.now(session))
            fresh.write(session, new, entity_id=entity.entity_id, load_id=row.load_id, source_system=row.source_system)
        saying.say_new(session, words.result())
    return counts, rejects, told


def _really_new(session: Session, entity: EntityRow, rows: ItemRows, is_new: np.ndarray) -> np.ndarray:
    """Of accounts nobody knows, those whose rows are new too and need nobody to look into them."""
    found = rows.of(is_new)
    if found["custom_fields"].null_count < found.num_rows:
        fields = pc.drop_null(found["custom_fields"]).combine_chunks()
        if not fresh.are_objects(session, fields):
            return np.zeros_like(is_new)
    if found["external_id"].null_count < found.num_rows:
        ids = pc.drop_null(found["external_id"]).combine_chunks()
        taken = fresh.known_external_ids(session, entity.entity_id, rows.source_system, ids)
        if len(taken):
            is_taken = pc.is_in(rows.table["external_id"], taken).to_numpy()
            is_new = is_new & (np.bincount(rows.place, is_taken, len(is_new)) == 0)
    return is_new


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
        fit_holds(session, "paid")
    load.refresh_accounts(session)
    saying.say_facts(
        session, entity_code=entity.code, file_on=row.file_on, has_created=has_created, has_changed=has_changed
    )
    saying.say_accounts(session, today, is_bulk=True)


def fit_holds(session: Session, reason: str) -> None:
    """Holds on items of merged give way where less is open than they hold; the newest first."""
    by_item: dict[str, list] = {}
    for hold in holds.over_open(session):
        by_item.setdefault(str(hold.item_id), []).append(hold)
    changes: list[tuple[str, str, int, str]] = []
    for rows in by_item.values():
        active = [domain.ActiveHold(str(hold.hold_id), hold.amount_minor) for hold in rows]
        for left in domain.shrink(rows[0].open_minor, active):
            what = "SHRUNK" if left.amount_minor else "RELEASED"
            changes.append((left.hold_id, what, left.amount_minor, reason))
    holds.change(session, changes)


def _merge_accounts(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    rows = domain.check_accounts(rows)
    master.stage(session, rows, "number")
    master.merge_accounts(
        session,
        entity.entity_id,
        has_custom_fields=rows["custom_fields"].null_count < rows.num_rows,
        owners=entity.field_owners,
    )
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if not plan_only and (counts.get("created") or counts.get("updated")):
        undo.keep_accounts(session, row.load_id)
        master.write_accounts(session, entity.entity_id)
        load.refresh_accounts(session)
        saying.say_accounts(session, today, is_bulk=True)
    return counts, rejects


def _merge_contacts(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    rows = domain.check_contacts(rows)
    master.stage(session, rows, "account_number, contact_key")
    master.merge_contacts(session, entity.entity_id, entity.field_owners.get("contacts", "ERP"))
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if not plan_only and (counts.get("created") or counts.get("updated")):
        undo.keep_contacts(session, row.load_id)
        master.write_contacts(session)
        undo.keep_new_contacts(session, row.load_id)
        load.refresh_accounts(session)
        saying.say_accounts(session, today, is_bulk=True)
    return counts, rejects


# How rows beside items are merged: (session, load, entity, chunk number, rows, today, plan_only) -> counts by effect, rejects.
Merge = Callable[[Session, LoadRow, EntityRow, int, pa.Table, date, bool], tuple[dict[str, int], list[dict[str, Any]]]]
MERGES: dict[str, Merge] = {"ACCOUNTS": _merge_accounts, "CONTACTS": _merge_contacts}


@dataclass(frozen=True)
class LoadEnd:
    """What the end of a load did or would do."""

    cleared_absent: int
    open_items: int
    balances: Sequence[Mapping[str, Any]] = ()
    absent: Sequence[Mapping[str, Any]] = ()


def finish_load(session: Session, load_id: str, *, confirm_clearing: bool, plan_only: bool, today: date) -> LoadEnd:
    """Ends a load; a STOCK load clears what it did not hold, unless that is too much to be true.

    Refuses: NOT_FOUND LOAD_UNKNOWN; FAILED_PRECONDITION STOCK_GUARD (metadata cleared_items, open_items).
    """
    row = loads.lock_load(session, load_id)
    entity = None if row is None else queries.entity_by_id(session, row.entity_id)
    if row is None or entity is None or not context.current_caller().sees_entity(entity.code):
        raise Refused(Code.NOT_FOUND, "LOAD_UNKNOWN", "there is no such load", load_id=load_id)
    if row.finished_at is not None:
        balances = plans.balances(row.books_before or {}, row.books_after or {})
        return LoadEnd(row.cleared_absent or 0, row.open_items or 0, balances)
    books = plans.books(session, entity.entity_id)
    moves: list[plans.Books] = [] if row.books_before is not None else plans.planned_moves(session, load_id)
    if not plan_only:
        load.lock_entity(session, entity.entity_id)
        if not loads.chunks(session, load_id):
            # The plan of a load whose chunks never came must not stand in for them.
            loads.forget_plan(session, load_id)
    # Only a file of items can say which items are no longer open.
    if row.mode != "STOCK" or not loads.may_hold_items(session, load_id):
        end = LoadEnd(0, queries.open_item_count(session, entity.entity_id))
    else:
        load.absent_items(
            session, load_id=load_id, entity_id=entity.entity_id, file_on=row.file_on, cause="ABSENT_FROM_STOCK"
        )
        end = _guarded_end(session, load_id, entity, is_free=confirm_clearing or plan_only)
        if plan_only:
            end = replace(end, absent=plans.effects(session, of_rows=False))
            moves.append(plans.moves(session))
        elif end.cleared_absent:
            _write(session, row, entity, {"cleared": end.cleared_absent}, today)
    before = books if row.books_before is None else row.books_before
    after = plans.moved(books, moves) if plan_only else plans.books(session, entity.entity_id)
    end = replace(end, balances=plans.balances(before, after))
    if not plan_only:
        loads.finish(session, load_id, end.cleared_absent, end.open_items, before, after)
        undo.forget(session, entity.entity_id, load_id)
        audit.note(session, "load.finish", "load", load_id, None, _summary(session, row, end), entity_code=entity.code)
    return end


def _summary(session: Session, row: LoadRow, end: LoadEnd) -> dict[str, Any]:
    """What the audit trail says of a load: one entry, however many rows."""
    counts: dict[str, dict[str, int]] = {}
    for chunk in loads.chunks(session, row.load_id):
        sums = counts.setdefault(chunk.object, {})
        for effect in ("created", "updated", "unchanged", "cleared", "rejected"):
            sums[effect] = sums.get(effect, 0) + getattr(chunk, effect)
    said = {"mode": row.mode, "source_system": row.source_system, "file_on": row.file_on, "rows": counts}
    return {**said, "cleared_absent": end.cleared_absent, "open_items": end.open_items}


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
