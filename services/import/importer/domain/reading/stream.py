"""A large delimited file, batch by batch: what `read_text` and `without_furniture` do, in a memory that does not grow with
the file."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from importer.domain.fields import FIELD_BY_NAME, ITEMS
from importer.domain.reading.datev import is_datev
from importer.domain.reading.furniture import without_furniture
from importer.domain.reading.header import find_header
from importer.domain.reading.table import COLUMN_LIMIT, RawTable
from importer.domain.reading.text import SAMPLE_CHARS, sample_rows, sift_broken, sniff_delimiter
from importer.domain.reading.xml import looks_like_xml
from importer.domain.texts import Unreadable
from importer.domain.values import header_key

# Smaller files are read whole: that is faster and knows every dialect.
STREAM_FROM_BYTES = 16 * 1024 * 1024
# Arrow reads 32 blocks ahead whatever their size, so they are small, and several become one batch.
BLOCK_BYTES = 512 * 1024
BLOCKS_A_BATCH = 4


def batches(path: Path) -> Iterator[RawTable] | None:
    """The file's rows in parts, each a RawTable with its own lines, or None for a file that has to be read whole:
    small ones, other formats, other encodings than UTF-8, lists with the customer above his items."""
    if path.stat().st_size < STREAM_FROM_BYTES:
        return None
    with path.open("rb") as file:
        head = file.read(SAMPLE_CHARS)
    data = head.removeprefix(codecs.BOM_UTF8)
    if (
        looks_like_xml(data)
        or is_datev(head)
        or data.lstrip()[:1] in (b"[", b"{")
        or b"\0" in data
        or not _is_utf8(path)
    ):
        return None
    sample = data.decode("utf-8", errors="ignore")
    if sample.startswith("sep="):
        return None
    try:
        delimiter = sniff_delimiter(sample, False)
        rows = sample_rows(sample, delimiter, False)
        index, width = find_header(rows)
    except Unreadable:
        return None
    accounts = FIELD_BY_NAME[ITEMS]["accountNumber"].synonyms
    if index < 0 or width > COLUMN_LIMIT or not any(header_key(cell) in accounts for cell in rows[index][0]):
        return None
    header, ends_at_line = rows[index]
    names = [cell.strip() for cell in header] + [""] * (width - len(header))
    return _read(path, names, delimiter, ends_at_line, "utf-8-sig" if len(data) < len(head) else "utf-8")


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                if not piece.isascii() or decoder.getstate()[0]:
                    decoder.decode(piece)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _read(path: Path, names: list[str], delimiter: str, ends_at_line: int, encoding: str) -> Iterator[RawTable]:
    columns = [f"c{position}" for position in range(len(names))]
    broken: list[tuple[int, str, str]] = []

    def keep_broken(row: pacsv.InvalidRow) -> str:
        # Numbered from the start of the file, the lines skipped above the rows included.
        broken.append((row.number - ends_at_line, "columnCount", row.text))
        return "skip"

    reader = pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(
            use_threads=False, column_names=columns, block_size=BLOCK_BYTES, skip_rows=ends_at_line
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=keep_broken
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={column: pa.string() for column in columns},
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        ),
    )
    next_number, inside_before = 1, 0
    try:
        for batch in _gathered(reader):
            # The reader may be ahead: rows without the right number of columns wait here for the batch they lie in.
            odd = {number for number, _, _ in broken}
            numbers = np.empty(batch.num_rows, dtype=np.int64)
            at = 0
            while at < len(numbers):
                run = len(numbers) - at if not odd else min(len(numbers) - at, _gap(next_number, odd))
                numbers[at : at + run] = np.arange(next_number, next_number + run)
                at, next_number = at + run, next_number + run
                while next_number in odd:
                    next_number += 1
            table = pa.Table.from_batches([batch])
            here = [entry for entry in broken if entry[0] < next_number]
            broken[:] = [entry for entry in broken if entry[0] >= next_number]
            raw, inside_before = _part(names, table, numbers, here, ends_at_line, inside_before)
            raw.encoding, raw.delimiter, raw.header_line = encoding, delimiter, ends_at_line
            yield raw
    except pa.ArrowInvalid as error:
        raise Unreadable("FILE_NOT_A_TABLE") from error


def _gathered(blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    several: list[pa.RecordBatch] = []
    for block in blocks:
        several.append(block)
        if len(several) == BLOCKS_A_BATCH:
            yield pa.concat_batches(several)
            several.clear()
    if several:
        yield pa.concat_batches(several)


def _gap(number: int, odd: set[int]) -> int:
    """How many rows follow before the next odd one."""
    return min((entry - number for entry in odd if entry >= number), default=1 << 60)


def _part(
    names: list[str],
    table: pa.Table,
    numbers: np.ndarray,
    broken: list[tuple[int, str, str]],
    ends_at_line: int,
    inside_before: int,
) -> tuple[RawTable, int]:
    """One batch as a table without furniture, and how many line breaks inside cells have come so far."""
    inside = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        if pc.any(pc.match_substring(column, "\n"), min_count=0).as_py():
            inside += pc.count_substring(column, "\n").to_numpy()
    rows = np.concatenate([numbers, np.array([number for number, _, _ in broken], dtype=np.int64)])
    extra = np.concatenate([inside, np.array([text.count("\n") for _, _, text in broken], dtype=np.int64)])
    order = np.argsort(rows, kind="stable")
    before = np.zeros(len(rows), dtype=np.int64)
    before[order] = np.cumsum(extra[order]) - extra[order]
    lines = rows + ends_at_line + inside_before + before
    kept, skipped = sift_broken(
        [(int(line), code, text) for line, (_, code, text) in zip(lines[len(numbers) :], broken, strict=True)]
    )
    raw = RawTable(
        list(names), table, pa.array(lines[: len(numbers)], pa.int32()), "text", broken=kept, skipped=skipped
    )
    return without_furniture(raw, is_part=True), inside_before + int(extra.sum())
