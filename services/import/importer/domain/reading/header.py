"""Where the header of a list is, among titles above it and rows below it."""

from __future__ import annotations

from importer.domain.texts import Unreadable
from importer.domain.values import header_key, looks_typed


def usual_width(rows: list[list[str]]) -> int:
    counts: dict[int, int] = {}
    for row in rows:
        counts[len(row)] = counts.get(len(row), 0) + 1
    # One column is what every wrong delimiter gives; it wins only when nothing else is there.
    return max((width for width in counts if width > 1), key=lambda width: (counts[width], width), default=1)


def find_header(rows: list[tuple[list[str], int]]) -> tuple[int, int]:
    """Index of the header in the sample (-1: there is none) and the number of columns."""
    filled_rows = [row for row, _ in rows if any(cell.strip() for cell in row)]
    if not filled_rows:
        raise Unreadable("FILE_EMPTY")
    width = usual_width(filled_rows)
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
