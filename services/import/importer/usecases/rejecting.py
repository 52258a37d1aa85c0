"""The refused rows as a file for the person who has to mend them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from importer import domain
from importer.store import BatchRow
from importer.usecases.state import large_file, raw_table, read_file, work_key
from kit import bulk


def rejects_csv(settings: Any, row: BatchRow, language: str = "en") -> Iterator[bytes]:
    """The refused rows as CSV in UTF-8 with a BOM: line, field, reason, then the row as the file wrote it.

    Cells that a spreadsheet would take for a formula get an apostrophe before them.
    """
    rejects = domain.REJECT_SCHEMA.empty_table()
    if row.object:
        rejects = bulk.from_ipc(read_file(settings, work_key(row, "rejects.arrow")))
    table = pa.table(
        {"line": rejects["line"], "field": rejects["field"], "reason": domain.reject_reasons(rejects, language)}
    )
    if row.ledger_rejects:
        lines, fields, codes = zip(*row.ledger_rejects, strict=True)
        texts = [domain.reason_text(code, name, "", language) for code, name in zip(codes, fields, strict=True)]
        ledger = pa.table(
            {
                "line": pa.array(lines, pa.int32()),
                "field": pa.array(fields, pa.string()),
                "reason": pa.array(texts, pa.string()),
            }
        )
        table = pa.concat_tables([table, ledger]).sort_by("line")
    yield b"\xef\xbb\xbf"
    if table.num_rows:
        headers, cells, found = _rows_at(settings, row, table["line"])
        at = pc.index_in(table["line"], found)
        for position, header in enumerate(headers):
            values = pc.fill_null(cells.column(position).take(at), "")
            name = header or f"#{position}"
            table = table.append_column(name if name not in table.column_names else f"{name} (#{position})", values)
    for place in range(1, table.num_columns):
        column = pc.replace_substring_regex(table.column(place), r"^([=+\-@\t\r].*)", r"'\1")
        table = table.set_column(place, table.column_names[place], pc.replace_substring(column, "\x00", "␀"))
    sink = io.BytesIO()
    pacsv.write_csv(table, sink, pacsv.WriteOptions(quoting_style="needed"))
    data = sink.getvalue()
    for start in range(0, len(data), 256 * 1024):
        yield data[start : start + 256 * 1024]


def _rows_at(settings: Any, row: BatchRow, lines: pa.ChunkedArray) -> tuple[list[str], pa.Table, pa.Array]:
    """Headers, and at least the rows of these lines as the file wrote them, with the line of each."""
    with large_file(settings, row) as large:
        if large is not None and large.raw is not None:
            wanted = lines.unique()
            parts = [batch.filter(pc.is_in(batch.column("line"), wanted)) for batch in large.batches()]
            table = pa.Table.from_batches(parts)
            return large.raw.headers, table, table["line"].combine_chunks()
    raw = raw_table(settings, row)
    return raw.headers, raw.table, raw.lines
