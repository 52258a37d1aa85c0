"""Exchange rates and statutory rates, each with the day from which it is valid; replaced, never changed."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files

import pyarrow as pa
from sqlalchemy import Boolean, Date, Numeric, Text, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit import context, listing
from kit.db import TenantMixin
from kit.ids import new_id
from ledger.store import versions
from ledger.store.queries import Page, _conditions, _paged
from ledger.store.tables import Base, Id, Instant


class ExchangeRateRow(TenantMixin, Base):
    """One base is rate quote from valid_from on. Replaced, never changed (store.versions)."""

    __tablename__ = "exchange_rates"
    rate_id: Mapped[str] = mapped_column(Id, primary_key=True)
    base: Mapped[str] = mapped_column(Text)
    quote: Mapped[str] = mapped_column(Text)
    rate: Mapped[Decimal] = mapped_column(Numeric(24, 12))
    valid_from: Mapped[date] = mapped_column(Date)
    source: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    load_id: Mapped[str | None] = mapped_column(Id)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_load_id: Mapped[str | None] = mapped_column(Id)


class StatutoryRateRow(TenantMixin, Base):
    """A rate or sum that law or a central bank fixes, from valid_from on. Replaced, never changed."""

    __tablename__ = "statutory_rates"
    rate_id: Mapped[str] = mapped_column(Id, primary_key=True)
    series: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[date] = mapped_column(Date)
    value: Mapped[Decimal] = mapped_column(Numeric(16, 6))
    source: Mapped[str] = mapped_column(Text)
    to_confirm: Mapped[bool] = mapped_column(Boolean)
    edited: Mapped[bool] = mapped_column(Boolean)
    actor: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)


# ---- exchange rates --------------------------------------------------------------------------------------------------


def merge(session: Session, rows: pa.Table) -> None:
    """Compares checked rows with what is known: makes merged."""
    versions.merge(
        session, rows, table="exchange_rates", row_id="rate_id", key=("base", "quote", "valid_from"),
        values=("rate", "source"), entity_id=None,
        select="r.base, r.quote, r.valid_from, CASE WHEN r.reason IS NULL THEN CAST(r.rate AS numeric(24, 12)) END AS rate,"
        " coalesce(r.source, '') AS source",
    )  # fmt: skip


def write(session: Session, load_id: str | None) -> None:
    """Writes merged."""
    columns = ("base", "quote", "valid_from", "rate", "source")
    versions.write(
        session, table="exchange_rates", row_id="rate_id", columns=columns, load_id=load_id, more="actor = :actor",
        actor=context.current_caller().actor,
    )  # fmt: skip


def roll_back(session: Session, load_id: str) -> None:
    """Takes back the rates of a load."""
    versions.roll_back(session, "exchange_rates", load_id)


def list_exchange_rates(session: Session, page: Page) -> tuple[Sequence[ExchangeRateRow], str, int]:
    """Rates: a page, the next token, the total."""
    row = ExchangeRateRow
    allowed = {"base": row.base, "quote": row.quote, "valid_from": row.valid_from, "source": row.source}
    query = select(row).where(row.ended_at.is_(None), *_conditions(page, allowed, {}))
    total = session.execute(query.with_only_columns(func.count())).scalar_one()
    orders = {"valid_from": row.valid_from, "base": row.base, "quote": row.quote}
    ordered = query.order_by(
        *listing.order_by(page.order_by, orders, "valid_from desc"), row.base, row.quote, row.rate_id
    )
    rows, token = _paged(session, ordered, page, total)
    return [found[0] for found in rows], token, total


def rate_on(session: Session, base: str, quote: str, day: date) -> ExchangeRateRow | None:
    """The newest rate of the pair, or of its inverse where that is newer, that is valid on a day."""
    row = ExchangeRateRow
    is_pair = (row.base == base) & (row.quote == quote)
    is_inverse = (row.base == quote) & (row.quote == base)
    return session.scalars(
        select(row)
        .where(row.ended_at.is_(None), row.valid_from <= day, is_pair | is_inverse)
        .order_by(row.valid_from.desc(), is_pair.desc())
        .limit(1)
    ).first()


# ---- statutory rates -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShippedRate:
    """A fact of data/statutory_rates.csv."""

    series: str
    valid_from: date
    value: Decimal
    source: str
    to_confirm: bool


@cache
def shipped_rates() -> tuple[ShippedRate, ...]:
    """The statutory rates that ship with the product."""
    with (files("ledger") / "data" / "statutory_rates.csv").open(encoding="utf-8") as lines:
        return tuple(
            ShippedRate(
                row["series"], date.fromisoformat(row["valid_from"]), Decimal(row["value"]), row["source"],
                row["to_confirm"] == "true",
            )
            for row in csv.DictReader(lines)
        )  # fmt: skip


def seed(session: Session) -> None:
    """Gives the tenant the shipped rates that it never had; what people have set stays."""
    row = StatutoryRateRow
    known = {(found.series, found.valid_from) for found in session.execute(select(row.series, row.valid_from))}
    missing = [rate for rate in shipped_rates() if (rate.series, rate.valid_from) not in known]
    if not missing:
        return
    versions.run(session, "SELECT pg_advisory_xact_lock(hashtextextended('statutory_rates' || :tenant, 0))")
    versions.run(
        session,
        "INSERT INTO statutory_rates (tenant_id, rate_id, series, valid_from, value, source, to_confirm, edited, actor)"
        " SELECT :tenant, ledger_new_id(), s.series, CAST(s.day AS date), CAST(s.value AS numeric), s.source, s.open,"
        " false, 'quittance' FROM unnest(CAST(:series AS text[]), CAST(:days AS text[]), CAST(:rates AS text[]),"
        " CAST(:sources AS text[]), CAST(:opens AS boolean[])) AS s(series, day, value, source, open)"
        " ON CONFLICT DO NOTHING",
        series=[rate.series for rate in missing],
        days=[rate.valid_from.isoformat() for rate in missing],
        rates=[str(rate.value) for rate in missing],
        sources=[rate.source for rate in missing],
        opens=[rate.to_confirm for rate in missing],
    )


def list_statutory_rates(session: Session, page: Page) -> tuple[Sequence[StatutoryRateRow], str, int]:
    """Statutory rates: a page, the next token, the total."""
    row = StatutoryRateRow
    allowed = {"series": row.series, "valid_from": row.valid_from, "to_confirm": row.to_confirm}
    query = select(row).where(row.ended_at.is_(None), *_conditions(page, allowed, {}))
    total = session.execute(query.with_only_columns(func.count())).scalar_one()
    orders = {"valid_from": row.valid_from, "series": row.series}
    ordered = query.order_by(*listing.order_by(page.order_by, orders, "valid_from desc"), row.series, row.rate_id)
    rows, token = _paged(session, ordered, page, total)
    return [found[0] for found in rows], token, total


def known_days(session: Session) -> list[tuple[str, date]]:
    """(series, first day) of all current statutory rates."""
    row = StatutoryRateRow
    found = session.execute(select(row.series, row.valid_from).where(row.ended_at.is_(None)))
    return [(one.series, one.valid_from) for one in found]


def set_statutory_rate(
    session: Session, *, series: str, valid_from: date, value: Decimal, source: str, to_confirm: bool
) -> tuple[StatutoryRateRow | None, StatutoryRateRow]:
    """Ends the current rate of that series and day and writes a new one; returns both."""
    row = StatutoryRateRow
    before = session.scalars(
        select(row).where(row.series == series, row.valid_from == valid_from, row.ended_at.is_(None)).with_for_update()
    ).first()
    if before is not None:
        session.execute(
            update(row)
            .where(row.rate_id == before.rate_id)
            .values(ended_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
    after = row(
        rate_id=new_id(), series=series, valid_from=valid_from, value=value, source=source, to_confirm=to_confirm,
        edited=True, actor=context.current_caller().actor, recorded_at=func.now(),
    )  # fmt: skip
    session.add(after)
    session.flush()
    session.refresh(after)
    return before, after
