"""Order backlog: orders not yet invoiced, complete per account whenever a file names the account."""

from collections.abc import Sequence
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import BigInteger, Date, Row, Text, cast, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit import bulk, context, listing
from kit.db import TenantMixin
from kit.outbox import emit
from ledger.store import versions
from ledger.store.queries import Page, _conditions, _paged, _sees
from ledger.store.tables import AccountRow, Base, EntityRow, Id, Instant
from quittance.ledger.v1 import ledger_events_pb2 as events

ORDERS_PER_EVENT = 4000


class OrderRow(TenantMixin, Base):
    """An order as far as it is not invoiced; of amount_minor, delivered_minor is delivered. Replaced, never changed
    (store.versions)."""

    __tablename__ = "orders"
    order_id: Mapped[str] = mapped_column(Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(Id)
    number: Mapped[str] = mapped_column(Text)
    ordered_on: Mapped[date] = mapped_column(Date)
    delivery_on: Mapped[date | None] = mapped_column(Date)
    currency: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    delivered_minor: Mapped[int] = mapped_column(BigInteger)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    load_id: Mapped[str | None] = mapped_column(Id)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_load_id: Mapped[str | None] = mapped_column(Id)


def merge(session: Session, entity_id: str, rows: pa.Table) -> None:
    """Compares checked rows with what is known: makes merged."""
    versions.merge(
        session, rows, table="orders", row_id="order_id", key=("account_id", "number", "currency"),
        values=("ordered_on", "delivery_on", "amount_minor", "delivered_minor"), entity_id=entity_id,
        select="a.account_id, r.number, r.currency, r.ordered_on, r.delivery_on, r.amount_minor,"
        " coalesce(r.delivered_minor, 0) AS delivered_minor",
    )  # fmt: skip


def write(session: Session, load_id: str) -> None:
    """Writes merged, ends what its accounts no longer have (a refused row counts as there), and says it."""
    columns = ("account_id", "number", "currency", "ordered_on", "delivery_on", "amount_minor", "delivered_minor")
    gone = versions.run(
        session,
        "UPDATE orders AS o SET ended_at = clock_timestamp(), ended_load_id = CAST(:load AS uuid)"
        " WHERE o.ended_at IS NULL AND o.account_id IN (SELECT account_id FROM merged WHERE effect <> 'rejected')"
        " AND NOT EXISTS (SELECT 1 FROM merged AS m WHERE m.account_id = o.account_id AND m.number = o.number"
        " AND m.currency = o.currency) RETURNING o.account_id",
        load=load_id,
    )
    accounts = {str(row.account_id) for row in gone}
    versions.write(session, table="orders", row_id="order_id", columns=columns, load_id=load_id)
    changed = versions.run(session, "SELECT DISTINCT account_id FROM merged WHERE effect IN ('created', 'updated')")
    _say(session, sorted(accounts | {str(row.account_id) for row in changed}))


def roll_back(session: Session, load_id: str) -> None:
    """Takes back what a load said of orders, and says what is true again."""
    touched = versions.run(
        session, "SELECT DISTINCT account_id FROM orders WHERE CAST(:load AS uuid) IN (load_id, ended_load_id)",
        load=load_id,
    ).all()  # fmt: skip
    versions.roll_back(session, "orders", load_id)
    _say(session, sorted({str(row.account_id) for row in touched}))


def _say(session: Session, account_ids: Sequence[str]) -> None:
    """Emits OrdersChanged: the whole backlog of these accounts."""
    if not account_ids:
        return
    params = {"tenant": context.current_tenant(), "accounts": list(account_ids)}
    accounts = bulk.copy_out_arrow(
        session,
        "SELECT a.account_id, clock_timestamp() AS recorded_at FROM accounts AS a"
        " WHERE a.account_id = ANY(CAST(:accounts AS uuid[])) ORDER BY a.account_id",
        params,
    )
    orders = bulk.copy_out_arrow(
        session,
        "SELECT account_id, number, ordered_on, delivery_on, currency, amount_minor, delivered_minor FROM orders"
        " WHERE ended_at IS NULL AND account_id = ANY(CAST(:accounts AS uuid[])) ORDER BY account_id, number",
        params,
    )
    _emit(session, accounts, orders)


def _emit(session: Session, accounts: pa.Table, orders: pa.Table) -> None:
    if orders.num_rows > ORDERS_PER_EVENT and accounts.num_rows > 1:
        half = accounts.num_rows // 2
        for part in (accounts.slice(0, half), accounts.slice(half)):
            _emit(session, part, orders.filter(pc.is_in(orders["account_id"], part["account_id"])))
        return
    event = events.OrdersChanged(accounts=bulk.to_ipc(accounts), orders=bulk.to_ipc(orders))
    emit(session, event, accounts["account_id"][0].as_py())


def list_orders(session: Session, page: Page) -> tuple[Sequence[Row], str, int, Sequence[Row]]:
    """(OrderRow, account number, entity code) within the caller's scope: a page, the next token, the total, and sums
    (currency, order_count, amount_minor, delivered_minor) of all that the filter finds."""
    allowed = {
        "account_id": cast(OrderRow.account_id, Text),
        "account_number": AccountRow.number,
        "entity_code": EntityRow.code,
        "currency": OrderRow.currency,
        "number": OrderRow.number,
        "ordered_on": OrderRow.ordered_on,
        "delivery_on": OrderRow.delivery_on,
    }
    query = (
        select(OrderRow, AccountRow.number, EntityRow.code)
        .join(AccountRow, AccountRow.account_id == OrderRow.account_id)
        .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
        .where(OrderRow.ended_at.is_(None), _sees(), *_conditions(page, allowed, {}))
    )
    totals = session.execute(
        query.with_only_columns(
            OrderRow.currency, func.count().label("order_count"), func.sum(OrderRow.amount_minor).label("amount_minor"),
            func.sum(OrderRow.delivered_minor).label("delivered_minor"),
        )
        .group_by(OrderRow.currency)
        .order_by(OrderRow.currency)
    ).all()  # fmt: skip
    total = sum(row.order_count for row in totals)
    orders = {
        "ordered_on": OrderRow.ordered_on, "delivery_on": OrderRow.delivery_on, "number": OrderRow.number,
        "account_number": AccountRow.number,
    }  # fmt: skip
    ordered = query.order_by(*listing.order_by(page.order_by, orders, "ordered_on"), OrderRow.number, OrderRow.order_id)
    rows, token = _paged(session, ordered, page, total)
    return rows, token, total, totals
