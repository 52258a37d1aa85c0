"""What a file means. Pure: bytes and answers in; rows, refusals and questions out."""

from importer.domain.analysis import analyse, chunk_bounds, reject_reasons, warning_lines
from importer.domain.fields import ACCOUNTS, CONTACTS, FIELDS, ITEMS, OBJECTS
from importer.domain.mapping import fingerprint
from importer.domain.model import (
    ACCOUNT_SCHEMA,
    CONTACT_SCHEMA,
    ITEM_SCHEMA,
    REJECT_SCHEMA,
    Analysis,
    ColumnReport,
    Evidence,
    Question,
    Remembered,
    Total,
    Wanted,
    check_answers,
    check_mapping,
    mapping_by_header,
)
from importer.domain.reading import FILE_LIMIT_BYTES, RawTable, read_table
from importer.domain.texts import Unreadable, failure_text, from_ledger, question_text, reason_text, warning_text

__all__ = [
    "ACCOUNTS",
    "ACCOUNT_SCHEMA",
    "CONTACTS",
    "CONTACT_SCHEMA",
    "FIELDS",
    "FILE_LIMIT_BYTES",
    "ITEMS",
    "ITEM_SCHEMA",
    "OBJECTS",
    "REJECT_SCHEMA",
    "Analysis",
    "ColumnReport",
    "Evidence",
    "Question",
    "RawTable",
    "Remembered",
    "Total",
    "Unreadable",
    "Wanted",
    "analyse",
    "check_answers",
    "check_mapping",
    "chunk_bounds",
    "failure_text",
    "fingerprint",
    "from_ledger",
    "mapping_by_header",
    "question_text",
    "read_table",
    "reason_text",
    "reject_reasons",
    "warning_lines",
    "warning_text",
]
