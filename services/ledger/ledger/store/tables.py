"""The ledger's tables as SQLAlchemy sees them; the migrations decide, tests compare."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import UUID, BigInteger, Boolean, Date, DateTime, Integer, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from kit.db import TenantMixin, declarative_base

Base: Any = declarative_base()

Id = UUID(as_uuid=False)
Instant = DateTime(timezone=True)


class EntityRow(TenantMixin, Base):
    """One of the tenant's own legal companies."""

    __tablename__ = "entities"
    entity_id: Mapped[str] = mapped_column(Id, primary_key=True)
    code: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    country: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    time_zone: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(BigInteger)


class LegalUnitRow(TenantMixin, Base):
    """The company behind accounts; without a registration number, one per account."""

    __tablename__ = "legal_units"
    legal_unit_id: Mapped[str] = mapped_column(Id, primary_key=True)
    registration_number: Mapped[str] = mapped_column(Text)
    country: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)


class AccountRow(TenantMixin, Base):
    """A customer as one entity's books know it; name and aliases follow account_names."""

    __tablename__ = "accounts"
    account_id: Mapped[str] = mapped_column(Id, primary_key=True)
    entity_id: Mapped[str] = mapped_column(Id)
    number: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    aliases: Mapped[list[str]] = mapped_column(ARRAY(Text))
    country: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text)
    payment_terms: Mapped[str] = mapped_column(Text)
    legal_unit_id: Mapped[str] = mapped_column(Id)
    parent_number: Mapped[str] = mapped_column(Text)
    groups: Mapped[list[str]] = mapped_column(ARRAY(Text))
    collector: Mapped[str] = mapped_column(Text)
    custom_fields: Mapped[dict[str, Any]] = mapped_column(JSONB)
    oldest_due_on: Mapped[date | None] = mapped_column(Date)
    version: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[datetime] = mapped_column(Instant)


class AccountNameRow(TenantMixin, Base):
    """A spelling of an account's name; item_count items carry it, 0 when only a list of accounts does."""

    __tablename__ = "account_names"
    account_id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    item_count: Mapped[int] = mapped_column(Integer)
    first_seen_at: Mapped[datetime] = mapped_column(Instant)


class AccountBalanceRow(TenantMixin, Base):
    """What does not depend on the day of an account's balance in one currency; no row when nothing is open."""

    __tablename__ = "account_balances"
    account_id: Mapped[str] = mapped_column(Id, primary_key=True)
    currency: Mapped[str] = mapped_column(Text, primary_key=True)
    open_minor: Mapped[int] = mapped_column(BigInteger)
    credits_minor: Mapped[int] = mapped_column(BigInteger)
    item_count: Mapped[int] = mapped_column(Integer)


class ContactRow(TenantMixin, Base):
    """How somebody at the customer is reached. role is the enum's name without prefix."""

    __tablename__ = "contacts"
    contact_id: Mapped[str] = mapped_column(Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(Id)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    phone: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text)
    valid: Mapped[bool] = mapped_column(Boolean)
    invalid_reason: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Instant)


class ItemRow(TenantMixin, Base):
    """An open debt line or its history. kind is the enum's name without prefix; change_count numbers the last change."""

    __tablename__ = "items"
    item_id: Mapped[str] = mapped_column(Id, primary_key=True)
    entity_id: Mapped[str] = mapped_column(Id)
    account_id: Mapped[str] = mapped_column(Id)
    number: Mapped[str] = mapped_column(Text)
    line_number: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    issue_on: Mapped[date] = mapped_column(Date)
    due_on: Mapped[date | None] = mapped_column(Date)
    posted_on: Mapped[date | None] = mapped_column(Date)
    settled_on: Mapped[date | None] = mapped_column(Date)
    initial_minor: Mapped[int] = mapped_column(BigInteger)
    open_minor: Mapped[int] = mapped_column(BigInteger)
    fiscal_year: Mapped[int] = mapped_column(Integer)
    source_system: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str | None] = mapped_column(Text)
    order_number: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    account_name: Mapped[str] = mapped_column(Text)
    custom_fields: Mapped[dict[str, Any]] = mapped_column(JSONB)
    change_count: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(BigInteger)
    first_load_id: Mapped[str | None] = mapped_column(Id)


class ItemChangeRow(TenantMixin, Base):
    """One entry of an item's history; insert-only."""

    __tablename__ = "item_changes"
    item_id: Mapped[str] = mapped_column(Id, primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_id: Mapped[str] = mapped_column(Id)
    cause: Mapped[str] = mapped_column(Text)
    delta_minor: Mapped[int] = mapped_column(BigInteger)
    value_on: Mapped[date] = mapped_column(Date)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    import_id: Mapped[str | None] = mapped_column(Id)


class HoldRow(TenantMixin, Base):
    """A reason why an amount of one item is not collectable. begun: from_on is past and the readers know it."""

    __tablename__ = "holds"
    hold_id: Mapped[str] = mapped_column(Id, primary_key=True)
    item_id: Mapped[str] = mapped_column(Id)
    account_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    from_on: Mapped[date] = mapped_column(Date)
    until_on: Mapped[date | None] = mapped_column(Date)
    review_on: Mapped[date | None] = mapped_column(Date)
    reason: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    source_id: Mapped[str] = mapped_column(Text)
    placed_at: Mapped[datetime] = mapped_column(Instant)
    begun: Mapped[bool] = mapped_column(Boolean)


class HoldChangeRow(TenantMixin, Base):
    """One entry of a hold's history; insert-only."""

    __tablename__ = "hold_changes"
    hold_id: Mapped[str] = mapped_column(Id, primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    what: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class LoadRow(TenantMixin, Base):
    """A load: the header as it came, and how it ended."""

    __tablename__ = "loads"
    load_id: Mapped[str] = mapped_column(Id, primary_key=True)
    entity_id: Mapped[str] = mapped_column(Id)
    mode: Mapped[str] = mapped_column(Text)
    source_system: Mapped[str] = mapped_column(Text)
    file_on: Mapped[date] = mapped_column(Date)
    cleared_absent: Mapped[int | None] = mapped_column(Integer)
    open_items: Mapped[int | None] = mapped_column(Integer)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)
    changed_at: Mapped[datetime] = mapped_column(Instant)


class LoadChunkRow(TenantMixin, Base):
    """What a chunk did; planned ones wrote nothing to the books."""

    __tablename__ = "load_chunks"
    load_id: Mapped[str] = mapped_column(Id, primary_key=True)
    object: Mapped[str] = mapped_column(Text, primary_key=True)
    planned: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    chunk_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    created: Mapped[int] = mapped_column(Integer)
    updated: Mapped[int] = mapped_column(Integer)
    unchanged: Mapped[int] = mapped_column(Integer)
    cleared: Mapped[int] = mapped_column(Integer)
    rejected: Mapped[int] = mapped_column(Integer)
    rejects: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    committed_at: Mapped[datetime] = mapped_column(Instant)


class LoadKeysRow(TenantMixin, Base):
    """The items a chunk of a STOCK load held, in one array: a row per item would double the cost of the load."""

    __tablename__ = "load_keys"
    load_id: Mapped[str] = mapped_column(Id, primary_key=True)
    planned: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    chunk_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    item_ids: Mapped[list[str]] = mapped_column(ARRAY(Id))
