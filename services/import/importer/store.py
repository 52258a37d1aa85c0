"""Tables and the only SQL of the import service. Everything is behind the tenant wall."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import UUID, BigInteger, DateTime, Select, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit import context, listing
from kit.db import TenantMixin, declarative_base
from kit.ids import new_id

Base = declarative_base()


class EntityRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """An entity as the ledger last said it."""

    __tablename__ = "entity"
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    currency: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)


class RawFileRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A file as it came, kept once per content."""

    __tablename__ = "raw_file"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    first_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ProfileRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A mapping that was confirmed by applying it."""

    __tablename__ = "profile"
    profile_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    object: Mapped[str]
    fingerprint: Mapped[str]
    name: Mapped[str]
    mapping: Mapped[dict[str, str]] = mapped_column(JSONB)
    answers: Mapped[dict[str, str]] = mapped_column(JSONB)
    used: Mapped[int]
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BatchRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """One import from upload to its end. `round` counts readings, `apply_round` appliances: each makes its job once."""

    __tablename__ = "batch"
    import_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str]
    file_name: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    entity_code: Mapped[str]
    entity_currency: Mapped[str]
    wanted_object: Mapped[str] = mapped_column(default="")
    object: Mapped[str] = mapped_column(default="")
    mode: Mapped[str]
    apply: Mapped[bool]
    answers: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    mapping: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    round: Mapped[int] = mapped_column(default=1)
    apply_round: Mapped[int] = mapped_column(default=0)
    fingerprint: Mapped[str] = mapped_column(default="")
    profile_id: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    # Columns, questions, preview, totals, warnings, first rejects: what a page shows, as the reading left it.
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    read_count: Mapped[int] = mapped_column(default=0)
    accepted_count: Mapped[int] = mapped_column(default=0)
    # Rows refused by the reading; those the ledger refused are in chunk_counts.
    rejected_count: Mapped[int] = mapped_column(default=0)
    chunk_bounds: Mapped[list[list[int]]] = mapped_column(JSONB, default=list)
    # By chunk number: [created, updated, unchanged, cleared, rejected].
    chunk_counts: Mapped[dict[str, list[int]]] = mapped_column(JSONB, default=dict)
    # [line, field, reason] of the ledger, at most 1,000 a chunk.
    ledger_rejects: Mapped[list[list[Any]]] = mapped_column(JSONB, default=list)
    cleared_absent: Mapped[int] = mapped_column(default=0)
    rows_done: Mapped[int] = mapped_column(default=0)
    rows_per_second: Mapped[float] = mapped_column(default=0.0)
    stage_seconds: Mapped[dict[str, float]] = mapped_column(JSONB, default=dict)
    failure_code: Mapped[str] = mapped_column(default="")
    failure_values: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    # Business date of the upload: the day a stock file is true for.
    file_on: Mapped[date]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    applied_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


BATCH_FIELDS = {
    "entity_code": BatchRow.entity_code,
    "state": BatchRow.state,
    "object": BatchRow.object,
    "created_at": BatchRow.created_at,
    "file_name": BatchRow.file_name,
    "sha256": BatchRow.sha256,
}
PROFILE_FIELDS = {
    "object": ProfileRow.object,
    "name": ProfileRow.name,
    "fingerprint": ProfileRow.fingerprint,
    "changed_at": ProfileRow.changed_at,
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


def older_batch_applying(session: Session, row: BatchRow) -> bool:
    """Whether an import of the same entity that began earlier is still being applied: files are applied in their
    order."""
    query = select(BatchRow.import_id).where(
        BatchRow.entity_code == row.entity_code, BatchRow.state == "APPLYING", BatchRow.created_at < row.created_at
    )
    return session.execute(query.limit(1)).first() is not None


def profile_by_fingerprint(session: Session, fingerprint: str, wanted_object: str) -> ProfileRow | None:
    """The newest profile of a layout, of the wanted object where one is wanted."""
    query = (
        select(ProfileRow).where(ProfileRow.fingerprint == fingerprint).order_by(ProfileRow.changed_at.desc()).limit(1)
    )
    if wanted_object:
        query = query.where(ProfileRow.object == wanted_object)
    return session.scalars(query).first()


def keep_profile(
    session: Session,
    *,
    object_: str,
    fingerprint: str,
    name: str,
    mapping: dict[str, str],
    answers: dict[str, str],
    now: datetime,
) -> str:
    """Remembers a confirmed mapping under its layout; returns its id.

    The name stays that of the first file; answers given now join those given before.
    """
    statement = (
        insert(ProfileRow)
        .values(
            tenant_id=context.current_tenant(),
            profile_id=new_id(),
            object=object_,
            fingerprint=fingerprint,
            name=name,
            mapping=mapping,
            answers=answers,
            used=1,
            changed_at=now,
        )
        .on_conflict_do_update(
            constraint="uq_profile_fingerprint",
            set_={
                "mapping": mapping,
                "answers": ProfileRow.answers.op("||")(cast(answers, JSONB)),
                "used": ProfileRow.used + 1,
                "changed_at": now,
            },
        )
        .returning(ProfileRow.profile_id)
    )
    return str(session.execute(statement).scalar_one())


def delete_profile(session: Session, profile_id: str) -> bool:
    """Forgets a profile; False when there is none."""
    row = session.get(ProfileRow, (context.current_tenant(), profile_id))
    if row is None:
        return False
    session.delete(row)
    return True


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


def profiles(
    session: Session, filter_: str, order_by: str, page_size: int, page_token: str
) -> tuple[list[ProfileRow], str, int]:
    """Profiles, newest first unless ordered otherwise."""
    query = select(ProfileRow).where(*listing.parse_filter(filter_, PROFILE_FIELDS))
    order = [*listing.order_by(order_by, PROFILE_FIELDS, "changed_at desc"), ProfileRow.profile_id.desc()]
    return page(session, query, order, page_size, page_token)
