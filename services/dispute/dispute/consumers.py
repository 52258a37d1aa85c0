"""What the ledger says. The handler runs inside the inbox's transaction, with the tenant set."""

from collections import Counter
from typing import cast

import pyarrow as pa
from sqlalchemy.orm import Session

from dispute import store, usecases
from dispute.config import Settings
from kit import bulk, clock
from kit.db import database_of
from kit.inbox import Handlers
from quittance.common.v1.event_log_service_pb2 import Envelope
from quittance.ledger.v1 import ledger_events_pb2 as ledger_pb

# An account with so many items in one event may have more in the next: only the daily look sees them all.
ITEMS_PER_PART = 2000

_ACCOUNT = pa.schema(
    [
        ("account_id", pa.string()), ("version", pa.int64()), ("entity_code", pa.string()), ("number", pa.string()),
        ("name", pa.string()), ("master_account_id", pa.string()), ("merged_into_id", pa.string()),
    ]
)  # fmt: skip
# Columns that events said before they had them do not carry.
_LATER = ("master_account_id", "merged_into_id")
_ITEM = pa.schema(
    [
        ("account_id", pa.string()), ("item_id", pa.string()), ("number", pa.string()), ("currency", pa.string()),
        ("open_minor", pa.int64()),
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


def on_accounts_changed(session: Session, event: ledger_pb.AccountsChanged, envelope: Envelope) -> None:
    """Keeps names and open amounts, and closes the cases that have nothing left to do."""
    items = _table(event.open_items, _ITEM)
    touched = store.apply_accounts(session, _table(event.accounts, _ACCOUNT), items)
    rows_by_account = Counter(items.column("account_id").to_pylist())
    whole = [i for i in touched if not event.part and rows_by_account[i] < ITEMS_PER_PART]
    case_ids = store.live_cases(session, whole)
    if case_ids:
        settings = cast(Settings, database_of(session).settings)
        usecases.follow(session, case_ids, settings, clock.business_today())


HANDLERS: Handlers = {("ledger", "quittance.ledger.v1.AccountsChanged"): on_accounts_changed}
