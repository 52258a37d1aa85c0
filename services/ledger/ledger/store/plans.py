"""What a load does to the books, told from merged: effects of single rows, and an entity's books before and after.

Books are {currency: (open items, open minor units)}; a move is the difference of two such books.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import context
from ledger.store.load import _COMPARED
from ledger.store.tables import LoadRow

EFFECTS_MAX = 200
Books = Mapping[str, Sequence[int]]

_IS_REOPENED = "m.effect = 'updated' AND m.old_open_minor = 0 AND m.open_minor <> 0"
# Whoever would change something comes first; what is only new has nothing to compare.
_EFFECTS = f"""
SELECT m.line, CASE WHEN {_IS_REOPENED} THEN 'reopened' ELSE m.effect END AS effect, {{account_number}} AS account_number,
    m.currency, {", ".join(f"m.{column}" for column in _COMPARED)},
    {", ".join(f"i.{column} AS old_{column}" for column in _COMPARED)}
FROM (SELECT * FROM merged AS m WHERE m.effect IN ('created', 'updated', 'cleared')
    ORDER BY m.effect = 'created', m.line, m.account_id, m.number LIMIT :most) AS m
{{accounts}} LEFT JOIN items AS i ON i.item_id = m.old_item_id
ORDER BY m.effect = 'created', m.line, {{account_number}}, m.number
"""


def _run(session: Session, statement: str, **params: Any) -> Any:
    return session.execute(text(statement), {"tenant": context.current_tenant(), **params})


@dataclass(frozen=True)
class Told:
    """What merged says of a chunk: closed items that are open again, and of a plan its effects and moves."""

    reopened: int = 0
    effects: Sequence[Mapping[str, Any]] = ()
    moves: Books = field(default_factory=dict)


NOTHING = Told()


def tell(session: Session, counts: Mapping[str, int], *, plan_only: bool) -> Told:
    """What merged, made of rows that came, says; counts are its rows by effect."""
    again = reopened(session) if counts.get("updated") else 0
    if not plan_only:
        return Told(again)
    return Told(again, effects(session, of_rows=True), moves(session))


def effects(session: Session, *, of_rows: bool, most: int = EFFECTS_MAX) -> list[dict[str, Any]]:
    """What the rows of merged would change: dicts of line, effect, account_number, number, currency and changes (field,
    old, new as text).

    Args: of_rows, whether merged was made of rows that came (else of items that are absent).
    """
    statement = (
        _EFFECTS.format(
            account_number="a.account_number", accounts="JOIN account_of AS a ON a.account_id = m.account_id"
        )
        if of_rows
        else _EFFECTS.format(account_number="a.number", accounts="JOIN accounts AS a ON a.account_id = m.account_id")
    )
    found = []
    for row in _run(session, statement, most=most):
        changes = []
        if row.effect != "created":
            for field in _COMPARED:
                old, new = getattr(row, f"old_{field}"), getattr(row, field)
                if old != new:
                    changes.append({"field": field, "old": _said(old), "new": _said(new)})
        found.append(
            {
                "line": row.line,
                "effect": row.effect,
                "account_number": row.account_number,
                "number": row.number,
                "currency": row.currency,
                "changes": changes,
            }
        )
    return found


def _said(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {part}" for name, part in sorted(value.items()))
    return str(value)


def reopened(session: Session) -> int:
    """How many rows of merged open a closed item again."""
    return _run(session, f"SELECT count(*) FROM merged AS m WHERE {_IS_REOPENED}").scalar_one()


def moves(session: Session) -> dict[str, tuple[int, int]]:
    """What merged would change of the entity's books."""
    rows = _run(
        session,
        "SELECT currency, count(*) FILTER (WHERE open_minor <> 0) - count(*) FILTER (WHERE old_open_minor <> 0) AS items,"
        " sum(open_minor) - coalesce(sum(old_open_minor), 0) AS minor"
        " FROM merged WHERE effect IN ('created', 'updated', 'cleared') GROUP BY currency",
    )
    return {row.currency: (row.items, int(row.minor)) for row in rows}


def planned_moves(session: Session, load_id: str) -> list[Books]:
    """The moves of the planned chunks of a load."""
    rows = _run(session, "SELECT moves FROM load_chunks WHERE load_id = :load AND planned", load=load_id)
    return [row.moves for row in rows]


def books(session: Session, entity_id: str) -> dict[str, tuple[int, int]]:
    """The entity's books as they are, from the summaries of its accounts."""
    rows = _run(
        session,
        "SELECT b.currency, sum(b.item_count) AS items, sum(b.open_minor) AS minor FROM account_balances AS b"
        " JOIN accounts AS a ON a.account_id = b.account_id WHERE a.entity_id = :entity GROUP BY b.currency",
        entity=entity_id,
    )
    return {row.currency: (int(row.items), int(row.minor)) for row in rows}


def moved(before: Books, several: Iterable[Books]) -> dict[str, tuple[int, int]]:
    """Books after moves."""
    items, minor = Counter[str](), Counter[str]()
    for some in (before, *several):
        for currency, (count, amount) in some.items():
            items[currency] += count
            minor[currency] += amount
    return {currency: (items[currency], minor[currency]) for currency in sorted(items)}


def keep_books_before(session: Session, row: LoadRow) -> None:
    """Notes the entity's books when the first rows of a load come."""
    if row.books_before is None:
        row.books_before = {currency: list(book) for currency, book in books(session, row.entity_id).items()}
        session.flush()


def balances(before: Books, after: Books) -> list[dict[str, Any]]:
    """Books side by side, one dict per currency in the order of their codes."""
    nothing = (0, 0)
    return [
        {
            "currency": currency,
            "items_before": before.get(currency, nothing)[0],
            "open_before_minor": before.get(currency, nothing)[1],
            "items_after": after.get(currency, nothing)[0],
            "open_after_minor": after.get(currency, nothing)[1],
        }
        for currency in sorted({*before, *after})
    ]
