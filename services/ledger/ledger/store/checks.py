"""The questions of consistency/*.sql: each answers with no row when all is well.

A file begins with what it asks, in English, then after "-- fr:" in French.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from kit.db import Database, sqlstate

SHOWN_MAX = 20
COUNTED_MAX = 1000
CANCELED = "57014"


@cache
def questions() -> dict[str, str]:
    """Name and SQL of every question."""
    folder = files("ledger") / "consistency"
    found = [path for path in folder.iterdir() if path.name.endswith(".sql")]
    return {path.name.removesuffix(".sql"): path.read_text() for path in sorted(found, key=lambda path: path.name)}


def meaning(question: str, language: str) -> str:
    """What a question asks, in a sentence (language en or fr)."""
    head = re.match(r"(?:--.*\n)+", questions()[question])
    lines = [line.removeprefix("--").strip() for line in head.group().splitlines()] if head else []
    english, _, french = " ".join(lines).partition("fr:")
    return (french if language == "fr" and french else english).strip()


def wrong(session: Session) -> dict[str, list[str]]:
    """The first 20 wrong rows by question, for the tenant of the session; empty when all is well."""
    answers = {}
    for name, query in questions().items():
        rows = session.execute(text(f"SELECT * FROM ({query}) AS wrong LIMIT {SHOWN_MAX}")).all()
        if rows:
            answers[name] = [str(row._asdict()) for row in rows]
    return answers


@dataclass(frozen=True)
class Answer:
    """How a question was answered: wrong_rows counted up to 1,000, None when it took too long; the first 20 as text."""

    question: str
    wrong_rows: int | None
    examples: tuple[str, ...]


def answer(database: Database, question: str, timeout_s: float) -> Answer:
    """Asks one question for the current tenant, in a read-only transaction of its own and not for longer than this."""
    try:
        with database.transaction() as session:
            session.execute(text("SET TRANSACTION READ ONLY"))
            session.execute(
                text("SELECT set_config('statement_timeout', :timeout, true)"),
                {"timeout": f"{max(int(timeout_s * 1000), 1)}ms"},
            )
            query = f"SELECT * FROM ({questions()[question]}) AS wrong LIMIT {COUNTED_MAX}"
            rows = session.execute(text(query)).all()
    except DBAPIError as error:
        if sqlstate(error) != CANCELED:
            raise
        return Answer(question, None, ())
    return Answer(question, len(rows), tuple(_shown(row._asdict()) for row in rows[:SHOWN_MAX]))


def _shown(row: dict) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items())


def tenants(database: Database) -> list[str]:
    """All tenants this ledger has ever said anything for."""
    with database.system_transaction() as session:
        return [str(row[0]) for row in session.execute(text("SELECT tenant_id FROM tenant ORDER BY tenant_id"))]
