"""The questions of consistency/*.sql: each answers with no row when all is well."""

from importlib.resources import files

from sqlalchemy import text
from sqlalchemy.orm import Session

from kit.db import Database

SHOWN_MAX = 20


def questions() -> dict[str, str]:
    """Name and SQL of every question."""
    folder = files("ledger") / "consistency"
    found = [path for path in folder.iterdir() if path.name.endswith(".sql")]
    return {path.name.removesuffix(".sql"): path.read_text() for path in sorted(found, key=lambda path: path.name)}


def wrong(session: Session) -> dict[str, list[str]]:
    """The first 20 wrong rows by question, for the tenant of the session; empty when all is well."""
    answers = {}
    for name, query in questions().items():
        rows = session.execute(text(f"SELECT * FROM ({query}) AS wrong LIMIT {SHOWN_MAX}")).all()
        if rows:
            answers[name] = [str(row._asdict()) for row in rows]
    return answers


def tenants(database: Database) -> list[str]:
    """All tenants this ledger has ever said anything for."""
    with database.system_transaction() as session:
        return [str(row[0]) for row in session.execute(text("SELECT tenant_id FROM tenant ORDER BY tenant_id"))]
