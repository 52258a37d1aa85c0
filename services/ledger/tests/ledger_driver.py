"""How tests talk to a ledger: rows as import sends them, calls, and what was said."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from sqlalchemy import text

from kit import bulk, context
from kit.db import Database, psycopg_url
from kit.ids import new_id
from kit.testing import caller_of
from ledger.store import audit as store
from ledger.usecases import audit
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import item_pb2
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_load_service_pb2_grpc as load_grpc
from quittance.ledger.v1 import ledger_service_pb2 as pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as pb_grpc

TODAY = date(2024, 6, 30)
TIMEOUT_S = 30


def item_row(**changes: Any) -> dict[str, Any]:
    """A row of a load: an invoice of 100.00 EUR, due, nothing paid."""
    return {
        "account_number": "000100",
        "account_name": "Northwind SA",
        "number": "F1",
        "kind": "INVOICE",
        "currency": "EUR",
        "issue_on": date(2024, 4, 1),
        "due_on": date(2024, 5, 1),
        "settled_on": None,
        "initial_minor": 10_000,
        "open_minor": 10_000,
        "external_id": None,
        **changes,
    }


_TYPES = {
    **dict.fromkeys(("issue_on", "due_on", "settled_on", "posted_on"), pa.date32()),
    **dict.fromkeys(("initial_minor", "open_minor"), pa.int64()),
    "fiscal_year": pa.int32(),
}


def item_table(*rows: dict[str, Any]) -> pa.Table:
    """Rows as import sends them."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(item_row())
    columns = {"line": pa.array(range(1, len(rows) + 1), pa.int32())}
    for name in names:
        columns[name] = pa.array([row.get(name) for row in rows], _TYPES.get(name, pa.string()))
    return pa.table(columns)


class Ledger:
    """A ledger behind its interceptors, with one entity FR01."""

    def __init__(self, database: Database, channel: Any, tenant: str) -> None:
        self.database = database
        self.tenant = tenant
        self.rpc = pb_grpc.LedgerServiceStub(channel)
        self.loads = load_grpc.LoadServiceStub(channel)

    def call(self, method: str, request: Any) -> Any:
        """One RPC of LedgerService."""
        return getattr(self.rpc, method)(request, timeout=TIMEOUT_S)

    def stream(self, *tables: pa.Table, method: str = "LoadItems", first_chunk: int = 0, **header: Any) -> list[Any]:
        """Sends chunks and returns their progress."""
        message = {"LoadItems": load_pb.LoadItemsRequest, "LoadAccounts": load_pb.LoadAccountsRequest,
                   "LoadContacts": load_pb.LoadContactsRequest}[method]  # fmt: skip
        header = {"load_id": new_id(), "entity_code": "FR01", "file_on": TODAY.isoformat(), **header}
        requests = [message(header=load_pb.LoadHeader(**header))]
        for number, table in enumerate(tables, first_chunk):
            chunk = load_pb.LoadChunk(chunk_number=number, rows=bulk.to_ipc(table))
            requests.append(message(chunk=chunk))
        return [answer.progress for answer in getattr(self.loads, method)(iter(requests), timeout=TIMEOUT_S)]

    def load(self, *rows: dict[str, Any], **header: Any) -> dict[str, int]:
        """Loads rows of items in one chunk and returns the counts that are not zero."""
        (progress,) = self.stream(item_table(*rows), **header)
        return counts(progress)

    def finish(self, load_id: str, **options: Any) -> Any:
        """Ends a load."""
        return self.loads.FinishLoad(load_pb.FinishLoadRequest(load_id=load_id, **options), timeout=TIMEOUT_S)

    def stock(self, *rows: dict[str, Any], file_on: date = TODAY, **options: Any) -> Any:
        """Loads a complete file and ends it."""
        load_id = new_id()
        table = item_table(*rows)
        self.stream(*([table] if rows else []), load_id=load_id, mode=load_pb.LOAD_MODE_STOCK, file_on=str(file_on))
        return self.finish(load_id, **options)

    def accounts(self, **request: Any) -> list[Any]:
        """Accounts as listed."""
        return list(self.call("ListAccounts", pb.ListAccountsRequest(**request)).accounts)

    def items(self, filter: str = "", account_id: str = "") -> list[Any]:
        """Items as listed."""
        return list(self.call("ListItems", pb.ListItemsRequest(filter=filter, account_id=account_id)).items)

    def item(self, number: str = "F1") -> Any:
        """An item by its number with history and holds, whatever its state."""
        for state in ("OPEN", "CLEARED"):
            for item in self.items(f'number="{number}" AND state={state}'):
                return self.call("GetItem", pb.GetItemRequest(item_id=item.item_id))
        raise LookupError(number)

    def history(self, number: str = "F1") -> list[tuple[str, int, str]]:
        """(cause, delta in minor units, value date) of an item."""
        from quittance.ledger.v1 import item_pb2

        return [
            (item_pb2.ChangeCause.Name(c.cause).removeprefix("CHANGE_CAUSE_"), c.delta.minor_units, c.value_on)
            for c in self.item(number).changes
        ]

    def as_of(self, day: str, number: str = "F1") -> int:
        """What was open on an item on a day, from its history."""
        return sum(delta for _, delta, value_on in self.history(number) if value_on <= day)

    def events(self) -> list[Any]:
        """All events said so far, oldest first, as messages."""
        from google.protobuf import symbol_database
        from sqlalchemy import text

        found = []
        with context.acting_as(caller_of(self.tenant)), self.database.transaction() as session:
            for row in session.execute(text("SELECT type, payload FROM outbox ORDER BY sequence")):
                found.append(symbol_database.Default().GetSymbol(row.type).FromString(bytes(row.payload)))
        return found


def counts(progress: Any) -> dict[str, int]:
    """The counts of a chunk that are not zero."""
    names = ("created", "updated", "unchanged", "cleared", "rejected")
    return {name: getattr(progress.counts, name) for name in names if getattr(progress.counts, name)}


@contextmanager
def owner(ledger: Any) -> Iterator[psycopg.Connection]:
    """The owner of the tables with row security and triggers out of the way: whoever could falsify."""
    connection = psycopg.connect(psycopg_url(ledger.database.settings.migration_database_url))
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND rowsecurity"
    tables = [row[0] for row in connection.execute(query)]
    try:
        for table in tables:
            connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield connection
        for table in tables:
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            connection.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        connection.commit()
    finally:
        connection.close()


def seal_all(ledger: Any, **options: Any) -> list[Any]:
    """Seals until everything that was written before is in a block."""
    with ledger.database.transaction() as session:
        wanted = session.execute(text("SELECT txid_current()")).scalar_one()
    found = []
    for _ in range(2000):
        with ledger.database.transaction() as session:
            block = audit.seal_block(session, **options)
            done = store.checked_xid(session) >= wanted
        if block is not None:
            found.append(block)
        if done and block is None:
            return found
        if block is None:
            time.sleep(0.01)  # Another test's transaction is open.
    raise AssertionError("an older transaction did not end")


def hold(ledger: Any, minor: int) -> None:
    """Places a hold on the first item of the list."""
    item = ledger.items()[0]
    wish = pb.HoldOrder(
        item_id=item.item_id,
        kind=item_pb2.HOLD_KIND_DISPUTE,
        amount=money_pb2.Money(currency="EUR", minor_units=minor),
        reason="price",
    )
    request = pb.PlaceHoldsRequest(
        request_id=new_id(), account_id=item.account_id, source="dispute", source_id=new_id(), holds=[wish]
    )
    ledger.call("PlaceHolds", request)
