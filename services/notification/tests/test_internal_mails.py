"""Mail to our user's own people: once per purpose, never again after it may have reached the server."""

import email
from email import policy

import pytest
from sqlalchemy import text

from kit import jobs
from kit.context import acting_as
from kit.errors import Code
from kit.service import Runtime
from kit.testing import caller_of, refused
from notification import mail
from notification.__main__ import DEFINITION
from notification.tasks import JOBS
from quittance.notification.v1 import internal_mail_service_pb2 as pb
from quittance.notification.v1.internal_mail_service_pb2_grpc import InternalMailServiceStub


@pytest.fixture
def stub(database, grpc_in_process, tenant):
    return InternalMailServiceStub(grpc_in_process(DEFINITION, database, caller_of(tenant)))


@pytest.fixture
def keep(stub):
    def one(purpose="report:1", **fields):
        said = {"email": "importer@brindle.example", "subject": "items.csv was imported", "text": "Rows read: 3\n"}
        request = pb.SendInternalMailRequest(purpose_key=purpose, **{**said, **fields})
        return stub.SendInternalMail(request, timeout=10)

    return one


def states(database, tenant):
    with acting_as(caller_of(tenant)), database.transaction() as session:
        return session.execute(text("SELECT state, attempt_number FROM internal_mail ORDER BY mail_id")).all()


def test_a_purpose_leaves_once_however_often_it_is_asked_for(keep, run_due, mailbox, database, tenant):
    first = keep(text="See https://app.example/imports/1 now <b>\n", language="fr")
    assert keep(text="Something else").mail_id == first.mail_id
    assert run_due() == ["DONE"]
    assert keep().state == "SENT"
    assert run_due() == []
    [(recipients, content)] = mailbox.mails
    assert recipients == ["importer@brindle.example"]
    received = email.message_from_bytes(content, policy=policy.default)
    assert received["From"] == "Quittance <receivables@quittance.example>"
    assert received["Content-Language"] == "fr"
    assert (
        received.get_body(("plain",)).get_content().replace("\r", "") == "See https://app.example/imports/1 now <b>\n"
    )
    shown = received.get_body(("html",)).get_content()
    assert '<a href="https://app.example/imports/1">' in shown
    assert "&lt;b&gt;" in shown


def test_what_was_not_taken_is_tried_again_and_what_may_have_been_is_not(keep, run_due, mailbox, database, tenant):
    mailbox.fault = "defer"
    keep("a")
    assert run_due() == ["DONE"]
    assert states(database, tenant) == [("QUEUED", 1)]
    mailbox.fault = "drop_after_data"
    run_due()
    assert states(database, tenant) == [("UNKNOWN", 2)]
    mailbox.fault = ""
    assert run_due() == []
    assert len(mailbox.mails) == 1


def test_a_worker_killed_while_handing_over_sends_nothing_twice(keep, mailbox, database, tenant, monkeypatch):
    mail_id = keep("b").mail_id
    real = mail.hand_over

    class Killed(BaseException):
        pass

    def killed(*args, **kwargs):
        real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(mail, "hand_over", killed)
    runtime = Runtime(database.settings, database)
    with acting_as(caller_of(tenant)), database.transaction() as session:
        job_id = str(session.execute(text("SELECT id FROM job")).scalar_one())
    with pytest.raises(Killed):
        jobs.run(runtime, JOBS, tenant, job_id)
    monkeypatch.setattr(mail, "hand_over", real)
    from notification.internal_mails import InternalMails

    with acting_as(caller_of(tenant)):
        InternalMails(database, database.settings).deliver(mail_id)
    assert states(database, tenant) == [("UNKNOWN", 1)]
    assert len(mailbox.mails) == 1


def test_an_address_that_could_end_a_header_is_refused(keep):
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        keep(email="a@b.example\nBcc: c@d.example")
    with refused(Code.INVALID_ARGUMENT, "RECIPIENT_WRONG"):
        keep(email="grün@brindle.example")
