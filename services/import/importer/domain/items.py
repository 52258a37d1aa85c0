"""Rows that are items: amounts with their sign, kind, currency, dates, identity."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain import fields as known
from importer.domain.columns import AMOUNT_FIELDS, ISSUE_FALLBACKS, Columns, null_if_empty
from importer.domain.model import ITEM_SCHEMA, PREVIEW_ROWS, Question
from importer.domain.texts import question_text
from importer.domain.values import (
    CURRENCIES,
    AmountColumn,
    currency_codes,
    flag,
    header_key,
    minor_units,
    round_to_currency,
)

FAR_DUE_DAYS = 2 * 366


class Items(Columns):
    """Items of one entity."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account, number = self.identifier("accountNumber"), self.identifier("itemNumber")
        external, line_number = self.identifier("externalId"), self.identifier("lineNumber")
        if self.has("externalId"):
            self.refuse(pc.equal(external, ""), "externalId", "missing")
            number = pc.if_else(pc.equal(number, ""), external, number)
        self.refuse(pc.equal(account, ""), "accountNumber", "missing")
        self.refuse(pc.equal(number, ""), "itemNumber", "missing")
        name = self.text("accountName")
        days = self._dates()
        nothing = pa.nulls(self.rows, pa.date32())
        issue = days.get("issueOn")
        if issue is None:
            issue = next((days[fallback] for fallback in ISSUE_FALLBACKS if fallback in days), nothing)
        bad_issue = self._refused_rows("issueOn")
        self.refuse(pc.and_(pc.is_null(issue), pc.invert(bad_issue)), "issueOn", "missing")
        due, posted, settled = days.get("dueOn", nothing), days.get("postedOn", nothing), days.get("settledOn", nothing)

        amounts = self._amounts()
        currency = self._currency(amounts)
        exponent = self._exponents(currency)
        minor = {field_name: self._minor(field_name, text, exponent) for field_name, (text, _) in amounts.items()}
        initial, opened = self._signed(minor, amounts)
        kind, initial, opened = self._kinds(initial, opened)

        if self.has("openFlag"):
            is_open, unknown = flag(self.column("openFlag"))
            self.refuse(unknown, "openFlag", "flagUnknown")
            opened = pc.if_else(is_open, opened, 0)
        # A settled date settles: exports go on showing the amount of settled items in the amount column.
        opened = pc.if_else(pc.is_valid(settled), 0, opened)
        if self.has("disputed"):
            _, unknown = flag(self.column("disputed"))
            self.refuse(unknown, "disputed", "flagUnknown")
        year = self._fiscal_year(issue)
        self._warn_dates(issue, due, settled)
        self._warn_entity()
        self._refuse_duplicates_of_items(account, number, external, line_number, kind, year)
        table = pa.table(
            {
                "line": self.raw.lines,
                "account_number": account,
                "account_name": name,
                "number": number,
                "external_id": null_if_empty(external),
                "line_number": null_if_empty(line_number),
                "kind": kind,
                "currency": currency,
                "issue_on": issue,
                "due_on": due,
                "posted_on": posted,
                "settled_on": settled,
                "initial_minor": initial,
                "open_minor": opened,
                "fiscal_year": year,
                "order_number": null_if_empty(self.text("orderNumber")),
                "reference": null_if_empty(self._reference()),
                "text": null_if_empty(self.text("text")),
                "payment_terms": null_if_empty(self.text("paymentTerms")),
                "custom_fields": self._custom_fields(("disputed", "companyCode")),
            },
            schema=ITEM_SCHEMA,
        )
        shown = {
            "accountNumber": account,
            "accountName": name,
            "itemNumber": number,
            "externalId": external,
            "lineNumber": line_number,
            "itemType": kind,
            "issueOn": issue,
            "dueOn": due,
            "postedOn": posted,
            "settledOn": settled,
            "currency": currency,
            "initialAmount": _decimal_text(initial, exponent),
            "openAmount": _decimal_text(opened, exponent),
        }
        return table, shown

    def _reference(self) -> pa.Array:
        reference = self.text("reference")
        if not self.has("assignment"):
            return reference
        return pc.if_else(pc.equal(reference, ""), self.text("assignment"), reference)

    def _currency(self, amounts: Mapping[str, tuple[pa.Array, AmountColumn]]) -> pa.Array:
        local_only = "localAmount" in amounts and not (
            {"initialAmount", "openAmount", "debit", "credit"} & set(amounts)
        )
        default = self.answers.get("currency", "").upper()
        if local_only and self.wanted.entity_currency:
            self.warn("localAmount", currency=self.wanted.entity_currency)
            return self.constant(self.wanted.entity_currency)
        if self.has("currency"):
            codes, unknown = currency_codes(self.column("currency"))
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
        for name in ("initialAmount", "openAmount", "debit", "credit"):
            if name in amounts:
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

    def _minor(self, name: str, text: pa.Array, exponent: pa.Array) -> pa.Array:
        text, rounded = round_to_currency(text, exponent)
        if rounded:
            self.warn("amountRounded", column=self.header(name), count=str(rounded))
        units, masks = minor_units(text, exponent)
        for code, mask in masks.items():
            self.refuse(mask, name, code)
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.int64()), units)

    def _signed(
        self, minor: dict[str, pa.Array], amounts: Mapping[str, tuple[pa.Array, AmountColumn]]
    ) -> tuple[pa.Array, pa.Array]:
        """Initial and open amount of each row with their sign; null open amounts are the initial ones and the other
        way round."""
        absent = pa.nulls(self.rows, pa.int64())
        initial, opened = minor.get("initialAmount", absent), minor.get("openAmount", absent)
        if "debit" in minor or "credit" in minor:
            debit, credit = minor.get("debit", absent), minor.get("credit", absent)
            both = pc.and_(pc.is_null(debit), pc.is_null(credit))
            net = pc.if_else(both, absent, pc.subtract(pc.fill_null(debit, 0), pc.abs(pc.fill_null(credit, 0))))
            initial = pc.coalesce(initial, net)
        if "localAmount" in minor and not ({"initialAmount", "openAmount", "debit", "credit"} & set(minor)):
            initial = minor["localAmount"]
        for name in ("initialAmount", "openAmount", "localAmount"):
            if name in amounts and pc.any(amounts[name][1].credit_mark, min_count=0).as_py():
                mark = amounts[name][1].credit_mark
                if name == "openAmount":
                    opened = pc.if_else(mark, pc.negate(pc.abs(opened)), opened)
                else:
                    initial = pc.if_else(mark, pc.negate(pc.abs(initial)), initial)
        if self.has("debitCredit"):
            encoded = pc.utf8_lower(pc.utf8_trim_whitespace(self.column("debitCredit"))).dictionary_encode()
            words = encoded.dictionary.to_pylist()
            credit_word = pa.array(
                [word in known.CREDIT_WORDS or header_key(word) in known.CREDIT_WORDS for word in words], pa.bool_()
            )
            debit_word = pa.array(
                [word in known.DEBIT_WORDS or header_key(word) in known.DEBIT_WORDS for word in words], pa.bool_()
            )
            is_credit, is_debit = credit_word.take(encoded.indices), debit_word.take(encoded.indices)
            self.refuse(pc.invert(pc.or_(is_credit, is_debit)), "debitCredit", "debitCreditUnknown")
            # A signed file with an indicator keeps its signs: the indicator then says what the sign says already.
            unsigned = not pc.any(pc.less(pc.coalesce(initial, opened), 0)).as_py()
            if unsigned:
                initial = pc.if_else(is_credit, pc.negate(initial), initial)
                opened = pc.if_else(is_credit, pc.negate(opened), opened)
        both_missing = pc.and_(pc.is_null(initial), pc.is_null(opened))
        amount_field = next(
            (name for name in ("initialAmount", "openAmount", "localAmount", "debit") if name in minor), "initialAmount"
        )
        already = self.constant(False, pa.bool_())
        for name in AMOUNT_FIELDS:
            already = pc.or_(already, self._refused_rows(name))
        self.refuse(pc.and_(both_missing, pc.invert(already)), amount_field, "missing")
        return pc.fill_null(pc.coalesce(initial, opened), 0), pc.fill_null(pc.coalesce(opened, initial), 0)

    def _kinds(self, initial: pa.Array, opened: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Item type by the file's word, else by the sign: debit is an invoice, credit a payment (domain rule 3)."""
        sign = pc.if_else(pc.not_equal(initial, 0), initial, opened)
        by_sign = pc.if_else(pc.less(sign, 0), "PAYMENT", "INVOICE")
        if not self.has("itemType"):
            return by_sign, initial, opened
        kinds, _, words = self._words("itemType", known.KIND_BY_WORD)
        if words:
            self.warn("itemTypeUnknown", values=", ".join(words[:10]))
        kind = pc.coalesce(kinds, by_sign)
        credit = pc.is_in(kind, pa.array(known.CREDIT_KINDS))
        if (
            pc.any(credit, min_count=0).as_py()
            and not pc.any(pc.and_(credit, pc.less(sign, 0)), min_count=0).as_py()
            and not self.has("debitCredit")
        ):
            # No credit carries a sign: the file writes amounts without, and the type says which way.
            initial = pc.if_else(credit, pc.negate(pc.abs(initial)), initial)
            opened = pc.if_else(credit, pc.negate(pc.abs(opened)), opened)
            sign = pc.if_else(credit, pc.negate(pc.abs(sign)), sign)
        negative_debit = pc.and_(pc.less(sign, 0), pc.invert(credit))
        count = pc.sum(negative_debit, min_count=0).as_py()
        if count:
            self.warn("openNegativeInvoice", count=str(count))
        kind = pc.if_else(negative_debit, pc.if_else(pc.equal(kind, "INVOICE"), "CREDIT_NOTE", "OTHER_CREDIT"), kind)
        kind = pc.if_else(pc.and_(pc.greater(sign, 0), credit), "OTHER_DEBIT", kind)
        return kind, initial, opened

    def _fiscal_year(self, issue: pa.Array) -> pa.Array:
        derived = pc.fill_null(pc.cast(pc.year(issue), pa.int32()), 0)
        if not self.has("fiscalYear"):
            return derived
        text = self.identifier("fiscalYear")
        good = pc.match_substring_regex(text, r"^(19|20|21)\d\d$")
        return pc.if_else(good, pc.cast(pc.if_else(good, text, "0"), pa.int32()), derived)

    def _warn_dates(self, issue: pa.Array, due: pa.Array, settled: pa.Array) -> None:
        def count(mask: pa.Array) -> int:
            return pc.sum(pc.fill_null(mask, False), min_count=0).as_py()

        distance = pc.subtract(pc.cast(due, pa.int32()), pc.cast(issue, pa.int32()))
        for code, number in (
            ("dueMissing", count(pc.and_(pc.is_null(due), pc.invert(self._refused_rows("dueOn"))))),
            ("dueBeforeIssue", count(pc.less(distance, 0))),
            ("dueFarAway", count(pc.greater(distance, FAR_DUE_DAYS))),
            ("settledBeforeIssue", count(pc.less(settled, issue))),
        ):
            if number:
                self.warn(code, count=str(number))

    def _refuse_duplicates_of_items(
        self,
        account: pa.Array,
        number: pa.Array,
        external: pa.Array,
        line_number: pa.Array,
        kind: pa.Array,
        year: pa.Array,
    ) -> None:
        if self.has("externalId"):
            self._refuse_duplicates(external, "externalId", pc.equal(external, ""))
            return
        key = pc.binary_join_element_wise(account, number, line_number, pc.cast(year, pa.string()), kind, "\x1f")
        self._refuse_duplicates(key, "itemNumber", pc.or_(pc.equal(account, ""), pc.equal(number, "")))


def _decimal_text(minor: pa.Array, exponent: pa.Array) -> pa.Array:
    """Minor units as decimal text for the preview; only its rows are written out."""
    values = []
    for units, decimals in zip(
        minor.slice(0, PREVIEW_ROWS).to_pylist(), exponent.slice(0, PREVIEW_ROWS).to_pylist(), strict=True
    ):
        sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(decimals + 1, "0")
        values.append(sign + (digits[:-decimals] + "." + digits[-decimals:] if decimals else digits))
    return pa.array(values, pa.string())
