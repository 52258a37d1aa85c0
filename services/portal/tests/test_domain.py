"""Rules of links and answers. No I/O."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money
from kit.testing import refused
from portal import domain
from portal.domain import (
    Amendment,
    Answer,
    Form,
    ItemFact,
    Kind,
    Line,
    Wrong,
    amended,
    make_token,
    read_amount,
    read_answer,
    read_token,
)
from portal.texts import CATALOG

TODAY = date(2026, 9, 15)


def item(number: str, minor: int = 10_000, held: int = 0, late: int = 20, currency: str = "EUR") -> ItemFact:
    return ItemFact(
        f"id-{number}",
        number,
        TODAY - timedelta(days=late),
        late,
        Money(currency, minor),
        Money(currency, max(minor - held, 0)),
    )


# ---- tokens ----------------------------------------------------------------------------------------------------------
@given(st.binary(min_size=32, max_size=32))
def test_a_token_says_its_tenant_and_keeps_256_bits(secret):
    tenant = new_id()
    token = make_token(tenant, secret)
    assert len(token) == 64
    assert read_token(token) == (tenant, domain.token_sha256(token))


@given(st.text(max_size=80))
def test_what_is_no_token_is_none(text):
    read = read_token(text)
    assert read is None or len(text) == 64


def test_no_changed_token_has_the_same_hash():
    token = make_token(new_id(), bytes(range(32)))
    hashes = {domain.token_sha256(token)}
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place in range(64):
        for letter in alphabet:
            changed = token[:place] + letter + token[place + 1 :]
            if changed != token:
                read = read_token(changed)
                assert read is None or read[1] not in hashes


# ---- answers ---------------------------------------------------------------------------------------------------------
def test_a_promise_takes_what_is_collectable_of_each_item():
    answer = read_answer(
        Form("PROMISE", ("id-A", "id-B", "id-A"), on="2026-09-22"), [item("A"), item("B", held=4_000)], TODAY
    )
    assert isinstance(answer, Answer)
    assert [(line.number, line.amount.minor_units) for line in answer.lines] == [("A", 10_000), ("B", 6_000)]
    assert answer.promised_on == date(2026, 9, 22)


@pytest.mark.parametrize(
    ("form", "errors"),
    [
        (Form("PROMISE", (), on="2026-09-22"), {"items": "NONE"}),
        (Form("PROMISE", ("id-X",), on="2026-09-22"), {"items": "CHANGED"}),
        (Form("PROMISE", ("id-HELD",), on="2026-09-22"), {"items": "CHANGED"}),
        (Form("PROMISE", ("id-CREDIT",), on="2026-09-22"), {"items": "CHANGED"}),
        (Form("PROMISE", ("id-A",), on="2026-09-14"), {"on": "PAST"}),
        (Form("PROMISE", ("id-A",), on="2027-09-14"), {"on": "FAR"}),
        (Form("PROMISE", ("id-A",), on="tomorrow"), {"on": "MISSING"}),
        (Form("ALREADY_PAID", ("id-A",), on="2026-09-16"), {"on": "FUTURE"}),
        (Form("ALREADY_PAID", ("id-A",), on="2026-09-14", reference="x" * 101), {"reference": "LONG"}),
        (Form("DISPUTE", ("id-A",), reason="NOPE"), {"reason": "MISSING", "comment": "MISSING"}),
        (Form("DISPUTE", ("id-A",), reason="PRICE", comment="x", amounts={"id-A": "100.01"}), {"amount:id-A": "HIGH"}),
        (Form("DISPUTE", ("id-A",), reason="PRICE", comment="x" * 2001), {"comment": "LONG"}),
        (Form("REFUND", ("id-A",)), {"answer": "MISSING"}),
    ],
)
def test_what_is_wrong_is_named(form, errors):
    items = [item("A"), item("HELD", held=10_000), item("CREDIT", -500)]
    wrong = read_answer(form, items, TODAY)
    assert isinstance(wrong, Wrong)
    assert wrong.errors == errors


@pytest.mark.parametrize("day", ["2026-09-15", "2026-09-16"])
def test_today_and_later_can_be_promised(day):
    assert isinstance(read_answer(Form("PROMISE", ("id-A",), on=day), [item("A")], TODAY), Answer)


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("", 123_450),
        ("1,234.50", 123_450),
        ("1 234,50", 123_450),
        ("1.234,5", 123_450),
        ("1'234.50", 123_450),
        ("1\u202f234,50", 123_450),
        ("1,234", 123_400),
        ("12", 1_200),
        (".5", 50),
        ("0", "AMOUNT"),
        ("-5", "AMOUNT"),
        ("abc", "AMOUNT"),
        ("1e3", "AMOUNT"),
        ("٣", "AMOUNT"),
        ("1234.51", "HIGH"),
    ],
)
def test_amounts_are_read_as_people_write_them(text, minor):
    read = read_amount(text, Money("EUR", 123_450))
    assert read == (minor if isinstance(minor, str) else Money("EUR", minor))


def test_amounts_of_currencies_without_decimals():
    assert read_amount("1,200", Money("JPY", 5000)) == Money("JPY", 1200)
    assert read_amount("1.200", Money("JPY", 5000)) == Money("JPY", 1200)


@given(st.text(max_size=30), st.integers(1, 10**9))
def test_an_amount_never_exceeds_its_limit(text, limit):
    read = read_amount(text, Money("EUR", limit))
    assert isinstance(read, str) or 0 < read.minor_units <= limit


# ---- amendments ------------------------------------------------------------------------------------------------------
ANSWER = Answer(
    Kind.PROMISE, (Line("i", "A", Money("EUR", 10_000), Money("EUR", 10_000)),), promised_on=date(2026, 9, 22)
)


def test_what_is_not_amended_stays():
    assert amended(ANSWER, Amendment(), TODAY) == ANSWER
    later = amended(ANSWER, Amendment(promised_on=date(2026, 9, 30), amounts={"i": Money("EUR", 4_000)}), TODAY)
    assert (later.promised_on, later.lines[0].amount) == (date(2026, 9, 30), Money("EUR", 4_000))


def test_a_day_that_is_past_and_lines_that_do_not_fit_are_refused():
    with refused(Code.INVALID_ARGUMENT, "DATE_PAST"):
        amended(ANSWER, Amendment(), date(2026, 9, 23))
    for amounts in (
        {"other": Money("EUR", 1)},
        {"i": Money("EUR", 10_001)},
        {"i": Money("USD", 1)},
        {"i": Money("EUR", 0)},
    ):
        with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
            amended(ANSWER, Amendment(amounts=amounts), TODAY)


def test_lines_that_do_not_fit_are_named_by_place_for_programs_and_by_number_for_people():
    amounts = {"other": Money("EUR", 1), "i": Money("EUR", 10_001)}
    with pytest.raises(Refused) as error:
        amended(ANSWER, Amendment(amounts=amounts), TODAY)
    number = ANSWER.lines[0].number
    assert error.value.fields == {
        "lines[0].item_id": "is not part of the answer",
        "lines[1].amount": f"{number}: above zero and at most 100.00 EUR",
    }
    assert error.value.message == f"these lines do not fit the answer: 1., {number}"
    french = CATALOG.refusal(error.value, "fr")
    assert french.fields["lines[1].amount"] == f"{number} : supérieur à zéro et au plus 100.00 EUR"
    assert french.message == f"ces lignes ne correspondent pas à la réponse : 1., {number}"


@pytest.mark.parametrize(
    ("email", "name"), [("ines.caradec@x.example", "Ines"), ("billing@x.example", ""), ("", ""), ("a.b", "")]
)
def test_first_names_only_where_an_address_shows_one(email, name):
    assert domain.first_name(email) == name
