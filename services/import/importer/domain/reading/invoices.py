"""Electronic invoices by EN 16931: UBL 2.1 Invoice and CreditNote, UN/CEFACT Cross Industry Invoice (Factur-X, ZUGFeRD,
XRechnung). One row per invoice, or per instalment where the invoice has several due dates."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from lxml import etree  # type: ignore[import-untyped]

from importer.domain.fields import ITEMS
from importer.domain.reading.table import Document, RawTable, known_table
from importer.domain.reading.xml import decimal, find, find_all, first_text, local, plain, text
from importer.domain.texts import Unreadable

LAYOUT = {
    "Customer number": "accountNumber",
    "Customer name": "accountName",
    "Invoice number": "itemNumber",
    "Instalment": "lineNumber",
    "Document type": "itemType",
    "Issue date": "issueOn",
    "Due date": "dueOn",
    "Currency": "currency",
    "Amount": "initialAmount",
    "Open amount": "openAmount",
    "Order number": "orderNumber",
    "Reference": "reference",
    "Payment terms": "paymentTerms",
    "Note": "text",
    "Buyer VAT number": "custom:buyerVatNumber",
    "Buyer electronic address": "custom:buyerEndpoint",
    "Seller": "custom:seller",
    "Seller VAT number": "custom:sellerVatNumber",
}
AMOUNTS = ("Amount", "Open amount")
# UNTDID 1001: what reduces a debt. 380, 384, 386, 389, 326 and the others add to it.
_CREDIT_CODES = {"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"}
_ATTACHED = {"application/pdf", "image/png", "image/jpeg"}
ATTACHMENT_LIMIT_BYTES = 50 * 1024 * 1024
NOTE_CHARS, TERMS_CHARS = 500, 100


@dataclass
class Instalment:
    """A part of an invoice with its own due date; `amount` None: the whole or what is left."""

    due_on: str = ""
    amount: Decimal | None = None
    percent: Decimal | None = None


@dataclass
class Invoice:
    """One document, amounts as it states them (a credit note's are positive)."""

    number: str
    issue_on: str
    currency: str
    is_credit: bool
    payable: Decimal | None
    prepaid: Decimal
    buyer_number: str = ""
    buyer_name: str = ""
    buyer_vat: str = ""
    buyer_endpoint: str = ""
    seller_name: str = ""
    seller_vat: str = ""
    order_number: str = ""
    reference: str = ""
    terms: str = ""
    note: str = ""
    instalments: list[Instalment] = field(default_factory=list)
    # (name, content type, content); a content of None could not be decoded.
    attachments: list[tuple[str, str, bytes | None]] = field(default_factory=list)


def read_invoice(root: etree._Element) -> Invoice:
    """The invoice of a parsed document. Raises: Unreadable XML_UNKNOWN."""
    name = local(root)
    if name in ("Invoice", "CreditNote"):
        return _ubl(root)
    if name in ("CrossIndustryInvoice", "CrossIndustryDocument"):
        return _cii(root)
    raise Unreadable("XML_UNKNOWN", root=name[:60])


def is_invoice(name: str, namespace: str) -> bool:
    """Whether a root element is an invoice of one of these formats."""
    if name in ("CrossIndustryInvoice", "CrossIndustryDocument"):
        return True
    return name in ("Invoice", "CreditNote") and "ubl" in namespace


def table_of(invoices: list[tuple[int, Invoice]]) -> RawTable:
    """Rows of invoices, each with the line it is known by."""
    rows = [row for line, invoice in invoices for row in _rows(line, invoice)]
    raw = known_table("invoice", ITEMS, LAYOUT, rows, AMOUNTS)
    raw.sellers = sorted({(invoice.seller_name, invoice.seller_vat) for _, invoice in invoices})
    unsplit = sum(1 for _, invoice in invoices if len(invoice.instalments) > 1 and len(_parts(invoice)) == 1)
    if unsplit:
        raw.warnings.append(("instalmentsWithoutAmounts", {"count": str(unsplit)}))
    attached = [(invoice, *attachment) for _, invoice in invoices for attachment in invoice.attachments]
    for invoice, name, content_type, content in attached:
        if content:
            raw.documents.append(document(invoice, name, content_type, content))
    damaged = sum(1 for *_, content in attached if not content)
    if damaged:
        raw.warnings.append(("attachmentUnreadable", {"count": str(damaged)}))
    return raw


def document(invoice: Invoice, name: str, content_type: str, content: bytes) -> Document:
    return Document(
        invoice.number,
        account_of(invoice),
        name or f"{invoice.number}.pdf",
        content_type,
        len(content),
        lambda: content,
    )


def account_of(invoice: Invoice) -> str:
    """The customer as the seller numbers him, else what identifies him best."""
    return invoice.buyer_number or invoice.buyer_vat or invoice.buyer_endpoint or invoice.buyer_name[:50]


def _rows(line: int, invoice: Invoice) -> list[dict[str, str]]:
    common = {
        "line": str(line),
        "Customer number": account_of(invoice),
        "Customer name": invoice.buyer_name,
        "Invoice number": invoice.number,
        "Issue date": invoice.issue_on,
        "Currency": invoice.currency,
        "Order number": invoice.order_number[:100],
        "Reference": invoice.reference[:200],
        "Payment terms": invoice.terms,
        "Note": invoice.note[:NOTE_CHARS],
        "Buyer VAT number": invoice.buyer_vat,
        "Buyer electronic address": invoice.buyer_endpoint,
        "Seller": invoice.seller_name,
        "Seller VAT number": invoice.seller_vat,
    }
    rows = []
    parts = _parts(invoice)
    for number, (due_on, initial, opened) in enumerate(parts, start=1):
        kind = "creditnote" if invoice.is_credit else "invoice"
        values = {"Amount": "", "Open amount": ""}
        if initial is not None and opened is not None:
            if invoice.is_credit:
                initial, opened = -initial, -opened
            if initial and opened and (initial < 0) != (opened < 0):
                # Paid in advance more than billed: what is left is the customer's credit, and nothing else is open.
                initial = opened
            if invoice.is_credit and initial > 0:
                kind = "otherdebit"
            values = {"Amount": plain(initial), "Open amount": plain(opened)}
        instalment = str(number) if len(parts) > 1 else ""
        rows.append(common | values | {"Instalment": instalment, "Document type": kind, "Due date": due_on})
    return rows


def _parts(invoice: Invoice) -> list[tuple[str, Decimal | None, Decimal | None]]:
    """(due date, amount, open amount) of each instalment; one when the parts cannot be told."""
    if invoice.payable is None:
        return [("", None, None)]
    total, prepaid = invoice.payable + invoice.prepaid, invoice.prepaid
    dates = [part for part in invoice.instalments if part.due_on]
    first_due = min((part.due_on for part in dates), default="")
    whole: list[tuple[str, Decimal | None, Decimal | None]] = [(first_due, total, invoice.payable)]
    if len({part.due_on for part in dates}) < 2:
        return whole
    amounts = [
        part.amount if part.amount is not None else None if part.percent is None else total * part.percent / 100
        for part in dates
    ]
    if None in amounts:
        return whole
    known = [amount.quantize(Decimal("0.01")) for amount in amounts if amount is not None]
    if sum(known) == invoice.payable:
        prepaid = Decimal(0)
    elif sum(known) != total:
        return whole
    parts: list[tuple[str, Decimal | None, Decimal | None]] = []
    for part, amount in sorted(zip(dates, known, strict=True), key=lambda pair: pair[0].due_on):
        # What was paid in advance settles the earliest instalments first.
        paid = min(prepaid, amount) if amount > 0 else Decimal(0)
        prepaid -= paid
        parts.append((part.due_on, amount, amount - paid))
    return parts


# --- UBL -------------------------------------------------------------------------------------------------------------


def _ubl(root: etree._Element) -> Invoice:
    buyer, seller = find(root, "AccountingCustomerParty"), find(root, "AccountingSupplierParty/Party")
    party = find(buyer, "Party")
    total = find(root, "LegalMonetaryTotal")
    notes = find_all(root, "PaymentTerms/Note")
    terms = "; ".join(filter(None, (_terms_text(note) for note in notes)))
    code = first_text(root, "InvoiceTypeCode", "CreditNoteTypeCode")
    payable = decimal(text(total, "PayableAmount"))
    prepaid = decimal(text(total, "PrepaidAmount")) or Decimal(0)
    instalments = []
    for element in find_all(root, "PaymentTerms"):
        due = first_text(element, "PaymentDueDate", "InstallmentDueDate")
        if due:
            amount, share = decimal(text(element, "Amount")), decimal(text(element, "PaymentPercent"))
            instalments.append(Instalment(_day(due), amount, share))
    if not instalments:
        due = first_text(root, "DueDate", "PaymentMeans/PaymentDueDate")
        instalments = [Instalment(_day(due))] if due else []
    return Invoice(
        number=text(root, "ID"),
        issue_on=_day(text(root, "IssueDate")),
        currency=text(root, "DocumentCurrencyCode") or _currency(total),
        is_credit=local(root) == "CreditNote" or code in _CREDIT_CODES,
        payable=payable,
        prepaid=prepaid,
        buyer_number=first_text(buyer, "SupplierAssignedAccountID", "Party/PartyIdentification/ID"),
        buyer_name=first_text(party, "PartyLegalEntity/RegistrationName", "PartyName/Name", "Contact/Name"),
        buyer_vat=_ubl_vat(party),
        buyer_endpoint=text(party, "EndpointID"),
        seller_name=first_text(seller, "PartyLegalEntity/RegistrationName", "PartyName/Name"),
        seller_vat=_ubl_vat(seller) or text(seller, "PartyLegalEntity/CompanyID"),
        order_number=text(root, "OrderReference/ID"),
        reference=first_text(
            root, "BillingReference/InvoiceDocumentReference/ID", "PaymentMeans/PaymentID", "BuyerReference"
        ),
        terms=terms[:TERMS_CHARS],
        note=first_text(root, "Note"),
        instalments=instalments,
        attachments=_attachments(
            (element, text(element, "ID"))
            for element in find_all(root, "AdditionalDocumentReference/Attachment/EmbeddedDocumentBinaryObject")
        ),
    )


def _currency(total: etree._Element | None) -> str:
    payable = find(total, "PayableAmount")
    return (payable.get("currencyID") or "") if payable is not None else ""


def _ubl_vat(party: etree._Element | None) -> str:
    for scheme in find_all(party, "PartyTaxScheme"):
        if text(scheme, "TaxScheme/ID").upper() in ("VAT", ""):
            return text(scheme, "CompanyID")
    return ""


# --- CII -------------------------------------------------------------------------------------------------------------


def _cii(root: etree._Element) -> Invoice:
    trade = find(root, "SupplyChainTradeTransaction")
    if trade is None:
        trade = find(root, "SpecifiedSupplyChainTradeTransaction")  # ZUGFeRD 1
    head = find(root, "ExchangedDocument")
    if head is None:
        head = find(root, "HeaderExchangedDocument")
    agreement = _either(trade, "ApplicableHeaderTradeAgreement", "ApplicableSupplyChainTradeAgreement")
    settlement = _either(trade, "ApplicableHeaderTradeSettlement", "ApplicableSupplyChainTradeSettlement")
    total = _either(
        settlement,
        "SpecifiedTradeSettlementHeaderMonetarySummation",
        "SpecifiedTradeSettlementMonetarySummation",
    )
    buyer, seller = find(agreement, "BuyerTradeParty"), find(agreement, "SellerTradeParty")
    instalments, descriptions = [], []
    for element in find_all(settlement, "SpecifiedTradePaymentTerms"):
        descriptions += [_terms_text(note) for note in find_all(element, "Description")]
        due = text(element, "DueDateDateTime/DateTimeString")
        if due:
            amount = decimal(text(element, "PartialPaymentAmount"))
            share = decimal(text(element, "PartialPaymentPercent"))
            instalments.append(Instalment(_day(due), amount, share))
    return Invoice(
        number=text(head, "ID"),
        issue_on=_day(text(head, "IssueDateTime/DateTimeString")),
        currency=text(settlement, "InvoiceCurrencyCode"),
        is_credit=text(head, "TypeCode") in _CREDIT_CODES,
        payable=decimal(text(total, "DuePayableAmount") or text(total, "GrandTotalAmount")),
        prepaid=decimal(text(total, "TotalPrepaidAmount")) or Decimal(0),
        buyer_number=first_text(buyer, "ID", "GlobalID"),
        buyer_name=first_text(buyer, "Name", "DefinedTradeContact/PersonName"),
        buyer_vat=_cii_vat(buyer),
        buyer_endpoint=text(buyer, "URIUniversalCommunication/URIID"),
        seller_name=text(seller, "Name"),
        seller_vat=_cii_vat(seller) or text(seller, "SpecifiedLegalOrganization/ID"),
        order_number=first_text(
            agreement, "BuyerOrderReferencedDocument/IssuerAssignedID", "BuyerOrderReferencedDocument/ID"
        ),
        reference=first_text(settlement, "InvoiceReferencedDocument/IssuerAssignedID", "PaymentReference")
        or text(agreement, "BuyerReference"),
        terms="; ".join(filter(None, descriptions))[:TERMS_CHARS],
        note=text(head, "IncludedNote/Content"),
        instalments=instalments,
        attachments=_attachments(
            (element, element.get("filename") or "")
            for element in find_all(agreement, "AdditionalReferencedDocument/AttachmentBinaryObject")
        ),
    )


def _either(element: etree._Element | None, *names: str) -> etree._Element | None:
    return next((found for name in names if (found := find(element, name)) is not None), None)


def _cii_vat(party: etree._Element | None) -> str:
    for registration in find_all(party, "SpecifiedTaxRegistration/ID"):
        if registration.get("schemeID") in ("VA", "VAT", None):
            return text(registration)
    return ""


# --- both ------------------------------------------------------------------------------------------------------------


def _terms_text(element: etree._Element) -> str:
    """Payment terms without the machine's lines of a cash discount (#SKONTO#TAGE=14#PROZENT=2.00#)."""
    lines = "".join(element.itertext()).splitlines()
    return " ".join(" ".join(line for line in lines if not line.strip().startswith("#")).split())


def _day(value: str) -> str:
    """An ISO date: 20180305, 2018-03-05, 2018-03-05+01:00. Anything else stays as written and is refused by its row."""
    value = value.strip()
    try:
        return dt.date.fromisoformat(value[:8] if value[:8].isdigit() else value[:10]).isoformat()
    except ValueError:
        return value


def _attachments(elements: Iterable[tuple[etree._Element, str]]) -> list[tuple[str, str, bytes | None]]:
    taken: list[tuple[str, str, bytes | None]] = []
    for element, name in elements:
        content_type = (element.get("mimeCode") or "").lower()
        if content_type not in _ATTACHED or not element.text:
            continue
        content: bytes | None
        try:
            content = base64.b64decode("".join(element.text.split()), validate=True)
        except (binascii.Error, ValueError):
            content = None
        if content is not None and len(content) > ATTACHMENT_LIMIT_BYTES:
            content = None
        taken.append((element.get("filename") or name, content_type, content))
    return taken
