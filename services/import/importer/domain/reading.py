"""From bytes to a table of text: encoding, delimiter, header, spreadsheets, and what is refused before any row is
looked at.

Every cell stays text exactly as written (leading zeros, signs, blanks inside), with its line of the file, so that a
later
refusal can name it. Only numbers that a spreadsheet stores as numbers are rewritten, and only without loss.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zipfile
import zlib
from dataclasses import dataclass, field

import clevercsv
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from importer.domain.texts import Unreadable
from importer.domain.values import header_key, looks_typed

FILE_LIMIT_BYTES = 200 * 1024 * 1024
COLUMN_LIMIT = 1_000
SHEET_ENTRY_LIMIT = 5_000
SHEET_UNPACKED_LIMIT_BYTES = 1024 * 1024 * 1024
# Real spreadsheets are packed 5 to 40 times; bombs, thousands of times.
SHEET_RATIO_LIMIT = 200
SHEET_RATIO_FROM_BYTES = 20 * 1024 * 1024
SAMPLE_CHARS = 262_144
SAMPLE_ROWS = 400
DELIMITERS = (";", ",", "\t", "|")

_TOTAL_WORD = (
    r"(?i)^\s*(\*+|((grand|sub|sous|page)[ -]?)?totals?|total general|(end)?summe|gesamt(summe|betrag)?|somme|suma"
    r"|report|übertrag)\b"
)
_TOTAL_STARS = r"^\s*\*+\s*"


@dataclass
class RawTable:
    """The rows of a file as text. `table` has one string column without nulls per header, `lines` the line of each
    row."""

    headers: list[str]
    table: pa.Table
    lines: pa.Array
    kind: str
    encoding: str = ""
    delimiter: str = ""
    header_line: int = 1
    # Spreadsheet cells stored as numbers: their text always has a decimal point, whatever the column's sign is.
    native: dict[int, pa.Array] = field(default_factory=dict)
    # Rows that are no rows of a table: (line, code, text as written).
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    # Cells with a spreadsheet error: (line, position of the column).
    error_cells: list[tuple[int, int]] = field(default_factory=list)
    # Lines left out because they carry no row: kind to count.
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        """Rows that carry data, the broken ones included."""
        return self.table.num_rows + len(self.broken)


def read_table(
    data: bytes,
    file_name: str,
    *,
    encoding: str = "",
    sheet: str = "",
    limit_bytes: int = FILE_LIMIT_BYTES,
) -> RawTable:
    """Reads a CSV-like file or a spreadsheet.

    Args: data, the whole file; file_name, only for messages; encoding and sheet, a person's answers, empty: recognised.
    Raises: Unreadable with a stable code and a text for a bookkeeper.
    """
    if not data:
        raise Unreadable("FILE_EMPTY")
    if len(data) > limit_bytes:
        raise Unreadable("FILE_TOO_LARGE", limit_mb=str(limit_bytes // (1024 * 1024)))
    kind = _kind(data)
    raw = _read_sheet(data, sheet, limit_bytes) if kind == "sheet" else _read_text(data, encoding)
    if raw.row_count == 0:
        raise Unreadable("HEADER_ONLY")
    return _without_furniture(raw)


def _kind(data: bytes) -> str:
    head = data[:8]
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or head == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        return "sheet"
    for magic in (
        b"%PDF",
        b"\x89PNG",
        b"GIF8",
        b"\xff\xd8\xff",
        b"\x1f\x8b",
        b"Rar!",
        b"7z\xbc\xaf",
        b"\x7fELF",
        b"MZ\x90",
        b"BZh",
    ):
        if head.startswith(magic):
            raise Unreadable("FILE_BINARY")
    return "text"


# --- text -----------------------------------------------------------------------------------------------------------


def decode(data: bytes, encoding: str = "") -> tuple[bytes, str]:
    """The file as UTF-8 bytes and the encoding it had. BOM first, then the answer, then strict UTF-8, else cp1252."""
    if data.startswith(b"\xef\xbb\xbf"):
        try:
            return _checked(data[3:], "utf-8-sig")
        except UnicodeDecodeError:
            # The mark says what was meant; single broken bytes are shown as the replacement sign.
            return _checked(data[3:].decode("utf-8", errors="replace").encode(), "utf-8-sig")
    for bom, name in (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(bom):
            return _recoded(data, name)
    if encoding:
        return _recoded(data, encoding)
    sample = data[:4096]
    if len(sample) >= 16 and b"\x00" in sample:
        # Text in Latin letters has its zero bytes all on one side when it is UTF-16 without a mark.
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        half = len(sample) // 2
        if odd > half * 0.6 and even < half * 0.05:
            return _recoded(data, "utf-16-le")
        if even > half * 0.6 and odd < half * 0.05:
            return _recoded(data, "utf-16-be")
    try:
        return _checked(data, "utf-8")
    except UnicodeDecodeError:
        _refuse_binary(sample)
        return _recoded(data, "cp1252")


def _checked(data: bytes, name: str) -> tuple[bytes, str]:
    data.decode("utf-8")
    _refuse_binary(data[:65536])
    return data, name


def _recoded(data: bytes, name: str) -> tuple[bytes, str]:
    try:
        text = data.decode(name)
    except (UnicodeDecodeError, LookupError) as error:
        if name != "cp1252":
            raise Unreadable("FILE_ENCODING", encoding=name) from error
        # Five bytes mean nothing in cp1252; they are shown as the replacement sign rather than refused.
        text = data.decode("cp1252", errors="replace")
    recoded = text.lstrip("\ufeff").encode("utf-8", errors="replace")
    _refuse_binary(recoded[:65536])
    return recoded, name


def _refuse_binary(sample: bytes) -> None:
    control = sum(sample.count(bytes((code,))) for code in range(32) if code not in (9, 10, 12, 13, 26))
    if control > max(8, len(sample) // 50):
        raise Unreadable("FILE_BINARY")


def _read_text(data: bytes, encoding: str) -> RawTable:
    utf8, encoding = decode(data, encoding)
    sample = utf8[:SAMPLE_CHARS].decode("utf-8", errors="ignore")
    if not sample.strip("\r\n\t ;,|\x1a"):
        raise Unreadable("FILE_EMPTY")
    forced = re.match(r"sep=(.)\r?\n", sample)
    complete = len(utf8) <= SAMPLE_CHARS
    delimiter = forced.group(1) if forced else _sniff_delimiter(sample, complete)
    rows = _sample_rows(sample, delimiter, complete)
    header_index, width = _find_header(rows)
    header, ends_at_line = rows[header_index] if header_index >= 0 else ([], 0)
    header_line = ends_at_line if header_index >= 0 else 0
    names = [cell.strip() for cell in header] + [""] * (width - len(header))
    if len(names) > COLUMN_LIMIT:
        raise Unreadable("TOO_MANY_COLUMNS", limit=str(COLUMN_LIMIT))
    body = _after_line(utf8, ends_at_line)
    raw = _parse_body(body, names, delimiter, first_line=ends_at_line + 1)
    raw.encoding, raw.delimiter, raw.header_line = encoding, delimiter, header_line
    if header_index < 0:
        raw.warnings.append("noHeader")
    return raw


def _sample_rows(sample: str, delimiter: str, complete: bool) -> list[tuple[list[str], int]]:
    """Rows of the sample with the physical line each ends on; the last one is left out when the sample cuts it."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    rows: list[tuple[list[str], int]] = []
    try:
        for row in reader:
            rows.append((row, reader.line_num))
            if len(rows) >= SAMPLE_ROWS:
                return rows
    except csv.Error:
        return rows
    return rows if complete else rows[:-1]


def _sniff_delimiter(sample: str, complete: bool) -> str:
    """The delimiter whose column count is most stable; a second opinion decides near ties."""
    scores: list[tuple[float, int, str]] = []
    for delimiter in DELIMITERS:
        rows = [row for row, _ in _sample_rows(sample, delimiter, complete) if any(cell.strip() for cell in row)]
        if not rows:
            continue
        width = _usual_width(rows)
        if width < 2:
            continue
        same = [row for row in rows if len(row) == width]
        cells = [cell for row in same for cell in row]
        dirty = sum(1 for cell in cells if any(other in cell for other in ";\t|" if other != delimiter))
        # A comma that splits numbers leaves halves; a real separator leaves whole values, so the header has as many
        # cells.
        header_fits = (
            1.0 if any(len(row) == width and not any(looks_typed(cell) for cell in row) for row in rows[:30]) else 0.8
        )
        scores.append((header_fits * len(same) / len(rows) - 0.5 * dirty / len(cells), width, delimiter))
    if not scores:
        raise Unreadable("NO_COLUMNS")
    scores.sort(reverse=True)
    best = scores[0]
    near = [score for score in scores if best[0] - score[0] < 0.02]
    if len(near) > 1:
        widest = max(near, key=lambda score: score[1])
        if widest[1] >= 2 * min(score[1] for score in near):
            return widest[2]
        try:
            dialect = clevercsv.Sniffer().sniff(sample[:8192], delimiters=[score[2] for score in near])
        except clevercsv.Error:
            return widest[2]
        if dialect is not None and any(score[2] == dialect.delimiter for score in near):
            return str(dialect.delimiter)
        return widest[2]
    return best[2]


def _usual_width(rows: list[list[str]]) -> int:
    counts: dict[int, int] = {}
    for row in rows:
        counts[len(row)] = counts.get(len(row), 0) + 1
    # One column is what every wrong delimiter gives; it wins only when nothing else is there.
    return max((width for width in counts if width > 1), key=lambda width: (counts[width], width), default=1)


def _find_header(rows: list[tuple[list[str], int]]) -> tuple[int, int]:
    """Index of the header in the sample (-1: there is none) and the number of columns."""
    filled_rows = [row for row, _ in rows if any(cell.strip() for cell in row)]
    if not filled_rows:
        raise Unreadable("FILE_EMPTY")
    width = _usual_width(filled_rows)
    if width < 2:
        raise Unreadable("NO_COLUMNS")
    usual_filled = max(sum(1 for cell in row if cell.strip()) for row in filled_rows[:60] if len(row) == width)
    first_data = None
    for index, (row, _) in enumerate(rows[:60]):
        if len(row) not in (width, width - 1):
            continue
        filled = [cell for cell in row if cell.strip()]
        typed = sum(1 for cell in filled if looks_typed(cell))
        known = sum(1 for cell in filled if header_key(cell))
        if typed and len(row) == width and first_data is None:
            first_data = index
        if typed or len(filled) < max(2, 0.5 * usual_filled) or not known:
            continue
        if len(row) == width - 1 and not (index + 1 < len(rows) and len(rows[index + 1][0]) == width):
            continue
        if first_data is not None:
            break
        return index, width
    if first_data is None:
        # No cell anywhere looks like a number or a date: the first full row must be the header.
        for index, (row, _) in enumerate(rows):
            if len(row) == width:
                return index, width
    return -1, width


def _after_line(data: bytes, lines: int) -> memoryview:
    """What follows the first lines, without a copy. Lines end with LF, CRLF or CR."""
    position = 0
    for _ in range(lines):
        newline = data.find(b"\n", position)
        if newline < 0:
            newline = data.find(b"\r", position)
        if newline < 0:
            return memoryview(b"")
        position = newline + 1
    return memoryview(data)[position:]


def _parse_body(body: memoryview, names: list[str], delimiter: str, first_line: int) -> RawTable:
    columns = [f"c{position}" for position in range(len(names))]
    if not bytes(body[:4096]).strip():
        empty = pa.table({column: pa.array([], pa.string()) for column in columns})
        if not bytes(body).strip():
            return RawTable(names, empty, pa.array([], pa.int32()), "text")
    for quote in ('"', False):
        broken: list[tuple[int, str, str]] = []

        def keep_broken(row: pacsv.InvalidRow, broken: list[tuple[int, str, str]] = broken) -> str:
            broken.append((row.number, "columnCount", row.text))
            return "skip"

        try:
            table = pacsv.read_csv(
                pa.py_buffer(body),
                read_options=pacsv.ReadOptions(use_threads=False, column_names=columns, block_size=8 * 1024 * 1024),
                parse_options=pacsv.ParseOptions(
                    delimiter=delimiter,
                    quote_char=quote,
                    newlines_in_values=bool(quote),
                    ignore_empty_lines=False,
                    invalid_row_handler=keep_broken,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types={column: pa.string() for column in columns},
                    strings_can_be_null=False,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if quote:
                continue  # An inch sign at the start of a cell: the file does not use quotes as such.
            raise Unreadable("FILE_NOT_A_TABLE") from error
        # A quote that is never closed swallows rows; without quotes the same file then has far more of them.
        swallowed = quote and any(text.count("\n") > 20 for _, _, text in broken)
        if not swallowed:
            break
    numbers = np.arange(1, table.num_rows + len(broken) + 1, dtype=np.int32)
    keep = np.ones(len(numbers), dtype=bool)
    for number, _, _ in broken:
        keep[number - 1] = False
    extra = np.zeros(len(numbers) + 1, dtype=np.int32)
    if quote and bytes(body).count(b"\n") > len(numbers):
        inside = np.zeros(table.num_rows, dtype=np.int32)
        for column in table.columns:
            inside += pc.count_substring(column, "\n").to_numpy().astype(np.int32)
        extra[1:][keep] = inside
        for number, _, text in broken:
            extra[number] = text.count("\n")
    lines = numbers + first_line - 1 + np.cumsum(extra)[:-1]
    skipped: dict[str, int] = {}
    kept_broken = []
    for number, code, text in broken:
        if not text.strip(" \t;,|\x1a"):
            skipped["blank"] = skipped.get("blank", 0) + 1
        elif re.fullmatch(r"[\s|+=_.-]+", text):
            skipped["rule"] = skipped.get("rule", 0) + 1
        else:
            kept_broken.append((int(lines[number - 1]), code, text[:500]))
    return RawTable(names, table, pa.array(lines[keep], pa.int32()), "text", broken=kept_broken, skipped=skipped)


# --- spreadsheets ---------------------------------------------------------------------------------------------------


def _read_sheet(data: bytes, wanted: str, limit_bytes: int) -> RawTable:
    errors_of_sheet = _inspect_zip(data) if data[:2] == b"PK" else {}
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
    sheets = [(position, sheet) for position, sheet in sheets if sheet.height and sheet.width]
    if not sheets:
        raise Unreadable("FILE_EMPTY")
    # The sheet with the most rows is the list; the others are usually notes and pivots.
    position, sheet = max(sheets, key=lambda pair: (pair[1].height, -pair[0]))
    if sheet.width > COLUMN_LIMIT:
        raise Unreadable("TOO_MANY_COLUMNS", limit=str(COLUMN_LIMIT))
    if sheet.height * sheet.width > 40_000_000:
        raise Unreadable("SHEET_BOMB")
    raw = _sheet_table(sheet, errors_of_sheet.get(position, []))
    if len(sheets) > 1:
        raw.warnings.append(f"otherSheets: {sheet.name}")
    return raw


def _inspect_zip(data: bytes) -> dict[int, list[tuple[int, int]]]:
    """Unpacks every entry once, counting, so that no declared size is believed; returns error cells by sheet
    position."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Unreadable("SHEET_DAMAGED") from error
    names = {entry.filename for entry in entries}
    if not ({"xl/workbook.xml", "xl/workbook.bin", "content.xml"} & names):
        raise Unreadable("ARCHIVE_NOT_A_SHEET")
    if len(entries) > SHEET_ENTRY_LIMIT or sum(entry.file_size for entry in entries) > SHEET_UNPACKED_LIMIT_BYTES:
        raise Unreadable("SHEET_BOMB")
    total = 0
    errors: dict[int, list[tuple[int, int]]] = {}
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise Unreadable("SHEET_DAMAGED")
        sheet = re.fullmatch(r"xl/worksheets/sheet(\d+)\.xml", entry.filename)
        unpacked = 0
        tail = b""
        for piece in _unpack(data, entry):
            unpacked += len(piece)
            total += len(piece)
            packed = max(entry.compress_size, 1)
            if total > SHEET_UNPACKED_LIMIT_BYTES or (
                unpacked > SHEET_RATIO_FROM_BYTES and unpacked / packed > SHEET_RATIO_LIMIT
            ):
                raise Unreadable("SHEET_BOMB")
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
    return errors


def _unpack(data: bytes, entry: zipfile.ZipInfo):
    start = entry.header_offset
    name_length, extra_length = (
        int.from_bytes(data[start + 26 : start + 28], "little"),
        int.from_bytes(data[start + 28 : start + 30], "little"),
    )
    start += 30 + name_length + extra_length
    packed = memoryview(data)[start : start + entry.compress_size]
    if entry.compress_type == zipfile.ZIP_STORED:
        yield bytes(packed)
        return
    stream = zlib.decompressobj(-15)
    try:
        for offset in range(0, len(packed), 65536):
            piece = stream.decompress(bytes(packed[offset : offset + 65536]), 4 * 1024 * 1024)
            yield piece
            while stream.unconsumed_tail:
                yield stream.decompress(stream.unconsumed_tail, 4 * 1024 * 1024)
    except zlib.error as error:
        raise Unreadable("SHEET_DAMAGED") from error


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
    header_index, width = _find_header([(cells, number) for cells, number in head])
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


# --- furniture of printed lists --------------------------------------------------------------------------------------


def _without_furniture(raw: RawTable) -> RawTable:
    """Takes out what a printed list repeats: page headers, rules, totals, blank lines, and the empty columns at its
    edges."""
    table = raw.table
    keep = np.ones(table.num_rows, dtype=bool)
    blank = repeated = None
    for position, column in enumerate(table.columns):
        trimmed = pc.utf8_trim_whitespace(column) if position < 2 or blank is None or blank.any() else None
        if trimmed is not None:
            empty = pc.equal(trimmed, "").to_numpy()
            blank = empty if blank is None else blank & empty
        if repeated is None or repeated.any():
            same = pc.equal(pc.utf8_trim_whitespace(column), raw.headers[position]).to_numpy()
            repeated = same if repeated is None else repeated & same
    if blank is not None and blank.any():
        raw.skipped["blank"] = raw.skipped.get("blank", 0) + int(blank.sum())
        keep &= ~blank
    if repeated is not None and repeated.any() and any(raw.headers):
        raw.skipped["repeatedHeader"] = int((repeated & keep).sum())
        header_lines = raw.lines.to_numpy()[repeated]
        keep &= ~repeated
        # A page's title stands within a few lines above its repeated header.
        titles = [entry for entry in raw.broken if any(0 < line - entry[0] <= 10 for line in header_lines)]
        if titles:
            raw.skipped["pageTitle"] = len(titles)
            raw.broken = [entry for entry in raw.broken if entry not in titles]
    # A total line has a word or stars in one of its first filled cells and is mostly empty.
    totals = _total_lines(table)
    if totals is not None and (totals & keep).any():
        raw.skipped["total"] = int((totals & keep).sum())
        keep &= ~totals
    raw.broken, total_broken = (
        [
            entry
            for entry in raw.broken
            if not re.match(_TOTAL_WORD, entry[2].strip(' |;,\t"')) and not entry[2].lstrip(" |;,\t").startswith("*")
        ],
        len(raw.broken),
    )
    if total_broken > len(raw.broken):
        raw.skipped["total"] = raw.skipped.get("total", 0) + total_broken - len(raw.broken)
    if not keep.all():
        mask = pa.array(keep)
        raw.native = {position: flags.filter(mask) for position, flags in raw.native.items()}
        table = table.filter(mask)
        raw.lines = raw.lines.filter(mask)
    dropped = [
        position
        for position, name in enumerate(raw.headers)
        if not name and pc.all(pc.equal(pc.utf8_trim_whitespace(table.column(position)), ""), min_count=0).as_py()
    ]
    raw.table = table
    if dropped:
        _drop_columns(raw, dropped)
    if raw.row_count == 0:
        raise Unreadable("HEADER_ONLY")
    return raw


def _total_lines(table: pa.Table) -> np.ndarray | None:
    if table.num_rows == 0:
        return None
    filled = np.zeros(table.num_rows, dtype=np.int32)
    word = np.zeros(table.num_rows, dtype=bool)
    for position, column in enumerate(table.columns):
        filled += pc.not_equal(column, "").to_numpy()
        if position < 4:
            word |= pc.or_(
                pc.match_substring_regex(column, _TOTAL_WORD), pc.match_substring_regex(column, _TOTAL_STARS)
            ).to_numpy()
    return word & (filled <= max(2, table.num_columns // 2))


def _drop_columns(raw: RawTable, dropped: list[int]) -> None:
    kept = [position for position in range(len(raw.headers)) if position not in set(dropped)]
    moved = {old: new for new, old in enumerate(kept)}
    raw.headers = [raw.headers[position] for position in kept]
    raw.table = pa.table({f"c{new}": raw.table.column(old) for old, new in moved.items()})
    raw.native = {moved[old]: flags for old, flags in raw.native.items() if old in moved}
    raw.error_cells = [(line, moved[column]) for line, column in raw.error_cells if column in moved]
