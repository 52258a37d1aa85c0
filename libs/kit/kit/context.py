"""Who is calling, for which tenant, and how long there is: set at the edge, read anywhere below."""

import contextvars
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SERVICE_PREFIX = "service:"
EVERYTHING = frozenset({"*"})


@dataclass(frozen=True)
class Caller:
    """The signed-in caller of this piece of work.

    entity_codes None means every entity; an empty set means none. acting_for is the subject on whose behalf a service
    calls. token is what kit.grpc_client forwards instead of minting one: only the gateway sets it.
    """

    tenant_id: str
    subject: str
    name: str = ""
    permissions: frozenset[str] = frozenset()
    entity_codes: frozenset[str] | None = None
    acting_for: str = ""
    token: str | None = field(default=None, repr=False, compare=False)

    @property
    def is_service(self) -> bool:
        """Whether one of our own services calls, not a person or a partner."""
        return self.subject.startswith(SERVICE_PREFIX)

    @property
    def actor(self) -> str:
        """The subject to write into books: the person behind a service's call where there is one."""
        return self.acting_for or self.subject

    def can(self, permission: str) -> bool:
        """Whether the permission is held; "items:*" holds every permission on items, "*" holds all."""
        held = self.permissions
        return "*" in held or permission in held or f"{permission.partition(':')[0]}:*" in held

    def sees_entity(self, code: str) -> bool:
        """Whether the entity with this code is within the caller's scope."""
        return self.entity_codes is None or code in self.entity_codes


_caller: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("quittance_caller", default=None)
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("quittance_deadline", default=None)
_language: contextvars.ContextVar[str] = contextvars.ContextVar("quittance_language", default="")


def current_caller() -> Caller:
    """The caller of this work. Raises RuntimeError outside of any (a bug: work must be done for somebody)."""
    caller = _caller.get()
    if caller is None:
        raise RuntimeError("nobody is acting: wrap the work in kit.context.acting_as")
    return caller


def caller_or_none() -> Caller | None:
    """The caller of this work, or None outside of any."""
    return _caller.get()


def current_tenant() -> str:
    """The tenant of this work (UUID as text)."""
    return current_caller().tenant_id


@contextmanager
def acting_as(caller: Caller) -> Iterator[Caller]:
    """Everything inside is done for this caller."""
    token = _caller.set(caller)
    try:
        yield caller
    finally:
        _caller.reset(token)


def service_caller(tenant_id: str, service_name: str) -> Caller:
    """A service acting on its own account for a tenant: all permissions, all entities."""
    return Caller(tenant_id=tenant_id, subject=SERVICE_PREFIX + service_name, name=service_name, permissions=EVERYTHING)


@contextmanager
def speaking(tag: str) -> Iterator[None]:
    """Whoever reads the answers of this work prefers this language (a tag such as fr-CA, or an Accept-Language)."""
    token = _language.set(tag)
    try:
        yield
    finally:
        _language.reset(token)


def language_tag() -> str:
    """The language that was asked for, as it was asked; empty when nobody said. Calls to peers carry it on."""
    return _language.get()


def language() -> str:
    """The language to answer in: fr when French was asked for first, else en."""
    return language_of(_language.get())


def language_of(tag: str) -> str:
    """fr for fr, fr-FR and "fr-CA, en;q=0.5"; en for everything else."""
    return (
        "fr"
        if tag.strip().lower().replace("_", "-").partition(",")[0].partition(";")[0].split("-")[0] == "fr"
        else "en"
    )


@contextmanager
def deadline_in(seconds: float) -> Iterator[None]:
    """Everything inside has this long; the database and calls to peers take what is left of it as their own limit."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining_s() -> float | None:
    """Seconds left until the deadline of this work, at least 0; None when it has none."""
    deadline = _deadline.get()
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)
