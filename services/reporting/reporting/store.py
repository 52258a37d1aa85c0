"""The only SQL of the reporting service. Every statement runs for the tenant of its transaction (row security)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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
    Select,
    Table,
    Text,
    Values,
    and_,
    case,
    column,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
    values,
)
from sqlalchemy.orm import Session

from kit import bulk
from kit.db import declarative_base
from kit.newer import keep_newer
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
    Column("issued_minor", BigInteger),
    Column("issued_on", Date),
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
SALES = _table(
    "sales_month",
    Column("account_id", UUID(as_uuid=False)),
    Column("month", Date),
    Column("currency", Text),
    Column("entity_code", Text),
    Column("gross_minor", BigInteger),
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


_ACCOUNT = ["account_id", "version", "entity_code", "number", "name", "collector", "legal_unit_id"]
_CONTACT = ["contact_id", "account_id", "name", "email"]
_HOLD = ["hold_id", "account_id", "item_id", "kind", "amount_minor", "from_on", "until_on"]


def keep_accounts(session: Session, accounts: pa.Table, contacts: pa.Table, holds: pa.Table, part: int) -> None:
    """Keeps the accounts that are newer than what is known, with their contacts and holds.

    part > 0 adds to a version already kept. Raises LookupError when that version has not come yet: try again.
    """
    newer = keep_newer(session, "account", accounts.select(_ACCOUNT), "account_id", part)
    newer.replace("contact", contacts.select(_CONTACT))
    newer.replace("hold", holds.select(_HOLD))


def keep_facts(session: Session, items: pa.Table, changes: pa.Table) -> None:
    """Keeps changes (each once) and items (newest version each) with what is open after them; a tenant's facts one event
    at a time, or an item and its change that come side by side would not see each other."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('facts:' || current_setting('quittance.tenant'), 0))")
    )
    if _keep_new_facts(session, items, changes):
        return
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
            "WITH summed AS (SELECT item_id, sum(delta_minor)::bigint AS delta_minor, max(value_on) AS last_change_on"
            "   FROM item_change WHERE item_id IN (SELECT item_id::uuid FROM stage_item) GROUP BY item_id),"
            " kept AS (INSERT INTO item (tenant_id, item_id, version, account_id, entity_code, number, kind, currency,"
            "   issue_on, due_on, initial_minor, settled_on, order_number, issued_minor, issued_on, open_minor,"
            "   last_change_on)"
            " SELECT current_setting('quittance.tenant')::uuid, s.item_id::uuid, s.version, s.account_id::uuid,"
            "   s.entity_code, s.number, s.kind, s.currency, s.issue_on, s.due_on, s.initial_minor, s.settled_on,"
            "   coalesce(s.order_number, ''), s.issued_minor, s.issued_on,"
            "   s.issued_minor + coalesce(summed.delta_minor, 0), greatest(s.issued_on, summed.last_change_on)"
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
            "UPDATE item SET open_minor = item.issued_minor + summed.delta_minor,"
            "   last_change_on = greatest(item.issued_on, summed.last_change_on)"
            " FROM (SELECT item_id, sum(delta_minor)::bigint AS delta_minor, max(value_on) AS last_change_on"
            "   FROM item_change WHERE item_id IN (SELECT item_id::uuid FROM stage_item"
            "     UNION SELECT item_id::uuid FROM stage_change) GROUP BY item_id) AS summed"
            " WHERE item.item_id = summed.item_id"
            " AND (item.open_minor, item.last_change_on) IS DISTINCT FROM"
            "   (item.issued_minor + summed.delta_minor, greatest(item.issued_on, summed.last_change_on))"
        )
    )


def _keep_new_facts(session: Session, items: pa.Table, changes: pa.Table) -> bool:
    """Keeps items of which nothing is known yet, with at most one change each, as a load says them: what is open is added
    up here and each row is written once. False, and nothing is kept, when the event is another one."""
    place = pc.index_in(items["item_id"], value_set=changes["item_id"])
    has_one_each = len(place) - place.null_count == changes.num_rows == pc.count_distinct(changes["item_id"]).as_py()
    if not items.num_rows or not has_one_each or pc.count_distinct(items["item_id"]).as_py() < items.num_rows:
        return False
    # New ids follow each other, so two short looks into the indexes tell.
    ends = pc.min_max(items["item_id"]).as_py()
    is_known = session.execute(
        text(
            "SELECT EXISTS (SELECT FROM item WHERE item_id BETWEEN CAST(:min AS uuid) AND CAST(:max AS uuid))"
            " OR EXISTS (SELECT FROM item_change WHERE item_id BETWEEN CAST(:min AS uuid) AND CAST(:max AS uuid))"
        ),
        ends,
    ).scalar_one()
    if is_known:
        return False
    delta_minor = changes["delta_minor"].take(place).fill_null(0)
    open_minor = pc.add(items["issued_minor"], delta_minor)
    last_change_on = pc.max_element_wise(items["issued_on"], changes["value_on"].take(place))
    rows = items.append_column("open_minor", open_minor).append_column("last_change_on", last_change_on)
    bulk.stage(session, "stage_item", rows, analyzed=None)
    bulk.stage(session, "stage_change", changes, analyzed=None)
    session.execute(
        text(
            "INSERT INTO item (tenant_id, item_id, version, account_id, entity_code, number, kind, currency, issue_on,"
            " due_on, initial_minor, settled_on, order_number, issued_minor, issued_on, open_minor, last_change_on)"
            " SELECT current_setting('quittance.tenant')::uuid, item_id::uuid, version, account_id::uuid, entity_code,"
            " number, kind, currency, issue_on, due_on, initial_minor, settled_on, coalesce(order_number, ''),"
            " issued_minor, issued_on, open_minor, last_change_on FROM stage_item"
        )
    )
    session.execute(
        text(
            "INSERT INTO item_change (tenant_id, item_id, sequence, account_id, cause, delta_minor, value_on, recorded_at)"
            " SELECT current_setting('quittance.tenant')::uuid, item_id::uuid, sequence, account_id::uuid, cause,"
            " delta_minor, value_on, recorded_at FROM stage_change"
        )
    )
    return True


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


def _as_of(
    as_of: date | ColumnElement[date], scope: Scope, days: Values | None = None, *, has_changed_since: bool = False
) -> Any:
    """Items open as of a day: what is open now, less the changes that came later. Columns of item and open_as_of.

    With days (a list of dates as a table) as_of is its column, and every item open on one of them stands once for each,
    with the day as the column as_of. has_changed_since: only items with a change after the day.
    """
    day = literal(as_of, Date) if isinstance(as_of, date) else as_of
    by_day = [] if days is None else [day.label("as_of")]
    change = CHANGE if days is None else days.join(CHANGE, CHANGE.c.value_on > day)
    later = (
        select(*by_day, CHANGE.c.item_id, func.sum(CHANGE.c.delta_minor).cast(BigInteger).label("delta_minor"))
        .select_from(change)
        .where(CHANGE.c.value_on > day)
        .group_by(CHANGE.c.item_id, *([] if days is None else [day]))
        .subquery("later")
    )
    # An item may have been issued, as the ledger knows it, only after its own date.
    not_yet = case((ITEM.c.issued_on > day, ITEM.c.issued_minor), else_=0)
    open_as_of = (ITEM.c.open_minor - func.coalesce(later.c.delta_minor, 0) - not_yet).cast(BigInteger)
    is_later = ITEM.c.last_change_on > day
    may_be_open = and_(ITEM.c.issue_on <= day, is_later if has_changed_since else or_(ITEM.c.open_minor != 0, is_later))
    if days is None:
        rows = ITEM.outerjoin(later, later.c.item_id == ITEM.c.item_id)
    else:
        items = days.join(ITEM, may_be_open)
        rows = items.outerjoin(later, and_(later.c.item_id == ITEM.c.item_id, later.c.as_of == day))
    return (
        select(
            *by_day,
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
            _bucket(ITEM.c.due_on, open_as_of, day).label("bucket"),
        )
        .select_from(rows)
        .where(may_be_open, open_as_of != 0, *scope.conditions(ITEM))
        .subquery("open_item")
    )


def _bucket(due_on: ColumnElement, open_minor: ColumnElement, as_of: ColumnElement[date]) -> ColumnElement[str]:
    days_late = as_of - due_on
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


def aged_balance(session: Session, as_of: date, scope: Scope) -> pa.Table:
    """What each account owed on a day, by age: account_id, currency, then a column for each of domain.ALL_LABELS and one
    for CREDIT, in minor units (null: nothing), ordered by account and currency. The same figures as aging_groups.

    Most items have not changed since the day: a covering index of open ones gives their groups in its own order, without
    a row being read. Only those with a later change are joined with their changes; the groups of both are added here,
    because in one statement the planner gives up that order.
    """
    unchanged = (
        ITEM.c.open_minor != 0,
        ITEM.c.last_change_on <= as_of,
        ITEM.c.issue_on <= as_of,
        *scope.conditions(ITEM),
    )
    found = bulk.copy_out_arrow(session, _balance(ITEM, as_of).where(*unchanged))
    newest = session.execute(select(func.max(ITEM.c.last_change_on))).scalar()
    if newest is None or newest <= as_of:
        return found
    rows = _as_of(as_of, scope, has_changed_since=True)
    changed = bulk.copy_out_arrow(session, _balance(rows, as_of))
    labels = found.column_names[2:]
    both = pa.concat_tables([found, changed]).group_by(found.column_names[:2])
    summed = both.aggregate([(label, "sum") for label in labels])
    return summed.rename_columns({f"{label}_sum": label for label in labels}).sort_by(
        [(name, "ascending") for name in found.column_names[:2]]
    )


def _balance(rows: Any, as_of: date) -> Select:
    """Open items by account and currency, with _bucket as a column of sums each: days that are known beforehand compare
    faster than labels."""
    minor, due_on, later_than = rows.c.open_minor, rows.c.due_on, None
    columns = []
    for edge, label in zip((*domain.BUCKET_EDGES_DAYS, None), domain.BUCKET_LABELS, strict=True):
        oldest = as_of - timedelta(days=edge) if edge is not None else None
        bounds = [due_on >= oldest] if oldest is not None else []
        bounds += [due_on < later_than] if later_than is not None else []
        columns.append(_sum_of(minor, *bounds, minor > 0).label(label))
        later_than = oldest
    columns.append(_sum_of(minor, due_on.is_(None), minor > 0).label(domain.NO_DUE_DATE))
    columns.append(_sum_of(minor, minor < 0).label(domain.CREDIT))
    keys = (rows.c.account_id, rows.c.currency)
    return select(*keys, *columns).group_by(*keys).order_by(*keys)


def _sum_of(minor: ColumnElement, *conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(minor).filter(and_(*conditions)).cast(BigInteger)


def aging_groups_by_day(
    session: Session, days: Sequence[date], scope: Scope
) -> dict[date, list[tuple[str, str, int, int]]]:
    """aging_groups as of each of several days, in one statement."""
    table = values(column("as_of", Date), name="days").data([(day,) for day in days])
    rows = _as_of(table.c.as_of, scope, table)
    query = select(
        rows.c.as_of, rows.c.currency, rows.c.bucket, func.sum(rows.c.open_minor).cast(BigInteger), func.count()
    ).group_by(rows.c.as_of, rows.c.currency, rows.c.bucket)
    found: dict[date, list[tuple[str, str, int, int]]] = {day: [] for day in days}
    for day, *group in session.execute(query):
        found[day].append(tuple(group))
    return found


def keep_sales(session: Session, sales: pa.Table) -> None:
    """Keeps sales of months that files say; of each account, month and currency what was recorded last."""
    bulk.stage(session, "stage_sales", sales)
    session.execute(
        text(
            "INSERT INTO sales_month (tenant_id, account_id, month, currency, entity_code, gross_minor, recorded_at)"
            " SELECT current_setting('quittance.tenant')::uuid, account_id::uuid, month, currency, entity_code, gross_minor,"
            " recorded_at FROM stage_sales"
            " ON CONFLICT (tenant_id, account_id, month, currency) DO UPDATE SET entity_code = excluded.entity_code,"
            " gross_minor = excluded.gross_minor, recorded_at = excluded.recorded_at"
            " WHERE sales_month.recorded_at < excluded.recorded_at"
        )
    )


def sales_minor(
    session: Session, as_of: date, scope: Scope, since: date, *, from_files: bool = True
) -> dict[str, dict[str, int]]:
    """Gross sales by currency and month ("YYYY-MM") from since to as_of: what a file says of an account's month (whole
    months; not with from_files False), else its invoices less credit notes."""
    month = func.to_char(ITEM.c.issue_on, "YYYY-MM")
    derived = select(ITEM.c.currency, month.label("month"), ITEM.c.initial_minor.label("minor")).where(
        ITEM.c.issue_on <= as_of,
        ITEM.c.issue_on >= since,
        ITEM.c.kind.in_(("INVOICE", "CREDIT_NOTE")),
        *scope.conditions(ITEM),
    )
    rows = derived.subquery("sold")
    if from_files:
        said = select(SALES.c.account_id).where(
            SALES.c.account_id == ITEM.c.account_id,
            SALES.c.currency == ITEM.c.currency,
            SALES.c.month == func.date_trunc("month", ITEM.c.issue_on),
            SALES.c.gross_minor.is_not(None),
        )
        rows = union_all(derived.where(~said.exists()), _said_sales(as_of, scope, since)).subquery("sold")
    query = select(rows.c.currency, rows.c.month, func.sum(rows.c.minor).cast(BigInteger)).group_by(
        rows.c.currency, rows.c.month
    )
    found: dict[str, dict[str, int]] = {}
    for currency, name, minor in session.execute(query):
        found.setdefault(currency, {})[name] = minor
    return found


def _said_sales(as_of: date, scope: Scope, since: date) -> Select:
    return select(SALES.c.currency, func.to_char(SALES.c.month, "YYYY-MM").label("month"), SALES.c.gross_minor).where(
        SALES.c.month <= as_of, SALES.c.month >= since, SALES.c.gross_minor.is_not(None), *scope.conditions(SALES)
    )


def months_from_files(session: Session, as_of: date, scope: Scope, since: date) -> dict[str, set[str]]:
    """The months ("YYYY-MM") by currency of which files say sales of at least one account."""
    rows = _said_sales(as_of, scope, since).subquery("said")
    found: dict[str, set[str]] = {}
    for currency, month in session.execute(select(rows.c.currency, rows.c.month).distinct()):
        found.setdefault(currency, set()).add(month)
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
            # What came back was never received, and neither was what an import that was taken back said.
            CHANGE.c.cause.in_(("PAYMENT", "ABSENT_FROM_STOCK", "REOPENED", "ROLL_BACK")),
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
                " WHERE c.account_id = CAST(:account_id AS uuid) AND c.cause IN ('PAYMENT', 'ABSENT_FROM_STOCK',"
                " 'REOPENED', 'ROLL_BACK') AND i.initial_minor > 0"
                " GROUP BY c.value_on, i.currency HAVING sum(c.delta_minor) < 0 ORDER BY c.value_on DESC LIMIT :limit)"
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
