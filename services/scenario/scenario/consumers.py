"""What other services say. Each handler runs inside the inbox's transaction, with the tenant set."""

from collections import Counter
from datetime import date, timedelta
from typing import cast

import pyarrow as pa
from sqlalchemy.orm import Session

from kit import bulk, clock
from kit.db import database_of
from kit.inbox import Handlers
from kit.jobs import enqueue
from quittance.common.v1.event_log_service_pb2 import Envelope
from quittance.ledger.v1 import ledger_events_pb2 as ledger_pb
from quittance.notification.v1 import notification_events_pb2 as notification_pb
from quittance.notification.v1 import notification_service_pb2 as message_pb
from scenario import store, usecases
from scenario.config import Settings
from scenario.domain.model import Policy

# The columns taken of each table; the event carries more.
_ACCOUNT = pa.schema(
    [
        ("account_id", pa.string()), ("version", pa.int64()), ("entity_code", pa.string()),
        ("entity_currency", pa.string()), ("entity_country", pa.string()), ("number", pa.string()),
        ("name", pa.string()), ("collector", pa.string()), ("master_account_id", pa.string()),
        ("merged_into_id", pa.string()),
    ]
)  # fmt: skip
# Columns that events said before they had them do not carry.
_LATER = ("master_account_id", "merged_into_id")
_ITEM = pa.schema(
    [
        ("account_id", pa.string()), ("item_id", pa.string()), ("number", pa.string()), ("kind", pa.string()),
        ("currency", pa.string()), ("issue_on", pa.date32()), ("due_on", pa.date32()), ("open_minor", pa.int64()),
    ]
)  # fmt: skip
_HOLD = pa.schema(
    [
        ("account_id", pa.string()), ("item_id", pa.string()), ("hold_id", pa.string()), ("kind", pa.string()),
        ("amount_minor", pa.int64()), ("from_on", pa.date32()), ("until_on", pa.date32()), ("source", pa.string()),
        ("source_id", pa.string()),
    ]
)  # fmt: skip


def _table(data: bytes, schema: pa.Schema) -> pa.Table:
    """The wanted columns of an Arrow stream; no bytes mean no rows. Raises KeyError when a column is missing."""
    if not data:
        return schema.empty_table()
    table = bulk.from_ipc(data)
    for name in set(_LATER) & set(schema.names) - set(table.column_names):
        table = table.append_column(name, pa.array([""] * table.num_rows, pa.string()))
    return table.select(schema.names).cast(schema)


def _policy(session: Session) -> Policy:
    return usecases.policy_of(cast(Settings, database_of(session).settings))


def on_accounts_changed(session: Session, event: ledger_pb.AccountsChanged, envelope: Envelope) -> None:
    """Keeps the accounts with their open items and holds, judges their promises, and plans anew."""
    items = _table(event.open_items, _ITEM)
    accounts = _table(event.accounts, _ACCOUNT)
    former = store.masters_of(session, accounts.column("account_id").to_pylist())
    touched = store.apply_accounts(session, accounts, items, _table(event.holds, _HOLD))
    today, policy = clock.business_today(), _policy(session)
    rows_by_account = Counter(items.column("account_id").to_pylist()) if event.part or items.num_rows else Counter()
    # The items of a very large account come in several events: only the sweep sees them all.
    whole = [i for i in touched if not event.part and rows_by_account[i] < usecases.ITEMS_PER_PART]
    usecases.evaluate_promises(session, whole, today)
    masters = sorted({*former, *store.masters_of(session, touched)} - set(touched))
    if masters:
        store.lock_accounts(session, masters)
    usecases.replan(session, [*touched, *masters], today, policy)


def on_entity_changed(session: Session, event: ledger_pb.EntityChanged, envelope: Envelope) -> None:
    """Keeps an entity's small-amount rules; where they changed, its accounts are decided about at once."""
    entity = event.entity
    minimum = entity.min_account_amount.minor_units if entity.HasField("min_account_amount") else None
    below = entity.ignore_item_below.minor_units
    if store.keep_entity_rule(session, entity.code, entity.version, below, minimum):
        enqueue(session, "scenario.replan", {}, dedup_key=f"{entity.code}:{entity.version}")


def on_message_changed(session: Session, event: notification_pb.MessageChanged, envelope: Envelope) -> None:
    """A confirmed message completes its step; one that failed, came back or is in doubt asks for a person."""
    message, today = event.message, clock.business_today()
    sent_on = None
    if message.HasField("sent_at"):
        sent_on = _business_day_of(message.sent_at.ToDatetime().date(), today)
    usecases.apply_message(
        session,
        message.message_id,
        message.version,
        message.account_id,
        message.action_id,
        message_pb.MessageState.Name(message.state).removeprefix("MESSAGE_STATE_"),
        sent_on,
        message.failure or message.failure_code,
        today,
        _policy(session),
    )


def _business_day_of(sent_on: date, today: date) -> date:
    """The business date of something that happened so many days of the clock ago; they differ in a rehearsal."""
    return today - max(clock.utc_now().date() - sent_on, timedelta(0))


HANDLERS: Handlers = {
    ("ledger", "quittance.ledger.v1.AccountsChanged"): on_accounts_changed,
    ("ledger", "quittance.ledger.v1.EntityChanged"): on_entity_changed,
    ("notification", "quittance.notification.v1.MessageChanged"): on_message_changed,
}
