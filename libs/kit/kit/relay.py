"""The relay: numbers committed events, hands them to NATS, marks them once NATS has them on disk."""

import asyncio
import logging
import threading
import zlib
from contextlib import ExitStack
from typing import Any

import nats
import nats.errors
import psycopg
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NoStreamResponseError, NotFoundError
from sqlalchemy import text

from kit import inbox, outbox, telemetry
from kit.db import Database, psycopg_url
from kit.settings import ServiceSettings

log = logging.getLogger(__name__)

BATCH = 100
ACK_S = 5.0
STREAM_CHECK_S = 5.0
MEASURE_S = 5.0
STREAM_MAX_AGE_S = 14 * 24 * 3600.0
DUPLICATE_WINDOW_S = 600.0
HOUSEKEEPING_S = 3600.0
PRUNE_BATCH = 5000


def stream_name(producer: str) -> str:
    """The stream of a producing service."""
    return f"QUITTANCE_{producer.replace('-', '_')}"


def subjects(producer: str) -> str:
    """All subjects of a producing service."""
    return f"quittance.{producer.replace('-', '_')}.v1.>"


def subject(producer: str, tenant_id: str, event_type: str, shards: int) -> str:
    """The subject of one event; tenants are spread over shards, so that readers can share the work later."""
    shard = zlib.crc32(tenant_id.encode()) % shards
    return f"quittance.{producer.replace('-', '_')}.v1.{shard}.{event_type.rpartition('.')[2]}"


async def connect(settings: ServiceSettings, role: str) -> Client:
    """A connection that comes back by itself, however long NATS is away."""

    async def on_error(error: Exception) -> None:
        log.info("nats: %s", error)

    return await nats.connect(
        settings.nats_url,
        name=f"{settings.service_name}-{role}",
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
        connect_timeout=3,
        allow_reconnect=True,
        error_cb=on_error,
    )


async def connect_patiently(settings: ServiceSettings, role: str, stop: threading.Event) -> Client | None:
    """connect, again until it works; None when we are told to stop before."""
    while not stop.is_set():
        try:
            return await connect(settings, role)
        except (OSError, nats.errors.Error, TimeoutError) as error:
            log.warning("NATS at %s cannot be reached yet: %s", settings.nats_url, error or type(error).__name__)
            await asyncio.sleep(1.0)
    return None


async def disconnect(client: Client) -> None:
    """Closes a connection, also one whose server is gone."""
    try:
        await client.close()
    except (OSError, nats.errors.Error, TimeoutError) as error:
        log.info("NATS was gone before we were: %s", error)


class Relay:
    """One service's relay. Several may run: a tenant's events are published by one of them at a time."""

    def __init__(self, database: Database, producer: str) -> None:
        self._database = database
        self._settings = database.settings
        self._producer = producer
        self._wake = asyncio.Event()

    # ---- database side (plain, in threads) ----

    def number_all(self) -> list[str]:
        """Numbers what is committed; the tenants that have something to publish. Registers tenants nobody met."""
        with self._database.system_transaction() as session:
            fresh = session.scalars(text("SELECT DISTINCT tenant_id FROM outbox WHERE number IS NULL")).all()
        for tenant_id in fresh:
            with self._database.system_transaction() as session:
                outbox.number_tenant(session, str(tenant_id))
                session.execute(
                    text("INSERT INTO tenant (tenant_id) VALUES (:tenant) ON CONFLICT DO NOTHING"),
                    {"tenant": tenant_id},
                )
        with self._database.system_transaction() as session:
            return [
                str(tenant_id)
                for tenant_id in session.scalars(
                    text("SELECT DISTINCT tenant_id FROM outbox WHERE published_at IS NULL AND number IS NOT NULL")
                )
            ]

    def _take(self, stack: ExitStack, tenant_id: str) -> tuple[Any, list[Any]]:
        session = stack.enter_context(self._database.system_transaction())
        has_lock = session.execute(
            text("SELECT pg_try_advisory_xact_lock(hashtextextended('relay ' || :tenant, 0))"), {"tenant": tenant_id}
        ).scalar()
        if not has_lock:
            return session, []
        rows = session.execute(
            text(
                "SELECT id, tenant_id, number, type, payload, recorded_at, traceparent FROM outbox"
                " WHERE tenant_id = :tenant AND published_at IS NULL AND number IS NOT NULL"
                " ORDER BY number LIMIT :most FOR UPDATE SKIP LOCKED"
            ),
            {"tenant": tenant_id, "most": BATCH},
        ).all()
        return session, list(rows)

    def _mark(self, session: Any, tenant_id: str, ids: list[str]) -> None:
        session.execute(
            text(
                "UPDATE outbox SET published_at = clock_timestamp()"
                " WHERE tenant_id = :tenant AND id = ANY(CAST(:ids AS uuid[]))"
            ),
            {"tenant": tenant_id, "ids": ids},
        )

    def measure_lag(self) -> float:
        """Tells telemetry how long the oldest unpublished event has been waiting; returns the seconds."""
        with self._database.system_transaction() as session:
            lag_s = session.execute(
                text(
                    "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0)::float8 FROM outbox"
                    " WHERE published_at IS NULL"
                )
            ).scalar_one()
        telemetry.relay_lag_s.set(lag_s, {"service": self._producer})
        return lag_s

    def republish_last(self) -> None:
        """Makes the last event of every tenant leave again: readers see its number and fetch what they lack."""
        with self._database.system_transaction() as session:
            session.execute(
                text(
                    "UPDATE outbox SET published_at = NULL WHERE (tenant_id, number) IN"
                    " (SELECT tenant_id, last_number FROM outbox_counter)"
                )
            )

    # ---- NATS side ----

    async def ensure_stream(self, stream: JetStreamContext) -> None:
        """Makes the stream where there is none, as after NATS was wiped."""
        name = stream_name(self._producer)
        try:
            await stream.stream_info(name)
        except NotFoundError:
            # Before the stream exists, so that a crash in between leaves the sign that this is still to be done.
            await asyncio.to_thread(self.republish_last)
            await stream.add_stream(
                StreamConfig(
                    name=name,
                    subjects=[subjects(self._producer)],
                    retention=RetentionPolicy.LIMITS,
                    storage=StorageType.FILE,
                    max_age=STREAM_MAX_AGE_S,
                    max_bytes=self._settings.stream_max_bytes,
                    # The outbox is the record: a reader fetches from there what a full stream has dropped, whereas a
                    # stream that refuses the new would hold everybody up.
                    discard=DiscardPolicy.OLD,
                    duplicate_window=DUPLICATE_WINDOW_S,
                    num_replicas=self._settings.stream_replicas,
                    deny_delete=True,
                    deny_purge=True,
                )
            )
            log.info("made the stream %s", name)

    async def publish_tenant(self, stream: JetStreamContext, tenant_id: str) -> int:
        """Publishes a tenant's next events in order and marks those that NATS has acknowledged; returns how many.

        A crash between the two publishes them again under the same id and number: NATS drops the repeat within its
        window, and the reader's inbox does for ever.
        """
        with ExitStack() as stack:
            session, rows = await asyncio.to_thread(self._take, stack, tenant_id)
            if not rows:
                return 0
            results = await asyncio.gather(*(self._publish(stream, row) for row in rows), return_exceptions=True)
            done = [str(row.id) for row, result in zip(rows, results, strict=True) if result is None]
            if done:
                await asyncio.to_thread(self._mark, session, tenant_id, done)
            await asyncio.to_thread(stack.close)
        telemetry.events_published.add(len(done))
        for result in results:
            if result is not None:
                raise result
        return len(done)

    async def _publish(self, stream: JetStreamContext, row: Any) -> None:
        headers = {"Nats-Msg-Id": str(row.id)}
        if row.traceparent:
            headers["traceparent"] = row.traceparent
        await stream.publish(
            subject(self._producer, str(row.tenant_id), row.type, self._settings.event_shards),
            outbox.envelope(row, self._producer).SerializeToString(),
            timeout=ACK_S,
            stream=stream_name(self._producer),
            headers=headers,
        )

    async def publish_all(self, stream: JetStreamContext) -> int:
        """One round over all tenants; returns how many events left."""
        published = 0
        for tenant_id in await asyncio.to_thread(self.number_all):
            while sent := await self.publish_tenant(stream, tenant_id):
                published += sent
                if sent < BATCH:
                    break
        return published

    async def run(self, stop: threading.Event) -> None:
        """Works until stop is set."""
        listener = _Listener(self._settings.database_url, self._wake, asyncio.get_running_loop(), stop)
        listener.start()
        client = await connect_patiently(self._settings, "relay", stop)
        if client is None:
            return
        stream = client.jetstream()
        checked_at = cleaned_at = measured_at = float("-inf")
        loop = asyncio.get_running_loop()
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    # First, so that it is told too while NATS is away.
                    if loop.time() - measured_at > MEASURE_S:
                        measured_at = loop.time()
                        await asyncio.to_thread(self.measure_lag)
                    if loop.time() - checked_at > STREAM_CHECK_S:
                        await self.ensure_stream(stream)
                        checked_at = loop.time()
                    await self.publish_all(stream)
                    if loop.time() - cleaned_at > HOUSEKEEPING_S:
                        await asyncio.to_thread(housekeeping, self._database)
                        cleaned_at = loop.time()
                except NoStreamResponseError:
                    checked_at = float("-inf")
                    await asyncio.sleep(0.2)
                    continue
                except (JetStreamError, nats.errors.Error, TimeoutError, OSError) as error:
                    log.warning("NATS does not take events: %s", error or type(error).__name__)
                    await asyncio.sleep(0.5)
                    continue
                except Exception:
                    log.exception("relay failed; going on")
                    await asyncio.sleep(1.0)
                    continue
                try:
                    await asyncio.wait_for(self._wake.wait(), self._settings.relay_poll_s)
                except TimeoutError:
                    continue
        finally:
            await disconnect(client)


class _Listener(threading.Thread):
    """Sets an event when PostgreSQL says that something was committed."""

    def __init__(self, url: str, wake: asyncio.Event, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        super().__init__(name="listen", daemon=True)
        self._url, self._wake, self._loop, self._stop_event = psycopg_url(url), wake, loop, stop

    def run(self) -> None:
        while not self._stop_event.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, application_name="quittance-listen") as connection:
                    connection.execute(f"LISTEN {outbox.CHANNEL}")
                    while not self._stop_event.is_set():
                        for _ in connection.notifies(timeout=1.0, stop_after=1):
                            self._loop.call_soon_threadsafe(self._wake.set)
            except psycopg.Error as error:
                log.warning("not listening to the database: %s", str(error).strip())
                self._stop_event.wait(1.0)
            except RuntimeError:
                return  # The loop is closed: we are done.


def housekeeping(database: Database) -> None:
    """Deletes what is past its keeping: outbox 35 days, inbox 40, answers and ended jobs 35, schedule slots 400."""
    # The outbox goes first and the inbox outlives it, so that a repair can never apply an event a second time.
    rules = [
        ("outbox", "id", f"published_at IS NOT NULL AND recorded_at < now() - interval '{outbox.RETENTION_DAYS} days'"),
        ("inbox", "event_id", f"handled_at < now() - interval '{inbox.RETENTION_DAYS} days'"),
        ("request", "request_id", "made_at < now() - interval '35 days'"),
        ("job", "id", "state = 'DONE' AND ended_at < now() - interval '35 days'"),
        ("schedule", "slot", "made_at < now() - interval '400 days'"),
    ]
    for table, key, condition in rules:
        while True:
            with database.system_transaction() as session:
                deleted = session.execute(
                    text(
                        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition}"
                        f" LIMIT {PRUNE_BATCH} FOR UPDATE SKIP LOCKED)) RETURNING {key}"
                    )
                ).all()
            if len(deleted) < PRUNE_BATCH:
                break
