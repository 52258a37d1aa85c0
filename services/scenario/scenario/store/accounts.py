"""Accounts with what the ledger said of them, and what people keep on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from kit import bulk, context
from kit.errors import Code, Refused


@dataclass(frozen=True)
class AccountRow:
    """What is known of one account, and the last decision about it."""

    account_id: str
    version: int
    entity_code: str
    entity_currency: str
    entity_country: str
    number: str
    name: str
    collector: str
    scenario_id: str | None
    paused_until: date | None
    pause_reason: str
    resumed_on: date | None
    decided_on: date | None
    master_account_id: str | None = None


def apply_accounts(session: Session, accounts: pa.Table, items: pa.Table, holds: pa.Table) -> list[str]:
    """Keeps accounts that are not older than what is known, and replaces their open items and holds.

    Returns the ids touched, ascending; their rows are locked until the transaction ends, always in that order. Parts of
    one account version add to one another, in whatever order they come.
    """
    bulk.stage(session, "said_account", accounts)
    bulk.stage(session, "said_item", items)
    bulk.stage(session, "said_hold", holds)
    session.execute(
        text(
            "SELECT 1 FROM account WHERE account_id IN (SELECT account_id::uuid FROM said_account)"
            " ORDER BY account_id FOR UPDATE"
        )
    )
    session.execute(
        text(
            "INSERT INTO account (tenant_id, account_id, version, entity_code, entity_currency, entity_country, number,"
            " name, collector, master_account_id)"
            " SELECT CAST(:tenant AS uuid), account_id::uuid, version, entity_code, entity_currency, entity_country,"
            " number, name, collector, nullif(master_account_id, '')::uuid FROM said_account ORDER BY account_id::uuid"
            " ON CONFLICT (tenant_id, account_id) DO UPDATE SET version = excluded.version,"
            " entity_code = excluded.entity_code, entity_currency = excluded.entity_currency,"
            " entity_country = excluded.entity_country, number = excluded.number, name = excluded.name,"
            " collector = excluded.collector, master_account_id = excluded.master_account_id"
            " WHERE account.version < excluded.version"
        ),
        {"tenant": context.current_tenant()},
    )
    session.execute(
        text(
            "CREATE TEMP TABLE said_current ON COMMIT DROP AS"
            " SELECT a.account_id, a.version FROM said_account s"
            " JOIN account a ON a.account_id = s.account_id::uuid AND a.version = s.version"
        )
    )
    session.execute(text(_RELATIVES), {"tenant": context.current_tenant()})
    for table in ("open_item", "hold"):
        session.execute(
            text(
                f"DELETE FROM {table} t USING said_current c"
                " WHERE t.account_id = c.account_id AND t.account_version < c.version"
            )
        )
    session.execute(
        text(
            "INSERT INTO open_item (tenant_id, account_id, item_id, account_version, number, kind, currency, issue_on,"
            " due_on, open_minor)"
            " SELECT CAST(:tenant AS uuid), c.account_id, i.item_id::uuid, c.version, i.number, i.kind, i.currency,"
            " i.issue_on, i.due_on, i.open_minor"
            " FROM said_item i JOIN said_current c ON c.account_id = i.account_id::uuid"
            " ON CONFLICT (tenant_id, account_id, item_id) DO NOTHING"
        ),
        {"tenant": context.current_tenant()},
    )
    session.execute(
        text(
            "INSERT INTO hold (tenant_id, account_id, hold_id, item_id, account_version, kind, amount_minor, from_on,"
            " until_on, source, source_id)"
            " SELECT CAST(:tenant AS uuid), c.account_id, h.hold_id::uuid, h.item_id::uuid, c.version, h.kind,"
            " h.amount_minor, h.from_on, h.until_on, h.source, h.source_id"
            " FROM said_hold h JOIN said_current c ON c.account_id = h.account_id::uuid"
            " ON CONFLICT (tenant_id, account_id, hold_id) DO NOTHING"
        ),
        {"tenant": context.current_tenant()},
    )
    touched = session.scalars(text("SELECT account_id FROM said_current ORDER BY account_id"))
    ids = [str(account_id) for account_id in touched]
    for table in ("said_account", "said_item", "said_hold", "said_current"):
        session.execute(text(f"DROP TABLE {table}"))
    return ids


_RELATIVES = """
INSERT INTO account_relative (tenant_id, account_id, relative_id)
SELECT CAST(:tenant AS uuid), pair.a, pair.b FROM said_account s
CROSS JOIN LATERAL unnest(ARRAY[s.master_account_id, s.merged_into_id]) AS other(id)
CROSS JOIN LATERAL (VALUES (s.account_id::uuid, other.id::uuid), (other.id::uuid, s.account_id::uuid)) AS pair(a, b)
WHERE other.id <> '' ON CONFLICT DO NOTHING
"""


def masters_of(session: Session, account_ids: Sequence[str]) -> list[str]:
    """Known accounts through which any of these are collected, ascending."""
    rows = session.scalars(
        text(
            "SELECT DISTINCT m.account_id FROM account a JOIN account m ON m.account_id = a.master_account_id"
            " WHERE a.account_id = ANY(CAST(:ids AS uuid[])) ORDER BY m.account_id"
        ),
        {"ids": list(account_ids)},
    )
    return [str(account_id) for account_id in rows]


def keep_entity_rule(
    session: Session, entity_code: str, version: int, ignore_item_below_minor: int, min_account_minor: int | None
) -> bool:
    """Keeps the rules of an entity unless newer ones are known, and asks for new decisions about its accounts where
    they changed; returns whether they did."""
    before = entity_rules(session, [entity_code]).get(entity_code, (0, None))
    kept = session.execute(
        text(
            "INSERT INTO entity_rule (tenant_id, entity_code, version, ignore_item_below_minor, min_account_minor)"
            " VALUES (:tenant, :code, :version, :below, :minimum) ON CONFLICT (tenant_id, entity_code) DO UPDATE"
            " SET version = excluded.version, ignore_item_below_minor = excluded.ignore_item_below_minor,"
            " min_account_minor = excluded.min_account_minor WHERE entity_rule.version < excluded.version RETURNING 1"
        ),
        {
            "tenant": context.current_tenant(), "code": entity_code, "version": version,
            "below": ignore_item_below_minor, "minimum": min_account_minor,
        },
    ).first()  # fmt: skip
    if kept is None or before == (ignore_item_below_minor, min_account_minor):
        return False
    session.execute(text("UPDATE account SET decided_on = NULL WHERE entity_code = :code"), {"code": entity_code})
    return True


def entity_rules(session: Session, entity_codes: Sequence[str]) -> dict[str, tuple[int, int | None]]:
    """(ignore_item_below_minor, min_account_minor or None for the platform's own) by entity code."""
    rows = session.execute(
        text(
            "SELECT entity_code, ignore_item_below_minor, min_account_minor FROM entity_rule"
            " WHERE entity_code = ANY(:codes)"
        ),
        {"codes": list(entity_codes)},
    )
    return {row.entity_code: (row.ignore_item_below_minor, row.min_account_minor) for row in rows}


def lock_accounts(session: Session, account_ids: Sequence[str]) -> None:
    """Locks accounts in ascending order of their ids: decisions about one account happen one after the other."""
    session.execute(
        text("SELECT 1 FROM account WHERE account_id = ANY(CAST(:ids AS uuid[])) ORDER BY account_id FOR UPDATE"),
        {"ids": list(account_ids)},
    )


def stale_accounts(session: Session, today: date, after: str, limit: int) -> list[str]:
    """Ids of accounts whose decision is of another business date, ascending, after an id, locked; those that somebody
    else has locked are being decided anyway and are left to them."""
    rows = session.scalars(
        text(
            "SELECT account_id FROM account WHERE decided_on IS DISTINCT FROM :today"
            " AND account_id > CAST(:after AS uuid) ORDER BY account_id LIMIT :limit FOR UPDATE SKIP LOCKED"
        ),
        {"today": today, "after": after, "limit": limit},
    )
    return [str(account_id) for account_id in rows]


def account(session: Session, account_id: str) -> AccountRow:
    """One account within the caller's entities. Refuses NOT_FOUND ACCOUNT_UNKNOWN."""
    row = session.execute(
        text(f"SELECT {ACCOUNT_COLUMNS} FROM account WHERE account_id = :id"), {"id": account_id}
    ).first()
    if row is None or not context.current_caller().sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "no such account")
    return account_row(row)


def account_if_known(session: Session, account_id: str) -> AccountRow | None:
    """One account, or None."""
    row = session.execute(
        text(f"SELECT {ACCOUNT_COLUMNS} FROM account WHERE account_id = :id"), {"id": account_id}
    ).first()
    return account_row(row) if row is not None else None


ACCOUNT_COLUMNS = (
    "account_id, version, entity_code, entity_currency, entity_country, number, name, collector, scenario_id,"
    " paused_until, pause_reason, resumed_on, decided_on, master_account_id"
)


def account_row(row: Row) -> AccountRow:
    """What the columns of ACCOUNT_COLUMNS say of one account."""
    values = row._asdict()
    values["account_id"] = str(row.account_id)
    for name in ("scenario_id", "master_account_id"):
        values[name] = str(values[name]) if values[name] else None
    return AccountRow(**values)


def set_account(session: Session, account_id: str, **values: Any) -> None:
    """Changes what people keep on an account: scenario_id, paused_until, pause_reason, resumed_on."""
    columns = ", ".join(f"{name} = :{name}" for name in values)
    session.execute(text(f"UPDATE account SET {columns} WHERE account_id = :id"), {**values, "id": account_id})
