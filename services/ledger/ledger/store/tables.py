"""The ledger's tables as SQLAlchemy sees them; the migrations decide, tests compare."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import UUID, BigInteger, Boolean, Date, DateTime, FetchedValue, Integer, LargeBinary, Text
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
    ignore_item_below_minor: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue())
    min_account_minor: Mapped[int | None] = mapped_column(BigInteger)
    field_owners: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=FetchedValue())


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
    load_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    load_version: Mapped[int | None] = mapped_column(BigInteger)
    load_covers: Mapped[bool] = mapped_column(Boolean)
    # Where its items are now; set, it is only a sign on the way there.
    merged_into_id: Mapped[str | None] = mapped_column(Id)
    # The account through which it is collected.
    master_account_id: Mapped[str | None] = mapped_column(Id)
    pinned_comment: Mapped[str] = mapped_column(Text, server_default=FetchedValue())
    edited_fields: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=FetchedValue())


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
    more_roles: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=FetchedValue())
    channels: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=FetchedValue())
    preferred_channel: Mapped[str] = mapped_column(Text, server_default=FetchedValue())
    scope: Mapped[str] = mapped_column(Text, server_default=FetchedValue())
    item_ids: Mapped[list[str]] = mapped_column(ARRAY(Id), server_default=FetchedValue())
    recipient: Mapped[str] = mapped_column(Text, server_default=FetchedValue())
    active: Mapped[bool] = mapped_column(Boolean, server_default=FetchedValue())
    edited: Mapped[bool] = mapped_column(Boolean, server_default=FetchedValue())
    original_account_id: Mapped[str | None] = mapped_column(Id)


class ItemRow(TenantMixin, Base):
    """An open debt line or its history. kind is the enum's name without prefix; issued_minor and issued_on are the first
    entry of that history and never change; change_count numbers the last entry."""

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
    issued_minor: Mapped[int] = mapped_column(BigInteger)
    issued_on: Mapped[date] = mapped_column(Date)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
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
    original_account_id: Mapped[str | None] = mapped_column(Id)
    audit_xid: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue(), deferred=True)


class ItemChangeRow(TenantMixin, Base):
    """One entry of an item's history after the first, which stands in items; insert-only."""

    __tablename__ = "item_changes"
    item_id: Mapped[str] = mapped_column(Id, primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_id: Mapped[str] = mapped_column(Id)
    cause: Mapped[str] = mapped_column(Text)
    delta_minor: Mapped[int] = mapped_column(BigInteger)
    value_on: Mapped[date] = mapped_column(Date)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    import_id: Mapped[str | None] = mapped_column(Id)
    audit_xid: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue(), deferred=True)


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
    until_on: Mapped[date | None] = mapped_column(Date)
    review_on: Mapped[date | None] = mapped_column(Date)
    audit_xid: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue(), deferred=True)


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
    books_before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    books_after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    rolled_back_at: Mapped[datetime | None] = mapped_column(Instant)
    rolled_back: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class LoadChunkRow(TenantMixin, Base):
    """What a chunk did; planned ones wrote nothing to the books."""

    __tablename__ = "load_chunks"
    __allow_unmapped__ = True
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
    kept: Mapped[int] = mapped_column(Integer, server_default=FetchedValue())
    committed_at: Mapped[datetime] = mapped_column(Instant)
    reopened: Mapped[int] = mapped_column(Integer)
    moves: Mapped[dict[str, Any]] = mapped_column(JSONB)
    # What a plan says of single rows (store.plans): told at once, kept nowhere.
    effects: Any = ()


class LoadKeysRow(TenantMixin, Base):
    """What a chunk of a STOCK load held: accounts of which nothing is absent, and items of the others. Arrays, because a
    row per item would double the cost of the load."""

    __tablename__ = "load_keys"
    load_id: Mapped[str] = mapped_column(Id, primary_key=True)
    planned: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    chunk_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    item_ids: Mapped[list[str]] = mapped_column(ARRAY(Id))
    account_ids: Mapped[list[str]] = mapped_column(ARRAY(Id))


class CustomerGroupRow(TenantMixin, Base):
    """A group that accounts name in accounts.groups; colour is one of the design's words or empty."""

    __tablename__ = "customer_groups"
    code: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    colour: Mapped[str] = mapped_column(Text)


class FieldDefinitionRow(TenantMixin, Base):
    """What a custom field of accounts or items holds."""

    __tablename__ = "field_definitions"
    object: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    label_en: Mapped[str] = mapped_column(Text)
    label_fr: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    options: Mapped[list[str]] = mapped_column(ARRAY(Text))


class AccountMergeRow(TenantMixin, Base):
    """One account that went into another, and what has to leave again when they are split."""

    __tablename__ = "account_merges"
    merge_id: Mapped[str] = mapped_column(Id, primary_key=True)
    entity_id: Mapped[str] = mapped_column(Id)
    survivor_id: Mapped[str] = mapped_column(Id)
    merged_id: Mapped[str] = mapped_column(Id)
    item_count: Mapped[int] = mapped_column(Integer)
    names_added: Mapped[list[str]] = mapped_column(ARRAY(Text))
    groups_added: Mapped[list[str]] = mapped_column(ARRAY(Text))
    reason: Mapped[str] = mapped_column(Text)
    merged_by: Mapped[str] = mapped_column(Text)
    merged_at: Mapped[datetime] = mapped_column(Instant)
    split_by: Mapped[str] = mapped_column(Text)
    split_at: Mapped[datetime | None] = mapped_column(Instant)
