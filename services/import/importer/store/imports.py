"""The SQL of imports, entities and kept files."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from importer.store.tables import BatchRow, EntityRow, RawFileRow
from kit import context, listing

BATCH_FIELDS = {
    "entity_code": BatchRow.entity_code,
    "state": BatchRow.state,
    "object": BatchRow.object,
    "created_at": BatchRow.created_at,
    "file_name": BatchRow.file_name,
    "sha256": BatchRow.sha256,
    "channel": BatchRow.channel,
    "source_id": BatchRow.source_id,
}


def entity(session: Session, code: str) -> EntityRow | None:
    """The entity with this code, as far as the ledger's events have come."""
    return session.get(EntityRow, (context.current_tenant(), code))


def keep_entity_if_newer(session: Session, code: str, name: str, currency: str, version: int) -> bool:
    """Upserts the entity unless what is known is at least as new; False when it was dropped."""
    values = {
        "tenant_id": context.current_tenant(),
        "code": code,
        "name": name,
        "currency": currency,
        "version": version,
    }
    statement = (
        insert(EntityRow)
        .values(values)
        .on_conflict_do_update(
            index_elements=["tenant_id", "code"],
            set_={"name": name, "currency": currency, "version": version},
            where=EntityRow.version < version,
        )
        .returning(EntityRow.code)
    )
    return session.execute(statement).first() is not None


def keep_raw_file(session: Session, sha256: str, size_bytes: int, now: datetime) -> None:
    """Notes a kept file; the second upload of the same content changes nothing."""
    values = {"tenant_id": context.current_tenant(), "sha256": sha256, "size_bytes": size_bytes, "first_seen_at": now}
    session.execute(insert(RawFileRow).values(values).on_conflict_do_nothing())


def batch(session: Session, import_id: str) -> BatchRow | None:
    """One import, without a lock."""
    return session.get(BatchRow, (context.current_tenant(), import_id))


def batch_for_update(session: Session, import_id: str) -> BatchRow | None:
    """One import, locked until the end of the transaction."""
    return session.get(BatchRow, (context.current_tenant(), import_id), with_for_update=True, populate_existing=True)


def applied_twin(session: Session, row: BatchRow) -> str:
    """Name of the last applied import of the same content into the same entity; empty when there is none."""
    query = select(BatchRow.file_name).where(
        BatchRow.sha256 == row.sha256,
        BatchRow.entity_code == row.entity_code,
        BatchRow.state == "APPLIED",
        BatchRow.import_id != row.import_id,
    )
    return session.scalars(query.order_by(BatchRow.applied_at.desc()).limit(1)).first() or ""


def older_batch_applying(session: Session, row: BatchRow) -> bool:
    """Whether an import of the same entity that began earlier is being applied, or will be without anybody's word:
    files are applied in their order."""
    on_its_way = or_(
        BatchRow.state == "APPLYING", and_(BatchRow.apply.is_(True), BatchRow.state.in_(("UPLOADED", "READING")))
    )
    query = select(BatchRow.import_id).where(
        BatchRow.entity_code == row.entity_code, on_its_way, BatchRow.created_at < row.created_at
    )
    return session.execute(query.limit(1)).first() is not None


def page(
    session: Session, query: Select[Any], order: list[Any], page_size: int, page_token: str
) -> tuple[list[Any], str, int]:
    """One page of a query: its rows, the token of the next page, the number of rows in all pages."""
    total = session.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    offset = listing.offset_of(page_token)
    rows = list(session.scalars(query.order_by(*order).offset(offset).limit(listing.page_size(page_size))))
    return rows, listing.next_offset_token(offset, len(rows), total), total


def batches(
    session: Session, filter_: str, order_by: str, page_size: int, page_token: str, entity_codes: frozenset[str] | None
) -> tuple[list[BatchRow], str, int]:
    """Imports the caller may see, newest first unless ordered otherwise."""
    query = select(BatchRow).where(*listing.parse_filter(filter_, BATCH_FIELDS))
    if entity_codes is not None:
        query = query.where(BatchRow.entity_code.in_(entity_codes))
    order = [*listing.order_by(order_by, BATCH_FIELDS, "created_at desc"), BatchRow.import_id.desc()]
    return page(session, query, order, page_size, page_token)
