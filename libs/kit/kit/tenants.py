"""The tenants a service has met: schedules run for each of them, and each of their positions is watched."""

import os
import threading

from sqlalchemy import text
from sqlalchemy.orm import Session

from kit.db import Database, after_commit, database_of

_met: set[tuple[int, int, str]] = set()
_lock = threading.Lock()
_INSERT = text("INSERT INTO tenant (tenant_id) VALUES (:tenant) ON CONFLICT DO NOTHING")


def meet(session: Session, tenant_id: str) -> None:
    """Registers a tenant after this session's commit.

    Not inside the transaction: the first transactions of a new tenant would wait for one another. Should the process
    die in between, the relay (for events) or the sweep (for jobs) registers it.
    """
    database = database_of(session)
    if (os.getpid(), id(database), tenant_id) not in _met:
        after_commit(session, f"tenant {tenant_id}", lambda: _register(database, tenant_id))


def _register(database: Database, tenant_id: str) -> None:
    with database.system_transaction() as session:
        session.execute(_INSERT, {"tenant": tenant_id})
    with _lock:
        _met.add((os.getpid(), id(database), tenant_id))


def all_tenants(session: Session) -> list[str]:
    """Every tenant met so far; needs a system transaction."""
    return [str(tenant) for tenant in session.scalars(text("SELECT tenant_id FROM tenant ORDER BY tenant_id"))]
