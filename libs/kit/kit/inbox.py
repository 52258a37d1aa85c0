"""The reading side of events: each one applied once, in one transaction with what it causes; the hopeless parked."""

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import context, telemetry, tenants
from kit.db import Database
from quittance.common.v1 import event_log_service_pb2 as pb

log = logging.getLogger(__name__)

Handler = Callable[[Session, Any, pb.Envelope], None]
Handlers = Mapping[tuple[str, str], Handler]

RETENTION_DAYS = 40
ERROR_MAX_CHARACTERS = 4000
# How far ahead of a hole one statement looks for numbers that already came.
RUN_MAX = 5000


def message_class(full_name: str) -> type[Message]:
    """The class of a protobuf message by its full name; imports quittance.<package>.v1 where it is not loaded yet."""
    pool = descriptor_pool.Default()
    try:
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))
    except KeyError:
        package = full_name.rpartition(".")[0]
        service = package.split(".")[1]
        importlib.import_module(f"{package}.{service}_events_pb2")
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))


class Inbox:
    """Applies events to one service's database."""

    def __init__(self, database: Database, service_name: str, handlers: Handlers) -> None:
        self.database = database
        self.service_name = service_name
        self.handlers = handlers

    @property
    def producers(self) -> list[str]:
        """The services whose events have a handler here."""
        return sorted({producer for producer, _ in self.handlers})

    def apply(self, envelope: pb.Envelope) -> bool:
        """Applies one event; False when it was applied before. What its handler raises comes out, nothing is kept."""
        caller = context.service_caller(envelope.tenant_id, self.service_name)
        with context.acting_as(caller), self._span(envelope), self.database.transaction() as session:
            if not _first_time(session, envelope):
                return False
            self._handle(session, envelope)
            session.flush()
            _advance(session, envelope)
        telemetry.events_applied.add(1, {"type": envelope.type})
        return True

    def park(self, envelope: pb.Envelope, error: BaseException, attempts: int) -> None:
        """Puts an event aside with its error: it blocks nobody, and replay takes it up again."""
        caller = context.service_caller(envelope.tenant_id, self.service_name)
        with context.acting_as(caller), self.database.transaction() as session:
            if not _first_time(session, envelope):
                return
            session.execute(
                text(
                    "INSERT INTO parked_event (tenant_id, event_id, producer, number, type, envelope, attempts, error)"
                    " VALUES (:tenant, :event_id, :producer, :number, :type, :envelope, :attempts, :error)"
                    " ON CONFLICT DO NOTHING"
                ),
                {
                    **_key(envelope),
                    "type": envelope.type,
                    "envelope": envelope.SerializeToString(),
                    "attempts": attempts,
                    "error": f"{type(error).__name__}: {error}"[:ERROR_MAX_CHARACTERS],
                },
            )
            _advance(session, envelope)
        telemetry.events_parked.add(1, {"type": envelope.type})
        log.error("parked %s %s after %d tries: %s", envelope.type, envelope.event_id, attempts, error)

    def replay(self, event_id: str = "", tenant_id: str = "") -> tuple[int, int]:
        """Tries parked events again, in their order: all, a tenant's, or the one with this id; returns (applied, still
        parked)."""
        with self.database.system_transaction() as session:
            rows = session.execute(
                text(
                    "SELECT envelope FROM parked_event WHERE replayed_at IS NULL"
                    " AND (:event_id = '' OR event_id = CAST(nullif(:event_id, '') AS uuid))"
                    " AND (:tenant = '' OR tenant_id = CAST(nullif(:tenant, '') AS uuid))"
                    " ORDER BY tenant_id, producer, number"
                ),
                {"event_id": event_id, "tenant": tenant_id},
            ).all()
        applied = 0
        for row in rows:
            envelope = pb.Envelope.FromString(bytes(row.envelope))
            try:
                applied += self._replay_one(envelope)
            except Exception as error:  # noqa: BLE001 - one that fails again must not stop the rest
                log.error("replay of %s %s failed again: %s", envelope.type, envelope.event_id, error)
                self._note_failure(envelope, error)
        return applied, len(rows) - applied

    def _replay_one(self, envelope: pb.Envelope) -> bool:
        caller = context.service_caller(envelope.tenant_id, self.service_name)
        with context.acting_as(caller), self._span(envelope), self.database.transaction() as session:
            claimed = session.execute(
                text(
                    "UPDATE parked_event SET replayed_at = clock_timestamp()"
                    " WHERE tenant_id = :tenant AND event_id = :event_id AND replayed_at IS NULL RETURNING 1"
                ),
                _key(envelope),
            ).first()
            if claimed is None:
                return False
            self._handle(session, envelope)
        return True

    def _note_failure(self, envelope: pb.Envelope, error: Exception) -> None:
        caller = context.service_caller(envelope.tenant_id, self.service_name)
        with context.acting_as(caller), self.database.transaction() as session:
            session.execute(
                text(
                    "UPDATE parked_event SET attempts = attempts + 1, error = :error"
                    " WHERE tenant_id = :tenant AND event_id = :event_id"
                ),
                {**_key(envelope), "error": f"{type(error).__name__}: {error}"[:ERROR_MAX_CHARACTERS]},
            )

    def _handle(self, session: Session, envelope: pb.Envelope) -> None:
        handler = self.handlers.get((envelope.producer, envelope.type))
        if handler is not None:
            handler(session, message_class(envelope.type).FromString(envelope.payload), envelope)

    def _span(self, envelope: pb.Envelope) -> Any:
        carrier = {"traceparent": envelope.traceparent} if envelope.traceparent else None
        return telemetry.span(f"apply {envelope.type}", carrier=carrier, kind=SpanKind.CONSUMER)


def _key(envelope: pb.Envelope) -> dict[str, Any]:
    return {
        "tenant": envelope.tenant_id,
        "producer": envelope.producer,
        "event_id": envelope.event_id,
        "number": envelope.number,
    }


def _first_time(session: Session, envelope: pb.Envelope) -> bool:
    row = session.execute(
        text(
            "INSERT INTO inbox (tenant_id, producer, event_id, number)"
            " VALUES (:tenant, :producer, :event_id, :number) ON CONFLICT DO NOTHING RETURNING 1"
        ),
        _key(envelope),
    ).first()
    tenants.meet(session, envelope.tenant_id)
    return row is not None


def _advance(session: Session, envelope: pb.Envelope) -> None:
    """Moves the contiguous position over this number and over those after it that came before it.

    The position's row is locked last and so only for a moment. Whoever gets the lock second sees the other's inbox row,
    so no pair of neighbours can both believe that the other is missing.
    """
    key = _key(envelope)
    seen = session.execute(
        text(
            "INSERT INTO event_position (tenant_id, producer, number) VALUES (:tenant, :producer, 0)"
            " ON CONFLICT (tenant_id, producer) DO UPDATE SET number = event_position.number RETURNING number"
        ),
        key,
    ).scalar_one()
    if envelope.number == seen + 1:
        _run_on(session, key, seen)


def _run_on(session: Session, key: dict[str, Any], seen: int) -> None:
    session.execute(
        text(
            "UPDATE event_position SET number = coalesce((SELECT max(number) FROM ("
            "   SELECT number, row_number() OVER (ORDER BY number) AS place FROM ("
            "     SELECT DISTINCT number FROM inbox"
            "     WHERE tenant_id = :tenant AND producer = :producer AND number > :seen ORDER BY number LIMIT :most) d"
            " ) ahead WHERE number = :seen + place), number)"
            " WHERE tenant_id = :tenant AND producer = :producer"
        ),
        {**key, "seen": seen, "most": RUN_MAX},
    )


def skip_to(session: Session, producer: str, number: int) -> None:
    """Moves the current tenant's position of a producer up to number: what was before it can no longer be had."""
    key = {"tenant": context.current_tenant(), "producer": producer, "number": number}
    session.execute(
        text(
            "INSERT INTO event_position (tenant_id, producer, number) VALUES (:tenant, :producer, :number)"
            " ON CONFLICT (tenant_id, producer)"
            " DO UPDATE SET number = greatest(event_position.number, excluded.number)"
        ),
        key,
    )
    _run_on(session, key, number)


def position(session: Session, producer: str) -> int:
    """How far the current tenant's events of a producer are applied without a hole."""
    return (
        session.execute(
            text("SELECT number FROM event_position WHERE tenant_id = :tenant AND producer = :producer"),
            {"tenant": context.current_tenant(), "producer": producer},
        ).scalar()
        or 0
    )
