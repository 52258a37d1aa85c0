"""Fixtures: real PostgreSQL and in-process gRPC from the kit, and neighbours that speak the real protocol."""

import json
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import date
from types import SimpleNamespace

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
from quittance.notification.v1 import notification_service_pb2 as notification_pb
from quittance.notification.v1 import notification_service_pb2_grpc as notification_grpc

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
    return make_database("scenario", redis_url="", freshness_timeout_s=0.5)


ACCOUNT_COLUMNS = {
    "account_id": pa.string(), "version": pa.int64(), "entity_id": pa.string(), "entity_code": pa.string(),
    "entity_name": pa.string(), "entity_currency": pa.string(), "entity_country": pa.string(),
    "entity_language": pa.string(), "number": pa.string(), "name": pa.string(), "country": pa.string(),
    "language": pa.string(), "payment_terms": pa.string(), "legal_unit_id": pa.string(),
    "legal_unit_name": pa.string(), "registration_number": pa.string(), "parent_number": pa.string(),
    "groups": pa.string(), "collector": pa.string(), "custom_fields": pa.string(),
    "changed_at": pa.timestamp("us", "UTC"), "master_account_id": pa.string(), "merged_into_id": pa.string(),
}  # fmt: skip
ITEM_COLUMNS = {
    "account_id": pa.string(), "item_id": pa.string(), "number": pa.string(), "kind": pa.string(),
    "currency": pa.string(), "issue_on": pa.date32(), "due_on": pa.date32(), "initial_minor": pa.int64(),
    "open_minor": pa.int64(), "held_minor": pa.int64(), "order_number": pa.string(), "version": pa.int64(),
}  # fmt: skip
HOLD_COLUMNS = {
    "account_id": pa.string(), "item_id": pa.string(), "hold_id": pa.string(), "kind": pa.string(),
    "amount_minor": pa.int64(), "from_on": pa.date32(), "until_on": pa.date32(), "review_on": pa.date32(),
    "reason": pa.string(), "source": pa.string(), "source_id": pa.string(),
}  # fmt: skip


def _ipc(columns: dict[str, pa.DataType], rows: list[dict]) -> bytes:
    filled = [
        {name: row.get(name, "" if kind == pa.string() else None) for name, kind in columns.items()} for row in rows
    ]
    return bulk.to_ipc(pa.Table.from_pylist(filled, schema=pa.schema(list(columns.items()))))


@pytest.fixture
def said() -> Callable[..., ledger_events_pb2.AccountsChanged]:
    """said(account_id, version, items=[...], holds=[...], part=0, **account): what the ledger would say."""

    def make(account_id: str, version: int, items=(), holds=(), part: int = 0, **account):
        return many([(account_id, version, items, holds, account)], part)

    def many(accounts, part: int = 0) -> ledger_events_pb2.AccountsChanged:
        heads, all_items, all_holds = [], [], []
        for account_id, version, items, holds, values in accounts:
            heads.append(
                {
                    "account_id": account_id, "version": version, "entity_code": "FR01", "entity_currency": "EUR",
                    "entity_country": "FR", "number": "C-100", "name": "Sample Customer", "groups": json.dumps([]),
                    "collector": "collector@example.com", **values,
                }
            )  # fmt: skip
            for item in items:
                all_items.append(
                    {
                        "account_id": account_id, "kind": "INVOICE", "currency": "EUR", "version": version,
                        "issue_on": date(2026, 1, 31), "due_on": date(2026, 3, 2), "open_minor": 100_00,
                        "number": f"FA-{item['item_id'][-4:]}", **item,
                    }
                )  # fmt: skip
            for hold in holds:
                all_holds.append(
                    {
                        "account_id": account_id, "hold_id": new_id(), "kind": "DISPUTE", "amount_minor": 100_00,
                        "from_on": TODAY, "source": "dispute", "source_id": "case", **hold,
                    }
                )  # fmt: skip
        return ledger_events_pb2.AccountsChanged(
            accounts=_ipc(ACCOUNT_COLUMNS, heads),
            open_items=_ipc(ITEM_COLUMNS, all_items),
            holds=_ipc(HOLD_COLUMNS, all_holds),
            part=part,
        )

    make.many = many
    return make


class FakeEventLog(event_log_grpc.EventLogServiceServicer):
    """Says that everything has been seen."""

    def GetPosition(self, request, context):
        return event_log_pb.GetPositionResponse(number=0)


class FakeLedger(ledger_grpc.LedgerServiceServicer):
    """Takes holds, or refuses them with .refusal."""

    def __init__(self) -> None:
        self.placed: list[ledger_pb.PlaceHoldsRequest] = []
        self.released: list[ledger_pb.ReleaseHoldsRequest] = []
        self.refusal: Refused | None = None

    def PlaceHolds(self, request, context):
        self.placed.append(request)
        if self.refusal is not None:
            self.refusal.abort(context)
        holds = [
            item_pb2.Hold(
                hold_id=new_id(), item_id=order.item_id, account_id=request.account_id, kind=order.kind,
                amount=order.amount if order.HasField("amount") else {"currency": "EUR", "minor_units": 100_00},
            )
            for order in request.holds
        ]  # fmt: skip
        return ledger_pb.PlaceHoldsResponse(holds=holds, account_version=9)

    def ReleaseHolds(self, request, context):
        self.released.append(request)
        return ledger_pb.ReleaseHoldsResponse()


class FakeNotification(notification_grpc.NotificationServiceServicer):
    """Takes messages once per request id, or refuses them with .refusal."""

    def __init__(self) -> None:
        self.sent: list[notification_pb.SendMessageRequest] = []
        self.message_ids: dict[str, str] = {}
        self.refusal: Refused | None = None

    def SendMessage(self, request, context):
        if self.refusal is not None:
            self.refusal.abort(context)
        self.sent.append(request)
        message_id = self.message_ids.setdefault(request.purpose_key, new_id())
        return notification_pb.SendMessageResponse(
            message=notification_pb.Message(message_id=message_id, state="MESSAGE_STATE_QUEUED")
        )


@pytest.fixture
def neighbours(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Real gRPC servers in the place of the ledger and the notification service."""
    found = SimpleNamespace(ledger=FakeLedger(), notification=FakeNotification())
    servers = []
    for name, add, servicer in (
        ("LEDGER", ledger_grpc.add_LedgerServiceServicer_to_server, found.ledger),
        ("NOTIFICATION", notification_grpc.add_NotificationServiceServicer_to_server, found.notification),
    ):
        server = grpc.server(futures.ThreadPoolExecutor(4))
        add(servicer, server)
        event_log_grpc.add_EventLogServiceServicer_to_server(FakeEventLog(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        monkeypatch.setenv(f"QUITTANCE_{name}_ADDRESS", f"127.0.0.1:{port}")
    yield found
    for server in servers:
        server.stop(0)
