"""The register of loads: headers, chunks that are committed, how a load ended."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from kit import context
from ledger.store.tables import LoadChunkRow, LoadRow


def open_load(
    session: Session, *, load_id: str, entity_id: str, mode: str, source_system: str, file_on: date
) -> LoadRow:
    """Registers a load or finds it, locked until the transaction ends. A header that comes again may still differ as
    long as nothing is committed; afterwards the first one counts."""
    statement = insert(LoadRow).values(
        tenant_id=context.current_tenant(),
        load_id=load_id,
        entity_id=entity_id,
        mode=mode,
        source_system=source_system,
        file_on=file_on,
        changed_at=func.clock_timestamp(),
    )
    has_chunks = select(LoadChunkRow).where(LoadChunkRow.load_id == LoadRow.load_id, ~LoadChunkRow.planned).exists()
    changed = {name: statement.excluded[name] for name in ("entity_id", "mode", "source_system", "file_on")}
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "load_id"],
            set_=changed,
            where=~has_chunks & LoadRow.finished_at.is_(None),
        )
    )
    row = lock_load(session, load_id)
    if row is None:
        raise LookupError(f"load {load_id} vanished")
    return row


def lock_load(session: Session, load_id: str) -> LoadRow | None:
    """A load, locked: its chunks commit one after the other."""
    return session.scalars(
        select(LoadRow).where(LoadRow.load_id == load_id).with_for_update().execution_options(populate_existing=True)
    ).first()


def find_load(session: Session, load_id: str) -> LoadRow | None:
    """A load, as it is."""
    return session.scalars(select(LoadRow).where(LoadRow.load_id == load_id)).first()


def chunk(session: Session, load_id: str, load_object: str, number: int) -> LoadChunkRow | None:
    """The record of a committed chunk."""
    return session.scalars(
        select(LoadChunkRow).where(
            LoadChunkRow.load_id == load_id,
            LoadChunkRow.object == load_object,
            LoadChunkRow.chunk_number == number,
            ~LoadChunkRow.planned,
        )
    ).first()


def may_hold_items(session: Session, load_id: str) -> bool:
    """Whether a load is one of items: it has chunks of them, planned ones included, or none of anything."""
    found = set(session.scalars(select(LoadChunkRow.object).where(LoadChunkRow.load_id == load_id).distinct()))
    return not found or "ITEMS" in found


def chunks(session: Session, load_id: str) -> Sequence[LoadChunkRow]:
    """The committed chunks, ascending."""
    return session.scalars(
        select(LoadChunkRow)
        .where(LoadChunkRow.load_id == load_id, ~LoadChunkRow.planned)
        .order_by(LoadChunkRow.object, LoadChunkRow.chunk_number)
    ).all()


def keep_chunk(
    session: Session,
    *,
    load_id: str,
    load_object: str,
    planned: bool,
    number: int,
    counts: Mapping[str, int],
    rejects: list[dict[str, Any]],
    moves: Mapping[str, Sequence[int]] | None = None,
) -> LoadChunkRow:
    """Records what a chunk did; a planned one may be planned again. counts may say reopened, which are of the updated;
    moves is what a plan would change of the entity's books (store.plans)."""
    values = {
        "tenant_id": context.current_tenant(),
        "load_id": load_id,
        "object": load_object,
        "planned": planned,
        "chunk_number": number,
        **{effect: counts.get(effect, 0) for effect in ("created", "updated", "unchanged", "cleared", "rejected")},
        "rejects": rejects,
        "committed_at": func.clock_timestamp(),
        "reopened": counts.get("reopened", 0),
        "moves": dict(moves or {}),
    }
    statement = insert(LoadChunkRow).values(**values)
    if planned:
        statement = statement.on_conflict_do_update(
            index_elements=["tenant_id", "load_id", "object", "planned", "chunk_number"],
            set_={name: statement.excluded[name] for name in values if name not in ("tenant_id", "load_id", "object")},
        )
    session.execute(statement)
    session.execute(
        text("UPDATE loads SET changed_at = clock_timestamp() WHERE load_id = :load"),
        {"tenant": context.current_tenant(), "load": load_id},
    )
    return LoadChunkRow(**{**values, "committed_at": None})


def note_kept(session: Session, load_id: str, load_object: str, number: int, planned: bool, kept: int) -> int:
    """Records how many values of a chunk were passed over; returns that number."""
    if kept:
        session.execute(
            text(
                "UPDATE load_chunks SET kept = :kept WHERE load_id = :load AND object = :object"
                " AND chunk_number = :number AND planned = :planned"
            ),
            {"kept": kept, "load": load_id, "object": load_object, "number": number, "planned": planned},
        )
    return kept


def forget_plan(session: Session, load_id: str) -> None:
    """Drops what a plan of this load noted: the load itself is the truth from its first chunk on."""
    for table in ("load_chunks", "load_keys"):
        session.execute(
            text(f"DELETE FROM {table} WHERE load_id = :load AND planned"),
            {"tenant": context.current_tenant(), "load": load_id},
        )


def finish(
    session: Session,
    load_id: str,
    cleared_absent: int,
    open_items: int,
    books_before: Mapping[str, Sequence[int]],
    books_after: Mapping[str, Sequence[int]],
) -> None:
    """Notes the end of a load, with the entity's books on both sides of it (store.plans); the keys of its chunks have
    done their work."""
    params = {
        "tenant": context.current_tenant(),
        "load": load_id,
        "cleared": cleared_absent,
        "open": open_items,
        "before": json.dumps(books_before),
        "after": json.dumps(books_after),
    }
    session.execute(
        text(
            "UPDATE loads SET finished_at = clock_timestamp(), changed_at = clock_timestamp(),"
            " cleared_absent = :cleared, open_items = :open, books_before = CAST(:before AS jsonb),"
            " books_after = CAST(:after AS jsonb) WHERE load_id = :load"
        ),
        params,
    )
    session.execute(text("DELETE FROM load_keys WHERE load_id = :load"), params)
