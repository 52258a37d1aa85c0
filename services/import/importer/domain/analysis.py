"""From a table of text to rows the ledger can take: what is known, what must be asked, what is refused.

Everything here works on whole columns. The only Python loops run over distinct values, columns and the preview's rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.columns import Columns, Decisions
from importer.domain.fields import ACCOUNTS, CONTACTS, ITEMS, OBJECTS, SORT_KEY
from importer.domain.items import Items
from importer.domain.mapping import CUSTOM, Content, Mapped, contents, fingerprint, propose, recognise
from importer.domain.model import (
    PREVIEW_ROWS,
    REJECT_SCHEMA,
    Analysis,
    ColumnReport,
    Question,
    Total,
    Wanted,
    column_key,
)
from importer.domain.objects import AMOUNT_COLUMN, READERS
from importer.domain.parties import Accounts, Contacts
from importer.domain.reading import RawTable
from importer.domain.texts import question_text, reason_text, warning_text
from importer.domain.values import header_key, lengths

_READERS: dict[str, type[Columns]] = {ITEMS: Items, ACCOUNTS: Accounts, CONTACTS: Contacts, **READERS}


def analyse(raw: RawTable, wanted: Wanted) -> Analysis:
    """Recognises, asks, validates. Pure: the same file and answers give the same result."""
    found = contents(raw)
    kind, columns = chosen_columns(raw, found, wanted)
    warnings = file_warnings(raw, wanted)
    if not kind:
        question = Question("object", "", OBJECTS, question_text("object"), question_text("object", "fr"))
        return Analysis(
            "",
            fingerprint(raw.headers),
            _reports(raw, columns, {}),
            [question],
            None,
            REJECT_SCHEMA.empty_table(),
            warnings,
            [],
            [],
            raw.row_count,
            0,
        )
    return examine(raw, kind, columns, wanted, found, warnings)


def file_warnings(raw: RawTable, wanted: Wanted) -> list[tuple[str, dict[str, str]]]:
    """What is odd about the file before any of its rows is looked at."""
    warnings: list[tuple[str, dict[str, str]]] = []
    warnings += [(entry, {}) if isinstance(entry, str) else entry for entry in raw.warnings]
    warnings += _sellers(raw, wanted)
    if raw.skipped:
        warnings.append(
            ("skippedLines", {"count": str(sum(raw.skipped.values())), "kinds": ", ".join(sorted(raw.skipped))})
        )
    return warnings


def chosen_columns(raw: RawTable, found: list[Content], wanted: Wanted) -> tuple[str, list[Mapped]]:
    """The object of the rows (empty: it must be asked) and what each column is, corrections included."""
    answers = _answers(wanted)
    recognised, mappings = recognise(raw.headers, found)
    if raw.object:
        mappings[raw.object] = [
            Mapped(position, raw.known.get(position, ""), "format") for position in range(len(found))
        ]
    kind = (
        raw.object
        or wanted.object
        or answers.get("object", "").upper()
        or (wanted.remembered.object if wanted.remembered else "")
        or recognised
    )
    if not kind:
        return "", mappings[ITEMS]
    return kind, _choose(raw, kind, mappings.get(kind) or propose(kind, raw.headers, found), wanted, answers)


def examine(
    raw: RawTable,
    kind: str,
    columns: list[Mapped],
    wanted: Wanted,
    found: list[Content],
    warnings: list[tuple[str, dict[str, str]]],
    decisions: Decisions | None = None,
) -> Analysis:
    """Reads the rows with columns that are known. `decisions`: what the whole file says, when `raw` is a part of it."""
    reading = _READERS[kind](raw, kind, columns, wanted, _answers(wanted), found, warnings, decisions)
    reading.ask_for_missing()
    reading.refuse_damaged()
    table, shown = reading.rows_read()
    return _finish(reading, fingerprint(raw.headers), table, shown)


def _answers(wanted: Wanted) -> dict[str, str]:
    return {**(wanted.remembered.answers if wanted.remembered else {}), **wanted.answers}


def _sellers(raw: RawTable, wanted: Wanted) -> list[tuple[str, dict[str, str]]]:
    """A warning when invoices were issued by somebody else than the entity they are taken for."""
    known = {header_key(text) for text in wanted.entity_marks if text}
    odd = [
        name or number
        for name, number in raw.sellers
        if (name or number) and not ({header_key(name), header_key(number)} - {""}) & known
    ]
    if not odd or (not known and len(raw.sellers) == 1):
        return []
    return [("otherSeller", {"sellers": ", ".join(odd[:5]), "entity": wanted.entity_code})]


def _choose(
    raw: RawTable, kind: str, columns: list[Mapped], wanted: Wanted, answers: Mapping[str, str]
) -> list[Mapped]:
    if wanted.remembered and wanted.remembered.object == kind:
        columns = _corrected(
            raw.headers, [Mapped(column.position) for column in columns], wanted.remembered.mapping, "profile"
        )
    columns = _corrected(raw.headers, columns, wanted.mapping, "answer")
    asked = {value: key.partition(":")[2] for key, value in answers.items() if key.startswith("mapping:") and value}
    return _corrected(raw.headers, columns, asked, "answer")


def _corrected(headers: list[str], columns: list[Mapped], corrections: Mapping[str, str], reason: str) -> list[Mapped]:
    for position, column in enumerate(columns):
        given = corrections.get(column_key(headers, position), corrections.get(f"#{position}"))
        if given is None and headers[position]:
            given = corrections.get(headers[position])
        if given is None:
            continue
        if given and not given.startswith(CUSTOM):
            for other in columns:
                if other.field == given:
                    other.field, other.reason = "", ""
        column.field, column.reason = given, reason if given else ""
    return columns


def _finish(reading: Columns, mark: str, table: pa.Table, shown: dict[str, pa.Array]) -> Analysis:
    good = np.ones(reading.rows, dtype=bool)
    for mask, _, _, _ in reading.refused:
        good &= ~mask.to_numpy(zero_copy_only=False)
    rejects = _rejects(reading)
    rejected = int((~good).sum()) + len(reading.raw.broken)
    accepted = None
    totals: list[Total] = []
    if not reading.questions:
        accepted = table if good.all() else table.filter(pa.array(good))
        accepted = _by_account(accepted, SORT_KEY[reading.kind])
        if reading.kind == ITEMS:
            totals = _totals(accepted)
        elif reading.kind in AMOUNT_COLUMN:
            amount = accepted[AMOUNT_COLUMN[reading.kind]]
            totals = _totals(
                pa.table(
                    [accepted["line"], accepted["currency"], amount, amount],
                    names=["line", "currency", "open_minor", "initial_minor"],
                )
            )
    head = rejects.slice(0, PREVIEW_ROWS * 20)
    first_reject = dict(zip(head["line"].to_pylist()[::-1], reject_reasons(head).to_pylist()[::-1], strict=True))
    preview = []
    visible = {name: values.slice(0, PREVIEW_ROWS).to_pylist() for name, values in shown.items()}
    lines = reading.raw.lines.slice(0, PREVIEW_ROWS).to_pylist()
    for index, line in enumerate(lines):
        values = {name: _text_of(column[index]) for name, column in visible.items()}
        preview.append(
            {
                "line": line,
                "values": {name: text for name, text in values.items() if text},
                "reject": first_reject.get(line, ""),
            }
        )
    return Analysis(
        reading.kind,
        mark,
        _reports(reading.raw, reading.columns, reading.formats),
        reading.questions,
        accepted,
        rejects,
        reading.warnings,
        totals,
        preview,
        reading.raw.row_count,
        rejected,
    )


def _by_account(table: pa.Table, key: str) -> pa.Table:
    """Whole accounts travel together; within an account the file's order stays."""
    encoded = table[key].combine_chunks().dictionary_encode()
    ranks = np.empty(len(encoded.dictionary), dtype=np.int32)
    ranks[pc.array_sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(ranks), dtype=np.int32)
    order = ranks[encoded.indices.to_numpy()] if len(encoded) else np.zeros(0, dtype=np.int32)
    if not (np.diff(order) < 0).any():
        return table.combine_chunks()
    rows = pa.array(np.argsort(order, kind="stable"))
    return pa.table(
        [
            pa.nulls(len(column), column.type) if column.null_count == len(column) else column.take(rows)
            for column in (column.combine_chunks() for column in table.columns)
        ],
        schema=table.schema,
    )


def _rejects(reading: Columns) -> pa.Table:
    """One row per refusal, by line, with the column as the file names it and the value as written."""
    tables = []
    if reading.raw.broken:
        broken = reading.raw.broken
        count = len(broken)
        tables.append(
            pa.table(
                {
                    "line": [line for line, _, _ in broken],
                    "field": [""] * count,
                    "code": [code for _, code, _ in broken],
                    "header": _in_files(reading.raw, [line for line, _, _ in broken], ""),
                    "value": [text[:80].replace("\x00", "␀") for _, _, text in broken],
                },
                schema=REJECT_SCHEMA,
            )
        )
    for mask, name, code, position in reading.refused:
        lines = reading.raw.lines.filter(mask)
        count = len(lines)
        header = (reading.raw.headers[position] or f"#{position}") if position is not None else name
        value = pa.repeat(pa.scalar(""), count)
        if position is not None and code != "missing":
            value = pc.replace_substring(pc.utf8_slice_codeunits(reading.at(position).filter(mask), 0, 80), "\x00", "␀")
        named = pa.repeat(pa.scalar(header), count)
        if reading.raw.sources:
            named = pa.array(_in_files(reading.raw, lines.to_pylist(), header), pa.string())
        columns = [lines, *(pa.repeat(pa.scalar(text), count) for text in (name or header, code)), named, value]
        tables.append(pa.table(columns, schema=REJECT_SCHEMA))
    if not tables:
        return REJECT_SCHEMA.empty_table()
    return pa.concat_tables(tables).sort_by([("line", "ascending")]).combine_chunks()


def _in_files(raw: RawTable, lines: list[int], header: str) -> list[str]:
    """The column's name, for an archive with the file the line is in."""
    if not raw.sources:
        return [header] * len(lines)
    starts = np.array([start for start, _ in raw.sources])
    names = [raw.sources[at - 1][1] for at in np.searchsorted(starts, np.array(lines), side="right")]
    return [f"{name}: {header}" if header else name for name in names]


def reject_reasons(rejects: pa.Table, language: str = "en") -> pa.Array:
    """The reason of each refusal in words, naming column and value; `rejects` has REJECT_SCHEMA."""
    if rejects.num_rows == 0:
        return pa.array([], pa.string())
    codes = rejects["code"].combine_chunks().dictionary_encode()
    texts = pa.array([reason_text(code, "", "", language) for code in codes.dictionary.to_pylist()], pa.string()).take(
        codes.indices
    )
    header, value = rejects["header"].combine_chunks(), rejects["value"].combine_chunks()
    named = pc.if_else(pc.equal(header, ""), "", pc.binary_join_element_wise(header, ": ", ""))
    shown = pc.if_else(pc.equal(value, ""), "", pc.binary_join_element_wise('"', value, '" ', ""))
    return pc.binary_join_element_wise(named, shown, texts, "")


def _text_of(value: object) -> str:
    return "" if value is None else str(value)


def _totals(accepted: pa.Table) -> list[Total]:
    grouped = (
        accepted.group_by("currency")
        .aggregate([("open_minor", "sum"), ("initial_minor", "sum"), ("line", "count")])
        .sort_by("currency")
    )
    return [
        Total(row["currency"], row["line_count"], row["open_minor_sum"], row["initial_minor_sum"])
        for row in grouped.to_pylist()
    ]


def _reports(raw: RawTable, columns: list[Mapped], formats: Mapping[int, str]) -> list[ColumnReport]:
    reports = []
    for column in columns:
        values = raw.table.column(column.position)
        # As long as the preview and with its gaps: the two are shown side by side.
        samples = [text or "" for text in values.slice(0, PREVIEW_ROWS).to_pylist()]
        filled = sum(int(np.count_nonzero(lengths(chunk))) for chunk in values.chunks)
        reports.append(
            ColumnReport(
                column.position,
                raw.headers[column.position],
                column.field,
                formats.get(column.position, ""),
                column.reason,
                [text[:80].replace("\x00", "␀") for text in samples],
                filled,
            )
        )
    return reports


def warning_lines(analysis: Analysis, language: str = "en") -> list[str]:
    """The warnings in words."""
    return [warning_text(code, language, **values) for code, values in analysis.warnings]


def chunk_bounds(accepted: pa.Table, key: str, rows_wanted: int) -> list[tuple[int, int]]:
    """Slices [start, end) of whole accounts, each as small as possible from `rows_wanted` rows on. `accepted` is
    sorted by `key`."""
    if accepted.num_rows == 0:
        return []
    runs = pc.run_end_encode(accepted[key].combine_chunks())
    ends = np.asarray(runs.run_ends)
    bounds: list[tuple[int, int]] = []
    start = 0
    while start < accepted.num_rows:
        end = int(ends[min(int(np.searchsorted(ends, start + rows_wanted)), len(ends) - 1)])
        bounds.append((start, end))
        start = end
    return bounds
