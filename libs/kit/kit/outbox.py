"""The outbox: an event is written in the transaction of its cause, and numbered per tenant without gaps afterwards."""

import logging
import os
import threading

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from kit import context, telemetry, tenants
from kit.db import Database, after_commit, database_of
from kit.ids import new_id
from quittance.common.v1 import event_log_service_pb2 as pb

log = logging.getLogger(__name__)

PAYLOAD_MAX_BYTES = 512 * 1024
CHANNEL = "quittance_outbox"
RETENTION_DAYS = 35

_INSERT = text(
    "INSERT INTO outbox (tenant_id, id, type, key, payload, traceparent)"
    " VALUES (:tenant, :id, :type, :key, :payload, :traceparent)"
)


def emit(session: Session, message: Message, key: str) -> str:
    """Says an event: it leaves if and only if this transaction commits. Returns the event's id.

    Args: message, the event, at most 512 KiB; key, the id of what it is about (a hint for reading the log).
    Raises ValueError when the event is too large: split it, or refer to a file.
    """
    payload = message.SerializeToString()
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise ValueError(f"{message.DESCRIPTOR.full_name} has {len(payload)} bytes; {PAYLOAD_MAX_BYTES} are allowed")
    event_id = new_id()
    tenant_id = context.current_tenant()
    session.execute(
        _INSERT,
        {
            "tenant": tenant_id,
            "id": event_id,
            "type": message.DESCRIPTOR.full_name,
            "key": key,
            "payload": payload,
            "traceparent": telemetry.traceparent(),
        },
    )
    tenants.meet(session, tenant_id)
    database = database_of(session)
    after_commit(session, CHANNEL, lambda: notify(database, CHANNEL))
    return event_id


def number_tenant(session: Session, tenant_id: str) -> int:
    """Numbers every committed event of a tenant; returns its last number. One at a time per tenant (row lock).

    The lock is taken by a first statement and the rows are read by a second one, whose snapshot is therefore newer
    than every numbering before: no number is given twice and none is skipped.
    """
    last = session.execute(
        text(
            "INSERT INTO outbox_counter (tenant_id, last_number) VALUES (:tenant, 0)"
            " ON CONFLICT (tenant_id) DO UPDATE SET last_number = outbox_counter.last_number RETURNING last_number"
        ),
        {"tenant": tenant_id},
    ).scalar_one()
    added = session.execute(
        text(
            "WITH fresh AS (SELECT id, row_number() OVER (ORDER BY sequence) AS place FROM outbox"
            "   WHERE tenant_id = :tenant AND number IS NULL),"
            " numbered AS (UPDATE outbox SET number = :last + fresh.place FROM fresh"
            "   WHERE outbox.tenant_id = :tenant AND outbox.id = fresh.id RETURNING 1)"
            " SELECT count(*) FROM numbered"
        ),
        {"tenant": tenant_id, "last": last},
    ).scalar_one()
    if added:
        session.execute(
            text("UPDATE outbox_counter SET last_number = :number WHERE tenant_id = :tenant"),
            {"tenant": tenant_id, "number": last + added},
        )
    return last + added


def position(session: Session, tenant_id: str) -> int:
    """The number of the tenant's last committed event, after numbering what had no number yet."""
    row = session.execute(
        text(
            "SELECT coalesce((SELECT last_number FROM outbox_counter WHERE tenant_id = :tenant), 0) AS last,"
            " EXISTS (SELECT FROM outbox WHERE tenant_id = :tenant AND number IS NULL) AS has_fresh"
        ),
        {"tenant": tenant_id},
    ).one()
    # Numbering is a write; a reader that asks often should not make one each time.
    return number_tenant(session, tenant_id) if row.has_fresh else row.last


def envelope(row: Row, producer: str) -> pb.Envelope:
    """An outbox row (id, tenant_id, number, type, payload, recorded_at, traceparent) as it travels."""
    recorded_at = Timestamp()
    recorded_at.FromDatetime(row.recorded_at)
    return pb.Envelope(
        event_id=str(row.id),
        type=row.type,
        producer=producer,
        tenant_id=str(row.tenant_id),
        number=row.number,
        payload=bytes(row.payload),
        recorded_at=recorded_at,
        traceparent=row.traceparent,
    )


class _Notifier(threading.Thread):
    """Sends NOTIFY after commits, several at once as one.

    A NOTIFY inside the transaction would make PostgreSQL serialise all such commits; it is only a wake-up call, so
    one that is lost costs the poll's interval and nothing else.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(name="notify", daemon=True)
        self._database = database
        self._asked = threading.Event()
        self._channels: set[str] = set()
        self._lock = threading.Lock()

    def ask(self, channel: str) -> None:
        with self._lock:
            self._channels.add(channel)
        self._asked.set()

    def run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            with self._lock:
                channels, self._channels = self._channels, set()
            try:
                with self._database.engine.begin() as connection:
                    for channel in sorted(channels):
                        connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})
            except Exception as error:  # noqa: BLE001 - the poll finds what this could not announce
                log.warning("wake-up call failed: %s", error)


_notifiers: dict[tuple[int, int], _Notifier] = {}
_notifiers_lock = threading.Lock()


def notify(database: Database, channel: str) -> None:
    """Wakes whoever listens on the channel, soon and without waiting for it."""
    key = (os.getpid(), id(database))
    with _notifiers_lock:
        notifier = _notifiers.get(key)
        if notifier is None or not notifier.is_alive():
            notifier = _notifiers[key] = _Notifier(database)
            notifier.start()
    notifier.ask(channel)
