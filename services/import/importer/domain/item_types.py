"""The item types of a source as a profile translates them: value to kind, with an optional change of sign (rule 3)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# What a row's type can become. The ledger's kinds, as texts of its load.
KINDS = (
    "INVOICE",
    "CREDIT_NOTE",
    "PAYMENT",
    "DOWN_PAYMENT",
    "IN_TRANSIT",
    "BANK_CHARGE",
    "LATE_INTEREST",
    "OTHER_DEBIT",
    "OTHER_CREDIT",
)
REJECT = "REJECT"


def type_key(value: str) -> str:
    """A type's name as two of them are compared: case and blanks do not count."""
    return " ".join(value.split()).casefold()


def ruled(columns: Any, kinds: pa.Array, unknown: list[str]) -> tuple[pa.Array, pa.Array | None, list[str]]:
    """Kinds as the profile says, over those recognised by word.

    Args: columns, the Items being read; kinds, by word, null where there is none; unknown, values no word named.
    Returns: the kinds (null: the sign decides), the rows whose amounts change their sign (None: no row), and the values
        that are still nobody's. Refuses rows of unnamed types where the profile says REJECT.
    """
    remembered = columns.wanted.remembered
    if remembered is None or not (remembered.item_types or remembered.unknown_item_type):
        return kinds, None, unknown
    rules = {type_key(value): (kind, bool(flip)) for value, kind, flip in remembered.item_types}
    encoded = pc.utf8_trim_whitespace(columns.column("itemType")).dictionary_encode()
    words = encoded.dictionary.to_pylist()
    named = [rules.get(type_key(word)) for word in words]
    by_rule = pa.array([rule[0] if rule else None for rule in named], pa.string()).take(encoded.indices)
    flipped = pa.array([bool(rule and rule[1]) for rule in named], pa.bool_()).take(encoded.indices)
    strange = [rule is None and word != "" for rule, word in zip(named, words, strict=True)]
    if remembered.unknown_item_type == REJECT:
        columns.refuse(pa.array(strange, pa.bool_()).take(encoded.indices), "itemType", "itemTypeUnknown")
        return by_rule, flipped, []
    if remembered.unknown_item_type:
        other = pa.array([remembered.unknown_item_type if odd else None for odd in strange], pa.string())
        return pc.coalesce(by_rule, other.take(encoded.indices)), flipped, []
    left = [word for word in unknown if rules.get(type_key(word)) is None]
    return pc.coalesce(by_rule, kinds), flipped, left
