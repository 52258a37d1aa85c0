"""Text files: encoding, delimiter, header, rows. Every cell stays text exactly as written, with its line of the file, so
that a later refusal can name it."""

from __future__ import annotations

import csv
import io
import re

import clevercsv
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from importer.domain.reading.fixed import read_fixed
from importer.domain.reading.header import find_header, usual_width
from importer.domain.reading.table import COLUMN_LIMIT, SAMPLE_ROWS, SIGNS, RawTable
from importer.domain.texts import Unreadable
from importer.domain.values import looks_typed

SAMPLE_CHARS = 262_144
DELIMITERS = (";", ",", "\t", "|")


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
    if not data.isascii():  # Text in ASCII alone needs no decoded copy to be checked.
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


def read_text(data: bytes, encoding: str = "") -> RawTable:
    """A delimited or fixed-width list. Raises: Unreadable."""
    utf8, encoding = decode(data, encoding)
    sample = utf8[:SAMPLE_CHARS].decode("utf-8", errors="ignore")
    if not sample.strip("\r\n\t ;,|\x1a"):
        raise Unreadable("FILE_EMPTY")
    forced = re.match(r"sep=(.)\r?\n", sample)
    complete = len(utf8) <= SAMPLE_CHARS
    try:
        delimiter = forced.group(1) if forced else sniff_delimiter(sample, complete)
    except Unreadable as refusal:
        fixed = read_fixed(utf8, sample) if refusal.code == "NO_COLUMNS" else None
        if fixed is None:
            raise
        fixed.encoding = encoding
        return fixed
    rows = sample_rows(sample, delimiter, complete)
    header_index, width = find_header(rows)
    header, ends_at_line = rows[header_index] if header_index >= 0 else ([], 0)
    header_line = ends_at_line if header_index >= 0 else 0
    raw = parse_body(utf8, header, width, delimiter, ends_at_line)
    raw.encoding, raw.delimiter, raw.header_line = encoding, delimiter, header_line
    raw.preamble = [(line, " ".join(cell for cell in cells if cell)) for cells, line in rows[: max(header_index, 0)]]
    if header_index < 0:
        raw.warnings.append("noHeader")
    return raw


def parse_body(utf8: bytes, header: list[str], width: int, delimiter: str, ends_at_line: int) -> RawTable:
    """The rows below line `ends_at_line` under a known header."""
    names = [cell.strip() for cell in header] + [""] * (width - len(header))
    if len(names) > COLUMN_LIMIT:
        raise Unreadable("TOO_MANY_COLUMNS", limit=str(COLUMN_LIMIT))
    raw = _parse_body(after_line(utf8, ends_at_line), names, delimiter, first_line=ends_at_line + 1)
    raw.signs = frozenset(sign for sign in SIGNS if sign != delimiter and sign.encode() in utf8)
    return raw


def sample_rows(sample: str, delimiter: str, complete: bool) -> list[tuple[list[str], int]]:
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


def sniff_delimiter(sample: str, complete: bool) -> str:
    """The delimiter whose column count is most stable; a second opinion decides near ties."""
    scores: list[tuple[float, int, str]] = []
    for delimiter in DELIMITERS:
        rows = [row for row, _ in sample_rows(sample, delimiter, complete) if any(cell.strip() for cell in row)]
        if not rows:
            continue
        width = usual_width(rows)
        if width < 2:
            continue
        same = [row for row in rows if len(row) == width]
        cells = [cell for row in same for cell in row]
        dirty = sum(1 for cell in cells if any(other in cell for other in ";\t|" if other != delimiter))
        # A comma that splits numbers leaves halves; a real separator leaves whole values, so the header has as many
        # cells.
        has_header = any(len(row) == width and not any(looks_typed(cell) for cell in row) for row in rows[:30])
        if delimiter == "," and _parts_only_numbers(sample):
            continue
        header_fits = 1.0 if has_header else 0.8
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


def after_line(data: bytes, lines: int) -> memoryview:
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


def _parts_only_numbers(sample: str) -> bool:
    """Whether nearly every comma is a decimal sign or parts thousands, and no line of words has one: then it separates
    no columns."""
    if len(re.findall(r"\d,(?=\d)", sample)) <= 0.9 * sample.count(","):
        return False
    words = [
        line for line in sample.splitlines()[:60] if re.search(r"[^\W\d_]{2}", line) and not re.search(r"\d", line)
    ]
    return bool(words) and not any("," in line for line in words)


def _line_count(body: memoryview) -> int:
    return int(np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == 10)) if len(body) else 0


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
    if quote and _line_count(body) > len(numbers):
        inside = np.zeros(table.num_rows, dtype=np.int32)
        for column in table.columns:
            inside += pc.count_substring(column, "\n").to_numpy().astype(np.int32)
        extra[1:][keep] = inside
        for number, _, text in broken:
            extra[number] = text.count("\n")
    lines = numbers + first_line - 1 + np.cumsum(extra)[:-1]
    kept_broken, skipped = sift_broken([(int(lines[number - 1]), code, text) for number, code, text in broken])
    return RawTable(names, table, pa.array(lines[keep], pa.int32()), "text", broken=kept_broken, skipped=skipped)


def sift_broken(broken: list[tuple[int, str, str]]) -> tuple[list[tuple[int, str, str]], dict[str, int]]:
    """What of the lines with another number of columns carries anything, and how many blank ones and rules do not."""
    skipped: dict[str, int] = {}
    kept = []
    for line, code, text in broken:
        if not text.strip(" \t;,|\x1a"):
            skipped["blank"] = skipped.get("blank", 0) + 1
        elif re.fullmatch(r"[\s|+=_.-]+", text):
            skipped["rule"] = skipped.get("rule", 0) + 1
        else:
            kept.append((line, code, text[:500]))
    return kept, skipped
