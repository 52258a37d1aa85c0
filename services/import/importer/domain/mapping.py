"""Which column is which field: by the header's name, confirmed by what the column holds; and what the rows are at
all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.fields import ACCOUNTS, CONTACTS, FIELDS, ITEMS, Field
from importer.domain.reading import RawTable
from importer.domain.values import CURRENCIES, CURRENCY_SIGNS, day_texts, header_key, header_words, profile_dates

CUSTOM = "custom:"
# A header that speaks of a guess or a plan is never the fact itself: a predicted payment date must not settle an item.
_NOT_FACTS = frozenset(
    "predict predicted prediction forecast expected estimated estimate planned promised promise "
    "prevue prevu previsionnelle previsionnel prognose "
    "geplant erwartet prevista previsto estimada days delay tage jours dias bucket".split()
)
SAMPLE = 1_000


@dataclass
class Mapped:
    """What one column became: `field` is a canonical name, `custom:<name>`, or empty when it is left out."""

    position: int
    field: str = ""
    reason: str = ""
    score: int = 0


@dataclass(frozen=True)
class Content:
    """What a sample of a column holds, as shares of its filled values."""

    filled: float
    dates: float
    numbers: float
    currencies: float
    emails: float
    countries: float
    distinct: float
    digits8: float


def fingerprint(headers: list[str]) -> str:
    """The layout's name: a hash of its headers in order, so that the same export is known again. Case and accents do
    not count."""
    keys = [header_key(header) or header.strip() for header in headers]
    return hashlib.sha256("\x1f".join(keys).encode()).hexdigest()


def contents(raw: RawTable) -> list[Content]:
    """Looks at up to 1,000 rows spread over the file: enough to confirm a name, never used to read a value."""
    step = max(1, raw.table.num_rows // SAMPLE)
    picks = pa.array(range(0, raw.table.num_rows, step), pa.int64())
    return [
        _content(raw.table.column(position).take(picks).combine_chunks()) for position in range(raw.table.num_columns)
    ]


def _content(values: pa.Array) -> Content:
    text = pc.utf8_trim_whitespace(values)
    filled = text.filter(pc.not_equal(text, ""))
    count = len(filled)
    if not count:
        return Content(0, 0, 0, 0, 0, 0, 0, 0)

    def share(pattern: str) -> float:
        return pc.sum(pc.match_substring_regex(filled, pattern)).as_py() / count

    known = pa.array([*CURRENCIES, *CURRENCY_SIGNS])
    dates = profile_dates(0, day_texts(filled))
    return Content(
        filled=count / len(values),
        dates=dates.datelike if dates.numeric + dates.other else 0.0,
        numbers=share(
            r"^[(+-]?\s*([A-Z]{3}|[€£$])?\s*\d[\d.,\s\x{a0}\x{202f}'’]*(\s*([A-Z]{2,3}|[€£$]))?[)-]?$|^[.,]\d+$"
        ),
        currencies=pc.sum(pc.is_in(pc.utf8_upper(filled), known)).as_py() / count,
        emails=share(r"^[^@\s]+@[^@\s]+\.[^@\s]+"),
        countries=share(r"^[A-Z]{2}$"),
        distinct=len(filled.unique()) / count,
        digits8=share(r"^(\d{8}|0)$"),
    )


def _fits(field: Field, content: Content) -> bool:
    """Whether the values can be what the header says. An empty column fits everything."""
    if not content.filled:
        return True
    if field.kind == "date":
        return (
            content.dates >= 0.5
            or content.digits8 >= 0.9
            or (
                content.numbers >= 0.9 and content.distinct < 0.9 and field.name != "baselineOn" and _is_serial(content)
            )
        )
    if field.kind == "amount":
        return content.numbers >= 0.5
    if field.kind == "currency":
        return content.currencies >= 0.3
    if field.kind == "email":
        return content.emails >= 0.3
    if field.kind == "country":
        return content.numbers < 0.5
    if field.kind == "flag":
        return content.distinct <= 0.5 or content.filled < 1 or content.distinct * SAMPLE < 10
    if field.name in ("accountName", "contactName", "firstName", "lastName", "city"):
        return content.numbers < 0.5 and content.dates < 0.5
    if field.name in ("accountNumber", "itemNumber"):
        return content.dates < 0.5 or content.digits8 >= 0.5
    if field.name == "fiscalYear":
        return content.numbers >= 0.9
    return True


def _is_serial(content: Content) -> bool:
    return content.dates == 0.0 and content.digits8 == 0.0


def candidates(kind: str, headers: list[str], found: list[Content]) -> list[tuple[int, int, str, str]]:
    """(score, position, field, reason) of everything that could be, best first."""
    options: list[tuple[int, int, str, str]] = []
    for position, header in enumerate(headers):
        key = header_key(header)
        if not key:
            continue
        words = header_words(header)
        joined = {"".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
        for field in FIELDS[kind]:
            is_named = key in field.synonyms
            if not _fits(field, found[position]):
                # A column that is named as a date or an amount is one, however bad its values: its rows are refused
                # with their reason, and the file is not taken for something else. A column that fits goes before it.
                if is_named and field.kind in ("date", "amount"):
                    options.append((200 - field.synonyms.index(key), position, field.name, "header"))
                continue
            score = 0
            if is_named:
                score = 1_000 - field.synonyms.index(key)
            elif field.kind == "amount" and key.startswith(("total", "sum")) and key[5:] in field.synonyms:
                score = 800
            else:
                # A part of the header is a name by itself: "Customer No. (sold-to)", "Montant TTC EUR".
                parts = [name for name in field.synonyms if name in joined and len(name) >= 5]
                if parts and not _NOT_FACTS & set(words):
                    score = (
                        300 + 10 * max(len(name) for name in parts) - min(field.synonyms.index(name) for name in parts)
                    )
                    if len(words) - max(_words_of(name, words) for name in parts) > 3:
                        score = 0
            if score and not found[position].filled:
                # An empty column gives way to a filled one of a lesser name.
                score -= 250
            if score > 0:
                options.append((score, position, field.name, "header"))
    # The e-mail is recognised by its look whatever the header says.
    names = {field.name for field in FIELDS[kind]}
    for position, content in enumerate(found):
        if "email" in names and content.emails > 0.9 and content.filled:
            options.append((200, position, "email", "content"))
        if "currency" in names and content.currencies > 0.99 and content.filled > 0.5 and content.numbers < 0.1:
            options.append((150, position, "currency", "content"))
    return sorted(options, key=lambda option: (-option[0], option[1]))


def _words_of(name: str, words: list[str]) -> int:
    return next(
        (
            end - start
            for start in range(len(words))
            for end in range(start + 1, len(words) + 1)
            if "".join(words[start:end]) == name
        ),
        1,
    )


def propose(kind: str, headers: list[str], found: list[Content]) -> list[Mapped]:
    """One field per column and one column per field, best names first."""
    mapped = [Mapped(position) for position in range(len(headers))]
    taken: set[str] = set()
    for score, position, name, reason in candidates(kind, headers, found):
        if name in taken or mapped[position].field:
            continue
        mapped[position].field, mapped[position].reason, mapped[position].score = name, reason, score
        taken.add(name)
    return mapped


def recognise(headers: list[str], found: list[Content]) -> tuple[str, dict[str, list[Mapped]]]:
    """What the rows are (empty: not recognisable) with the mapping for each object."""
    mappings = {kind: propose(kind, headers, found) for kind in FIELDS}
    fields = {kind: {column.field for column in columns if column.field} for kind, columns in mappings.items()}
    items, contacts = fields[ITEMS], fields[CONTACTS]
    has_amount = bool(items & {"initialAmount", "openAmount", "localAmount", "debit", "credit"})
    has_date = bool(items & {"issueOn", "dueOn", "postedOn", "baselineOn"})
    if {"accountNumber"} <= items and has_amount and has_date:
        return ITEMS, mappings
    if "itemNumber" in items and has_amount and (has_date or "accountNumber" in items):
        return ITEMS, mappings
    account_position = next((column.position for column in mappings[CONTACTS] if column.field == "accountNumber"), None)
    if account_position is not None and contacts & {"email", "phone"}:
        person = contacts & {"firstName", "lastName", "role"}
        named = any(column.field == "contactName" and column.score >= 990 for column in mappings[CONTACTS])
        address = fields[ACCOUNTS] & {
            "paymentTerms",
            "city",
            "vatNumber",
            "registrationNumber",
            "groups",
            "postalCode",
            "country",
            "collector",
        }
        if (person or named or found[account_position].distinct < 0.95) and len(address) < 2:
            return CONTACTS, mappings
    if {"accountNumber", "accountName"} <= fields[ACCOUNTS] and not has_amount:
        return ACCOUNTS, mappings
    return "", mappings
