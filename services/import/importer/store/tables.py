"""Tables of the import service. Everything is behind the tenant wall."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import UUID, BigInteger, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from kit.db import TenantMixin, declarative_base

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
    """How files of one layout are read: remembered from an applied file, or made by hand. The current version."""

    __tablename__ = "profile"
    profile_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    object: Mapped[str]
    fingerprint: Mapped[str]
    name: Mapped[str]
    mapping: Mapped[dict[str, str]] = mapped_column(JSONB)
    answers: Mapped[dict[str, str]] = mapped_column(JSONB)
    used: Mapped[int]
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(default=1)
    by_hand: Mapped[bool] = mapped_column(default=False)
    patterns: Mapped[list[str]] = mapped_column(JSONB, default=list)
    # Empty: every entity.
    entity_codes: Mapped[list[str]] = mapped_column(JSONB, default=list)
    constants: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    # [value as written, kind, whether its amounts change their sign].
    item_types: Mapped[list[list[Any]]] = mapped_column(JSONB, default=list)
    unknown_item_type: Mapped[str] = mapped_column(default="")
    mode: Mapped[str] = mapped_column(default="")
    source_system: Mapped[str] = mapped_column(default="")


class ProfileVersionRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A profile as it was saved once; never changed."""

    __tablename__ = "profile_version"
    profile_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    # The columns of ProfileRow that a person can say.
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    saved_by: Mapped[str]
    saved_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class SourceRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """Where files of one entity come from by themselves."""

    __tablename__ = "source"
    source_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    name: Mapped[str]
    entity_code: Mapped[str]
    kind: Mapped[str]
    # [{"pattern", "profile_id", "mode"}], the first that fits decides.
    patterns: Mapped[list[dict[str, str]]] = mapped_column(JSONB, default=list)
    mode: Mapped[str] = mapped_column(default="delta")
    apply: Mapped[bool] = mapped_column(default=False)
    recipients: Mapped[list[str]] = mapped_column(JSONB, default=list)
    language: Mapped[str] = mapped_column(default="en")
    enabled: Mapped[bool] = mapped_column(default=True)
    # host, port, user_name, host_key, folder, after, done_folder, every_minutes of a server that is pulled from.
    pull: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    user_name: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str] = mapped_column(default="")
    public_key: Mapped[str] = mapped_column(default="")
    # Password or private key for a customer's server, encrypted and bound to source_id.
    secret_sealed: Mapped[str] = mapped_column(default="")
    access_kind: Mapped[str] = mapped_column(default="")
    key_fingerprint: Mapped[str] = mapped_column(default="")
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_file_name: Mapped[str] = mapped_column(default="")
    last_import_id: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    last_file_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_success_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str] = mapped_column(default="")
    last_error_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_pull_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PulledFileRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A file seen on a customer's server: the same name, size and time is never taken twice."""

    __tablename__ = "pulled_file"
    source_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    modified_s: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    import_id: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    pulled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class UploadRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A file on its way in parts; `parts` are the names of kept pieces in order. Becomes the import of its id."""

    __tablename__ = "upload"
    upload_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    file_name: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    # What the import is told: see usecases.uploading.Upload.
    header: Mapped[dict[str, Any]] = mapped_column(JSONB)
    offset_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    parts: Mapped[list[str]] = mapped_column(JSONB, default=list)
    started: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    touched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RowStreamRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """Rows on their way from a partner's system, under the partner's own batch id."""

    __tablename__ = "row_stream"
    batch_id: Mapped[str] = mapped_column(primary_key=True)
    stream_id: Mapped[str] = mapped_column(UUID(as_uuid=False))
    header_sha256: Mapped[str]
    header: Mapped[dict[str, Any]] = mapped_column(JSONB)
    columns: Mapped[list[str]] = mapped_column(JSONB, default=list)
    parts: Mapped[list[str]] = mapped_column(JSONB, default=list)
    last_sequence: Mapped[int] = mapped_column(default=0)
    row_count: Mapped[int] = mapped_column(default=0)
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    finished: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[str]
    touched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


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
    # Rows from and to, bytes from and to in the file of accepted rows.
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
    # How it came: UPLOAD, API, SFTP, FTPS, PULL_SFTP, STREAM; and the source, where there is one.
    channel: Mapped[str] = mapped_column(default="UPLOAD")
    source_id: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    # Profile asked for by the source or a person; profile_id and profile_version are what was used.
    wanted_profile_id: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    profile_version: Mapped[int] = mapped_column(default=0)
    # False: nobody said delta or stock, so the profile may.
    mode_given: Mapped[bool] = mapped_column(default=True)
    source_system: Mapped[str] = mapped_column(default="")
    # What applying would do: counts, balances, when; `plan_round` counts plans as `round` counts readings.
    plan_round: Mapped[int] = mapped_column(default=0)
    plan: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    # [currency, items before, open before, items after, open after] of the books, once applied.
    balances: Mapped[list[list[Any]]] = mapped_column(JSONB, default=list)
    # [currency, items or null, open minor units or null] as expected.
    control_totals: Mapped[list[list[Any]]] = mapped_column(JSONB, default=list)
    # What a job does now (keep, read, plan, load, rollBack) and how many rows of it are done.
    stage: Mapped[str] = mapped_column(default="")
    stage_rows: Mapped[int] = mapped_column(default=0)
    reopened: Mapped[int] = mapped_column(default=0)
    # What taking it back did or, while that is asked for, would do.
    roll_back: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    rolled_back_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class DocumentRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A file that goes with items; its bytes lie in the file store under its id."""

    __tablename__ = "document"
    document_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    entity_code: Mapped[str]
    file_name: Mapped[str]
    kind: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    # INVOICE or ATTACHMENT.
    purpose: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    for_colleagues: Mapped[bool] = mapped_column(default=False)
    for_customer: Mapped[bool] = mapped_column(default=False)
    # QUARANTINED until scanned, READY, or INFECTED: then there is no file any more.
    state: Mapped[str]
    # What the scanner found, or why it could not be asked.
    scan_text: Mapped[str] = mapped_column(default="")
    scanned_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    channel: Mapped[str]
    # The number (and account, where it is known) that it waits for, and the number's key; empty once it was found.
    wanted_number: Mapped[str] = mapped_column(default="")
    wanted_account: Mapped[str] = mapped_column(default="")
    wanted_key: Mapped[str] = mapped_column(default="")
    created_by: Mapped[str]
    created_by_subject: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DocumentItemRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """An item a document belongs to, with what the ledger last said of its end. An item has a content once."""

    __tablename__ = "document_item"
    item_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    document_id: Mapped[str] = mapped_column(UUID(as_uuid=False))
    account_id: Mapped[str] = mapped_column(UUID(as_uuid=False))
    number: Mapped[str]
    item_version: Mapped[int] = mapped_column(BigInteger)
    settled_on: Mapped[date | None]


class DocumentDeletionRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """That a document was there, and who or what removed it; never changed."""

    __tablename__ = "document_deletion"
    document_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    entity_code: Mapped[str]
    file_name: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    item_ids: Mapped[list[str]] = mapped_column(JSONB)
    item_numbers: Mapped[list[str]] = mapped_column(JSONB)
    # RETENTION or PERSON.
    cause: Mapped[str]
    deleted_by: Mapped[str]
    deleted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class UrlPatternRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """Where the invoices of an entity lie in its own archive."""

    __tablename__ = "document_url_pattern"
    entity_code: Mapped[str] = mapped_column(primary_key=True)
    pattern: Mapped[str]
    for_customer: Mapped[bool]
    changed_by: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
