"""One field that a column can be mapped to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One field a column can be mapped to. `kind` says how its values are read: id, text, date, month, amount, currency,
    flag, email, country, number, choice."""

    name: str
    kind: str
    label_en: str
    label_fr: str
    synonyms: tuple[str, ...]
    required: bool = False
    max_length: int = 200


def field(
    name: str, kind: str, label_en: str, label_fr: str, synonyms: str, required: bool = False, max_length: int = 200
) -> Field:
    """A field with its synonyms as one text."""
    return Field(name, kind, label_en, label_fr, tuple(synonyms.split()), required, max_length)
