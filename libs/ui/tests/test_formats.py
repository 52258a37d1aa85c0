"""Numbers, dates and money as the design guide's section 6 writes them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui import formats
from ui.brand import brand_css, contrast


@pytest.mark.parametrize(
    ("minor", "currency", "language", "text"),
    [
        (1248050, "EUR", "en", "EUR\u00a012,480.50"),
        (1248050, "EUR", "fr", "12\u202f480,50\u00a0EUR"),
        (1248050, "EUR", "de", "EUR\u00a012.480,50"),
        (1248050, "EUR", "es", "12.480,50\u00a0EUR"),
        (124805, "EUR", "es", "1248,05\u00a0EUR"),  # Spanish groups from five digits on.
        (-312000, "EUR", "en", "EUR\u00a0\u22123,120.00"),
        (123456, "JPY", "en", "JPY\u00a0123,456"),
        (1234567, "KWD", "en", "KWD\u00a01,234.567"),
        (0, "EUR", "en", "EUR\u00a00.00"),
    ],
)
def test_money(minor, currency, language, text):
    assert formats.money_text(minor, currency, language) == text


def test_kpis_have_no_decimals_and_no_negative_zero():
    assert formats.minor_text(284612055, "EUR", "en", 0) == "2,846,121"
    assert formats.minor_text(-40, "EUR", "en", 0) == "0"


@given(
    st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD"]), st.sampled_from(["en", "fr", "de", "es"])
)
def test_no_cent_is_lost_in_writing(minor, currency, language):
    text = formats.minor_text(minor, currency, language)
    digits = "".join(c for c in text if c.isdigit())
    assert int(digits) * (-1 if text.startswith(formats.MINUS) else 1) == minor


def test_exponents_are_those_of_kit():
    money = pytest.importorskip("kit.money")
    for currency in ("EUR", "GBP", "USD", "JPY", "KRW", "KWD", "BHD", "TND", "ISK", "HUF", "CLP"):
        assert formats.exponent(currency) == money.exponent(currency), currency


def test_percent_and_axis():
    assert formats.percent_text(0.215, "en") == "21.5\u00a0%"
    assert formats.percent_text(-0.011, "fr", signed=True) == "\u22121,1\u00a0%"
    assert formats.compact_text(2_000_000, "en") == "2.0\u00a0m"
    assert formats.compact_text(400_000, "en") == "400\u00a0k"


def test_dates_are_words():
    day = date(2026, 8, 12)
    assert formats.date_text(day, "en", business_year=2026) == "12\u00a0Aug"
    assert formats.date_text(day, "en", business_year=2027) == "12\u00a0Aug\u00a02026"
    assert formats.date_text(day, "fr", "long") == "12\u00a0août\u00a02026"
    assert formats.date_text(date(2026, 9, 15), "en", "weekday") == "Tue\u00a015\u00a0Sep\u00a02026"
    with pytest.raises(ValueError, match="style"):
        formats.date_text(day, "en", "03/04")


@pytest.mark.parametrize(
    ("days", "step"),
    [(None, 0), (-5, 0), (0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4), (120, 4), (121, 5)],
)
def test_age_steps(days, step):
    assert formats.age_step(days) == step


def test_a_brand_nobody_could_read_is_refused():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert "--brand:#1d4d4a" in brand_css("#1d4d4a", "#ffffff")
    for brand, ink in (("#f4d03f", "#ffffff"), ("#f4d03f", "#000000"), ("red", "#ffffff"), ("#1d4d4a;}", "#ffffff")):
        with pytest.raises(ValueError, match=r"contrast|colour"):
            brand_css(brand, ink)
