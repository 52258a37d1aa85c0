"""Spreadsheets of any office: xlsx, xls, xlsb, ods. Numbers become text without loss; cells with an error are noted."""

from __future__ import annotations

import datetime as dt
import io
import re
from dataclasses import dataclass

import pyarrow as pa
from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from importer.domain.reading.archives import Budget, entries_of, unpack
from importer.domain.reading.header import find_header
from importer.domain.reading.table import COLUMN_LIMIT, SAMPLE_ROWS, RawTable
from importer.domain.texts import Unreadable


def read_sheet(data: bytes, wanted: str, limit_bytes: int) -> RawTable:
    """The sheet with the most rows, or the one a person named. Raises: Unreadable."""
    parts = _inspect(data) if data[:2] == b"PK" else _Parts({}, False)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        names = [
            (position, meta.name)
            for position, meta in enumerate(book.sheets_metadata)
            if meta.typ == SheetTypeEnum.WorkSheet and meta.visible == SheetVisibleEnum.Visible
        ]
        if wanted:
            names = [(position, name) for position, name in names if name == wanted]
        sheets = [(position, book.get_sheet_by_index(position)) for position, _ in names]
    except (CalamineError, OSError, ValueError) as error:
        raise Unreadable("SHEET_DAMAGED") from error
    except BaseException as error:
        # Damaged files make the reader's own code panic; that arrives here as no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise Unreadable("SHEET_DAMAGED") from error
    sheets = [(position, sheet) for position, sheet in sheets if sheet.height and sheet.width]
    if not sheets:
        raise Unreadable("FILE_EMPTY")
    # The sheet with the most rows is the list; the others are usually notes and pivots.
    position, sheet = max(sheets, key=lambda pair: (pair[1].height, -pair[0]))
    if sheet.width > COLUMN_LIMIT:
        raise Unreadable("TOO_MANY_COLUMNS", limit=str(COLUMN_LIMIT))
    if sheet.height * sheet.width > 40_000_000:
        raise Unreadable("SHEET_BOMB")
    raw = _sheet_table(sheet, parts.errors.get(position, []))
    raw.from_1904 = parts.from_1904
    if len(sheets) > 1:
        raw.warnings.append(("otherSheets", {"sheet": sheet.name}))
    return raw


@dataclass(frozen=True)
class _Parts:
    """What calamine does not tell: error cells by sheet position as (line, column), and where day numbers start."""

    errors: dict[int, list[tuple[int, int]]]
    from_1904: bool


def _inspect(data: bytes) -> _Parts:
    """Unpacks every entry once, counting, so that no declared size is believed."""
    budget = Budget()
    errors: dict[int, list[tuple[int, int]]] = {}
    from_1904 = False
    for entry in entries_of(data):
        sheet = re.fullmatch(r"xl/worksheets/sheet(\d+)\.xml", entry.filename)
        tail = b""
        for piece in unpack(data, entry, budget):
            if entry.filename == "xl/workbook.xml":
                from_1904 = from_1904 or bool(re.search(rb"date1904=[\"'](1|true)", tail + piece))
                tail = piece[-50:]
            if sheet:
                window = tail + piece
                # An error cell is found in one piece or across two; the part already searched is short enough to
                # repeat.
                for match in re.finditer(rb'<c r="([A-Z]{1,3})(\d+)"[^>]*\bt="e"', window):
                    place = (int(match.group(2)), _column_number(match.group(1)))
                    found = errors.setdefault(int(sheet.group(1)) - 1, [])
                    if place not in found[-3:]:
                        found.append(place)
                tail = window[-200:]
    return _Parts(errors, from_1904)


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _sheet_table(sheet, errors: list[tuple[int, int]]) -> RawTable:
    first_column = sheet.start[1] if sheet.start else 0
    head: list[tuple[list[str], int]] = []
    rows = sheet.iter_rows()
    held: list[list[object]] = []
    for number, row in enumerate(rows, start=1):
        held.append(row)
        head.append(([_cell_text(cell) for cell in row], number))
        if number >= SAMPLE_ROWS:
            break
    header_index, width = find_header([(cells, number) for cells, number in head])
    names = [cell.strip() for cell in head[header_index][0]] if header_index >= 0 else [""] * width
    texts: list[list[str]] = [[] for _ in range(width)]
    native: list[list[bool]] = [[] for _ in range(width)]
    lines: list[int] = []
    blank = 0
    number = header_index + 1

    def take(row: list[object]) -> None:
        nonlocal blank
        if not any(cell != "" for cell in row):
            blank += 1
            return
        lines.append(number)
        for position, cell in enumerate(row):
            texts[position].append(cell if type(cell) is str else _cell_text(cell))
            native[position].append(type(cell) is float)

    for row in held[header_index + 1 :]:
        number += 1
        take(row)
    for row in rows:
        number += 1
        take(row)
    table = pa.table({f"c{position}": pa.array(column, pa.string()) for position, column in enumerate(texts)})
    raw = RawTable(
        names,
        table,
        pa.array(lines, pa.int32()),
        "sheet",
        header_line=header_index + 1,
        preamble=[(number, " ".join(cell for cell in cells if cell)) for cells, number in head[: max(header_index, 0)]],
        native={position: pa.array(flags, pa.bool_()) for position, flags in enumerate(native) if any(flags)},
        error_cells=[(line, column - first_column) for line, column in errors if line > header_index + 1],
    )
    if blank:
        raw.skipped["blank"] = blank
    if header_index < 0:
        raw.warnings.append("noHeader")
    return raw


def _cell_text(cell: object) -> str:
    """A spreadsheet's value as text without loss: 1930571429.0 becomes 1930571429, a date becomes ISO."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(round(cell, 9))
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(sep=" ")
    if isinstance(cell, dt.date | dt.time):
        return cell.isoformat()
    return str(cell)
