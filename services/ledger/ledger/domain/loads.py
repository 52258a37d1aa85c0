"""Loads: which rows are taken, and when a complete file is too good to be true.

Amounts are minor units of the item's currency; debits are positive, credits negative.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import Code, Refused
from kit.money import CURRENCIES

ITEM_KINDS = (
    "INVOICE", "CREDIT_NOTE", "PAYMENT", "DOWN_PAYMENT", "IN_TRANSIT", "BANK_CHARGE", "OTHER_DEBIT", "OTHER_CREDIT",
    "LATE_INTEREST",
)  # fmt: skip
CREDIT_KINDS = ("CREDIT_NOTE", "PAYMENT", "DOWN_PAYMENT", "OTHER_CREDIT")
CONTACT_ROLES = ("ACCOUNTS_PAYABLE", "BUYER", "MANAGEMENT", "LEGAL")
LANGUAGES = ("en", "fr", "de", "es")
# An index entry holds a third of a page; a key of this length fits in every encoding.
KEY_MAX_CHARACTERS = 200
TEXT_MAX_CHARACTERS = 4000
# Sums of a million such amounts still fit int64.
AMOUNT_MAX_MINOR = 10**12
EARLIEST_ON, LATEST_ON = date(1900, 1, 1), date(2199, 12, 31)
# Source: domain.md row 5.
STOCK_GUARD_SHARE = 0.30

# Name, type and whether the column must be there.
Fields = tuple[tuple[str, pa.DataType, bool], ...]
_ITEM_FIELDS: Fields = (
    ("line", pa.int32(), True),
    ("account_number", pa.string(), True),
    ("account_name", pa.string(), False),
    ("number", pa.string(), True),
    ("external_id", pa.string(), False),
    ("line_number", pa.string(), False),
    ("kind", pa.string(), True),
    ("currency", pa.string(), True),
    ("issue_on", pa.date32(), True),
    ("due_on", pa.date32(), False),
    ("posted_on", pa.date32(), False),
    ("settled_on", pa.date32(), False),
    ("initial_minor", pa.int64(), True),
    ("open_minor", pa.int64(), True),
    ("fiscal_year", pa.int32(), False),
    ("order_number", pa.string(), False),
    ("reference", pa.string(), False),
    ("text", pa.string(), False),
    ("payment_terms", pa.string(), False),
    ("custom_fields", pa.string(), False),
)
_ACCOUNT_FIELDS: Fields = (
    ("line", pa.int32(), False),
    ("number", pa.string(), True),
    *(
        (name, pa.string(), False)
        for name in (
            "name", "country", "language", "payment_terms", "registration_number", "legal_unit_name", "parent_number",
            "groups", "collector", "custom_fields",
        )
    ),
)  # fmt: skip
_CONTACT_FIELDS: Fields = (
    ("line", pa.int32(), False),
    ("account_number", pa.string(), True),
    *((name, pa.string(), False) for name in ("name", "email", "phone", "role", "language")),
)
FIELDS_BY_OBJECT: dict[str, Fields] = {"ITEMS": _ITEM_FIELDS, "ACCOUNTS": _ACCOUNT_FIELDS, "CONTACTS": _CONTACT_FIELDS}


def conform(rows: pa.Table, load_object: str) -> pa.Table:
    """The rows in the schema of their object: columns in its order, absent ones null, lines counted where not given.

    Args: load_object, ITEMS, ACCOUNTS, CONTACTS or one of reference.ROW_OBJECTS.
    Refuses: INVALID_ARGUMENT LOAD_SCHEMA, naming each column that is missing, unknown or of another type.
    """
    fields = FIELDS_BY_OBJECT[load_object]
    wrong = dict.fromkeys(set(rows.column_names) - {name for name, _, _ in fields}, "unknown column")
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for name, kind, is_needed in fields:
        if name in rows.column_names:
            try:
                columns[name] = rows.column(name).cast(kind)
            except pa.ArrowException as error:
                wrong[name] = f"not {kind}: {error}"
        elif is_needed:
            wrong[name] = "missing column"
        elif name == "line":
            columns[name] = pa.array(range(1, rows.num_rows + 1), kind)
        else:
            columns[name] = pa.nulls(rows.num_rows, kind)
    if not wrong and columns["line"].null_count:
        wrong["line"] = "a row without a line"
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "the rows do not have the columns of the contract", wrong)
    return pa.table(columns)


class Checks:
    """Conditions under which a row is refused, in the order in which they are asked; the first that holds counts."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows
        self.found: list[tuple[pa.ChunkedArray, str, str]] = []

    def refuse(self, condition: pa.ChunkedArray, field: str, reason: str) -> None:
        """Refuses the rows where condition is true (null counts as false)."""
        if pc.any(condition).as_py():
            self.found.append((pc.fill_null(condition, False), field, reason))

    def readable(self, max_by_field: Mapping[str, int]) -> None:
        """No text may hold a NUL, which PostgreSQL cannot store, or be longer than its field allows."""
        for field in self.rows.schema:
            if pa.types.is_string(field.type):
                column = self.rows[field.name]
                if column.null_count == len(column):
                    continue
                self.refuse(pc.match_substring(column, "\0"), field.name, "UNREADABLE")
                limit = max_by_field.get(field.name, TEXT_MAX_CHARACTERS)
                # A text has at most as many characters as bytes, and bytes need no counting.
                if (pc.max(pc.binary_length(column)).as_py() or 0) > limit:
                    self.refuse(pc.greater(pc.utf8_length(column), limit), field.name, "TOO_LONG")

    def filled(self, *fields: str) -> None:
        """These fields must hold something."""
        for name in fields:
            column = self.rows[name]
            empty = pc.is_null(column)
            if pa.types.is_string(column.type):
                empty = pc.or_(empty, pc.fill_null(pc.equal(column, ""), False))
            self.refuse(empty, name, "MISSING")

    def one_of(self, field: str, known: Sequence[str], *, may_be_empty: bool = False) -> None:
        """The field must be one of the known texts."""
        unknown = pc.invert(pc.is_in(self.rows[field], pa.array([*known, *([""] if may_be_empty else [])])))
        if may_be_empty:
            unknown = pc.and_(unknown, pc.is_valid(self.rows[field]))
        self.refuse(unknown, field, "UNKNOWN")

    def once(self, field: str, keys: Sequence[str], where: pa.ChunkedArray | None = None) -> None:
        """No two rows (of those where it is true) may share their keys: all of them are refused."""
        position = pa.array(range(self.rows.num_rows), pa.int64()) if self.rows.num_rows else pa.array([], pa.int64())
        keyed = self.rows.select(list(keys))
        counts = (keyed if where is None else keyed.filter(where)).group_by(list(keys)).aggregate([([], "count_all")])
        doubled = counts.filter(pc.greater(counts["count_all"], 1))
        if doubled.num_rows:
            keyed = keyed.append_column("position", position)
            if where is not None:
                keyed = keyed.filter(where)
            hits = keyed.join(doubled.select(list(keys)), list(keys), join_type="left semi")["position"]
            self.refuse(pa.chunked_array([pc.is_in(position, hits.combine_chunks())]), field, "DUPLICATE_KEY")

    def marked(self) -> pa.Table:
        """The rows with two more columns, field and reason: null where the row is taken."""
        if not self.found:
            nothing = pa.nulls(self.rows.num_rows, pa.string())
            return self.rows.append_column("field", nothing).append_column("reason", nothing)
        conditions = pc.make_struct(*(condition.combine_chunks() for condition, _, _ in self.found))
        rows = self.rows
        for column, place in (("field", 1), ("reason", 2)):
            rows = rows.append_column(
                column, pc.case_when(conditions, *(pa.scalar(found[place], pa.string()) for found in self.found))
            )
        # What cannot be stored must not reach COPY, not even in a row that is refused.
        for index, field in enumerate(rows.schema):
            if pa.types.is_string(field.type) and any(f == field.name and r == "UNREADABLE" for _, f, r in self.found):
                rows = rows.set_column(index, field.name, pc.replace_substring(rows[field.name], "\0", ""))
        return rows


def check_items(rows: pa.Table) -> pa.Table:
    """Marks the item rows that are refused, without looking at the books; fills what has a default.

    Args: rows as conform gives them. Returns them with columns field and reason, null in rows that are taken. Reasons:
    UNREADABLE, TOO_LONG, MISSING, UNKNOWN, IMPOSSIBLE (a date out of 1900-2199), TOO_LARGE, SIGN (a positive credit),
    DUPLICATE_KEY (all rows of that key).
    """
    filled = {
        "account_name": pc.fill_null(rows["account_name"], ""),
        "line_number": pc.fill_null(rows["line_number"], ""),
        "external_id": pc.if_else(pc.equal(rows["external_id"], ""), pa.scalar(None, pa.string()), rows["external_id"]),
        "fiscal_year": pc.coalesce(rows["fiscal_year"], pc.cast(pc.year(rows["issue_on"]), pa.int32())),
    }
    for name, column in filled.items():
        rows = rows.set_column(rows.column_names.index(name), name, column)
    checks = Checks(rows)
    checks.filled("account_number", "number", "issue_on", "initial_minor", "open_minor")
    checks.readable(
        dict.fromkeys(("account_number", "number", "external_id", "line_number", "account_name"), KEY_MAX_CHARACTERS)
    )
    checks.one_of("kind", ITEM_KINDS)
    checks.one_of("currency", sorted(CURRENCIES))
    for name in ("issue_on", "due_on", "settled_on", "posted_on"):
        checks.refuse(
            pc.or_(pc.less(rows[name], pa.scalar(EARLIEST_ON)), pc.greater(rows[name], pa.scalar(LATEST_ON))),
            name,
            "IMPOSSIBLE",
        )
    for name in ("initial_minor", "open_minor"):
        outside = pc.or_(pc.greater(rows[name], AMOUNT_MAX_MINOR), pc.less(rows[name], -AMOUNT_MAX_MINOR))
        checks.refuse(outside, name, "TOO_LARGE")
        is_credit = pc.is_in(rows["kind"], pa.array(CREDIT_KINDS))
        checks.refuse(pc.and_(is_credit, pc.greater(rows[name], 0)), name, "SIGN")
    has_external_id = pc.is_valid(rows["external_id"])
    checks.once("external_id", ["external_id"], has_external_id)
    checks.once(
        "number", ["account_number", "number", "line_number", "fiscal_year", "kind"], pc.invert(has_external_id)
    )
    return checks.marked()


def check_accounts(rows: pa.Table) -> pa.Table:
    """As check_items, for rows of accounts."""
    checks = Checks(rows)
    checks.filled("number")
    checks.readable(dict.fromkeys(("number", "name", "registration_number", "parent_number"), KEY_MAX_CHARACTERS))
    checks.refuse(
        pc.invert(pc.match_substring_regex(pc.fill_null(rows["country"], ""), "^([A-Z]{2})?$")), "country", "UNKNOWN"
    )
    checks.one_of("language", LANGUAGES, may_be_empty=True)
    checks.once("number", ["number"])
    return checks.marked()


def check_contacts(rows: pa.Table) -> pa.Table:
    """As check_items, for rows of contacts: an e-mail address or a name is needed."""
    email = pc.utf8_trim_whitespace(pc.fill_null(rows["email"], ""))
    name = pc.fill_null(rows["name"], "")
    filled = {
        "email": email,
        # A contact is named after its address until somebody knows better.
        "name": pc.if_else(pc.equal(name, ""), email, name),
        "role": pc.fill_null(rows["role"], ""),
        "phone": pc.fill_null(rows["phone"], ""),
        "language": pc.fill_null(rows["language"], ""),
    }
    for column_name, column in filled.items():
        rows = rows.set_column(rows.column_names.index(column_name), column_name, column)
    rows = rows.append_column("contact_key", pc.if_else(pc.equal(email, ""), rows["name"], pc.utf8_lower(email)))
    checks = Checks(rows)
    checks.filled("account_number", "name")
    checks.readable({"account_number": KEY_MAX_CHARACTERS, "name": KEY_MAX_CHARACTERS, "email": 254, "phone": 50})
    bad_email = pc.invert(pc.match_substring_regex(email, r"^$|^[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+$"))
    checks.refuse(bad_email, "email", "UNREADABLE")
    checks.one_of("role", CONTACT_ROLES, may_be_empty=True)
    checks.one_of("language", LANGUAGES, may_be_empty=True)
    checks.once("email", ["account_number", "contact_key"])
    return checks.marked()


# ---- a complete file -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StockShare:
    """Of the items or of one currency: how much was open before the load, and how much its end would clear."""

    open_before: int
    to_clear: int


def stock_guard_holds(shares: Sequence[StockShare]) -> bool:
    """Whether a complete file may clear what it does not hold: at most 30 % of the items and of each currency.

    Args: shares, one of item counts and one of absolute amounts per currency.
    Source: domain.md row 5.
    """
    return all(share.to_clear <= STOCK_GUARD_SHARE * share.open_before for share in shares)
