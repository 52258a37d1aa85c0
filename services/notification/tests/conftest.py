"""Fixtures of notification: a real PostgreSQL, a real SMTP server that can misbehave, neighbours as real gRPC fakes."""

import socket
import threading
from concurrent import futures
from datetime import date, timedelta
from types import SimpleNamespace

import grpc
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from sqlalchemy import text

from kit import grpc_client, jobs
from kit.context import acting_as
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money, to_proto
from kit.service import Runtime
from kit.testing import caller_of
from notification.__main__ import DEFINITION
from notification.tasks import JOBS
from quittance.ledger.v1 import account_pb2, item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as ledger_grpc
from quittance.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from quittance.portal.v1 import portal_service_pb2 as portal_pb
from quittance.portal.v1 import portal_service_pb2_grpc as portal_grpc

pytest_plugins = ["kit.testing"]

TODAY = date(2026, 9, 15)


class FakeLedger(ledger_grpc.LedgerServiceServicer):
    """Answers LookAgain from what the test put in; speaks the real protocol."""

    def __init__(self):
        self.answers: dict[str, ledger_pb.LookAgainResponse] = {}
        self.before_answer = lambda: None
        self.down = False

    def LookAgain(self, request, context):
        self.before_answer()
        if self.down:
            Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "the ledger is away").abort(context)
        answer = self.answers.get(request.account_id)
        if answer is None:
            Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "no such account").abort(context)
        return answer

    def account(self, items=(), **fields) -> str:
        account_id = new_id()
        contacts = fields.pop("contacts", [("Maja Lindgren", "maja@norrland.example", "en", True)])
        account = account_pb2.Account(
            account_id=account_id,
            entity_code=fields.pop("entity_code", "FR01"),
            number="C-10482",
            name=fields.pop("name", "Norrland Papper AB"),
            collector="ines.caradec@brindle.example",
            contacts=[
                account_pb2.Contact(
                    contact_id=new_id(),
                    account_id=account_id,
                    name=name,
                    email=email,
                    language=language,
                    valid=valid,
                    role=account_pb2.CONTACT_ROLE_ACCOUNTS_PAYABLE,
                )
                for name, email, language, valid in contacts
            ],
        )
        entity = account_pb2.Entity(
            code=account.entity_code, name="Brindle France", country="FR", currency="EUR", language="fr"
        )
        self.answers[account_id] = ledger_pb.LookAgainResponse(account=account, entity=entity, items=items)
        return account_id

    def set_items(self, account_id, items):
        del self.answers[account_id].items[:]
        self.answers[account_id].items.extend(items)


class FakePortal(portal_grpc.PortalServiceServicer):
    """Gives one link per request id, again and again."""

    def __init__(self):
        self.links: dict[str, portal_pb.CreateLinkResponse] = {}

    def CreateLink(self, request, context):
        if request.request_id not in self.links:
            link = portal_pb.Link(link_id=new_id(), account_id=request.account_id, contact_id=request.contact_id)
            url = f"http://portal.example/l/token-{len(self.links)}-{new_id()}"
            self.links[request.request_id] = portal_pb.CreateLinkResponse(link=link, url=url)
        return self.links[request.request_id]


def make_item(number, minor=1_000_000, held=0, late=30, currency="EUR", hold=item_pb2.HOLD_KIND_DISPUTE):
    """An open item as the ledger would tell it."""
    item_id = new_id()
    holds = [item_pb2.Hold(item_id=item_id, kind=hold, state=item_pb2.HOLD_STATE_ACTIVE)] if held else []
    return item_pb2.Item(
        item_id=item_id,
        number=number,
        kind=item_pb2.ITEM_KIND_INVOICE,
        state=item_pb2.ITEM_STATE_OPEN,
        due_on=(TODAY - timedelta(days=late)).isoformat(),
        days_late=late,
        open=to_proto(Money(currency, minor)),
        held=to_proto(Money(currency, held)),
        collectable=to_proto(Money(currency, minor - held)),
        holds=holds,
    )


@pytest.fixture
def neighbours(monkeypatch):
    """A ledger and a portal on real sockets; .ledger and .portal are the fakes."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    ledger, portal = FakeLedger(), FakePortal()
    ledger_grpc.add_LedgerServiceServicer_to_server(ledger, server)
    portal_grpc.add_PortalServiceServicer_to_server(portal, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    for peer in ("LEDGER", "PORTAL"):
        monkeypatch.setenv(f"QUITTANCE_{peer}_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setenv("QUITTANCE_TODAY", TODAY.isoformat())
    yield SimpleNamespace(ledger=ledger, portal=portal)
    server.stop(0).wait()
    # The next test may get the same port; a channel kept for it would still remember that nobody listened.
    grpc_client.close_all()


class Mailbox:
    """The handler of a real SMTP server. fault: refuse, defer, refuse_data, drop_after_data, hang_up."""

    def __init__(self):
        self.mails: list[tuple[list[str], bytes]] = []
        self.fault = ""
        self.before_data_answer = lambda: None
        self.lock = threading.Lock()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.fault == "refuse":
            return "550 5.1.1 no such mailbox"
        if self.fault == "defer":
            return "451 4.7.1 later please"
        if self.fault == "hang_up":
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        with self.lock:
            if self.fault == "refuse_data":
                return "554 5.6.0 not this text"
            self.mails.append((list(envelope.rcpt_tos), envelope.content))
            self.before_data_answer()
            if self.fault == "drop_after_data":
                server.transport.abort()
        return "250 2.0.0 accepted"


class _Server(Controller):
    def factory(self):
        return SMTP(self.handler, hostname="mail.example", enable_SMTPUTF8=True)


@pytest.fixture
def mailbox():
    """A running mail server; .mails are what it took, .port where it listens."""
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = _Server(box, hostname="127.0.0.1", port=port)
    controller.start()
    box.port = port
    yield box
    controller.stop()


@pytest.fixture
def database(make_database, acting, neighbours, mailbox):
    return make_database(
        "notification",
        smtp_host="127.0.0.1",
        smtp_port=mailbox.port,
        smtp_timeout_s=3.0,
        mail_retry_delays_s=(0.0, 0.0),
        mail_sink_url="http://sink.example",
        redis_url="",
    )


@pytest.fixture
def open_stub(database, grpc_in_process, tenant):
    """open_stub(caller) -> stub of this service as that caller."""

    def make(caller=None):
        return NotificationServiceStub(grpc_in_process(DEFINITION, database, caller or caller_of(tenant)))

    return make


@pytest.fixture
def stub(open_stub):
    return open_stub()


@pytest.fixture
def run_due(database, tenant):
    """run_due() does every job that is due, once; gives what became of each."""

    def run() -> list[str]:
        with acting_as(caller_of(tenant)), database.transaction() as session:
            ids = (
                session.execute(text("SELECT id FROM job WHERE state IN ('QUEUED', 'RUNNING') ORDER BY made_at"))
                .scalars()
                .all()
            )
        return [jobs.run(Runtime(database.settings, database), JOBS, tenant, str(job_id)) for job_id in ids]

    return run


@pytest.fixture
def items():
    return [
        make_item("FA-260588", 1_000_000, late=34),
        make_item("FA-260597", 1_000_000, held=500_000, late=28),
        make_item("FA-260640", late=-13),
    ]


@pytest.fixture
def new_item():
    """make_item, for tests that change the ledger."""
    return make_item
