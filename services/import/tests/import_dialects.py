"""Writes one table in a dozen dialects, as the world's exports do, so that tests can demand equal totals from all of
them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

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


def _xlsx(rows: Sequence[Row], numbers: bool) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet("Items")
    style = book.add_format({"num_format": "dd/mm/yyyy"})
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, dt.date):
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


def dialects(rows: Sequence[Row]) -> dict[str, bytes]:
    """The same rows (header first; Decimal, date and str cells) in every dialect, by name."""
    return {
        "plain": _csv(rows, ",", _point, _dated("%Y-%m-%d")).encode(),
        "excel-fr": _csv(rows, ";", _comma, _dated("%d/%m/%Y")).encode("cp1252", "replace"),
        "excel-utf8-bom": b"\xef\xbb\xbf" + _csv(rows, ";", _blanks, _dated("%d/%m/%Y")).encode(),
        "utf-16-tab": _csv(rows, "\t", _comma, _dated("%d.%m.%Y")).encode("utf-16"),
        "utf-16-be-no-bom": _csv(rows, "\t", _point, _dated("%d.%m.%Y")).encode("utf-16-be"),
        "us-quoted": _csv(rows, ",", _thousands, _bare_mdy, csv.QUOTE_ALL).encode(),
        "us-brackets": _csv(rows, ",", _brackets, _dated("%m/%d/%Y")).encode(),
        "trailing-minus": _csv(rows, ";", _trailing, _dated("%d.%m.%Y")).encode("cp1252", "replace"),
        "compact-dates": _csv(rows, "|", _point, _dated("%Y%m%d")).encode(),
        "swiss": _csv(rows, ";", _swiss, _dated("%d.%m.%Y")).encode(),
        "named-months": _csv(rows, ",", _point, _dated("%d-%b-%Y")).encode(),
        "with-times": _csv(rows, ",", _point, _dated("%Y-%m-%dT00:00:00")).encode(),
        "old-mac": _csv(rows, ";", _point, _dated("%d-%m-%Y")).replace("\r\n", "\n").encode(),
        "sep-line": b"sep=;\r\n" + _csv(rows, ";", _comma, _dated("%d/%m/%Y")).encode(),
        "xlsx": _xlsx(rows, numbers=False),
        "xlsx-numbers": _xlsx(rows, numbers=True),
        "sap-list": _sap_list(rows).encode("cp1252", "replace"),
    }
