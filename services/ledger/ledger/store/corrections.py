"""Writes changes of known items that no file of items brings, from temporary tables in the shape that loads use: merged
(what each item becomes) and later_change (the entries of its history)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import bulk, context
from ledger.store import load
from ledger.store.undo import IMAGED

_OLD = (
    "item_id", "open_minor", "initial_minor", "issue_on", "settled_on", "account_name", "change_count", "version",
    "issued_minor", "issued_on",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A new entry of an item's history."""

    item_id: str
    cause: str
    delta_minor: int
    value_on: date


def prepare(session: Session, entries: Sequence[Entry]) -> None:
    """Makes merged and later_change of entries, in their order, and touched of their accounts, which are locked from then
    on; an item on which nothing is left is settled on the day of its last entry."""
    for table in ("merged", "later_change", "entry"):
        session.execute(text(f"DROP TABLE IF EXISTS pg_temp.{table}"))
    rows = pa.table(
        {
            "place": pa.array(range(len(entries)), pa.int32()),
            "item_id": pa.array([entry.item_id for entry in entries], pa.string()),
            "cause": pa.array([entry.cause for entry in entries], pa.string()),
            "delta_minor": pa.array([entry.delta_minor for entry in entries], pa.int64()),
            "value_on": pa.array([entry.value_on for entry in entries], pa.date32()),
        }
    )
    bulk.stage(session, "entry", rows)
    same = ", ".join(f"i.{name}" for name in IMAGED if name not in ("open_minor", "settled_on"))
    old = ", ".join(f"i.{name} AS old_{name}" for name in _OLD)
    session.execute(
        text(f"""
CREATE TEMP TABLE merged ON COMMIT DROP AS
SELECT 0 AS line, i.account_id, i.item_id, {same}, i.external_id, i.currency, CAST(NULL AS text) AS payment_terms,
    i.open_minor + e.delta_minor AS open_minor, CASE WHEN i.open_minor + e.delta_minor = 0
        THEN greatest(i.issue_on, i.issued_on, e.last_on, (SELECT max(c.value_on) FROM item_changes AS c
            WHERE c.item_id = i.item_id)) END AS settled_on, {old},
    CASE WHEN i.open_minor <> 0 AND i.open_minor + e.delta_minor = 0 THEN 'cleared' ELSE 'updated' END AS effect
FROM (SELECT CAST(item_id AS uuid) AS item_id, CAST(sum(delta_minor) AS bigint) AS delta_minor, max(value_on) AS last_on
    FROM entry GROUP BY 1) AS e
JOIN items AS i ON i.item_id = e.item_id
""")
    )
    session.execute(
        text("""
CREATE TEMP TABLE later_change ON COMMIT DROP AS
SELECT m.item_id, CAST(m.old_change_count + row_number() OVER (PARTITION BY m.item_id ORDER BY e.place) AS integer)
    AS sequence, m.account_id, e.cause, e.delta_minor, e.value_on
FROM entry AS e JOIN merged AS m ON m.item_id = CAST(e.item_id AS uuid)
""")
    )
    session.execute(text("ANALYZE merged, later_change"))
    load.touch(session, "SELECT DISTINCT account_id, CAST(NULL AS text) AS payment_terms FROM merged")


def write(session: Session, load_id: str | None) -> None:
    """Writes merged and later_change into items, their histories and the spellings of names.

    Args: load_id, the load whose entries these are, if any. The accounts must be in touched, and so locked.
    """
    params: dict[str, Any] = {"tenant": context.current_tenant(), "load": load_id}
    session.execute(text(load._UPDATE_ITEMS), params)
    session.execute(text(load._INSERT_CHANGES.format(rows="SELECT * FROM later_change")), params)
    session.execute(text(load._NAMES), params)
