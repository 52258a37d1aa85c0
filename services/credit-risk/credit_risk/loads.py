"""Loads of cover and credit information: rows of files, merged chunk by chunk; one chunk is one unit of work."""

import json
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from credit_risk import domain, store
from kit import bulk
from kit.errors import Code, Refused
from kit.money import Money

REJECTS_MAX = 1_000
COVER_COLUMNS = frozenset(
    "line account_number registration_number kind insurer policy amount_minor currency valid_from valid_until".split()
)
INFORMATION_COLUMNS = frozenset(
    "line account_number registration_number provider score rating informed_on facts".split()
)


@dataclass
class Outcome:
    """What a chunk did: rows by effect, refused ones as (line, column, word), the legal units it touched."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    units: list[str] = field(default_factory=list)

    def refuse(self, line: int, column: str, reason: str) -> None:
        """Counts a refused row, and names the first of them."""
        self.rejected += 1
        if len(self.rejects) < REJECTS_MAX:
            self.rejects.append((line, column, reason))


def read_rows(data: bytes, wanted: frozenset[str]) -> list[dict[str, Any]]:
    """The rows of a chunk. Refuses INVALID_ARGUMENT LOAD_SCHEMA."""
    try:
        table = bulk.from_ipc(data)
    except ValueError as error:
        raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "the rows cannot be read") from error
    if set(table.column_names) != wanted:
        raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "the columns are not those of this object")
    return table.to_pylist()


def merge_cover(session: Session, load_id: str, entity_code: str, data: bytes, *, plan_only: bool) -> Outcome:
    """Merges insured limits and guarantees by their key. Refuses INVALID_ARGUMENT LOAD_SCHEMA."""
    rows = read_rows(data, COVER_COLUMNS)
    outcome, placed = _placed(session, entity_code, rows)
    known = {(unit, one.key): one for unit, one in store.covers(session, sorted({unit for _, unit in placed}))}
    for row, unit in placed:
        if row["kind"] not in domain.COVER_KINDS or (row["amount_minor"] or 0) <= 0 or not row["insurer"]:
            outcome.refuse(row["line"], "insurer" if not row["insurer"] else "amount_minor", "UNREADABLE")
            continue
        one = domain.Cover(
            row["kind"],
            row["insurer"],
            row["policy"] or "",
            Money(row["currency"], row["amount_minor"]),
            row["valid_from"],
            row["valid_until"],
        )
        before = known.get((unit, one.key))
        if _count(outcome, unit, before, one) and not plan_only:
            store.keep_cover(session, load_id, unit, one)
        known[unit, one.key] = one
    return outcome


def merge_information(session: Session, load_id: str, entity_code: str, data: bytes, *, plan_only: bool) -> Outcome:
    """Merges credit information by legal unit, provider and day. Refuses INVALID_ARGUMENT LOAD_SCHEMA."""
    rows = read_rows(data, INFORMATION_COLUMNS)
    outcome, placed = _placed(session, entity_code, rows)
    known = {(unit, one.key): one for unit, one in store.information(session, sorted({unit for _, unit in placed}))}
    for row, unit in placed:
        if not row["provider"] or row["informed_on"] is None:
            outcome.refuse(row["line"], "provider" if not row["provider"] else "informed_on", "MISSING")
            continue
        one = domain.Information(
            row["provider"],
            row["informed_on"],
            row["score"] or "",
            row["rating"] or "",
            json.loads(row["facts"]) if row["facts"] else {},
        )
        before = known.get((unit, one.key))
        if _count(outcome, unit, before, one) and not plan_only:
            store.keep_information(session, load_id, unit, one)
        known[unit, one.key] = one
    return outcome


def _count(outcome: Outcome, unit: str, before: object, after: object) -> bool:
    """Counts a row; true when it changes something."""
    if before == after:
        outcome.unchanged += 1
        return False
    if before is None:
        outcome.created += 1
    else:
        outcome.updated += 1
    if unit not in outcome.units:
        outcome.units.append(unit)
    return True


def _placed(
    session: Session, entity_code: str, rows: list[dict[str, Any]]
) -> tuple[Outcome, list[tuple[dict[str, Any], str]]]:
    """Each row with its legal unit; rows that name nobody, or two different ones, are refused."""
    outcome, placed = Outcome(), []
    numbers = sorted({row["account_number"] for row in rows if row["account_number"]})
    registrations = sorted({_plain(row["registration_number"]) for row in rows if row["registration_number"]})
    by_number = store.units_by_number(session, entity_code, numbers)
    by_registration = store.units_by_registration(session, registrations)
    for row in rows:
        named = by_number.get(row["account_number"] or "")
        registered = by_registration.get(_plain(row["registration_number"] or ""))
        unit = named or registered
        if unit is None:
            outcome.refuse(row["line"], "account_number" if row["account_number"] else "registration_number", "UNKNOWN")
        elif named and registered and named != registered:
            outcome.refuse(row["line"], "registration_number", "CONTRADICTS")
        else:
            placed.append((row, unit))
    return outcome, placed


def _plain(number: str) -> str:
    return number.upper().replace(" ", "")
