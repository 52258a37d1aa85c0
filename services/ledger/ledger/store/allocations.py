"""Allocations: which credit was set against which debt; insert-only, a reversal is a row of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Date,
    FetchedValue,
    Integer,
    Row,
    Text,
    and_,
    cast,
    exists,
    func,
    insert,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from kit import context, listing
from kit.db import TenantMixin
from ledger.store import load
from ledger.store.queries import Page, _conditions, _paged, _sees
from ledger.store.tables import Base, EntityRow, Id, Instant, ItemRow


class AllocationRow(TenantMixin, Base):
    """A credit set against a debit, or (negative) the row that takes one back; the sequences are of the entries in the
    histories of both items. Insert-only."""

    __tablename__ = "allocations"
    allocation_id: Mapped[str] = mapped_column(Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(Id)
    credit_item_id: Mapped[str] = mapped_column(Id)
    debit_item_id: Mapped[str] = mapped_column(Id)
    currency: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    value_on: Mapped[date] = mapped_column(Date)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str] = mapped_column(Text)
    reverses_id: Mapped[str | None] = mapped_column(Id)
    load_id: Mapped[str | None] = mapped_column(Id)
    credit_sequence: Mapped[int] = mapped_column(Integer)
    debit_sequence: Mapped[int] = mapped_column(Integer)
    credit_left_minor: Mapped[int] = mapped_column(BigInteger)
    debit_left_minor: Mapped[int] = mapped_column(BigInteger)
    audit_xid: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue(), deferred=True)


def insert_rows(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes allocations; each row has all columns but tenant, recorded_at and actor."""
    if rows:
        same = {
            "tenant_id": context.current_tenant(), "actor": context.current_caller().actor, "recorded_at": func.now()
        }  # fmt: skip
        session.execute(insert(AllocationRow).values([{**row, **same} for row in rows]))


@dataclass(frozen=True)
class Found:
    """An allocation, whether it is taken back, and where its items are now."""

    row: AllocationRow
    is_reversed: bool
    entity: EntityRow
    account_ids: tuple[str, ...]


def find(session: Session, allocation_id: str) -> Found | None:
    """An allocation within the caller's scope."""
    back, credit = aliased(AllocationRow), aliased(ItemRow)
    row = session.execute(
        select(
            AllocationRow,
            exists().where(back.reverses_id == AllocationRow.allocation_id),
            EntityRow,
            credit.account_id,
            ItemRow.account_id,
        )
        .join(credit, credit.item_id == AllocationRow.credit_item_id)
        .join(ItemRow, ItemRow.item_id == AllocationRow.debit_item_id)
        .join(EntityRow, EntityRow.entity_id == ItemRow.entity_id)
        .where(AllocationRow.allocation_id == allocation_id, _sees())
        .execution_options(populate_existing=True)
    ).first()
    return None if row is None else Found(row[0], row[1], row[2], tuple(sorted({row[3], row[4]})))


def of_load(session: Session, load_id: str) -> list[AllocationRow]:
    """The allocations that a load brought and that still count."""
    back = aliased(AllocationRow)
    return list(
        session.scalars(
            select(AllocationRow)
            .where(
                AllocationRow.load_id == load_id,
                AllocationRow.reverses_id.is_(None),
                ~exists().where(back.reverses_id == AllocationRow.allocation_id),
            )
            .order_by(AllocationRow.allocation_id)
        )
    )


def list_allocations(
    session: Session, page: Page, allocation_ids: Sequence[str] = ()
) -> tuple[Sequence[Row], str, int]:
    """(AllocationRow, credit number, debit number, id of the row that takes it back or None) within the caller's scope: a
    page, the next token, the total. allocation_ids: only these."""
    credit, debit, back = aliased(ItemRow), aliased(ItemRow), aliased(AllocationRow)
    is_reversed = back.allocation_id.is_not(None)
    allowed = {
        # Where the items are now: accounts can be merged.
        "account_id": cast(debit.account_id, Text),
        "currency": AllocationRow.currency,
        "value_on": AllocationRow.value_on,
        "reversed": is_reversed,
    }

    def of_item(op: str, value: str) -> Any:
        is_side = or_(
            cast(AllocationRow.credit_item_id, Text) == value.lower(),
            cast(AllocationRow.debit_item_id, Text) == value.lower(),
        )
        return is_side if op in ("=", ":") else ~is_side

    query = (
        select(
            AllocationRow, credit.number.label("credit_number"), debit.number.label("debit_number"), back.allocation_id
        )
        .join(credit, credit.item_id == AllocationRow.credit_item_id)
        .join(debit, debit.item_id == AllocationRow.debit_item_id)
        .join(EntityRow, EntityRow.entity_id == debit.entity_id)
        .join(back, and_(back.reverses_id == AllocationRow.allocation_id), isouter=True)
        .where(_sees(), *_conditions(page, allowed, {"item_id": of_item}))
    )
    if allocation_ids:
        query = query.where(AllocationRow.allocation_id.in_(allocation_ids))
    total = session.execute(query.with_only_columns(func.count())).scalar_one()
    orders = {"recorded_at": AllocationRow.recorded_at, "value_on": AllocationRow.value_on}
    # What one call records has one instant; ids are made in its order.
    ordered = query.order_by(*listing.order_by(page.order_by, orders, "recorded_at desc"), AllocationRow.allocation_id)
    rows, token = _paged(session, ordered, page, total)
    return rows, token, total


# ---- from files ------------------------------------------------------------------------------------------------------


def merge_rows(session: Session, entity_id: str, rows: pa.Table) -> list[Row]:
    """Compares rows of a file (domain.check_allocations) with the books.

    Returns: per row line, field and reason (why it is refused), account_id, the ids of both items, amount_minor, value_on,
    external_id, and is_known (it was recorded before, and still counts).
    """
    load.clean(session)
    load.stage(session, rows, "account_number, credit_number, debit_number")

    def side(name: str, sign: str) -> str:
        return (
            f"LEFT JOIN LATERAL (SELECT count(*) AS n, (array_agg(i.item_id))[1] AS item_id FROM items AS i"
            f" WHERE i.account_id = a.account_id AND i.number = r.{name}_number AND i.currency = r.currency"
            f" AND i.initial_minor {sign} 0) AS {name} ON true"
        )

    return list(
        session.execute(
            text(f"""
SELECT k.line, k.account_id, k.credit_item_id, k.debit_item_id, k.amount_minor, k.value_on, k.external_id,
    CASE WHEN k.reason IS NOT NULL THEN k.field WHEN k.account_id IS NULL THEN 'account_number'
        WHEN k.credits <> 1 THEN 'credit_number' WHEN k.debits <> 1 THEN 'debit_number' END AS field,
    CASE WHEN k.reason IS NOT NULL THEN k.reason WHEN k.account_id IS NULL OR k.credits = 0 OR k.debits = 0
        THEN 'UNKNOWN' WHEN k.credits > 1 OR k.debits > 1 THEN 'AMBIGUOUS' END AS reason,
    EXISTS (SELECT 1 FROM allocations AS o WHERE o.account_id = k.account_id AND o.reverses_id IS NULL
        AND NOT EXISTS (SELECT 1 FROM allocations AS b WHERE b.reverses_id = o.allocation_id)
        AND CASE WHEN k.external_id <> '' THEN o.external_id = k.external_id ELSE o.external_id = ''
            AND o.credit_item_id = k.credit_item_id AND o.debit_item_id = k.debit_item_id
            AND o.amount_minor = k.amount_minor AND o.value_on = k.value_on END) AS is_known
FROM (SELECT r.line, r.field, r.reason, r.amount_minor, r.value_on, coalesce(r.external_id, '') AS external_id,
        a.account_id, credit.n AS credits, credit.item_id AS credit_item_id, debit.n AS debits,
        debit.item_id AS debit_item_id
    FROM load_row AS r LEFT JOIN accounts AS a ON a.entity_id = :entity AND a.number = r.account_number
    {side("credit", "<")} {side("debit", ">")}) AS k
ORDER BY k.line
"""),
            {"entity": entity_id, "tenant": context.current_tenant()},
        )
    )


def lock_sides(session: Session, account_ids: Sequence[str], item_ids: Sequence[str]) -> list[ItemRow]:
    """These items, they and their accounts locked in the order in which everybody locks them."""
    if account_ids:
        load.touch(
            session,
            "SELECT CAST(id AS uuid) AS account_id, CAST(NULL AS text) AS payment_terms FROM unnest(ARRAY["
            + ", ".join(f"'{account_id}'" for account_id in sorted(account_ids))
            + "]) AS id",
        )
    return list(
        session.scalars(
            select(ItemRow)
            .where(ItemRow.item_id.in_(item_ids))
            .order_by(ItemRow.item_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )
