"""Tables of notification and all its SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    UUID,
    CheckConstraint,
    DateTime,
    Index,
    String,
    UniqueConstraint,
    cast,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit import listing
from kit.clock import utc_now
from kit.context import Caller
from kit.db import TenantMixin, declarative_base
from kit.ids import new_id
from notification.domain.words import SHIPPED

Base = declarative_base()
_UUID = UUID(as_uuid=False)
_INSTANT = DateTime(timezone=True)


class TemplateRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A text with hashtags, one per key and language."""

    __tablename__ = "template"
    __table_args__ = (UniqueConstraint("tenant_id", "key", "language"),)
    template_id: Mapped[str] = mapped_column(_UUID, primary_key=True, default=new_id)
    key: Mapped[str]
    language: Mapped[str]
    name: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)


class MessageRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """One message. Sources keep their hashtags; subject, body and text are the last rendering, link masked."""

    __tablename__ = "message"
    __table_args__ = (
        # What may leave only once: a second message for the same purpose is possible only when the first had no effect.
        Index(
            "uq_message_purpose",
            "tenant_id",
            "purpose_key",
            unique=True,
            postgresql_where=text("state NOT IN ('FAILED', 'CANCELLED', 'BOUNCED')"),
        ),
        Index("ix_message_account", "tenant_id", "account_id", "created_at"),
        Index("ix_message_created", "tenant_id", "created_at"),
        CheckConstraint("attempt_number >= 0", name="attempts_counted"),
    )
    message_id: Mapped[str] = mapped_column(_UUID, primary_key=True, default=new_id)
    purpose_key: Mapped[str]
    content_sha256: Mapped[bytes]
    state: Mapped[str]
    phase: Mapped[str] = mapped_column(default="")
    attempt_number: Mapped[int] = mapped_column(default=0)
    account_id: Mapped[str] = mapped_column(_UUID)
    account_name: Mapped[str]
    entity_code: Mapped[str]
    action_id: Mapped[str] = mapped_column(default="")
    step_number: Mapped[int] = mapped_column(default=0)
    template_key: Mapped[str]
    language: Mapped[str]
    recipients: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    sender: Mapped[dict[str, Any]] = mapped_column(JSONB)
    subject_source: Mapped[str]
    body_source: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    text: Mapped[str]
    body_sha256: Mapped[bytes]
    items: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    internet_message_id: Mapped[str] = mapped_column(default="")
    link_id: Mapped[str] = mapped_column(default="")
    link_sealed: Mapped[str] = mapped_column(default="")
    failure: Mapped[str] = mapped_column(default="")
    failure_code: Mapped[str] = mapped_column(default="")
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(_INSTANT, default=utc_now)
    sent_at: Mapped[datetime | None] = mapped_column(_INSTANT)
    version: Mapped[int] = mapped_column(default=1)


class AttemptRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """One try to hand a message over; the outcome is empty while it is under way."""

    __tablename__ = "attempt"
    message_id: Mapped[str] = mapped_column(_UUID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(default="")
    detail: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(_INSTANT, default=utc_now)


class InternalMailRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A mail to one of our user's own people; a purpose has one, for ever."""

    __tablename__ = "internal_mail"
    __table_args__ = (UniqueConstraint("tenant_id", "purpose_key"),)
    mail_id: Mapped[str] = mapped_column(_UUID, primary_key=True, default=new_id)
    purpose_key: Mapped[str]
    email: Mapped[str]
    name: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    language: Mapped[str]
    state: Mapped[str] = mapped_column(default="QUEUED")
    phase: Mapped[str] = mapped_column(default="")
    attempt_number: Mapped[int] = mapped_column(default=0)
    detail: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(_INSTANT, default=utc_now)
    sent_at: Mapped[datetime | None] = mapped_column(_INSTANT)


MESSAGE_FIELDS: Mapping[str, Any] = {
    "account_id": MessageRow.account_id,
    "state": MessageRow.state,
    "action_id": MessageRow.action_id,
    "created_at": MessageRow.created_at,
}
TEMPLATE_FIELDS: Mapping[str, Any] = {"key": TemplateRow.key, "language": TemplateRow.language}


# ---- templates -------------------------------------------------------------------------------------------------------
def seed_templates(session: Session) -> None:
    """Gives a tenant the shipped templates on its first use; what is there is left alone."""
    if session.scalar(select(TemplateRow.template_id).limit(1)) is not None:
        return
    rows = [
        {"key": t.key, "language": t.language, "name": t.name, "subject": t.subject, "body": t.body} for t in SHIPPED
    ]
    # One statement, so that two first users at once leave one set.
    session.execute(insert(TemplateRow).values(rows).on_conflict_do_nothing())


def templates_of(session: Session, key: str) -> dict[str, TemplateRow]:
    """The texts of one key, by language."""
    return {row.language: row for row in session.scalars(select(TemplateRow).where(TemplateRow.key == key))}


def template_for_update(session: Session, template_id: str) -> TemplateRow | None:
    """One template, locked."""
    return session.scalar(select(TemplateRow).where(TemplateRow.template_id == template_id).with_for_update())


def list_templates(
    session: Session, filter_text: str, order: str, offset: int, limit: int
) -> tuple[list[TemplateRow], int]:
    """A page of templates and how many there are; by key and language unless ordered otherwise."""
    query = select(TemplateRow).where(*listing.parse_filter(filter_text, TEMPLATE_FIELDS))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    ordered = listing.order_by(order, TEMPLATE_FIELDS, "key, language")
    rows = session.scalars(query.order_by(*ordered, TemplateRow.template_id).offset(offset).limit(limit))
    return list(rows), total


# ---- messages --------------------------------------------------------------------------------------------------------
def live_message(session: Session, purpose_key: str) -> MessageRow | None:
    """The message that holds this purpose: any but those that had no effect."""
    return session.scalar(
        select(MessageRow).where(
            MessageRow.purpose_key == purpose_key, MessageRow.state.not_in(("FAILED", "CANCELLED", "BOUNCED"))
        )
    )


def add_message(session: Session, **columns: Any) -> MessageRow | None:
    """Keeps a new message; None when another one holds its purpose."""
    statement = (
        insert(MessageRow)
        .values(**columns)
        .on_conflict_do_nothing(
            index_elements=["tenant_id", "purpose_key"],
            index_where=text("state NOT IN ('FAILED', 'CANCELLED', 'BOUNCED')"),
        )
        .returning(MessageRow)
    )
    return session.scalar(statement)


def message(session: Session, message_id: str) -> MessageRow | None:
    """One message as it is."""
    return session.scalar(select(MessageRow).where(MessageRow.message_id == message_id))


def message_for_update(session: Session, message_id: str) -> MessageRow | None:
    """One message, locked: whoever changes a state holds this."""
    return session.scalar(
        select(MessageRow)
        .where(MessageRow.message_id == message_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def attempts_of(session: Session, message_ids: Sequence[str]) -> dict[str, list[AttemptRow]]:
    """The finished tries of messages, by message, oldest first."""
    found: dict[str, list[AttemptRow]] = {}
    query = select(AttemptRow).where(AttemptRow.message_id.in_(message_ids), AttemptRow.outcome != "")
    for row in session.scalars(query.order_by(AttemptRow.message_id, AttemptRow.number)):
        found.setdefault(row.message_id, []).append(row)
    return found


def attempt(session: Session, message_id: str, number: int) -> AttemptRow | None:
    """One try."""
    return session.scalar(select(AttemptRow).where(AttemptRow.message_id == message_id, AttemptRow.number == number))


def list_messages(
    session: Session, caller: Caller, account_id: str, filter_text: str, order: str, offset: int, limit: int
) -> tuple[list[MessageRow], int]:
    """A page of the messages a caller may see and how many there are; newest first unless ordered otherwise."""
    terms = listing.filter_terms(filter_text, frozenset({*MESSAGE_FIELDS, "recipient"}))
    plain = " AND ".join(f'{t.name}{t.op}"{_quoted(t.value)}"' for t in terms if t.name != "recipient")
    conditions = listing.parse_filter(plain, MESSAGE_FIELDS)
    for term in terms:
        if term.name == "recipient":
            addresses = cast(
                func.jsonb_path_query_array(MessageRow.recipients, literal_column("'$[*].email'::jsonpath")), String
            )
            conditions.append(addresses.icontains(term.value, autoescape=True))
    if account_id:
        conditions.append(MessageRow.account_id == account_id)
    if caller.entity_codes is not None:
        conditions.append(MessageRow.entity_code.in_(caller.entity_codes))
    query = select(MessageRow).where(*conditions)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    ordered = listing.order_by(order, MESSAGE_FIELDS, "created_at desc")
    rows = session.scalars(query.order_by(*ordered, MessageRow.message_id.desc()).offset(offset).limit(limit))
    return list(rows), total


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


# ---- internal mail ---------------------------------------------------------------------------------------------------
def add_internal_mail(session: Session, **columns: Any) -> InternalMailRow | None:
    """Keeps a new mail; None when its purpose has one."""
    statement = (
        insert(InternalMailRow)
        .values(**columns)
        .on_conflict_do_nothing(index_elements=["tenant_id", "purpose_key"])
        .returning(InternalMailRow)
    )
    return session.scalar(statement)


def internal_mail_for(session: Session, purpose_key: str) -> InternalMailRow:
    """The mail of a purpose."""
    return session.scalars(select(InternalMailRow).where(InternalMailRow.purpose_key == purpose_key)).one()


def internal_mail_for_update(session: Session, mail_id: str) -> InternalMailRow | None:
    """One mail, locked."""
    query = select(InternalMailRow).where(InternalMailRow.mail_id == mail_id).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))
