"""The only SQL of the reporting service. Every statement runs for the tenant of its transaction (row security)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    UUID,
    BigInteger,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    MetaData,
    RowMapping,
    Table,
    Text,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Session

from kit import bulk
from kit.db import declarative_base
from reporting import domain

Base = declarative_base()
_names = MetaData()


def _table(name: str, *columns: Column) -> Table:
    return Table(name, _names, Column("tenant_id", UUID(as_uuid=False)), *columns)


ITEM = _table(
    "item",
    Column("item_id", UUID(as_uuid=False)),
    Column("account_id", UUID(as_uuid=False)),
    Column("entity_code", Text),
    Column("number", Text),
    Column("kind", Text),
    Column("currency", Text),
    Column("issue_on", Date),
    Column("due_on", Date),
    Column("settled_on", Date),
    Column("initial_minor", BigInteger),
    Column("open_minor", BigInteger),
    Column("last_change_on", Date),
)
CHANGE = _table(
    "item_change",
    Column("item_id", UUID(as_uuid=False)),
    Column("sequence", Integer),
    Column("account_id", UUID(as_uuid=False)),
    Column("cause", Text),
    Column("delta_minor", BigInteger),
    Column("value_on", Date),
    Column("recorded_at", DateTime(timezone=True)),
)
ACCOUNT = _table(
    "account",
    Column("account_id", UUID(as_uuid=False)),
    Column("entity_code", Text),
    Column("number", Text),
    Column("name", Text),
)
HOLD = _table(
    "hold",
    Column("item_id", UUID(as_uuid=False)),
    Column("account_id", UUID(as_uuid=False)),
    Column("kind", Text),
    Column("amount_minor", BigInteger),
    Column("from_on", Date),
    Column("until_on", Date),
)


@dataclass(frozen=True)
class Scope:
    """Which books a figure is about: entity codes (None: all) and one account (None: all)."""

    entity_codes: frozenset[str] | None = None
    account_id: str | None = None

    def conditions(self, table: Table) -> list[ColumnElement[bool]]:
        """The scope as conditions on a table that has entity_code and account_id."""
        found: list[ColumnElement[bool]] = []
        if self.entity_codes is not None:
            found.append(table.c.entity_code.in_(sorted(self.entity_codes)))
        if self.account_id is not None:
            found.append(table.c.account_id == self.account_id)
        return found


# ---- what the ledger says --------------------------------------------------------------------------------------------
def keep_entity(session: Session, entity_id: str, version: int, code: str, name: str, currency: str) -> None:
    """Keeps an entity unless a newer state of it is known."""
    session.execute(
        text(
            "INSERT INTO entity (tenant_id, entity_id, version, code, name, currency)"
            " VALUES (current_setting('quittance.tenant')::uuid, :entity_id, :version, :code, :name, :currency)"
            " ON CONFLICT (tenant_id, entity_id) DO UPDATE SET version = excluded.version, code = excluded.code,"
            " name = excluded.name, currency = excluded.currency WHERE entity.version < excluded.version"
        ),
        {"entity_id": entity_id, "version": version, "code": code, "name": name, "currency": currency},
    )


def keep_accounts(session: Session, accounts: pa.Table, contacts: pa.Table, holds: pa.Table, part: int) -> None:
    """Keeps the accounts that are newer than what is known, with their contacts and holds.

    part > 0 adds holds to a version already kept. Raises LookupError when that version has not come yet: try again.
    """
    bulk.stage(session, "stage_account", accounts)
    bulk.stage(session, "stage_contact", contacts)
    bulk.stage(session, "stage_hold", holds)
    if part:
        early = session.execute(
            text(
                "SELECT count(*) FROM stage_account s LEFT JOIN account a ON a.account_id = s.account_id::uuid"
                " WHERE a.version IS NULL OR a.version < s.version"
            )
        ).scalar_one()
        if early:
            raise LookupError(f"part {part} of {early} accounts came before their first part")
        session.execute(
            text(
                "CREATE TEMP TABLE stage_newer ON COMMIT DROP AS SELECT s.account_id::uuid AS account_id"
                " FROM stage_account s JOIN account a ON a.account_id = s.account_id::uuid AND a.version = s.version"
            )
        )
    else:
        session.execute(text("CREATE TEMP TABLE stage_newer (account_id uuid) ON COMMIT DROP"))
        session.execute(
            text(
                "WITH kept AS (INSERT INTO account (tenant_id, account_id, version, entity_code, number, name, collector,"
                "   legal_unit_id)"
                " SELECT current_setting('quittance.tenant')::uuid, account_id::uuid, version, entity_code, number, name,"
                "   collector, legal_unit_id FROM stage_account"
                " ON CONFLICT (tenant_id, account_id) DO UPDATE SET version = excluded.version,"
                "   entity_code = excluded.entity_code, number = excluded.number, name = excluded.name,"
                "   collector = excluded.collector, legal_unit_id = excluded.legal_unit_id"
                "   WHERE account.version < excluded.version RETURNING account_id)"
                " INSERT INTO stage_newer SELECT account_id FROM kept"
            )
        )
        for table in ("contact", "hold"):
            session.execute(text(f"DELETE FROM {table} WHERE account_id IN (SELECT account_id FROM stage_newer)"))
    session.execute(
        text(
            "INSERT INTO contact (tenant_id, contact_id, account_id, name, email)"
            " SELECT current_setting('quittance.tenant')::uuid, s.contact_id::uuid, s.account_id::uuid, s.name, s.email"
            " FROM stage_contact s JOIN stage_newer n ON n.account_id = s.account_id::uuid"
            " ON CONFLICT (tenant_id, contact_id) DO NOTHING"
        )
    )
    session.execute(
        text(
            "INSERT INTO hold (tenant_id, hold_id, account_id, item_id, kind, amount_minor, from_on, until_on)"
            " SELECT current_setting('quittance.tenant')::uuid, s.hold_id::uuid, s.account_id::uuid, s.item_id::uuid,"
            " s.kind, s.amount_minor, s.from_on, s.until_on"
            " FROM stage_hold s JOIN stage_newer n ON n.account_id = s.account_id::uuid"
            " ON CONFLICT (tenant_id, hold_id) DO NOTHING"
        )
    )
    session.execute(text("DROP TABLE stage_newer"))


def keep_facts(session: Session, items: pa.Table, changes: pa.Table) -> None:
    """Keeps changes (each once) and items (newest version each) with the sum of their changes."""
    bulk.stage(session, "stage_item", items)
    bulk.stage(session, "stage_change", changes)
    session.execute(
        text(
            "INSERT INTO item_change (tenant_id, item_id, sequence, account_id, cause, delta_minor, value_on, recorded_at)"
            " SELECT current_setting('quittance.tenant')::uuid, item_id::uuid, sequence, account_id::uuid, cause,"
            " delta_minor, value_on, recorded_at FROM stage_change"
            " ON CONFLICT (tenant_id, item_id, sequence) DO NOTHING"
        )
    )
    # The sums come with the item itself: writing each item a second time would double the work of a load.
    kept = session.execute(
        text(
            "WITH summed AS (SELECT item_id, sum(delta_minor)::bigint AS open_minor, max(value_on) AS last_change_on"
            "   FROM item_change WHERE item_id IN (SELECT item_id::uuid FROM stage_item) GROUP BY item_id),"
            " kept AS (INSERT INTO item (tenant_id, item_id, version, account_id, entity_code, number, kind, currency,"
            "   issue_on, due_on, initial_minor, settled_on, order_number, open_minor, last_change_on)"
            " SELECT current_setting('quittance.tenant')::uuid, s.item_id::uuid, s.version, s.account_id::uuid,"
            "   s.entity_code, s.number, s.kind, s.currency, s.issue_on, s.due_on, s.initial_minor, s.settled_on,"
            "   coalesce(s.order_number, ''), coalesce(summed.open_minor, 0), summed.last_change_on"
            " FROM stage_item s LEFT JOIN summed ON summed.item_id = s.item_id::uuid"
            " ON CONFLICT (tenant_id, item_id) DO UPDATE SET version = excluded.version,"
            "   account_id = excluded.account_id, number = excluded.number, kind = excluded.kind,"
            "   issue_on = excluded.issue_on, due_on = excluded.due_on, initial_minor = excluded.initial_minor,"
            "   settled_on = excluded.settled_on, order_number = excluded.order_number,"
            "   open_minor = excluded.open_minor, last_change_on = excluded.last_change_on"
            "   WHERE item.version < excluded.version RETURNING 1)"
            " SELECT count(*) FROM kept"
        )
    ).scalar_one()
    strays = session.execute(
        text(
            "SELECT count(*) FROM stage_change c WHERE NOT EXISTS (SELECT FROM stage_item s WHERE s.item_id = c.item_id)"
        )
    ).scalar_one()
    if kept == items.num_rows and not strays:
        return
    # Late items whose state is older than what is known, and changes that came without their item.
    session.execute(
        text(
            "UPDATE item SET open_minor = summed.open_minor, last_change_on = summed.last_change_on"
            " FROM (SELECT item_id, sum(delta_minor)::bigint AS open_minor, max(value_on) AS last_change_on"
            "   FROM item_change WHERE item_id IN (SELECT item_id::uuid FROM stage_item"
            "     UNION SELECT item_id::uuid FROM stage_change) GROUP BY item_id) AS summed"
            " WHERE item.item_id = summed.item_id"
            " AND (item.open_minor, item.last_change_on) IS DISTINCT FROM (summed.open_minor, summed.last_change_on)"
        )
    )


# ---- what the other services say -------------------------------------------------------------------------------------
def keep_work_items(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Keeps actions, messages, responses, promises, cases and risks, each unless a newer state is known."""
    if not rows:
        return
    session.execute(
        text(
            "INSERT INTO work_item (tenant_id, kind, reference_id, version, account_id, entity_code, state, is_open,"
            " is_shown, due_on, happened_at, title, title_fr, detail, by, amounts)"
            " VALUES (current_setting('quittance.tenant')::uuid, :kind, :reference_id, :version, :account_id,"
            " :entity_code, :state, :is_open, :is_shown, :due_on, :happened_at, :title, :title_fr, :detail, :by,"
            " CAST(:amounts AS json))"
            " ON CONFLICT (tenant_id, kind, reference_id) DO UPDATE SET version = excluded.version,"
            " account_id = excluded.account_id, entity_code = excluded.entity_code, state = excluded.state,"
            " is_open = excluded.is_open, is_shown = excluded.is_shown, due_on = excluded.due_on,"
            " happened_at = excluded.happened_at, title = excluded.title, title_fr = excluded.title_fr,"
            " detail = excluded.detail, by = excluded.by, amounts = excluded.amounts"
            " WHERE work_item.version < excluded.version"
        ),
        list(rows),
    )


# ---- reading ---------------------------------------------------------------------------------------------------------
def entity_exists(session: Session, code: str) -> bool:
    """Whether the tenant has an entity with this code."""
    return bool(session.execute(text("SELECT 1 FROM entity WHERE code = :code"), {"code": code}).scalar())


def account_scope(session: Session, account_id: str) -> str | None:
    """The entity code of an account; None when it is not known."""
    return session.execute(
        text("SELECT entity_code FROM account WHERE account_id = :account_id"), {"account_id": account_id}
    ).scalar()


def ledger_seen_at(session: Session) -> datetime | None:
    """When the newest item change that is known was recorded by the ledger."""
    return session.execute(
        text("SELECT max(handled_at) FROM inbox WHERE producer = 'ledger' AND number = (SELECT max(number) FROM inbox"
             " WHERE producer = 'ledger')")
    ).scalar()  # fmt: skip


def _as_of(as_of: date, scope: Scope) -> Any:
    """Items open as of a day: what is open now, less the changes that came later. Columns of item and open_as_of."""
    later = (
        select(CHANGE.c.item_id, func.sum(CHANGE.c.delta_minor).label("delta_minor"))
        .where(CHANGE.c.value_on > as_of)
        .group_by(CHANGE.c.item_id)
        .subquery("later")
    )
    open_as_of = (ITEM.c.open_minor - func.coalesce(later.c.delta_minor, 0)).cast(BigInteger)
    return (
        select(
            ITEM.c.item_id,
            ITEM.c.account_id,
            ITEM.c.entity_code,
            ITEM.c.number,
            ITEM.c.kind,
            ITEM.c.currency,
            ITEM.c.issue_on,
            ITEM.c.due_on,
            ITEM.c.initial_minor,
            open_as_of.label("open_minor"),
            _bucket(ITEM.c.due_on, open_as_of, as_of).label("bucket"),
        )
        .select_from(ITEM.outerjoin(later, later.c.item_id == ITEM.c.item_id))
        .where(
            ITEM.c.issue_on <= as_of,
            or_(ITEM.c.open_minor != 0, ITEM.c.last_change_on > as_of),
            open_as_of != 0,
            *scope.conditions(ITEM),
        )
        .subquery("open_item")
    )


def _bucket(due_on: ColumnElement, open_minor: ColumnElement, as_of: date) -> ColumnElement[str]:
    days_late = literal(as_of, Date) - due_on
    edges = zip(domain.BUCKET_EDGES_DAYS, domain.BUCKET_LABELS, strict=False)
    return case(
        (open_minor < 0, domain.CREDIT),
        (due_on.is_(None), domain.NO_DUE_DATE),
        *((days_late <= edge, label) for edge, label in edges),
        else_=domain.BUCKET_LABELS[-1],
    )


def aging_groups(session: Session, as_of: date, scope: Scope) -> list[tuple[str, str, int, int]]:
    """(currency, bucket label or CREDIT, open minor units, items) as of a day."""
    rows = _as_of(as_of, scope)
    query = select(rows.c.currency, rows.c.bucket, func.sum(rows.c.open_minor).cast(BigInteger), func.count()).group_by(
        rows.c.currency, rows.c.bucket
    )
    return [tuple(row) for row in session.execute(query)]


def sales_minor(session: Session, as_of: date, scope: Scope, since: date) -> dict[str, dict[str, int]]:
    """Gross sales by currency and month ("YYYY-MM"): invoices less credit notes issued from since to as_of."""
    month = func.to_char(ITEM.c.issue_on, "YYYY-MM")
    query = (
        select(ITEM.c.currency, month, func.sum(ITEM.c.initial_minor).cast(BigInteger))
        .where(
            ITEM.c.issue_on <= as_of,
            ITEM.c.issue_on >= since,
            ITEM.c.kind.in_(("INVOICE", "CREDIT_NOTE")),
            *scope.conditions(ITEM),
        )
        .group_by(ITEM.c.currency, month)
    )
    found: dict[str, dict[str, int]] = {}
    for currency, name, minor in session.execute(query):
        found.setdefault(currency, {})[name] = minor
    return found


def held_minor(session: Session, as_of: date, scope: Scope) -> list[tuple[str, str, bool, int]]:
    """(currency, hold kind, whether the item is overdue, amount) of holds in force on a day; now's holds only."""
    overdue = func.coalesce(ITEM.c.due_on < as_of, False)
    query = (
        select(ITEM.c.currency, HOLD.c.kind, overdue, func.sum(HOLD.c.amount_minor).cast(BigInteger))
        .select_from(HOLD.join(ITEM, ITEM.c.item_id == HOLD.c.item_id))
        .where(_hold_in_force(as_of), ITEM.c.open_minor > 0, *scope.conditions(ITEM))
        .group_by(ITEM.c.currency, HOLD.c.kind, overdue)
    )
    return [tuple(row) for row in session.execute(query)]


def _hold_in_force(as_of: date) -> ColumnElement[bool]:
    return and_(HOLD.c.from_on <= as_of, or_(HOLD.c.until_on.is_(None), HOLD.c.until_on >= as_of))


def received_minor(session: Session, first: date, last: date, scope: Scope) -> dict[str, int]:
    """Payments on debit items with a value date from first to last, positive, by currency."""
    query = (
        select(ITEM.c.currency, -func.sum(CHANGE.c.delta_minor).cast(BigInteger))
        .select_from(CHANGE.join(ITEM, ITEM.c.item_id == CHANGE.c.item_id))
        .where(
            CHANGE.c.value_on.between(first, last),
            CHANGE.c.cause.in_(("PAYMENT", "ABSENT_FROM_STOCK")),
            ITEM.c.initial_minor > 0,
            *scope.conditions(ITEM),
        )
        .group_by(ITEM.c.currency)
    )
    return {currency: minor for currency, minor in session.execute(query)}


def open_account_count(session: Session, scope: Scope) -> int:
    """Accounts with at least one open item now."""
    query = select(func.count(func.distinct(ITEM.c.account_id))).where(ITEM.c.open_minor != 0, *scope.conditions(ITEM))
    return session.execute(query).scalar_one()


def work_counts(session: Session, today: date, entity_codes: frozenset[str] | None) -> RowMapping:
    """How many actions, answers, promises, cases and risks want somebody."""
    return (
        session.execute(
            text(
                "SELECT count(*) FILTER (WHERE kind = 'ACTION' AND due_on <= :today) AS actions_due,"
                " count(*) FILTER (WHERE kind = 'ACTION' AND due_on < :today) AS actions_late,"
                " count(*) FILTER (WHERE kind = 'RESPONSE') AS answers_waiting,"
                " count(*) FILTER (WHERE kind = 'PROMISE' AND due_on <= :today) AS promises_due,"
                " count(*) FILTER (WHERE kind = 'CASE') AS cases_open,"
                " count(*) FILTER (WHERE kind = 'CASE' AND due_on < :today) AS cases_overdue,"
                " count(*) FILTER (WHERE kind = 'RISK') AS over_limit"
                " FROM work_item WHERE is_open"
                " AND (CAST(:codes AS text[]) IS NULL OR entity_code = ANY(CAST(:codes AS text[])) OR entity_code = '')"
            ),
            {"today": today, "codes": None if entity_codes is None else sorted(entity_codes)},
        )
        .mappings()
        .one()
    )


def report_items(
    session: Session,
    as_of: date,
    scope: Scope,
    conditions: Any,
    order: Any,
    limit: int,
    offset: int,
    *,
    overdue: bool,
) -> tuple[list[RowMapping], int]:
    """Rows behind a figure and how many there are in all. conditions and order: functions of the named columns."""
    rows = _as_of(as_of, scope)
    held = (
        select(func.coalesce(func.sum(HOLD.c.amount_minor), 0).cast(BigInteger))
        .where(HOLD.c.item_id == rows.c.item_id, _hold_in_force(as_of))
        .scalar_subquery()
    )
    hold_kinds = (
        select(func.string_agg(func.distinct(HOLD.c.kind), " "))
        .where(HOLD.c.item_id == rows.c.item_id, _hold_in_force(as_of))
        .scalar_subquery()
    )
    joined = rows.outerjoin(ACCOUNT, ACCOUNT.c.account_id == rows.c.account_id)
    base = select(
        rows,
        func.coalesce(ACCOUNT.c.number, "").label("account_number"),
        func.coalesce(ACCOUNT.c.name, "").label("account_name"),
        held.label("held_minor"),
        func.coalesce(hold_kinds, "").label("hold"),
    ).select_from(joined)
    if overdue:
        base = base.where(rows.c.bucket.in_(domain.BUCKET_LABELS[1:]))
    found = base.subquery("found")
    query = select(found).where(*conditions(found))
    total = session.execute(select(func.count()).select_from(query.subquery("counted"))).scalar_one()
    page = session.execute(query.order_by(*order(found), found.c.item_id).limit(limit).offset(offset))
    return list(page.mappings()), total


def activity(session: Session, account_id: str, limit: int) -> list[RowMapping]:
    """What happened with an account, newest first: work items and payments."""
    return list(
        session.execute(
            text(
                "SELECT happened_at, kind, state, title, title_fr, detail, by, amounts, reference_id FROM work_item"
                " WHERE account_id = :account_id AND is_shown"
                " UNION ALL (SELECT c.value_on::timestamptz, 'PAYMENT', 'RECEIVED', '', '', string_agg(i.number, ', '), '',"
                " json_build_array(json_build_object('currency', i.currency, 'minor', -sum(c.delta_minor))),"
                " to_char(c.value_on, 'YYYY-MM-DD')"
                " FROM item_change c JOIN item i ON i.item_id = c.item_id"
                " WHERE c.account_id = CAST(:account_id AS uuid) AND c.cause IN ('PAYMENT', 'ABSENT_FROM_STOCK')"
                " AND i.initial_minor > 0"
                " GROUP BY c.value_on, i.currency ORDER BY c.value_on DESC LIMIT :limit)"
                " ORDER BY 1 DESC LIMIT :limit"
            ),
            {"account_id": account_id, "limit": limit},
        ).mappings()
    )


def payment_delay(session: Session, account_id: str, since: date) -> tuple[float, int]:
    """Days after due weighted by amount, and invoices counted, of what was settled since a day."""
    row = session.execute(
        text(
            "SELECT coalesce(sum((settled_on - due_on) * initial_minor)::float8 / nullif(sum(initial_minor), 0), 0),"
            " count(*) FROM item WHERE account_id = :account_id AND kind = 'INVOICE' AND settled_on >= :since"
            " AND due_on IS NOT NULL AND initial_minor > 0"
        ),
        {"account_id": account_id, "since": since},
    ).one()
    return float(row[0]), row[1]


def search(session: Session, words: str, entity_codes: frozenset[str] | None, limit: int) -> list[RowMapping]:
    """Accounts, items, cases and contacts that carry the words; numbers that start with them first."""
    pattern = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return list(
        session.execute(
            text(
                "WITH scope AS (SELECT account_id, number, name, entity_code FROM account"
                "   WHERE CAST(:codes AS text[]) IS NULL OR entity_code = ANY(CAST(:codes AS text[])))"
                " (SELECT 'ACCOUNT' AS kind, account_id::text AS id, account_id::text AS account_id, name AS title,"
                "   number || ' · ' || entity_code AS detail, CASE WHEN number ILIKE :starts OR name ILIKE :starts"
                "   THEN 0 ELSE 1 END AS rank FROM scope WHERE number ILIKE :has OR name ILIKE :has"
                "   ORDER BY rank, name LIMIT :limit)"
                " UNION ALL (SELECT 'ITEM', i.item_id::text, i.account_id::text, i.number, s.name,"
                "   CASE WHEN i.open_minor <> 0 THEN 0 ELSE 1 END FROM item i JOIN scope s ON s.account_id = i.account_id"
                "   WHERE i.number ILIKE :starts ORDER BY 6, i.number LIMIT :limit)"
                " UNION ALL (SELECT 'CASE', w.reference_id, w.account_id, w.title, s.name, 1 FROM work_item w"
                "   JOIN scope s ON s.account_id::text = w.account_id WHERE w.kind = 'CASE' AND w.title ILIKE :has"
                "   LIMIT :limit)"
                " UNION ALL (SELECT 'CONTACT', c.contact_id::text, c.account_id::text, c.name, c.email, 1 FROM contact c"
                "   JOIN scope s ON s.account_id = c.account_id WHERE c.name ILIKE :has OR c.email ILIKE :has"
                "   ORDER BY c.name LIMIT :limit)"
                " ORDER BY 6, 4"
            ),
            {
                "codes": None if entity_codes is None else sorted(entity_codes),
                "has": f"%{pattern}%",
                "starts": f"{pattern}%",
                "limit": limit,
            },
        ).mappings()
    )
