"""DATEV's exchange format (EXTF and DTVF): posting batches and the master data of debtors.

Line 1 says what the file is (format, version, category, fiscal year, length of ledger accounts), line 2 names the
columns. Debtors have one digit more than ledger accounts and start with 1 to 6; creditors start with 7 to 9.
Source: DATEV format description for developers, header version 700.
"""

from __future__ import annotations

import csv
import datetime as dt
import re

from importer.domain.fields import ACCOUNTS, ITEMS
from importer.domain.reading import movements
from importer.domain.reading.movements import Movement, items_of
from importer.domain.reading.table import RawTable, known_table
from importer.domain.reading.text import parse_body
from importer.domain.reading.xml import decimal
from importer.domain.texts import Unreadable
from importer.domain.values import header_key

_MARK = re.compile(rb'^(\xef\xbb\xbf)?"?(EXTF|DTVF)"?;')
POSTINGS, MASTER = "21", "16"
_LANGUAGES = {"1": "de", "4": "fr", "5": "en", "10": "es"}

ACCOUNT_LAYOUT = {
    "Konto": "accountNumber",
    "Name": "accountName",
    "USt-IdNr.": "vatNumber",
    "Straße": "street",
    "Postleitzahl": "postalCode",
    "Ort": "city",
    "Land": "country",
    "Sprache": "language",
    "Telefon": "phone",
    "E-Mail": "email",
    "Zahlungsbedingung": "paymentTerms",
    "Kreditlimit": "custom:creditLimit",
    "Mahnung": "custom:dunning",
    "Lastschrift": "custom:directDebit",
    "Sachbearbeiter": "collector",
}


def is_datev(data: bytes) -> bool:
    return _MARK.match(data[:20]) is not None


def read_datev(utf8: bytes, encoding: str) -> RawTable:
    """Items of a posting batch or accounts of a master data file. Raises: Unreadable DATEV_OTHER, DATEV_DAMAGED."""
    head = utf8[:65536].decode("utf-8", errors="replace").splitlines()
    if len(head) < 2:
        raise Unreadable("DATEV_DAMAGED")
    preamble, header = (next(csv.reader([line], delimiter=";"), []) for line in head[:2])
    if len(preamble) < 14:
        raise Unreadable("DATEV_DAMAGED")
    category = preamble[2].strip()
    if category not in (POSTINGS, MASTER):
        raise Unreadable("DATEV_OTHER", name=(preamble[3] or category)[:60])
    # The last column is often followed by one more separator.
    body = parse_body(utf8, header, len(header), ";", 2)
    digits = int(preamble[13]) if preamble[13].strip().isdigit() else 4
    raw = _accounts(body, digits) if category == MASTER else _items(body, preamble, digits)
    raw.encoding, raw.delimiter, raw.header_line, raw.broken = encoding, ";", 2, body.broken
    return raw


def _debtor(account: str, digits: int) -> bool:
    return account.isdigit() and len(account) == digits + 1 and account[0] in "123456"


def _columns(body: RawTable) -> dict[str, list[str]]:
    taken: dict[str, list[str]] = {}
    for position, header in enumerate(body.headers):
        taken.setdefault(header_key(header), body.table.column(position).to_pylist())
    return taken


class _Row:
    """One line by the column's name, whatever accents and signs it has in this version of the format."""

    def __init__(self, columns: dict[str, list[str]], at: int) -> None:
        self._columns, self._at = columns, at

    def __call__(self, *names: str) -> str:
        for name in names:
            values = self._columns.get(header_key(name))
            if values and (value := values[self._at].strip()):
                return value
        return ""


def _accounts(body: RawTable, digits: int) -> RawTable:
    columns = _columns(body)
    if header_key("Konto") not in columns:
        raise Unreadable("DATEV_DAMAGED")
    rows, creditors = [], 0
    for at, line in enumerate(body.lines.to_pylist()):
        row = _Row(columns, at)
        account = row("Konto")
        if account and not _debtor(account, digits):
            creditors += 1
            continue
        person = " ".join(
            filter(None, (row("Vorname (Adressatentyp natürl. Person)"), row("Name (Adressatentyp natürl. Person)")))
        )
        due_days, terms = row("Fälligkeit in Tagen (Debitor)"), row("Zahlungsbedingung")
        rows.append(
            {
                "line": str(line),
                "Konto": account,
                "Name": row("Name (Adressatentyp Unternehmen)")
                or person
                or row("Name (Adressatentyp keine Angabe)", "Kurzbezeichnung"),
                "USt-IdNr.": row("EU-Land", "EU-Mitgliedstaat") + row("EU-USt-IdNr."),
                "Straße": row("Straße") or row("Postfach"),
                "Postleitzahl": row("Postleitzahl"),
                "Ort": row("Ort"),
                "Land": row("Land"),
                "Sprache": _LANGUAGES.get(row("Sprache"), ""),
                "Telefon": row("Telefon"),
                "E-Mail": row("E-Mail"),
                "Zahlungsbedingung": f"{due_days} Tage" if due_days.isdigit() and int(due_days) else terms,
                "Kreditlimit": row("Kreditlimit (Debitor)"),
                "Mahnung": row("Mahnung"),
                "Lastschrift": row("Lastschrift"),
                "Sachbearbeiter": row("Sachbearbeiter"),
            }
        )
    raw = known_table("datev", ACCOUNTS, ACCOUNT_LAYOUT, rows)
    if creditors:
        raw.skipped["creditor"] = creditors
    return raw


def _items(body: RawTable, preamble: list[str], digits: int) -> RawTable:
    columns = _columns(body)
    if header_key("Konto") not in columns or header_key("Umsatz (ohne Soll/Haben-Kz)") not in columns:
        raise Unreadable("DATEV_DAMAGED")
    cells = [*preamble, *[""] * 30]
    year_start, first, last = cells[12], cells[14], cells[15]
    currency = next((cell for cell in cells[21:23] if re.fullmatch("[A-Z]{3}", cell)), "")
    taken: list[Movement] = []
    others = 0
    broken: list[tuple[int, str, str]] = []
    for at, line in enumerate(body.lines.to_pylist()):
        row = _Row(columns, at)
        account, counter = row("Konto"), row("Gegenkonto (ohne BU-Schlüssel)", "Gegenkonto")
        sign = {"S": 1, "H": -1}.get(row("Soll/Haben-Kennzeichen").upper(), 0)
        sides = [(account, sign)] if _debtor(account, digits) else []
        if _debtor(counter, digits):
            sides.append((counter, -sign))
        if not sides:
            others += 1
            continue
        amount = decimal(row("Umsatz (ohne Soll/Haben-Kz)").replace(".", "").replace(",", "."))
        if amount is None or not sign:
            broken.append(
                (line, "amountNotANumber" if sign else "debitCreditUnknown", row("Umsatz (ohne Soll/Haben-Kz)"))
            )
            continue
        for number, side in sides:
            taken.append(
                Movement(
                    line,
                    number,
                    row("Belegfeld 1"),
                    _document_day(row("Belegdatum"), year_start, first, last),
                    row("WKZ Umsatz") or currency or "EUR",
                    amount * side,
                    posted_on="",
                    due_on=_due_day(row("Fälligkeit"), row("Belegfeld 2")),
                    text=row("Buchungstext"),
                )
            )
    raw = known_table("datev", ITEMS, movements.LAYOUT, items_of(taken), movements.AMOUNTS)
    body.broken += broken
    if others:
        raw.skipped["otherAccount"] = others
    return raw


def _document_day(text: str, year_start: str, first: str, last: str) -> str:
    """DDMM of the batch's period; what fits no day stays as written and is refused with its line."""
    digits = text.zfill(4) if len(text) == 3 else text
    if not re.fullmatch(r"\d{4}", digits):
        return text
    start = _iso(first) or _iso(year_start)
    if start is None:
        return text
    end = _iso(last) or dt.date(start.year + 1, start.month, 1)
    candidates = []
    for year in (start.year, start.year + 1, start.year - 1):
        try:
            candidates.append(dt.date(year, int(digits[2:]), int(digits[:2])))
        except ValueError:
            continue
    inside = [day for day in candidates if start <= day <= end]
    chosen = inside or candidates
    return chosen[0].isoformat() if chosen else text


def _iso(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        return None


def _due_day(due: str, second_field: str) -> str:
    """The due date's own column, else the second document field, which many put it in as DDMMYY."""
    for text, length in ((due, 8), (second_field, 6)):
        digits = text.zfill(length) if text.isdigit() and len(text) == length - 1 else text
        if re.fullmatch(rf"\d{{{length}}}", digits):
            try:
                year = int(digits[4:]) + (2000 if length == 6 else 0)
                return dt.date(year, int(digits[2:4]), int(digits[:2])).isoformat()
            except ValueError:
                return text if text == due else ""
    return ""
