"""Rows that come in events, many at once and with their details: only what is newer than what is known is kept."""

import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import bulk
from kit.db import database_of

_TENANT = "current_setting('quittance.tenant')::uuid"
_types: dict[tuple[str, str], dict[str, str]] = {}


class Newer:
    """The keys that an event was news of, in the temporary table `kit_newer` until the end of the transaction."""

    table = "kit_newer"

    def __init__(self, session: Session, key: str, part: int) -> None:
        self._session, self._key, self._part = session, key, part

    def replace(self, table: str, rows: pa.Table) -> None:
        """Makes these rows, which have the key as a column, all there is of the newer keys in a table of details.

        A later part adds its rows instead. Rows of other keys are left out: their event was late.
        """
        key, session = self._key, self._session
        if not self._part:
            session.execute(text(f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {self.table})"))
        if rows.num_rows:
            bulk.stage(session, "kit_details", rows)
            session.execute(
                text(
                    f"INSERT INTO {table} (tenant_id, {_columns(rows)}) SELECT {_TENANT}, d.*"
                    f" FROM (SELECT {_cast(session, table, rows)} FROM kit_details) d"
                    f" JOIN {self.table} n ON n.{key} = d.{key} ON CONFLICT DO NOTHING"
                )
            )


def keep_newer(session: Session, table: str, rows: pa.Table, key: str, part: int = 0) -> Newer:
    """Keeps the rows of an event that are newer than what the table has; late and doubled ones change nothing.

    Args: table, of the current tenant, with tenant_id and key as its primary key and a column version; rows, one per
        key, with columns of the table's names, key and version among them; part, above 0 for a further event of a
        version whose details were too many for one: it keeps nothing itself, and its details add to the first part's.
    Returns: the keys that are news, for `replace` of what belongs to them. Rows are locked in the order of their key.
    Raises: LookupError when a part came before its first one: try the event again.
    """
    bulk.stage(session, "kit_said", rows)
    session.execute(text(f"DROP TABLE IF EXISTS pg_temp.{Newer.table}"))
    session.execute(text(f"CREATE TEMP TABLE {Newer.table} ON COMMIT DROP AS SELECT {key} FROM {table} WITH NO DATA"))
    said = f"(SELECT {_cast(session, table, rows)} FROM kit_said) s"
    if part:
        early = session.execute(
            text(
                f"SELECT count(*) FROM {said} LEFT JOIN {table} t USING ({key})"
                " WHERE t.version IS NULL OR t.version < s.version"
            )
        ).scalar_one()
        if early:
            raise LookupError(f"part {part} of {early} rows of {table} came before their first part")
        session.execute(text(f"INSERT INTO {Newer.table} SELECT {key} FROM {said} JOIN {table} USING ({key}, version)"))
        return Newer(session, key, part)
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in rows.column_names if name != key)
    session.execute(
        text(
            f"WITH kept AS (INSERT INTO {table} (tenant_id, {_columns(rows)}) SELECT {_TENANT}, s.* FROM {said}"
            f" ORDER BY s.{key} ON CONFLICT (tenant_id, {key}) DO UPDATE SET {updates}"
            f" WHERE {table}.version < excluded.version RETURNING {key}) INSERT INTO {Newer.table} SELECT {key} FROM kept"
        )
    )
    return Newer(session, key, part)


def _columns(rows: pa.Table) -> str:
    return ", ".join(f'"{name}"' for name in rows.column_names)


def _cast(session: Session, table: str, rows: pa.Table) -> str:
    """The rows' columns, as what they are in the table: ids travel as text and are kept as uuid."""
    place = (database_of(session).settings.database_url, table)
    if not set(rows.column_names) <= _types.get(place, {}).keys():
        _types[place] = {
            row.attname: row.type
            for row in session.execute(
                text(
                    "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
                    " WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped"
                ),
                {"table": table},
            )
        }
    types = _types[place]
    missing = [name for name in rows.column_names if name not in types]
    if missing:
        raise LookupError(f"the table {table} has no column {', '.join(missing)}")
    return ", ".join(f'"{name}"::{types[name]}' for name in rows.column_names)
