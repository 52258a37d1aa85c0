"""Fixtures of portal: a real PostgreSQL, and neighbours that speak the real protocol."""

import threading
from concurrent import futures
from datetime import date, timedelta
from types import SimpleNamespace

import grpc
import pytest
from sqlalchemy import text

from kit import grpc_client, jobs
from kit.context import acting_as, service_caller
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money, to_proto
from kit.service import Runtime
from kit.testing import caller_of
from portal.__main__ import DEFINITION
from portal.tasks import JOBS
from portal.usecases import Counter
from portal.web import create_app
from quittance.dispute.v1 import dispute_service_pb2 as dispute_pb
from quittance.dispute.v1 import dispute_service_pb2_grpc as dispute_grpc
from quittance.ledger.v1 import account_pb2, item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as ledger_grpc
from quittance.portal.v1.portal_service_pb2_grpc import PortalServiceStub
from quittance.scenario.v1 import scenario_service_pb2 as scenario_pb
from quittance.scenario.v1 import scenario_service_pb2_grpc as scenario_grpc

pytest_plugins = ["kit.testing"]

TODAY = date(2026, 9, 15)


class FakeLedger(ledger_grpc.LedgerServiceServicer):
    """Accounts, items and holds; a repeated request is answered without a second effect."""

    def __init__(self):
        self.accounts: dict[str, ledger_pb.LookAgainResponse] = {}
        self.holds: dict[tuple, item_pb2.Hold] = {}
        self.requests: dict[str, bytes] = {}
        self.placed: list[ledger_pb.PlaceHoldsRequest] = []
        self.refuse: Refused | None = None
        self.look_refuses: Refused | None = None
        self.lock = threading.Lock()

    def account(self, items=(), **fields) -> str:
        account_id = new_id()
        contact = account_pb2.Contact(
            contact_id=new_id(), name="Maja Lindgren", email="maja@norrland.example", valid=True
        )
        self.accounts[account_id] = ledger_pb.LookAgainResponse(
            account=account_pb2.Account(
                account_id=account_id,
                entity_code=fields.pop("entity_code", "FR01"),
                number="C-10482",
                name=fields.pop("name", "Norrland Papper AB"),
                collector="ines.caradec@brindle.example",
                contacts=[contact],
            ),
            entity=account_pb2.Entity(code="FR01", name="Brindle France", language="fr"),
            items=items,
        )
        return account_id

    def LookAgain(self, request, context):
        if self.look_refuses:
            self.look_refuses.abort(context)
        if request.account_id not in self.accounts:
            Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "no such account").abort(context)
        answer = ledger_pb.LookAgainResponse()
        answer.CopyFrom(self.accounts[request.account_id])
        for item in answer.items:
            holds = [hold for hold in self.holds.values() if hold.item_id == item.item_id]
            item.holds.extend(holds)
            item.held.CopyFrom(to_proto(Money(item.open.currency, sum(h.amount.minor_units for h in holds))))
            item.collectable.CopyFrom(
                to_proto(Money(item.open.currency, max(item.open.minor_units - item.held.minor_units, 0)))
            )
        return answer

    def PlaceHolds(self, request, context):
        with self.lock:
            if self.refuse:
                self.refuse.abort(context)
            content = request.SerializeToString(deterministic=True)
            if request.request_id in self.requests:
                if self.requests[request.request_id] != content:
                    Refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "other content").abort(context)
                return ledger_pb.PlaceHoldsResponse()
            self.requests[request.request_id] = content
            self.placed.append(request)
            self._end(request.ends)
            for order in request.holds:
                self.holds[request.source, request.source_id, order.item_id, order.kind] = item_pb2.Hold(
                    item_id=order.item_id,
                    kind=order.kind,
                    amount=order.amount,
                    until_on=order.until_on,
                    state=item_pb2.HOLD_STATE_ACTIVE,
                    source=request.source,
                    source_id=request.source_id,
                )
        return ledger_pb.PlaceHoldsResponse()

    def ReleaseHolds(self, request, context):
        with self.lock:
            if self.refuse:
                self.refuse.abort(context)
            self._end(request.sources)
        return ledger_pb.ReleaseHoldsResponse()

    def _end(self, sources):
        for source in sources:
            for key in [key for key in self.holds if key[:2] == (source.source, source.source_id)]:
                del self.holds[key]

    def kinds(self) -> list[str]:
        return sorted(item_pb2.HoldKind.Name(hold.kind).removeprefix("HOLD_KIND_") for hold in self.holds.values())


class FakeScenario(scenario_grpc.ScenarioServiceServicer):
    def __init__(self):
        self.requests: dict[str, scenario_pb.CreatePromiseRequest] = {}
        self.ids: dict[str, str] = {}
        self.refuse: Refused | None = None

    def CreatePromise(self, request, context):
        if self.refuse:
            self.refuse.abort(context)
        if self.requests.setdefault(request.request_id, request) != request:
            Refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "other content").abort(context)
        promise_id = self.ids.setdefault(request.request_id, new_id())
        answer = scenario_pb.CreatePromiseResponse()
        answer.promise.promise_id = promise_id
        return answer


class FakeDispute(dispute_grpc.DisputeServiceServicer):
    def __init__(self):
        self.requests: dict[str, dispute_pb.OpenCaseRequest] = {}
        self.ids: dict[str, str] = {}
        self.refuse: Refused | None = None

    def OpenCase(self, request, context):
        if self.refuse:
            self.refuse.abort(context)
        if self.requests.setdefault(request.request_id, request) != request:
            Refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "other content").abort(context)
        answer = dispute_pb.OpenCaseResponse()
        answer.case.case_id = self.ids.setdefault(request.request_id, new_id())
        return answer


def make_item(number, minor=1_000_000, late=34, currency="EUR", order=""):
    """An open item as the ledger would tell it."""
    return item_pb2.Item(
        item_id=new_id(),
        number=number,
        kind=item_pb2.ITEM_KIND_INVOICE,
        state=item_pb2.ITEM_STATE_OPEN,
        order_number=order,
        due_on=(TODAY - timedelta(days=late)).isoformat(),
        days_late=late,
        open=to_proto(Money(currency, minor)),
        collectable=to_proto(Money(currency, max(minor, 0))),
    )


@pytest.fixture
def neighbours(monkeypatch):
    """Ledger, scenario and dispute on a real socket."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    ledger, scenario, dispute = FakeLedger(), FakeScenario(), FakeDispute()
    ledger_grpc.add_LedgerServiceServicer_to_server(ledger, server)
    scenario_grpc.add_ScenarioServiceServicer_to_server(scenario, server)
    dispute_grpc.add_DisputeServiceServicer_to_server(dispute, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    for peer in ("LEDGER", "SCENARIO", "DISPUTE"):
        monkeypatch.setenv(f"QUITTANCE_{peer}_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setenv("QUITTANCE_TODAY", TODAY.isoformat())
    yield SimpleNamespace(ledger=ledger, scenario=scenario, dispute=dispute)
    server.stop(0).wait()
    # The next test may get the same port; a channel kept for it would still remember that nobody listened.
    grpc_client.close_all()


@pytest.fixture
def ledger(neighbours):
    return neighbours.ledger


@pytest.fixture
def database(make_database, acting, neighbours):
    return make_database(
        "portal",
        portal_url="http://portal.example",
        redis_url="",
        pages_per_minute=10_000,
        wrong_links_per_minute=10_000,
    )


@pytest.fixture
def counter(database):
    return Counter(database, database.settings)


@pytest.fixture
def open_stub(database, grpc_in_process, tenant):
    """open_stub(caller) -> stub of this service as that caller."""

    def make(caller=None):
        return PortalServiceStub(grpc_in_process(DEFINITION, database, caller or caller_of(tenant)))

    return make


@pytest.fixture
def stub(open_stub):
    return open_stub()


@pytest.fixture
def items():
    return [
        make_item("FA-260588", 4_218_000, 34, order="4500-7781"),
        make_item("FA-260597", 1_835_000, 28),
        make_item("FA-260640", 1_824_400, -13),
    ]


@pytest.fixture
def new_item():
    return make_item


@pytest.fixture
def account(ledger, items):
    return ledger.account(items)


@pytest.fixture
def app(database):
    app = create_app(database.settings, database)
    app.testing = False
    return app


@pytest.fixture
def browser(app):
    """A customer's browser; it brings no caller of its own."""
    return app.test_client()


@pytest.fixture
def run_due(database, tenant):
    """run_due() does every job at once, due or not; gives what became of each."""

    def run() -> list[str]:
        with acting_as(service_caller(tenant, "portal")), database.transaction() as session:
            session.execute(text("UPDATE job SET run_after = now() WHERE state = 'QUEUED'"))
            ids = (
                session.execute(text("SELECT id FROM job WHERE state IN ('QUEUED', 'RUNNING') ORDER BY made_at"))
                .scalars()
                .all()
            )
        return [jobs.run(Runtime(database.settings, database), JOBS, tenant, str(job_id)) for job_id in ids]

    return run
