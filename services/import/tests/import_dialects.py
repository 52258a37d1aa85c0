"""Writes one table in a dozen dialects, as the world's exports do, so that tests can demand equal totals from all of
them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import xlsxwriter

Row = Sequence[object]
REPOSITORY = Path(__file__).resolve().parents[3]


def shared_data(path: str) -> bytes:
    """A real file of the shared collection; the test is skipped with a reason where it is absent."""
    folder = Path(os.environ.get("QUITTANCE_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    file = folder / path
    if not file.exists():
        pytest.skip(f"real file {path} not found under {folder}; set QUITTANCE_SHARED_DATA")
    return file.read_bytes()


def _point(amount: Decimal) -> str:
    return f"{amount:.2f}"


def _comma(amount: Decimal) -> str:
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


def _thousands(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _blanks(amount: Decimal) -> str:
    return f"{amount:,.2f}".replace(",", "\u202f").replace(".", ",")


def _trailing(amount: Decimal) -> str:
    return _comma(abs(amount)) + ("-" if amount < 0 else "")


def _brackets(amount: Decimal) -> str:
    return f"({abs(amount):,.2f})" if amount < 0 else f"{amount:,.2f}"


def _swiss(amount: Decimal) -> str:
    return f"{amount:,.2f}".replace(",", "'")


def _dated(pattern: str) -> Callable[[dt.date], str]:
    return lambda day: day.strftime(pattern)


def _bare_mdy(day: dt.date) -> str:
    return f"{day.month}/{day.day}/{day.year}"


def _csv(
    rows: Sequence[Row],
    delimiter: str,
    amount: Callable[[Decimal], str],
    day: Callable[[dt.date], str],
    quoting: int = csv.QUOTE_MINIMAL,
) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting)
    for row in rows:
        writer.writerow(
            [
                amount(cell) if isinstance(cell, Decimal) else day(cell) if isinstance(cell, dt.date) else cell
                for cell in row
            ]
        )
    return out.getvalue()


def _xlsx(rows: Sequence[Row], numbers: bool, from_1904: bool = False, serials: bool = False) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "date_1904": from_1904})
    book.add_worksheet("Notes").write_string(0, 0, "read the other sheet")
    sheet = book.add_worksheet("Items")
    first = dt.date(1904, 1, 1) if from_1904 else dt.date(1899, 12, 30)
    style = book.add_format({"num_format": "dd/mm/yyyy"})
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, dt.date) and serials:
                sheet.write_number(at, column, (cell - first).days)
            elif isinstance(cell, dt.date):
                sheet.write_datetime(at, column, dt.datetime(cell.year, cell.month, cell.day), style)
            elif isinstance(cell, Decimal):
                sheet.write_number(at, column, float(cell))
            elif numbers and str(cell).isdigit() and not str(cell).startswith("0"):
                sheet.write_number(at, column, float(str(cell)))
            else:
                sheet.write_string(at, column, str(cell))
    book.close()
    return out.getvalue()


def _sap_list(rows: Sequence[Row]) -> str:
    """A list as SAP prints it: title, rules, page header repeated, minus after the number, starred totals."""
    rule = "-" * 80
    header, *body = rows
    lines = ["Customer line items", "Page 1", rule, "|" + "|".join(str(cell) for cell in header) + "|", rule]
    for number, row in enumerate(body, start=1):
        cells = [
            _trailing(cell)
            if isinstance(cell, Decimal)
            else cell.strftime("%d.%m.%Y")
            if isinstance(cell, dt.date)
            else str(cell)
            for cell in row
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if number % 25 == 0:
            lines += [
                rule,
                "Customer line items",
                f"Page {number // 25 + 1}",
                rule,
                "|" + "|".join(str(cell) for cell in header) + "|",
                rule,
            ]
    lines += [rule, "|*" + "|" * len(header) + "|", rule]
    return "\r\n".join(lines) + "\r\n"


def _records(rows: Sequence[Row]) -> list[dict[str, object]]:
    header = [str(name) for name in rows[0]]
    return [
        {name: cell.isoformat() if isinstance(cell, dt.date) else cell for name, cell in zip(header, row, strict=True)}
        for row in rows[1:]
    ]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=float).encode()


def _nested(records: list[dict[str, object]]) -> list[dict[str, object]]:
    """The customer as an object of his own, as interfaces deliver him."""
    nested = []
    for record in records:
        customer = {name.partition(" ")[2]: record[name] for name in record if str(name).startswith("Customer ")}
        nested.append(
            {name: cell for name, cell in record.items() if not str(name).startswith("Customer ")}
            | {"Customer": customer}
        )
    return nested


def _fixed(rows: Sequence[Row], rule: bool) -> bytes:
    """Columns of a fixed width, amounts to the right, as old systems print them."""
    cells = [
        [
            _trailing(cell)
            if isinstance(cell, Decimal)
            else cell.strftime("%d.%m.%Y")
            if isinstance(cell, dt.date)
            else str(cell)
            for cell in row
        ]
        for row in rows
    ]
    widths = [max(len(row[column]) for row in cells) + 1 for column in range(len(cells[0]))]
    amount = [any(isinstance(row[column], Decimal) for row in rows) for column in range(len(cells[0]))]
    lines = [
        " ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, amount, strict=True)
        ).rstrip()
        for row in cells
    ]
    if rule:
        lines.insert(1, " ".join("-" * width for width in widths))
    return ("\r\n".join(lines) + "\r\n").encode("cp1252", "replace")


def _ods(rows: Sequence[Row]) -> bytes:
    """The smallest OpenDocument spreadsheet."""
    body = []
    for row in rows:
        cells = []
        for cell in row:
            if isinstance(cell, Decimal):
                cells.append(f'<table:table-cell office:value-type="float" office:value="{cell}"/>')
            elif isinstance(cell, dt.date):
                cells.append(f'<table:table-cell office:value-type="date" office:date-value="{cell.isoformat()}"/>')
            else:
                cells.append(
                    f'<table:table-cell office:value-type="string"><text:p>{escape(str(cell))}</text:p></table:table-cell>'
                )
        body.append(f"<table:table-row>{''.join(cells)}</table:table-row>")
    content = (
        '<?xml version="1.0" encoding="UTF-8"?><office:document-content office:version="1.2" '
        'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
        f'<table:table table:name="Items">{"".join(body)}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>'
    )
    return zipped(
        {"mimetype": kind.encode(), "content.xml": content.encode(), "META-INF/manifest.xml": manifest.encode()}
    )


def zipped(entries: dict[str, bytes]) -> bytes:
    """A zip archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def _grouped(rows: Sequence[Row]) -> str:
    """A SAP list that names the customer once, above his items, and ends each group with a starred total."""
    header, *body = rows
    rule = "-" * 90
    caption = "|" + "|".join(str(name) for name in header[2:]) + "|"
    lines = ["Customer line item list", "", rule]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in body:
        groups.setdefault((str(row[0]), str(row[1])), []).append(row)
    for (number, name), group in groups.items():
        lines += [
            f"Customer            {number}",
            "Company Code        1000",
            f"Name                {name}",
            rule,
            caption,
            rule,
        ]
        for row in group:
            cells = [
                _trailing(cell).rjust(15)
                if isinstance(cell, Decimal)
                else cell.strftime("%d.%m.%Y")
                if isinstance(cell, dt.date)
                else str(cell)
                for cell in row[2:]
            ]
            lines.append("|" + "|".join(cells) + "|")
        total = sum((cell for row in group for cell in row if isinstance(cell, Decimal)), Decimal(0))
        lines += [rule, f"|* Account {number}|" + "|" * (len(header) - 5) + _trailing(total) + "||", rule, ""]
    return "\r\n".join(lines) + "\r\n"


def _with_totals(rows: Sequence[Row]) -> str:
    """Subtotals in the rows' own columns, by the words that books use for them."""
    words = ("Sous-total", "Summe", "Total général", "Zwischensumme", "* Subtotal", "TOTAL")
    header, *body = rows
    printed: list[Row] = [header]
    for at in range(0, len(body), 20):
        printed += body[at : at + 20]
        total = sum((row[6] for row in body[at : at + 20]), Decimal(0))  # type: ignore[misc]
        printed += [[words[at // 20 % len(words)], "", "", "", "", "", total, ""], [""] * len(header)]
    return _csv(printed, ";", _comma, _dated("%d.%m.%Y"))


class _Lazy(Mapping[str, bytes]):
    """Files that are written when they are asked for."""

    def __init__(self, makers: dict[str, Callable[[], bytes]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> bytes:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def dialects(rows: Sequence[Row]) -> Mapping[str, bytes]:
    """The same rows (header first; Decimal, date and str cells) in every dialect, by name."""
    makers: dict[str, Callable[[], bytes]] = {
        "plain": lambda: _csv(rows, ",", _point, _dated("%Y-%m-%d")).encode(),
        "excel-fr": lambda: _csv(rows, ";", _comma, _dated("%d/%m/%Y")).encode("cp1252", "replace"),
        "excel-utf8-bom": lambda: b"\xef\xbb\xbf" + _csv(rows, ";", _blanks, _dated("%d/%m/%Y")).encode(),
        "utf-16-tab": lambda: _csv(rows, "\t", _comma, _dated("%d.%m.%Y")).encode("utf-16"),
        "utf-16-be-no-bom": lambda: _csv(rows, "\t", _point, _dated("%d.%m.%Y")).encode("utf-16-be"),
        "us-quoted": lambda: _csv(rows, ",", _thousands, _bare_mdy, csv.QUOTE_ALL).encode(),
        "us-brackets": lambda: _csv(rows, ",", _brackets, _dated("%m/%d/%Y")).encode(),
        "trailing-minus": lambda: _csv(rows, ";", _trailing, _dated("%d.%m.%Y")).encode("cp1252", "replace"),
        "compact-dates": lambda: _csv(rows, "|", _point, _dated("%Y%m%d")).encode(),
        "swiss": lambda: _csv(rows, ";", _swiss, _dated("%d.%m.%Y")).encode(),
        "named-months": lambda: _csv(rows, ",", _point, _dated("%d-%b-%Y")).encode(),
        "with-times": lambda: _csv(rows, ",", _point, _dated("%Y-%m-%dT00:00:00")).encode(),
        "old-mac": lambda: _csv(rows, ";", _point, _dated("%d-%m-%Y")).replace("\r\n", "\n").encode(),
        "sep-line": lambda: b"sep=;\r\n" + _csv(rows, ";", _comma, _dated("%d/%m/%Y")).encode(),
        "xlsx": lambda: _xlsx(rows, numbers=False),
        "xlsx-numbers": lambda: _xlsx(rows, numbers=True),
        "nbsp": lambda: _csv(
            rows, ";", lambda amount: _blanks(amount).replace("\u202f", "\xa0"), _dated("%d/%m/%Y")
        ).encode("cp1252"),
        "utf-16-le-no-bom": lambda: _csv(rows, ";", _comma, _dated("%d/%m/%Y")).encode("utf-16-le"),
        "latin-pipe": lambda: _csv(rows, "|", _trailing, _dated("%d.%m.%Y")).encode("cp1252", "replace"),
        "totals": lambda: _with_totals(rows).encode("cp1252", "replace"),
        "sap-groups": lambda: _grouped(rows).encode("cp1252", "replace"),
        "fixed-width": lambda: _fixed(rows, rule=False),
        "fixed-width-rule": lambda: _fixed(rows, rule=True),
        "json": lambda: _json(_records(rows)),
        "json-object": lambda: _json({"count": len(rows) - 1, "value": _records(rows)}),
        "json-nested": lambda: _json(_nested(_records(rows))),
        "json-lines": lambda: b"".join(_json(record) + b"\n" for record in _records(rows)),
        "ods": lambda: _ods(rows),
        "xlsx-1904": lambda: _xlsx(rows, numbers=False, from_1904=True),
        "xlsx-serials": lambda: _xlsx(rows, numbers=False, serials=True),
        "xlsx-1904-serials": lambda: _xlsx(rows, numbers=False, from_1904=True, serials=True),
        "zip-of-csv": lambda: zipped(
            {
                f"part {part}.csv": _csv([rows[0], *rows[1 + part :: 3]], ";", _comma, _dated("%d/%m/%Y")).encode()
                for part in range(3)
                if rows[1 + part :: 3]
            }
        ),
        "sap-list": lambda: _sap_list(rows).encode("cp1252", "replace"),
    }
    return _Lazy(makers)
