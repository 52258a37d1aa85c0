"""Which column is which field: by the header's name, confirmed by what the column holds; and what the rows are at
all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from importer.domain.field import Field
from importer.domain.fields import (
    ACCOUNTS,
    ALLOCATIONS,
    ASSIGNMENTS,
    CONTACTS,
    COVER,
    CREDIT_INFORMATION,
    EXCHANGE_RATES,
    FIELDS,
    ITEMS,
    ORDERS,
    SALES,
)
from importer.domain.reading import RawTable
from importer.domain.values import (
    CURRENCIES,
    CURRENCY_SIGNS,
    DateColumn,
    day_texts,
    header_key,
    header_words,
    profile_dates,
)

CUSTOM = "custom:"
# A header that speaks of a guess or a plan is never the fact itself: a predicted payment date must not settle an item.
_NOT_FACTS = frozenset(
    "predict predicted prediction forecast expected estimated estimate planned promised promise "
    "prevue prevu previsionnelle previsionnel prognose "
    "geplant erwartet prevista previsto estimada days delay tage jours dias bucket".split()
)
SAMPLE = 500
# What may be a date at all: only such columns are looked at value by value.
_MAYBE_DATE = (
    r"^(\d{1,4}[-./ ]\d{1,2}[-./ ]\d{1,4}.*|\d{8}(\.0+)?|\d{5}(\.\d+)?"
    r"|\d{1,2}[a-z]{0,2}[ ./-]*\pL{3,}\.?[ ,./-]*\d{2,4}.*|\pL{3,}\.?[ ./-]*\d{1,2}[a-z]{0,2}[ ,./-]+\d{2,4}.*)$"
)


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
    """Looks at some 500 rows spread over the file: enough to confirm a name, never used to read a value."""
    step = max(1, raw.table.num_rows // SAMPLE)
    picks = pa.array(range(0, raw.table.num_rows, step), pa.int64())
    return contents_of(raw.table.take(picks))


def contents_of(sample: pa.Table) -> list[Content]:
    """What each column of a sample holds."""
    return [_content(column.combine_chunks()) for column in sample.columns]


def _content(values: pa.Array) -> Content:
    text = pc.utf8_trim_whitespace(values)
    filled = text.filter(pc.not_equal(text, ""))
    count = len(filled)
    if not count:
        return Content(0, 0, 0, 0, 0, 0, 0, 0)

    def share(pattern: str) -> float:
        return pc.sum(pc.match_substring_regex(filled, pattern)).as_py() / count

    known = pa.array([*CURRENCIES, *CURRENCY_SIGNS])
    maybe = share(_MAYBE_DATE)
    dates = profile_dates(0, day_texts(filled)) if maybe >= 0.3 else DateColumn(0, filled)
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


# What makes an object certain by the headers' whole names: all of the first, one of each further set, none of the last.
_SIGNS: dict[str, tuple[set[str], tuple[set[str], ...], set[str]]] = {
    ALLOCATIONS: ({"creditNumber", "debitNumber", "amount"}, (), {"dueOn", "openAmount"}),
    SALES: ({"accountNumber", "month", "grossAmount"}, (), {"itemNumber", "dueOn", "insurer"}),
    ORDERS: (
        {"accountNumber", "orderNumber", "amount"},
        ({"orderedOn", "deliveryOn"},),
        {"itemNumber", "dueOn", "openAmount", "insurer"},
    ),
    EXCHANGE_RATES: ({"rate"}, ({"base", "quote"},), {"accountNumber", "itemNumber", "registrationNumber"}),
    COVER: ({"insurer", "amount"}, ({"accountNumber", "registrationNumber"},), {"itemNumber"}),
    CREDIT_INFORMATION: (
        set(),
        ({"score", "rating"}, {"provider", "informedOn"}, {"accountNumber", "registrationNumber"}),
        {"itemNumber", "openAmount", "dueOn"},
    ),
}
# Names that many kinds of lists have say nothing about what a list is.
_CERTAIN = 985


def _special(mappings: dict[str, list[Mapped]], fields: dict[str, set[str]]) -> list[str]:
    """Objects beside items and parties that the headers speak of."""
    certain = {
        kind: {column.field for column in columns if column.field and column.score >= _CERTAIN}
        for kind, columns in mappings.items()
    }
    # Of items only what is named as such: a column "number" or "document" is part of other lists too.
    foreign = certain[ITEMS]
    found = []
    for kind, (all_of, one_of, none_of) in _SIGNS.items():
        own = fields[kind]
        leading = certain[kind] & (all_of | set().union(*one_of) if one_of else all_of)
        if not all_of <= own or any(not names & own for names in one_of) or none_of & (foreign - own | own):
            continue
        if leading - {"accountNumber", "registrationNumber"}:
            found.append(kind)
    own = fields[ASSIGNMENTS]
    wide = {column.position for column in mappings[ACCOUNTS] if column.field} - {
        column.position for column in mappings[ASSIGNMENTS] if column.field
    }
    if "accountNumber" in own and own & {"collector", "salesPerson"} and not wide and not foreign & {"itemNumber"}:
        found.append(ASSIGNMENTS)
    return found


def recognise(headers: list[str], found: list[Content]) -> tuple[str, dict[str, list[Mapped]]]:
    """What the rows are (empty: not recognisable) with the mapping for each object."""
    mappings = {kind: propose(kind, headers, found) for kind in FIELDS}
    fields = {kind: {column.field for column in columns if column.field} for kind, columns in mappings.items()}
    special = _special(mappings, fields)
    if special:
        return (special[0] if len(special) == 1 else ""), mappings
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
