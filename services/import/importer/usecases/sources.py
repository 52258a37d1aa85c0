"""Sources: where files come from by themselves, who may bring them, and what becomes of them."""

from __future__ import annotations

import base64
import ipaddress
import secrets
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.orm import Session

from importer import domain, store
from importer.store import BatchRow, SourceRow
from kit import clock, context, crypto
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.jobs import enqueue
from kit.validation import FORMATS

DROPPED = ("SFTP", "FTPS")
PULLED = "PULL_SFTP"
PASSWORD_BYTES = 18
SSH_PORT = 22
PULL_EVERY_MINUTES = 15
# Kinds of public keys that are taken; DSA and RSA below 2048 bits are not.
KEY_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


@dataclass(frozen=True)
class SourceDraft:
    """What a person says about a source."""

    name: str
    entity_code: str
    kind: str
    patterns: Sequence[dict[str, str]] = ()
    mode: str = ""
    apply: bool = False
    recipients: Sequence[str] = ()
    language: str = ""
    enabled: bool = True
    pull: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Secrets:
    """What opens a source, on its way in."""

    public_key: str = ""
    password: str = ""
    private_key: str = ""


@dataclass(frozen=True)
class Plan:
    """How one file of a source is taken."""

    entity_code: str
    mode: str
    profile_id: str
    apply: bool


def user_name_for(tenant_id: str) -> str:
    """A new name to sign in with. It carries the tenant, because a server must know whose door is knocked at."""
    tenant = base64.b32encode(uuid.UUID(tenant_id).bytes).decode().rstrip("=").lower()
    return f"q{secrets.token_hex(4)}-{tenant}"


def tenant_of(user_name: str) -> str | None:
    """The tenant a name to sign in with belongs to; None when it is no such name."""
    _, _, tail = user_name.partition("-")
    try:
        return str(uuid.UUID(bytes=base64.b32decode(tail.upper() + "======"[: -len(tail) % 8])))
    except ValueError:
        return None


def find_source(session: Session, source_id: str, lock: bool = False) -> SourceRow:
    """A source the caller may see. Refuses NOT_FOUND SOURCE_UNKNOWN."""
    row = store.source(session, source_id, lock)
    if row is None or not context.current_caller().sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "SOURCE_UNKNOWN", "there is no such source")
    return row


def create_source(
    session: Session, settings: Any, draft: SourceDraft, given: Secrets, know_entity: Callable[[str], object]
) -> tuple[SourceRow, str]:
    """Adds a source; returns it and the password to show once (empty where there is none).

    Refuses: NOT_FOUND ENTITY_UNKNOWN, PROFILE_UNKNOWN; ALREADY_EXISTS SOURCE_NAME_TAKEN; INVALID_ARGUMENT
    SOURCE_WRONG, PATTERN_WRONG, KEY_WRONG, SECRET_MISSING, HOST_MISSING, HOST_FORBIDDEN, RECIPIENT_WRONG.
    """
    if draft.kind not in ("UPLOAD", "API", *DROPPED, PULLED):
        raise Refused(Code.INVALID_ARGUMENT, "SOURCE_WRONG", "say how files arrive", {"kind": "is required"})
    columns = _columns(session, settings, draft, know_entity, "")
    now, caller = clock.utc_now(), context.current_caller()
    row = SourceRow(
        source_id=new_id(),
        kind=draft.kind,
        created_by=caller.name or caller.actor,
        created_at=now,
        user_name=user_name_for(context.current_tenant()) if draft.kind in DROPPED else "",
        **columns,
    )
    password = ""
    if draft.kind in DROPPED or draft.kind == PULLED:
        password = _open_with(settings, row, given)
    session.add(row)
    session.flush()
    return row, password


def update_source(
    session: Session,
    settings: Any,
    source_id: str,
    draft: SourceDraft,
    version: int,
    know_entity: Callable[[str], object],
) -> SourceRow:
    """Replaces what is said about a source; kind and secrets stay.

    Refuses: NOT_FOUND SOURCE_UNKNOWN; ABORTED SOURCE_CHANGED; else as create_source.
    """
    row = find_source(session, source_id, lock=True)
    if version and version != row.version:
        raise Refused(
            Code.ABORTED, "SOURCE_CHANGED", "somebody changed this source meanwhile", version=str(row.version)
        )
    if draft.kind and draft.kind != row.kind:
        text = "the kind of a source stays; add another one"
        raise Refused(Code.INVALID_ARGUMENT, "SOURCE_WRONG", text, {"kind": text})
    kept = SourceDraft(**{**draft.__dict__, "kind": row.kind})
    for name, value in _columns(session, settings, kept, know_entity, source_id).items():
        setattr(row, name, value)
    row.version += 1
    session.flush()
    return row


def delete_source(session: Session, source_id: str) -> None:
    """Ends a source; its imports stay. Refuses NOT_FOUND SOURCE_UNKNOWN."""
    row = find_source(session, source_id, lock=True)
    row.deleted_at, row.enabled, row.version = clock.utc_now(), False, row.version + 1
    row.password_hash = row.public_key = row.secret_sealed = row.access_kind = ""


def replace_access(session: Session, settings: Any, source_id: str, given: Secrets) -> tuple[SourceRow, str]:
    """New secrets; the old ones end at once. Returns the source and the password to show once.

    Refuses: NOT_FOUND SOURCE_UNKNOWN; FAILED_PRECONDITION SOURCE_WITHOUT_ACCESS; INVALID_ARGUMENT KEY_WRONG,
    SECRET_MISSING.
    """
    row = find_source(session, source_id, lock=True)
    if row.kind not in (*DROPPED, PULLED):
        raise Refused(
            Code.FAILED_PRECONDITION, "SOURCE_WITHOUT_ACCESS", "files of this source come through the application"
        )
    password = _open_with(settings, row, given)
    row.version += 1
    return row, password


def pull_now(session: Session, source_id: str) -> None:
    """Asks for a look at the customer's server. Refuses: NOT_FOUND SOURCE_UNKNOWN; FAILED_PRECONDITION
    SOURCE_NOT_PULLED, SOURCE_DISABLED."""
    row = find_source(session, source_id)
    if row.kind != PULLED:
        raise Refused(Code.FAILED_PRECONDITION, "SOURCE_NOT_PULLED", "files of this source are not pulled")
    if not row.enabled:
        raise Refused(Code.FAILED_PRECONDITION, "SOURCE_DISABLED", "this source is switched off")
    enqueue(session, "import.pull", {"source_id": source_id}, f"{source_id}:{new_id()}")


# ---- what is said ----------------------------------------------------------------------------------------------------


def _columns(
    session: Session, settings: Any, draft: SourceDraft, know_entity: Callable[[str], object], source_id: str
) -> dict[str, Any]:
    know_entity(draft.entity_code)
    name = draft.name.strip()
    if store.source_name_taken(session, name, source_id):
        text = "another source has this name"
        raise Refused(Code.ALREADY_EXISTS, "SOURCE_NAME_TAKEN", text, {"name": text})
    if draft.mode not in ("", "delta", "stock"):
        raise Refused(Code.INVALID_ARGUMENT, "SOURCE_WRONG", "mode is delta or stock", {"mode": "delta or stock"})
    if draft.language not in ("", "en", "fr"):
        raise Refused(Code.INVALID_ARGUMENT, "SOURCE_WRONG", "reports are in en or fr", {"language": "en or fr"})
    recipients = sorted({address.strip().lower() for address in draft.recipients if address.strip()})
    wrong = [address for address in recipients if not FORMATS["email"](address)]
    if wrong:
        text = f"{wrong[0]} is no e-mail address"
        raise Refused(Code.INVALID_ARGUMENT, "RECIPIENT_WRONG", text, {"recipients": text})
    return {
        "name": name,
        "entity_code": draft.entity_code,
        "patterns": [_pattern(session, entry) for entry in draft.patterns],
        "mode": draft.mode or "delta",
        "apply": draft.apply,
        "recipients": recipients,
        "language": draft.language or "en",
        "enabled": draft.enabled,
        "pull": _pull(settings, draft.pull) if draft.kind == PULLED else {},
    }


def _pattern(session: Session, entry: dict[str, str]) -> dict[str, str]:
    pattern, profile_id, mode = entry["pattern"].strip(), entry.get("profile_id", ""), entry.get("mode", "")
    text = "a file name with * and ?, without folders"
    if not domain.check_pattern(pattern):
        raise Refused(Code.INVALID_ARGUMENT, "PATTERN_WRONG", text, {"patterns": text})
    if mode not in ("", "delta", "stock"):
        raise Refused(Code.INVALID_ARGUMENT, "PATTERN_WRONG", "mode is delta or stock", {"patterns": "delta or stock"})
    if profile_id and store.profile(session, profile_id) is None:
        raise Refused(
            Code.NOT_FOUND, "PROFILE_UNKNOWN", "there is no such profile", {"patterns": "there is no such profile"}
        )
    return {"pattern": pattern, "profile_id": profile_id, "mode": mode}


def _pull(settings: Any, said: dict[str, Any]) -> dict[str, Any]:
    host, key = str(said.get("host", "")).strip(), str(said.get("host_key", "")).strip()
    wrong = {
        name: "is required"
        for name, value in (("host", host), ("userName", said.get("user_name", "").strip()), ("hostKey", key))
        if not value
    }
    if said.get("after") == "MOVE" and not said.get("done_folder", "").strip():
        wrong["doneFolder"] = "is required"
    if wrong:
        text = "say where to pull from, as whom, and which host key the server has"
        raise Refused(Code.INVALID_ARGUMENT, "HOST_MISSING", text, {f"pull.{name}": why for name, why in wrong.items()})
    public_address(settings, host)
    return {
        "host": host,
        "port": int(said.get("port") or SSH_PORT),
        "user_name": said["user_name"].strip(),
        "host_key": public_key_text(key, "pull.hostKey"),
        "folder": said.get("folder", "").strip(),
        "after": said.get("after") or "LEAVE",
        "done_folder": said.get("done_folder", "").strip(),
        "every_minutes": int(said.get("every_minutes") or PULL_EVERY_MINUTES),
    }


def public_address(settings: Any, host: str) -> str:
    """The address of a host that may be asked: looked up once, and that one is then connected to.

    Refuses: INVALID_ARGUMENT HOST_FORBIDDEN for private, loopback, link-local and other special addresses (unless
    pull_private_hosts); UNAVAILABLE HOST_UNREACHABLE when the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(Code.UNAVAILABLE, "HOST_UNREACHABLE", f"there is no host {host}") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    for text in addresses:
        address: Any = ipaddress.ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        if not settings.pull_private_hosts and (not address.is_global or address.is_multicast):
            text = "this address is inside a network and may not be asked"
            raise Refused(Code.INVALID_ARGUMENT, "HOST_FORBIDDEN", text, {"pull.host": text})
    return addresses[0]


# ---- what opens it ---------------------------------------------------------------------------------------------------


def _open_with(settings: Any, row: SourceRow, given: Secrets) -> str:
    if row.kind == PULLED:
        if not (given.password or given.private_key):
            text = "give the password or the private key for this server"
            raise Refused(Code.INVALID_ARGUMENT, "SECRET_MISSING", text, {"secrets.password": text})
        if given.private_key:
            row.key_fingerprint = _private_key_fingerprint(given.private_key)
        else:
            row.key_fingerprint = ""
        row.access_kind = "key" if given.private_key else "password"
        row.secret_sealed = crypto.encrypt(settings, given.private_key or given.password, about=row.source_id)
        return ""
    if given.public_key.strip() and row.kind == "SFTP":
        row.public_key = public_key_text(given.public_key, "secrets.publicKey")
        row.key_fingerprint, row.access_kind, row.password_hash = fingerprint_of(row.public_key), "key", ""
        return ""
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    row.password_hash = hasher(settings).hash(password)
    row.access_kind, row.public_key, row.key_fingerprint = "password", "", ""
    return password


def hasher(settings: Any) -> PasswordHasher:
    """argon2id with this service's costs."""
    return PasswordHasher(time_cost=settings.password_passes, memory_cost=settings.password_memory_kib, parallelism=1)


def password_fits(settings: Any, kept: str, password: str) -> bool:
    """Whether a password belongs to a kept hash; without one the same work is done, and it does not."""
    try:
        hasher(settings).verify(kept or _nobody(settings), password)
    except (VerificationError, InvalidHashError):
        return False
    return bool(kept)


_nobody_by_cost: dict[tuple[int, int], str] = {}


def _nobody(settings: Any) -> str:
    cost = (settings.password_passes, settings.password_memory_kib)
    if cost not in _nobody_by_cost:
        _nobody_by_cost[cost] = hasher(settings).hash(secrets.token_urlsafe(PASSWORD_BYTES))
    return _nobody_by_cost[cost]


def public_key_text(text: str, place: str) -> str:
    """A public key as kind and base64, without comment. Refuses INVALID_ARGUMENT KEY_WRONG."""
    import asyncssh

    wrong = "a public key in OpenSSH's form: Ed25519, ECDSA, or RSA of 2048 bits or more"
    try:
        key = asyncssh.import_public_key(text.strip())
    except (asyncssh.KeyImportError, ValueError) as error:
        raise Refused(Code.INVALID_ARGUMENT, "KEY_WRONG", wrong, {place: wrong}) from error
    kind = key.get_algorithm()
    weak = kind == "ssh-rsa" and len(key.public_data) < 2048 // 8
    if kind not in KEY_KINDS or weak:
        raise Refused(Code.INVALID_ARGUMENT, "KEY_WRONG", wrong, {place: wrong})
    return " ".join(key.export_public_key().decode().split()[:2])


def fingerprint_of(public_key: str) -> str:
    """SHA256:... of a public key."""
    import asyncssh

    return asyncssh.import_public_key(public_key).get_fingerprint()


def _private_key_fingerprint(text: str) -> str:
    import asyncssh

    try:
        return asyncssh.import_private_key(text).get_fingerprint()
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        wrong = "a private key in OpenSSH's or PEM form, without a passphrase"
        raise Refused(Code.INVALID_ARGUMENT, "KEY_WRONG", wrong, {"secrets.privateKey": wrong}) from error


def secret_of(settings: Any, row: SourceRow) -> str:
    """What opens a customer's server, in clear; never leaves this process except to that server."""
    return crypto.decrypt(settings, row.secret_sealed, about=row.source_id)


# ---- what becomes of files -------------------------------------------------------------------------------------------


def plan_for(row: SourceRow, file_name: str) -> Plan | None:
    """How a file is taken; None when its name fits none of the source's patterns."""
    if not row.patterns:
        return Plan(row.entity_code, row.mode, "", row.apply)
    for entry in row.patterns:
        if domain.fits(entry["pattern"], file_name):
            return Plan(row.entity_code, entry["mode"] or row.mode, entry["profile_id"], row.apply)
    return None


def note_file(session: Session, source_id: str, file_name: str, import_id: str | None, now: datetime) -> None:
    """The newest file of a source."""
    row = store.source(session, source_id, lock=True)
    if row is not None:
        row.last_file_name, row.last_import_id, row.last_file_at = file_name, import_id, now


def note_error(session: Session, source_id: str, error: str, now: datetime) -> None:
    """What went wrong with a source, for people."""
    row = store.source(session, source_id, lock=True)
    if row is not None:
        row.last_error, row.last_error_at = error[:1000], now


def note_outcome(session: Session, run: BatchRow, now: datetime) -> None:
    """What became of a source's file: a success ends the last error."""
    row = store.source(session, run.source_id or "", lock=True)
    if row is None:
        return
    if run.state == "APPLIED" or (run.state == "PREVIEWED" and not run.apply):
        row.last_success_at, row.last_error, row.last_error_at = now, "", None
    elif run.state == "FAILED":
        text = domain.failure_text(run.failure_code, row.language, **run.failure_values)
        row.last_error, row.last_error_at = f"{run.file_name}: {text}"[:1000], now
