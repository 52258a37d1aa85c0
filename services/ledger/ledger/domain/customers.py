"""Customers: what a custom field takes, which fields have an owner, what may be collected through what. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

# Fields of accounts that an entity can take from the ERP; contacts are owned as a whole.
OWNED_FIELDS = (
    "country", "language", "payment_terms", "parent_number", "collector", "groups", "custom_fields", "contacts",
)  # fmt: skip
FIELD_OWNERS = ("ERP", "PLATFORM", "ERP_UNTIL_EDITED")
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,12})?")


def misfit(kind: str, options: Sequence[str], value: str) -> str | None:
    """Why a value is none of a custom field (TEXT, NUMBER, DATE, LIST); None when it is one. Empty always is: it
    removes the field."""
    if value == "" or kind == "TEXT":
        return None
    if kind == "NUMBER":
        return None if _NUMBER.fullmatch(value) else "not a number"
    if kind == "DATE":
        try:
            return None if len(value) == 10 and date.fromisoformat(value) else "not a day (YYYY-MM-DD)"
        except ValueError:
            return "not a day (YYYY-MM-DD)"
    return None if value in options else "not one of the options"


def misfits(definitions: Mapping[str, tuple[str, Sequence[str]]], values: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with values by the name of their custom field; fields nobody defined take any text."""
    found = {
        f"custom_fields.{name}": misfit(*definitions[name], value)
        for name, value in values.items()
        if name in definitions
    }
    return {name: wrong for name, wrong in found.items() if wrong is not None}


def groups_after(groups: Iterable[str], add: Iterable[str], remove: Iterable[str]) -> list[str]:
    """The groups an account is in afterwards, in alphabetical order without blanks around them."""
    kept = {group.strip() for group in groups} - {group.strip() for group in remove}
    return sorted({*kept, *(group.strip() for group in add)} - {""})
