"""Every format of issue 3: real files by the totals their publishers name, invoices in three forms, archives, journals,
and due dates by SAP's rule or the words of payment terms."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import random
import re
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from lxml import etree

sys.path.insert(0, str(Path(__file__).parent))
from import_dialects import shared_data, zipped

from importer import domain
from importer.domain import Analysis, Unreadable, Wanted, analyse, read_table, warning_lines
from importer.domain.terms import due_days, read_terms

FOLDER = Path(os.environ.get("QUITTANCE_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
EINVOICES = ("ubl/en16931", "cii/en16931", "ubl/xml_rechnung", "cii/xml_rechnung", "facturx_pdf")


def read(data: bytes | str, name: str = "file", **known: object) -> Analysis:
    data = data.encode() if isinstance(data, str) else data
    known.setdefault("entity_currency", "EUR")
    return analyse(read_table(data, name), Wanted("FR01", **known))  # type: ignore[arg-type]


def totals(analysis: Analysis) -> dict[str, tuple[int, int, int]]:
    return {total.currency: (total.item_count, total.open_minor, total.initial_minor) for total in analysis.totals}


def rejects(analysis: Analysis) -> list[tuple[int, str, str]]:
    return [(row["line"], row["field"], row["code"]) for row in analysis.rejects.to_pylist()]


def real_files() -> list[str]:
    found = [
        path.relative_to(FOLDER).as_posix()
        for part in ("ar", "ledgers", "einvoice")
        for path in sorted((FOLDER / part).rglob("*"))
        if path.is_file()
    ]
    return found or ["ar/absent"]


# --- every real file

# What SOURCES.md and integrations.md name, or what the file's own header lines say: currency to (items, open, initial).
NAMED = {
    "ar/ibm_watson_late_payment/WA_Fn-UseC_-Accounts-Receivable.csv": {"EUR": (2466, 0, 14_770_318)},
    "ar/highradius_open_items/open_items_2020_with_predictions.csv": {
        "USD": (8953, 27_511_371_683, 27_511_371_683),
        "CAD": (747, 4_447_100_908, 4_447_100_908),
    },
    "ledgers/saft_no/ExampleFile_SAF-T_Financial_888888888_20180228235959.xml": {"NOK": (26, 13_550_000, 13_550_000)},
}
# Files that hold no receivables, and what a bookkeeper is told or asked.
REFUSED = {"ledgers/datev_extf/EXTF_Kontenbeschriftungen.csv": "DATEV_OTHER"}
ASKED = {
    "ar/sap_table_layouts/bkpf.csv": "object",  # document headers without amounts
    "ar/sap_table_layouts/t001.csv": "object",  # company codes
    "ar/sap_table_layouts/vbak.csv": "object",  # sales orders
    "ar/sap_table_layouts/faglflexa.csv": "mapping",  # ledger totals without customers
}
# SOURCES.md: values are random strings, only the names of the columns count.
RANDOM = {"ar/sap_table_layouts/acdoca.csv", "ar/sap_table_layouts/bsad_bck.csv", "ar/sap_table_layouts/bseg.csv"}
ACCOUNTS = {"ar/sap_table_layouts/kna1.csv": 3, "ledgers/datev_extf/EXTF_Stammdaten.csv": 1}


@pytest.mark.parametrize("path", real_files())
def test_every_real_file_gives_its_named_totals_or_a_clear_refusal(path):
    data = shared_data(path)
    if path in REFUSED:
        with pytest.raises(Unreadable) as refusal:
            read_table(data, path)
        assert refusal.value.code == REFUSED[path]
        assert domain.failure_text(refusal.value.code, "fr", **refusal.value.values) != str(refusal.value)
        return
    analysis = read(data, path)
    assert all(warning_lines(analysis, language) for language in ("en", "fr")) or not analysis.warnings
    if path in ASKED:
        assert [question.code for question in analysis.questions] == [ASKED[path]]
        return
    assert analysis.questions == []
    assert analysis.read == analysis.accepted_rows + analysis.rejected > 0
    if path in RANDOM:
        reasons = domain.reject_reasons(analysis.rejects).to_pylist()
        assert analysis.accepted_rows == 0 and all(reasons)
    elif path in ACCOUNTS:
        assert (analysis.object, analysis.accepted_rows, analysis.rejected) == ("ACCOUNTS", ACCOUNTS[path], 0)
    elif path.startswith("einvoice/"):
        assert rejects(analysis) == []
        assert totals(analysis) == stated_totals(data)
    else:
        assert totals(analysis) == NAMED.get(path, totals(analysis))
        assert analysis.rejected == 0


def stated_totals(data: bytes) -> dict[str, tuple[int, int, int]]:
    """What the invoice says about itself, read another way than the product does: by plain search in its text."""
    if data.startswith(b"%PDF"):
        import pypdf

        attached = pypdf.PdfReader(io.BytesIO(data)).attachments
        data = next(content[0] for name, content in attached.items() if name.endswith(".xml"))
    text = etree.tostring(etree.fromstring(data), encoding="unicode")

    def amount(*names: str) -> Decimal:
        for name in names:
            found = re.search(rf"<\w*:?{name}\b[^>]*>\s*(-?[\d.]+)\s*<", text)
            if found:
                return Decimal(found[1])
        return Decimal(0)

    def code(*names: str) -> str:
        return next((found[1] for name in names if (found := re.search(rf"<\w*:?{name}[^>]*>\s*(\w+)\s*<", text))), "")

    currency = code("DocumentCurrencyCode", "InvoiceCurrencyCode")
    payable = amount("PayableAmount", "DuePayableAmount")
    total = payable + amount("PrepaidAmount", "TotalPrepaidAmount")
    if code("CreditNoteTypeCode") == "381":
        payable, total = -payable, -total
    if payable * total < 0:
        total = payable
    return {currency: (1, round(payable * 100), round(total * 100))}


@pytest.mark.parametrize(
    "name",
    [
        "EN16931_AbweichenderZahlungsempf",
        "EN16931_Einfach",
        "EN16931_Einfach_DueDate",
        "EN16931_Einfach_negativePaymentDue",
        "EN16931_Gutschrift",
        "EN16931_Rabatte",
        "EN16931_SEPA_Prenotification",
        "XRECHNUNG_Einfach",
    ],
)
def test_the_same_invoice_as_ubl_cii_and_pdf_gives_the_same_item(name):
    forms = {
        "ubl": shared_data(f"einvoice/ubl/xml_rechnung/{name}.ubl.xml"),
        "cii": shared_data(f"einvoice/cii/xml_rechnung/{name}.cii.xml"),
        "pdf": shared_data(f"einvoice/facturx_pdf/{name}.pdf"),
    }
    same = ("account_number", "account_name", "number", "kind", "currency", "issue_on", "due_on", "open_minor")
    items = {form: read(data, f"{name}.{form}").accepted.select(same).to_pylist() for form, data in forms.items()}
    if name == "XRECHNUNG_Einfach":
        # The published PDF is of an older version of this invoice: only its dates differ.
        assert {row.pop(day).year for row in items["pdf"] for day in ("issue_on", "due_on")} == {2018}
        assert {row.pop(day).year for row in items["cii"] for day in ("issue_on", "due_on")} == {2024}
        same = tuple(key for key in same if not key.endswith("_on"))
    assert items["cii"] == items["pdf"]
    ubl, cii = items["ubl"][0], items["cii"][0]
    differing = {key for key in same if ubl[key] != cii[key]}
    assert differing == set(), {key: (ubl[key], cii[key]) for key in differing}


def test_a_hybrid_pdf_is_kept_as_the_document_of_its_item():
    data = shared_data("einvoice/facturx_pdf/EN16931_Einfach_DueDate.pdf")
    raw = read_table(data, "inbox/Rechnung 471102.pdf")
    (document,) = raw.documents
    assert (document.item_number, document.name, document.content_type) == (
        raw.table.column(2)[0].as_py(),
        "Rechnung 471102.pdf",
        "application/pdf",
    )
    assert document.read() == data and document.size_bytes == len(data)


def test_an_archive_of_invoices_is_one_list_with_its_documents_and_its_unreadable_files():
    pdf = shared_data("einvoice/facturx_pdf/EN16931_Einfach.pdf")
    archive = zipped(
        {
            "a/EN16931_Einfach_DueDate.ubl.xml": shared_data(
                "einvoice/ubl/xml_rechnung/EN16931_Einfach_DueDate.ubl.xml"
            ).replace(b">471102<", b">471103<"),
            "b/first.pdf": pdf,
            "c/damaged.xml": b"<Invoice",
            "__MACOSX/._first.pdf": b"\0\1",
        }
    )
    raw = read_table(archive, "invoices.zip")
    analysis = analyse(raw, Wanted("FR01", "EUR"))
    assert totals(analysis) == {"EUR": (2, 105_974, 105_974)}
    assert (analysis.read, analysis.rejected) == (3, 1)
    (reason,) = domain.reject_reasons(analysis.rejects).to_pylist()
    assert "damaged.xml" in reason and "could not be read" in reason
    (document,) = raw.documents
    assert document.item_number == "471102" and document.read() == pdf


def test_refusals_in_an_archive_name_the_file():
    header = "Customer;Invoice No;Invoice Date;Amount\n"
    archive = zipped(
        {"may.csv": (header + "1;R1;2026-05-13;10.50\n").encode(), "june.csv": (header + "1;R2;soon;9.50\n").encode()}
    )
    analysis = read(archive)
    assert analysis.accepted_rows == 1
    assert domain.reject_reasons(analysis.rejects).to_pylist() == [
        'june.csv: Invoice Date: "soon" is not a date that exists'
    ]


def test_archives_of_several_layouts_or_archives_are_refused():
    first, second = b"Customer;Invoice No;Amount\n1;R1;3,50\n", b"Kunde;Name\n1;Uno\n"
    with pytest.raises(Unreadable) as refusal:
        read_table(zipped({"a.csv": first, "b.csv": second}), "x.zip")
    assert refusal.value.code == "ARCHIVE_MIXED"
    assert read_table(zipped({"a.csv": first, "b.csv": second}), "x.zip", sheet="b.csv").headers == ["Kunde", "Name"]
    with pytest.raises(Unreadable) as refusal:
        read_table(zipped({"inner.zip": zipped({"a.csv": first})}), "x.zip")
    assert refusal.value.code == "ARCHIVE_IN_ARCHIVE"


# --- invoices: instalments, prepayments, credit notes, sellers

UBL = """<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
 xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
 xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
<cbc:ID>R1</cbc:ID><cbc:IssueDate>2026-01-31</cbc:IssueDate>{type}<cbc:DocumentCurrencyCode>EUR</cbc:DocumentCurrencyCode>
<cac:AccountingSupplierParty><cac:Party><cac:PartyName><cbc:Name>Seller SA</cbc:Name></cac:PartyName>
<cac:PartyTaxScheme><cbc:CompanyID>FR11222333444</cbc:CompanyID><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme>
</cac:PartyTaxScheme></cac:Party></cac:AccountingSupplierParty>
<cac:AccountingCustomerParty><cac:Party>{buyer}<cac:PartyName><cbc:Name>Buyer SA</cbc:Name></cac:PartyName></cac:Party>
</cac:AccountingCustomerParty>{terms}
<cac:LegalMonetaryTotal><cbc:TaxInclusiveAmount currencyID="EUR">{total}</cbc:TaxInclusiveAmount>
<cbc:PrepaidAmount currencyID="EUR">{prepaid}</cbc:PrepaidAmount>
<cbc:PayableAmount currencyID="EUR">{payable}</cbc:PayableAmount></cac:LegalMonetaryTotal></Invoice>"""


def ubl(**parts: str) -> bytes:
    known = {
        "type": "",
        "terms": "",
        "total": "1000.00",
        "prepaid": "0",
        "payable": "1000.00",
        "buyer": "<cac:PartyIdentification><cbc:ID>C7</cbc:ID></cac:PartyIdentification>",
    }
    return UBL.format(**known | parts).encode()


def term(due: str, share: str) -> str:
    return f"<cac:PaymentTerms>{share}<cbc:PaymentDueDate>{due}</cbc:PaymentDueDate></cac:PaymentTerms>"


def test_an_invoice_with_several_due_dates_is_one_item_per_instalment_and_prepayments_settle_the_first():
    terms = term("2026-03-31", '<cbc:Amount currencyID="EUR">600.00</cbc:Amount>') + term(
        "2026-02-28", '<cbc:Amount currencyID="EUR">400.00</cbc:Amount>'
    )
    analysis = read(ubl(terms=terms, prepaid="250.00", payable="750.00"))
    rows = [
        (row["line_number"], row["due_on"].isoformat(), row["initial_minor"], row["open_minor"])
        for row in analysis.accepted.to_pylist()
    ]
    assert rows == [("1", "2026-02-28", 40_000, 15_000), ("2", "2026-03-31", 60_000, 60_000)]
    shares = "".join(
        term(day, f"<cbc:PaymentPercent>{part}</cbc:PaymentPercent>")
        for day, part in (("2026-02-28", 30), ("2026-03-31", 70))
    )
    assert [row["open_minor"] for row in read(ubl(terms=shares)).accepted.to_pylist()] == [30_000, 70_000]
    # Parts that are not told are not made up.
    silent = read(ubl(terms=term("2026-02-28", "") + term("2026-03-31", "")))
    assert [(row["due_on"].isoformat(), row["open_minor"]) for row in silent.accepted.to_pylist()] == [
        ("2026-02-28", 100_000)
    ]
    assert any("several due dates" in line for line in warning_lines(silent))


def test_credit_notes_are_negative_and_the_buyer_is_named_by_what_he_has():
    credit = read(ubl(type="<cbc:InvoiceTypeCode>381</cbc:InvoiceTypeCode>", payable="120.00")).accepted.to_pylist()[0]
    assert (credit["kind"], credit["open_minor"], credit["account_number"]) == ("CREDIT_NOTE", -12_000, "C7")
    by_address = read(ubl(buyer='<cbc:EndpointID schemeID="0009">123</cbc:EndpointID>')).accepted.to_pylist()[0]
    assert (by_address["account_number"], by_address["account_name"]) == ("123", "Buyer SA")
    assert json.loads(by_address["custom_fields"])["buyerEndpoint"] == "123"
    nobody = read(ubl(buyer="").replace(b"Buyer SA", b""))
    assert (1, "accountNumber", "missing") in rejects(nobody)


def test_invoices_of_another_seller_are_told():
    own = read(ubl(), entity_marks=("FR 11 222 333 444",))
    other = read(ubl(), entity_marks=("Another SA", "FR99"))
    assert [code for code, _ in own.warnings if code == "otherSeller"] == []
    assert "Seller SA" in next(values for code, values in other.warnings if code == "otherSeller")["sellers"]


# --- SAF-T and DATEV


def test_saft_gives_customers_and_items_that_tie_to_the_closing_balances():
    data = shared_data("ledgers/saft_no/ExampleFile_SAF-T_Financial_888888888_20180228235959.xml")
    items = read(data)
    left: dict[str, int] = {}
    for row in items.accepted.to_pylist():
        left[row["account_number"]] = left.get(row["account_number"], 0) + row["open_minor"]
    # ClosingDebitBalance and ClosingCreditBalance of each customer in the file.
    assert {number: minor for number, minor in left.items() if minor} == {
        "1001": 26_550_000,
        "1003": -14_000_000,
        "1004": 1_000_000,
    }
    assert not any(code == "saftBalances" for code, _ in items.warnings)
    accounts = analyse(read_table(data, "saft.xml", object="ACCOUNTS"), Wanted("NO01"))
    assert (accounts.object, accounts.accepted_rows) == ("ACCOUNTS", 6)
    first = accounts.accepted.to_pylist()[0]
    assert (first["number"], first["name"], first["country"]) == ("1000", "Leketøysbutikk Tøyen", "NO")


DATEV = (
    '"EXTF";700;21;"Buchungsstapel";13;20260201120000000;;"RE";"";"";1001;456;20251001;4;20251001;20260930;"";"";1;0;1;"EUR"\r\n'
    "Umsatz (ohne Soll/Haben-Kz);Soll/Haben-Kennzeichen;WKZ Umsatz;Kurs;Basis-Umsatz;WKZ Basis-Umsatz;Konto;"
    "Gegenkonto (ohne BU-Schlüssel);BU-Schlüssel;Belegdatum;Belegfeld 1;Belegfeld 2;Skonto;Buchungstext;Fälligkeit\r\n"
    '119,00;"S";"EUR";;;"";10001;8400;"";0511;"RE-1";"311225";;"Verkauf";\r\n'
    '53,50;"S";"EUR";;;"";10001;8300;"";511;"RE-1";"";;"Verkauf 7 %";\r\n'
    '100,00;"H";"EUR";;;"";10001;1800;"";2001;"RE-1";"";;"Zahlung";\r\n'
    '1.190,00;"H";"EUR";;;"";8400;10002;"";1502;"RE-2";"";;"Verkauf";15032026\r\n'
    '238,00;"H";"EUR";;;"";10003;8400;"";3112;"GS-3";"";;"Gutschrift";\r\n'
    '50,00;"S";"EUR";;;"";70001;1800;"";0511;"KR";"";;"Lieferant";\r\n'
    '10,00;"S";"EUR";;;"";10004;8400;"";3002;"RE-4";"";;"kein Tag";\r\n'
).encode("cp1252")


def test_datev_postings_become_open_items_of_debtors():
    raw = read_table(DATEV, "EXTF_Buchungsstapel.csv")
    analysis = analyse(raw, Wanted("DE01", "EUR"))
    rows = {row["number"]: row for row in analysis.accepted.to_pylist()}
    assert {
        number: (row["account_number"], row["kind"], row["initial_minor"], row["open_minor"])
        for number, row in rows.items()
    } == {
        "RE-1": ("10001", "INVOICE", 17_250, 7_250),
        "RE-2": ("10002", "INVOICE", 119_000, 119_000),
        "GS-3": ("10003", "PAYMENT", -23_800, -23_800),
    }
    # The year comes from the batch's period, which here crosses New Year.
    assert rows["RE-1"]["issue_on"] == dt.date(2025, 11, 5) and rows["RE-1"]["due_on"] == dt.date(2025, 12, 31)
    assert rows["RE-2"]["issue_on"] == dt.date(2026, 2, 15) and rows["RE-2"]["due_on"] == dt.date(2026, 3, 15)
    assert raw.skipped == {"otherAccount": 1}
    assert [(field, code) for _, field, code in rejects(analysis)] == [("issueOn", "dateImpossible")]


def test_datev_master_data_leaves_creditors_out_and_says_so():
    raw = read_table(shared_data("ledgers/datev_extf/EXTF_Stammdaten.csv"), "EXTF_Stammdaten.csv")
    assert raw.skipped == {"creditor": 3}
    row = analyse(raw, Wanted("DE01", "EUR")).accepted.to_pylist()[0]
    assert (row["number"], row["language"]) == ("10000", "de")
    assert "sabine@mustermann.de" in row["custom_fields"]


# --- JSON


def test_json_numbers_are_decimal_points_and_nested_objects_are_dotted():
    rows = [
        {
            "customer": {"number": "007", "name": "Uno"},
            "invoiceNumber": "R1",
            "invoiceDate": "2026-05-13",
            "amount": 1.234,
        },
        {
            "customer": {"number": "007", "name": "Uno"},
            "invoiceNumber": "R2",
            "invoiceDate": "/Date(1778630400000)/",
            "amount": 5,
        },
    ]
    raw = read_table(json.dumps({"d": {"results": rows}}).encode(), "x.json")
    assert raw.headers == ["customer.number", "customer.name", "invoiceNumber", "invoiceDate", "amount"]
    analysis = analyse(raw, Wanted("FR01", "EUR"))
    assert analysis.questions == []  # 1.234 in a text file would be asked about; a JSON number is certain.
    assert [
        (row["account_number"], row["initial_minor"], row["issue_on"]) for row in analysis.accepted.to_pylist()
    ] == [
        ("007", 123, dt.date(2026, 5, 13)),
        ("007", 500, dt.date(2026, 5, 13)),
    ]


def test_a_damaged_line_of_json_lines_is_one_refused_row():
    good = '{"customer":"1","invoiceNumber":"R%d","invoiceDate":"2026-05-13","amount":"10.50"}'
    analysis = read("\n".join([good % 1, '{"customer":"1",', "[1]", good % 2]))
    assert rejects(analysis) == [(2, "", "rowUnreadable"), (3, "", "rowNotAnObject")]
    assert (analysis.read, analysis.accepted_rows) == (4, 2)


@pytest.mark.parametrize(
    "data,code",
    [
        (b'{"a": [1, 2', "JSON_DAMAGED"),
        (b'{"a": [{"x": 1}], "b": [{"y": 1}]}', "JSON_NO_ROWS"),
        (b"[]", "JSON_NO_ROWS"),
        (b"[" * 100_000, "JSON_DAMAGED"),
        (b"<html><body><table/></body></html>", "XML_UNKNOWN"),
        (b"<Order xmlns='urn:oasis:ubl'/>", "XML_UNKNOWN"),
        (b"<Invoice xmlns='urn:oasis:names:specification:ubl:schema:xsd:Invoice-2'><a>", "XML_DAMAGED"),
        (b"%PDF-1.4\n%%EOF", "PDF_DAMAGED"),
        (b'"EXTF";700;21;"Buchungsstapel"\r\n', "DATEV_DAMAGED"),
        (b'"EXTF";700;21;"Buchungsstapel"\r\nKonto;X\r\n', "DATEV_DAMAGED"),
    ],
)
def test_damaged_structured_files_are_refused_in_both_languages(data, code):
    with pytest.raises(Unreadable) as refusal:
        read_table(data, "file")
    assert refusal.value.code == code
    english, french = (domain.failure_text(code, language, **refusal.value.values) for language in ("en", "fr"))
    assert english and french and english != french


# --- SAP lists


@pytest.mark.parametrize(
    "caption",
    [
        "|Assignment|Document Number|Document Type|Document Date|Net due date|Amount in doc. curr.|Document currency|Text|",
        "|Affectation|N° pièce|Type de pièce|Date pièce|Echéance nette|Montant en devise pièce|Devise pièce|Texte|",
        "|Zuordnung|Belegnummer|Belegart|Belegdatum|Nettofälligkeit|Betrag in Belegwährung|Belegwährung|Text|",
    ],
)
@pytest.mark.parametrize("label,name_label", [("Customer", "Name"), ("Client", "Nom"), ("Debitor", "Name")])
def test_sap_lists_take_the_customer_from_the_group_header_in_three_languages(caption, label, name_label):
    lines = [f"{label}             100001", f"{name_label}                Müller & Söhne", "City  Köln", "-" * 60]
    row = "|{0}|18000000{0}|{1}|13.03.2026|12.04.2026|{2}|EUR|Text {0}|"
    lines += [caption, "-" * 60, row.format("01", "RV", "  1.234,56 "), row.format("02", "DG", "  1.000,00-"), "-" * 60]
    lines += [
        "|*|||||    234,56 |EUR||",
        "-" * 60,
        "",
        f"{label}             100002",
        f"{name_label}                Zwei AG",
        "-" * 60,
    ]
    lines += [caption, "-" * 60, row.format("03", "RV", " 12.345,00 "), "-" * 60, "|**|||||  12.579,56 |EUR||"]
    analysis = read("\r\n".join(lines).encode("cp1252"))
    assert [question.code for question in analysis.questions] == []
    assert rejects(analysis) == []
    assert [
        (row["account_number"], row["account_name"], row["number"], row["kind"], row["open_minor"], row["due_on"])
        for row in analysis.accepted.to_pylist()
    ] == [
        ("100001", "Müller & Söhne", "1800000001", "INVOICE", 123_456, dt.date(2026, 4, 12)),
        ("100001", "Müller & Söhne", "1800000002", "CREDIT_NOTE", -100_000, dt.date(2026, 4, 12)),
        ("100002", "Zwei AG", "1800000003", "INVOICE", 1_234_500, dt.date(2026, 4, 12)),
    ]


def test_a_list_with_a_customer_column_keeps_rows_that_look_like_group_headers():
    analysis = read("Customer;Invoice No;Invoice Date;Amount;Text\n1;R1;2026-05-13;10.50;a\nCustomer 2;;;;\n")
    assert (analysis.read, analysis.rejected) == (2, 1)


SAP = "KUNNR;BELNR;BLART;BLDAT;ZFBDT;ZBD1T;ZBD2T;ZBD3T;REBZG;WRBTR;SHKZG;WAERS\n"


@pytest.mark.parametrize(
    "cells,due",
    [
        ("RV;20260101;20260110;14;30;60;;100,00;S", "2026-03-11"),  # the largest filled: 60 days
        ("RV;20260101;20260110;14;30;0;;100,00;S", "2026-02-09"),
        ("RV;20260101;20260110;14;0;0;;100,00;S", "2026-01-24"),
        ("RV;20260101;20260110;0;0;0;;100,00;S", "2026-01-10"),
        ("RV;20260101;20260110;;;;;100,00;S", "2026-01-10"),
        ("DG;20260101;20260110;14;30;0;;100,00;H", "2026-01-10"),  # a credit memo without its invoice: baseline
        ("DG;20260101;20260110;14;30;0;1800000001;100,00;H", "2026-02-09"),
        ("RV;20240101;20240130;30;0;0;;100,00;S", "2024-02-29"),  # leap day
    ],
)
def test_net_due_date_of_sap_from_baseline_and_terms(cells, due):
    analysis = read(SAP + f"1;1800000009;{cells};EUR\n2;1800000010;RV;20260101;20260101;0;0;0;;1,00;S;EUR\n")
    row = next(row for row in analysis.accepted.to_pylist() if row["account_number"] == "1")
    assert row["due_on"].isoformat() == due
    assert row["open_minor"] == (-10_000 if ";H" in cells else 10_000)
    assert read(SAP + "1;9;RV;20260101;20260110;soon;0;0;;1,00;S;EUR\n").rejected == 1


# --- payment terms


def due(text: str, start: str) -> str | None:
    import numpy as np

    terms = read_terms(text)
    if terms is None:
        return None
    epoch = dt.date(1970, 1, 1)
    days = due_days(np.array([(dt.date.fromisoformat(start) - epoch).days]), terms)
    return (epoch + dt.timedelta(days=int(days[0]))).isoformat()


@pytest.mark.parametrize(
    "text,start,expected",
    [
        ("30 days", "2026-01-31", "2026-03-02"),
        ("Net 30", "2024-01-30", "2024-02-29"),
        ("net30", "2025-01-30", "2025-03-01"),
        ("0 days", "2026-01-31", "2026-01-31"),
        ("1 day", "2026-01-31", "2026-02-01"),
        ("2/10 net 30", "2026-01-31", "2026-03-02"),
        ("2% 10 net 30", "2026-01-31", "2026-03-02"),
        ("14 Tage 2 % Skonto, 30 Tage netto", "2026-01-31", "2026-03-02"),
        (
            "Zahlbar innerhalb 30 Tagen netto bis 04.04.2018, 3% Skonto innerhalb 10 Tagen bis 15.03.2018",
            "2018-03-05",
            "2018-04-04",
        ),
        ("30 jours fin de mois", "2026-01-31", "2026-03-31"),
        ("30 jours fin de mois", "2024-01-30", "2024-02-29"),
        ("30 jours fin de mois", "2025-01-29", "2025-02-28"),
        ("30 jours fin de mois", "2025-01-30", "2025-03-31"),
        ("0 jours fin de mois", "2026-02-28", "2026-02-28"),
        ("1 jour fin de mois", "2026-02-28", "2026-03-31"),
        ("45 days end of month", "2026-01-16", "2026-03-31"),
        ("45 days end of month", "2026-01-14", "2026-02-28"),
        ("end of month + 45 days", "2026-01-31", "2026-03-17"),
        ("fin de mois 45 jours", "2024-02-28", "2024-04-14"),
        ("45 JFDM", "2026-01-31", "2026-03-31"),
        ("45 jours fin de mois le 10", "2026-01-31", "2026-04-10"),
        ("EOM", "2024-02-01", "2024-02-29"),
        ("30 days EOM", "2026-11-30", "2026-12-31"),
        ("1 month", "2024-01-31", "2024-02-29"),
        ("1 month", "2025-01-31", "2025-02-28"),
        ("10th of next month", "2026-12-31", "2027-01-10"),
        ("31st of the following month", "2026-01-05", "2026-02-28"),
        ("sofort fällig", "2026-01-31", "2026-01-31"),
        ("À réception de facture", "2026-01-31", "2026-01-31"),
        ("60 dias fin de mes", "2026-01-31", "2026-04-30"),
        ("30", "2026-01-31", "2026-03-02"),
        # Nothing certain: codes of a system, several dates, shares of the amount.
        ("ZB30", "2026-01-31", None),
        ("0001", "2026-01-31", None),
        ("NAH4", "2026-01-31", None),
        ("30/60", "2026-01-31", None),
        ("30 days, 60 days", "2026-01-31", None),
        ("50% prepaid, 50% within one month", "2026-01-31", None),
        ("2 % discount if paid within 2 days", "2026-01-31", None),
        ("9999 days", "2026-01-31", None),
        ("", "2026-01-31", None),
    ],
)
def test_payment_terms_in_words_give_the_due_date_and_codes_stay_text(text, start, expected):
    assert due(text, start) == expected


def test_due_dates_come_from_terms_only_where_the_file_has_none():
    header = "Customer;Invoice No;Invoice Date;Due Date;Amount;Payment terms\n"
    analysis = read(
        header
        + "1;R1;2026-01-31;2026-02-15;10.50;30 days\n1;R2;2026-01-31;;10.50;30 days\n1;R3;2026-01-31;;1.50;ZB30\n"
    )
    assert [str(day) for day in analysis.accepted["due_on"].to_pylist()] == ["2026-02-15", "2026-03-02", "None"]
    assert analysis.accepted["payment_terms"].to_pylist() == ["30 days", "30 days", "ZB30"]
    assert "1 due dates were computed" in " ".join(warning_lines(analysis))


# --- large files in parts


def _large(path: Path, rows: int, chance: random.Random) -> None:
    """A list with everything that the parts of a file must agree on: a date order that one row decides, a credit whose
    sign is written once, breaks inside cells, damaged rows, repeated headers, totals."""
    header = "Customer;Name;Invoice No;Document type;Invoice Date;Due Date;Currency;Amount;Open amount;Text\n"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("A list\n\n" + header)
        for number in range(rows):
            day = f"{chance.randrange(1, 13):02d}/{chance.randrange(1, 13):02d}/2026"
            amount = f"{chance.randrange(1, 10**7) / 100:,.2f}".translate(str.maketrans(",.", ".,"))
            kind = chance.choice(["Invoice", "Invoice", "Invoice", "XY", "Credit note"])
            sign = "-" if kind == "Credit note" and number > rows // 2 else ""
            text = '"two\nlines"' if number % 97 == 0 else f"text é {number}"
            account = f"{chance.randrange(rows // 20):06d}"
            file.write(
                f"{account};Name {account};R{number};{kind};{day};{day};EUR;{sign}{amount};{sign}{amount};{text}\n"
            )
            if number % 1009 == 7:
                file.write(header + ";;;;;;;;;\nTotal;;;;;;;1.000,00;;\n")
            if number % 1013 == 5:
                file.write(f"{account};N;R{number};Invoice;{day};;EUR;1,00;1,00;again\n{account};too;few\n")
                file.write(f"{account};N;B{number};Invoice;31/31/2026;;EUR;x,y;1,00;bad\n")
        file.write("000001;Last;LAST;Invoice;25/12/2026;26/12/2026;EUR;1,00;1,00;decides the order\n")


def test_a_large_file_read_in_parts_is_read_as_if_it_were_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("importer.domain.reading.stream.STREAM_FROM_BYTES", 0)
    monkeypatch.setattr("importer.domain.reading.stream.BLOCK_BYTES", 60_000)
    monkeypatch.setattr("importer.domain.streaming.PART_ROWS", 1_500)
    path = tmp_path / "large.csv"
    _large(path, 12_000, random.Random(5))
    whole_raw = read_table(path.read_bytes(), "large.csv")
    wanted = Wanted("FR01", "EUR")
    whole = analyse(whole_raw, wanted)
    file = domain.open_large(path, tmp_path)
    assert file is not None and file.raw.headers == whole_raw.headers
    done = domain.analyse_large(file, wanted)
    assert done is not None
    analysis, accepted_file = done
    with pa.OSFile(str(accepted_file)) as source:
        accepted = pa.ipc.open_file(source).read_all()
    assert whole.questions == [] and whole.rejected > 30
    assert accepted.combine_chunks().equals(whole.accepted)
    assert (analysis.read, analysis.accepted_rows, analysis.rejected) == (
        whole.read,
        whole.accepted_rows,
        whole.rejected,
    )
    order = [("line", "ascending"), ("field", "ascending"), ("code", "ascending")]
    assert analysis.rejects.sort_by(order).equals(whole.rejects.sort_by(order))
    assert (analysis.totals, analysis.object, analysis.fingerprint) == (whole.totals, whole.object, whole.fingerprint)
    assert sorted(map(str, analysis.warnings)) == sorted(map(str, whole.warnings))
    assert [row["values"] for row in analysis.preview] == [row["values"] for row in whole.preview]
    assert [(report.field, report.format, report.filled) for report in analysis.columns] == [
        (report.field, report.format, report.filled) for report in whole.columns
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"Customer;Invoice No;External id;Invoice Date;Amount\n1;R1;X;2026-05-13;1,00\n",
        b"Customer;Invoice No;Invoice Date;Amount\n1;R1;03/04/2026;1,00\n",  # the order of the date is asked
        b"Customer;Name;City\n1;Uno;K\n",
        b"Customer;Invoice No;Invoice Date;Amount\n10.0;R1;2026-05-13;1,00\n",
        b"Invoice No;Invoice Date;Amount\nR1;2026-05-13;1,00\n",
        "Customer;Name;Invoice No;Invoice Date;Amount\n1;é;R1;2026-05-13;1,00\n".encode("cp1252"),
        b'[{"Customer": 1}]',
        b"sep=;\nCustomer;Invoice No\n1;R\n",
    ],
)
def test_what_needs_the_whole_file_is_left_to_the_whole(data, tmp_path, monkeypatch):
    monkeypatch.setattr("importer.domain.reading.stream.STREAM_FROM_BYTES", 0)
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    file = domain.open_large(path, tmp_path)
    assert file is None or domain.analyse_large(file, Wanted("FR01", "EUR")) is None
