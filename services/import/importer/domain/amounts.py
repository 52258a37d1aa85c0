"""Amounts of money in columns: their currency, their minor units, how the preview writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.columns import Columns
from importer.domain.model import PREVIEW_ROWS, Question
from importer.domain.texts import question_text
from importer.domain.values import (
    CURRENCIES,
    AmountColumn,
    currency_codes,
    hundredths,
    minor_units,
    round_to_currency,
)


class Amounts(Columns):
    """Columns of which some are amounts."""

    def _currency(self, amounts: Mapping[str, tuple[pa.Array, AmountColumn]]) -> pa.Array:
        local_only = "localAmount" in amounts and not (
            {"initialAmount", "openAmount", "debit", "credit"} & set(amounts)
        )
        default = self.answers.get("currency", "").upper()
        if local_only and self.wanted.entity_currency:
            self.warn("localAmount", currency=self.wanted.entity_currency)
            return self.constant(self.wanted.entity_currency)
        if self.has("currency"):
            codes, unknown = currency_codes(self.encoded("currency"))
            self.refuse(unknown, "currency", "currencyUnknown")
            beside = self._beside(amounts)
            codes = pc.coalesce(codes, beside)
            empty = pc.and_(pc.is_null(codes), pc.invert(unknown))
            if pc.any(empty, min_count=0).as_py():
                fallback = default or self.wanted.entity_currency
                if fallback:
                    codes = pc.if_else(empty, fallback, codes)
                    self.warn("currencyAssumed", currency=fallback)
                else:
                    self.refuse(empty, "currency", "missing")
            return codes
        beside = self._beside(amounts)
        named = default or self._currency_of_header(amounts) or self.wanted.entity_currency
        if not named and beside.null_count:
            self.questions.append(
                Question(
                    "currency",
                    "",
                    ("EUR", "USD", "GBP", "CHF", "CAD"),
                    question_text("currency"),
                    question_text("currency", "fr"),
                )
            )
            return pc.fill_null(beside, "EUR")
        if beside.null_count and self.rows:
            self.warn("currencyAssumed", currency=named)
            return pc.fill_null(beside, named)
        return beside

    def _beside(self, amounts: Mapping[str, tuple[pa.Array, AmountColumn]]) -> pa.Array:
        beside = pa.nulls(self.rows, pa.string())
        for name in amounts:
            if name != "localAmount":
                beside = pc.coalesce(beside, amounts[name][1].currency)
        return beside

    def _currency_of_header(self, amounts: Mapping[str, tuple[pa.Array, AmountColumn]]) -> str:
        """`converted_usd`, `Amount (EUR)`: the one currency that the amounts' headers name."""
        named = set()
        for name in amounts:
            words = re.split(r"[^A-Za-z€£]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.header(name)))
            named |= {word.upper() for word in words if word.upper() in CURRENCIES and len(word) == 3}
            named |= {"EUR"} if "€" in self.header(name) else set()
        # ALL, TOP and their like are words before they are currencies.
        named -= {"ALL", "TOP", "TRY", "COP", "CUP", "MOP", "PEN", "RON", "SOS", "GEL", "LAK", "MAD", "PAB"}
        return named.pop() if len(named) == 1 else ""

    def _exponents(self, currency: pa.Array) -> pa.Array:
        encoded = currency.dictionary_encode()
        exponents = pa.array([CURRENCIES.get(code, 2) for code in encoded.dictionary.to_pylist()], pa.int32())
        return pc.fill_null(exponents.take(encoded.indices), 2)

    def _minor(self, name: str, text: pa.Array, profile: AmountColumn, exponent: pa.Array) -> pa.Array:
        if profile.simple is not None and pc.all(pc.equal(exponent, 2), min_count=0).as_py():
            return hundredths(text)
        text, rounded = round_to_currency(text, exponent)
        if rounded:
            self.warn("amountRounded", column=self.header(name), count=str(rounded))
        units, masks = minor_units(text, exponent)
        for code, mask in masks.items():
            self.refuse(mask, name, code)
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.int64()), units)


def decimal_text(minor: pa.Array, exponent: pa.Array) -> pa.Array:
    """Minor units as decimal text for the preview; only its rows are written out."""
    values = []
    for units, decimals in zip(
        minor.slice(0, PREVIEW_ROWS).to_pylist(), exponent.slice(0, PREVIEW_ROWS).to_pylist(), strict=True
    ):
        sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(decimals + 1, "0")
        values.append(sign + (digits[:-decimals] + "." + digits[-decimals:] if decimals else digits))
    return pa.array(values, pa.string())
