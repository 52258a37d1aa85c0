"""Rules of identity: roles and what they may do, passwords, keys. No clock, no session, no message."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from kit.errors import Code, Refused

# Said by services to services; no role holds them.
INTERNAL_PERMISSIONS = frozenset({"ledger:load", "events:read", "mail:internal"})
ANYONE = "anyone"
UPLOAD = frozenset({"imports:read", "imports:write"})

API_KEY_PREFIX = "qk_"
# Characters of a key that are shown in lists, the prefix included.
API_KEY_SHOWN = 10

PASSWORD_MIN = 9
PASSWORD_MAX = 128
# A long sentence needs no mixture of classes.
PASSPHRASE_MIN = 20
PASSWORD_CLASSES = 3

ADMINISTRATOR = "administrator"

_LOOK = frozenset(
    {
        "entities:read", "accounts:read", "items:read", "actions:read", "promises:read", "messages:read",
        "templates:read", "scenarios:read", "responses:read", "cases:read", "credit:read", "reports:read",
    }
)  # fmt: skip
_COLLECT = _LOOK | {
    "accounts:write", "actions:write", "holds:write", "promises:write", "messages:write", "responses:write",
    "cases:write", "links:read", "links:write", "imports:read",
}  # fmt: skip
_MANAGE = _COLLECT | {
    "credit:write", "scenarios:write", "templates:write", "promises:exceed", "imports:write", "entities:write",
    "users:read",
}  # fmt: skip
_EVERYTHING = _MANAGE | {"users:write", "api_keys:read", "api_keys:write", "sources:write", "audit:read"}


@dataclass(frozen=True)
class Role:
    """A preset of permissions (domain rule 105)."""

    name: str
    label: str
    label_fr: str
    permissions: frozenset[str]


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role(ADMINISTRATOR, "Administrator", "Administrateur", _EVERYTHING),
        Role("credit_manager", "Credit manager", "Credit manager", _MANAGE),
        Role("collector", "Collector", "Chargé de recouvrement", _COLLECT),
        # Sees his customers and answers disputes; writes to nobody.
        Role("sales_manager", "Sales manager", "Responsable commercial", _LOOK | {"cases:write"}),
        Role(
            "sales_administration",
            "Sales administration",
            "Administration des ventes",
            _LOOK | {"cases:write", "accounts:write", "imports:read"},
        ),
        Role(
            "financial_controller",
            "Financial controller",
            "Contrôleur financier",
            _LOOK | {"imports:read", "links:read", "users:read", "audit:read"},
        ),
        Role("executive", "Executive", "Direction", _LOOK),
        Role("guest", "Guest", "Invité", frozenset({"entities:read", "accounts:read", "items:read", "reports:read"})),
    )
}


def role_of(name: str) -> Role:
    """The preset of this name. Refuses INVALID_ARGUMENT ROLE_UNKNOWN."""
    role = ROLES.get(name)
    if role is None:
        known = ", ".join(ROLES)
        raise Refused(
            Code.INVALID_ARGUMENT, "ROLE_UNKNOWN", f"{name!r} is no role", {"role": f"must be one of {known}"}
        )
    return role


def permissions_of(role: str, can_upload: bool) -> frozenset[str]:
    """What a person or program may do: the role's preset, and uploading as a right of its own."""
    held = role_of(role).permissions
    return held | UPLOAD if can_upload else held


def all_permissions() -> frozenset[str]:
    """Every permission some role holds."""
    return frozenset().union(*(role.permissions for role in ROLES.values()))


def normal_email(email: str) -> str:
    """An address as it is kept and looked up: trimmed, lower case."""
    return email.strip().lower()


def check_password(password: str, email: str) -> None:
    """Refuses INVALID_ARGUMENT PASSWORD_WEAK unless it has 9 to 128 characters of three classes (or is 20 long)."""
    classes = sum(bool(re.search(pattern, password)) for pattern in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]"))
    local = normal_email(email).partition("@")[0]
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        problem = f"has {PASSWORD_MIN} to {PASSWORD_MAX} characters"
    elif classes < PASSWORD_CLASSES and len(password) < PASSPHRASE_MIN:
        problem = f"mixes three of: small letters, capitals, digits, other signs; or has {PASSPHRASE_MIN} characters"
    elif len(local) >= 4 and local in password.lower():
        problem = "does not contain the address"
    elif len(set(password)) < 5:
        problem = "has at least 5 different characters"
    else:
        return
    raise Refused(
        Code.INVALID_ARGUMENT, "PASSWORD_WEAK", f"a password {problem}", {"password": f"a password {problem}"}
    )


def secret_hash(secret: str) -> bytes:
    """How a random secret of 256 bits is kept: SHA-256, because nothing shorter than the secret itself guesses it."""
    return hashlib.sha256(secret.encode()).digest()


def entity_scope(codes: Iterable[str]) -> frozenset[str] | None:
    """Entities a person may see; an empty list means all (None)."""
    scope = frozenset(codes)
    return scope or None
