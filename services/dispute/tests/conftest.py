"""Fixtures: real PostgreSQL and in-process gRPC from the kit, and a ledger that speaks the real protocol."""

from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import date

import grpc
import pyarrow as pa
import pytest

from kit import bulk
from kit.db import Database
from kit.errors import Refused
from kit.ids import new_id
from quittance.common.v1 import event_log_service_pb2 as event_log_pb
from quittance.common.v1 import event_log_service_pb2_grpc as event_log_grpc
from quittance.ledger.v1 import item_pb2, ledger_events_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as ledger_grpc

pytest_plugins = ["kit.testing"]

TODAY = date(2026, 3, 5)


@pytest.fixture(autouse=True)
def business_date(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    """The business date is 5 March 2026 (a Thursday) until a test sets another."""

    def set_to(day: date) -> None:
        monkeypatch.setenv("QUITTANCE_TODAY", day.isoformat())

    set_to(TODAY)
    return set_to


@pytest.fixture
def database(make_database: Callable[..., Database]) -> Database:
    """A fresh database of the service."""
    return make_database("dispute", redis_url="", freshness_timeout_s=0.5)


@pytest.fixture
def said() -> Callable[..., ledger_events_pb2.AccountsChanged]:
    """said(account_id, version, {item_id: open_minor}, part=0, **account): what the ledger would say."""

    def make(account_id: str, version: int, opens: dict[str, int], part: int = 0, **values):
        head = {
            "account_id": account_id, "version": version, "entity_code": "FR01", "entity_currency": "EUR",
            "number": "C-100", "name": "Sample Customer", **values,
        }  # fmt: skip
        items = {
            "account_id": [account_id] * len(opens),
            "item_id": list(opens),
            "number": [f"FA-{item_id[-4:]}" for item_id in opens],
            "kind": ["INVOICE"] * len(opens),
            "currency": ["EUR"] * len(opens),
            "open_minor": pa.array(opens.values(), pa.int64()),
        }
        strings = ("account_id", "item_id", "number", "kind", "currency")
        table = pa.table(items).cast(
            pa.schema([(name, pa.string() if name in strings else pa.int64()) for name in items])
        )
        return ledger_events_pb2.AccountsChanged(
            accounts=bulk.to_ipc(pa.Table.from_pylist([head])), open_items=bulk.to_ipc(table), part=part
        )

    return make


class FakeEventLog(event_log_grpc.EventLogServiceServicer):
    """Says that everything has been seen."""

    def GetPosition(self, request, context):
        return event_log_pb.GetPositionResponse(number=0)


class FakeLedger(ledger_grpc.LedgerServiceServicer):
    """Keeps holds by (source id, item) as the ledger does, or refuses them with .refusal."""

    def __init__(self) -> None:
        self.placed: list[ledger_pb.PlaceHoldsRequest] = []
        self.released: list[ledger_pb.ReleaseHoldsRequest] = []
        self.held: dict[tuple[str, str], int] = {}
        self.refusal: Refused | None = None

    def PlaceHolds(self, request, context):
        self.placed.append(request)
        if self.refusal is not None:
            self.refusal.abort(context)
        holds = []
        for order in request.holds:
            amount = order.amount if order.HasField("amount") else {"currency": "EUR", "minor_units": 80_00}
            hold = item_pb2.Hold(hold_id=new_id(), item_id=order.item_id, kind=order.kind, amount=amount)
            self.held[request.source_id, order.item_id] = hold.amount.minor_units
            holds.append(hold)
        return ledger_pb.PlaceHoldsResponse(holds=holds, account_version=9)

    def ReleaseHolds(self, request, context):
        self.released.append(request)
        if self.refusal is not None:
            self.refusal.abort(context)
        for source in request.sources:
            for key in [key for key in self.held if key[0] == source.source_id]:
                if not source.item_ids or key[1] in source.item_ids:
                    del self.held[key]
        return ledger_pb.ReleaseHoldsResponse()


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLedger]:
    """A real gRPC server in the place of the ledger."""
    servicer = FakeLedger()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    ledger_grpc.add_LedgerServiceServicer_to_server(servicer, server)
    event_log_grpc.add_EventLogServiceServicer_to_server(FakeEventLog(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("QUITTANCE_LEDGER_ADDRESS", f"127.0.0.1:{port}")
    yield servicer
    server.stop(0)
