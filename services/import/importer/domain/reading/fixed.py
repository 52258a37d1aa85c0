"""Lists printed in columns of a fixed width, without any separator."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.reading.header import find_header
from importer.domain.reading.table import COLUMN_LIMIT, SAMPLE_ROWS, RawTable, string_table
from importer.domain.texts import Unreadable
from importer.domain.values import looks_typed

_RULE = re.compile(r"\s*[-=_*+]{3,}[-=_*+\s]*")
# Of the sample's lines, so many must be blank at a place for it to part two columns.
_BLANK_SHARE = 0.97
_LINE_END = 10_000


def read_fixed(utf8: bytes, sample: str) -> RawTable | None:
    """The table, or None when the lines have no columns in common."""
    lines = [line.expandtabs(8) for line in sample.splitlines()[:SAMPLE_ROWS]]
    cuts = _cuts(lines)
    if len(cuts) < 3 or len(cuts) > COLUMN_LIMIT:
        return None
    split = [([line[start:end].strip() for start, end in cuts], number) for number, line in enumerate(lines, start=1)]
    split = [(cells, number) for cells, number in split if not _RULE.fullmatch(lines[number - 1])]
    try:
        header_index, width = find_header(split)
    except Unreadable:
        return None
    header_line = split[header_index][1] if header_index >= 0 else 0
    names = split[header_index][0] if header_index >= 0 else [""] * width
    whole = pa.array(utf8.decode("utf-8", errors="replace").splitlines()[header_line:], pa.string())
    if pc.any(pc.match_substring(whole, "\t"), min_count=0).as_py():
        whole = pa.array([line.expandtabs(8) for line in whole.to_pylist()], pa.string())
    numbers = np.arange(header_line + 1, header_line + 1 + len(whole), dtype=np.int32)
    carries = pc.invert(pc.match_substring_regex(whole, r"^[\s=_*+-]*$"))
    columns = [pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(whole, start, end)) for start, end in cuts]
    raw = RawTable(
        names,
        string_table(columns).filter(carries),
        pa.array(numbers).filter(carries),
        "fixed",
        header_line=header_line,
        preamble=[(number, lines[number - 1]) for _, number in split[: max(header_index, 0)]],
    )
    left_out = len(whole) - raw.table.num_rows
    if left_out:
        raw.skipped["blank"] = left_out
    if header_index < 0:
        raw.warnings.append("noHeader")
    return raw


def _cuts(lines: list[str]) -> list[tuple[int, int]]:
    """Start and end of each column, the last one open-ended."""
    for line in lines:
        groups = [match.span() for match in re.finditer(r"[-=]{2,}", line)]
        if len(groups) >= 3 and _RULE.fullmatch(line):
            # A rule of dashes under the header says it outright.
            starts = [0] + [start for start, _ in groups[1:]]
            return list(zip(starts, [*starts[1:], _LINE_END], strict=True))
    body = [line for line in lines if line.strip() and not _RULE.fullmatch(line)]
    # Titles and footers stand outside the columns: only lines as long as most carry rows.
    usual = sorted(len(line.rstrip()) for line in body)[len(body) // 2] if body else 0
    body = [line for line in body if len(line.rstrip()) >= 0.6 * usual]
    typed = [line for line in body if sum(map(looks_typed, re.split(r"\s{2,}", line.strip()))) >= 1]
    if len(typed) < 2 or usual < 10:
        return []
    header = next((line for line in body[:30] if line not in typed), "").rstrip()
    width = max(len(header), *(len(line) for line in typed))
    data = (np.array([list(line.ljust(width)) for line in typed]) != " ").mean(axis=0) > 1 - _BLANK_SHARE
    either = data | (np.array(list(header.ljust(width))) != " ")
    cuts: list[tuple[int, int]] = []
    for match in re.finditer("1+", "".join("1" if place else "0" for place in either)):
        start, end = match.span()
        no_name = bool(header) and not header[start:end].strip()
        if cuts and start - cuts[-1][1] == 1 and (no_name or not data[start:end].any()):
            # The second word of a header wider than the values below it, or of values wider than their header.
            cuts[-1] = (cuts[-1][0], end)
        else:
            cuts.append((start, end))
    starts = [0] + [start for start, _ in cuts[1:]]
    return list(zip(starts, [*starts[1:], _LINE_END], strict=True))
