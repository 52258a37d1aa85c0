"""Money, filters, clock, ids, settings, secrets: no server needed."""

import uuid
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Boolean, Column, Date, Integer, MetaData, String, Table, select
from sqlalchemy.dialects import postgresql

from kit import clock, context, crypto, listing, money
from kit.errors import Code
from kit.ids import new_id
from kit.money import Money
from kit.settings import ServiceSettings
from kit.testing import refused

ITEMS = Table(
    "items", MetaData(), Column("account_id", String), Column("state", String), Column("due_on", Date),
    Column("is_open", Boolean), Column("days", Integer),
)  # fmt: skip
ALLOWED = {column.name: column for column in ITEMS.columns}


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("5725.06", "USD", 572506),
        ("-0.05", "EUR", -5),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        ("7.100", "EUR", 710),
    ],
)
def test_money_reads_and_writes(text, currency, minor):
    parsed = Money.parse(text, currency)
    assert parsed.minor_units == minor
    assert Decimal(money.format_amount(minor, currency)) == Decimal(text) == parsed.amount
    assert money.from_proto(money.to_proto(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "currency"), [("1.005", "EUR"), ("0.5", "JPY"), ("x", "EUR"), ("NaN", "EUR"), ("1", "XXX")]
)
def test_money_refuses_what_does_not_fit(text, currency):
    with pytest.raises(ValueError):
        Money.parse(text, currency)


def test_money_never_mixes_currencies():
    assert Money("EUR", 5) + Money("EUR", 7) - Money("EUR", 2) == Money("EUR", 10)
    with pytest.raises(ValueError, match="one sum"):
        Money("EUR", 5) + Money("USD", 5)


def test_rounding_is_half_even_once():
    assert [Money.rounded(Decimal(text), "EUR").minor_units for text in ("0.125", "0.135", "-0.125")] == [12, 14, -12]


def where(text):
    query = select(ITEMS).where(*listing.parse_filter(text, ALLOWED))
    sql = str(query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
    return sql.partition("WHERE ")[2]


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ('accountId="a b" AND state=DUE', "items.account_id = 'a b' AND items.state = 'DUE'"),
        ("due_on<2026-01-01 and days >= 3", "items.due_on < '2026-01-01' AND items.days >= 3"),
        ("is_open=true", "items.is_open = true"),
        ("due_on=null", "items.due_on IS NULL"),
        (r"state!='it\'s'", "items.state IS DISTINCT FROM 'it''s'"),
        ("state:50%", "(CAST(items.state AS VARCHAR) ILIKE '%%' || '50/%%' || '%%' ESCAPE '/')"),
        ("", ""),
    ],
)
def test_filters(text, sql):
    assert where(text) == sql


@pytest.mark.parametrize(
    "text",
    ["nonsense", "state=", "other=1", "state=A OR state=B", "state=A AND", "days=x", "due_on=2026-13-01", "a=1;--"],
)
def test_wrong_filters_are_refused(text):
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS") as found:
        listing.parse_filter(text, ALLOWED)
    assert "filter" in found.error.fields


def test_orders():
    ordered = listing.order_by("dueOn desc, state", ALLOWED)
    assert [str(column) for column in ordered] == ["items.due_on DESC", "items.state ASC"]
    for wrong in ("other", "state sideways", "state desc x"):
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            listing.order_by(wrong, ALLOWED)


def test_pages():
    assert [listing.page_size(n) for n in (0, 7, 9999)] == [50, 7, 500]
    token = listing.next_offset_token(0, 50, 120)
    assert listing.offset_of(token) == 50
    assert listing.offset_of("") == 0
    assert listing.next_offset_token(100, 20, 120) == ""
    assert listing.decode_page_token(listing.encode_page_token(after="é", on=date(2026, 1, 2))) == {
        "after": "é",
        "on": "2026-01-02",
    }
    for wrong in ("%%%", "bm90IGpzb24", listing.encode_page_token(offset=-1)):
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            listing.offset_of(wrong)


def test_the_business_date_can_be_set(monkeypatch):
    monkeypatch.setenv("QUITTANCE_TODAY", "2013-12-31")
    assert clock.business_today() == date(2013, 12, 31)
    monkeypatch.delenv("QUITTANCE_TODAY")
    assert clock.business_today() == clock.utc_now().date()


def test_working_days():
    friday = date(2026, 1, 2)
    assert clock.add_working_days(friday, 1) == date(2026, 1, 5)
    assert clock.add_working_days(date(2026, 1, 5), -1) == friday
    assert clock.add_working_days(date(2026, 1, 3), 0) == date(2026, 1, 3)


def test_ids_are_uuid7():
    ids = [new_id() for _ in range(50)]
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert len(set(ids)) == 50


def test_a_services_own_variable_wins(monkeypatch):
    class Settings(ServiceSettings):
        service_name: str = "credit-risk"
        depth: int = 1

    monkeypatch.setenv("QUITTANCE_NATS_URL", "nats://all")
    monkeypatch.setenv("QUITTANCE_CREDIT_RISK_NATS_URL", "nats://own")
    monkeypatch.setenv("QUITTANCE_CREDIT_RISK_DEPTH", "3")
    monkeypatch.setenv("QUITTANCE_CREDIT_RISK_ADDRESS", "10.0.0.1:1")
    assert (Settings().nats_url, Settings().depth, Settings(depth=5).depth) == ("nats://own", 3, 5)
    assert ServiceSettings().nats_url == "nats://all"
    assert Settings().address("credit-risk") == "10.0.0.1:1"
    with pytest.raises(LookupError, match="QUITTANCE_LEDGER_ADDRESS"):
        Settings().address("ledger")


def test_secrets_open_only_in_their_place(tmp_path):
    crypto.generate_key(tmp_path / "a")
    crypto.generate_key(tmp_path / "b")
    settings = ServiceSettings(encryption_key_path=str(tmp_path / "a"))
    sealed = crypto.encrypt(settings, "pässword", about="row-1")
    assert "ssword" not in sealed
    assert crypto.decrypt(settings, sealed, about="row-1") == "pässword"
    other = ServiceSettings(encryption_key_path=str(tmp_path / "b"))
    for wrong in ((settings, "row-2"), (other, "row-1")):
        with pytest.raises(ValueError, match="cannot be opened"):
            crypto.decrypt(wrong[0], sealed, about=wrong[1])


def test_permissions():
    caller = context.Caller("t", "user:a", permissions=frozenset({"items:read", "cases:*"}))
    assert [caller.can(p) for p in ("items:read", "items:write", "cases:write")] == [True, False, True]
    with pytest.raises(RuntimeError, match="nobody"):
        context.current_caller()
