"""Profiles: which one reads a file, what it may say, and how its constants become columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from importer.domain.analysis import analyse
from importer.domain.fields import FIELD_BY_NAME, ITEMS
from importer.domain.item_types import KINDS, REJECT, type_key
from importer.domain.mapping import CUSTOM, fingerprint
from importer.domain.model import Analysis, Wanted, check_answers, check_mapping
from importer.domain.reading import RawTable

# A constant stands in the table as a column of this name; no file has one, since it would be a formula.
CONSTANT = "="
PATTERN_MAX_CHARACTERS = 200
# Answers that belong to a layout and are remembered with it; the others belong to one file.
LAYOUT_ANSWERS = ("dateOrder", "decimalSign", "twoDigitYear", "currency")


class Choosable(Protocol):
    """What choosing looks at."""

    fingerprint: str
    patterns: list[str]
    by_hand: bool


P = TypeVar("P", bound=Choosable)


def fits(pattern: str, file_name: str) -> bool:
    """Whether a file's name fits a pattern with * and ?; case does not count, and [ is a letter like others."""
    return fnmatchcase(file_name.casefold(), pattern.casefold().replace("[", "[[]"))


def check_pattern(pattern: str) -> bool:
    """Whether a pattern can fit any name of a file: no folders, no control characters, not empty."""
    return (
        bool(pattern.strip())
        and len(pattern) <= PATTERN_MAX_CHARACTERS
        and pattern.isprintable()
        and not (set(pattern) & set("/\\"))
    )


def choose(candidates: Sequence[P], mark: str, file_name: str) -> P | None:
    """The profile that reads a file: by name and layout, then by hand for the layout, then by name, then remembered.

    Args: candidates, in the order of preference among equals; mark, the fingerprint of the file's header. One with
        patterns that do not fit the name never reads it.
    """
    best: P | None = None
    best_rank = 0
    for candidate in candidates:
        named = any(fits(pattern, file_name) for pattern in candidate.patterns)
        if candidate.patterns and not named:
            continue
        same = candidate.fingerprint == mark
        if not named and not same:
            continue
        rank = 4 if named and same else 3 if same and candidate.by_hand else 2 if named else 1
        if rank > best_rank:
            best, best_rank = candidate, rank
    return best


def wrong_fields(
    object_: str,
    mapping: Mapping[str, str],
    constants: Mapping[str, str],
    answers: Mapping[str, str],
    item_types: Sequence[Sequence[Any]],
    unknown_item_type: str,
    patterns: Sequence[str],
    mode: str,
) -> dict[str, str]:
    """What cannot be said in a profile, by field; empty when all can."""
    wrong: dict[str, str] = {}
    names = set(FIELD_BY_NAME.get(object_, {})) or {name for known in FIELD_BY_NAME.values() for name in known}
    column = check_mapping(object_, mapping)
    if column:
        wrong[f"mapping.{column}"] = "unknown field"
    fields = [field for field in mapping.values() if field and not field.startswith(CUSTOM)]
    for field in sorted({field for field in fields if fields.count(field) > 1}):
        wrong[f"mapping.{field}"] = "two columns become this field"
    for field, value in constants.items():
        if field not in names:
            wrong[f"constants.{field}"] = "unknown field"
        elif not value.strip() or len(value) > 500 or not value.isprintable():
            wrong[f"constants.{field}"] = "a text of 1 to 500 characters"
    answer = check_answers(answers)
    if answer:
        wrong[f"answers.{answer}"] = "unknown answer"
    keys = [type_key(str(value)) for value, _, _ in item_types]
    for value, kind, _ in item_types:
        if kind not in KINDS:
            wrong[f"itemTypes.{value}"] = "unknown kind"
        elif not type_key(str(value)) or keys.count(type_key(str(value))) > 1:
            wrong[f"itemTypes.{value}"] = "is named twice"
    if unknown_item_type not in ("", REJECT, *KINDS):
        wrong["unknownItemType"] = "unknown kind"
    if (item_types or unknown_item_type) and object_ not in ("", ITEMS):
        wrong["itemTypes"] = "only items have types"
    if any(not check_pattern(pattern) for pattern in patterns):
        wrong["patterns"] = "a file name with * and ?, without folders"
    if mode not in ("", "delta", "stock"):
        wrong["mode"] = "delta or stock"
    return wrong


def with_constants(raw: RawTable, constants: Mapping[str, str]) -> RawTable:
    """The table with one more column per constant, named =<field>."""
    if not constants:
        return raw
    table = raw.table
    for field, value in sorted(constants.items()):
        column = pa.array([value], pa.string()).take(pa.array([0] * table.num_rows, pa.int8()))
        table = table.append_column(f"{CONSTANT}{field} {table.num_columns}", column)
    return replace(raw, headers=[*raw.headers, *(CONSTANT + field for field in sorted(constants))], table=table)


def analyse_with_profile(raw: RawTable, wanted: Wanted) -> tuple[Analysis, RawTable]:
    """Recognises, asks and validates with the profile's constants in place; the layout stays that of the file.

    Returns: the analysis, and the table it is about.
    """
    remembered = wanted.remembered
    if remembered is None or not remembered.constants:
        return analyse(raw, wanted), raw
    mapping = {**remembered.mapping, **{CONSTANT + field: field for field in remembered.constants}}
    whole = with_constants(raw, remembered.constants)
    analysis = analyse(whole, replace(wanted, remembered=replace(remembered, mapping=mapping)))
    analysis.fingerprint = fingerprint(raw.headers)
    return analysis, whole


def learnt_mapping(mapping: Mapping[str, str]) -> dict[str, str]:
    """The mapping that is remembered: without the columns that constants stand in."""
    return {column: field for column, field in mapping.items() if not column.startswith(CONSTANT)}
