"""What the ledger says, kept as open amounts per account; units with a limit are said anew when they changed."""

from typing import Any

from sqlalchemy.orm import Session

from credit_risk import store, usecases
from credit_risk.rpc import credit_to_proto
from kit import bulk
from kit.clock import business_today
from quittance.common.v1.event_log_service_pb2 import Envelope
from quittance.ledger.v1 import ledger_events_pb2


def on_accounts_changed(session: Session, event: ledger_events_pb2.AccountsChanged, envelope: Envelope) -> None:
    """Keeps accounts and what is open on them."""
    units = store.keep_accounts(session, bulk.from_ipc(event.accounts), bulk.from_ipc(event.open_items), event.part)
    usecases.say_risk(session, store.units_with_limits(session, units), business_today(), credit_to_proto)


def on_orders_changed(session: Session, event: ledger_events_pb2.OrdersChanged, envelope: Envelope) -> None:
    """Keeps the order backlog of accounts."""
    units = store.keep_backlog(session, bulk.from_ipc(event.accounts), bulk.from_ipc(event.orders))
    usecases.say_risk(session, store.units_with_limits(session, units), business_today(), credit_to_proto)


HANDLERS: dict[tuple[str, str], Any] = {
    ("ledger", "quittance.ledger.v1.AccountsChanged"): on_accounts_changed,
    ("ledger", "quittance.ledger.v1.OrdersChanged"): on_orders_changed,
}
