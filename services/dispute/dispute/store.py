"""The only SQL of the dispute service."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Column, Date, DateTime, Integer, Table, Text, Uuid, func, select, text
from sqlalchemy.orm import Session

from dispute import domain
from kit import bulk, context, listing
from kit.db import declarative_base
from kit.errors import Code, Refused

Base = declarative_base()

_UUID = Uuid(as_uuid=False)
CASE = Table(
    "dispute_case",
    Base.metadata,
    Column("tenant_id", _UUID, primary_key=True),
    Column("case_id", _UUID, primary_key=True),
    Column("number", Integer),
    Column("state", Text),
    Column("account_id", _UUID),
    Column("account_name", Text),
    Column("entity_code", Text),
    Column("reason_code", Text),
    Column("owner", Text),
    Column("opened_on", Date),
    Column("due_on", Date),
    Column("changed_at", DateTime(timezone=True)),
)


@dataclass
class LineRow:
    """One line of a case; open_minor is what is known to be open now, 0 for an item that is not."""

    item_id: str
    item_number: str
    currency: str
    disputed_minor: int | None
    opened_minor: int
    accepted_minor: int | None = None
    resolved_open_minor: int | None = None
    open_minor: int = 0

    def to_domain(self) -> domain.Line:
        """As the rules want it."""
        disputed_minor = self.opened_minor if self.disputed_minor is None else self.disputed_minor
        return domain.Line(
            self.item_id, self.currency, disputed_minor, self.open_minor, self.accepted_minor, self.resolved_open_minor
        )


@dataclass
class CaseRow:
    """A case with its lines. number is given when the ledger holds it for the first time; until then nobody sees it.

    holds_version grows with each change of what should be held; held_version is the newest one the ledger has taken.
    """

    case_id: str
    request_hash: bytes
    number: int | None
    state: domain.CaseState
    account_id: str
    account_name: str
    account_number: str
    entity_code: str
    reason_code: str
    owner: str
    comment: str
    source: str
    source_id: str
    opened_on: date
    due_on: date
    resolved_on: date | None
    outcome: str
    was_overdue: bool
    held_version: int
    holds_version: int
    version: int
    changed_at: datetime
    lines: list[LineRow] = field(default_factory=list)

    def domain_lines(self) -> list[domain.Line]:
        """Its lines as the rules want them."""
        return [line.to_domain() for line in self.lines]


_COLUMNS = (
    "case_id, request_hash, number, state, account_id, account_name, account_number, entity_code, reason_code, owner,"
    " comment, source, source_id, opened_on, due_on, resolved_on, outcome, was_overdue, held_version, holds_version,"
    " version, changed_at"
)
_VALUES = ", ".join(f":{name.strip()}" for name in _COLUMNS.split(","))


# ---- what the ledger said --------------------------------------------------------------------------------------------


def apply_accounts(session: Session, accounts: pa.Table, items: pa.Table) -> list[str]:
    """Keeps accounts that are not older than what is known, and replaces their open items.

    Returns the ids touched, ascending; rows are locked in that order. Parts of one version add to one another.
    """
    bulk.stage(session, "said_account", accounts)
    bulk.stage(session, "said_item", items)
    tenant = {"tenant": context.current_tenant()}
    session.execute(
        text(
            "SELECT 1 FROM account WHERE account_id IN (SELECT account_id::uuid FROM said_account)"
            " ORDER BY account_id FOR UPDATE"
        )
    )
    session.execute(
        text(
            "INSERT INTO account (tenant_id, account_id, version, entity_code, number, name)"
            " SELECT CAST(:tenant AS uuid), account_id::uuid, version, entity_code, number, name FROM said_account"
            " ORDER BY account_id::uuid ON CONFLICT (tenant_id, account_id) DO UPDATE SET version = excluded.version,"
            " entity_code = excluded.entity_code, number = excluded.number, name = excluded.name"
            " WHERE account.version < excluded.version"
        ),
        tenant,
    )
    session.execute(text(_RELATIVES), tenant)
    session.execute(
        text(
            "CREATE TEMP TABLE said_current ON COMMIT DROP AS SELECT a.account_id, a.version FROM said_account s"
            " JOIN account a ON a.account_id = s.account_id::uuid AND a.version = s.version"
        )
    )
    session.execute(
        text(
            "DELETE FROM open_item t USING said_current c"
            " WHERE t.account_id = c.account_id AND t.account_version < c.version"
        )
    )
    session.execute(
        text(
            "INSERT INTO open_item (tenant_id, account_id, item_id, account_version, number, currency, open_minor)"
            " SELECT CAST(:tenant AS uuid), c.account_id, i.item_id::uuid, c.version, i.number, i.currency,"
            " i.open_minor FROM said_item i JOIN said_current c ON c.account_id = i.account_id::uuid"
            " ON CONFLICT (tenant_id, account_id, item_id) DO NOTHING"
        ),
        tenant,
    )
    ids = list(session.scalars(text("SELECT account_id::text FROM said_current ORDER BY account_id")))
    for table in ("said_account", "said_item", "said_current"):
        session.execute(text(f"DROP TABLE {table}"))
    return ids


_RELATIVES = """
INSERT INTO account_relative (tenant_id, account_id, relative_id)
SELECT CAST(:tenant AS uuid), pair.a, pair.b FROM said_account s
CROSS JOIN LATERAL unnest(ARRAY[s.master_account_id, s.merged_into_id]) AS other(id)
CROSS JOIN LATERAL (VALUES (s.account_id::uuid, other.id::uuid), (other.id::uuid, s.account_id::uuid)) AS pair(a, b)
WHERE other.id <> '' ON CONFLICT DO NOTHING
"""


def account(session: Session, account_id: str) -> Any:
    """account_id, entity_code, number, name of one account of the caller's entities. Refuses ACCOUNT_UNKNOWN."""
    row = session.execute(
        text("SELECT account_id::text, entity_code, number, name FROM account WHERE account_id = :id"),
        {"id": account_id},
    ).first()
    if row is None or not context.current_caller().sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "no such account")
    return row


def open_items(session: Session, account_id: str) -> dict[str, Any]:
    """Open items of an account, and of those it is collected or was merged with, by id: item_id, number, currency,
    open_minor."""
    rows = session.execute(
        text(
            "SELECT item_id::text, number, currency, open_minor FROM open_item WHERE account_id = :id"
            " OR account_id IN (SELECT relative_id FROM account_relative WHERE account_id = :id)"
        ),
        {"id": account_id},
    )
    return {row.item_id: row for row in rows}


# ---- cases -----------------------------------------------------------------------------------------------------------


def cases(session: Session, case_ids: Sequence[str], *, for_update: bool = False) -> dict[str, CaseRow]:
    """Cases by id with their lines; locked in ascending order when asked for."""
    lock = " FOR UPDATE" if for_update else ""
    rows = session.execute(
        text(f"SELECT {_COLUMNS} FROM dispute_case WHERE case_id = ANY(CAST(:ids AS uuid[])) ORDER BY case_id{lock}"),
        {"ids": list(case_ids)},
    )
    found = {}
    for row in rows:
        values = row._asdict()
        values |= {"case_id": str(row.case_id), "account_id": str(row.account_id)}
        found[values["case_id"]] = CaseRow(**{**values, "state": domain.CaseState(row.state)})
    lines = session.execute(
        text(
            "SELECT l.case_id::text, l.item_id::text, l.item_number, l.currency, l.disputed_minor, l.opened_minor,"
            " l.accepted_minor, l.resolved_open_minor, coalesce(i.open_minor, 0) AS open_minor"
            " FROM case_line l JOIN dispute_case c ON c.case_id = l.case_id"
            # An item may have moved to a related account since, or be collected through this one.
            " LEFT JOIN LATERAL (SELECT o.open_minor FROM open_item o WHERE o.item_id = l.item_id AND o.account_id = ANY("
            "   ARRAY(SELECT c.account_id UNION ALL SELECT r.relative_id FROM account_relative r"
            "     WHERE r.account_id = c.account_id)) LIMIT 1) i ON true"
            " WHERE l.case_id = ANY(CAST(:ids AS uuid[])) ORDER BY l.item_number, l.item_id"
        ),
        {"ids": list(case_ids)},
    )
    for row in lines:
        values = row._asdict()
        found[values.pop("case_id")].lines.append(LineRow(**values))
    return found


def case(session: Session, case_id: str, *, for_update: bool = False) -> CaseRow:
    """One opened case within the caller's entities. Refuses NOT_FOUND CASE_UNKNOWN."""
    found = cases(session, [case_id], for_update=for_update).get(case_id)
    if found is None or found.number is None or not context.current_caller().sees_entity(found.entity_code):
        raise Refused(Code.NOT_FOUND, "CASE_UNKNOWN", "no such case")
    return found


def live_cases(session: Session, account_ids: Sequence[str]) -> list[str]:
    """Ids of opened cases of these accounts that are not closed."""
    return list(
        session.scalars(
            text(
                "SELECT case_id::text FROM dispute_case WHERE account_id = ANY(CAST(:ids AS uuid[]) || ARRAY("
                "   SELECT relative_id FROM account_relative WHERE account_id = ANY(CAST(:ids AS uuid[]))))"
                " AND state <> 'CLOSED' AND number IS NOT NULL ORDER BY case_id"
            ),
            {"ids": list(account_ids)},
        )
    )


def all_live_cases(session: Session, after: str, limit: int) -> list[str]:
    """Ids of opened cases that are not closed, ascending, after an id."""
    return list(
        session.scalars(
            text(
                "SELECT case_id::text FROM dispute_case WHERE state <> 'CLOSED' AND number IS NOT NULL"
                " AND case_id > CAST(:after AS uuid) ORDER BY case_id LIMIT :limit"
            ),
            {"after": after, "limit": limit},
        )
    )


def next_number(session: Session) -> int:
    """The tenant's next case number, without gaps: it is taken in the transaction that opens the case."""
    return session.execute(
        text(
            "INSERT INTO case_counter (tenant_id, last_number) VALUES (:tenant, 1)"
            " ON CONFLICT (tenant_id) DO UPDATE SET last_number = case_counter.last_number + 1 RETURNING last_number"
        ),
        {"tenant": context.current_tenant()},
    ).scalar_one()


def add_case(session: Session, row: CaseRow) -> None:
    """Writes a new case with its lines."""
    tenant = context.current_tenant()
    values = asdict(row)
    lines = values.pop("lines")
    session.execute(
        text(f"INSERT INTO dispute_case (tenant_id, {_COLUMNS}) VALUES (:tenant, {_VALUES})"),
        {**values, "state": str(row.state), "tenant": tenant},
    )
    session.execute(
        text(
            "INSERT INTO case_line (tenant_id, case_id, item_id, item_number, currency, disputed_minor, opened_minor)"
            " VALUES (:tenant, :case_id, :item_id, :item_number, :currency, :disputed_minor, :opened_minor)"
        ),
        [{**line, "tenant": tenant, "case_id": row.case_id} for line in lines],
    )


def save_case(session: Session, row: CaseRow) -> None:
    """Writes what may change of a case and of its lines."""
    session.execute(
        text(
            "UPDATE dispute_case SET number = :number, state = :state, owner = :owner, resolved_on = :resolved_on,"
            " outcome = :outcome, was_overdue = :was_overdue, held_version = :held_version,"
            " holds_version = :holds_version, version = :version, changed_at = :changed_at WHERE case_id = :case_id"
        ),
        {
            "number": row.number,
            "state": str(row.state),
            "owner": row.owner,
            "resolved_on": row.resolved_on,
            "outcome": row.outcome,
            "was_overdue": row.was_overdue,
            "held_version": row.held_version,
            "holds_version": row.holds_version,
            "version": row.version,
            "changed_at": row.changed_at,
            "case_id": row.case_id,
        },
    )
    session.execute(
        text(
            "UPDATE case_line SET disputed_minor = :disputed_minor, accepted_minor = :accepted_minor,"
            " resolved_open_minor = :resolved_open_minor WHERE case_id = :case_id AND item_id = :item_id"
        ),
        [
            {
                "disputed_minor": line.disputed_minor,
                "accepted_minor": line.accepted_minor,
                "resolved_open_minor": line.resolved_open_minor,
                "case_id": row.case_id,
                "item_id": line.item_id,
            }
            for line in row.lines
        ],
    )


def remove_unopened_case(session: Session, case_id: str) -> None:
    """Forgets a case whose holds were refused before it had a number."""
    session.execute(
        text(
            "DELETE FROM case_line l USING dispute_case c WHERE c.case_id = l.case_id AND c.case_id = :id"
            " AND c.number IS NULL"
        ),
        {"id": case_id},
    )
    session.execute(text("DELETE FROM dispute_case WHERE case_id = :id AND number IS NULL"), {"id": case_id})


def add_event(session: Session, case_id: str, at: datetime, by_whom: str, what: str, words: str) -> None:
    """Adds one entry to a case's history; entries are never changed."""
    session.execute(
        text(
            "INSERT INTO case_event (tenant_id, case_id, at, by_whom, what, text)"
            " VALUES (:tenant, :case_id, :at, :by_whom, :what, :text)"
        ),
        {
            "tenant": context.current_tenant(),
            "case_id": case_id,
            "at": at,
            "by_whom": by_whom,
            "what": what,
            "text": words,
        },
    )


def events(session: Session, case_id: str) -> list[Any]:
    """A case's history, oldest first: at, by_whom, what, text."""
    return list(
        session.execute(
            text("SELECT at, by_whom, what, text FROM case_event WHERE case_id = :id ORDER BY sequence"),
            {"id": case_id},
        )
    )


_FIELDS = {
    name: CASE.c[name] for name in ("account_id", "state", "reason_code", "owner", "entity_code", "due_on", "opened_on")
}
_ORDER = {
    name: CASE.c[name] for name in ("due_on", "opened_on", "number", "account_name", "state", "owner", "changed_at")
}


def list_cases(
    session: Session, filter_text: str, order: str, limit: int, offset: int, account_id: str = ""
) -> tuple[list[CaseRow], int]:
    """A page of opened cases within the caller's entities, and how many there are in all."""
    conditions: list[Any] = [*listing.parse_filter(filter_text, _FIELDS), CASE.c.number.is_not(None)]
    if account_id:
        conditions.append(CASE.c.account_id == account_id)
    if not any(term.name == "state" for term in listing.filter_terms(filter_text)):
        conditions.append(CASE.c.state != "CLOSED")
    codes = context.current_caller().entity_codes
    if codes is not None:
        conditions.append(CASE.c.entity_code.in_(sorted(codes)))
    total = session.execute(select(func.count()).select_from(CASE).where(*conditions)).scalar_one()
    ids = session.scalars(
        select(CASE.c.case_id)
        .where(*conditions)
        .order_by(*listing.order_by(order, _ORDER, "due_on"), CASE.c.number)
        .limit(limit)
        .offset(offset)
    ).all()
    found = cases(session, ids)
    return [found[case_id] for case_id in ids], total
