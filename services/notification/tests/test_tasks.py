"""Handing over: once, never after it was paid, and always knowing what is known. Real PostgreSQL, real SMTP."""

import email
import threading
from concurrent.futures import ThreadPoolExecutor
from email import policy

import pytest
from sqlalchemy import text

from kit import jobs
from kit.context import acting_as, service_caller
from kit.errors import Code
from kit.ids import new_id
from kit.service import Runtime
from kit.testing import emitted, refused
from notification import mail, store
from notification.tasks import JOBS
from notification.usecases import Desk
from quittance.notification.v1 import notification_service_pb2 as pb


@pytest.fixture
def send(stub, neighbours, items):
    def one(account_id="", **fields):
        account_id = account_id or neighbours.ledger.account(items)
        request = pb.SendMessageRequest(request_id=new_id(), account_id=account_id, **fields)
        return stub.SendMessage(request, timeout=10).message

    return one


@pytest.fixture
def get(stub):
    def one(message_id):
        return stub.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=10).message

    return one


def parsed(content: bytes):
    return email.message_from_bytes(content, policy=policy.default)


def test_it_leaves_once_with_everything_in_it(send, run_due, get, mailbox, neighbours, database):
    sent = send()
    assert run_due() == ["DONE"]
    assert run_due() == []
    message = get(sent.message_id)
    assert message.state == pb.MESSAGE_STATE_SENT
    assert [a.outcome for a in message.attempts] == ["sent"]
    assert message.attempts[0].detail.startswith("250")
    [(recipients, content)] = mailbox.mails
    assert recipients == ["maja@norrland.example"]
    received = parsed(content)
    assert received["Message-ID"] == message.internet_message_id == f"<{sent.message_id}@quittance.example>"
    assert received["Subject"] == message.subject
    assert received["To"] == "Maja Lindgren <maja@norrland.example>"
    assert received["From"] == '"Ines Caradec, Brindle France" <receivables@quittance.example>'
    assert received["Reply-To"] == "Ines Caradec <ines.caradec@brindle.example>"
    assert received["Content-Language"] == "en"
    assert [part.get_content_type() for part in received.iter_parts()] == ["text/plain", "text/html"]
    url = neighbours.portal.links[sent.message_id].url
    for part in received.iter_parts():
        content = part.get_content()
        assert url in content
        assert "FA-260588" in content
        assert "personal-link.invalid" not in content
    states = [event.message.state for event in emitted(database)]
    assert states == [pb.MESSAGE_STATE_QUEUED, pb.MESSAGE_STATE_SENDING, pb.MESSAGE_STATE_SENT]
    assert all(url.encode() not in event.SerializeToString() for event in emitted(database))


def test_the_token_is_nowhere_in_clear_at_rest(send, run_due, neighbours, database):
    sent = send(purpose_key="action:3")
    run_due()
    assert send(sent.account_id, purpose_key="action:3").message_id == sent.message_id
    token = neighbours.portal.links[sent.message_id].url.rpartition("/")[2]
    with database.transaction() as session:
        for table in ("message", "attempt", "job", "request", "outbox"):
            rows = session.execute(text(f"SELECT t::text FROM {table} t")).scalars().all()
            assert rows or table == "attempt"
            assert not any(token in row or token.encode().hex() in row for row in rows), table


def test_paid_in_between_is_not_written_to(send, run_due, get, mailbox, neighbours):
    sent = send()
    neighbours.ledger.set_items(sent.account_id, [])
    run_due()
    message = get(sent.message_id)
    assert (message.state, message.failure_code) == (pb.MESSAGE_STATE_CANCELLED, "PAID_IN_BETWEEN")
    assert mailbox.mails == []
    assert neighbours.portal.links == {}


def test_answered_in_between_is_not_written_to(send, run_due, get, mailbox, neighbours, items):
    sent = send()
    for item in items:
        item.held.CopyFrom(item.open)
        item.collectable.minor_units = 0
    neighbours.ledger.set_items(sent.account_id, items)
    run_due()
    assert get(sent.message_id).failure_code == "HELD"
    assert mailbox.mails == []


def test_paid_in_part_shows_what_is_left(send, run_due, get, mailbox, neighbours, items):
    sent = send()
    neighbours.ledger.set_items(sent.account_id, items[1:])
    run_due()
    message = get(sent.message_id)
    assert message.state == pb.MESSAGE_STATE_SENT
    assert [item.number for item in message.items] == ["FA-260597"]
    assert [m.minor_units for m in message.total] == [500_000]
    received = parsed(mailbox.mails[0][1])
    assert received["Subject"] == "Norrland Papper AB: EUR\u00a05,000.00 overdue"
    assert "FA-260588" not in received.get_body(("html",)).get_content()


def test_an_amount_typed_by_hand_that_is_no_longer_true_stops_it(send, run_due, get, mailbox, neighbours, items):
    sent = send(body="<p>FA-260588 over 10,000.00 is open.</p>", subject="About your invoices")
    items[0].open.minor_units = items[0].collectable.minor_units = 400_000
    neighbours.ledger.set_items(sent.account_id, items)
    run_due()
    message = get(sent.message_id)
    assert (message.state, message.failure_code) == (pb.MESSAGE_STATE_CANCELLED, "AMOUNTS_CHANGED")
    assert "10,000.00" in message.failure
    assert mailbox.mails == []


def test_a_contact_marked_invalid_in_between_is_not_written_to(send, run_due, get, mailbox, neighbours):
    sent = send()
    neighbours.ledger.answers[sent.account_id].account.contacts[0].valid = False
    run_due()
    assert get(sent.message_id).failure_code == "CONTACT_MISSING"
    assert mailbox.mails == []


@pytest.mark.parametrize("fault", ["refuse", "refuse_data"])
def test_refused_for_good_is_failed_and_frees_the_purpose(send, run_due, get, mailbox, fault):
    mailbox.fault = fault
    sent = send(purpose_key="action:7")
    run_due()
    message = get(sent.message_id)
    assert (message.state, message.failure_code) == (pb.MESSAGE_STATE_FAILED, "REFUSED")
    assert mailbox.mails == []
    mailbox.fault = ""
    again = send(sent.account_id, purpose_key="action:7")
    assert again.message_id != sent.message_id
    run_due()
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("fault", ["defer", "hang_up"])
def test_before_data_is_tried_again_and_leaves_once(send, run_due, get, mailbox, fault):
    mailbox.fault = fault
    sent = send()
    run_due()
    assert get(sent.message_id).state == pb.MESSAGE_STATE_QUEUED
    mailbox.fault = ""
    run_due()
    message = get(sent.message_id)
    assert message.state == pb.MESSAGE_STATE_SENT
    assert [a.outcome for a in message.attempts] == ["deferred", "sent"]
    assert len(mailbox.mails) == 1


def test_after_the_last_try_it_is_failed(send, run_due, get, mailbox):
    mailbox.fault = "defer"
    sent = send()
    for _ in range(4):
        run_due()
    message = get(sent.message_id)
    assert (message.state, message.failure_code) == (pb.MESSAGE_STATE_FAILED, "NOT_HANDED_OVER")
    assert [a.outcome for a in message.attempts] == ["deferred"] * 3


def test_a_drop_after_the_final_dot_is_unknown_and_never_sent_again(send, run_due, get, mailbox, stub):
    mailbox.fault = "drop_after_data"
    sent = send(purpose_key="action:8")
    run_due()
    assert get(sent.message_id).state == pb.MESSAGE_STATE_UNKNOWN
    mailbox.fault = ""
    for _ in range(3):
        run_due()
    assert len(mailbox.mails) == 1
    # Nor may somebody send it anew before a person has decided.
    assert send(sent.account_id, purpose_key="action:8").message_id == sent.message_id
    resolved = stub.ResolveMessage(
        pb.ResolveMessageRequest(message_id=sent.message_id, sent=False, comment="asked Maja"), timeout=10
    )
    assert resolved.message.state == pb.MESSAGE_STATE_FAILED
    with refused(Code.FAILED_PRECONDITION, "MESSAGE_NOT_UNKNOWN"):
        stub.ResolveMessage(pb.ResolveMessageRequest(message_id=sent.message_id, sent=True, comment="x"), timeout=10)
    assert send(sent.account_id, purpose_key="action:8").message_id != sent.message_id


def test_a_person_may_say_that_it_left(send, run_due, mailbox, stub):
    mailbox.fault = "drop_after_data"
    sent = send()
    run_due()
    request = pb.ResolveMessageRequest(message_id=sent.message_id, sent=True, comment="in the journal")
    message = stub.ResolveMessage(request, timeout=10).message
    assert message.state == pb.MESSAGE_STATE_SENT
    assert message.attempts[-1].detail == "Test User: in the journal"


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, not even error handling."""


def kill_and_expire(database, tenant, message_id, monkeypatch, where):
    """Runs the message's job until the given point, where the process dies; then its lease runs out."""

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*where, die)
        with pytest.raises(Killed):
            jobs.run(Runtime(database.settings, database), JOBS, tenant, job_of(database, message_id))
    with database.transaction() as session:
        session.execute(text("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'RUNNING'"))


def job_of(database, message_id) -> str:
    with database.transaction() as session:
        query = text("SELECT id FROM job WHERE payload ->> 'message_id' = :id ORDER BY made_at DESC LIMIT 1")
        return str(session.execute(query, {"id": message_id}).scalar_one())


def test_killed_before_anything_was_offered_it_leaves_once(
    send, run_due, get, mailbox, database, tenant, monkeypatch, neighbours
):
    sent = send()
    kill_and_expire(database, tenant, sent.message_id, monkeypatch, (mail, "_connect"))
    assert get(sent.message_id).state == pb.MESSAGE_STATE_SENDING
    url = neighbours.portal.links[sent.message_id].url
    run_due()
    message = get(sent.message_id)
    assert message.state == pb.MESSAGE_STATE_SENT
    assert len(mailbox.mails) == 1
    assert len(neighbours.portal.links) == 1
    assert message.portal_link == url


def test_killed_before_sending_was_committed_it_leaves_once_with_the_same_link(
    send, run_due, get, mailbox, database, tenant, monkeypatch, neighbours
):
    sent = send()
    kill_and_expire(database, tenant, sent.message_id, monkeypatch, (Desk, "_claim"))
    assert get(sent.message_id).state == pb.MESSAGE_STATE_QUEUED
    run_due()
    assert get(sent.message_id).state == pb.MESSAGE_STATE_SENT
    assert len(mailbox.mails) == len(neighbours.portal.links) == 1


def test_killed_after_data_began_it_is_unknown(send, run_due, get, mailbox, database, tenant, monkeypatch):
    sent = send()
    kill_and_expire(database, tenant, sent.message_id, monkeypatch, (Desk, "_record"))
    assert len(mailbox.mails) == 1
    run_due()
    assert get(sent.message_id).state == pb.MESSAGE_STATE_UNKNOWN
    run_due()
    assert len(mailbox.mails) == 1


def test_two_workers_at_once_send_once(send, database, tenant, mailbox, get):
    messages = [send() for _ in range(3)]
    gate = threading.Barrier(6)

    def work(message_id):
        gate.wait()
        with acting_as(service_caller(tenant, "notification")):
            Desk(database, database.settings).deliver(message_id)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [m.message_id for m in messages for _ in range(2)]))
    assert len(mailbox.mails) == 3
    assert len({parsed(content)["Message-ID"] for _, content in mailbox.mails}) == 3
    assert {get(m.message_id).state for m in messages} == {pb.MESSAGE_STATE_SENT}


def test_a_worker_taken_for_dead_does_not_offer_what_another_one_sends(send, database, tenant, mailbox, get):
    """A slow worker is before DATA when a second one takes the message over: only the second one sends."""
    sent = send()
    desk = Desk(database, database.settings)
    with acting_as(service_caller(tenant, "notification")):
        assert desk._may_start(sent.message_id)
        number, content, addresses = desk._prepare(sent.message_id)
        desk.deliver(sent.message_id)
        outcome = mail.hand_over(
            database.settings, content, addresses, lambda: desk._enter_data(sent.message_id, number)
        )
        desk._record(sent.message_id, number, outcome)
    assert outcome.kind == mail.OVERTAKEN
    assert len(mailbox.mails) == 1
    message = get(sent.message_id)
    assert message.state == pb.MESSAGE_STATE_SENT
    assert [a.outcome for a in message.attempts] == ["deferred", "sent"]


def test_the_answer_of_the_server_is_better_than_a_guess(send, database, tenant, mailbox, get):
    """A worker is in DATA when another one takes it for dead and says UNKNOWN; then the 250 arrives after all."""
    sent = send()
    desk = Desk(database, database.settings)
    with acting_as(service_caller(tenant, "notification")):
        assert desk._may_start(sent.message_id)
        number, content, addresses = desk._prepare(sent.message_id)

        def meanwhile():
            assert desk._enter_data(sent.message_id, number)
            assert not desk._may_start(sent.message_id)
            return True

        outcome = mail.hand_over(database.settings, content, addresses, meanwhile)
        assert get(sent.message_id).state == pb.MESSAGE_STATE_UNKNOWN
        desk._record(sent.message_id, number, outcome)
    assert get(sent.message_id).state == pb.MESSAGE_STATE_SENT


def test_a_ledger_that_is_away_only_delays(send, run_due, get, mailbox, neighbours):
    sent = send()
    neighbours.ledger.down = True
    run_due()
    assert get(sent.message_id).state == pb.MESSAGE_STATE_QUEUED
    assert mailbox.mails == []
    neighbours.ledger.down = False
    run_due()
    assert get(sent.message_id).state == pb.MESSAGE_STATE_SENT


def test_header_injection_by_a_name_is_one_line(send, run_due, mailbox, neighbours, items):
    account = neighbours.ledger.account(
        items,
        name="Evil\r\nBcc: spy@evil.example",
        contacts=[("Maja\r\nX-Evil: 1", "maja@norrland.example", "en", True)],
    )
    send(account)
    run_due()
    [(recipients, content)] = mailbox.mails
    received = parsed(content)
    assert recipients == ["maja@norrland.example"]
    assert received["Bcc"] is None
    assert received["X-Evil"] is None
    assert received["Subject"].startswith("Evil Bcc: spy@evil.example: ")


def test_message_ids_never_repeat_and_rows_keep_the_phase(send, run_due, database):
    sent = send()
    run_due()
    with database.transaction() as session:
        row = store.message(session, sent.message_id)
        assert (row.state, row.phase, row.attempt_number) == ("SENT", "DATA", 1)
        assert row.body_sha256 != b""
