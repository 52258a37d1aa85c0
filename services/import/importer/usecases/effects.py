"""What an import would do, row by row: a page at a time, or as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from importer import domain
from importer.store import BatchRow
from importer.usecases.planning import EFFECTS_FILE
from importer.usecases.state import read_file, work_key
from kit import listing
from kit.errors import Code, Refused

HEADER = ("line", "effect", "customer", "number", "currency", "open", "field", "old", "new")
ORDERS = ("", "line", "line asc", "line desc")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def effects_of(settings: Any, row: BatchRow, filter_: str = "", order_by: str = "") -> list[dict[str, Any]]:
    """The kept effects, what people look at first before the rest, or by line; filter field: effect.

    Refuses: FAILED_PRECONDITION NOT_PLANNED; INVALID_ARGUMENT for another filter or order.
    """
    if not row.plan or row.plan.get("skipped"):
        raise Refused(Code.FAILED_PRECONDITION, "NOT_PLANNED", "what it would do is not known yet")
    effects: list[dict[str, Any]] = json.loads(read_file(settings, work_key(row, EFFECTS_FILE)))
    for term in listing.filter_terms(filter_, frozenset({"effect"})):
        wanted = term.value.lower()
        effects = [effect for effect in effects if (effect["effect"].lower() == wanted) == (term.op != "!=")]
    if order_by not in ORDERS:
        fields = {"orderBy": "line or line desc"}
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "consequences are ordered by line", fields)
    if order_by:
        effects.sort(key=lambda effect: int(effect["line"]), reverse=order_by == "line desc")
    return effects


def effects_csv(settings: Any, row: BatchRow) -> Iterator[bytes]:
    """The kept effects as CSV in UTF-8 with a BOM; cells that a spreadsheet would take for a formula get an apostrophe,
    amounts and lines do not."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(HEADER)
    for effect in effects_of(settings, row):
        currency = effect["currency"]
        opened = domain.decimal(effect["open_minor"], currency) if currency else ""
        head = [
            effect["line"] or "",
            effect["effect"],
            _safe(effect["account_number"]),
            _safe(effect["number"]),
            currency,
            opened,
        ]
        for field, old, new in effect["changes"] or [("", "", "")]:
            writer.writerow([*head, field, _safe(old), _safe(new)])
    data = b"\xef\xbb\xbf" + sink.getvalue().encode()
    for start in range(0, len(data), 256 * 1024):
        yield data[start : start + 256 * 1024]


def _safe(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(FORMULA) else text
    return text
