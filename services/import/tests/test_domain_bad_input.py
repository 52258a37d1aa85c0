"""reliability.md X1 and X2: whatever is uploaded is read right, refused row by row with a reason, or refused as a whole.

Bounded here; `QUITTANCE_LONG=1` runs the counts of the document.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import random
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from import_dialects import dialects, zipped
from test_domain_formats import DATEV, FOLDER, ubl

from importer import domain
from importer.domain import Analysis, Unreadable, Wanted, analyse, read_table

LONG = os.environ.get("QUITTANCE_LONG") == "1"
BAD_ROWS = 100_000 if LONG else 4_000
ROWS_PER_FILE = 400
DAMAGED_DOCUMENTS = 2_000 if LONG else 120
BOMBS = 200 if LONG else 12
ROUND_TRIPS = 50_000 if LONG else 80
RANDOM_FILES = 20_000 if LONG else 150

# Cases are small as they come; shrinking them would take minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

HEADER = ["Customer No", "Customer Name", "Invoice No", "Invoice Date", "Due Date", "Currency", "Amount", "Text"]


def read(data: bytes) -> Analysis:
    return analyse(read_table(data, "file"), Wanted("FR01", "EUR"))


# --- X1: rows

# What is done to a good row (account, name, number, issue, due, currency, amount, text), and what must come of it:
# the field and code of the refusal, or None where the row must be taken with its amount.
Damage = tuple[str, Callable[[list[str], random.Random], None], tuple[str, str] | None]


def _put(column: int, *texts: str) -> Callable[[list[str], random.Random], None]:
    def damage(cells: list[str], chance: random.Random) -> None:
        cells[column] = chance.choice(texts)

    return damage


DAMAGES: tuple[Damage, ...] = (
    ("no account", _put(0, "", "   "), ("accountNumber", "missing")),
    ("no number", _put(2, "", "  "), ("itemNumber", "missing")),
    ("no date", _put(3, "", "0000-00-00"), ("issueOn", "missing")),
    ("no such day", _put(3, "31/02/2026", "00/01/2026", "32/01/2026", "29/02/2025"), ("issueOn", "dateImpossible")),
    ("no date at all", _put(3, "soon", "n.d.", "1e308", "∞", "2026"), ("issueOn", "dateImpossible")),
    ("year", _put(3, "15/02/0206", "15/02/9026", "01/01/1066"), ("issueOn", "dateYear")),
    ("due day", _put(4, "99/99/9999", "tomorrow", "30/02/2026"), ("dueOn", "dateImpossible")),
    ("currency", _put(5, "XXY", "EUROPE", "123", "€€"), ("currency", "currencyUnknown")),
    ("no amount", _put(6, "", "-"), ("initialAmount", "missing")),
    ("not an amount", _put(6, "ten", "1.2.3", "12,34,56", "NaN", "inf", "0x10", "1e308", "--5", "%"),
     ("initialAmount", "amountNotANumber")),
    ("too large", _put(6, "9" * 20, "1" + "0" * 40, "99999999999999999,99"), ("initialAmount", "amountTooLarge")),
    ("formula", _put(6, "=1+1", "=SUM(A1:A9)"), ("initialAmount", "formulaCell")),
    ("formula in text", _put(7, "=HYPERLINK(1)", "@SUM(A1)", "+cmd!A0"), ("text", "formulaCell")),
    ("error", _put(1, "#REF!", "#N/A", "#WERT!", "#NOM?"), ("accountName", "errorCell")),
    ("nul", _put(1, "A\0B", "\0"), ("accountName", "nulByte")),
    ("long", _put(2, "9" * 101, "X" * 5000), ("itemNumber", "tooLong")),
    ("digits lost", _put(2, "1.93057E+09", "4,2E+12"), ("itemNumber", "digitsLost")),
    ("right to left", _put(1, "شركة", "\u202eevil", "חברה"), None),
    ("other scripts", _put(1, "株式会社", "Łódź", "a\u0301", "😀"), None),
    ("blanks around", _put(2, "  R{} ", "\u00a0R{}\u00a0"), None),
    ("minus after", _put(6, "10,50-"), None),
    ("brackets", _put(6, "(10,50)"), None),
    ("typographic minus", _put(6, "−10,50"), None),
    ("currency beside", _put(6, "10,50 €", "EUR 10,50"), None),
)  # fmt: skip


def _corpus(chance: random.Random) -> tuple[bytes, dict[int, tuple[str, tuple[str, str] | None]], dict[str, int]]:
    """One file: its bytes, what must come of each damaged line, and the minor units of every other row by number."""
    delimiter = chance.choice([";", "\t", "|"])
    encoding = chance.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
    lines = [delimiter.join(HEADER)]
    expected: dict[int, tuple[str, tuple[str, str] | None]] = {}
    good: dict[str, int] = {}
    # Enough good rows first that the column's format is certain.
    for number in range(ROWS_PER_FILE * 2):
        minor = chance.randrange(100, 10**7)
        amount = f"{minor // 100},{minor % 100:02d}"
        cells = [
            f"{number % 7:05d}",
            "Name",
            f"R{number}",
            f"{13 + number % 15}/01/2026",
            "28/02/2026",
            "EUR",
            amount,
            "t",
        ]
        name, damage, outcome = chance.choice(DAMAGES) if number % 2 else ("", None, None)
        if damage is None:
            good[cells[2]] = minor
        else:
            damage(cells, chance)
            cells[2] = cells[2].format(number)
            if outcome is None:
                good[cells[2].strip()] = -1050 if name in ("minus after", "brackets", "typographic minus") else minor
                if name == "currency beside":
                    good[cells[2].strip()] = 1050
            expected[len(lines) + 1] = (name, outcome)
        lines.append(
            delimiter.join(f'"{cell}"' if chance.random() < 0.05 and '"' not in cell else cell for cell in cells)
        )
    text = chance.choice(["\r\n", "\n"]).join(lines)
    return text.encode(encoding), expected, good


def test_every_bad_row_is_refused_with_line_field_and_reason_and_good_rows_are_untouched():
    chance, seen, names = random.Random(11), 0, set()
    while seen < BAD_ROWS:
        data, expected, good = _corpus(chance)
        if not expected:
            continue
        analysis = read(data)
        assert analysis.questions == []
        refused = {(row["line"], row["field"], row["code"]) for row in analysis.rejects.to_pylist()}
        for line, (name, outcome) in expected.items():
            names.add(name)
            if outcome is not None:
                assert (line, *outcome) in refused, f"{name}: line {line} of {data[:40]!r}"
        wanted = {line for line, (_, outcome) in expected.items() if outcome is not None}
        assert {line for line, _, _ in refused} == wanted
        taken = {row["number"]: row["open_minor"] for row in analysis.accepted.to_pylist()}
        assert taken == good
        assert analysis.read == ROWS_PER_FILE * 2 == analysis.accepted_rows + analysis.rejected
        for language in ("en", "fr"):
            assert all(domain.reject_reasons(analysis.rejects, language).to_pylist())
        seen += len(expected)
    assert names == {name for name, _, _ in DAMAGES}


# --- X1: documents and bombs


def _sound() -> list[bytes]:
    """One sound file of each structured format; real ones where they are at hand."""
    rows: list[list[object]] = [list(HEADER)]
    for number in range(12):
        day = dt.date(2026, 3, 13 + number)
        rows.append([f"C{number % 3}", "Name", f"R{number}", day, day, "EUR", Decimal(number + 1), "text"])
    sound = [ubl(), DATEV, zipped({"a.xml": ubl(), "b.xml": ubl().replace(b"R1", b"R2")}), *dialects(rows).values()]
    for path in (
        "einvoice/cii/xml_rechnung/EN16931_Einfach.cii.xml",
        "einvoice/facturx_pdf/EN16931_Einfach.pdf",
        "ledgers/saft_no/ExampleFile_SAF-T_Financial_888888888_20180228235959.xml",
    ):
        if (FOLDER / path).exists():
            sound.append((FOLDER / path).read_bytes())
    return sound


PIECES = (
    b'"', b";", b"<", b">", b"&", b"\0", b"\xff\xfe", b"]]>", b"{", b"[", b"<!--", b"99/99/9999", b"1e308", b"\xe2\x80", b"&x;",
)  # fmt: skip


def _damaged(data: bytes, chance: random.Random) -> bytes:
    content = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        if not content:
            break
        at = chance.randrange(len(content))
        match chance.randrange(5):
            case 0:
                content[at] = chance.randrange(256)
            case 1:
                del content[at : at + chance.choice([1, 2, 10, 200])]
            case 2:
                content[at:at] = chance.choice(PIECES)
            case 3:
                del content[at:]
            case _:
                other = chance.randrange(len(content))
                content[at:at] = content[other : other + chance.choice([5, 50, 500])]
    return bytes(content)


def _outcome(data: bytes, label: object) -> str:
    """Reads anything; fails on any exception that is no clear refusal, and on rows that are not accounted for."""
    try:
        analysis = read(data)
    except Unreadable as refusal:
        assert domain.failure_text(refusal.code, "fr", **refusal.values)
        return "refused"
    if analysis.accepted is None:
        return "asked"
    assert analysis.read == analysis.accepted_rows + analysis.rejected, label
    assert all(domain.reject_reasons(analysis.rejects).to_pylist()), label
    return "read"


def test_damaged_documents_never_crash_and_account_for_every_row():
    sound, chance = _sound(), random.Random(3)
    outcomes: dict[str, int] = {}
    for number in range(DAMAGED_DOCUMENTS):
        data = _damaged(sound[number % len(sound)], chance)
        outcome = _outcome(data, number)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert outcomes["refused"] and outcomes["read"], outcomes


def _laughs(depth: int) -> bytes:
    entities = '<!ENTITY l0 "ha">' + "".join(
        f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, depth)
    )
    return f"<?xml version='1.0'?><!DOCTYPE x [{entities}]>".encode() + ubl().replace(
        b"Buyer SA", f"&l{depth - 1};".encode()
    )


def _bomb(number: int) -> bytes:
    zeros = b"\0" * (32 * 1024 * 1024)
    kinds: list[Callable[[], bytes]] = [
        lambda: _laughs(3 + number % 7),
        lambda: zipped({"xl/workbook.xml": b"<workbook/>", f"xl/worksheets/sheet{number}.xml": zeros}),
        lambda: zipped({f"invoice{number}.xml": zeros}),
        lambda: zipped({"a.zip": zipped({"b.zip": zipped({"c.csv": zeros})})}),
        lambda: b"<a>" * (100_000 + number),
        lambda: b"[" * (100_000 + number),
        lambda: b'{"a":' * (100_000 + number),
        lambda: zipped({f"{entry}.csv": b"" for entry in range(5_001)}),
        lambda: b"a;" * (1_001 + number) + b"\n" + b"1;" * (1_001 + number),
        lambda: b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" + ubl(),
    ]
    return kinds[number % len(kinds)]()


def test_bombs_are_refused_quickly():
    for number in range(BOMBS):
        data = _bomb(number)
        started = time.process_time()
        assert _outcome(data, number) == "refused", number
        assert time.process_time() - started < 5, number


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:9/e.dtd"> %e;]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE x PUBLIC "a" "file:///etc/hostname">',
    ],
)
def test_external_entities_are_never_opened(doctype, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    for name in ("/etc/hostname", str(secret)):
        data = doctype.replace("/etc/hostname", name).encode() + ubl().replace(b"Buyer SA", b"&e;")
        for form in (data, b"\xff\xfe" + data.decode().encode("utf-16-le"), zipped({"a.xml": data, "b.xml": ubl()})):
            try:
                raw = read_table(form, "x.xml")
            except Unreadable as refusal:
                assert refusal.code in ("XML_DOCTYPE", "XML_DAMAGED")
                continue
            assert "secret" not in str(raw.table.to_pylist())
            assert raw.broken and raw.table.num_rows == 1


# --- X2


@settings(max_examples=ROUND_TRIPS, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 99_999_999),
            st.dates(dt.date(2001, 1, 1), dt.date(2099, 12, 31)),
            st.booleans(),
            st.text(st.characters(categories=("L", "N"), max_codepoint=255), min_size=1, max_size=12).map(lambda text: f"N{text}"),
        ),
        min_size=2,
        max_size=10,
    ),
    st.sampled_from(
        ["excel-fr", "us-brackets", "trailing-minus", "xlsx", "plain", "swiss", "nbsp", "utf-16-tab", "utf-16-le-no-bom",
         "json", "json-lines", "json-nested", "ods", "xlsx-serials", "xlsx-1904", "zip-of-csv"]
    ),
)  # fmt: skip
def test_what_is_written_in_any_dialect_is_read_back_the_same(cells, name):
    rows: list[list[object]] = [list(HEADER)]
    for number, (cents, day, credit, text) in enumerate(cells):
        rows.append(
            [f"C{number % 3}", text, f"R{number}", day, day, "EUR", Decimal(-cents if credit else cents) / 100, "x"]
        )
    answers = {"dateOrder": "MDY" if name == "us-brackets" else "DMY", "decimalSign": "."}
    if name in ("excel-fr", "trailing-minus", "nbsp", "utf-16-tab", "utf-16-le-no-bom", "zip-of-csv"):
        answers["decimalSign"] = ","
    analysis = analyse(read_table(dialects(rows)[name], name), Wanted("FR01", "EUR", object="ITEMS", answers=answers))
    assert analysis.questions == []
    back = {
        row["number"]: (row["account_name"], row["initial_minor"], row["issue_on"], row["due_on"])
        for row in analysis.accepted.to_pylist()
    }
    assert back == {str(row[2]): (row[1], int(row[6] * 100), row[3], row[4]) for row in rows[1:]}  # type: ignore[operator]


HEADS = (
    b"", b"%PDF-1.7\n", b"PK\x03\x04", b"<?xml version='1.0'?>", b"<Invoice xmlns='urn:ubl'>", b"[", b'{"a":', b'"EXTF";700;21;',
    b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"sep=;\n", b"a;b;c\n", b"a\tb\n",
)  # fmt: skip


@settings(max_examples=RANDOM_FILES, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(
    st.sampled_from(HEADS),
    st.one_of(st.binary(max_size=400), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))),
)
def test_random_bytes_never_crash(head, body):
    _outcome(head + body, (head, body))


def test_a_table_in_two_sheets_is_told():
    import xlsxwriter

    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    for name, rows in (("Notes", 2), ("List", 5)):
        sheet = book.add_worksheet(name)
        sheet.write_row(0, 0, ["Customer", "Invoice No", "Invoice Date", "Amount"])
        for row in range(1, rows):
            sheet.write_row(row, 0, ["C1", f"{name}{row}", "2026-05-13", row])
    book.close()
    raw = read_table(out.getvalue(), "x.xlsx")
    assert raw.table.num_rows == 4 and raw.warnings == [("otherSheets", {"sheet": "List"})]
    assert read_table(out.getvalue(), "x.xlsx", sheet="Notes").table.num_rows == 1
