"""The shapes that reading a file gives: what is known, asked, refused and accepted; and what answers there can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from importer.domain.fields import FIELD_BY_NAME, OBJECTS
from importer.domain.mapping import CUSTOM
from importer.domain.values import CURRENCIES

PREVIEW_ROWS = 20
ANSWER_CODES = (
    "dateOrder",
    "decimalSign",
    "twoDigitYear",
    "currency",
    "object",
    "mapping",
    "stockGuard",
    "controlTotals",
    "controlTotalsReason",
    "encoding",
    "sheet",
)

ITEM_SCHEMA = pa.schema(
    [
        ("line", pa.int32()),
        ("account_number", pa.string()),
        ("account_name", pa.string()),
        ("number", pa.string()),
        ("external_id", pa.string()),
        ("line_number", pa.string()),
        ("kind", pa.string()),
        ("currency", pa.string()),
        ("issue_on", pa.date32()),
        ("due_on", pa.date32()),
        ("posted_on", pa.date32()),
        ("settled_on", pa.date32()),
        ("initial_minor", pa.int64()),
        ("open_minor", pa.int64()),
        ("fiscal_year", pa.int32()),
        ("order_number", pa.string()),
        ("reference", pa.string()),
        ("text", pa.string()),
        ("payment_terms", pa.string()),
        ("custom_fields", pa.string()),
    ]
)
ACCOUNT_SCHEMA = pa.schema(
    [("line", pa.int32())]
    + [
        (name, pa.string())
        for name in (
            "number",
            "name",
            "country",
            "language",
            "payment_terms",
            "registration_number",
            "legal_unit_name",
            "parent_number",
            "groups",
            "collector",
            "custom_fields",
        )
    ]
)
CONTACT_SCHEMA = pa.schema(
    [("line", pa.int32())]
    + [(name, pa.string()) for name in ("account_number", "name", "email", "phone", "role", "language")]
)
# field: the canonical name; header and value: as the file writes them.
REJECT_SCHEMA = pa.schema(
    [("line", pa.int32())] + [(name, pa.string()) for name in ("field", "code", "header", "value")]
)


@dataclass(frozen=True)
class Evidence:
    """What one option would make of the data."""

    option: str
    examples: tuple[str, ...]
    fits: int
    of: int


@dataclass(frozen=True)
class Question:
    """Something the data do not decide. `column` is the header it is about, or the missing field for `mapping`."""

    code: str
    column: str
    options: tuple[str, ...]
    text: str
    text_fr: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Remembered:
    """What a person confirmed for this layout before."""

    object: str
    mapping: Mapping[str, str]
    answers: Mapping[str, str]
    # Value by field, for every row.
    constants: Mapping[str, str] = field(default_factory=dict)
    # (value as written, kind, whether its amounts change their sign).
    item_types: tuple[tuple[str, str, bool], ...] = ()
    # Empty: by word, else by sign; REJECT; or a kind.
    unknown_item_type: str = ""


@dataclass(frozen=True)
class Wanted:
    """What is known beside the file. `mapping`: field by header or `#position`; `answers`: by code or `code:column`."""

    entity_code: str
    entity_currency: str = ""
    object: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    remembered: Remembered | None = None
    # The entity's name, VAT and registration number: who must have issued the invoices of a file that says it.
    entity_marks: tuple[str, ...] = ()
    # Business date of the upload; None: dates are not compared with it.
    file_on: date | None = None


@dataclass
class ColumnReport:
    """What one column became, for the preview."""

    position: int
    header: str
    field: str
    format: str
    reason: str
    samples: list[str]
    filled: int


@dataclass
class Total:
    """The accepted rows in one currency, in minor units."""

    currency: str
    item_count: int
    open_minor: int
    initial_minor: int


@dataclass
class Analysis:
    """Everything recognised about one file. `accepted` is sorted by account and has the ledger's columns; None while
    questions are open."""

    object: str
    fingerprint: str
    columns: list[ColumnReport]
    questions: list[Question]
    accepted: pa.Table | None
    rejects: pa.Table
    warnings: list[tuple[str, dict[str, str]]]
    totals: list[Total]
    preview: list[dict[str, Any]]
    read: int
    rejected: int
    # For rows that lie in a file instead of `accepted`.
    accepted_count: int = 0

    @property
    def accepted_rows(self) -> int:
        """Rows that the ledger will be given."""
        return self.accepted.num_rows if self.accepted is not None else self.accepted_count


def mapping_by_header(columns: list[ColumnReport]) -> dict[str, str]:
    """The mapping as it is remembered: field by header, `#position` where the header is empty or not unique."""
    headers = [column.header for column in columns]
    return {column_key(headers, column.position): column.field for column in columns}


def column_key(headers: list[str], position: int) -> str:
    header = headers[position]
    return header if header and headers.count(header) == 1 else f"#{position}"


def check_answers(answers: Mapping[str, str]) -> str:
    """The first answer that cannot be one, empty when all can."""
    allowed = {
        "dateOrder": ("DMY", "MDY"),
        "decimalSign": (".", ",", "POINT", "COMMA"),
        "twoDigitYear": ("20", "19"),
        "object": OBJECTS,
        "stockGuard": ("CONFIRM", "CANCEL"),
        "controlTotals": ("APPLY", "CANCEL"),
    }
    for key, value in answers.items():
        code = key.partition(":")[0]
        if code not in ANSWER_CODES:
            return key
        if code in allowed and value not in allowed[code] and value.upper() not in allowed[code]:
            return key
        if code == "currency" and value.upper() not in CURRENCIES:
            return key
    return ""


def check_mapping(kind: str, mapping: Mapping[str, str]) -> str:
    """The first header whose field does not exist, empty when all do."""
    names = set(FIELD_BY_NAME.get(kind, {})) or {name for fields_ in FIELD_BY_NAME.values() for name in fields_}
    return next(
        (header for header, name in mapping.items() if name and not name.startswith(CUSTOM) and name not in names), ""
    )
