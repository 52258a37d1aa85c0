"""The short way of a load, for whole accounts at a time: those that nobody knew are written as they come, and those
that come as they came the last time are only recognised. Everything else is merged (see load).

An account's load_digest says which rows changed nothing when it had version load_version. Whoever changes an account's
items gives it a new version, because the readers must hear of it; so the digest needs nobody to void it.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import bulk, context, pgcopy
from ledger.domain.rows import ItemRows, NewAccounts

_TEMPORARY = (
    "chunk_account",
    "chunk_key",
    "chunk_rest",
    "fresh_account",
    "fresh_name",
    "fresh_balance",
    "fresh_item",
    "fresh_change",
)


def _run(session: Session, statement: str, **params: Any) -> Any:
    return session.execute(text(statement), {"tenant": context.current_tenant(), **params})


def clean(session: Session) -> None:
    """Drops what an earlier chunk of the same transaction left."""
    session.execute(text(f"DROP TABLE IF EXISTS {', '.join(f'pg_temp.{name}' for name in _TEMPORARY)}"))


def known_accounts(session: Session, entity_id: str, rows: ItemRows) -> np.ndarray:
    """The accounts of a chunk that exist: place in the chunk, account_id (V16), is_same (their rows change nothing),
    covers (and nothing else is open on them). Makes chunk_account."""
    count = len(rows.numbers)
    accounts = pa.table(
        {
            "place": pa.array(np.arange(count, dtype="i4")),
            "number": rows.numbers,
            "digest": rows.digests,
            "open_rows": pa.array(rows.open_rows),
            "is_clean": pa.array(rows.is_clean),
        }
    )
    bulk.stage(session, "chunk_account", accounts, "number")
    return bulk.copy_out_records(
        session,
        "SELECT c.place, a.account_id, a.load_version IS NOT DISTINCT FROM a.version AND a.load_digest = c.digest"
        " AND c.is_clean IS TRUE AND a.load_digest IS NOT NULL AS is_same, a.load_covers AS covers"
        " FROM chunk_account AS c JOIN accounts AS a ON a.entity_id = :entity AND a.number = c.number",
        {"tenant": context.current_tenant(), "entity": entity_id},
        [("place", ">i4"), ("account_id", "V16"), ("is_same", "u1"), ("covers", "u1")],
    )


def known_external_ids(session: Session, entity_id: str, source_system: str, ids: pa.Array) -> pa.Array:
    """Those of the external ids that an item of the entity already has."""
    params = {"tenant": context.current_tenant(), "entity": entity_id, "source_system": source_system}
    of_source = "i.entity_id = :entity AND i.source_system = :source_system AND i.external_id"
    if not _run(
        session, f"SELECT EXISTS (SELECT 1 FROM items AS i WHERE {of_source} IS NOT NULL)", **params
    ).scalar_one():
        return ids.slice(0, 0)
    bulk.stage(session, "chunk_key", pa.table({"external_id": ids}))
    found = bulk.copy_out_arrow(
        session,
        "SELECT k.external_id FROM chunk_key AS k"
        f" WHERE EXISTS (SELECT 1 FROM items AS i WHERE {of_source} = k.external_id)",
        params,
    )
    return found["external_id"].combine_chunks()


def are_objects(session: Session, fields: pa.Array) -> bool:
    """Whether all these texts are JSON objects that PostgreSQL can keep."""
    bulk.stage(session, "chunk_key", pa.table({"fields": fields}), None)
    return not session.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM chunk_key WHERE NOT"
            " (fields IS JSON OBJECT AND position('\\u0000' IN fields) = 0))"
        )
    ).scalar_one()


_ITEM_COLUMNS = (
    "item_id", "account_id", "number", "line_number", "kind", "currency", "issue_on", "due_on", "posted_on",
    "settled_on", "initial_minor", "open_minor", "fiscal_year", "external_id", "order_number", "reference", "text",
    "account_name", "change_count",
)  # fmt: skip


def write(session: Session, new: NewAccounts, *, entity_id: str, load_id: str, source_system: str) -> None:
    """Writes accounts that are new, with their legal units, names, balances, items and first changes."""
    params = {"entity": entity_id, "load": load_id, "source_system": source_system}
    bulk.stage(session, "fresh_account", new.accounts, None)
    bulk.stage(session, "fresh_name", new.names, None)
    _run(
        session,
        "INSERT INTO legal_units (tenant_id, legal_unit_id) SELECT :tenant, legal_unit_id FROM fresh_account",
    )
    _run(
        session,
        """
INSERT INTO accounts (tenant_id, account_id, entity_id, number, name, aliases, payment_terms, legal_unit_id,
    oldest_due_on, version, load_digest, load_version, load_covers)
SELECT :tenant, f.account_id, :entity, f.number, f.name, coalesce(n.aliases, '{}'), f.payment_terms, f.legal_unit_id,
    f.oldest_due_on, 1, f.load_digest, 1, true
FROM fresh_account AS f LEFT JOIN (SELECT account_id, array_agg(name ORDER BY rank) AS aliases FROM fresh_name
    WHERE rank > 1 GROUP BY account_id) AS n ON n.account_id = f.account_id
""",
        **params,
    )
    _run(
        session,
        "INSERT INTO account_names (tenant_id, account_id, name, item_count, first_seen_at)"
        " SELECT :tenant, account_id, name, item_count, now() FROM fresh_name",
    )
    bulk.stage(session, "fresh_balance", new.balances, None)
    _run(
        session,
        "INSERT INTO account_balances (tenant_id, account_id, currency, open_minor, credits_minor, item_count)"
        " SELECT :tenant, account_id, currency, open_minor, credits_minor, item_count FROM fresh_balance",
    )
    # What is the same in all rows (kind, currency, fields that a file does not have) is said once.
    names = (*_ITEM_COLUMNS, "custom_fields")
    same = {name: value for name in names if (value := _constant(new.items[name])) is not None}
    of = {name: f"CAST(:{name} AS {pgcopy.postgres_type(same[name].type)})" if name in same else name for name in names}
    bulk.stage(session, "fresh_item", new.items.drop_columns(list(same)), None)
    _run(
        session,
        f"""
INSERT INTO items (tenant_id, entity_id, {", ".join(_ITEM_COLUMNS)}, custom_fields, issued_minor, issued_on,
    source_system, version, first_load_id)
SELECT :tenant, :entity, {", ".join(of[name] for name in _ITEM_COLUMNS)},
    coalesce(CAST({of["custom_fields"]} AS jsonb), '{{}}'), {of["initial_minor"]}, {of["issue_on"]},
    CASE WHEN {of["external_id"]} IS NULL THEN '' ELSE :source_system END, 1, :load
FROM fresh_item
""",
        **{name: value.as_py() for name, value in same.items()},
        **params,
    )
    if new.changes.num_rows:
        bulk.stage(session, "fresh_change", new.changes, None)
        _run(
            session,
            "INSERT INTO item_changes (tenant_id, item_id, sequence, account_id, cause, delta_minor, value_on,"
            " import_id) SELECT :tenant, item_id, 2, account_id, cause, delta_minor, value_on, :load FROM fresh_change",
            **params,
        )


def remember(session: Session, entity_id: str, rows: ItemRows, is_wanted: np.ndarray) -> None:
    """Notes that the rows of the accounts at these places change nothing from now on; not of accounts with a row that
    was refused."""
    wanted = pa.array(is_wanted & rows.is_clean)
    accounts = pa.table({"number": rows.numbers, "digest": rows.digests, "open_rows": pa.array(rows.open_rows)})
    bulk.stage(session, "chunk_rest", accounts.filter(wanted))
    _run(
        session,
        """
UPDATE accounts AS a SET load_digest = c.digest, load_version = a.version, load_covers = c.open_rows = coalesce(
    (SELECT sum(b.item_count) FROM account_balances AS b WHERE b.account_id = a.account_id), 0)
FROM chunk_rest AS c
WHERE a.entity_id = :entity AND a.number = c.number AND a.number = ANY(ARRAY(SELECT r.number FROM chunk_rest AS r))
    AND a.merged_into_id IS NULL
    AND a.account_id <> ALL(ARRAY(
        SELECT DISTINCT m.account_id FROM merged AS m WHERE m.effect = 'rejected' AND m.account_id IS NOT NULL))
""",
        entity=entity_id,
    )


def _constant(column: pa.ChunkedArray) -> pa.Scalar | None:
    """The value that all rows have, or None where there is more than one; ids are never one."""
    if column.type == pgcopy.UUID or not len(column):
        return None
    first = column[0]
    if column.null_count:
        return first if column.null_count == len(column) else None
    return first if pc.all(pc.equal(column, first)).as_py() else None
