"""What the books are read with: sales, orders, assignments, exchange rates, statutory rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from kit.errors import Code, Refused
from ledger import domain
from ledger.domain import rates as rules
from ledger.store import load, master, orders, rates, sales, saying, undo
from ledger.store.queries import Page
from ledger.store.tables import EntityRow, LoadRow
from ledger.usecases import audit

Merged = tuple[dict[str, int], list[dict[str, Any]]]


def _is_written(counts: dict[str, int], plan_only: bool) -> bool:
    return not plan_only and bool(counts.get("created") or counts.get("updated"))


def merge_sales(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> Merged:
    """Sales of months as a file says."""
    sales.merge(session, entity.entity_id, domain.check_sales(rows))
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if _is_written(counts, plan_only):
        sales.write(session, row.load_id)
    return counts, rejects


def merge_orders(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> Merged:
    """Order backlog as a file says: what it does not hold of an account it names is gone."""
    orders.merge(session, entity.entity_id, domain.check_orders(rows))
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if not plan_only:
        orders.write(session, row.load_id)
    return counts, rejects


def merge_assignments(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> Merged:
    """Who works on which account; the sales person is the custom field sales_person."""
    checked = domain.check_assignments(rows)
    person = checked["sales_person"]
    has_person = pc.fill_null(pc.not_equal(person, ""), False)
    texts = [None if value is None else audit.canonical({"sales_person": value}) for value in person.to_pylist()]
    custom = pc.if_else(has_person, pa.chunked_array([pa.array(texts, pa.string())]), pa.scalar(None, pa.string()))
    named = domain.conform(
        pa.table(
            {
                "line": rows["line"],
                "number": checked["account_number"],
                "collector": checked["collector"],
                "custom_fields": custom,
            }
        ),
        "ACCOUNTS",
    )
    for column in ("field", "reason"):
        named = named.append_column(column, checked[column])
    master.stage(session, named, "number")
    master.merge_accounts(session, entity.entity_id, has_custom_fields=True, owners=entity.field_owners)
    master.refuse_unknown(session)
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if _is_written(counts, plan_only):
        undo.keep_accounts(session, row.load_id)
        master.write_accounts(session, entity.entity_id)
        load.refresh_accounts(session)
        saying.say_accounts(session, today, is_bulk=True)
    return counts, rejects


def merge_exchange_rates(
    session: Session, row: LoadRow, entity: EntityRow, number: int, rows: pa.Table, today: date, plan_only: bool
) -> Merged:
    """Exchange rates of a file; they are the tenant's, whatever the entity."""
    rates.merge(session, domain.check_exchange_rates(rows))
    counts, rejects = load.counts(session, rows.num_rows), load.rejects(session)
    if _is_written(counts, plan_only):
        rates.write(session, row.load_id)
    return counts, rejects


@dataclass(frozen=True)
class RateOrder:
    """An exchange rate wanted: one base is so many quote."""

    base: str
    quote: str
    rate: str
    valid_from: date
    source: str


def set_exchange_rates(session: Session, wanted: Sequence[RateOrder]) -> int:
    """Sets rates, all or none; returns how many are new or other than before. Refuses: INVALID_ARGUMENT."""
    table = pa.table(
        {
            "line": pa.array(range(len(wanted)), pa.int32()),
            "base": pa.array([one.base for one in wanted], pa.string()),
            "quote": pa.array([one.quote for one in wanted], pa.string()),
            "rate": pa.array([one.rate for one in wanted], pa.string()),
            "valid_from": pa.array([one.valid_from for one in wanted], pa.date32()),
            "source": pa.array([one.source.strip() for one in wanted], pa.string()),
        }
    )
    rates.merge(session, domain.check_exchange_rates(domain.conform(table, "EXCHANGE_RATES")))
    rejects = load.rejects(session)
    if rejects:
        wrong = {f"rates[{reject['line']}].{reject['field']}": reject["reason"].lower() for reject in rejects}
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "these rates cannot be set", wrong)
    counts = load.counts(session, len(wanted))
    changed = counts.get("created", 0) + counts.get("updated", 0)
    if changed:
        rates.write(session, None)
        said = [
            {"base": one.base, "quote": one.quote, "rate": one.rate, "valid_from": one.valid_from, "source": one.source}
            for one in wanted
        ]
        audit.note(session, "rates.set", "exchange_rates", "", None, {"rates": said})
    return changed


@dataclass(frozen=True)
class RateOn:
    """The rate of a pair on a day; valid_from is the rate's own day."""

    base: str
    quote: str
    rate: Decimal
    valid_from: date
    source: str
    row: rates.ExchangeRateRow


def rate_on(session: Session, base: str, quote: str, day: date) -> RateOn:
    """The rate in force on a day, of the pair or the inverse of the opposite pair.

    Refuses: NOT_FOUND RATE_UNKNOWN; INVALID_ARGUMENT for a currency in itself.
    """
    if base == quote:
        raise Refused(
            Code.INVALID_ARGUMENT, "INVALID_FIELDS", "a rate needs two currencies", {"quote": "the same currency twice"}
        )
    row = rates.rate_on(session, base, quote, day)
    if row is None:
        raise Refused(
            Code.NOT_FOUND, "RATE_UNKNOWN", "there is no exchange rate for this day: set one first", base=base,
            quote=quote, on=day.isoformat(),
        )  # fmt: skip
    rate = row.rate if row.base == base else rules.inverse(row.rate)
    return RateOn(base, quote, rate, row.valid_from, row.source, row)


def list_statutory_rates(
    session: Session, page: Page, today: date
) -> tuple[Sequence[rates.StatutoryRateRow], str, int, list[tuple[str, date]]]:
    """Statutory rates: a page, the next token, the total, and the half-years that have none."""
    rates.seed(session)
    rows, token, total = rates.list_statutory_rates(session, page)
    return rows, token, total, rules.missing_half_years(rates.known_days(session), today)


def set_statutory_rate(
    session: Session, *, series: str, valid_from: date, value: str, source: str, to_confirm: bool
) -> rates.StatutoryRateRow:
    """Sets a rate of a series from a day on. Refuses: INVALID_ARGUMENT for a series or a day that the series has not."""
    wrong: dict[str, str] = {}
    if series not in rules.SERIES:
        wrong["series"] = "unknown series"
    elif series in rules.HALF_YEARLY and valid_from != rules.half_year(valid_from):
        wrong["valid_from"] = "this series begins on 1 January and 1 July"
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "this rate cannot be set", wrong)
    rates.seed(session)
    before, after = rates.set_statutory_rate(
        session,
        series=series,
        valid_from=valid_from,
        value=Decimal(value),
        source=source.strip(),
        to_confirm=to_confirm,
    )
    said = None if before is None else _said(before)
    audit.note(session, "statutory_rate.set", "statutory_rate", series, said, _said(after))
    return after


def _said(row: rates.StatutoryRateRow) -> dict[str, Any]:
    return {"valid_from": row.valid_from, "value": str(row.value), "source": row.source, "to_confirm": row.to_confirm}
