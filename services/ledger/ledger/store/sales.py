"""Sales by month, account and currency: as files say, else derived from items."""

from collections.abc import Sequence
from datetime import date, datetime

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Date,
    Row,
    Text,
    and_,
    cast,
    exists,
    false,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit import bulk, context, listing
from kit.db import TenantMixin
from kit.outbox import emit
from ledger.store import versions
from ledger.store.queries import Page, _conditions, _paged, _sees
from ledger.store.tables import AccountRow, Base, EntityRow, Id, Instant, ItemRow
from ledger.store.undo import GONE
from quittance.ledger.v1 import ledger_events_pb2 as events

SALES_KINDS = ("INVOICE", "CREDIT_NOTE")
ROWS_PER_EVENT = 4000


class SaleRow(TenantMixin, Base):
    """Sales of a month as a file said; net_minor None where it did not say. Replaced, never changed (store.versions)."""

    __tablename__ = "sales"
    sale_id: Mapped[str] = mapped_column(Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(Id)
    month: Mapped[date] = mapped_column(Date)
    currency: Mapped[str] = mapped_column(Text)
    gross_minor: Mapped[int] = mapped_column(BigInteger)
    net_minor: Mapped[int | None] = mapped_column(BigInteger)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    load_id: Mapped[str | None] = mapped_column(Id)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_load_id: Mapped[str | None] = mapped_column(Id)


def merge(session: Session, entity_id: str, rows: pa.Table) -> None:
    """Compares checked rows with what is known: makes merged."""
    versions.merge(
        session, rows, table="sales", row_id="sale_id", key=("account_id", "month", "currency"),
        values=("gross_minor", "net_minor"), entity_id=entity_id,
        select="a.account_id, r.month, r.currency, r.gross_minor, r.net_minor",
    )  # fmt: skip


def write(session: Session, load_id: str) -> None:
    """Writes merged and says it."""
    columns = ("account_id", "month", "currency", "gross_minor", "net_minor")
    versions.write(session, table="sales", row_id="sale_id", columns=columns, load_id=load_id)
    _say(session, "SELECT account_id, month, currency FROM merged WHERE effect IN ('created', 'updated')")


def roll_back(session: Session, load_id: str) -> None:
    """Takes back what a load said of sales, and says what is true again."""
    if versions.roll_back(session, "sales", load_id):
        _say(session, "SELECT account_id, month, currency FROM sales WHERE load_id = CAST(:load AS uuid)", load=load_id)


def _say(session: Session, keys: str, **params: str) -> None:
    """Emits SalesRecorded of what is current under these keys (a query of account_id, month, currency)."""
    rows = bulk.copy_out_arrow(
        session,
        "SELECT k.account_id, e.code AS entity_code, k.currency, k.month, s.gross_minor, s.net_minor,"
        f" clock_timestamp() AS recorded_at FROM ({keys}) AS k JOIN accounts AS a ON a.account_id = k.account_id"
        " JOIN entities AS e ON e.entity_id = a.entity_id LEFT JOIN sales AS s ON s.account_id = k.account_id"
        " AND s.month = k.month AND s.currency = k.currency AND s.ended_at IS NULL",
        {"tenant": context.current_tenant(), **params},
    )
    for start in range(0, rows.num_rows, ROWS_PER_EVENT):
        part = rows.slice(start, ROWS_PER_EVENT)
        emit(session, events.SalesRecorded(sales=bulk.to_ipc(part)), part["account_id"][0].as_py())


def list_sales(session: Session, page: Page) -> tuple[Sequence[Row], str, int]:
    """Rows (account_id, account_number, entity_code, month, currency, gross_minor, net_minor or None, from_file) within the
    caller's scope: a page, the next token, the total."""
    of_file = select(
        SaleRow.account_id, SaleRow.month, SaleRow.currency, SaleRow.gross_minor, SaleRow.net_minor,
        true().label("from_file"),
    ).where(SaleRow.ended_at.is_(None))  # fmt: skip
    month = cast(func.date_trunc("month", ItemRow.issue_on), Date)
    is_said = exists().where(
        and_(
            SaleRow.account_id == ItemRow.account_id, SaleRow.month == month, SaleRow.currency == ItemRow.currency,
            SaleRow.ended_at.is_(None),
        )
    )  # fmt: skip
    derived = (
        select(
            ItemRow.account_id, month, ItemRow.currency,
            cast(func.sum(ItemRow.initial_minor), BigInteger), cast(null(), BigInteger), false(),
        )
        .where(ItemRow.kind.in_(SALES_KINDS), ItemRow.source_system != literal(GONE), ~is_said)
        .group_by(ItemRow.account_id, month, ItemRow.currency)
    )  # fmt: skip
    both = union_all(of_file, derived).subquery()
    allowed = {
        "account_id": cast(both.c.account_id, Text),
        "account_number": AccountRow.number,
        "entity_code": EntityRow.code,
        "currency": both.c.currency,
        "month": both.c.month,
        "from_file": both.c.from_file,
    }
    query = (
        select(
            both.c.account_id, AccountRow.number.label("account_number"), EntityRow.code.label("entity_code"),
            both.c.month, both.c.currency, both.c.gross_minor, both.c.net_minor, both.c.from_file,
        )
        .join(AccountRow, AccountRow.account_id == both.c.account_id)
        .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
        .where(_sees(), *_conditions(page, allowed, {}))
    )  # fmt: skip
    total = session.execute(query.with_only_columns(func.count())).scalar_one()
    orders = {"month": both.c.month, "account_number": AccountRow.number}
    ordered = query.order_by(
        *listing.order_by(page.order_by, orders, "month desc"), AccountRow.number, both.c.account_id, both.c.currency
    )
    rows, token = _paged(session, ordered, page, total)
    return rows, token, total
