"""Lists: one filter language, one order, opaque page tokens."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement, String, cast

from kit.errors import Code, Refused

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 500
FILTER_MAX_CHARACTERS = 2000

_TERM = re.compile(
    r"""\s*(?P<name>[A-Za-z_][A-Za-z0-9_.]*)\s*(?P<op>!=|<=|>=|=|<|>|:)\s*"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"'()]+)\s*"""
)
_AND = re.compile(r"AND\b", re.IGNORECASE)


@dataclass(frozen=True)
class Term:
    """One comparison of a filter: name in snake_case, op one of = != < <= > >= : (contains)."""

    name: str
    op: str
    value: str


def snake_case(name: str) -> str:
    """accountId becomes account_id; snake_case stays as it is."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _wrong(field: str, message: str) -> Refused:
    return Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", message, {field: message})


def filter_terms(text: str, names: Mapping[str, Any] | frozenset[str] | None = None) -> list[Term]:
    """The comparisons of a filter such as 'account_id="x" AND state=DUE', all of which must hold.

    Refuses INVALID_FIELDS for what is no filter and for a name that is not among names.
    """
    if len(text) > FILTER_MAX_CHARACTERS:
        raise _wrong("filter", f"a filter has at most {FILTER_MAX_CHARACTERS} characters")
    terms: list[Term] = []
    at = len(text) - len(text.lstrip())
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise _wrong("filter", f"cannot read the filter from character {at + 1}: {text[at : at + 20]!r}")
        value = match["value"]
        if value[0] in "\"'":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        name = snake_case(match["name"])
        if names is not None and name not in names:
            raise _wrong("filter", f"cannot filter by {match['name']}; known: {', '.join(sorted(names))}")
        terms.append(Term(name, match["op"], value))
        at = match.end()
        if at < len(text):
            joint = _AND.match(text, at)
            if joint is None or not text[joint.end() :].strip():
                raise _wrong("filter", f"expected AND and a comparison at character {at + 1}: {text[at : at + 20]!r}")
            at = joint.end()
    return terms


def parse_filter(text: str, allowed: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """The conditions of a filter as SQLAlchemy expressions, values converted to the type of their column.

    allowed: field name in snake_case to a column (or any typed SQL expression).
    """
    return [_condition(term, allowed[term.name]) for term in filter_terms(text, allowed)]


def _condition(term: Term, column: Any) -> ColumnElement[bool]:
    if term.op == ":":
        return cast(column, String).icontains(term.value, autoescape=True)
    if term.value == "null" and term.op in ("=", "!="):
        return column.is_(None) if term.op == "=" else column.is_not(None)
    value = _converted(term, column)
    match term.op:
        case "=":
            return column == value
        case "!=":
            return column.is_distinct_from(value)
        case "<":
            return column < value
        case "<=":
            return column <= value
        case ">":
            return column > value
    return column >= value


def _converted(term: Term, column: Any) -> Any:
    column = column.__clause_element__() if hasattr(column, "__clause_element__") else column
    try:
        wanted = column.type.python_type
    except NotImplementedError:
        return term.value
    try:
        if wanted is bool:
            return {"true": True, "false": False}[term.value.lower()]
        if wanted is int:
            return int(term.value)
        if wanted in (float, Decimal):
            return Decimal(term.value)
        if wanted is datetime:
            return datetime.fromisoformat(term.value)
        if wanted is date:
            return date.fromisoformat(term.value)
    except (ValueError, KeyError, InvalidOperation) as error:
        raise _wrong("filter", f"{term.value!r} is no value for {term.name}") from error
    return term.value


def order_by(text: str, allowed: Mapping[str, Any], default: str = "") -> list[ColumnElement[Any]]:
    """The columns of an order such as "due_on desc, number"; add a unique column yourself to make the order total."""
    ordered = []
    for part in (text or default).split(","):
        if not part.strip():
            continue
        words = part.split()
        name, direction = snake_case(words[0]), (words[1].lower() if len(words) > 1 else "asc")
        if name not in allowed or len(words) > 2 or direction not in ("asc", "desc"):
            raise _wrong("order_by", f"cannot order by {part.strip()!r}; known: {', '.join(sorted(allowed))}")
        column = allowed[name]
        ordered.append(column.desc() if direction == "desc" else column.asc())
    return ordered


def page_size(requested: int) -> int:
    """The number of rows to give: 50 when none was asked for, at most 500. Refuses a negative number."""
    if requested < 0:
        raise _wrong("page_size", "page_size is not negative")
    return min(requested or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def encode_page_token(**position: Any) -> str:
    """An opaque token for where the next page starts (values that JSON knows; dates as text)."""
    raw = json.dumps(position, separators=(",", ":"), default=str).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_page_token(token: str) -> dict[str, Any]:
    """What encode_page_token was given; {} for the first page. Refuses a token that we never made."""
    if not token:
        return {}
    try:
        position = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error) as error:
        raise _wrong("page_token", "this page token is not one of ours") from error
    if not isinstance(position, dict):
        raise _wrong("page_token", "this page token is not one of ours")
    return position


def offset_of(token: str) -> int:
    """The row a page made by next_offset_token starts at."""
    offset = decode_page_token(token).get("offset", 0)
    if not isinstance(offset, int) or offset < 0:
        raise _wrong("page_token", "this page token is not one of ours")
    return offset


def next_offset_token(offset: int, given: int, total: int) -> str:
    """The token of the page after this one; empty when this was the last."""
    return encode_page_token(offset=offset + given) if given and offset + given < total else ""
