"""Balances and items on both time axes: as of a value date, as the ledger knew them at an instant.

Computed from the rows each time. Checkpoints of past months would have to be kept in line with every entry that comes
late for a past day, which is what most entries of a collections ledger are; the sum over one account reads its own rows
only, and that over an entity reads each row once.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

_OPEN = """
SELECT i.item_id, i.account_id, i.number, i.kind, i.currency, i.issue_on, i.due_on,
    CAST((CASE WHEN i.issued_on <= :as_of THEN i.issued_minor ELSE 0 END) + coalesce(c.delta_minor, 0) AS bigint)
        AS open_minor
FROM items AS i
LEFT JOIN {changes} ON {joined}
WHERE {condition} AND (CAST(:known_at AS timestamptz) IS NULL OR i.recorded_at <= :known_at)
"""
_CHANGES = """SELECT {key} sum(delta_minor) AS delta_minor FROM item_changes AS d
    WHERE d.value_on <= :as_of AND (CAST(:known_at AS timestamptz) IS NULL OR d.recorded_at <= :known_at)"""
# An account has few items: one look per item. An entity has many: each of its changes once.
_OF_ACCOUNT = _OPEN.format(
    changes=f"LATERAL ({_CHANGES.format(key='')} AND d.item_id = i.item_id) AS c",
    joined="true",
    condition="i.account_id = :account",
)
_OF_ENTITY = _OPEN.format(
    changes=f"({_CHANGES.format(key='d.item_id,')} GROUP BY d.item_id) AS c",
    joined="c.item_id = i.item_id",
    condition="i.entity_id = :entity",
)
_SUMS = """SELECT currency, CAST(sum(open_minor) AS bigint) AS open_minor,
    CAST(sum(least(open_minor, 0)) AS bigint) AS credits_minor, CAST(count(*) AS integer) AS item_count
FROM ({items}) AS o WHERE open_minor <> 0 GROUP BY currency ORDER BY currency"""


def _params(as_of: date, known_at: datetime | None, **more: Any) -> dict[str, Any]:
    return {"as_of": as_of, "known_at": known_at, **more}


def account_balances(session: Session, account_id: str, as_of: date, known_at: datetime | None) -> Sequence[Row]:
    """Per currency: open_minor, credits_minor (at most 0), item_count. known_at None: with all that was learnt since."""
    params = _params(as_of, known_at, account=account_id)
    return session.execute(text(_SUMS.format(items=_OF_ACCOUNT)), params).all()


def account_items(
    session: Session, account_id: str, as_of: date, known_at: datetime | None, limit: int
) -> Sequence[Row]:
    """Items of an account that were open (item_id, number, kind, currency, issue_on, due_on, open_minor), oldest due
    date first."""
    query = f"SELECT * FROM ({_OF_ACCOUNT}) AS o WHERE open_minor <> 0 ORDER BY due_on, number, item_id LIMIT :most"
    return session.execute(text(query), _params(as_of, known_at, account=account_id, most=limit)).all()


def entity_balances(
    session: Session, entity_id: str, as_of: date, known_at: datetime | None
) -> tuple[Sequence[Row], int]:
    """As account_balances, over all accounts of an entity, and how many accounts have anything open."""
    params = _params(as_of, known_at, entity=entity_id)
    query = f"""
WITH o AS MATERIALIZED (SELECT * FROM ({_OF_ENTITY}) AS every_item WHERE open_minor <> 0)
SELECT s.*, (SELECT CAST(count(DISTINCT account_id) AS integer) FROM o) AS accounts
FROM ({_SUMS.format(items="SELECT * FROM o")}) AS s
"""
    rows = session.execute(text(query), params).all()
    return rows, rows[0].accounts if rows else 0
