"""Rows of loads beside items: allocations, sales by month, orders, assignments, exchange rates; without the books."""

import pyarrow as pa
import pyarrow.compute as pc

from kit.money import CURRENCIES
from ledger.domain.loads import (
    AMOUNT_MAX_MINOR,
    EARLIEST_ON,
    FIELDS_BY_OBJECT,
    KEY_MAX_CHARACTERS,
    LATEST_ON,
    Checks,
    Fields,
)

_LINE = ("line", pa.int32(), True)
_FIELDS: dict[str, Fields] = {
    "ALLOCATIONS": (
        _LINE,
        ("account_number", pa.string(), True),
        ("credit_number", pa.string(), True),
        ("debit_number", pa.string(), True),
        ("amount_minor", pa.int64(), True),
        ("currency", pa.string(), True),
        ("value_on", pa.date32(), True),
        ("external_id", pa.string(), False),
    ),
    "SALES": (
        _LINE,
        ("account_number", pa.string(), True),
        ("month", pa.date32(), True),
        ("currency", pa.string(), True),
        ("gross_minor", pa.int64(), True),
        ("net_minor", pa.int64(), False),
    ),
    "ORDERS": (
        _LINE,
        ("account_number", pa.string(), True),
        ("number", pa.string(), True),
        ("ordered_on", pa.date32(), True),
        ("delivery_on", pa.date32(), False),
        ("amount_minor", pa.int64(), True),
        ("currency", pa.string(), True),
        ("delivered_minor", pa.int64(), False),
    ),
    "ASSIGNMENTS": (
        _LINE,
        ("account_number", pa.string(), True),
        ("collector", pa.string(), False),
        ("sales_person", pa.string(), False),
    ),
    "EXCHANGE_RATES": (
        _LINE,
        ("base", pa.string(), True),
        ("quote", pa.string(), True),
        ("rate", pa.string(), True),
        ("valid_from", pa.date32(), True),
        ("source", pa.string(), False),
    ),
}
FIELDS_BY_OBJECT.update(_FIELDS)
# What LoadRows takes.
ROW_OBJECTS = tuple(_FIELDS)
RATE_PATTERN = r"^[0-9]{1,12}([.][0-9]{1,12})?$"
EMAIL_PATTERN = r"^$|^[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+$"


def _possible(checks: Checks, *fields: str) -> None:
    for name in fields:
        column = checks.rows[name]
        outside = pc.or_(pc.less(column, pa.scalar(EARLIEST_ON)), pc.greater(column, pa.scalar(LATEST_ON)))
        checks.refuse(outside, name, "IMPOSSIBLE")


def _amounts(checks: Checks, *fields: str, least: int | None = None) -> None:
    for name in fields:
        column = checks.rows[name]
        if least is not None:
            checks.refuse(pc.less(column, least), name, "SIGN")
        outside = pc.or_(pc.greater(column, AMOUNT_MAX_MINOR), pc.less(column, -AMOUNT_MAX_MINOR))
        checks.refuse(outside, name, "TOO_LARGE")


def check_allocations(rows: pa.Table) -> pa.Table:
    """As loads.check_items, for allocations: a positive amount, and no allocation twice."""
    checks = Checks(rows)
    checks.filled("account_number", "credit_number", "debit_number", "amount_minor", "value_on")
    checks.readable(
        dict.fromkeys(("account_number", "credit_number", "debit_number", "external_id"), KEY_MAX_CHARACTERS)
    )
    checks.one_of("currency", sorted(CURRENCIES))
    _possible(checks, "value_on")
    _amounts(checks, "amount_minor", least=1)
    has_id = pc.fill_null(pc.not_equal(rows["external_id"], ""), False)
    checks.once("external_id", ["account_number", "external_id"], has_id)
    key = ["account_number", "credit_number", "debit_number", "amount_minor", "currency", "value_on"]
    checks.once("credit_number", key, pc.invert(has_id))
    return checks.marked()


def check_sales(rows: pa.Table) -> pa.Table:
    """As loads.check_items, for sales: one row per account, month and currency; the month's first day."""
    checks = Checks(rows)
    checks.filled("account_number", "month", "gross_minor")
    checks.readable({"account_number": KEY_MAX_CHARACTERS})
    checks.one_of("currency", sorted(CURRENCIES))
    _possible(checks, "month")
    checks.refuse(pc.not_equal(pc.day(rows["month"]), 1), "month", "IMPOSSIBLE")
    _amounts(checks, "gross_minor", "net_minor")
    checks.once("month", ["account_number", "month", "currency"])
    return checks.marked()


def check_orders(rows: pa.Table) -> pa.Table:
    """As loads.check_items, for orders: nothing negative, and not more delivered than is not invoiced."""
    checks = Checks(rows)
    checks.filled("account_number", "number", "ordered_on", "amount_minor")
    checks.readable(dict.fromkeys(("account_number", "number"), KEY_MAX_CHARACTERS))
    checks.one_of("currency", sorted(CURRENCIES))
    _possible(checks, "ordered_on", "delivery_on")
    _amounts(checks, "amount_minor", "delivered_minor", least=0)
    checks.refuse(pc.greater(rows["delivered_minor"], rows["amount_minor"]), "delivered_minor", "TOO_LARGE")
    checks.once("number", ["account_number", "number", "currency"])
    return checks.marked()


def check_assignments(rows: pa.Table) -> pa.Table:
    """As loads.check_items, for assignments: collector as an e-mail address."""
    checks = Checks(rows)
    checks.filled("account_number")
    checks.readable(dict.fromkeys(("account_number", "collector", "sales_person"), KEY_MAX_CHARACTERS))
    bad = pc.invert(pc.match_substring_regex(pc.fill_null(rows["collector"], ""), EMAIL_PATTERN))
    checks.refuse(bad, "collector", "UNREADABLE")
    checks.once("account_number", ["account_number"])
    return checks.marked()


def check_exchange_rates(rows: pa.Table) -> pa.Table:
    """As loads.check_items, for exchange rates: two currencies, and a positive decimal."""
    checks = Checks(rows)
    checks.filled("base", "quote", "rate", "valid_from")
    checks.readable({"source": KEY_MAX_CHARACTERS})
    checks.one_of("base", sorted(CURRENCIES))
    checks.one_of("quote", sorted(CURRENCIES))
    checks.refuse(pc.equal(rows["base"], rows["quote"]), "quote", "IMPOSSIBLE")
    checks.refuse(pc.invert(pc.match_substring_regex(rows["rate"], RATE_PATTERN)), "rate", "UNREADABLE")
    checks.refuse(pc.match_substring_regex(rows["rate"], r"^[0.]+$"), "rate", "IMPOSSIBLE")
    _possible(checks, "valid_from")
    checks.once("valid_from", ["base", "quote", "valid_from"])
    return checks.marked()
