"""The shape every reader gives: rows of text with their lines, whatever the file was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

FILE_LIMIT_BYTES = 200 * 1024 * 1024
COLUMN_LIMIT = 1_000
SAMPLE_ROWS = 400
# What cells are searched for: damage, formulas, spreadsheet errors, times of day.
SIGNS = "\0=#(|!:"


@dataclass(frozen=True)
class Document:
    """A file that belongs to an item: the PDF of the invoice. `read` gives its bytes when they are wanted."""

    item_number: str
    account_number: str
    name: str
    content_type: str
    size_bytes: int
    read: Callable[[], bytes]


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
    # Cells stored as numbers by a spreadsheet or a data format: their text always has a decimal point, whatever the
    # column's sign is.
    native: dict[int, pa.Array] = field(default_factory=dict)
    # Rows that are no rows of a table: (line, code, text as written).
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    # Cells with a spreadsheet error: (line, position of the column).
    error_cells: list[tuple[int, int]] = field(default_factory=list)
    # Lines left out because they carry no row: kind to count.
    skipped: dict[str, int] = field(default_factory=dict)
    # A code, or a code with its values.
    warnings: list[str | tuple[str, dict[str, str]]] = field(default_factory=list)
    # What the format itself says: the object of the rows and the field of each column. Nothing is asked about these.
    object: str = ""
    known: dict[int, str] = field(default_factory=dict)
    # Lines above the header: a list's title, or the customer of its first group.
    preamble: list[tuple[int, str]] = field(default_factory=list)
    # Which file of an archive a line comes from: (first line, file name), ascending. Empty for a single file.
    sources: list[tuple[int, str]] = field(default_factory=list)
    # The files that go with items.
    documents: list[Document] = field(default_factory=list)
    # Who issued the invoices, as (name, VAT or registration number).
    sellers: list[tuple[str, str]] = field(default_factory=list)
    # Which of SIGNS occur anywhere in the file; None: not known. What is absent needs no search cell by cell.
    signs: frozenset[str] | None = None
    # Day numbers count from 1904-01-01 instead of 1899-12-30.
    from_1904: bool = False

    def may_hold(self, signs: str) -> bool:
        """Whether any of these signs can occur in a cell."""
        return self.signs is None or not self.signs.isdisjoint(signs)

    @property
    def row_count(self) -> int:
        """Rows that carry data, the broken ones included."""
        return self.table.num_rows + len(self.broken)


def string_table(columns: Sequence[Sequence[str] | pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Columns of text named by their position, as `RawTable.table` wants them."""
    return pa.table(
        {
            f"c{position}": column
            if isinstance(column, pa.Array | pa.ChunkedArray)
            else pa.array(list(column), pa.string())
            for position, column in enumerate(columns)
        }
    )


def known_table(
    kind: str, object_: str, layout: Mapping[str, str], rows: Iterable[Mapping[str, str]], amounts: Iterable[str] = ()
) -> RawTable:
    """Rows of a format whose fields are known.

    Args: layout, field by header, in the order of the columns; rows, text by header, with the reserved key `line`;
    amounts, headers whose values are numbers with a decimal point.
    """
    taken = list(rows)
    headers = list(layout)
    columns = [[row.get(header, "") for row in taken] for header in headers]
    all_native = pa.array([True] * len(taken), pa.bool_())
    return RawTable(
        headers,
        string_table(columns),
        pa.array([int(row.get("line", number)) for number, row in enumerate(taken, start=1)], pa.int32()),
        kind,
        header_line=0,
        native={headers.index(header): all_native for header in amounts},
        object=object_,
        known={position: layout[header] for position, header in enumerate(headers) if layout[header]},
    )
