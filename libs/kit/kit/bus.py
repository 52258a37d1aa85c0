"""The consumer: pulls events, applies each once, fetches from the producer what did not come, parks the hopeless."""

import asyncio
import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from sqlalchemy import text

from kit import context, grpc_client, inbox, relay, telemetry, tenants
from kit.db import Database, is_connection_failure
from kit.errors import Code, Refused
from kit.inbox import Inbox
from kit.settings import ServiceSettings
from quittance.common.v1 import event_log_service_pb2 as pb
from quittance.common.v1 import event_log_service_pb2_grpc as pb_grpc

log = logging.getLogger(__name__)

FETCH = 100
FETCH_EXPIRES_S = 5.0
ACK_WAIT_S = 60.0
MAX_ACK_PENDING = 400
# Beyond our own tries: a message that kills its process never gets to count them.
DELIVERIES_MAX = 12
DELIVERIES_BACKSTOP = 20
IDLE_CHECK_S = 5.0
PEER_S = 3.0
POLL_S = 0.015
REPAIR_BATCH = 500

# A stub of the producer's event log, a channel or an address to reach it, or None for the configured address.
Peer = Any
LogStub = Callable[[str], Any]


# ---- freshness -------------------------------------------------------------------------------------------------------


def _log_stub(settings: ServiceSettings, peer: Peer, producer: str) -> Any:
    if peer is None:
        return pb_grpc.EventLogServiceStub(grpc_client.channel(settings, producer))
    if isinstance(peer, str):
        return pb_grpc.EventLogServiceStub(grpc_client.channel(settings, peer))
    if isinstance(peer, grpc.Channel):
        return pb_grpc.EventLogServiceStub(peer)
    return peer


def wait_until_seen(database: Database, peer: Peer, producer: str, timeout_s: float = 3.0) -> bool:
    """Waits until we have applied everything that the producer had committed for this tenant when we asked.

    Args: peer, an EventLogServiceStub, a channel, an address, or None for the configured address of the producer.
    Returns: False when it took too long or the producer could not be asked: answer with what is known, and say so.
    """
    return wait_until_all_seen(database, [producer], timeout_s, peers={producer: peer})[producer]


def wait_until_all_seen(
    database: Database, producers: Iterable[str], timeout_s: float = 3.0, peers: dict[str, Peer] | None = None
) -> dict[str, bool]:
    """wait_until_seen for several producers at once: producer to whether all of its events are applied."""
    until = time.monotonic() + timeout_s
    asked = {}
    for producer in producers:
        try:
            stub = _log_stub(database.settings, (peers or {}).get(producer), producer)
            asked[producer] = stub.GetPosition.future(pb.GetPositionRequest(), timeout=min(timeout_s, PEER_S))
        except (Refused, LookupError) as error:
            log.warning("cannot ask %s how far it is: %s", producer, error)
            asked[producer] = None
    seen = dict.fromkeys(asked, False)
    wanted: dict[str, int] = {}
    for producer, call in asked.items():
        if call is not None:
            try:
                wanted[producer] = call.result().number
            except Refused as error:
                log.warning("cannot ask %s how far it is: %s", producer, error)
    while wanted:
        with database.transaction() as session:
            for producer in list(wanted):
                if inbox.position(session, producer) >= wanted[producer]:
                    seen[producer] = True
                    del wanted[producer]
        if not wanted or time.monotonic() >= until:
            break
        time.sleep(POLL_S)
    return seen


# ---- consuming -------------------------------------------------------------------------------------------------------


@dataclass
class _Trouble:
    """An event that failed: how often, and when it may be tried again."""

    tries: int = 0
    again_at: float = 0.0


class Consumer:
    """Reads the streams of all producers that the handlers name. Several may run: they share one durable consumer."""

    def __init__(self, box: Inbox, log_stub: LogStub | None = None) -> None:
        self._inbox = box
        self._database = box.database
        self._settings = box.database.settings
        self._log_stub = log_stub or (lambda producer: _log_stub(self._settings, None, producer))
        self._pool = ThreadPoolExecutor(self._settings.consume_threads, thread_name_prefix="consume")
        self._troubles: dict[str, _Trouble] = defaultdict(_Trouble)
        self._stop = threading.Event()

    @property
    def durable(self) -> str:
        """The name under which all replicas of this service read."""
        return self._settings.service_name.replace("-", "_")

    async def run(self, stop: threading.Event) -> None:
        """Works until stop is set, then finishes what it has in hand."""
        self._stop = stop
        client = await relay.connect_patiently(self._settings, "consume", stop)
        if client is None:
            return
        work = [self._read(client, producer) for producer in self._inbox.producers]
        try:
            await asyncio.gather(*work, self._repair_for_ever())
        finally:
            await relay.disconnect(client)
            self._pool.shutdown(wait=True)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def _read(self, client: Client, producer: str) -> None:
        """Reads one producer's stream, binding to it again whenever that is needed."""
        while not self._stop.is_set():
            try:
                await self._bind(client, producer)
                await self._read_bound(client, producer)
            except NotFoundError:
                await asyncio.sleep(0.3)  # The producer's relay has not made its stream (again) yet.
            except (nats.errors.Error, TimeoutError, OSError) as error:
                log.info("reading %s again in a moment: %s", producer, error or type(error).__name__)
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("reading %s failed; going on", producer)
                await asyncio.sleep(1.0)

    async def _bind(self, client: Client, producer: str) -> None:
        await client.jetstream().add_consumer(
            relay.stream_name(producer),
            ConsumerConfig(
                durable_name=self.durable,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                max_deliver=DELIVERIES_BACKSTOP,
                max_ack_pending=MAX_ACK_PENDING,
                filter_subject=relay.subjects(producer),
            ),
        )

    async def _read_bound(self, client: Client, producer: str) -> None:
        """Pulls until something is wrong with the consumer.

        nats-py's own fetch waits for a full batch; here the first message is handled as soon as it is there, together
        with what has come by then.
        """
        box = client.new_inbox()
        subscription = await client.subscribe(box)
        ask = f"$JS.API.CONSUMER.MSG.NEXT.{relay.stream_name(producer)}.{self.durable}"
        body = json.dumps({"batch": FETCH, "expires": int(FETCH_EXPIRES_S * 1e9)}).encode()
        try:
            open_until, left = 0.0, 0
            while not self._stop.is_set():
                if left <= 0 or time.monotonic() > open_until:
                    await client.publish(ask, body, box)
                    open_until, left = time.monotonic() + FETCH_EXPIRES_S + 1.0, FETCH
                batch, is_over = await self._gather(subscription)
                left = 0 if is_over else left - len(batch)
                if batch:
                    await self._handle(batch)
        finally:
            await subscription.unsubscribe()

    async def _gather(self, subscription: Any) -> tuple[list[Msg], bool]:
        """What has come: waits a little for the first message, not for more. And whether the pull is over."""
        batch: list[Msg] = []
        is_over = False
        timeout_s = 0.5
        while len(batch) < FETCH:
            try:
                message = await subscription.next_msg(timeout_s)
            except TimeoutError:
                break
            status = (message.headers or {}).get("Status")
            if status in ("404", "408") or (
                status == "409" and "max" in (message.headers or {}).get("Description", "").lower()
            ):
                is_over = True
            elif status is not None and not message.data:
                # Gone, or moved: the consumer has to be bound again.
                if not batch:
                    raise nats.errors.Error(f"pull ended with status {status}")
                is_over = True
            else:
                batch.append(message)
            timeout_s = 0.001
        return batch, is_over

    async def _handle(self, batch: list[Msg]) -> None:
        """Handles messages: those of one tenant in their order, tenants side by side."""
        by_tenant: dict[str, list[tuple[Msg, pb.Envelope]]] = defaultdict(list)
        for message in batch:
            try:
                envelope = pb.Envelope.FromString(message.data)
            except DecodeError:
                log.error("a message on %s is no envelope; dropped", message.subject)
                await message.term()
                continue
            by_tenant[envelope.tenant_id].append((message, envelope))
        await asyncio.gather(*(self._handle_in_order(pairs) for pairs in by_tenant.values()))

    async def _handle_in_order(self, pairs: list[tuple[Msg, pb.Envelope]]) -> None:
        taken = time.monotonic()
        for message, envelope in pairs:
            if self._stop.is_set():
                await message.nak()
                continue
            if time.monotonic() - taken > ACK_WAIT_S / 3:
                await message.in_progress()
            await self._handle_one(message, envelope)

    async def _handle_one(self, message: Msg, envelope: pb.Envelope) -> None:
        deliveries = message.metadata.num_delivered
        if deliveries > DELIVERIES_MAX:
            error = RuntimeError(f"delivered {deliveries} times without an end; its worker may have died each time")
            await self._in_thread(self._inbox.park, envelope, error, deliveries)
            await message.ack()
            return
        while True:
            delay_s, is_unreachable = await self._try(envelope)
            if not is_unreachable:
                break
            # Nothing is wrong with the event: hold it and spend no try until the database is back.
            await message.in_progress()
            await asyncio.sleep(1.0)
            if self._stop.is_set():
                await message.nak()
                return
        if delay_s is None:
            await message.ack()
        else:
            await message.nak(delay=delay_s)

    async def _try(self, envelope: pb.Envelope) -> tuple[float | None, bool]:
        """Applies an event, or parks it after its last try; (seconds until the next try or None, database is away)."""
        try:
            await self._in_thread(self._inbox.apply, envelope)
        except Exception as error:  # noqa: BLE001 - the edge: a failed event waits or is parked, never lost
            if is_connection_failure(error):
                log.warning("the database cannot be reached; waiting: %s", str(error).splitlines()[0])
                return None, True
            return await self._failed(envelope, error)
        self._troubles.pop(envelope.event_id, None)
        return None, False

    async def _failed(self, envelope: pb.Envelope, error: Exception) -> tuple[float | None, bool]:
        trouble = self._troubles[envelope.event_id]
        trouble.tries += 1
        delays_s = self._settings.event_retry_delays_s
        is_lasting = isinstance(error, Refused) and not error.is_transient
        if is_lasting or trouble.tries > len(delays_s):
            try:
                await self._in_thread(self._inbox.park, envelope, error, trouble.tries)
            except Exception as parking:
                if is_connection_failure(parking):
                    return None, True
                raise
            self._troubles.pop(envelope.event_id, None)
            return None, False
        delay_s = delays_s[trouble.tries - 1]
        trouble.again_at = time.monotonic() + delay_s
        log.warning("%s %s, try %d: %s", envelope.type, envelope.event_id, trouble.tries, error, exc_info=error)
        return delay_s, False

    # ---- repair ----

    async def _repair_for_ever(self) -> None:
        first_seen: dict[tuple[str, str], tuple[int, float]] = {}
        ahead: dict[tuple[str, str], int] = {}
        asked_at = float("-inf")
        while not self._stop.is_set():
            await asyncio.sleep(min(self._settings.gap_patience_s, 1.0) / 2)
            try:
                if time.monotonic() - asked_at > self._settings.position_check_s:
                    ahead = await self._in_thread(self._producers_ahead)
                    asked_at = time.monotonic()
                holes = await self._in_thread(self._holes, ahead)
                self._tell_lag(holes)
                now = time.monotonic()
                first_seen = {
                    key: first_seen[key] if first_seen.get(key, (-1, 0))[0] == at else (at, now)
                    for key, (at, _) in holes.items()
                }
                for key, (_, last) in holes.items():
                    if now - first_seen[key][1] >= self._settings.gap_patience_s:
                        await self._repair(key[0], key[1], last)
            except Exception as error:  # noqa: BLE001 - repair is tried for ever
                log.warning("looking for missing events failed: %s", error)

    def _tell_lag(self, holes: dict[tuple[str, str], tuple[int, int]]) -> None:
        for producer in self._inbox.producers:
            behind = sum(last - number for (name, _), (number, last) in holes.items() if name == producer)
            telemetry.consumer_lag.set(behind, {"service": self._settings.service_name, "producer": producer})

    def _producers_ahead(self) -> dict[tuple[str, str], int]:
        """Where each producer says it is, for every tenant we know: a wiped bus cannot tell us."""
        found: dict[tuple[str, str], int] = {}
        with self._database.system_transaction() as session:
            known = tenants.all_tenants(session)
        for producer in self._inbox.producers:
            for tenant_id in known:
                if self._stop.is_set():
                    return found
                try:
                    with context.acting_as(context.service_caller(tenant_id, self._settings.service_name)):
                        reply = self._log_stub(producer).GetPosition(pb.GetPositionRequest(), timeout=PEER_S)
                    found[(producer, tenant_id)] = reply.number
                except (Refused, LookupError) as error:
                    log.info("cannot ask %s how far it is: %s", producer, error)
                    break
        return found

    def _holes(self, ahead: dict[tuple[str, str], int]) -> dict[tuple[str, str], tuple[int, int]]:
        """(producer, tenant) to (our position, the highest number known) where the two differ."""
        with self._database.system_transaction() as session:
            rows = session.execute(
                text(
                    "SELECT producer, tenant_id, number, coalesce((SELECT max(i.number) FROM inbox i"
                    "   WHERE i.tenant_id = p.tenant_id AND i.producer = p.producer AND i.number > p.number), 0)"
                    " AS last FROM event_position p"
                )
            ).all()
        at = {(row.producer, str(row.tenant_id)): (row.number, row.last) for row in rows}
        holes = {}
        for key in at.keys() | ahead.keys():
            number, last = at.get(key, (0, 0))
            last = max(last, ahead.get(key, 0))
            if last > number and key[0] in self._inbox.producers:
                holes[key] = (number, last)
        return holes

    def _missing(self, producer: str, tenant_id: str, last: int) -> list[pb.Envelope]:
        """The events after our position that we have not applied, from the producer's outbox."""
        with context.acting_as(context.service_caller(tenant_id, self._settings.service_name)):
            with self._database.transaction() as session:
                at = inbox.position(session, producer)
                known = set(
                    session.scalars(
                        text(
                            "SELECT number FROM inbox WHERE tenant_id = :tenant AND producer = :producer"
                            " AND number > :at AND number <= :last"
                        ),
                        {"tenant": tenant_id, "producer": producer, "at": at, "last": at + REPAIR_BATCH},
                    )
                )
            if at >= last:
                return []
            try:
                reply = self._log_stub(producer).GetEvents(
                    pb.GetEventsRequest(from_number=at + 1, to_number=min(last, at + REPAIR_BATCH)), timeout=10.0
                )
            except Refused as error:
                if error.code is not Code.OUT_OF_RANGE:
                    raise
                oldest = int(error.metadata["oldest_number"])
                log.error(
                    "events %d to %d of %s are no longer kept: what is read from them must be rebuilt",
                    at + 1, oldest - 1, producer,
                )  # fmt: skip
                with self._database.transaction() as session:
                    inbox.skip_to(session, producer, oldest - 1)
                return []
        return [envelope for envelope in reply.events if envelope.number not in known]

    async def _repair(self, producer: str, tenant_id: str, last: int) -> None:
        while not self._stop.is_set():
            try:
                missing = await self._in_thread(self._missing, producer, tenant_id, last)
            except (Refused, LookupError) as error:
                log.info("cannot fetch missing events from %s: %s", producer, error)
                return
            # What failed a moment ago has its next try coming.
            due = [
                envelope
                for envelope in missing
                if envelope.event_id not in self._troubles
                or self._troubles[envelope.event_id].again_at <= time.monotonic()
            ]
            if not due:
                return
            log.info("fetched %d events from %s that did not come over the bus", len(due), producer)
            for envelope in due:
                _, is_unreachable = await self._try(envelope)
                if is_unreachable:
                    return
            if len(due) < len(missing):
                return
