"""Loads: rows arrive in a temporary table and are merged set by set; no Python object per row.

The steps of a chunk share temporary tables that end with the transaction: load_row (as it came), account_of (number to
account), merged (one line per row: what is known, what comes, what that does), later_change (history of known items),
touched (accounts something happened to).
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import bulk, context
from ledger.store import undo

REJECTS_MAX = 1000
_NO_ITEMS = "(SELECT CAST(NULL AS uuid) AS item_id WHERE false) AS none"
_TEMPORARY = ("load_row", "account_of", "merged", "later_change", "touched", "held_key", "held_account")

# What a row may change of an item that is known: merged's column to items' column is the same name.
_COMPARED = (
    "number", "line_number", "kind", "issue_on", "due_on", "posted_on", "settled_on", "initial_minor", "open_minor",
    "fiscal_year", "order_number", "reference", "text", "account_name", "custom_fields",
)  # fmt: skip


def _run(session: Session, statement: str, **params: Any) -> Any:
    return session.execute(text(statement), {"tenant": context.current_tenant(), **params})


def lock_entity(session: Session, entity_id: str) -> None:
    """Loads of one entity run one after the other."""
    _run(
        session,
        "SELECT 1 FROM entities WHERE entity_id = :entity FOR NO KEY UPDATE",
        entity=entity_id,
    )


def clean(session: Session) -> None:
    """Drops what an earlier merge of the same transaction left."""
    for name in _TEMPORARY:
        session.execute(text(f"DROP TABLE IF EXISTS pg_temp.{name}"))


def stage_items(session: Session, rows: pa.Table) -> None:
    """Puts checked rows (domain.check_items) into load_row."""
    clean(session)
    stage(session, rows, "account_number, number, external_id")


def stage(session: Session, rows: pa.Table, analyzed: str) -> None:
    """Makes load_row of a table; analyzed names the columns that joins ask about."""
    bulk.stage(session, "load_row", rows, analyzed)


# One look into a unique index per row (LIMIT keeps the planner from reading all items of the tenant instead); none for
# accounts that are new.
_BY_BUSINESS_KEY = """
LEFT JOIN LATERAL (SELECT * FROM items AS i WHERE i.account_id = a.account_id AND i.number = r.number
    AND i.line_number = r.line_number AND i.fiscal_year = r.fiscal_year AND i.kind = r.kind AND i.external_id IS NULL
    AND r.external_id IS NULL AND a.new_legal_unit_id IS NULL LIMIT 1) AS b ON true"""
_BY_EXTERNAL_KEY = """
LEFT JOIN LATERAL (SELECT * FROM items AS i WHERE i.entity_id = :entity AND i.source_system = :source_system
    AND i.external_id = r.external_id LIMIT 1) AS e ON true"""

_KNOWN = (
    "item_id", "account_id", "currency", "open_minor", "initial_minor", "issue_on", "due_on", "posted_on", "settled_on",
    "number", "line_number", "kind", "fiscal_year", "order_number", "reference", "text", "account_name",
    "custom_fields", "change_count", "version", "issued_minor", "issued_on",
)  # fmt: skip
# Of what is known, merged keeps only what the writing of the books asks for.
_KEPT = (
    "item_id", "open_minor", "initial_minor", "issue_on", "settled_on", "account_name", "change_count", "version",
    "issued_minor", "issued_on",
)  # fmt: skip
_MERGED = (
    "line", "account_id", "item_id", "field", "reason", *_COMPARED, "currency", "external_id", "payment_terms",
    "clearing_cause", "came_as_id", *(f"old_{column}" for column in _KEPT),
)  # fmt: skip


# Rows of two numbers may be of one account: the same item under both is as bad as twice under one.
_REFUSE_TWICE = """
UPDATE merged SET effect = 'rejected', field = 'number', reason = 'DUPLICATE_KEY' WHERE line IN (
    SELECT line FROM (SELECT line, count(*) OVER (PARTITION BY account_id, number, line_number, fiscal_year, kind) AS n
        FROM merged WHERE effect <> 'rejected' AND external_id IS NULL) AS keyed WHERE n > 1)
"""


def merge_items(
    session: Session, *, entity_id: str, source_system: str, file_on: date, rows: pa.Table, keeps_unchanged: bool
) -> None:
    """Compares load_row with the books: makes account_of and merged. Writes nothing else.

    Args: rows, what was staged (its null counts decide which keys need to be looked at); keeps_unchanged, whether
    merged shall hold the rows that change nothing too: it need not, unless somebody asks which items were there.
    """
    _run(
        session,
        """
CREATE TEMP TABLE account_of ON COMMIT DROP AS
SELECT n.account_number, coalesce(a.merged_into_id, a.account_id, ledger_new_id()) AS account_id,
    CASE WHEN a.merged_into_id IS NOT NULL THEN a.account_id END AS came_as_id,
    CASE WHEN a.account_id IS NULL THEN ledger_new_id() END AS new_legal_unit_id
FROM (SELECT DISTINCT account_number FROM load_row WHERE account_number IS NOT NULL) AS n
LEFT JOIN accounts AS a ON a.entity_id = :entity AND a.number = n.account_number
""",
        entity=entity_id,
    )
    session.execute(text("ANALYZE account_of"))
    has_known_accounts = session.execute(
        text("SELECT EXISTS (SELECT 1 FROM account_of WHERE new_legal_unit_id IS NULL)")
    ).scalar_one()
    without_external = rows["external_id"].null_count
    joins, sources = [], []
    if without_external and has_known_accounts:
        joins.append(_BY_BUSINESS_KEY)
        sources.append("b")
    if without_external < rows.num_rows:
        joins.append(_BY_EXTERNAL_KEY)
        sources.append("e")
    # Rows without columns beyond the contract's must not pay for looking into JSON.
    if rows["custom_fields"].null_count < rows.num_rows:
        is_good = "(r.custom_fields IS JSON OBJECT AND position('\\u0000' IN r.custom_fields) = 0)"
        custom = f"CASE WHEN {is_good} THEN CAST(r.custom_fields AS jsonb) END"
        is_bad_json = f"(r.custom_fields IS NOT NULL AND NOT {is_good})"
    else:
        custom, is_bad_json = "CAST(NULL AS jsonb)", "false"

    if not sources:
        # Nothing can be known yet: one row of nulls in the shape of items.
        joins.append("\nLEFT JOIN items AS b ON false")
        sources.append("b")
    old = ",\n    ".join(
        f"coalesce({', '.join(f'{source}.{column}' for source in sources)}) AS old_{column}" for column in _KNOWN
    )
    _run(
        session,
        f"""
CREATE TEMP TABLE merged ON COMMIT DROP AS
SELECT * FROM (SELECT {", ".join(f"m.{column}" for column in _MERGED)}, CASE
    WHEN m.reason IS NOT NULL THEN 'rejected'
    WHEN m.old_item_id IS NULL THEN 'created'
    WHEN m.old_open_minor <> 0 AND m.open_minor = 0 THEN 'cleared'
    WHEN ({", ".join(f"m.{c}" for c in _COMPARED)}) IS DISTINCT FROM ({", ".join(f"m.old_{c}" for c in _COMPARED)})
        THEN 'updated'
    ELSE 'unchanged' END AS effect
FROM (SELECT k.line, k.account_id, coalesce(k.old_item_id, ledger_new_id()) AS item_id,
    CASE WHEN k.reason IS NOT NULL THEN k.field
        WHEN k.bad_json THEN 'custom_fields'
        WHEN k.old_account_id <> k.account_id THEN 'account_number'
        WHEN k.old_currency <> k.currency THEN 'currency' END AS field,
    CASE WHEN k.reason IS NOT NULL THEN k.reason
        WHEN k.bad_json THEN 'UNREADABLE'
        WHEN k.old_account_id <> k.account_id OR k.old_currency <> k.currency THEN 'CHANGED_KEY' END AS reason,
    k.number, k.line_number, k.kind, k.currency, k.issue_on, k.due_on,
    coalesce(k.posted_on, k.old_posted_on) AS posted_on,
    CASE WHEN k.settled_on IS NOT NULL OR k.open_minor = 0
        THEN coalesce(k.settled_on, k.old_settled_on, greatest(:file_on, k.issue_on)) END AS settled_on,
    k.initial_minor, CASE WHEN k.settled_on IS NULL THEN k.open_minor ELSE 0 END AS open_minor,
    k.fiscal_year, k.external_id,
    coalesce(k.order_number, k.old_order_number, '') AS order_number,
    coalesce(k.reference, k.old_reference, '') AS reference,
    coalesce(k.text, k.old_text, '') AS text,
    coalesce(nullif(k.account_name, ''), k.old_account_name, '') AS account_name,
    coalesce(k.new_custom_fields, k.old_custom_fields, '{{}}') AS custom_fields,
    k.payment_terms, CAST(NULL AS text) AS clearing_cause, k.came_as_id,
    {", ".join(f"k.old_{column}" for column in _KNOWN)}
    FROM (SELECT r.*, a.account_id, a.came_as_id, {custom} AS new_custom_fields, {is_bad_json} AS bad_json,
    {old}
    FROM load_row AS r LEFT JOIN account_of AS a ON a.account_number = r.account_number
    {"".join(joins)}) AS k
) AS m) AS judged {"" if keeps_unchanged else "WHERE effect <> 'unchanged'"}
""",
        entity=entity_id,
        source_system=source_system,
        file_on=file_on,
    )
    if session.execute(text("SELECT EXISTS (SELECT 1 FROM account_of WHERE came_as_id IS NOT NULL)")).scalar_one():
        session.execute(text(_REFUSE_TWICE))


def absent_items(session: Session, *, load_id: str, entity_id: str, file_on: date, cause: str) -> None:
    """Makes merged of the entity's open items that none of the load's chunks held: each is cleared on file_on."""
    clean(session)
    same = ", ".join(
        f"i.{column}"
        for column in (*_COMPARED, "external_id", "currency")
        if column not in ("settled_on", "open_minor")
    )
    old = ", ".join(f"i.{column} AS old_{column}" for column in _KEPT)
    # A table with statistics: the planner cannot guess how many ids an array has.
    _run(
        session,
        "CREATE TEMP TABLE held_key ON COMMIT DROP AS SELECT unnest(item_ids) AS item_id FROM load_keys"
        " WHERE load_id = :load",
        load=load_id,
    )
    _run(
        session,
        "CREATE TEMP TABLE held_account ON COMMIT DROP AS SELECT unnest(account_ids) AS account_id FROM load_keys"
        " WHERE load_id = :load",
        load=load_id,
    )
    session.execute(text("ANALYZE held_key, held_account"))
    _run(
        session,
        f"""
CREATE TEMP TABLE merged ON COMMIT DROP AS
SELECT 0 AS line, i.account_id, i.item_id, CAST(NULL AS text) AS field, CAST(NULL AS text) AS reason, {same},
    greatest(:file_on, i.issue_on) AS settled_on, CAST(0 AS bigint) AS open_minor, CAST(NULL AS text) AS payment_terms,
    CAST(:cause AS text) AS clearing_cause, {old}, 'cleared' AS effect
FROM items AS i
WHERE i.open_minor <> 0 AND i.account_id = ANY(ARRAY(
        SELECT a.account_id FROM accounts AS a WHERE a.entity_id = :entity
            AND EXISTS (SELECT 1 FROM account_balances AS b WHERE b.account_id = a.account_id)
            AND NOT EXISTS (SELECT 1 FROM held_account AS h WHERE h.account_id = a.account_id)))
    AND NOT EXISTS (SELECT 1 FROM held_key AS held WHERE held.item_id = i.item_id)
""",
        entity=entity_id,
        file_on=file_on,
        cause=cause,
    )


# Absolute amounts from the summaries: what is open, with the credits turned round.
_SHARES_OF_SUMMARIES = """
SELECT s.currency, s.open_items, s.open_minor, coalesce(c.cleared_items, 0) AS cleared_items,
    coalesce(c.cleared_minor, 0) AS cleared_minor
FROM (SELECT b.currency, sum(b.item_count) AS open_items, sum(b.open_minor - 2 * b.credits_minor) AS open_minor
    FROM accounts AS a JOIN account_balances AS b ON b.account_id = a.account_id WHERE a.entity_id = :entity
    GROUP BY b.currency) AS s
LEFT JOIN (SELECT currency, count(*) AS cleared_items, sum(abs(old_open_minor)) AS cleared_minor FROM merged
    GROUP BY currency) AS c ON c.currency = s.currency
"""


def stock_shares(session: Session, *, load_id: str, entity_id: str) -> list[Any]:
    """Per currency: items and absolute minor units that were open before the load, and of these how much is in merged.

    What the load itself brought is left out, so that new items cannot hide how many old ones vanish.
    """
    has_created = _run(
        session,
        "SELECT EXISTS (SELECT 1 FROM load_chunks WHERE load_id = :load AND object = 'ITEMS' AND created > 0)",
        load=load_id,
    ).scalar_one()
    if not has_created:
        return list(_run(session, _SHARES_OF_SUMMARIES, entity=entity_id))
    return list(
        _run(
            session,
            """
SELECT i.currency, count(*) AS open_items, sum(abs(i.open_minor)) AS open_minor, count(m.item_id) AS cleared_items,
    coalesce(sum(abs(i.open_minor)) FILTER (WHERE m.item_id IS NOT NULL), 0) AS cleared_minor
FROM items AS i LEFT JOIN merged AS m ON m.item_id = i.item_id
WHERE i.entity_id = :entity AND i.open_minor <> 0
    AND i.first_load_id IS DISTINCT FROM CAST(:load AS uuid)
GROUP BY i.currency
""",
            load=load_id,
            entity=entity_id,
        )
    )


def counts(session: Session, row_count: int) -> dict[str, int]:
    """Rows by effect, from merged; of row_count rows, those that are not there changed nothing."""
    rows = session.execute(text("SELECT effect, count(*) AS n FROM merged GROUP BY effect"))
    found = {row.effect: row.n for row in rows}
    return {**found, "unchanged": found.get("unchanged", 0) + row_count - sum(found.values())}


def rejects(session: Session) -> list[dict[str, Any]]:
    """The refused rows by line, at most 1,000."""
    rows = session.execute(
        text("SELECT line, field, reason FROM merged WHERE effect = 'rejected' ORDER BY line LIMIT :most"),
        {"most": REJECTS_MAX},
    )
    return [dict(row._mapping) for row in rows]


def keep_keys(
    session: Session, *, load_id: str, planned: bool, chunk_number: int, account_ids: Sequence[str], has_merged: bool
) -> None:
    """Remembers what a chunk held: these accounts, of which nothing is absent, and the items of merged (if it was
    made), refused rows of known items included."""
    _run(
        session,
        f"""
INSERT INTO load_keys (tenant_id, load_id, planned, chunk_number, item_ids, account_ids)
SELECT :tenant, :load, :planned, :chunk, coalesce(array_agg(item_id), '{{}}'), CAST(:accounts AS uuid[])
FROM {"merged WHERE old_item_id IS NOT NULL OR effect = 'created'" if has_merged else _NO_ITEMS}
ON CONFLICT (tenant_id, load_id, planned, chunk_number) DO UPDATE
SET item_ids = excluded.item_ids, account_ids = excluded.account_ids
""",
        load=load_id,
        planned=planned,
        chunk=chunk_number,
        # As one text: a parameter per account would be an object per account.
        accounts="{" + ",".join(account_ids) + "}",
    )


# Everything below writes the books from merged.

_NEW_ACCOUNTS = """
WITH wanted AS MATERIALIZED (
    SELECT a.account_id, a.account_number, a.new_legal_unit_id FROM account_of AS a
    WHERE a.new_legal_unit_id IS NOT NULL
        AND EXISTS (SELECT 1 FROM merged AS m WHERE m.account_id = a.account_id AND m.effect = 'created')),
units AS (INSERT INTO legal_units (tenant_id, legal_unit_id) SELECT :tenant, new_legal_unit_id FROM wanted)
INSERT INTO accounts (tenant_id, account_id, entity_id, number, legal_unit_id)
SELECT :tenant, account_id, :entity, account_number, new_legal_unit_id FROM wanted
"""

_NEW_ITEMS = """
INSERT INTO items (tenant_id, item_id, entity_id, account_id, number, line_number, kind, currency, issue_on, due_on,
    posted_on, settled_on, initial_minor, open_minor, issued_minor, issued_on, fiscal_year, source_system, external_id,
    order_number, reference, text, account_name, custom_fields, change_count, version, first_load_id,
    original_account_id)
SELECT :tenant, item_id, :entity, account_id, number, line_number, kind, currency, issue_on, due_on, posted_on,
    settled_on, initial_minor, open_minor, initial_minor, issue_on, fiscal_year,
    CASE WHEN external_id IS NULL THEN '' ELSE :source_system END, external_id, order_number, reference, text,
    account_name, custom_fields, CASE WHEN open_minor = initial_minor THEN 1 ELSE 2 END, 1, :load, came_as_id
FROM merged WHERE effect = 'created'
"""

# The history of new items: issued in full (in items itself), then whatever is missing of it. The entry's parts are
# also what saying.say_facts builds the same history from.
REST_CAUSE = """CASE WHEN abs(open_minor) < abs(initial_minor) AND sign(open_minor) * sign(initial_minor) >= 0
        THEN 'PAYMENT' ELSE 'IMPORT' END"""
REST_ON = "greatest(issue_on, coalesce(settled_on, :file_on))"
_FIRST_CHANGES = f"""
SELECT item_id, 2 AS sequence, account_id, {REST_CAUSE} AS cause, open_minor - initial_minor AS delta_minor,
    {REST_ON} AS value_on
FROM merged WHERE effect = 'created' AND open_minor <> initial_minor
"""

# The history of known items. A clearing on day V must leave nothing open from V on, whatever was written before:
# entries dated later are taken back on their own day and the rest goes on V.
_LATER_CHANGES = """
CREATE TEMP TABLE later_change ON COMMIT DROP AS
WITH base AS MATERIALIZED (
    -- greatest() passes over nulls: an open item has no such day.
    SELECT m.*, CASE WHEN m.settled_on IS NOT NULL THEN greatest(m.issue_on, m.settled_on) END AS clear_on,
        CASE WHEN m.old_settled_on IS NOT NULL THEN greatest(m.old_issue_on, m.old_settled_on) END AS old_clear_on
    FROM merged AS m
    WHERE m.effect IN ('updated', 'cleared') AND (m.open_minor, m.initial_minor, m.issue_on, m.settled_on)
        IS DISTINCT FROM (m.old_open_minor, m.old_initial_minor, m.old_issue_on, m.old_settled_on)
), moved AS (
    SELECT b.item_id, v.place, 'IMPORT' AS cause, v.delta, v.value_on FROM base AS b
    CROSS JOIN LATERAL (VALUES (1, -b.old_initial_minor, b.old_issue_on), (2, b.old_initial_minor, b.issue_on))
        AS v(place, delta, value_on)
    WHERE b.issue_on <> b.old_issue_on
), reopened AS (
    SELECT b.item_id, 3 AS place, 'REOPENED' AS cause, -c.delta_minor AS delta, c.value_on FROM base AS b
    CROSS JOIN LATERAL (SELECT c.* FROM item_changes AS c WHERE c.item_id = b.item_id AND c.cause <> 'ROLL_BACK'
        -- What was taken back has never been.
        AND NOT EXISTS (SELECT 1 FROM loads AS l WHERE l.load_id = c.import_id AND l.rolled_back_at IS NOT NULL)
        ORDER BY c.sequence DESC LIMIT 1) AS c
    WHERE b.old_open_minor = 0 AND b.open_minor <> 0 AND c.cause = 'ABSENT_FROM_STOCK'
), postponed AS (
    SELECT b.item_id, 3 AS place, 'IMPORT' AS cause, CAST(-sum(c.delta_minor) AS bigint) AS delta, b.old_clear_on
    FROM base AS b JOIN item_changes AS c ON c.item_id = b.item_id
        AND c.value_on = b.old_clear_on
    WHERE b.old_open_minor = 0 AND b.open_minor = 0 AND b.clear_on > b.old_clear_on
    GROUP BY b.item_id, b.old_clear_on
), too_late AS (
    SELECT p.item_id, 4 AS place, 'IMPORT' AS cause, CAST(-sum(p.delta) AS bigint) AS delta, p.value_on FROM (
        SELECT b.item_id, c.delta_minor AS delta, c.value_on FROM base AS b
        JOIN item_changes AS c ON c.item_id = b.item_id
        WHERE b.open_minor = 0 AND c.value_on > b.clear_on
        UNION ALL
        SELECT b.item_id, b.old_issued_minor, b.old_issued_on FROM base AS b
        WHERE b.open_minor = 0 AND b.old_issued_on > b.clear_on
        UNION ALL
        SELECT b.item_id, m.delta, m.value_on FROM moved AS m JOIN base AS b ON b.item_id = m.item_id
        WHERE b.open_minor = 0 AND m.value_on > b.clear_on) AS p
    GROUP BY p.item_id, p.value_on
), corrected AS (
    SELECT b.item_id, 5 AS place, 'IMPORT' AS cause, b.initial_minor - b.old_initial_minor AS delta,
        greatest(b.issue_on, least(:file_on, b.clear_on)) AS value_on FROM base AS b
), known AS (
    SELECT * FROM moved UNION ALL SELECT * FROM reopened UNION ALL SELECT * FROM postponed UNION ALL
    SELECT * FROM too_late UNION ALL SELECT * FROM corrected
), sums AS (
    SELECT b.*, b.old_open_minor + k.delta AS before_minor FROM base AS b
    JOIN (SELECT item_id AS known_item_id, CAST(sum(delta) AS bigint) AS delta FROM known GROUP BY 1) AS k
        ON k.known_item_id = b.item_id
), rest AS (
    SELECT s.item_id, 6 AS place,
        CASE WHEN s.open_minor = 0 THEN coalesce(s.clearing_cause, 'PAYMENT')
            WHEN abs(s.open_minor) < abs(s.before_minor) AND sign(s.open_minor) = sign(s.before_minor) THEN 'PAYMENT'
            ELSE 'IMPORT' END AS cause,
        s.open_minor - s.before_minor AS delta, coalesce(s.clear_on, greatest(s.issue_on, :file_on)) AS value_on
    FROM sums AS s
), entries AS (
    SELECT * FROM known WHERE delta <> 0 UNION ALL SELECT * FROM rest WHERE delta <> 0
)
SELECT e.item_id, CAST(b.old_change_count + row_number() OVER (PARTITION BY e.item_id ORDER BY e.place, e.value_on)
        AS integer) AS sequence,
    b.account_id, e.cause, e.delta AS delta_minor, e.value_on
FROM entries AS e JOIN base AS b ON b.item_id = e.item_id
"""

_INSERT_CHANGES = (
    "INSERT INTO item_changes (tenant_id, item_id, sequence, account_id, cause, delta_minor, value_on, import_id)"
    " SELECT :tenant, item_id, sequence, account_id, cause, delta_minor, value_on, CAST(:load AS uuid)"
    " FROM ({rows}) AS c"
)

_UPDATE_ITEMS = f"""
UPDATE items AS i SET {", ".join(f"{column} = m.{column}" for column in _COMPARED)}, version = i.version + 1,
    change_count = i.change_count + coalesce(c.n, 0)
FROM merged AS m
LEFT JOIN (SELECT item_id AS changed_id, CAST(count(*) AS integer) AS n FROM later_change GROUP BY 1) AS c
    ON c.changed_id = m.item_id
WHERE i.item_id = m.item_id AND m.effect IN ('updated', 'cleared')
    AND i.item_id = ANY(ARRAY(SELECT item_id FROM merged WHERE effect IN ('updated', 'cleared')))
"""

_NAMES = """
INSERT INTO account_names AS n (tenant_id, account_id, name, item_count, first_seen_at)
SELECT :tenant, account_id, account_name, sum(n), now() FROM (
    SELECT account_id, account_name, count(*) AS n FROM merged WHERE effect = 'created' GROUP BY 1, 2
    UNION ALL SELECT account_id, account_name, count(*) FROM merged
        WHERE effect IN ('updated', 'cleared') AND account_name <> old_account_name GROUP BY 1, 2
    UNION ALL SELECT account_id, old_account_name, -count(*) FROM merged
        WHERE effect IN ('updated', 'cleared') AND account_name <> old_account_name GROUP BY 1, 2
) AS spelled WHERE account_name <> '' GROUP BY account_id, account_name HAVING sum(n) <> 0
ON CONFLICT (tenant_id, account_id, name) DO UPDATE SET item_count = n.item_count + excluded.item_count
"""


def write_merged(
    session: Session,
    *,
    entity_id: str,
    load_id: str,
    source_system: str,
    file_on: date,
    has_created: bool,
    has_changed: bool,
) -> None:
    """Writes what merged says into the books and fills touched; the touched accounts are locked from then on."""
    params = {"entity": entity_id, "load": load_id, "source_system": source_system, "file_on": file_on}
    session.execute(text("ANALYZE merged (item_id, account_id, effect)"))
    if has_created:
        _run(session, _NEW_ACCOUNTS, **params)
    touch(
        session,
        "SELECT account_id,"
        " mode() WITHIN GROUP (ORDER BY payment_terms) FILTER (WHERE payment_terms <> '') AS payment_terms"
        " FROM merged WHERE effect IN ('created', 'updated', 'cleared') GROUP BY account_id",
    )
    undo.keep_items(session, load_id, has_changed=has_changed)
    if has_created:
        _run(session, _NEW_ITEMS, **params)
        _run(session, _INSERT_CHANGES.format(rows=_FIRST_CHANGES), **params)
    if has_changed:
        _run(session, _LATER_CHANGES, **params)
        _run(session, _UPDATE_ITEMS, **params)
        _run(session, _INSERT_CHANGES.format(rows="SELECT * FROM later_change"), **params)
    _run(session, _NAMES)


# The ids as an array: a look into the index for each. Joined, a table whose statistics are not made yet (every table
# during its first load) looks small to the planner, and is read whole.
_ANY_TOUCHED = "ANY(ARRAY(SELECT t.account_id FROM touched AS t))"


def touch(session: Session, accounts: str) -> None:
    """Makes touched of a query (account_id; payment_terms for accounts that have none, or null) and locks these
    accounts in the order in which everybody locks them."""
    session.execute(text("DROP TABLE IF EXISTS pg_temp.touched"))
    session.execute(text(f"CREATE TEMP TABLE touched ON COMMIT DROP AS {accounts}"))
    session.execute(text("ANALYZE touched"))
    _run(
        session,
        f"SELECT count(*) FROM (SELECT 1 FROM accounts AS a WHERE a.account_id = {_ANY_TOUCHED}"
        " ORDER BY a.account_id FOR NO KEY UPDATE OF a) AS locked",
    )


def refresh_accounts(session: Session) -> None:
    """Brings names and balances of the touched accounts in line with their items and gives them a new version.

    The cost follows open items, not history.
    """
    _run(
        session,
        f"""
CREATE TEMP TABLE fresh_balance ON COMMIT DROP AS
SELECT i.account_id, i.currency, CAST(sum(i.open_minor) AS bigint) AS open_minor,
    CAST(sum(least(i.open_minor, 0)) AS bigint) AS credits_minor, CAST(count(*) AS integer) AS item_count,
    min(i.due_on) FILTER (WHERE i.open_minor > 0) AS oldest_due_on
FROM items AS i
WHERE i.account_id = {_ANY_TOUCHED} AND i.open_minor <> 0 GROUP BY i.account_id, i.currency
""",
    )
    _run(
        session,
        f"DELETE FROM account_balances AS b WHERE b.account_id = {_ANY_TOUCHED} AND NOT EXISTS (SELECT 1 FROM fresh_balance AS f"
        " WHERE f.account_id = b.account_id AND f.currency = b.currency)",
    )
    _run(
        session,
        """
INSERT INTO account_balances AS b (tenant_id, account_id, currency, open_minor, credits_minor, item_count)
SELECT :tenant, account_id, currency, open_minor, credits_minor, item_count FROM fresh_balance
ON CONFLICT (tenant_id, account_id, currency) DO UPDATE SET open_minor = excluded.open_minor,
    credits_minor = excluded.credits_minor, item_count = excluded.item_count
WHERE (b.open_minor, b.credits_minor, b.item_count)
    IS DISTINCT FROM (excluded.open_minor, excluded.credits_minor, excluded.item_count)
""",
    )
    _run(
        session,
        f"""
UPDATE accounts AS a SET name = coalesce(n.names[1], ''), aliases = coalesce(n.names[2:], '{{}}'),
    payment_terms = CASE WHEN a.payment_terms = '' THEN coalesce(t.payment_terms, '') ELSE a.payment_terms END,
    oldest_due_on = f.oldest_due_on, version = a.version + 1, changed_at = now()
FROM touched AS t
LEFT JOIN (SELECT s.account_id, array_agg(s.name ORDER BY s.item_count DESC, s.first_seen_at, s.name) AS names
    FROM account_names AS s WHERE s.account_id = {_ANY_TOUCHED}
    GROUP BY s.account_id) AS n ON n.account_id = t.account_id
LEFT JOIN (SELECT account_id, min(oldest_due_on) AS oldest_due_on FROM fresh_balance GROUP BY account_id) AS f
    ON f.account_id = t.account_id
WHERE a.account_id = t.account_id AND a.account_id = {_ANY_TOUCHED}
""",
    )
    session.execute(text("DROP TABLE fresh_balance"))
