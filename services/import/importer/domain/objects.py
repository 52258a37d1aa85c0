"""Rows that are neither items nor parties: allocations, sales, orders, assignments, rates, cover, credit information."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.amounts import Amounts, decimal_text
from importer.domain.columns import null_if_empty, repeated
from importer.domain.fields import (
    ALLOCATIONS,
    ASSIGNMENTS,
    COVER,
    CREDIT_INFORMATION,
    EXCHANGE_RATES,
    ORDERS,
    SALES,
)
from importer.domain.values import currency_codes, header_key

_TEXT, _DAY, _AMOUNT = pa.string(), pa.date32(), pa.int64()
# The columns of LoadRows (ledger) and LoadRisk (credit-risk) by object.
SCHEMAS: dict[str, pa.Schema] = {
    name: pa.schema([("line", pa.int32()), *columns])
    for name, columns in {
        ALLOCATIONS: [
            ("account_number", _TEXT),
            ("credit_number", _TEXT),
            ("debit_number", _TEXT),
            ("amount_minor", _AMOUNT),
            ("currency", _TEXT),
            ("value_on", _DAY),
            ("external_id", _TEXT),
        ],
        SALES: [
            ("account_number", _TEXT),
            ("month", _DAY),
            ("currency", _TEXT),
            ("gross_minor", _AMOUNT),
            ("net_minor", _AMOUNT),
        ],
        ORDERS: [
            ("account_number", _TEXT),
            ("number", _TEXT),
            ("ordered_on", _DAY),
            ("delivery_on", _DAY),
            ("amount_minor", _AMOUNT),
            ("currency", _TEXT),
            ("delivered_minor", _AMOUNT),
        ],
        ASSIGNMENTS: [("account_number", _TEXT), ("collector", _TEXT), ("sales_person", _TEXT)],
        EXCHANGE_RATES: [
            ("base", _TEXT),
            ("quote", _TEXT),
            ("rate", _TEXT),
            ("valid_from", _DAY),
            ("source", _TEXT),
        ],
        COVER: [
            ("account_number", _TEXT),
            ("registration_number", _TEXT),
            ("kind", _TEXT),
            ("insurer", _TEXT),
            ("policy", _TEXT),
            ("amount_minor", _AMOUNT),
            ("currency", _TEXT),
            ("valid_from", _DAY),
            ("valid_until", _DAY),
        ],
        CREDIT_INFORMATION: [
            ("account_number", _TEXT),
            ("registration_number", _TEXT),
            ("provider", _TEXT),
            ("score", _TEXT),
            ("rating", _TEXT),
            ("informed_on", _DAY),
            ("facts", _TEXT),
        ],
    }.items()
}
# The amount of each object that totals add up.
AMOUNT_COLUMN = {ALLOCATIONS: "amount_minor", SALES: "gross_minor", ORDERS: "amount_minor", COVER: "amount_minor"}

_COVER_KINDS = {
    "INSURANCE": "insurance insured creditinsurance assurance assurancecredit versicherung kreditversicherung seguro "
    "segurodecredito insuredlimit limit",
    "GUARANTEE": "guarantee bankguarantee security surety parentguarantee letterofcredit lc bond caution garantie "
    "garantiebancaire cautionnement burgschaft bankburgschaft sicherheit akkreditiv aval garantia fianza",
}
COVER_KIND_BY_WORD = {word: kind for kind, words in _COVER_KINDS.items() for word in words.split()}

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan janvier janv januar enero ene",
            "february feb fevrier fevr fev februar febrero",
            "march mar mars marz maerz marzo",
            "april apr avril avr abril abr",
            "may mai mayo",
            "june jun juin juni junio",
            "july jul juillet juil juli julio",
            "august aug aout agosto ago",
            "september sep sept septembre septiembre",
            "october oct octobre oktober okt octubre",
            "november nov novembre noviembre",
            "december dec decembre dezember dez diciembre dic",
        ),
        1,
    )
    for name in names.split()
}


def read_month(text: str, month_first: bool = False) -> str:
    """The first day of the month a text names, YYYY-MM-01; empty when it names none.

    Read are 2026-03, 202603, 03/2026, March 2026 in four languages, 2026-03-31, and days such as 01/03/2026, whose
    month is the second number unless `month_first`.
    """
    text = text.strip()
    if found := re.fullmatch(r"(\d{4})[-/. ]?(\d{2})([-/. ]?\d{2})?([T ].*)?", text):
        year, month = int(found[1]), int(found[2])
    elif found := re.fullmatch(r"(\d{1,2})[-/. ](\d{4})", text):
        year, month = int(found[2]), int(found[1])
    elif found := re.fullmatch(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})", text):
        year, month = int(found[3]), int(found[1 if month_first else 2])
    elif found := re.fullmatch(r"([^\W\d]+)\.?[ \-/]*(\d{2}|\d{4})", text):
        year, month = int(found[2]), _MONTHS.get(header_key(found[1]), 0)
        year += 2000 if year < 100 else 0
    else:
        return ""
    return f"{year:04d}-{month:02d}-01" if 1 <= month <= 12 and 1900 <= year <= 2199 else ""


def has_month_first(texts: list[str]) -> bool:
    """Whether days such as 03/01/2026 that stand for months have the month in front: only then it varies, or is the
    only one a month can be."""
    pairs = [(int(found[1]), int(found[2])) for text in texts if (found := _DAY_TEXT.fullmatch(text.strip()))]
    if not pairs:
        return False
    firsts, seconds = {first for first, _ in pairs}, {second for _, second in pairs}
    if any(second > 12 for second in seconds) or any(first > 12 for first in firsts):
        return all(first <= 12 for first in firsts)
    return len(firsts) > 1 and len(seconds) == 1


_DAY_TEXT = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ]\d{4}")


class _Rows(Amounts):
    """What these objects have in common: required values, one amount with its currency, keys that come once."""

    def required(self, name: str, values: pa.Array) -> pa.Array:
        """The values, with a refusal where a text is empty or a day is not there and was not refused already."""
        missing = pc.equal(values, "") if values.type == _TEXT else pc.is_null(values)
        self.refuse(pc.and_(missing, pc.invert(self._refused_rows(name))), name, "missing")
        return values

    def money(self, *names: str) -> tuple[dict[str, pa.Array], pa.Array, pa.Array]:
        """Minor units by field (null: empty), the currency of each row, its decimals."""
        texts = self._amounts()
        currency = self._currency(texts)
        exponent = self._exponents(currency)
        absent = pa.nulls(self.rows, _AMOUNT)
        found = {name: self._minor(name, *texts[name], exponent) if name in texts else absent for name in names}
        return found, currency, exponent

    def positive(self, name: str, minor: pa.Array) -> pa.Array:
        """An amount that must be there and above zero."""
        self.refuse(pc.and_(pc.is_null(minor), pc.invert(self._refused_rows(name))), name, "missing")
        self.refuse(pc.less_equal(minor, 0), name, "signImpossible")
        return minor

    def once(self, field: str, *parts: pa.Array) -> None:
        """Refuses rows whose key comes twice."""
        texts = [pc.fill_null(part.cast(_TEXT), "") for part in parts]
        key = pc.binary_join_element_wise(*texts, "\x1f") if len(texts) > 1 else texts[0]
        key = pc.if_else(pc.equal(texts[0], ""), pa.scalar(None, _TEXT), key)
        twice = repeated(key)
        if len(twice):
            self.refuse(pc.is_in(key, twice), field, "duplicateKey")

    def day(self, days: Mapping[str, pa.Array], name: str) -> pa.Array:
        """A field's days; all null when no column has it."""
        return days.get(name, pa.nulls(self.rows, _DAY))

    def unit(self) -> tuple[pa.Array, pa.Array]:
        """Customer and registration number, of which one must be there."""
        account, registration = self.identifier("accountNumber"), self.identifier("registrationNumber")
        neither = pc.and_(pc.equal(account, ""), pc.equal(registration, ""))
        self.refuse(neither, "accountNumber", "missing")
        return account, registration

    def table(self, columns: Mapping[str, pa.Array]) -> pa.Table:
        """Rows in the schema of the load."""
        self._warn_entity()
        return pa.table({"line": self.raw.lines, **columns}, schema=SCHEMAS[self.kind])


class Allocations(_Rows):
    """Cash and credits set against debts."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account = self.required("accountNumber", self.identifier("accountNumber"))
        credit = self.required("creditNumber", self.identifier("creditNumber"))
        debit = self.required("debitNumber", self.identifier("debitNumber"))
        value_on = self.required("valueOn", self.day(self._dates(), "valueOn"))
        minor, currency, exponent = self.money("amount")
        # Which of two signs a system writes on what it clears says nothing: an allocation is always so much.
        amount = self.positive("amount", pc.abs(minor["amount"]))
        external = self.identifier("externalId")
        if self.has("externalId"):
            self.once("externalId", external)
        self.once("debitNumber", account, credit, debit, amount, currency, value_on, external)
        columns = {
            "account_number": account,
            "credit_number": credit,
            "debit_number": debit,
            "amount_minor": amount,
            "currency": currency,
            "value_on": value_on,
            "external_id": null_if_empty(external),
        }
        shown = {
            "accountNumber": account,
            "creditNumber": credit,
            "debitNumber": debit,
            "amount": decimal_text(pc.fill_null(amount, 0), exponent),
            "currency": currency,
            "valueOn": value_on,
        }
        return self.table(columns), shown


class Sales(_Rows):
    """Sales of a month per customer."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account = self.required("accountNumber", self.identifier("accountNumber"))
        encoded = self.encoded("month")
        texts = encoded.dictionary.to_pylist()
        month_first = has_month_first(texts)
        months = [read_month(text, month_first) or None for text in texts]
        month = pa.array(months, _TEXT).take(encoded.indices).cast(_DAY)
        empty = pc.equal(self.cleaned("month"), "")
        self.refuse(pc.and_(pc.is_null(month), pc.invert(empty)), "month", "monthUnknown")
        self.required("month", month)
        minor, currency, exponent = self.money("grossAmount", "netAmount")
        gross = self.required("grossAmount", minor["grossAmount"])
        self.once("month", account, month, currency)
        columns = {
            "account_number": account,
            "month": month,
            "currency": currency,
            "gross_minor": gross,
            "net_minor": minor["netAmount"],
        }
        shown = {
            "accountNumber": account,
            "month": month,
            "currency": currency,
            "grossAmount": decimal_text(pc.fill_null(gross, 0), exponent),
        }
        return self.table(columns), shown


class Orders(_Rows):
    """Orders that are not invoiced yet."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account = self.required("accountNumber", self.identifier("accountNumber"))
        number = self.required("orderNumber", self.identifier("orderNumber"))
        days = self._dates()
        ordered_on = self.required("orderedOn", self.day(days, "orderedOn"))
        minor, currency, exponent = self.money("amount", "deliveredAmount")
        amount = self.required("amount", minor["amount"])
        self.once("orderNumber", account, number)
        columns = {
            "account_number": account,
            "number": number,
            "ordered_on": ordered_on,
            "delivery_on": self.day(days, "deliveryOn"),
            "amount_minor": amount,
            "currency": currency,
            "delivered_minor": minor["deliveredAmount"],
        }
        shown = {
            "accountNumber": account,
            "orderNumber": number,
            "orderedOn": ordered_on,
            "deliveryOn": columns["delivery_on"],
            "amount": decimal_text(pc.fill_null(amount, 0), exponent),
            "currency": currency,
        }
        return self.table(columns), shown


class Assignments(_Rows):
    """Who works on which account."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account = self.required("accountNumber", self.identifier("accountNumber"))
        collector, sales_person = self.text("collector"), self.text("salesPerson")
        nobody = pc.and_(pc.equal(collector, ""), pc.equal(sales_person, ""))
        self.refuse(nobody, "collector", "missing")
        self.once("accountNumber", account)
        columns = {
            "account_number": account,
            "collector": null_if_empty(collector),
            "sales_person": null_if_empty(sales_person),
        }
        return self.table(columns), {"accountNumber": account, "collector": collector, "salesPerson": sales_person}


class ExchangeRates(_Rows):
    """What one currency is worth in another, from a day on."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        base, quote = self._code("base"), self._code("quote")
        rate = pa.nulls(self.rows, _TEXT)
        texts = self._amounts()
        if "rate" in texts:
            rate = texts["rate"][0]
        empty = pc.or_(pc.is_null(rate), pc.equal(rate, ""))
        self.refuse(pc.and_(empty, pc.invert(self._refused_rows("rate"))), "rate", "missing")
        self.refuse(pc.match_substring_regex(pc.fill_null(rate, "1"), r"^(-.*|0*\.?0*)$"), "rate", "signImpossible")
        valid_from = self.required("validFrom", self.day(self._dates(), "validFrom"))
        self.once("base", base, quote, valid_from)
        columns = {
            "base": base,
            "quote": quote,
            "rate": null_if_empty(pc.fill_null(rate, "")),
            "valid_from": valid_from,
            "source": null_if_empty(self.text("source")),
        }
        return self.table(columns), {"base": base, "quote": quote, "rate": rate, "validFrom": valid_from}

    def _code(self, name: str) -> pa.Array:
        codes, unknown = currency_codes(self.encoded(name))
        self.refuse(unknown, name, "currencyUnknown")
        self.refuse(pc.and_(pc.is_null(codes), pc.invert(unknown)), name, "missing")
        return codes


class Cover(_Rows):
    """Insured limits and guarantees of legal units."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account, registration = self.unit()
        insurer = self.required("insurer", self.text("insurer"))
        kinds, unknown, _ = self._words("coverKind", COVER_KIND_BY_WORD)
        self.refuse(unknown, "coverKind", "coverKindUnknown")
        kind = pc.fill_null(kinds, "INSURANCE")
        policy = self.identifier("policy")
        days = self._dates()
        valid_from, valid_until = self.day(days, "validFrom"), self.day(days, "validUntil")
        self.refuse(pc.less(valid_until, valid_from), "validUntil", "endsBeforeStart")
        minor, currency, exponent = self.money("amount")
        amount = self.positive("amount", minor["amount"])
        who = pc.if_else(pc.equal(registration, ""), account, registration)
        self.once("insurer", who, kind, insurer, policy, currency, valid_from)
        columns = {
            "account_number": null_if_empty(account),
            "registration_number": null_if_empty(registration),
            "kind": kind,
            "insurer": insurer,
            "policy": null_if_empty(policy),
            "amount_minor": amount,
            "currency": currency,
            "valid_from": valid_from,
            "valid_until": valid_until,
        }
        shown = {
            "accountNumber": account,
            "registrationNumber": registration,
            "coverKind": kind,
            "insurer": insurer,
            "policy": policy,
            "amount": decimal_text(pc.fill_null(amount, 0), exponent),
            "currency": currency,
            "validFrom": valid_from,
            "validUntil": valid_until,
        }
        return self.table(columns), shown


class CreditInformation(_Rows):
    """Scores and ratings of legal units; columns kept as custom fields become facts."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        account, registration = self.unit()
        provider = self.required("provider", self.text("provider"))
        score, rating = self.identifier("score"), self.identifier("rating")
        self.refuse(pc.and_(pc.equal(score, ""), pc.equal(rating, "")), "score", "missing")
        informed_on = self.required("informedOn", self.day(self._dates(), "informedOn"))
        who = pc.if_else(pc.equal(registration, ""), account, registration)
        self.once("provider", who, provider, informed_on)
        columns = {
            "account_number": null_if_empty(account),
            "registration_number": null_if_empty(registration),
            "provider": provider,
            "score": null_if_empty(score),
            "rating": null_if_empty(rating),
            "informed_on": informed_on,
            "facts": self._custom_fields(),
        }
        shown = {
            "accountNumber": account,
            "registrationNumber": registration,
            "provider": provider,
            "score": score,
            "rating": rating,
            "informedOn": informed_on,
        }
        return self.table(columns), shown


READERS: dict[str, type[_Rows]] = {
    ALLOCATIONS: Allocations,
    SALES: Sales,
    ORDERS: Orders,
    ASSIGNMENTS: Assignments,
    EXCHANGE_RATES: ExchangeRates,
    COVER: Cover,
    CREDIT_INFORMATION: CreditInformation,
}
