"""Amounts as people write them. Rules only: no database, no clock."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kit.money import Money, exponent, format_amount

THIN, HARD = "\u202f", "\u00a0"


@pytest.mark.parametrize(
    ("written", "minor"),
    [
        ("1234.56", 123456),
        ("1 234,56", 123456),
        (f"1{THIN}234,56", 123456),
        (f"1{HARD}234,56", 123456),
        ("1,234.56", 123456),
        ("1.234,56", 123456),
        ("1'234.56", 123456),
        ("1\u2019234.56", 123456),
        ("1,234,567.8", 123456780),
        ("1.234.567", 123456700),
        ("1,234", 123400),
        ("1.234", 123400),
        ("1 234", 123400),
        ("12,5", 1250),
        (" 12 ", 1200),
        ("12.", 1200),
        (",5", 50),
        ("0,05", 5),
        ("EUR 1,234.50", 123450),
        (f"1 234,50{HARD}EUR", 123450),
        ("-12.50", -1250),
        ("\u221212.50", -1250),
    ],
)
def test_the_ways_people_write_an_amount_in_euros(written, minor):
    assert Money.read(written, "EUR") == Money("EUR", minor)


@pytest.mark.parametrize(
    "written",
    ["", " ", ".", ",", "abc", "1e3", "٣", "1.234.56", "1,23,456", "12.3456", "1234.567", "0.505", "1 23,50", "1.5 0",
     "1,234,56", "--1", "1..2", "USD 5", "1.234'567", "12 345'678", "nan", "Infinity"],
)  # fmt: skip
def test_what_is_no_amount_in_euros_is_refused(written):
    with pytest.raises(ValueError, match=r"no amount|does not fit"):
        Money.read(written, "EUR")


@pytest.mark.parametrize("written", ["1.234", "1,234", "12,500", "999.000", "KWD 1,234"])
def test_three_digits_behind_one_sign_are_never_guessed_where_the_currency_has_three_decimals(written):
    with pytest.raises(ValueError, match="two ways"):
        Money.read(written, "KWD")


@pytest.mark.parametrize(
    ("written", "minor"),
    [("1,234.567", 1234567), ("1.234,567", 1234567), ("1 234,567", 1234567), ("1234.567", 1234567), ("0.500", 500),
     ("1,234.5", 1234500), ("1.234.567", 1234567000), ("1 234", 1234000), ("1234", 1234000), ("1.23", 1230),
     (",125", 125)],
)  # fmt: skip
def test_everything_else_is_clear_in_dinars_too(written, minor):
    assert Money.read(written, "KWD") == Money("KWD", minor)


def test_yen_have_thousands_and_no_decimals():
    assert Money.read("1,234", "JPY") == Money.read("1.234", "JPY") == Money("JPY", 1234)
    assert Money.read("1,234,567", "JPY") == Money("JPY", 1234567)
    for wrong in ("1.5", "1,234.5", "1234.56"):
        with pytest.raises(ValueError, match="does not fit"):
            Money.read(wrong, "JPY")


@given(st.sampled_from(["EUR", "JPY", "KWD", "CLF"]), st.integers(-(10**15), 10**15), st.sampled_from(" ',."))
def test_what_is_written_with_groups_and_all_decimals_is_read_back(currency, minor, group):
    plain = format_amount(minor, currency)
    sign, digits = plain[: plain.startswith("-")], plain.lstrip("-")
    whole, _, fraction = digits.partition(".")
    point = "," if group == "." else "."
    grouped = f"{int(whole):,}".replace(",", group)
    written = sign + grouped + (point + fraction if exponent(currency) else "")
    assume(not (exponent(currency) == 3 and len(whole) <= 3 and whole != "0"))
    assert Money.read(written, currency) == Money(currency, minor)


@given(st.text(max_size=20), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_no_text_does_anything_but_give_an_amount_or_be_refused(text, currency):
    try:
        assert Money.read(text, currency).currency == currency
    except ValueError as refusal:
        assert str(refusal)
