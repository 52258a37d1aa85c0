"""SAF-T Financial (the OECD's audit file and its national forms): customers, and their items from sales invoices or,
where there are none, from the general ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from lxml import etree  # type: ignore[import-untyped]

from importer.domain.fields import ACCOUNTS, ITEMS
from importer.domain.reading import movements
from importer.domain.reading.movements import Movement, items_of
from importer.domain.reading.table import RawTable, known_table
from importer.domain.reading.xml import decimal, find, find_all, first_text, local, stream, text
from importer.domain.texts import Unreadable

ACCOUNT_LAYOUT = {
    "Customer number": "accountNumber",
    "Customer name": "accountName",
    "Registration number": "registrationNumber",
    "VAT number": "vatNumber",
    "Street": "street",
    "Postal code": "postalCode",
    "City": "city",
    "Country": "country",
    "Telephone": "phone",
    "E-mail": "email",
    "Payment terms": "paymentTerms",
}
OPENING = "OPENING"


@dataclass
class _Customer:
    line: int
    row: dict[str, str]
    opening: Decimal
    closing: Decimal | None
    currency: str


@dataclass
class _Books:
    currency: str = ""
    period_start: str = ""
    seller: tuple[str, str] = ("", "")
    customers: dict[str, _Customer] = field(default_factory=dict)
    journal: list[Movement] = field(default_factory=list)
    sales: list[Movement] = field(default_factory=list)


def read_saft(data: bytes, wanted: str) -> RawTable:
    """Items, or with `wanted` ACCOUNTS the customers. Raises: Unreadable XML_DAMAGED, SAFT_NO_CUSTOMERS."""
    books = _read(data)
    if not books.customers and not books.journal and not books.sales:
        raise Unreadable("SAFT_NO_CUSTOMERS")
    if wanted.upper() == ACCOUNTS or not (books.journal or books.sales or _openings(books)):
        raw = known_table("saft", ACCOUNTS, ACCOUNT_LAYOUT, [entry.row for entry in books.customers.values()])
        other = "ITEMS"
    else:
        raw = _items(books)
        other = "ACCOUNTS"
    raw.sellers = [books.seller]
    raw.warnings.append(("otherPart", {"part": raw.object, "other": other}))
    return raw


def _items(books: _Books) -> RawTable:
    # Invoices of the source documents say due dates and terms; payments then come from the ledger by their number.
    billed = {(entry.account, entry.number) for entry in books.sales}
    rest = [entry for entry in books.journal if entry.amount < 0 or (entry.account, entry.number) not in billed]
    taken = _openings(books) + books.sales + (rest if books.sales else books.journal)
    raw = known_table("saft", ITEMS, movements.LAYOUT, items_of(taken), movements.AMOUNTS)
    left: dict[str, Decimal] = {}
    for entry in taken:
        left[entry.account] = left.get(entry.account, Decimal(0)) + entry.amount
    odd = [
        number
        for number, customer in books.customers.items()
        if customer.closing is not None and left.get(number, Decimal(0)) != customer.closing
    ]
    if odd:
        raw.warnings.append(("saftBalances", {"count": str(len(odd)), "accounts": ", ".join(odd[:10])}))
    return raw


def _openings(books: _Books) -> list[Movement]:
    """The balance brought forward, as one item per customer: the file has no items behind it."""
    return [
        Movement(
            entry.line,
            number,
            OPENING,
            books.period_start,
            entry.currency or books.currency,
            entry.opening,
            entry.row["Customer name"],
            text="opening balance",
        )
        for number, entry in books.customers.items()
        if entry.opening
    ]


def _read(data: bytes) -> _Books:
    books = _Books()
    for element in stream(data, {"Header", "Customer", "Transaction", "Invoice"}):
        match local(element):
            case "Header":
                _header(books, element)
            case "Customer":
                _customer(books, element)
            case "Transaction":
                books.journal += _lines(books, element)
            case "Invoice":
                books.sales += _invoice(books, element)
    names = {number: entry.row["Customer name"] for number, entry in books.customers.items()}
    for entry in (*books.journal, *books.sales):
        entry.account_name = names.get(entry.account, "")
        entry.currency = entry.currency or books.currency
    return books


def _header(books: _Books, element: etree._Element) -> None:
    books.currency = first_text(element, "DefaultCurrencyCode", "CurrencyCode")
    start = first_text(element, "SelectionCriteria/SelectionStartDate", "StartDate")
    if not start:
        year, month = text(element, "SelectionCriteria/PeriodStartYear"), text(element, "SelectionCriteria/PeriodStart")
        start = f"{year}-{int(month):02d}-01" if year and month.isdigit() else ""
    books.period_start = start
    company = find(element, "Company")
    books.seller = (
        text(company, "Name") or text(element, "CompanyName"),
        first_text(company, "TaxRegistration/TaxRegistrationNumber", "RegistrationNumber"),
    )


def _customer(books: _Books, element: etree._Element) -> None:
    number = text(element, "CustomerID")
    if not number:
        return  # Another element of that name, such as the buyer's block of an invoice.
    address = find(element, "Address")
    if address is None:
        address = find(element, "BillingAddress")
    terms = find(element, "PartyInfo/PaymentTerms")
    days = first_text(terms, "Days")
    end_of_month = text(terms, "FreeBillingMonth").lower() == "true"
    row = {
        "line": str(element.sourceline or 0),
        "Customer number": number,
        "Customer name": first_text(element, "Name", "CompanyName"),
        "Registration number": text(element, "RegistrationNumber"),
        "VAT number": first_text(element, "TaxRegistration/TaxRegistrationNumber", "CustomerTaxID"),
        "Street": first_text(address, "StreetName", "AddressDetail"),
        "Postal code": text(address, "PostalCode"),
        "City": text(address, "City"),
        "Country": text(address, "Country"),
        "Telephone": first_text(element, "Contact/Telephone", "Telephone"),
        "E-mail": first_text(element, "Contact/Email", "Email"),
        # Days after the end of the month of the invoice.
        "Payment terms": (f"end of month + {days} days" if end_of_month else f"{days} days") if days else "",
    }
    opening = _balance(element, "Opening")
    books.customers[number] = _Customer(
        element.sourceline or 0, row, opening or Decimal(0), _balance(element, "Closing"), text(element, "CurrencyCode")
    )


def _balance(element: etree._Element, side: str) -> Decimal | None:
    """Debit positive; in the newer form the balances stand in their own structure per ledger account."""
    holders = [element, *find_all(element, "BalanceAccountStructure"), *find_all(element, "BalanceAccount")]
    found = None
    for holder in holders:
        debit, credit = decimal(text(holder, f"{side}DebitBalance")), decimal(text(holder, f"{side}CreditBalance"))
        if debit is not None or credit is not None:
            found = (found or Decimal(0)) + (debit or Decimal(0)) - (credit or Decimal(0))
    return found


def _amount(element: etree._Element, name: str) -> tuple[Decimal, str] | None:
    """Amount in the currency of the posting, and that currency (empty: the books')."""
    node = find(element, name)
    if node is None:
        return None
    currency, foreign = text(node, "CurrencyCode"), decimal(text(node, "CurrencyAmount"))
    if currency and foreign is not None:
        return foreign, currency
    value = decimal(first_text(node, "Amount") or text(node))
    return None if value is None else (value, "")


def _lines(books: _Books, transaction: etree._Element) -> Iterator[Movement]:
    on = text(transaction, "TransactionDate")
    posted = text(transaction, "GLPostingDate")
    lines = (
        find_all(transaction, "Line")
        + find_all(transaction, "Lines/DebitLine")
        + find_all(transaction, "Lines/CreditLine")
    )
    for line in lines:
        account = first_text(line, "CustomerID") or (
            text(transaction, "CustomerID") if local(line) != "Line" and text(transaction, "CustomerID") else ""
        )
        if not account:
            continue
        debit, credit = _amount(line, "DebitAmount"), _amount(line, "CreditAmount")
        side = debit or credit
        if side is None:
            continue
        yield Movement(
            line.sourceline or 0,
            account,
            first_text(line, "SourceDocumentID", "ReferenceNumber", "CID") or text(transaction, "SourceID"),
            on,
            side[1],
            side[0] if debit else -side[0],
            posted_on=posted,
            due_on=text(line, "DueDate"),
            text=first_text(line, "Description") or text(transaction, "Description"),
        )


def _invoice(books: _Books, element: etree._Element) -> Iterator[Movement]:
    account = first_text(element, "CustomerInfo/CustomerID", "CustomerID")
    total = find(element, "DocumentTotals")
    gross = decimal(text(total, "GrossTotal"))
    if not account or gross is None:
        return
    credit = text(element, "InvoiceType").upper() in ("NC", "CN", "381", "CREDIT")
    yield Movement(
        element.sourceline or 0,
        account,
        text(element, "InvoiceNo"),
        text(element, "InvoiceDate"),
        text(total, "Currency/CurrencyCode"),
        -gross if credit else gross,
        due_on=first_text(element, "PaymentTerms/DueDate", "DueDate"),
        terms=text(element, "PaymentTerms/Days") and f"{text(element, 'PaymentTerms/Days')} days",
    )
