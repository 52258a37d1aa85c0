"""JSON: an array of objects, an object that holds one, or one object per line. Nested objects become dotted columns."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pyarrow as pa

from importer.domain.reading.table import COLUMN_LIMIT, RawTable, string_table
from importer.domain.texts import Unreadable

_MS_DATE = re.compile(r"/Date\((-?\d{1,15})([+-]\d{4})?\)/")


class _Number(str):
    """A number with its digits as written."""

    __slots__ = ()


def looks_like_json(utf8: bytes) -> bool:
    head = utf8[:4096].lstrip()
    return re.match(rb'[\[{]\s*(["\[{\]}]|$)', head) is not None


def read_json(utf8: bytes) -> RawTable:
    """The rows. Raises: Unreadable JSON_DAMAGED, JSON_NO_ROWS, TOO_MANY_COLUMNS."""
    text = utf8.decode("utf-8", errors="replace")
    broken: list[tuple[int, str, str]] = []
    try:
        whole = _load(text)
    except json.JSONDecodeError as error:
        records, broken = _lines(text, error)
    except RecursionError as error:
        raise Unreadable("JSON_DAMAGED", line="1") from error
    else:
        found = _rows_of(whole)
        if found is None:
            raise Unreadable("JSON_NO_ROWS")
        # An array has no lines worth naming: its rows are counted.
        records = list(enumerate(found, start=1))
    broken += [(line, "rowNotAnObject", str(record)[:500]) for line, record in records if not isinstance(record, dict)]
    rows = [(line, _flat(record)) for line, record in records if isinstance(record, dict)]
    headers = list(dict.fromkeys(name for _, row in rows for name in row))
    if not headers:
        raise Unreadable("JSON_NO_ROWS")
    if len(headers) > COLUMN_LIMIT:
        raise Unreadable("TOO_MANY_COLUMNS", limit=str(COLUMN_LIMIT))
    columns = [[row.get(name, "") for _, row in rows] for name in headers]
    native = {
        position: pa.array([isinstance(value, _Number) for value in column], pa.bool_())
        for position, column in enumerate(columns)
        if any(isinstance(value, _Number) for value in column)
    }
    lines = pa.array([line for line, _ in rows], pa.int32())
    return RawTable(headers, string_table(columns), lines, "json", header_line=0, native=native, broken=broken)


def _load(text: str) -> Any:
    return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=str)


def _lines(text: str, error: json.JSONDecodeError) -> tuple[list[tuple[int, Any]], list[tuple[int, str, str]]]:
    """One object per line. A damaged line is a refused row, unless the first one is damaged: then it is no such file."""
    records: list[tuple[int, Any]] = []
    broken: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            records.append((number, _load(line)))
        except (json.JSONDecodeError, RecursionError) as damaged:
            if not records:
                raise Unreadable("JSON_DAMAGED", line=str(error.lineno)) from damaged
            broken.append((number, "rowUnreadable", line[:500]))
    return records, broken


def _rows_of(value: Any, depth: int = 0) -> list[Any] | None:
    """The array of objects: the value itself, or the only one inside (`value`, `d.results`, `Invoices`)."""
    if isinstance(value, list):
        return value if any(isinstance(entry, dict) for entry in value) else None
    if not isinstance(value, dict):
        return None
    found = [rows for entry in value.values() if depth < 2 and (rows := _rows_of(entry, depth + 1)) is not None]
    if len(found) == 1:
        return found[0]
    if not found and depth == 0 and any(not isinstance(entry, dict | list) for entry in value.values()):
        return [value]
    return None


def _flat(record: dict[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            for inner, nested in value.items():
                flat[f"{name}.{inner}"] = _text(nested)
        else:
            flat[name] = _text(value)
    return flat


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        stamp = _MS_DATE.fullmatch(value)
        if stamp:
            days = max(-700_000, min(int(stamp[1]) // 86_400_000, 2_900_000))
            return (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()
        return value.encode("utf-8", errors="replace").decode() if not value.isascii() else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", errors="replace").decode()
