"""Master data in bulk: accounts with their legal units, and contacts, merged as items are (see load).

A field that the ERP does not own keeps its value (owners, see Entity.field_owners); merged.kept counts those of which a
file had another one. A file never revives a contact that somebody deleted, and what it says of an account that was
merged into another is left to that one's own row; its contacts go to that one.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import context
from ledger.store import load


def _run(session: Session, statement: str, **params: Any) -> None:
    session.execute(text(statement), {"tenant": context.current_tenant(), **params})


def stage(session: Session, rows: pa.Table, analyzed: str) -> None:
    """Puts checked rows into load_row."""
    load.clean(session)
    load.stage(session, rows, analyzed)


_ACCOUNT_TEXTS = ("country", "language", "payment_terms", "parent_number", "collector")


def _is_kept(owners: Mapping[str, str], field: str, is_filled: str) -> str:
    """The condition under which a field of a known account stays as it is."""
    owner = owners.get(field, "ERP")
    if owner == "PLATFORM":
        return f"(a.account_id IS NOT NULL AND {is_filled})"
    return f"('{field}' = ANY(a.edited_fields))" if owner == "ERP_UNTIL_EDITED" else "false"


def merge_accounts(
    session: Session, entity_id: str, *, has_custom_fields: bool, owners: Mapping[str, str] | None = None
) -> None:
    """Compares load_row with the accounts of an entity: makes merged, writes nothing.

    An empty field keeps what is known.
    """
    is_good = "(r.custom_fields IS JSON OBJECT AND position('\\u0000' IN r.custom_fields) = 0)"
    custom = (
        f"CASE WHEN {is_good} THEN CAST(r.custom_fields AS jsonb) END" if has_custom_fields else "CAST(NULL AS jsonb)"
    )
    is_bad = f"(r.custom_fields IS NOT NULL AND NOT {is_good})" if has_custom_fields else "false"
    owners = owners or {}
    kept = {name: _is_kept(owners, name, f"a.{name} <> ''") for name in _ACCOUNT_TEXTS}
    kept |= {name: _is_kept(owners, name, f"a.{name} <> '{{}}'") for name in ("groups", "custom_fields")}
    texts = ", ".join(
        f"coalesce(CASE WHEN {kept[name]} THEN a.{name} END, nullif(r.{name}, ''), a.{name}, '') AS {name}"
        for name in _ACCOUNT_TEXTS
    )
    differ = {name: f"r.{name} <> a.{name} AND r.{name} <> ''" for name in _ACCOUNT_TEXTS}
    differ["groups"] = "r.groups <> '' AND r.groups <> array_to_string(a.groups, ',')"
    differ["custom_fields"] = f"NOT a.custom_fields @> coalesce({custom}, '{{}}')"
    conflicts = " + ".join(
        f"CASE WHEN {kept[name]} AND {differ[name]} THEN 1 ELSE 0 END" for name in kept if kept[name] != "false"
    )
    compared = (*_ACCOUNT_TEXTS, "groups", "custom_fields", "registration_number", "unit_country", "legal_unit_name")
    old = ", ".join(f"a.{name} AS old_{name}" for name in (*_ACCOUNT_TEXTS, "groups", "custom_fields"))
    _run(
        session,
        f"""
CREATE TEMP TABLE merged ON COMMIT DROP AS
SELECT k.*, CASE WHEN k.reason IS NOT NULL THEN 'rejected' WHEN k.old_account_id IS NULL THEN 'created'
    WHEN k.is_merged THEN 'unchanged'
    WHEN ({", ".join(f"k.{c}" for c in compared)}) IS DISTINCT FROM ({", ".join(f"k.old_{c}" for c in compared)})
        OR k.is_new_name THEN 'updated'
    ELSE 'unchanged' END AS effect
FROM (SELECT r.line, r.number, nullif(r.name, '') AS name, a.account_id AS old_account_id,
    coalesce(a.account_id, ledger_new_id()) AS account_id, ledger_new_id() AS new_legal_unit_id,
    CASE WHEN r.reason IS NULL AND {is_bad} THEN 'custom_fields' ELSE r.field END AS field,
    CASE WHEN r.reason IS NULL AND {is_bad} THEN 'UNREADABLE' ELSE r.reason END AS reason,
    {texts}, {old}, a.merged_into_id IS NOT NULL AS is_merged, {conflicts or "0"} AS kept,
    CASE WHEN coalesce(r.groups, '') = '' OR {kept["groups"]} THEN coalesce(a.groups, '{{}}')
        ELSE ARRAY(SELECT DISTINCT btrim(g) FROM unnest(string_to_array(r.groups, ',')) AS g WHERE btrim(g) <> ''
            ORDER BY 1) END AS groups,
    CASE WHEN {kept["custom_fields"]} THEN coalesce({custom}, '{{}}') || a.custom_fields
        ELSE coalesce(a.custom_fields, '{{}}') || coalesce({custom}, '{{}}') END AS custom_fields,
    a.legal_unit_id AS old_legal_unit_id, u.registration_number AS old_registration_number,
    u.country AS old_unit_country, u.name AS old_legal_unit_name,
    coalesce(nullif(r.registration_number, ''), u.registration_number, '') AS registration_number,
    CASE WHEN coalesce(r.registration_number, '') = '' THEN coalesce(u.country, '')
        ELSE coalesce(nullif(r.country, ''), a.country, '') END AS unit_country,
    coalesce(nullif(r.legal_unit_name, ''), u.name, '') AS legal_unit_name,
    coalesce(r.name, '') <> '' AND NOT EXISTS (SELECT 1 FROM account_names AS n
        WHERE n.account_id = a.account_id AND n.name = r.name) AS is_new_name
    FROM load_row AS r
    LEFT JOIN accounts AS a ON a.entity_id = :entity AND a.number = r.number
    LEFT JOIN legal_units AS u ON u.legal_unit_id = a.legal_unit_id) AS k
""",
        entity=entity_id,
    )


def write_accounts(session: Session, entity_id: str) -> None:
    """Writes merged into accounts, their names and legal units, and fills touched."""
    written = "m.effect IN ('created', 'updated')"
    # A unit that becomes known by its registration keeps its id: limits and guarantees hang on it.
    _run(
        session,
        f"""
CREATE TEMP TABLE unit_of ON COMMIT DROP AS
SELECT m.registration_number, m.unit_country AS country, max(m.legal_unit_name) AS name,
    (array_agg(m.old_legal_unit_id ORDER BY m.old_legal_unit_id)
        FILTER (WHERE m.old_registration_number = ''))[1] AS promoted_id,
    (array_agg(m.new_legal_unit_id ORDER BY m.new_legal_unit_id))[1] AS new_id
FROM merged AS m WHERE {written} AND m.registration_number <> '' AND NOT EXISTS (
    SELECT 1 FROM legal_units AS u WHERE u.registration_number = m.registration_number
        AND u.country = m.unit_country)
GROUP BY 1, 2
""",
    )
    _run(
        session,
        "UPDATE legal_units AS u SET registration_number = o.registration_number, country = o.country"
        " FROM unit_of AS o WHERE u.legal_unit_id = o.promoted_id",
    )
    _run(
        session,
        "INSERT INTO legal_units (tenant_id, legal_unit_id, registration_number, country, name)"
        " SELECT :tenant, new_id, registration_number, country, name FROM unit_of WHERE promoted_id IS NULL",
    )
    _run(
        session,
        "INSERT INTO legal_units (tenant_id, legal_unit_id, name)"
        " SELECT :tenant, m.new_legal_unit_id, m.legal_unit_name"
        " FROM merged AS m WHERE m.effect = 'created' AND m.registration_number = ''",
    )
    unit = (
        "CASE WHEN m.registration_number <> '' THEN (SELECT u.legal_unit_id FROM legal_units AS u"
        " WHERE u.registration_number = m.registration_number AND u.country = m.unit_country)"
        " ELSE coalesce(m.old_legal_unit_id, m.new_legal_unit_id) END"
    )
    columns = (*_ACCOUNT_TEXTS, "groups", "custom_fields")
    _run(
        session,
        f"INSERT INTO accounts (tenant_id, account_id, entity_id, number, legal_unit_id, {', '.join(columns)})"
        f" SELECT :tenant, m.account_id, :entity, m.number, {unit}, {', '.join(f'm.{c}' for c in columns)}"
        " FROM merged AS m WHERE m.effect = 'created'",
        entity=entity_id,
    )
    load.touch(session, f"SELECT m.account_id, CAST(NULL AS text) AS payment_terms FROM merged AS m WHERE {written}")
    _run(
        session,
        f"UPDATE accounts AS a SET legal_unit_id = {unit}, {', '.join(f'{c} = m.{c}' for c in columns)}"
        " FROM merged AS m WHERE a.account_id = m.account_id AND m.effect = 'updated'",
    )
    _run(
        session,
        "UPDATE legal_units AS u SET name = m.legal_unit_name FROM merged AS m JOIN accounts AS a"
        " ON a.account_id = m.account_id"
        f" WHERE u.legal_unit_id = a.legal_unit_id AND {written}"
        " AND m.legal_unit_name <> '' AND u.name <> m.legal_unit_name",
    )
    _run(
        session,
        "DELETE FROM legal_units AS u USING merged AS m WHERE"
        " u.legal_unit_id = m.old_legal_unit_id AND m.effect = 'updated' AND NOT EXISTS"
        " (SELECT 1 FROM accounts AS a WHERE a.legal_unit_id = u.legal_unit_id)",
    )
    # The list of accounts knows one name at a time; spellings that no item carries any more go.
    _run(
        session,
        "DELETE FROM account_names AS n USING merged AS m WHERE n.account_id = m.account_id"
        f" AND n.item_count = 0 AND m.name IS NOT NULL AND n.name <> m.name AND {written}",
    )
    _run(
        session,
        "INSERT INTO account_names (tenant_id, account_id, name, item_count, first_seen_at)"
        f" SELECT :tenant, m.account_id, m.name, 0, now() FROM merged AS m WHERE {written} AND m.name IS NOT NULL"
        " ON CONFLICT DO NOTHING",
    )
    session.execute(text("DROP TABLE unit_of"))
    _run(
        session,
        "INSERT INTO field_definitions (tenant_id, object, name, type)"
        f" SELECT DISTINCT CAST(:tenant AS uuid), 'ACCOUNT', f.name, 'TEXT' FROM merged AS m"
        f" CROSS JOIN LATERAL jsonb_object_keys(m.custom_fields) AS f(name) WHERE {written} ON CONFLICT DO NOTHING",
    )


def merge_contacts(session: Session, entity_id: str, owner: str = "ERP") -> None:
    """Compares load_row with the contacts of an entity's accounts: makes merged, writes nothing.

    Args: owner of contacts; PLATFORM: accounts that have contacts keep them; ERP_UNTIL_EDITED: contacts that somebody
    edited stay.
    """
    is_kept = {
        "PLATFORM": "EXISTS (SELECT 1 FROM contacts AS o WHERE o.account_id = a.account_id AND o.active)",
        "ERP_UNTIL_EDITED": "coalesce(c.edited, false)",
    }.get(owner, "false")
    texts = ", ".join(
        f"coalesce(nullif(r.{name}, ''), c.{name}, '') AS {name}" for name in ("name", "phone", "language")
    )
    _run(
        session,
        f"""
CREATE TEMP TABLE merged ON COMMIT DROP AS
SELECT k.*, CASE WHEN k.is_kept AND (k.old_contact_id IS NULL OR (k.name, k.phone, k.role, k.language, k.email)
        IS DISTINCT FROM (k.old_name, k.old_phone, k.old_role, k.old_language, k.old_email)) THEN 1 ELSE 0 END AS kept,
    CASE WHEN k.reason IS NOT NULL THEN 'rejected'
    WHEN k.is_kept OR k.is_deleted OR k.nth > 1 THEN 'unchanged'
    WHEN k.old_contact_id IS NULL THEN 'created'
    WHEN (k.name, k.phone, k.role, k.language, k.email)
        IS DISTINCT FROM (k.old_name, k.old_phone, k.old_role, k.old_language, k.old_email) THEN 'updated'
    ELSE 'unchanged' END AS effect
FROM (SELECT r.line, a.account_id, c.contact_id AS old_contact_id, {is_kept} AS is_kept,
    coalesce(NOT c.active, false) AS is_deleted,
    row_number() OVER (PARTITION BY a.account_id, r.contact_key, r.email = '' ORDER BY r.line) AS nth,
    CASE WHEN r.reason IS NULL AND a.account_id IS NULL THEN 'account_number' ELSE r.field END AS field,
    CASE WHEN r.reason IS NULL AND a.account_id IS NULL THEN 'UNKNOWN' ELSE r.reason END AS reason,
    r.email, {texts}, coalesce(nullif(r.role, ''), c.role, 'ACCOUNTS_PAYABLE') AS role,
    c.name AS old_name, c.email AS old_email, c.phone AS old_phone, c.role AS old_role, c.language AS old_language
    FROM load_row AS r
    LEFT JOIN (SELECT number, coalesce(merged_into_id, account_id) AS account_id FROM accounts
        WHERE entity_id = :entity) AS a ON a.number = r.account_number
    LEFT JOIN contacts AS c ON c.account_id = a.account_id
        AND CASE WHEN c.email = '' THEN c.name ELSE lower(c.email) END = r.contact_key
        AND (c.email = '') = (r.email = '')) AS k
""",
        entity=entity_id,
    )


def kept(session: Session) -> int:
    """Of merged: fields (of accounts) or rows (of contacts) that stayed because the ERP does not own them."""
    return session.execute(
        text("SELECT CAST(coalesce(sum(kept), 0) AS integer) FROM merged WHERE reason IS NULL")
    ).scalar_one()


def write_contacts(session: Session) -> None:
    """Writes merged into contacts and fills touched."""
    load.touch(
        session,
        "SELECT DISTINCT account_id, CAST(NULL AS text) AS payment_terms FROM merged"
        " WHERE effect IN ('created', 'updated')",
    )
    _run(
        session,
        "INSERT INTO contacts (tenant_id, contact_id, account_id, name, email, phone, role, language)"
        " SELECT :tenant, ledger_new_id(), account_id, name, email, phone, role, language"
        " FROM merged WHERE effect = 'created' ORDER BY line",
    )
    _run(
        session,
        "UPDATE contacts AS c SET name = m.name, email = m.email, phone = m.phone, role = m.role, language = m.language"
        " FROM merged AS m WHERE c.contact_id = m.old_contact_id AND m.effect = 'updated'",
    )


def refuse_unknown(session: Session) -> None:
    """Refuses the rows of merged whose account nobody knows."""
    _run(
        session,
        "UPDATE merged SET effect = 'rejected', field = 'account_number', reason = 'UNKNOWN' WHERE effect = 'created'",
    )
