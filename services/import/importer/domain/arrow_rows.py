"""Rows that come as Arrow instead of as a file: typed values as texts that can be read in one way only."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.fields import FIELD_BY_NAME
from importer.domain.mapping import CUSTOM
from importer.domain.reading import RawTable
from importer.domain.texts import Unreadable

# How an Arrow IPC file begins.
MAGIC = b"ARROW1"
COLUMNS_MAX = 500


def is_arrow(head: bytes) -> bool:
    """Whether a file is an Arrow IPC file."""
    return head.startswith(MAGIC)


def text_columns(rows: pa.Table) -> pa.Table:
    """Every column as text without nulls: dates YYYY-MM-DD, numbers with a decimal point.

    Raises: ValueError for a type whose text would not be exact or not a cell (floating point, lists, structures).
    """
    columns = []
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_timestamp(kind):
            column, kind = column.cast(pa.date32(), safe=False), pa.date32()
        exact = (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_date(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_null(kind)
        )
        if not exact:
            raise ValueError(f"{name} is {kind}: send text, a date, a decimal or a whole number")
        columns.append(pc.fill_null(column.cast(pa.string()), ""))
    return pa.table(columns, names=rows.column_names)


def read_arrow(data: bytes) -> RawTable:
    """The rows of an Arrow IPC file; lines are counted from 1. Raises: Unreadable."""
    try:
        with pa.ipc.open_file(pa.BufferReader(data)) as reader:
            rows = reader.read_all()
        table = text_columns(rows)
    except (pa.ArrowException, ValueError) as error:
        raise Unreadable("ARROW_UNREADABLE", detail=str(error)[:200]) from error
    if table.num_columns == 0 or table.num_columns > COLUMNS_MAX:
        raise Unreadable("NO_COLUMNS" if not table.num_columns else "TOO_MANY_COLUMNS", limit=str(COLUMNS_MAX))
    if table.num_rows == 0:
        raise Unreadable("HEADER_ONLY")
    lines = pa.array(range(1, table.num_rows + 1), pa.int32())
    return RawTable(table.column_names, table.combine_chunks(), lines, kind="arrow", encoding="utf-8")


def mapping_by_names(object_: str, columns: list[str]) -> dict[str, str]:
    """Columns that are called like fields of the object (accountNumber, custom:<name>), as a mapping."""
    names = set(FIELD_BY_NAME.get(object_, {})) or {name for known in FIELD_BY_NAME.values() for name in known}
    return {column: column for column in columns if column in names or column.startswith(CUSTOM)}
