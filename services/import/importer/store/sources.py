"""The SQL of sources, of files pulled, uploaded in parts and streamed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from importer.store.imports import page
from importer.store.tables import BatchRow, PulledFileRow, RowStreamRow, SourceRow, UploadRow
from kit import context, listing

SOURCE_FIELDS = {
    "name": SourceRow.name,
    "entity_code": SourceRow.entity_code,
    "kind": SourceRow.kind,
    "enabled": SourceRow.enabled,
    "last_file_at": SourceRow.last_file_at,
}
NOT_TAKEN = ("FAILED", "CANCELLED", "ROLLED_BACK")


def source(session: Session, source_id: str, lock: bool = False) -> SourceRow | None:
    """One source that was not ended."""
    query = select(SourceRow).where(SourceRow.source_id == source_id, SourceRow.deleted_at.is_(None))
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.scalars(query).first()


def source_by_user_name(session: Session, user_name: str) -> SourceRow | None:
    """The source somebody signs in to."""
    query = select(SourceRow).where(SourceRow.user_name == user_name, SourceRow.deleted_at.is_(None))
    return session.scalars(query).first()


def source_name_taken(session: Session, name: str, but: str = "") -> bool:
    """Whether another living source has this name."""
    query = select(SourceRow.source_id).where(SourceRow.name == name, SourceRow.deleted_at.is_(None))
    return any(found != but for found in session.scalars(query))


def sources(
    session: Session, filter_: str, order_by: str, page_size: int, page_token: str, entity_codes: frozenset[str] | None
) -> tuple[list[SourceRow], str, int]:
    """Sources the caller may see, by name unless ordered otherwise."""
    query = select(SourceRow).where(SourceRow.deleted_at.is_(None), *listing.parse_filter(filter_, SOURCE_FIELDS))
    if entity_codes is not None:
        query = query.where(SourceRow.entity_code.in_(entity_codes))
    order = [*listing.order_by(order_by, SOURCE_FIELDS, "name"), SourceRow.source_id]
    return page(session, query, order, page_size, page_token)


def pulled_sources(session: Session) -> list[SourceRow]:
    """Sources that are pulled from a customer's server."""
    query = select(SourceRow).where(
        SourceRow.kind == "PULL_SFTP", SourceRow.enabled.is_(True), SourceRow.deleted_at.is_(None)
    )
    return list(session.scalars(query.order_by(SourceRow.source_id)))


def newest_of_source(session: Session, source_id: str, file_name: str) -> BatchRow | None:
    """The newest import of a source's file of this name that was not refused, given up or taken back."""
    query = select(BatchRow).where(
        BatchRow.source_id == source_id, BatchRow.file_name == file_name, BatchRow.state.not_in(NOT_TAKEN)
    )
    return session.scalars(query.order_by(BatchRow.created_at.desc()).limit(1)).first()


def pulled(session: Session, source_id: str, name: str, size_bytes: int, modified_s: int) -> PulledFileRow | None:
    """What is remembered of a file on a customer's server."""
    return session.get(PulledFileRow, (context.current_tenant(), source_id, name, size_bytes, modified_s))


def remember_pulled(
    session: Session, source_id: str, name: str, size_bytes: int, modified_s: int, import_id: str | None, now: datetime
) -> None:
    """Notes that a file was taken; again changes nothing."""
    values = {
        "tenant_id": context.current_tenant(),
        "source_id": source_id,
        "name": name,
        "size_bytes": size_bytes,
        "modified_s": modified_s,
        "import_id": import_id,
        "pulled_at": now,
    }
    session.execute(insert(PulledFileRow).values(values).on_conflict_do_nothing())


def upload(session: Session, upload_id: str, lock: bool = False) -> UploadRow | None:
    """One upload in parts."""
    key = (context.current_tenant(), upload_id)
    return session.get(UploadRow, key, with_for_update=lock or None, populate_existing=lock)


def open_uploads(session: Session) -> int:
    """Uploads under way."""
    return len(session.scalars(select(UploadRow.upload_id).where(UploadRow.started.is_(False))).all())


def abandoned_uploads(session: Session, before: datetime) -> list[UploadRow]:
    """Uploads that were not started and got no byte since an instant, at most 100, locked."""
    query = select(UploadRow).where(UploadRow.started.is_(False), UploadRow.touched_at < before)
    return list(session.scalars(query.order_by(UploadRow.touched_at).limit(100).with_for_update(skip_locked=True)))


def row_stream(session: Session, batch_id: str, lock: bool = False) -> RowStreamRow | None:
    """One batch of streamed rows."""
    key = (context.current_tenant(), batch_id)
    return session.get(RowStreamRow, key, with_for_update=lock or None, populate_existing=lock)


def abandoned_streams(session: Session, before: datetime) -> list[RowStreamRow]:
    """Streams that were not finished and got no row since an instant, at most 100, locked."""
    query = select(RowStreamRow).where(RowStreamRow.finished.is_(False), RowStreamRow.touched_at < before)
    return list(session.scalars(query.order_by(RowStreamRow.touched_at).limit(100).with_for_update(skip_locked=True)))
