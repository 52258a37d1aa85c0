"""Rows that are items: amounts with their sign, kind, currency, dates, identity."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importer.domain import fields as known
from importer.domain.amounts import Amounts, decimal_text
from importer.domain.columns import AMOUNT_FIELDS, ISSUE_FALLBACKS, null_if_empty, repeated
from importer.domain.item_types import ruled
from importer.domain.model import ITEM_SCHEMA
from importer.domain.terms import due_days, read_terms
from importer.domain.values import (
    AmountColumn,
    flag,
    header_key,
)

FAR_DUE_DAYS = 2 * 366


class Items(Amounts):
    """Items of one entity."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account, number = self.identifier("accountNumber"), self.identifier("itemNumber")
        external, line_number = self.identifier("externalId"), self.identifier("lineNumber")
        if self.has("externalId"):
            self.refuse(pc.equal(external, ""), "externalId", "missing")
            number = pc.if_else(pc.equal(number, ""), external, number)
        self.refuse(pc.equal(account, ""), "accountNumber", "missing")
        self.refuse(pc.equal(number, ""), "itemNumber", "missing")
        account_name = self.text("accountName")
        days = self._dates()
        nothing = pa.nulls(self.rows, pa.date32())
        issue = days.get("issueOn")
        if issue is None:
            issue = next((days[fallback] for fallback in ISSUE_FALLBACKS if fallback in days), nothing)
        bad_issue = self._refused_rows("issueOn")
        self.refuse(pc.and_(pc.is_null(issue), pc.invert(bad_issue)), "issueOn", "missing")
        posted, settled = days.get("postedOn", nothing), days.get("settledOn", nothing)

        amounts = self._amounts()
        currency = self._currency(amounts)
        exponent = self._exponents(currency)
        minor = {name: self._minor(name, text, profile, exponent) for name, (text, profile) in amounts.items()}
        initial, opened = self._signed(minor, amounts)
        kind, initial, opened = self._kinds(initial, opened)
        due = self._due(days.get("dueOn", nothing), days.get("baselineOn", nothing), issue, initial, opened)

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
                "account_name": account_name,
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
            "accountName": account_name,
            "itemNumber": number,
            "externalId": external,
            "lineNumber": line_number,
            "itemType": kind,
            "issueOn": issue,
            "dueOn": due,
            "postedOn": posted,
            "settledOn": settled,
            "currency": currency,
            "initialAmount": decimal_text(initial, exponent),
            "openAmount": decimal_text(opened, exponent),
        }
        return table, shown

    def _due(self, due: pa.Array, baseline: pa.Array, issue: pa.Array, initial: pa.Array, opened: pa.Array) -> pa.Array:
        """The net due date: the file's own, else SAP's rule of baseline and days, else what the payment terms say.

        SAP (BSID, BSEG): ZFBDT + the largest filled of ZBD3T, ZBD2T, ZBD1T; a credit without a reference to its invoice
        (REBZG) is due at ZFBDT.
        """
        day_fields = [name for name in ("termsDays1", "termsDays2", "termsDays3") if self.has(name)]
        if not due.null_count or not (day_fields or self.has("paymentTerms") or self.has("baselineOn")):
            return due
        start = pc.coalesce(baseline, issue).cast(pa.int32()).cast(pa.int64())
        computed = pa.nulls(self.rows, pa.int64())
        if day_fields:
            net = pa.array(np.zeros(self.rows, dtype=np.int64))
            for name in day_fields:
                net = pc.max_element_wise(net, self._day_count(name))
            computed = pc.add(start, net)
            if not self.has("baselineOn"):
                # Without a baseline a zero only says that the column is not used.
                computed = pc.if_else(pc.greater(net, 0), computed, pa.scalar(None, pa.int64()))
        if self.has("paymentTerms"):
            computed = pc.coalesce(computed, self._by_terms(start))
        if self.has("baselineOn"):
            referenced = self.constant(False, pa.bool_())
            if self.has("invoiceReference"):
                referenced = pc.not_equal(self.identifier("invoiceReference"), "")
            amount = pc.if_else(pc.not_equal(initial, 0), initial, opened)
            free_credit = pc.and_(pc.and_(pc.less(amount, 0), pc.invert(referenced)), pc.is_valid(baseline))
            computed = pc.if_else(free_credit, start, computed)
        wanted = pc.and_(pc.is_null(due), pc.invert(self._refused_rows("dueOn")))
        computed = pc.if_else(wanted, computed, pa.scalar(None, pa.int64()))
        count = self.rows - computed.null_count
        if count:
            self.warn("dueFromTerms", count=str(count))
        return pc.coalesce(due, computed.cast(pa.int32()).cast(pa.date32()))

    def _day_count(self, name: str) -> pa.Array:
        encoded = self.encoded(name)
        texts = encoded.dictionary.to_pylist()
        good = [re.fullmatch(r"0*(\d{1,3})([.,]0*)?", text) for text in texts]
        counts = pa.array([int(match[1]) if match else 0 for match in good], pa.int64())
        wrong = pa.array([not match and text != "" for match, text in zip(good, texts, strict=True)], pa.bool_())
        self.refuse(wrong.take(encoded.indices), name, "daysNotANumber")
        return counts.take(encoded.indices)

    def _by_terms(self, start: pa.Array) -> pa.Array:
        """Due days by the words of the payment terms; null where they say nothing certain or there is no start."""
        encoded = self.encoded("paymentTerms")
        terms = [read_terms(text) for text in encoded.dictionary.to_pylist()]
        if not any(terms):
            return pa.nulls(self.rows, pa.int64())
        rows, known = encoded.indices.to_numpy(), start.is_valid().to_numpy(zero_copy_only=False)
        days = pc.fill_null(start, 0).to_numpy()
        result, valid = np.zeros(self.rows, dtype=np.int64), np.zeros(self.rows, dtype=bool)
        for at, entry in enumerate(terms):
            if entry is not None:
                mask = (rows == at) & known
                result[mask], valid[mask] = due_days(days[mask], entry), True
        return pa.array(result, mask=~valid)

    def _reference(self) -> pa.Array:
        reference = self.text("reference")
        if not self.has("assignment"):
            return reference
        return pc.if_else(pc.equal(reference, ""), self.text("assignment"), reference)

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
            encoded = self.encoded("debitCredit")
            words = [word.lower() for word in encoded.dictionary.to_pylist()]
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
            if self.decisions:
                unsigned = not self.decisions.has_negative
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
        kinds, flipped, words = ruled(self, kinds, words)
        if flipped is not None:
            initial = pc.if_else(flipped, pc.negate(initial), initial)
            opened = pc.if_else(flipped, pc.negate(opened), opened)
            sign = pc.if_else(flipped, pc.negate(sign), sign)
            by_sign = pc.if_else(pc.less(sign, 0), "PAYMENT", "INVOICE")
        if words:
            self.warn("itemTypeUnknown", values=", ".join(words[:10]))
        kind = pc.coalesce(kinds, by_sign)
        credit = pc.is_in(kind, pa.array(known.CREDIT_KINDS))
        if (
            pc.any(credit, min_count=0).as_py()
            and not self._has_signed_credit(credit, sign)
            and not self.has("debitCredit")
        ):
            # No credit carries a sign: the file writes amounts without, and the type says which way.
            initial = pc.if_else(credit, pc.negate(pc.abs(initial)), initial)
            opened = pc.if_else(credit, pc.negate(pc.abs(opened)), opened)
            sign = pc.if_else(credit, pc.negate(pc.abs(sign)), sign)
        negative_debit = pc.and_(pc.less(sign, 0), pc.invert(credit))
        self.warn_rows("openNegativeInvoice", negative_debit)
        kind = pc.if_else(negative_debit, pc.if_else(pc.equal(kind, "INVOICE"), "CREDIT_NOTE", "OTHER_CREDIT"), kind)
        kind = pc.if_else(pc.and_(pc.greater(sign, 0), credit), "OTHER_DEBIT", kind)
        return kind, initial, opened

    def _has_signed_credit(self, credit: pa.Array, sign: pa.Array) -> bool:
        if self.decisions:
            return self.decisions.has_signed_credit
        return bool(pc.any(pc.and_(credit, pc.less(sign, 0)), min_count=0).as_py())

    def _fiscal_year(self, issue: pa.Array) -> pa.Array:
        derived = pc.fill_null(pc.cast(pc.year(issue), pa.int32()), 0)
        if not self.has("fiscalYear"):
            return derived
        text = self.identifier("fiscalYear")
        good = pc.match_substring_regex(text, r"^(19|20|21)\d\d$")
        return pc.if_else(good, pc.cast(pc.if_else(good, text, "0"), pa.int32()), derived)

    def _warn_dates(self, issue: pa.Array, due: pa.Array, settled: pa.Array) -> None:
        distance = pc.subtract(pc.cast(due, pa.int32()), pc.cast(issue, pa.int32()))
        self.warn_rows("dueMissing", pc.and_(pc.is_null(due), pc.invert(self._refused_rows("dueOn"))))
        self.warn_rows("dueBeforeIssue", pc.less(distance, 0))
        self.warn_rows("dueFarAway", pc.greater(distance, FAR_DUE_DAYS))
        self.warn_rows("settledBeforeIssue", pc.less(settled, issue))
        if self.wanted.file_on is not None:
            self.warn_rows("issueInFuture", pc.greater(issue, pa.scalar(self.wanted.file_on, pa.date32())))

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
        # Equal keys have equal numbers: only rows whose number comes twice are compared whole.
        twice = repeated(number)
        if not len(twice):
            return
        again = pc.is_in(number, twice)
        some = [values.filter(again) for values in (account, number, line_number, pc.cast(year, pa.string()), kind)]
        key = pc.binary_join_element_wise(*some, "\x1f")
        ignored = pc.or_(pc.equal(some[0], ""), pc.equal(some[1], ""))
        key = pc.if_else(ignored, pa.scalar(None, pa.string()), key)
        equal = pc.is_in(key, repeated(key)).to_numpy(zero_copy_only=False)
        mask = np.zeros(self.rows, dtype=bool)
        mask[np.flatnonzero(again.to_numpy(zero_copy_only=False))[equal]] = True
        self.refuse(pa.array(mask), "itemNumber", "duplicateKey")
