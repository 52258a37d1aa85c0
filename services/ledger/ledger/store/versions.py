"""Rows that are replaced, never changed: the one before gets an ended_at and stays. Each such table has an id, a key, values,
recorded_at, load_id, ended_at and ended_load_id; current rows have no ended_at."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import context
from ledger.store import load


def run(session: Session, statement: str, **params: Any) -> Any:
    """One statement for the current tenant."""
    return session.execute(text(statement), {"tenant": context.current_tenant(), **params})


def merge(
    session: Session,
    rows: pa.Table,
    *,
    table: str,
    row_id: str,
    key: Sequence[str],
    values: Sequence[str],
    select: str,
    entity_id: str | None,
) -> None:
    """Compares checked rows with the current rows of a table: makes merged, writes nothing.

    Args: select, SQL of the row's columns (key and values by name, from r); entity_id, whose accounts the rows name
    (account_id is then part of the key), or None.
    """
    load.clean(session)
    load.stage(session, rows, "account_number" if entity_id else "")
    account = "LEFT JOIN accounts AS a ON a.entity_id = :entity AND a.number = r.account_number" if entity_id else ""
    unknown = "r.reason IS NULL AND a.account_id IS NULL" if entity_id else "false"
    run(
        session,
        f"""
CREATE TEMP TABLE merged ON COMMIT DROP AS
SELECT k.*, o.{row_id} AS old_id, CASE WHEN k.reason IS NOT NULL THEN 'rejected' WHEN o.{row_id} IS NULL THEN 'created'
    WHEN ({", ".join(f"k.{name}" for name in values)}) IS DISTINCT FROM ({", ".join(f"o.{name}" for name in values)})
        THEN 'updated' ELSE 'unchanged' END AS effect
FROM (SELECT r.line, CASE WHEN {unknown} THEN 'account_number' ELSE r.field END AS field,
    CASE WHEN {unknown} THEN 'UNKNOWN' ELSE r.reason END AS reason, {select} FROM load_row AS r {account}) AS k
LEFT JOIN {table} AS o ON o.ended_at IS NULL AND k.reason IS NULL AND {" AND ".join(f"o.{n} = k.{n}" for n in key)}
""",
        **({"entity": entity_id} if entity_id else {}),
    )


def write(
    session: Session,
    *,
    table: str,
    row_id: str,
    columns: Sequence[str],
    load_id: str | None,
    more: str = "",
    **params: Any,
) -> None:
    """Ends the rows that merged replaces and writes the new ones. more: columns that merged has not, as "name = SQL"."""
    run(
        session,
        f"UPDATE {table} AS o SET ended_at = clock_timestamp(), ended_load_id = CAST(:load AS uuid)"
        f" FROM merged AS m WHERE o.{row_id} = m.old_id AND m.effect = 'updated'",
        load=load_id,
    )
    name, _, value = more.partition(" = ")
    run(
        session,
        f"INSERT INTO {table} (tenant_id, {row_id}, {', '.join(columns)}, load_id{f', {name}' if name else ''})"
        f" SELECT :tenant, ledger_new_id(), {', '.join(columns)}, CAST(:load AS uuid){f', {value}' if name else ''}"
        " FROM merged WHERE effect IN ('created', 'updated')",
        load=load_id,
        **params,
    )


def roll_back(session: Session, table: str, load_id: str) -> int:
    """Ends what a load wrote and makes what it ended current again; returns how many rows it had written."""
    written = run(
        session,
        f"UPDATE {table} SET ended_at = clock_timestamp(), ended_load_id = load_id"
        " WHERE load_id = CAST(:load AS uuid) AND ended_at IS NULL",
        load=load_id,
    ).rowcount
    run(
        session,
        f"UPDATE {table} SET ended_at = NULL, ended_load_id = NULL"
        " WHERE ended_load_id = CAST(:load AS uuid) AND load_id IS DISTINCT FROM CAST(:load AS uuid)",
        load=load_id,
    )
    return written
