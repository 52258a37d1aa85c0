"""PostgreSQL: one pool per process, one transaction per use case, the tenant set as its first statement."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import UUID, Engine, MetaData, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from kit import context
from kit.settings import ServiceSettings

log = logging.getLogger(__name__)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
LOCK_TIMEOUT_S = 10
RETRIES = 5
# SQLSTATEs after which the whole unit may simply be done again: serialization failure, deadlock.
RETRYABLE_STATES = frozenset({"40001", "40P01"})

Result = TypeVar("Result")


def declarative_base() -> type[DeclarativeBase]:
    """A fresh base class for the tables of one service."""

    class Base(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING)

    return Base


class TenantMixin:
    """Gives a table its tenant: first column of the primary key, filled from the current caller."""

    tenant_id: Mapped[str] = mapped_column(
        UUID(as_uuid=False), primary_key=True, default=context.current_tenant, sort_order=-100
    )


def sqlalchemy_url(url: str) -> str:
    """A postgresql:// address as SQLAlchemy wants it for psycopg 3."""
    return "postgresql+psycopg://" + url.split("://", 1)[1] if "://" in url else url


def psycopg_url(url: str) -> str:
    """An address as psycopg itself wants it."""
    return "postgresql://" + url.split("://", 1)[1]


class Database:
    """One service's database, reached as the application's role. Safe to make before a fork: it connects lazily."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._engine_by_pid: dict[int, Engine] = {}

    @property
    def engine(self) -> Engine:
        """The pool of this process."""
        pid = os.getpid()
        engine = self._engine_by_pid.get(pid)
        if engine is None:
            with self._lock:
                engine = self._engine_by_pid.get(pid)
                if engine is None:
                    engine = self._engine_by_pid[pid] = self._new_engine()
        return engine

    def _new_engine(self) -> Engine:
        if not self.settings.database_url:
            raise LookupError(f"no database_url for {self.settings.service_name}")
        arguments: dict[str, Any] = {
            "application_name": f"quittance-{self.settings.service_name}",
            "connect_timeout": 10,
        }
        pool: dict[str, Any]
        if self.settings.database_behind_pooler:
            pool = {"poolclass": NullPool}
            arguments["prepare_threshold"] = None
        else:
            pool = {
                "pool_size": self.settings.database_pool_size,
                "max_overflow": self.settings.database_pool_size,
                "pool_pre_ping": True,
                "pool_recycle": 1800,
                "pool_timeout": 10,
            }
            arguments["options"] = (
                f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_S}s -c idle_in_transaction_session_timeout=300s"
            )
        return create_engine(sqlalchemy_url(self.settings.database_url), connect_args=arguments, **pool)

    @contextmanager
    def transaction(self, *, isolation: str | None = None) -> Iterator[Session]:
        """One transaction for the tenant of the current caller; commits at the end, rolls back on any exception.

        Args: isolation, such as "REPEATABLE READ" or "SERIALIZABLE"; PostgreSQL's default otherwise.
        """
        with self._begin(context.current_tenant(), system=False, isolation=isolation) as session:
            yield session

    @contextmanager
    def system_transaction(self) -> Iterator[Session]:
        """One transaction across tenants, which sees the kit's own tables only (outbox, inbox, job, ...)."""
        with self._begin("", system=True, isolation=None) as session:
            yield session

    @contextmanager
    def _begin(self, tenant_id: str, *, system: bool, isolation: str | None) -> Iterator[Session]:
        timeout_s = self.settings.statement_timeout_s
        remaining_s = context.remaining_s()
        if remaining_s is not None:
            timeout_s = min(timeout_s, max(remaining_s, 0.001))
        with Session(self.engine, expire_on_commit=False) as session:
            session.info["database"] = self
            if isolation is not None:
                session.connection(execution_options={"isolation_level": isolation})
            session.execute(
                _FIRST_STATEMENT,
                {
                    "tenant": tenant_id,
                    "system": "on" if system else "",
                    "timeout": f"{max(int(timeout_s * 1000), 1)}ms",
                },
            )
            yield session
            session.commit()
            for key, callback in session.info.get("after_commit", {}).items():
                try:
                    callback()
                except Exception:
                    # The transaction stands; each of these only hurries what a sweep would find.
                    log.exception("%s failed after the commit", key)

    def retrying(self, work: Callable[[Session], Result], *, isolation: str | None = None) -> Result:
        """Runs work in a transaction of its own, again (at most 5 times) when PostgreSQL asks for it."""
        for attempt in range(1, RETRIES + 1):
            try:
                with self.transaction(isolation=isolation) as session:
                    return work(session)
            except DBAPIError as error:
                if sqlstate(error) not in RETRYABLE_STATES or attempt == RETRIES:
                    raise
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311
        raise AssertionError("unreachable")

    def ping(self) -> bool:
        """Whether the database answers."""
        try:
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError:
            return False
        return True

    def close(self) -> None:
        """Gives this process's connections back."""
        engine = self._engine_by_pid.pop(os.getpid(), None)
        if engine is not None:
            engine.dispose()


_FIRST_STATEMENT = text(
    "SELECT set_config('quittance.tenant', :tenant, true), set_config('quittance.system', :system, true),"
    " set_config('statement_timeout', :timeout, true)"
)


def after_commit(session: Session, key: str, callback: Callable[[], None]) -> None:
    """Runs callback once after this session's commit, however often it is asked for under the same key."""
    session.info.setdefault("after_commit", {})[key] = callback


def database_of(session: Session) -> Database:
    """The Database a session came from."""
    return session.info["database"]


def driver_connection(session: Session) -> psycopg.Connection:
    """The psycopg connection under a session, inside its transaction."""
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE behind a database error, or None."""
    original = getattr(error, "orig", error)
    return getattr(original, "sqlstate", None)


def is_connection_failure(error: BaseException) -> bool:
    """Whether the error says that the database cannot be reached, rather than that a statement was wrong."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, psycopg.OperationalError) and (error.sqlstate or "57P")[:3] in ("57P", "080")
    state = sqlstate(error)
    return error.connection_invalidated or (
        isinstance(error.orig, psycopg.OperationalError) and (state is None or state[:3] in ("57P", "080", "530"))
    )
