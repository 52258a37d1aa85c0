"""The only SQL of the gateway: the directory of tenants, users, API keys, sessions.

Sign-in knows an address, a session or a key before it knows the tenant; those look-ups run in a system transaction,
which the policy of these four tables admits. Everything else runs behind the tenant wall.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, UUID, DateTime, FetchedValue, Index, LargeBinary, Text, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit.db import TenantMixin, declarative_base, sqlstate
from kit.errors import Code, Refused
from kit.listing import next_offset_token, offset_of, order_by, page_size, parse_filter

Base: Any = declarative_base()

USER_FIELDS = ("email", "role", "active")
KEY_FIELDS = ("name", "role")
UNIQUE_VIOLATION = "23505"


class TenantRow(TenantMixin, Base):
    """One of our users' groups. The cluster says which databases hold its data; empty: the default ones."""

    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(Text)
    cluster: Mapped[str] = mapped_column(Text, default="")
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class UserRow(TenantMixin, Base):
    """Somebody who signs in. One address belongs to one person of one tenant on the whole installation."""

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    entity_codes: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    can_upload: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)
    language: Mapped[str] = mapped_column(Text, default="")
    password_hash: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Such as {"accounts_columns": ["open", "collector"]}.
    preferences: Mapped[dict[str, list[str]]] = mapped_column(JSONB, server_default=FetchedValue())

    __table_args__ = (Index("users_email", "email", unique=True),)


class ApiKeyRow(TenantMixin, Base):
    """A key of a program; only its hash is kept."""

    __tablename__ = "api_keys"

    api_key_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    prefix: Mapped[str] = mapped_column(Text)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)
    role: Mapped[str] = mapped_column(Text)
    made_by: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (Index("api_keys_hash", "key_hash"),)


class SessionRow(TenantMixin, Base):
    """A person's session in the web app; the cookie's secret is kept as a hash, the one before it for a moment."""

    __tablename__ = "sessions"

    session_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    user_id: Mapped[str] = mapped_column(UUID(as_uuid=False))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    csrf_token: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    rotated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    address: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (
        Index("sessions_token", "token_hash"),
        Index("sessions_previous", "previous_hash", postgresql_where=text("previous_hash IS NOT NULL")),
        Index("sessions_user", "tenant_id", "user_id"),
    )


# ---- across tenants: only in a system transaction --------------------------------------------------------------------


def tenant_named(session: Session, name: str) -> TenantRow | None:
    """The tenant of this name, the oldest where there are several."""
    return session.scalars(select(TenantRow).where(TenantRow.name == name).order_by(TenantRow.made_at)).first()


def first_tenant(session: Session) -> TenantRow | None:
    """The oldest tenant of the installation."""
    return session.scalars(select(TenantRow).order_by(TenantRow.made_at, TenantRow.tenant_id)).first()


def lock_directory(session: Session) -> None:
    """Lets one at a time add tenants, until the end of the transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('quittance.tenants', 0))"))


def user_with_email(session: Session, email: str) -> UserRow | None:
    """The user who signs in with this (normal) address, in whichever tenant."""
    return session.scalars(select(UserRow).where(UserRow.email == email)).first()


def key_with_hash(session: Session, key_hash: bytes) -> ApiKeyRow | None:
    """The API key with this hash, in whichever tenant, ended ones too."""
    return session.scalars(select(ApiKeyRow).where(ApiKeyRow.key_hash == key_hash)).first()


def session_with_token(session: Session, token_hash: bytes) -> tuple[SessionRow, UserRow, str] | None:
    """The session whose present or previous secret has this hash, its user and the tenant's name."""
    found = session.execute(
        select(SessionRow, UserRow, TenantRow.name)
        .join(UserRow, (UserRow.tenant_id == SessionRow.tenant_id) & (UserRow.user_id == SessionRow.user_id))
        .join(TenantRow, TenantRow.tenant_id == SessionRow.tenant_id)
        .where((SessionRow.token_hash == token_hash) | (SessionRow.previous_hash == token_hash))
    ).first()
    return None if found is None else (found[0], found[1], found[2])


def rotate_session(session: Session, row: SessionRow, new_hash: bytes, at: datetime) -> bool:
    """Gives a session a new secret; False when another request was faster."""
    changed = session.execute(
        update(SessionRow)
        .where(
            SessionRow.tenant_id == row.tenant_id,
            SessionRow.session_id == row.session_id,
            SessionRow.token_hash == row.token_hash,
            SessionRow.rotated_at == row.rotated_at,
        )
        .values(token_hash=new_hash, previous_hash=row.token_hash, rotated_at=at, seen_at=at)
        .returning(SessionRow.session_id)
    ).first()
    return changed is not None


def touch_session(session: Session, row: SessionRow, at: datetime) -> None:
    """Remembers that a session was used."""
    session.execute(
        update(SessionRow)
        .where(SessionRow.tenant_id == row.tenant_id, SessionRow.session_id == row.session_id)
        .values(seen_at=at)
    )


def touch_key(session: Session, row: ApiKeyRow, at: datetime) -> None:
    """Remembers that a key was used."""
    session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.tenant_id == row.tenant_id, ApiKeyRow.api_key_id == row.api_key_id)
        .values(last_used_at=at)
    )


def delete_session(session: Session, tenant_id: str, session_id: str) -> None:
    """Ends a session for good."""
    session.execute(
        text("DELETE FROM sessions WHERE tenant_id = :tenant_id AND session_id = :session_id"),
        {"tenant_id": tenant_id, "session_id": session_id},
    )


def delete_ended_sessions(session: Session, now: datetime, idle_before: datetime) -> None:
    """Removes sessions that nobody can use any more."""
    session.execute(
        text("DELETE FROM sessions WHERE ends_at < :now OR seen_at < :idle_before"),
        {"now": now, "idle_before": idle_before},
    )


# ---- behind the tenant wall ------------------------------------------------------------------------------------------


def tenant_name(session: Session) -> str:
    """The name of the caller's tenant; empty when the directory does not know it."""
    return session.scalars(select(TenantRow.name)).first() or ""


def user(session: Session, user_id: str, *, for_update: bool = False) -> UserRow | None:
    """A user of the tenant, locked where he is about to change."""
    query = select(UserRow).where(UserRow.user_id == user_id)
    return session.scalars(query.with_for_update() if for_update else query).first()


def add_user(session: Session, row: UserRow) -> None:
    """Adds a user. Refuses: ALREADY_EXISTS EMAIL_TAKEN, also when another tenant has the address."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if sqlstate(error) != UNIQUE_VIOLATION:
            raise
        message = "this address already signs in"
        raise Refused(Code.ALREADY_EXISTS, "EMAIL_TAKEN", message, {"email": message}) from error


def user_by_email(session: Session, email: str) -> UserRow | None:
    """The user of the tenant with this (normal) address."""
    return session.scalars(select(UserRow).where(UserRow.email == email)).first()


def active_administrators(session: Session) -> list[str]:
    """Ids of the tenant's active administrators, all locked in one fixed order."""
    query = select(UserRow.user_id).where(UserRow.role == "administrator", UserRow.active).order_by(UserRow.user_id)
    return list(session.scalars(query.with_for_update()))


def users(session: Session, filter_text: str, order: str, size: int, token: str) -> tuple[Sequence[UserRow], str, int]:
    """A page of users, the token of the next one, and how many there are."""
    columns = {name: getattr(UserRow, name) for name in (*USER_FIELDS, "name", "last_seen_at")}
    conditions = parse_filter(filter_text, {name: columns[name] for name in USER_FIELDS})
    total = session.scalar(select(func.count()).select_from(UserRow).where(*conditions)) or 0
    offset = offset_of(token)
    rows = session.scalars(
        select(UserRow)
        .where(*conditions)
        .order_by(*order_by(order, columns, "email"), UserRow.user_id)
        .offset(offset)
        .limit(page_size(size))
    ).all()
    return rows, next_offset_token(offset, len(rows), total), total


def end_sessions_of(session: Session, user_id: str) -> None:
    """Ends every session of a user."""
    session.execute(text("DELETE FROM sessions WHERE user_id = :user_id"), {"user_id": user_id})


def end_other_sessions(session: Session, user_id: str, session_id: str) -> None:
    """Ends every session of a user but one."""
    session.execute(
        text("DELETE FROM sessions WHERE user_id = :user_id AND session_id <> :session_id"),
        {"user_id": user_id, "session_id": session_id},
    )


def api_key(session: Session, api_key_id: str, *, for_update: bool = False) -> ApiKeyRow | None:
    """A key of the tenant, locked where it is about to change."""
    query = select(ApiKeyRow).where(ApiKeyRow.api_key_id == api_key_id)
    return session.scalars(query.with_for_update() if for_update else query).first()


def api_keys(
    session: Session, filter_text: str, order: str, size: int, token: str
) -> tuple[Sequence[ApiKeyRow], str, int]:
    """A page of keys, newest first, the token of the next one, and how many there are."""
    columns = {name: getattr(ApiKeyRow, name) for name in (*KEY_FIELDS, "created_at", "last_used_at", "expires_at")}
    conditions = parse_filter(filter_text, {name: columns[name] for name in KEY_FIELDS})
    total = session.scalar(select(func.count()).select_from(ApiKeyRow).where(*conditions)) or 0
    offset = offset_of(token)
    rows = session.scalars(
        select(ApiKeyRow)
        .where(*conditions)
        .order_by(*order_by(order, columns, "created_at desc"), ApiKeyRow.api_key_id.desc())
        .offset(offset)
        .limit(page_size(size))
    ).all()
    return rows, next_offset_token(offset, len(rows), total), total
