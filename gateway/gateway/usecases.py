"""What the gateway does with tenants, users, keys and sessions; each in one transaction opened at the edge."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway import domain, store
from gateway.config import Settings
from gateway.passwords import Passwords
from gateway.store import ApiKeyRow, SessionRow, TenantRow, UserRow
from kit.context import Caller
from kit.errors import Code, Refused
from kit.ids import new_id

# A key's or session's last use is written down at most this often.
TOUCH_EVERY_S = 60.0
FIRST_PASSWORD_BYTES = 12


@dataclass(frozen=True)
class SignedIn:
    """A person behind a valid session. new_token is set when the cookie has to change."""

    caller: Caller
    user_id: str
    session_id: str
    csrf_token: str
    role: str
    language: str
    tenant_name: str
    new_token: str = ""


# ---- tenants ---------------------------------------------------------------------------------------------------------


def create_tenant(
    session: Session, passwords: Passwords, name: str, admin_email: str, admin_password: str, admin_name: str = ""
) -> tuple[str, str]:
    """Makes a tenant and its first administrator where they are missing (system transaction).

    Returns the tenant's id, and the administrator's password if he was added just now, else "".
    Refuses: ALREADY_EXISTS EMAIL_TAKEN when the address belongs to another tenant; INVALID_ARGUMENT PASSWORD_WEAK.
    """
    store.lock_directory(session)
    tenant = store.tenant_named(session, name)
    if tenant is None:
        tenant = TenantRow(tenant_id=new_id(), name=name)
        session.add(tenant)
        session.flush()
    email = domain.normal_email(admin_email)
    known = store.user_with_email(session, email)
    if known is not None:
        if known.tenant_id != tenant.tenant_id:
            raise Refused(Code.ALREADY_EXISTS, "EMAIL_TAKEN", f"{email} belongs to another tenant")
        return tenant.tenant_id, ""
    password = admin_password or _first_password()
    domain.check_password(password, email)
    session.add(
        UserRow(
            tenant_id=tenant.tenant_id,
            user_id=new_id(),
            email=email,
            name=admin_name or "Administrator",
            role=domain.ADMINISTRATOR,
            entity_codes=[],
            can_upload=True,
            password_hash=passwords.hash(password),
        )
    )
    return tenant.tenant_id, password


def administrators_key(session: Session, tenant: str, name: str) -> str:
    """A new administrator's key of the tenant with this name, or of the oldest tenant (system transaction).

    Refuses: NOT_FOUND TENANT_UNKNOWN.
    """
    row = store.tenant_named(session, tenant) if tenant else store.first_tenant(session)
    if row is None:
        raise Refused(Code.NOT_FOUND, "TENANT_UNKNOWN", "there is no such tenant: make one with create-tenant")
    secret = _new_key()
    session.add(_key_row(row.tenant_id, name, domain.ADMINISTRATOR, secret, "command line", None))
    return secret


# ---- sessions --------------------------------------------------------------------------------------------------------


def check_credentials(session: Session, passwords: Passwords, email: str, password: str) -> UserRow:
    """The active user with this address and password (system transaction).

    Unknown address, wrong password and inactive user take as long and say the same: UNAUTHENTICATED SIGN_IN_FAILED.
    """
    user = store.user_with_email(session, domain.normal_email(email)[:254])
    fits = passwords.verify(user.password_hash if user else None, password[: domain.PASSWORD_MAX])
    if user is None or not fits or not user.active:
        raise Refused(Code.UNAUTHENTICATED, "SIGN_IN_FAILED", "address or password is wrong")
    return user


def start_session(
    session: Session, settings: Settings, passwords: Passwords, email: str, password: str, address: str, now: datetime
) -> str:
    """Signs a person in; returns the secret of the new session's cookie (system transaction)."""
    user = check_credentials(session, passwords, email, password)
    if passwords.is_outdated(user.password_hash):
        user.password_hash = passwords.hash(password)
    user.last_seen_at = now
    store.delete_ended_sessions(session, now, now - timedelta(seconds=settings.session_idle_s))
    token = secrets.token_urlsafe(32)
    session.add(
        SessionRow(
            tenant_id=user.tenant_id,
            session_id=new_id(),
            user_id=user.user_id,
            token_hash=domain.secret_hash(token),
            csrf_token=secrets.token_urlsafe(24),
            made_at=now,
            rotated_at=now,
            seen_at=now,
            ends_at=now + timedelta(seconds=settings.session_absolute_s),
            address=address[:64],
        )
    )
    return token


def resume_session(session: Session, settings: Settings, token: str, now: datetime) -> SignedIn | None:
    """Who is behind a cookie; None when the session ended, idled out or its user may no longer sign in.

    The secret changes every few minutes; the one before is taken a little longer, for requests already under way.
    """
    token_hash = domain.secret_hash(token)
    found = store.session_with_token(session, token_hash)
    if found is None:
        return None
    row, user, tenant_name = found
    idle_until = row.seen_at + timedelta(seconds=settings.session_idle_s)
    if not user.active or now >= row.ends_at or now >= idle_until:
        store.delete_session(session, row.tenant_id, row.session_id)
        return None
    new_token = ""
    if row.token_hash != token_hash:
        if now > row.rotated_at + timedelta(seconds=settings.session_grace_s):
            # A secret that was replaced long ago is one that somebody kept: nobody goes on with this session.
            store.delete_session(session, row.tenant_id, row.session_id)
            return None
    elif now >= row.rotated_at + timedelta(seconds=settings.session_rotate_s):
        candidate = secrets.token_urlsafe(32)
        if store.rotate_session(session, row, domain.secret_hash(candidate), now):
            new_token = candidate
    elif (now - row.seen_at).total_seconds() >= TOUCH_EVERY_S:
        store.touch_session(session, row, now)
    return SignedIn(
        caller=caller_for_user(user),
        user_id=user.user_id,
        session_id=row.session_id,
        csrf_token=row.csrf_token,
        role=user.role,
        language=user.language,
        tenant_name=tenant_name,
        new_token=new_token,
    )


def caller_for_user(user: UserRow) -> Caller:
    """A person as the services know him: his address is the subject that books and agendas name."""
    return Caller(
        tenant_id=user.tenant_id,
        subject=user.email,
        name=user.name,
        permissions=domain.permissions_of(user.role, user.can_upload),
        entity_codes=domain.entity_scope(user.entity_codes),
    )


def caller_for_key(session: Session, secret: str, now: datetime) -> Caller | None:
    """The program behind an API key; None when the key is unknown, revoked or over (system transaction)."""
    row = store.key_with_hash(session, domain.secret_hash(secret))
    if row is None or row.revoked_at is not None or (row.expires_at is not None and now >= row.expires_at):
        return None
    if row.last_used_at is None or (now - row.last_used_at).total_seconds() >= TOUCH_EVERY_S:
        store.touch_key(session, row, now)
    return Caller(
        tenant_id=row.tenant_id,
        subject=f"{KEY_SUBJECT}{row.api_key_id}",
        name=row.name,
        permissions=domain.permissions_of(row.role, can_upload=False),
    )


KEY_SUBJECT = "api-key:"


# ---- users and keys of a tenant --------------------------------------------------------------------------------------


def role_of_caller(session: Session, caller: Caller) -> str:
    """The role behind a caller; empty for a service."""
    if caller.subject.startswith(KEY_SUBJECT):
        key = store.api_key(session, caller.subject.removeprefix(KEY_SUBJECT))
        return key.role if key else ""
    user = store.user_by_email(session, caller.actor)
    return user.role if user else ""


def create_user(
    session: Session,
    passwords: Passwords,
    caller: Caller,
    email: str,
    name: str,
    role: str,
    entity_codes: Sequence[str],
    password: str,
    language: str,
    can_upload: bool,
) -> tuple[UserRow, str]:
    """Adds a user; returns him and the password that was made for him ("" when one was given).

    Refuses: INVALID_ARGUMENT ROLE_UNKNOWN, PASSWORD_WEAK; PERMISSION_DENIED ROLE_TOO_HIGH; ALREADY_EXISTS EMAIL_TAKEN.
    """
    _check_may_give(caller, role, can_upload)
    _check_scope(caller, entity_codes)
    address = domain.normal_email(email)
    first_password = "" if password else _first_password()
    domain.check_password(password or first_password, address)
    user = UserRow(
        tenant_id=caller.tenant_id,
        user_id=new_id(),
        email=address,
        name=name.strip(),
        role=role,
        entity_codes=sorted(set(entity_codes)),
        can_upload=can_upload,
        language=language,
        active=True,
        password_hash=passwords.hash(password or first_password),
    )
    store.add_user(session, user)
    return user, first_password


def update_user(
    session: Session,
    caller: Caller,
    user_id: str,
    role: str | None,
    entity_codes: Sequence[str],
    active: bool | None,
    can_upload: bool | None,
    all_entities: bool = False,
) -> UserRow:
    """Changes what is given; a person who loses something is signed out at once.

    Args: entity_codes, replace those he sees unless empty; all_entities, he sees every entity from now on.
    Refuses: NOT_FOUND USER_UNKNOWN; INVALID_ARGUMENT ROLE_UNKNOWN, INVALID_FIELDS; PERMISSION_DENIED ROLE_TOO_HIGH;
    FAILED_PRECONDITION LAST_ADMINISTRATOR.
    """
    if all_entities and entity_codes:
        text = "name entities or say all, not both"
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", text, {"all_entities": text})
    administrators = store.active_administrators(session)
    user = store.user(session, user_id, for_update=True)
    if user is None:
        raise Refused(Code.NOT_FOUND, "USER_UNKNOWN", "there is no such user")
    _check_may_give(caller, role or user.role, user.can_upload if can_upload is None else can_upload)
    _check_scope(caller, user.entity_codes)
    if entity_codes or all_entities:
        _check_scope(caller, entity_codes)
    loses = (role is not None and role != domain.ADMINISTRATOR) or active is False
    if loses and administrators == [user.user_id]:
        raise Refused(
            Code.FAILED_PRECONDITION, "LAST_ADMINISTRATOR", "a tenant keeps at least one active administrator"
        )
    if role is not None:
        user.role = role
    if entity_codes or all_entities:
        user.entity_codes = sorted(set(entity_codes))
    if active is not None:
        user.active = active
    if can_upload is not None:
        user.can_upload = can_upload
    if not user.active:
        store.end_sessions_of(session, user.user_id)
    return user


def create_api_key(
    session: Session, caller: Caller, name: str, role: str, valid_days: int, now: datetime
) -> tuple[ApiKeyRow, str]:
    """Makes a key; returns it and its secret, which is never to be had again.

    Refuses: INVALID_ARGUMENT ROLE_UNKNOWN; PERMISSION_DENIED ROLE_TOO_HIGH.
    """
    _check_may_give(caller, role, can_upload=False)
    # A key sees all entities.
    _check_scope(caller, ())
    secret = _new_key()
    expires_at = now + timedelta(days=valid_days) if valid_days else None
    row = _key_row(caller.tenant_id, name.strip(), role, secret, caller.actor, expires_at)
    row.created_at = now
    session.add(row)
    session.flush()
    return row, secret


def revoke_api_key(session: Session, api_key_id: str, now: datetime) -> ApiKeyRow:
    """Ends a key; ending an ended one changes nothing. Refuses: NOT_FOUND API_KEY_UNKNOWN."""
    row = store.api_key(session, api_key_id, for_update=True)
    if row is None:
        raise Refused(Code.NOT_FOUND, "API_KEY_UNKNOWN", "there is no such key")
    if row.revoked_at is None:
        row.revoked_at = now
    return row


def _check_may_give(caller: Caller, role: str, can_upload: bool) -> None:
    """Nobody gives a right he does not have himself."""
    wanted = domain.permissions_of(role, can_upload)
    lacking = sorted(permission for permission in wanted if not caller.can(permission))
    if lacking:
        raise Refused(
            Code.PERMISSION_DENIED, "ROLE_TOO_HIGH", f"this role has rights that you do not have: {', '.join(lacking)}"
        )


def _check_scope(caller: Caller, entity_codes: Sequence[str]) -> None:
    """A person who sees some entities only decides about nobody who sees others."""
    if caller.entity_codes is not None and (not entity_codes or not caller.entity_codes.issuperset(entity_codes)):
        raise Refused(Code.PERMISSION_DENIED, "ROLE_TOO_HIGH", "these are entities that you may not see yourself")


def _key_row(tenant_id: str, name: str, role: str, secret: str, made_by: str, expires_at: datetime | None) -> ApiKeyRow:
    return ApiKeyRow(
        tenant_id=tenant_id,
        api_key_id=new_id(),
        name=name,
        prefix=secret[: domain.API_KEY_SHOWN],
        key_hash=domain.secret_hash(secret),
        role=role,
        made_by=made_by,
        expires_at=expires_at,
    )


def _new_key() -> str:
    return domain.API_KEY_PREFIX + secrets.token_urlsafe(32)


def _first_password() -> str:
    # The suffix has the classes that domain.check_password asks for, whatever was drawn before it.
    return secrets.token_urlsafe(FIRST_PASSWORD_BYTES) + "-Q7"
