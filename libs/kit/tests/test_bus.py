"""From a commit here to an effect there, over a real NATS: once, in spite of everything."""

import asyncio
import contextlib
import threading
import time
from types import SimpleNamespace

import pytest
from sample.config import ReaderSettings, Settings
from sample.store import Base, NoteRow
from sqlalchemy import select, text

from kit import bus, embedded, inbox, migrations, relay
from kit.bus import Consumer, wait_until_all_seen, wait_until_seen
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.inbox import Inbox
from kit.outbox import emit
from kit.relay import Relay
from kit.service import ServiceDefinition
from kit.testing import deliver, envelope_for
from quittance.common.v1.money_pb2 import Money

MONEY = "quittance.common.v1.Money"
PRODUCER = ServiceDefinition(name="sample-one", settings=Settings, metadata=Base.metadata)


def until(condition, timeout_s=10.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s")


def keep(session, event, envelope):
    """The usual handler: writes down what it was told."""
    session.add(NoteRow(note_id=f"{envelope.number}/{envelope.event_id}", amount_minor=event.minor_units))


KEEP = {("sample-one", MONEY): keep}


def say(database, *amounts):
    with database.transaction() as session:
        for amount in amounts:
            emit(session, Money(currency="EUR", minor_units=amount), "key")


def all_published(database):
    with database.system_transaction() as session:
        return session.execute(text("SELECT count(*) FROM outbox WHERE published_at IS NULL")).scalar() == 0


def heard(database):
    with database.transaction() as session:
        return sorted(session.scalars(select(NoteRow.amount_minor)))


@contextlib.contextmanager
def running(work):
    """Runs an asyncio role in a thread until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(work(stop)), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@contextlib.contextmanager
def relaying(database):
    async def work(stop):
        await Relay(database, "sample-one").run(stop)

    with running(work):
        yield


@contextlib.contextmanager
def consuming(database, handlers, stub):
    async def work(stop):
        await Consumer(Inbox(database, "reader", handlers), lambda _: stub).run(stop)

    with running(work):
        yield


@pytest.fixture
def fresh_nats(server_folder):
    """A NATS of this test alone: streams have fixed names."""
    server = embedded.nats(server_folder / f"nats-{new_id()}")
    yield server
    server.stop()


@pytest.fixture
def pair(make_database, acting, fresh_nats, grpc_in_process):
    """A producer with its event log served, and a reader."""
    quick = {
        "nats_url": fresh_nats.url,
        "event_retry_delays_s": (0.05, 0.05),
        "gap_patience_s": 0.3,
        "position_check_s": 0.5,
        "relay_poll_s": 0.3,
    }
    producer = make_database("sample", **quick)
    reader = make_database("sample", settings_class=ReaderSettings, **quick)
    from quittance.common.v1.event_log_service_pb2_grpc import EventLogServiceStub

    channel = grpc_in_process(PRODUCER, producer)
    return SimpleNamespace(producer=producer, reader=reader, stub=EventLogServiceStub(channel), nats=fresh_nats)


# ---- the inbox, without a bus ----------------------------------------------------------------------------------------


def test_an_event_has_its_effect_once(database):
    assert deliver(database, KEEP, Money(minor_units=5), times=3, producer="sample-one") == [True, False, False]
    assert heard(database) == [5]


def test_the_position_counts_only_what_is_without_a_hole(database, tenant):
    box = Inbox(database, "reader", KEEP)
    for number, expected in [(2, 0), (4, 0), (1, 2), (3, 4), (5, 5)]:
        box.apply(envelope_for(Money(minor_units=number), tenant, "sample-one", number))
        with database.transaction() as session:
            assert inbox.position(session, "sample-one") == expected


def test_neighbours_applied_at_the_same_time_leave_no_hole(database, tenant):
    barrier = threading.Barrier(8)
    box = Inbox(database, "reader", {("sample-one", MONEY): lambda *_: barrier.wait(5)})
    envelopes = [envelope_for(Money(), tenant, "sample-one", number) for number in range(1, 9)]
    threads = [threading.Thread(target=box.apply, args=(envelope,)) for envelope in envelopes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction() as session:
        assert inbox.position(session, "sample-one") == 8


def test_a_failed_handler_leaves_nothing(database, tenant):
    def fail(session, event, envelope):
        keep(session, event, envelope)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        deliver(database, {("sample-one", MONEY): fail}, Money(minor_units=5), producer="sample-one")
    assert heard(database) == []
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM inbox")).scalar() == 0


def test_a_parked_event_is_replayed_once(database, tenant):
    envelope = envelope_for(Money(minor_units=5), tenant, "sample-one", 1)
    box = Inbox(database, "reader", KEEP)
    box.park(envelope, ValueError("no such thing"), 6)
    assert box.apply(envelope) is False
    with database.transaction() as session:
        assert inbox.position(session, "sample-one") == 1  # It blocks nobody.
        row = session.execute(text("SELECT * FROM parked_event")).one()
        assert (row.attempts, row.error) == (6, "ValueError: no such thing")
    broken = Inbox(database, "reader", {("sample-one", MONEY): lambda *_: 1 / 0})
    assert broken.replay() == (0, 1)
    assert box.replay(new_id()) == (0, 0)
    assert box.replay(envelope.event_id) == (1, 0)
    assert box.replay() == (0, 0)
    assert heard(database) == [5]


# ---- over the bus ----------------------------------------------------------------------------------------------------


def test_a_commit_is_seen_at_once(pair):
    with relaying(pair.producer), consuming(pair.reader, KEEP, pair.stub):
        say(pair.producer, 1)
        until(lambda: heard(pair.reader) == [1])
        taken_s = []
        for amount in range(2, 12):
            say(pair.producer, amount)
            started = time.monotonic()
            assert wait_until_seen(pair.reader, pair.stub, "sample-one", 3.0)
            taken_s.append(time.monotonic() - started)
            assert heard(pair.reader)[-1] == amount
        assert sorted(taken_s)[len(taken_s) // 2] < 0.15, taken_s


def test_waiting_ends_when_nobody_reads(pair):
    say(pair.producer, 1)
    started = time.monotonic()
    assert wait_until_seen(pair.reader, pair.stub, "sample-one", 0.3) is False
    assert time.monotonic() - started < 1
    assert wait_until_all_seen(pair.reader, ["sample-one"], 0.3, {"sample-one": "127.0.0.1:1"}) == {"sample-one": False}


def test_many_events_of_many_tenants_all_arrive(pair, as_tenant):
    others = [new_id() for _ in range(5)]
    with relaying(pair.producer), consuming(pair.reader, KEEP, pair.stub):
        for other in others:
            with as_tenant(other):
                for start in range(0, 100, 10):
                    say(pair.producer, *range(start, start + 10))
        for other in others:
            with as_tenant(other):
                until(lambda: heard(pair.reader) == list(range(100)), 20)


def test_a_relay_that_dies_between_publish_and_mark_does_no_harm(pair, monkeypatch):
    say(pair.producer, 1, 2, 3)
    crashes = []
    mark = Relay._mark

    def die_first(self, *arguments):
        if len(crashes) < 2:
            crashes.append(1)
            raise RuntimeError("killed")
        mark(self, *arguments)

    monkeypatch.setattr(Relay, "_mark", die_first)
    with relaying(pair.producer), consuming(pair.reader, KEEP, pair.stub):
        until(lambda: len(crashes) == 2)
        until(lambda: heard(pair.reader) == [1, 2, 3])
        say(pair.producer, 4)
        until(lambda: heard(pair.reader) == [1, 2, 3, 4])
        until(lambda: all_published(pair.producer))
        assert heard(pair.reader) == [1, 2, 3, 4]


def test_two_relays_and_two_consumers_still_mean_once(pair):
    with (
        relaying(pair.producer), relaying(pair.producer),
        consuming(pair.reader, KEEP, pair.stub), consuming(pair.reader, KEEP, pair.stub),
    ):  # fmt: skip
        for amount in range(40):
            say(pair.producer, amount)
        until(lambda: heard(pair.reader) == list(range(40)))


def test_a_redelivered_message_has_no_second_effect(pair, monkeypatch):
    """The acknowledgement is lost, so NATS brings the message again."""
    monkeypatch.setattr(bus, "ACK_WAIT_S", 0.5)
    lost = []
    from nats.aio.msg import Msg

    ack = Msg.ack

    async def lose_first(self):
        if not lost:
            lost.append(self.metadata.sequence.stream)
            return
        await ack(self)

    monkeypatch.setattr(Msg, "ack", lose_first)
    deliveries = []
    handle = Consumer._handle_one

    async def count(self, message, envelope):
        deliveries.append(message.metadata.num_delivered)
        await handle(self, message, envelope)

    monkeypatch.setattr(Consumer, "_handle_one", count)
    with relaying(pair.producer), consuming(pair.reader, KEEP, pair.stub):
        say(pair.producer, 7)
        until(lambda: 2 in deliveries)
    assert heard(pair.reader) == [7]


def test_a_lost_message_is_fetched_from_the_producer(pair):
    """Marked as published but never on the bus: the next event shows the hole."""
    say(pair.producer, 1, 2, 3)
    with pair.producer.transaction() as session:
        session.execute(text("SELECT 1"))
    Relay(pair.producer, "sample-one").number_all()
    with pair.producer.transaction() as session:
        session.execute(text("UPDATE outbox SET published_at = now() WHERE number < 3"))
    with relaying(pair.producer), consuming(pair.reader, KEEP, pair.stub):
        until(lambda: heard(pair.reader) == [1, 2, 3])


def test_a_wiped_bus_loses_nothing(pair, as_tenant, server_folder, monkeypatch):
    """NATS loses all its files; a tenant that the reader has never heard of is among what was lost."""
    monkeypatch.setattr(relay, "STREAM_CHECK_S", 0.3)
    stranger = new_id()
    with relaying(pair.producer):
        with consuming(pair.reader, KEEP, pair.stub):
            say(pair.producer, 1)
            until(lambda: heard(pair.reader) == [1])
        say(pair.producer, 2, 3)
        with as_tenant(stranger):
            say(pair.producer, 10, 11)
        until(lambda: all_published(pair.producer))
        pair.nats.kill()
        again = embedded.nats(server_folder / f"nats-{new_id()}", pair.nats.port)
        try:
            # Only the tenant's own log answers for the tenant, so the reader asks with the tenant's token.
            with consuming(pair.reader, KEEP, _PerTenant(pair)):
                until(lambda: heard(pair.reader) == [1, 2, 3], 20)
                with as_tenant(stranger):
                    until(lambda: heard(pair.reader) == [10, 11], 20)
                say(pair.producer, 4)
                until(lambda: heard(pair.reader) == [1, 2, 3, 4], 20)
        finally:
            again.stop()


@pytest.fixture
def reader_with_own_postgres(pair, server_folder):
    """A reader whose PostgreSQL may be stopped and started: (database, stop, start)."""
    folder, running_now = server_folder / f"postgres-{new_id()}", []
    running_now.append(embedded.postgres(folder, max_connections=50))
    owner_url, app_url = embedded.provision(running_now[0].url, "reader", "reader")
    migrations.upgrade("sample", owner_url)
    database = Database(pair.reader.settings.model_copy(update={"database_url": app_url}))

    def stop():
        running_now[0].stop()

    def start():
        running_now[0] = embedded.postgres(folder, running_now[0].port, max_connections=50)

    yield database, stop, start
    database.close()
    stop()


def test_readers_live_through_an_outage_of_postgresql(pair, reader_with_own_postgres, monkeypatch, caplog):
    """It goes while an event is being applied and stays away for many tries and acknowledgement times of events that
    come meanwhile; afterwards each of them is applied, once, and none was parked."""
    monkeypatch.setattr(bus, "ACK_WAIT_S", 1.0)
    reader, stop_postgres, start_postgres = reader_with_own_postgres
    in_hand, gone, deliveries = threading.Event(), threading.Event(), []

    def interrupted(session, event, envelope):
        keep(session, event, envelope)
        if event.minor_units == 2 and not gone.is_set():
            session.flush()
            in_hand.set()
            assert gone.wait(60)

    handle = Consumer._handle_one

    async def count(self, message, envelope):
        deliveries.append(message.metadata.num_delivered)
        await handle(self, message, envelope)

    monkeypatch.setattr(Consumer, "_handle_one", count)
    with relaying(pair.producer), consuming(reader, {("sample-one", MONEY): interrupted}, pair.stub):
        say(pair.producer, 1)
        until(lambda: heard(reader) == [1])
        say(pair.producer, *range(2, 30))
        assert in_hand.wait(10)
        stop_postgres()
        gone.set()
        say(pair.producer, *range(30, 60))
        until(lambda: all_published(pair.producer))
        # More tries than an event has (3), and more acknowledgement times than it has deliveries.
        until(lambda: sum("cannot be reached; waiting" in line for line in caplog.messages) > 14, 60)
        start_postgres()
        until(lambda: heard(reader) == list(range(1, 60)), 30)
        say(pair.producer, 60)
        assert wait_until_seen(reader, pair.stub, "sample-one", 10.0)
    with reader.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM parked_event")).scalar() == 0
        assert inbox.position(session, "sample-one") == 60
    assert heard(reader) == list(range(1, 61))
    assert max(deliveries) <= bus.DELIVERIES_MAX // 2, "an outage must not use up the deliveries of an event"


class _PerTenant:
    """The producer's event log, answering for whoever asks (in process: the caller is the context's)."""

    def __init__(self, pair):
        from kit.event_log import EventLogRpc

        self._log = EventLogRpc(pair.producer, "sample-one")

    def GetPosition(self, request, timeout):
        return self._log.GetPosition(request, None)

    def GetEvents(self, request, timeout):
        return self._log.GetEvents(request, None)


def test_poison_is_parked_and_blocks_nobody(pair):
    tries = []

    def choke(session, event, envelope):
        if event.minor_units == 13:
            tries.append(1)
            raise ZeroDivisionError("poison")
        if event.minor_units == 14:
            tries.append(2)
            raise Refused(Code.FAILED_PRECONDITION, "NEVER", "it will never do")
        keep(session, event, envelope)

    with relaying(pair.producer), consuming(pair.reader, {("sample-one", MONEY): choke}, pair.stub):
        say(pair.producer, 13, 14, 1, 2)
        until(lambda: heard(pair.reader) == [1, 2])
        assert wait_until_seen(pair.reader, pair.stub, "sample-one", 5.0)
    assert sorted(tries) == [1, 1, 1, 2]  # Three tries of what might get better, one of what will not.
    with pair.reader.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM parked_event")).scalar() == 2
    assert Inbox(pair.reader, "reader", KEEP).replay() == (2, 0)
    assert heard(pair.reader) == [1, 2, 13, 14]


def test_a_hiccup_is_tried_again(pair):
    tries = []

    def stumble(session, event, envelope):
        tries.append(1)
        if len(tries) < 3:
            raise Refused(Code.UNAVAILABLE, "PEER_DOWN", "in a moment")
        keep(session, event, envelope)

    with relaying(pair.producer), consuming(pair.reader, {("sample-one", MONEY): stumble}, pair.stub):
        say(pair.producer, 5)
        until(lambda: heard(pair.reader) == [5])
    with pair.reader.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM parked_event")).scalar() == 0


def test_events_that_are_no_longer_kept_are_stepped_over(pair):
    say(pair.producer, 1, 2, 3)
    Relay(pair.producer, "sample-one").number_all()
    with pair.producer.transaction() as session:
        session.execute(text("DELETE FROM outbox WHERE number < 3"))
    with relaying(pair.producer), consuming(pair.reader, KEEP, pair.stub):
        until(lambda: heard(pair.reader) == [3])
        assert wait_until_seen(pair.reader, pair.stub, "sample-one", 3.0)


def test_housekeeping_keeps_what_is_young_or_unpublished(database):
    say(database, 1, 2, 3)
    with database.transaction() as session:
        session.execute(text("UPDATE outbox SET recorded_at = now() - interval '36 days' WHERE sequence <= 2"))
        session.execute(text("UPDATE outbox SET published_at = now() WHERE sequence IN (1, 3)"))
    relay.housekeeping(database)
    with database.transaction() as session:
        assert session.execute(text("SELECT sequence FROM outbox ORDER BY 1")).scalars().all() == [2, 3]


def test_a_caller_of_one_tenant_gets_no_event_of_another(pair, keys, as_tenant):
    from quittance.common.v1 import event_log_service_pb2 as pb

    with as_tenant(new_id()):
        say(pair.producer, 1)
    assert pair.stub.GetPosition(pb.GetPositionRequest(), timeout=5).number == 0
    assert list(pair.stub.GetEvents(pb.GetEventsRequest(from_number=1, to_number=5), timeout=5).events) == []
