"""Taking a load back: what it changed is kept as it was before, until the next load of the entity ends.

Items are kept in item_images, everything else in load_images; only what changes is kept, set by set.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import context

# What a load may change of a known item; columns of items and of item_images.
IMAGED = (
    "number", "line_number", "kind", "issue_on", "due_on", "posted_on", "settled_on", "initial_minor", "open_minor",
    "fiscal_year", "order_number", "reference", "text", "account_name", "custom_fields",
)  # fmt: skip
# An item that was taken back must not be found by its key any more: what comes next is as if it had never been.
GONE = "quittance:rolled-back"
_MASTER = ("country", "language", "payment_terms", "parent_number", "collector", "groups", "custom_fields")
_CONTACT = ("name", "email", "phone", "role", "language")


def _run(session: Session, statement: str, **params: Any) -> Any:
    return session.execute(text(statement), {"tenant": context.current_tenant(), **params})


# ---- keeping ---------------------------------------------------------------------------------------------------------


def keep_items(session: Session, load_id: str, *, has_changed: bool) -> None:
    """Keeps the items that merged will change, and names and payment terms of the accounts in touched, as they are."""
    if has_changed:
        columns = ", ".join(IMAGED)
        _run(
            session,
            f"INSERT INTO item_images (tenant_id, load_id, item_id, {columns})"
            f" SELECT :tenant, :load, i.item_id, {', '.join(f'i.{name}' for name in IMAGED)}"
            " FROM merged AS m JOIN items AS i ON i.item_id = m.old_item_id"
            " WHERE m.effect IN ('updated', 'cleared') AND i.first_load_id IS DISTINCT FROM CAST(:load AS uuid)"
            " ON CONFLICT DO NOTHING",
            load=load_id,
        )
    _keep_accounts(session, load_id, "touched")


def _keep_accounts(session: Session, load_id: str, source: str) -> None:
    # Accounts that this transaction has just made have no version yet.
    _run(
        session,
        f"""
INSERT INTO load_images (tenant_id, load_id, kind, object_id, image)
SELECT :tenant, :load, 'ACCOUNT', a.account_id, jsonb_build_object('payment_terms', a.payment_terms, 'names', coalesce(
    (SELECT jsonb_object_agg(n.name, n.first_seen_at) FROM account_names AS n WHERE n.account_id = a.account_id), '{{}}'))
FROM (SELECT DISTINCT account_id FROM {source}) AS t JOIN accounts AS a ON a.account_id = t.account_id
WHERE a.version > 0
ON CONFLICT DO NOTHING
""",
        load=load_id,
    )


def keep_accounts(session: Session, load_id: str) -> None:
    """Keeps the accounts that merged (master.merge_accounts) will change, with their legal units, as they are."""
    source = "(SELECT old_account_id AS account_id FROM merged WHERE effect = 'updated') AS changed"
    _keep_accounts(session, load_id, source)
    columns = ", ".join(f"'{name}', a.{name}" for name in _MASTER)
    _run(
        session,
        f"""
INSERT INTO load_images (tenant_id, load_id, kind, object_id, image)
SELECT :tenant, :load, 'MASTER', a.account_id, jsonb_build_object({columns}, 'legal_unit_id', u.legal_unit_id,
    'registration_number', u.registration_number, 'unit_country', u.country, 'unit_name', u.name)
FROM {source} JOIN accounts AS a ON a.account_id = changed.account_id
JOIN legal_units AS u ON u.legal_unit_id = a.legal_unit_id
ON CONFLICT DO NOTHING
""",
        load=load_id,
    )


def keep_contacts(session: Session, load_id: str) -> None:
    """Keeps the contacts that merged (master.merge_contacts) will change, as they are; see also keep_new_contacts."""
    columns = ", ".join(f"'{name}', c.{name}" for name in _CONTACT)
    _run(
        session,
        f"INSERT INTO load_images (tenant_id, load_id, kind, object_id, image) SELECT :tenant, :load, 'CONTACT',"
        f" c.contact_id, jsonb_build_object({columns}) FROM merged AS m JOIN contacts AS c"
        " ON c.contact_id = m.old_contact_id WHERE m.effect = 'updated' ON CONFLICT DO NOTHING",
        load=load_id,
    )


def keep_new_contacts(session: Session, load_id: str) -> None:
    """Notes the contacts that merged has made in this transaction."""
    _run(
        session,
        "INSERT INTO load_images (tenant_id, load_id, kind, object_id) SELECT :tenant, :load, 'CONTACT', c.contact_id"
        " FROM merged AS m JOIN contacts AS c ON c.account_id = m.account_id AND c.email = m.email AND c.name = m.name"
        " WHERE m.effect = 'created' ON CONFLICT DO NOTHING",
        load=load_id,
    )


def forget(session: Session, entity_id: str, but_load_id: str) -> None:
    """Drops what is kept of the entity's other loads: only the last one can be taken back."""
    for table in ("item_images", "load_images"):
        _run(
            session,
            f"DELETE FROM {table} AS g USING loads AS l"
            " WHERE g.load_id = l.load_id AND l.entity_id = :entity AND l.load_id <> :load",
            entity=entity_id,
            load=but_load_id,
        )


def forget_old(session: Session, age: timedelta) -> None:
    """Drops what is kept of loads that ended longer ago than this."""
    for table in ("item_images", "load_images"):
        _run(
            session,
            f"DELETE FROM {table} AS g USING loads AS l WHERE g.load_id = l.load_id AND l.finished_at < now() - :age",
            age=age,
        )


# ---- taking back -----------------------------------------------------------------------------------------------------


def later_load(session: Session, load_id: str) -> str | None:
    """A load of the same entity that wrote or ended after this one ended, the last one first."""
    return _run(
        session,
        """
SELECT CAST(o.load_id AS text) FROM loads AS l JOIN loads AS o ON o.entity_id = l.entity_id AND o.load_id <> l.load_id
WHERE l.load_id = :load AND (o.finished_at > l.finished_at OR EXISTS (SELECT 1 FROM load_chunks AS c
    WHERE c.load_id = o.load_id AND NOT c.planned AND c.committed_at > l.finished_at))
ORDER BY coalesce(o.finished_at, o.changed_at) DESC LIMIT 1
""",
        load=load_id,
    ).scalar()


def is_too_old(session: Session, load_id: str, age: timedelta) -> bool:
    """Whether what the load changed is not kept any more."""
    return _run(
        session, "SELECT finished_at < now() - :age FROM loads WHERE load_id = :load", load=load_id, age=age
    ).scalar_one()


def is_in_use(session: Session, load_id: str) -> bool:
    """Whether somebody has set an item that the load made or changed against another one since."""
    return _run(
        session,
        """
SELECT EXISTS (SELECT 1 FROM allocations AS a WHERE a.reverses_id IS NULL
    AND a.load_id IS DISTINCT FROM CAST(:load AS uuid)
    AND a.recorded_at > (SELECT coalesce(min(c.committed_at), 'infinity') FROM load_chunks AS c
        WHERE c.load_id = :load AND NOT c.planned)
    AND NOT EXISTS (SELECT 1 FROM allocations AS r WHERE r.reverses_id = a.allocation_id)
    AND EXISTS (SELECT 1 FROM items AS i WHERE i.item_id IN (a.credit_item_id, a.debit_item_id)
        AND (i.first_load_id = CAST(:load AS uuid) OR EXISTS (SELECT 1 FROM item_images AS g
            WHERE g.load_id = :load AND g.item_id = i.item_id))))
""",
        load=load_id,
    ).scalar_one()


def merge_back(session: Session, load_id: str, entity_id: str) -> None:
    """Makes merged and later_change of what taking the load back does to items, and touched of the accounts it opened or
    changed; writes nothing else.

    An entry of the load is taken back on its own value date, so that the past is what it was as of any day.
    """
    for table in ("merged", "later_change", "touched", "back"):
        session.execute(text(f"DROP TABLE IF EXISTS pg_temp.{table}"))
    old = ", ".join(f"i.{name} AS old_{name}" for name in (
        "item_id", "open_minor", "initial_minor", "issue_on", "settled_on", "account_name", "change_count", "version",
        "issued_minor", "issued_on",
    ))  # fmt: skip
    same = [name for name in IMAGED if name not in ("open_minor", "settled_on", "initial_minor", "account_name")]
    _run(
        session,
        """
CREATE TEMP TABLE back ON COMMIT DROP AS
SELECT e.item_id, e.value_on, CAST(-sum(e.delta_minor) AS bigint) AS delta_minor FROM (
    SELECT i.item_id, i.issued_on AS value_on, i.issued_minor AS delta_minor FROM items AS i
    WHERE i.entity_id = :entity AND i.first_load_id = CAST(:load AS uuid)
    UNION ALL
    SELECT c.item_id, c.value_on, c.delta_minor FROM items AS i JOIN item_changes AS c ON c.item_id = i.item_id
    WHERE i.entity_id = :entity AND i.first_load_id = CAST(:load AS uuid)
    UNION ALL
    SELECT c.item_id, c.value_on, c.delta_minor FROM item_images AS g JOIN item_changes AS c ON c.item_id = g.item_id
    WHERE g.load_id = :load AND c.import_id = CAST(:load AS uuid)) AS e
GROUP BY 1, 2 HAVING sum(e.delta_minor) <> 0
""",
        load=load_id,
        entity=entity_id,
    )
    _run(
        session,
        f"""
CREATE TEMP TABLE merged ON COMMIT DROP AS
SELECT k.*, CASE WHEN k.old_open_minor <> 0 AND k.open_minor = 0 THEN 'cleared' ELSE 'updated' END AS effect
FROM (
    SELECT 0 AS line, true AS is_made, i.account_id, {", ".join(f"i.{name}" for name in same)},
        CAST(0 AS bigint) AS open_minor, i.issue_on AS settled_on, CAST(0 AS bigint) AS initial_minor,
        '' AS account_name, i.external_id, i.currency, CAST(NULL AS text) AS payment_terms, i.item_id, {old}
    FROM items AS i WHERE i.entity_id = :entity AND i.first_load_id = CAST(:load AS uuid)
    UNION ALL
    SELECT 0, false, i.account_id, {", ".join(f"g.{name}" for name in same)}, b.open_minor,
        CASE WHEN b.open_minor = 0 THEN coalesce(g.settled_on, i.settled_on, b.last_on) END, g.initial_minor,
        g.account_name, i.external_id, i.currency, NULL, i.item_id, {old}
    FROM item_images AS g JOIN items AS i ON i.item_id = g.item_id
    CROSS JOIN LATERAL (SELECT i.open_minor + coalesce(CAST(sum(delta_minor) AS bigint), 0) AS open_minor,
        max(value_on) AS last_on FROM back WHERE back.item_id = i.item_id) AS b
    WHERE g.load_id = :load) AS k
""",
        load=load_id,
        entity=entity_id,
    )
    _run(
        session,
        """
CREATE TEMP TABLE later_change ON COMMIT DROP AS
SELECT b.item_id, CAST(m.old_change_count + row_number() OVER (PARTITION BY b.item_id ORDER BY b.value_on) AS integer)
    AS sequence, m.account_id, 'ROLL_BACK' AS cause, b.delta_minor, b.value_on
FROM back AS b JOIN merged AS m ON m.item_id = b.item_id
""",
    )
    session.execute(text("ANALYZE merged, later_change"))


def counts(session: Session) -> dict[str, int]:
    """What merge_back found: items closed again, items restored, items whose holds will not fit any more."""
    row = _run(
        session,
        """
SELECT count(*) FILTER (WHERE is_made) AS closed, count(*) FILTER (WHERE NOT is_made) AS restored,
    (SELECT count(*) FROM merged AS m WHERE (SELECT sum(h.amount_minor) FROM holds AS h
        WHERE h.item_id = m.item_id AND h.state = 'ACTIVE') > greatest(m.open_minor, 0)) AS holds_changed
FROM merged
""",
    ).one()
    return {"closed": row.closed, "restored": row.restored, "holds_changed": row.holds_changed}


def touched_accounts() -> str:
    """The query (for load.touch) of the accounts that taking the load back changes; :load is inlined by the caller."""
    return (
        "SELECT DISTINCT account_id, CAST(NULL AS text) AS payment_terms FROM ("
        "SELECT account_id FROM merged UNION ALL SELECT object_id FROM load_images WHERE load_id = '{load}'"
        " AND kind IN ('ACCOUNT', 'MASTER') UNION ALL SELECT c.account_id FROM load_images AS g JOIN contacts AS c"
        " ON c.contact_id = g.object_id WHERE g.load_id = '{load}' AND g.kind = 'CONTACT') AS changed"
    )


def forget_keys(session: Session, load_id: str) -> None:
    """Takes the items that the load made out of reach of later files."""
    _run(
        session,
        "UPDATE items SET source_system = :gone, external_id = CAST(item_id AS text)"
        " WHERE item_id IN (SELECT item_id FROM merged WHERE is_made)",
        gone=GONE,
    )


def restore_accounts(session: Session, load_id: str) -> None:
    """Gives the accounts in touched the names (see load.refresh_accounts), payment terms, master data and contacts that
    they had before the load."""
    _run(
        session,
        "UPDATE accounts AS a SET payment_terms = coalesce((SELECT g.image ->> 'payment_terms' FROM load_images AS g"
        " WHERE g.load_id = :load AND g.kind = 'ACCOUNT' AND g.object_id = a.account_id), '')"
        " FROM touched AS t WHERE a.account_id = t.account_id AND (EXISTS (SELECT 1 FROM load_images AS g"
        " WHERE g.load_id = :load AND g.kind = 'ACCOUNT' AND g.object_id = a.account_id)"
        " OR EXISTS (SELECT 1 FROM merged AS m WHERE m.account_id = a.account_id AND m.is_made))",
        load=load_id,
    )
    _run(
        session,
        "DELETE FROM account_names AS n USING touched AS t WHERE n.account_id = t.account_id AND n.item_count = 0"
        " AND NOT EXISTS (SELECT 1 FROM load_images AS g WHERE g.load_id = :load AND g.kind = 'ACCOUNT'"
        " AND g.object_id = n.account_id AND g.image -> 'names' ? n.name)",
        load=load_id,
    )
    _run(
        session,
        "INSERT INTO account_names AS n (tenant_id, account_id, name, item_count, first_seen_at)"
        " SELECT :tenant, g.object_id, s.key, 0, CAST(s.value AS timestamptz) FROM load_images AS g"
        " CROSS JOIN LATERAL jsonb_each_text(g.image -> 'names') AS s WHERE g.load_id = :load AND g.kind = 'ACCOUNT'"
        " ON CONFLICT (tenant_id, account_id, name) DO UPDATE SET first_seen_at = excluded.first_seen_at"
        " WHERE n.first_seen_at <> excluded.first_seen_at",
        load=load_id,
    )
    _restore_masters(session, load_id)
    _run(
        session,
        f"UPDATE contacts AS c SET {', '.join(f'{name} = g.image ->> {name!r}' for name in _CONTACT)}"
        " FROM load_images AS g WHERE g.load_id = :load AND g.kind = 'CONTACT' AND g.image IS NOT NULL"
        " AND c.contact_id = g.object_id",
        load=load_id,
    )
    _run(
        session,
        "DELETE FROM contacts AS c USING load_images AS g WHERE g.load_id = :load AND g.kind = 'CONTACT'"
        " AND g.image IS NULL AND c.contact_id = g.object_id",
        load=load_id,
    )


def _restore_masters(session: Session, load_id: str) -> None:
    images = "load_images AS g WHERE g.load_id = :load AND g.kind = 'MASTER'"
    # First whoever carries a registration that was not his, then the others: a registration has one unit.
    _run(
        session,
        "CREATE TEMP TABLE unit_back ON COMMIT DROP AS SELECT DISTINCT ON (1)"
        " CAST(g.image ->> 'legal_unit_id' AS uuid) AS legal_unit_id, g.image ->> 'registration_number' AS number,"
        f" g.image ->> 'unit_country' AS country, g.image ->> 'unit_name' AS name FROM {images} ORDER BY 1",
        load=load_id,
    )
    _run(
        session,
        "UPDATE legal_units AS u SET registration_number = '', country = '' FROM unit_back AS b"
        " WHERE u.legal_unit_id = b.legal_unit_id AND u.registration_number <> b.number",
    )
    _run(
        session,
        "INSERT INTO legal_units AS u (tenant_id, legal_unit_id, registration_number, country, name)"
        " SELECT :tenant, legal_unit_id, number, country, name FROM unit_back ON CONFLICT (tenant_id, legal_unit_id)"
        " DO UPDATE SET registration_number = excluded.registration_number, country = excluded.country,"
        " name = excluded.name",
    )
    texts = ", ".join(f"{name} = g.image ->> '{name}'" for name in _MASTER if name not in ("groups", "custom_fields"))
    _run(
        session,
        "CREATE TEMP TABLE unit_left ON COMMIT DROP AS SELECT a.legal_unit_id FROM load_images AS g"
        " JOIN accounts AS a ON a.account_id = g.object_id WHERE g.load_id = :load AND g.kind = 'MASTER'",
        load=load_id,
    )
    _run(
        session,
        f"UPDATE accounts AS a SET {texts}, custom_fields = g.image -> 'custom_fields',"
        " groups = ARRAY(SELECT jsonb_array_elements_text(g.image -> 'groups')),"
        " legal_unit_id = CAST(g.image ->> 'legal_unit_id' AS uuid)"
        f" FROM {images} AND a.account_id = g.object_id",
        load=load_id,
    )
    _run(
        session,
        "DELETE FROM legal_units AS u USING unit_left AS l WHERE u.legal_unit_id = l.legal_unit_id"
        " AND NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.legal_unit_id = u.legal_unit_id)",
    )
    session.execute(text("DROP TABLE unit_back, unit_left"))


def keep_answer(session: Session, load_id: str, answer: Mapping[str, Any]) -> None:
    """Notes that the load was taken back and what that did; what was kept for it has done its work."""
    _run(
        session,
        "UPDATE loads SET rolled_back_at = clock_timestamp(), changed_at = clock_timestamp(),"
        " rolled_back = CAST(:answer AS jsonb) WHERE load_id = :load",
        load=load_id,
        answer=json.dumps(answer),
    )
    for table in ("item_images", "load_images"):
        _run(session, f"DELETE FROM {table} WHERE load_id = :load", load=load_id)
