"""Rows that are customers or people at customers."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain import fields as known
from importer.domain.columns import Columns, null_if_empty
from importer.domain.model import ACCOUNT_SCHEMA, CONTACT_SCHEMA
from importer.domain.values import header_key


class _Parties(Columns):
    def _country(self) -> pa.Array:
        encoded = pc.utf8_trim_whitespace(self.column("country")).dictionary_encode()
        codes = []
        for word in encoded.dictionary.to_pylist():
            upper = word.upper()
            codes.append(
                upper
                if re.fullmatch(r"[A-Z]{2}", upper) and upper != "UK"
                else known.COUNTRY_BY_WORD.get(header_key(word), "")
            )
        return pa.array(codes, pa.string()).take(encoded.indices)

    def _language(self) -> pa.Array:
        languages, _, _ = self._words("language", known.LANGUAGE_BY_WORD)
        return pc.fill_null(languages, "")


class Accounts(_Parties):
    """Customers as one entity's books know them."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        number, name = self.identifier("accountNumber"), self.text("accountName")
        self.refuse(pc.equal(number, ""), "accountNumber", "missing")
        self.refuse(pc.equal(name, ""), "accountName", "missing")
        registration, vat = self.identifier("registrationNumber"), self.identifier("vatNumber")
        country, language = self._country(), self._language()
        self._warn_entity()
        self._refuse_duplicates(number, "accountNumber", pc.equal(number, ""))
        extra = ("vatNumber", "email", "phone", "street", "postalCode", "city")
        values = {
            "number": number,
            "name": name,
            "country": country,
            "language": language,
            "payment_terms": self.text("paymentTerms"),
            "registration_number": registration,
            "legal_unit_name": self.text("legalUnitName"),
            "parent_number": self.identifier("parentNumber"),
            "groups": self.text("groups"),
            "collector": self.text("collector"),
        }
        table = pa.table(
            {
                "line": self.raw.lines,
                **{key: null_if_empty(value) for key, value in values.items()},
                "custom_fields": self._custom_fields(extra),
            },
            schema=ACCOUNT_SCHEMA,
        )
        shown = {
            "accountNumber": number,
            "accountName": name,
            "registrationNumber": registration,
            "vatNumber": vat,
            "country": country,
            "language": language,
            "paymentTerms": values["payment_terms"],
            "groups": values["groups"],
            "collector": values["collector"],
            "email": self.text("email"),
            "city": self.text("city"),
        }
        return table, shown


class Contacts(_Parties):
    """People at customers."""

    def rows_read(self) -> tuple[pa.Table, dict[str, pa.Array]]:
        number, email = self.identifier("accountNumber"), pc.utf8_lower(self.text("email"))
        name = self.text("contactName")
        if self.has("firstName") or self.has("lastName"):
            whole = pc.utf8_trim_whitespace(
                pc.binary_join_element_wise(self.text("firstName"), self.text("lastName"), " ")
            )
            name = pc.if_else(pc.equal(name, ""), whole, name)
        phone = self.text("phone")
        self.refuse(pc.equal(number, ""), "accountNumber", "missing")
        wrong = pc.and_(
            pc.not_equal(email, ""),
            pc.invert(pc.match_substring_regex(email, r"^[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+$")),
        )
        self.refuse(wrong, "email", "emailInvalid")
        self.refuse(pc.and_(pc.equal(email, ""), pc.equal(phone, "")), "email", "missing")
        roles, _, _ = self._words("role", known.ROLE_BY_WORD)
        role, language = pc.fill_null(roles, "ACCOUNTS_PAYABLE"), self._language()
        self._warn_entity()
        who = pc.if_else(pc.equal(email, ""), pc.binary_join_element_wise("name:", name, ""), email)
        self._refuse_duplicates(pc.binary_join_element_wise(number, who, "\x1f"), "email", pc.equal(number, ""))
        table = pa.table(
            {
                "line": self.raw.lines,
                "account_number": number,
                "name": pc.if_else(pc.equal(name, ""), email, name),
                "email": email,
                "phone": phone,
                "role": role,
                "language": language,
            },
            schema=CONTACT_SCHEMA,
        )
        shown = {
            "accountNumber": number,
            "contactName": name,
            "email": email,
            "phone": phone,
            "role": role,
            "language": language,
        }
        return table, shown
