"""What a printed list repeats and no row carries: page headers, rules, totals, blank lines, the customer above a group."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.fields import FIELD_BY_NAME, ITEMS
from importer.domain.reading.table import RawTable
from importer.domain.texts import Unreadable
from importer.domain.values import header_key, lengths

_TOTAL_WORD = (
    r"(?i)^\s*(\*+|((grand|sub|sous|page|partial|net)[ -]?)?(totals?|totaal|totale)|total general|((end|zwischen|teil)?summe)"
    r"|gesamt(summe|betrag|saldo)?|somme|suma|report|übertrag|subtotal)\b"
)
_TOTAL_STARS = r"^\s*\*+\s*"
_CODE = r"[A-Za-z]{0,6}[-./]?\d[\w./-]*"
_LABELLED = re.compile(
    r"\s*\W{0,3}\s*(?:customer|client|debtor|debitor|debitoren|kunde|kunden|cliente|deudor|account|compte|konto|cuenta|sold-to|payer)"
    r"\s*(?:-?\s*(?:account|number|no|nr|num|code|id|kontonummer|konto|kundennummer|nummer|n[°ºo]|numéro|numero|código|compte))?"
    rf"\s*[:.]*\s+(?P<number>{_CODE})(?:\s*[-–:,|;]?\s+(?P<name>\S.*))?\s*",
    re.IGNORECASE,
)
_BARE = re.compile(rf"\s*(?P<number>{_CODE})(?:\s*[-–:]?\s+(?P<name>\D.*))?\s*")
_NAME_LINE = re.compile(
    r"\s*(?:customer name|name|nom|raison sociale|firma|bezeichnung|nombre|razón social)\s*\d?\s*[:.]*\s+(?P<name>\S.*)",
    re.IGNORECASE,
)
# A group's heading has a few lines: number, name, town, company code.
_HEADING_LINES = 8
_ACCOUNT_KEYS = frozenset(FIELD_BY_NAME[ITEMS]["accountNumber"].synonyms)
_NAME_KEYS = frozenset(FIELD_BY_NAME[ITEMS]["accountName"].synonyms)


def without_furniture(raw: RawTable, is_part: bool = False) -> RawTable:
    """Takes out what a printed list repeats: page headers, rules, totals, blank lines, and the empty columns at its
    edges."""
    table, printed = raw.table, list(raw.broken)
    keep = np.ones(table.num_rows, dtype=bool)
    blank = repeated = None
    for position, column in enumerate(table.columns):
        if blank is not None and not blank.any() and repeated is not None and not repeated.any():
            break
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
    grouped = [] if is_part else _group_customers(raw, table, keep, printed)
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
    raw.table = table
    if grouped:
        _add_customers(raw, grouped)
        table = raw.table
    if is_part:
        return raw
    dropped = [
        position
        for position, name in enumerate(raw.headers)
        if not name and pc.all(pc.equal(pc.utf8_trim_whitespace(table.column(position)), ""), min_count=0).as_py()
    ]
    if dropped:
        _drop_columns(raw, dropped)
    if raw.row_count == 0:
        raise Unreadable("HEADER_ONLY")
    return raw


def _group_customers(
    raw: RawTable, table: pa.Table, keep: np.ndarray, printed: list[tuple[int, str, str]]
) -> list[tuple[int, str, str]]:
    """(line, number, name) of the headings that name the customer of the rows below; `keep` loses those rows.
    `printed`: the lines that have not the table's columns.

    Only in lists without a column of customers: SAP and many others print him once, above his items.
    """
    if any(header_key(header) in _ACCOUNT_KEYS for header in raw.headers):
        return []
    lines = raw.lines.to_numpy()
    filled = np.zeros(table.num_rows, dtype=np.int32)
    for column in table.columns:
        filled += pc.not_equal(pc.utf8_trim_whitespace(column), "").to_numpy()
    usual = np.median(filled[keep]) if keep.any() else 0
    sparse = np.flatnonzero(keep & (filled <= 3) & (filled * 2 <= usual))
    candidates: list[tuple[int, str, int]] = [(line, text, -1) for line, text in raw.preamble]
    candidates += [(line, text.replace("|", " "), -1) for line, _, text in printed]
    for row in sparse.tolist():
        cells = [column[row].as_py().strip() for column in table.columns]
        candidates.append((int(lines[row]), " ".join(cell for cell in cells if cell), row))
    groups: list[tuple[int, str, str]] = []
    used: set[int] = set()
    for line, text, row in sorted(candidates):
        if text.lstrip(" |").startswith("*") or re.match(_TOTAL_WORD, text):
            continue
        found = _LABELLED.fullmatch(text) or (_BARE.fullmatch(text) if row >= 0 else None)
        if found:
            groups.append((line, found["number"], (found["name"] or "").strip(" |;,")))
            used.add(line)
        elif groups and line - groups[-1][0] <= _HEADING_LINES and (name := _NAME_LINE.fullmatch(text)):
            groups[-1] = (groups[-1][0], groups[-1][1], groups[-1][2] or name["name"].strip(" |;,"))
            used.add(line)
    if not groups:
        return []
    starts = [line for line, _, _ in groups]
    gone = {line for line, _, _ in raw.broken if any(0 <= line - start <= _HEADING_LINES for start in starts)} | used
    rows = [row for line, _, row in candidates if row >= 0 and line in used]
    keep[rows] = False
    raw.broken = [entry for entry in raw.broken if entry[0] not in gone]
    raw.skipped["groupHeader"] = len(groups)
    return groups


def _add_customers(raw: RawTable, groups: list[tuple[int, str, str]]) -> None:
    """The customer of each row: that of the last heading above it."""
    starts = np.array([line for line, _, _ in groups])
    at = np.searchsorted(starts, raw.lines.to_numpy(), side="right")
    numbers = pa.array(["", *(number for _, number, _ in groups)], pa.string())
    names = pa.array(["", *(name for _, _, name in groups)], pa.string())
    columns = [("Customer number", numbers)]
    if any(name for _, _, name in groups) and not any(header_key(header) in _NAME_KEYS for header in raw.headers):
        columns.append(("Customer name", names))
    for header, values in columns:
        raw.table = raw.table.append_column(f"c{len(raw.headers)}", values.take(pa.array(at)))
        raw.headers.append(header)


def _total_lines(table: pa.Table) -> np.ndarray | None:
    if table.num_rows == 0:
        return None
    filled = filled_cells(table)
    sparse = np.flatnonzero(filled <= max(2, table.num_columns // 2))
    totals = np.zeros(table.num_rows, dtype=bool)
    # Only lines that are mostly empty are looked at: usually none.
    if not len(sparse):
        return totals
    few = table.select(range(min(4, table.num_columns))).take(pa.array(sparse))
    word = np.zeros(len(sparse), dtype=bool)
    for column in few.columns:
        word |= pc.or_(
            pc.match_substring_regex(column, _TOTAL_WORD), pc.match_substring_regex(column, _TOTAL_STARS)
        ).to_numpy()
    totals[sparse[word]] = True
    return totals


def filled_cells(table: pa.Table) -> np.ndarray:
    """How many cells of each row hold anything."""
    filled = np.zeros(table.num_rows, dtype=np.int32)
    for column in table.columns:
        start = 0
        for chunk in column.chunks:
            filled[start : start + len(chunk)] += lengths(chunk) > 0
            start += len(chunk)
    return filled


def _drop_columns(raw: RawTable, dropped: list[int]) -> None:
    kept = [position for position in range(len(raw.headers)) if position not in set(dropped)]
    moved = {old: new for new, old in enumerate(kept)}
    raw.headers = [raw.headers[position] for position in kept]
    raw.table = pa.table({f"c{new}": raw.table.column(old) for old, new in moved.items()})
    raw.native = {moved[old]: flags for old, flags in raw.native.items() if old in moved}
    raw.error_cells = [(line, moved[column]) for line, column in raw.error_cells if column in moved]
