"""The only SQL of the scenario service."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Integer,
    Row,
    String,
    Table,
    Text,
    Uuid,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from kit import bulk, context, listing
from kit.db import declarative_base
from kit.errors import Code, Refused
from scenario.domain.defaults import default_scenarios
from scenario.domain.model import (
    PENDING_STATES,
    AccountState,
    Anchor,
    BrokenPromise,
    Channel,
    CompletedStep,
    Mode,
    Move,
    OpenItem,
    Reason,
    ReasonInput,
    Scenario,
    Step,
)

Base = declarative_base()

# How far back done steps and broken promises are read: older ones say nothing about what is open today.
HISTORY_DAYS = 730
ACTIVE_HOLD = "(from_on IS NULL OR from_on <= :today) AND (until_on IS NULL OR until_on >= :today)"

_UUID = Uuid(as_uuid=False)

ACTION = Table(
    "action",
    Base.metadata,
    Column("tenant_id", _UUID, primary_key=True),
    Column("action_id", _UUID, primary_key=True),
    Column("account_id", _UUID),
    Column("account_number", Text),
    Column("account_name", Text),
    Column("entity_code", Text),
    Column("scenario_id", _UUID),
    Column("scenario_version", Integer),
    Column("step", JSONB),
    Column("step_key", Text),
    Column("channel", Text),
    Column("step_number", Integer),
    Column("step_count", Integer),
    Column("state", Text),
    Column("due_on", Date),
    Column("leader_item_id", _UUID),
    Column("leader_number", Text),
    Column("leader_due_on", Date),
    Column("item_ids", JSONB),
    Column("overdue", JSONB),
    Column("collectable", JSONB),
    Column("collectable_minor", BigInteger),
    Column("reason", JSONB),
    Column("assignee", Text),
    Column("hold_summary", Text),
    Column("message_id", _UUID),
    Column("message_state", Text),
    Column("outcome", Text),
    Column("done_on", Date),
    Column("moved_to", Date),
    Column("intent", JSONB),
    Column("version", BigInteger),
    Column("changed_at", DateTime(timezone=True)),
)
PROMISE = Table(
    "promise",
    Base.metadata,
    Column("tenant_id", _UUID, primary_key=True),
    Column("promise_id", _UUID, primary_key=True),
    Column("account_id", _UUID),
    Column("account_name", Text),
    Column("entity_code", Text),
    Column("state", String),
    Column("is_placed", Integer),
    Column("promised_on", Date),
    Column("created_at", DateTime(timezone=True)),
)
ACTION_COLUMNS = tuple(column.name for column in ACTION.columns)


@dataclass(frozen=True)
class AccountRow:
    """What is known of one account, and the last decision about it."""

    account_id: str
    version: int
    entity_code: str
    entity_currency: str
    entity_country: str
    number: str
    name: str
    collector: str
    scenario_id: str | None
    paused_until: date | None
    pause_reason: str
    resumed_on: date | None
    decided_on: date | None


@dataclass
class AccountFacts:
    """All that a decision about one account needs, and its pending action."""

    account: AccountRow
    items: list[OpenItem] = field(default_factory=list)
    holds_by_kind: dict[str, int] = field(default_factory=dict)
    completed: list[CompletedStep] = field(default_factory=list)
    last_contact_on: date | None = None
    broken: list[BrokenPromise] = field(default_factory=list)
    pending: dict[str, Any] | None = None

    def state(self, today: date) -> AccountState:
        """As the rules want it. A pause that ran out counts as ended on the day after."""
        account, move = self.account, None
        if self.pending is not None and self.pending["moved_to"] is not None:
            move = Move(self.pending["step_key"], self.pending["leader_item_id"], self.pending["moved_to"])
        resumed_on = account.resumed_on
        if account.paused_until is not None and account.paused_until < today:
            resumed_on = account.paused_until + timedelta(days=1)
        return AccountState(
            currency=account.entity_currency,
            items=self.items,
            completed=self.completed,
            last_contact_on=self.last_contact_on,
            paused_until=account.paused_until,
            pause_reason=account.pause_reason,
            resumed_on=resumed_on,
            move=move,
            broken_promises=self.broken,
        )

    @property
    def hold_summary(self) -> str:
        """Such as DISPUTE:1,PROMISE:2."""
        return ",".join(f"{kind}:{count}" for kind, count in sorted(self.holds_by_kind.items()))


# ---- scenarios -------------------------------------------------------------------------------------------------------


def step_to_json(step: Step) -> dict[str, Any]:
    """A step as it is kept: all its fields are plain."""
    return dict(vars(step))


def step_from_json(kept: dict[str, Any]) -> Step:
    """A step as it was kept."""
    return Step(
        **{**kept, "channel": Channel(kept["channel"]), "mode": Mode(kept["mode"]), "anchor": Anchor(kept["anchor"])}
    )


def ensure_scenarios(session: Session) -> None:
    """Gives the current tenant the shipped scenarios when it has none."""
    if session.execute(text("SELECT EXISTS (SELECT FROM scenario)")).scalar_one():
        return
    tenant_id = context.current_tenant()
    rows = [
        {
            "tenant_id": tenant_id,
            "scenario_id": scenario.scenario_id,
            "version": scenario.version,
            "name": scenario.name,
            "name_fr": scenario.name_fr,
            "active": scenario.active,
            "is_default": scenario.is_default,
            "steps": [step_to_json(step) for step in scenario.steps],
        }
        for scenario in default_scenarios(tenant_id)
    ]
    session.execute(
        text(
            "INSERT INTO scenario (tenant_id, scenario_id, version, name, name_fr, active, is_default, steps)"
            " SELECT tenant_id, scenario_id, version, name, name_fr, active, is_default, steps"
            " FROM jsonb_populate_recordset(NULL::scenario, CAST(:rows AS jsonb)) ON CONFLICT DO NOTHING"
        ),
        {"rows": json.dumps(rows)},
    )


def scenarios(session: Session) -> list[Scenario]:
    """The newest version of each scenario of the tenant, the default first, then by name."""
    ensure_scenarios(session)
    rows = session.execute(
        text(
            "SELECT * FROM (SELECT DISTINCT ON (scenario_id) scenario_id, version, name, name_fr, active, is_default,"
            " steps FROM scenario ORDER BY scenario_id, version DESC) newest ORDER BY is_default DESC, name"
        )
    )
    return [
        Scenario(
            str(row.scenario_id), row.name, row.name_fr, row.version, row.active, row.is_default,
            tuple(step_from_json(step) for step in row.steps),
        )
        for row in rows
    ]  # fmt: skip


# ---- what the ledger said --------------------------------------------------------------------------------------------


def apply_accounts(session: Session, accounts: pa.Table, items: pa.Table, holds: pa.Table) -> list[str]:
    """Keeps accounts that are not older than what is known, and replaces their open items and holds.

    Returns the ids touched, ascending; their rows are locked until the transaction ends, always in that order. Parts of
    one account version add to one another, in whatever order they come.
    """
    bulk.stage(session, "said_account", accounts)
    bulk.stage(session, "said_item", items)
    bulk.stage(session, "said_hold", holds)
    session.execute(
        text(
            "SELECT 1 FROM account WHERE account_id IN (SELECT account_id::uuid FROM said_account)"
            " ORDER BY account_id FOR UPDATE"
        )
    )
    session.execute(
        text(
            "INSERT INTO account (tenant_id, account_id, version, entity_code, entity_currency, entity_country, number,"
            " name, collector)"
            " SELECT CAST(:tenant AS uuid), account_id::uuid, version, entity_code, entity_currency, entity_country,"
            " number, name, collector FROM said_account ORDER BY account_id::uuid"
            " ON CONFLICT (tenant_id, account_id) DO UPDATE SET version = excluded.version,"
            " entity_code = excluded.entity_code, entity_currency = excluded.entity_currency,"
            " entity_country = excluded.entity_country, number = excluded.number, name = excluded.name,"
            " collector = excluded.collector WHERE account.version < excluded.version"
        ),
        {"tenant": context.current_tenant()},
    )
    session.execute(
        text(
            "CREATE TEMP TABLE said_current ON COMMIT DROP AS"
            " SELECT a.account_id, a.version FROM said_account s"
            " JOIN account a ON a.account_id = s.account_id::uuid AND a.version = s.version"
        )
    )
    for table in ("open_item", "hold"):
        session.execute(
            text(
                f"DELETE FROM {table} t USING said_current c"
                " WHERE t.account_id = c.account_id AND t.account_version < c.version"
            )
        )
    session.execute(
        text(
            "INSERT INTO open_item (tenant_id, account_id, item_id, account_version, number, kind, currency, issue_on,"
            " due_on, open_minor)"
            " SELECT CAST(:tenant AS uuid), c.account_id, i.item_id::uuid, c.version, i.number, i.kind, i.currency,"
            " i.issue_on, i.due_on, i.open_minor"
            " FROM said_item i JOIN said_current c ON c.account_id = i.account_id::uuid"
            " ON CONFLICT (tenant_id, account_id, item_id) DO NOTHING"
        ),
        {"tenant": context.current_tenant()},
    )
    session.execute(
        text(
            "INSERT INTO hold (tenant_id, account_id, hold_id, item_id, account_version, kind, amount_minor, from_on,"
            " until_on, source, source_id)"
            " SELECT CAST(:tenant AS uuid), c.account_id, h.hold_id::uuid, h.item_id::uuid, c.version, h.kind,"
            " h.amount_minor, h.from_on, h.until_on, h.source, h.source_id"
            " FROM said_hold h JOIN said_current c ON c.account_id = h.account_id::uuid"
            " ON CONFLICT (tenant_id, account_id, hold_id) DO NOTHING"
        ),
        {"tenant": context.current_tenant()},
    )
    touched = session.scalars(text("SELECT account_id FROM said_current ORDER BY account_id"))
    ids = [str(account_id) for account_id in touched]
    for table in ("said_account", "said_item", "said_hold", "said_current"):
        session.execute(text(f"DROP TABLE {table}"))
    return ids


def lock_accounts(session: Session, account_ids: Sequence[str]) -> None:
    """Locks accounts in ascending order of their ids: decisions about one account happen one after the other."""
    session.execute(
        text("SELECT 1 FROM account WHERE account_id = ANY(CAST(:ids AS uuid[])) ORDER BY account_id FOR UPDATE"),
        {"ids": list(account_ids)},
    )


def stale_accounts(session: Session, today: date, after: str, limit: int) -> list[str]:
    """Ids of accounts whose decision is of another business date, ascending, after an id, locked; those that somebody
    else has locked are being decided anyway and are left to them."""
    rows = session.scalars(
        text(
            "SELECT account_id FROM account WHERE decided_on IS DISTINCT FROM :today"
            " AND account_id > CAST(:after AS uuid) ORDER BY account_id LIMIT :limit FOR UPDATE SKIP LOCKED"
        ),
        {"today": today, "after": after, "limit": limit},
    )
    return [str(account_id) for account_id in rows]


def account(session: Session, account_id: str) -> AccountRow:
    """One account within the caller's entities. Refuses NOT_FOUND ACCOUNT_UNKNOWN."""
    row = session.execute(
        text(f"SELECT {_ACCOUNT_COLUMNS} FROM account WHERE account_id = :id"), {"id": account_id}
    ).first()
    if row is None or not context.current_caller().sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "no such account")
    return _account(row)


def account_if_known(session: Session, account_id: str) -> AccountRow | None:
    """One account, or None."""
    row = session.execute(
        text(f"SELECT {_ACCOUNT_COLUMNS} FROM account WHERE account_id = :id"), {"id": account_id}
    ).first()
    return _account(row) if row is not None else None


_ACCOUNT_COLUMNS = (
    "account_id, version, entity_code, entity_currency, entity_country, number, name, collector, scenario_id,"
    " paused_until, pause_reason, resumed_on, decided_on"
)


def _account(row: Row) -> AccountRow:
    values = row._asdict()
    values["account_id"] = str(row.account_id)
    values["scenario_id"] = str(row.scenario_id) if row.scenario_id else None
    return AccountRow(**values)


def set_account(session: Session, account_id: str, **values: Any) -> None:
    """Changes what people keep on an account: scenario_id, paused_until, pause_reason, resumed_on."""
    columns = ", ".join(f"{name} = :{name}" for name in values)
    session.execute(text(f"UPDATE account SET {columns} WHERE account_id = :id"), {**values, "id": account_id})


# ---- facts for decisions ---------------------------------------------------------------------------------------------


def facts(session: Session, account_ids: Sequence[str], today: date) -> dict[str, AccountFacts]:
    """All that decisions about these accounts need, in seven statements whatever their number; by account id."""
    given = {"ids": list(account_ids), "today": today, "since": today - timedelta(days=HISTORY_DAYS)}

    def rows(statement: str) -> Any:
        return session.execute(text(statement), given)

    found = {
        str(row.account_id): AccountFacts(_account(row))
        for row in rows(f"SELECT {_ACCOUNT_COLUMNS} FROM account WHERE account_id = ANY(CAST(:ids AS uuid[]))")
    }
    for account_id, item_id, number, kind, currency, issue_on, due_on, open_minor, held_minor in rows(
        "SELECT i.account_id::text, i.item_id::text, i.number, i.kind, i.currency, i.issue_on, i.due_on, i.open_minor,"
        " least(coalesce(h.held_minor, 0), greatest(i.open_minor, 0))::bigint"
        " FROM open_item i LEFT JOIN (SELECT account_id, item_id, sum(amount_minor) AS held_minor FROM hold"
        f"  WHERE account_id = ANY(CAST(:ids AS uuid[])) AND {ACTIVE_HOLD} GROUP BY account_id, item_id) h"
        " ON h.account_id = i.account_id AND h.item_id = i.item_id"
        " WHERE i.account_id = ANY(CAST(:ids AS uuid[]))"
    ):
        found[account_id].items.append(
            OpenItem(item_id, number, kind, currency, issue_on, due_on, open_minor, held_minor)
        )
    for row in rows(
        f"SELECT account_id::text, kind, count(*) AS n FROM hold WHERE account_id = ANY(CAST(:ids AS uuid[]))"
        f" AND {ACTIVE_HOLD} GROUP BY account_id, kind"
    ):
        found[row.account_id].holds_by_kind[row.kind] = row.n
    for row in rows(
        "SELECT account_id::text, step_key, step, done_on, item_ids, channel, state FROM action"
        " WHERE account_id = ANY(CAST(:ids AS uuid[])) AND state IN ('DONE', 'SKIPPED') AND done_on >= :since"
        " ORDER BY done_on, action_id"
    ):
        is_skipped = row.state == "SKIPPED"
        reached = Channel(row.channel).reaches_customer and not is_skipped
        known = found[row.account_id]
        known.completed.append(
            CompletedStep(
                row.step_key, row.step["offset_days"], row.done_on, frozenset(row.item_ids), reached, is_skipped
            )
        )
        if reached:
            known.last_contact_on = max(known.last_contact_on or row.done_on, row.done_on)
    for row in rows(
        "SELECT account_id::text, max(sent_on) AS sent_on FROM message WHERE account_id = ANY(CAST(:ids AS uuid[]))"
        " AND sent_on IS NOT NULL GROUP BY account_id"
    ):
        if row.account_id in found:
            known = found[row.account_id]
            known.last_contact_on = max(known.last_contact_on or row.sent_on, row.sent_on)
    for row in rows(
        "SELECT p.account_id::text, p.promised_on, p.ended_on, l.currency, array_agg(l.item_id::text) AS item_ids,"
        " sum(coalesce(l.promised_minor, l.baseline_minor))::bigint AS promised_minor,"
        " sum(least(l.received_minor, coalesce(l.promised_minor, l.baseline_minor)))::bigint AS received_minor"
        " FROM promise p JOIN promise_line l ON l.promise_id = p.promise_id AND NOT l.is_replaced"
        " WHERE p.account_id = ANY(CAST(:ids AS uuid[])) AND p.state IN ('BROKEN', 'PARTLY_KEPT')"
        " AND p.ended_on >= :since GROUP BY p.promise_id, p.account_id, p.promised_on, p.ended_on, l.currency"
    ):
        found[row.account_id].broken.append(
            BrokenPromise(
                frozenset(row.item_ids), row.promised_on, row.ended_on, row.currency, row.promised_minor,
                row.received_minor,
            )
        )  # fmt: skip
    for row in session.execute(
        select(ACTION).where(
            ACTION.c.account_id.in_(list(account_ids)),
            ACTION.c.state.in_(PENDING_STATES),
        )
    ).mappings():
        found[row["account_id"]].pending = dict(row)
    return found


def save_decisions(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Notes the decision about many accounts: account_id, decided_on, reason, overdue, collectable."""
    session.execute(
        text(
            "UPDATE account SET decided_on = d.decided_on, reason = d.reason, overdue = d.overdue,"
            " collectable = d.collectable"
            " FROM jsonb_populate_recordset(NULL::account, CAST(:rows AS jsonb)) d"
            " WHERE account.account_id = d.account_id"
        ),
        {"rows": json.dumps(rows, default=str)},
    )


def decision_note(session: Session, account_id: str) -> Row:
    """reason, overdue, collectable of the last decision about an account."""
    return session.execute(
        text("SELECT reason, overdue, collectable FROM account WHERE account_id = :id"), {"id": account_id}
    ).one()


# ---- actions ---------------------------------------------------------------------------------------------------------


def save_actions(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts or replaces many actions in one statement."""
    if not rows:
        return
    columns = ", ".join(ACTION_COLUMNS)
    changes = ", ".join(f"{name} = excluded.{name}" for name in ACTION_COLUMNS[2:])
    # Ended ones first: the rule of one pending action per account is checked row by row.
    ordered = sorted(rows, key=lambda row: row["state"] in PENDING_STATES)
    session.execute(
        text(
            f"INSERT INTO action ({columns}) SELECT {columns}"
            " FROM jsonb_populate_recordset(NULL::action, CAST(:rows AS jsonb))"
            f" ON CONFLICT (tenant_id, action_id) DO UPDATE SET {changes}"
        ),
        {"rows": json.dumps(ordered, default=str)},
    )


def action(session: Session, action_id: str) -> dict[str, Any]:
    """One action within the caller's entities. Refuses NOT_FOUND ACTION_UNKNOWN."""
    row = session.execute(select(ACTION).where(ACTION.c.action_id == action_id)).mappings().first()
    if row is None or not context.current_caller().sees_entity(row["entity_code"]):
        raise Refused(Code.NOT_FOUND, "ACTION_UNKNOWN", "no such action")
    return dict(row)


def action_for_update(session: Session, action_id: str) -> dict[str, Any]:
    """One action, its account locked before it, as every writer does. Refuses NOT_FOUND ACTION_UNKNOWN."""
    lock_accounts(session, [action(session, action_id)["account_id"]])
    return action(session, action_id)


def action_if_known(session: Session, action_id: str) -> dict[str, Any] | None:
    """One action, or None: a message may belong to an action of another reading."""
    row = session.execute(select(ACTION).where(ACTION.c.action_id == action_id)).mappings().first()
    return dict(row) if row else None


def pending_action(session: Session, account_id: str) -> dict[str, Any] | None:
    """The one action of an account that has not ended, or None."""
    row = (
        session.execute(select(ACTION).where(ACTION.c.account_id == account_id, ACTION.c.state.in_(PENDING_STATES)))
        .mappings()
        .first()
    )
    return dict(row) if row else None


_ACTION_FIELDS = {
    name: ACTION.c[name]
    for name in (
        "account_id", "state", "due_on", "entity_code", "assignee", "channel", "leader_due_on", "account_number",
    )
}  # fmt: skip
_ACTION_ORDER = {
    "due_on": ACTION.c.due_on,
    "collectable": ACTION.c.collectable_minor,
    "leader_due_on": ACTION.c.leader_due_on,
    "account_name": ACTION.c.account_name,
    "account_number": ACTION.c.account_number,
    "entity_code": ACTION.c.entity_code,
    "assignee": ACTION.c.assignee,
    "state": ACTION.c.state,
}


def list_actions(
    session: Session, filter_text: str, order: str, limit: int, offset: int, account_id: str = "", state: str = ""
) -> tuple[list[dict[str, Any]], int]:
    """A page of actions within the caller's entities, and how many there are in all."""
    conditions = listing.parse_filter(filter_text, _ACTION_FIELDS)
    if account_id:
        conditions.append(ACTION.c.account_id == account_id)
    if state:
        conditions.append(ACTION.c.state == state)
    if not state and not any(term.name == "state" for term in listing.filter_terms(filter_text)):
        conditions.append(ACTION.c.state.in_(("DUE", "SENDING", "NEEDS_ATTENTION")))
    conditions += _within_entities(ACTION.c.entity_code)
    return _page(
        session, ACTION, conditions,
        [*listing.order_by(order, _ACTION_ORDER, "due_on, collectable desc"), ACTION.c.action_id], limit, offset,
    )  # fmt: skip


def _within_entities(column: Any) -> list[Any]:
    codes = context.current_caller().entity_codes
    return [] if codes is None else [column.in_(sorted(codes))]


def _page(
    session: Session, table: Table, conditions: list[Any], order: list[Any], limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    total = session.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()
    rows = session.execute(select(table).where(*conditions).order_by(*order).limit(limit).offset(offset)).mappings()
    return [dict(row) for row in rows], total


def history(session: Session, account_id: str, since: date) -> list[dict[str, Any]]:
    """Done and skipped actions of one account, oldest first."""
    rows = session.execute(
        select(ACTION)
        .where(ACTION.c.account_id == account_id, ACTION.c.state.in_(("DONE", "SKIPPED")), ACTION.c.done_on >= since)
        .order_by(ACTION.c.done_on, ACTION.c.action_id)
    ).mappings()
    return [dict(row) for row in rows]


# ---- messages --------------------------------------------------------------------------------------------------------


def keep_message_if_newer(
    session: Session, message_id: str, version: int, account_id: str, action_id: str | None, state: str,
    sent_on: date | None,
) -> bool:  # fmt: skip
    """Keeps what is said of a message; False when something newer is known already."""
    row = session.execute(
        text(
            "INSERT INTO message (tenant_id, message_id, version, account_id, action_id, state, sent_on)"
            " VALUES (:tenant, :message_id, :version, :account_id, :action_id, :state, :sent_on)"
            " ON CONFLICT (tenant_id, message_id) DO UPDATE SET version = excluded.version, state = excluded.state,"
            " sent_on = excluded.sent_on WHERE message.version < excluded.version RETURNING 1"
        ),
        {
            "tenant": context.current_tenant(),
            "message_id": message_id,
            "version": version,
            "account_id": account_id,
            "action_id": action_id,
            "state": state,
            "sent_on": sent_on,
        },
    ).first()
    return row is not None


# ---- promises --------------------------------------------------------------------------------------------------------


@dataclass
class PromiseRow:
    """A promise with its lines (item_id, item_number, currency, promised_minor, baseline_minor, received_minor,
    is_replaced; open_minor as known now, 0 for an item that is not open)."""

    promise_id: str
    request_hash: bytes
    account_id: str
    account_name: str
    entity_code: str
    state: str
    is_placed: bool
    promised_on: date
    tolerance_days: int
    source: str
    source_id: str
    comment: str
    created_by: str
    created_at: Any
    ended_on: date | None
    ended_reason: str
    version: int
    lines: list[dict[str, Any]] = field(default_factory=list)


def promises(session: Session, promise_ids: Sequence[str], *, for_update: bool = False) -> dict[str, PromiseRow]:
    """Promises by id, with their lines; locked in ascending order when asked for."""
    rows = session.execute(
        text(
            "SELECT promise_id::text, request_hash, account_id::text, account_name, entity_code, state, is_placed,"
            " promised_on, tolerance_days, source, source_id, comment, created_by, created_at, ended_on, ended_reason,"
            " version FROM promise WHERE promise_id = ANY(CAST(:ids AS uuid[])) ORDER BY promise_id"
            + (" FOR UPDATE" if for_update else "")
        ),
        {"ids": list(promise_ids)},
    )
    found = {row.promise_id: PromiseRow(**row._asdict()) for row in rows}
    lines = session.execute(
        text(
            "SELECT l.promise_id::text, l.item_id::text, l.item_number, l.currency, l.promised_minor, l.baseline_minor,"
            " l.received_minor, l.is_replaced, coalesce(i.open_minor, 0) AS open_minor"
            " FROM promise_line l JOIN promise p ON p.promise_id = l.promise_id"
            " LEFT JOIN open_item i ON i.account_id = p.account_id AND i.item_id = l.item_id"
            " WHERE l.promise_id = ANY(CAST(:ids AS uuid[])) ORDER BY l.item_number, l.item_id"
        ),
        {"ids": list(promise_ids)},
    )
    for row in lines:
        found[row.promise_id].lines.append(row._asdict())
    return found


def promise(session: Session, promise_id: str, *, for_update: bool = False) -> PromiseRow:
    """One placed promise within the caller's entities. Refuses NOT_FOUND PROMISE_UNKNOWN."""
    found = promises(session, [promise_id], for_update=for_update).get(promise_id)
    if found is None or not found.is_placed or not context.current_caller().sees_entity(found.entity_code):
        raise Refused(Code.NOT_FOUND, "PROMISE_UNKNOWN", "no such promise")
    return found


def promises_to_evaluate(session: Session, account_ids: Sequence[str], today: date) -> list[str]:
    """Ids of promises of these accounts that may change: open ones, and kept ones while a payment can be reversed."""
    rows = session.scalars(
        text(
            "SELECT promise_id::text FROM promise WHERE account_id = ANY(CAST(:ids AS uuid[])) AND is_placed"
            " AND (state = 'OPEN' OR (state = 'KEPT' AND promised_on + tolerance_days >= :today)) ORDER BY promise_id"
        ),
        {"ids": list(account_ids), "today": today},
    )
    return list(rows)


def live_promises_of_items(session: Session, item_ids: Iterable[str], but_not: str) -> dict[str, list[str]]:
    """Open promises on these items other than one: promise id to the items concerned."""
    rows = session.execute(
        text(
            "SELECT p.promise_id::text, l.item_id::text FROM promise p"
            " JOIN promise_line l ON l.promise_id = p.promise_id AND NOT l.is_replaced"
            " WHERE p.state = 'OPEN' AND p.is_placed AND p.promise_id <> CAST(:but_not AS uuid)"
            " AND l.item_id = ANY(CAST(:items AS uuid[])) ORDER BY 1, 2"
        ),
        {"items": list(item_ids), "but_not": but_not},
    )
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row.promise_id].append(row.item_id)
    return dict(found)


def add_promise(session: Session, row: PromiseRow) -> None:
    """Writes a new promise with its lines."""
    tenant = context.current_tenant()
    values = asdict(row)
    lines = values.pop("lines")
    session.execute(
        text(
            "INSERT INTO promise (tenant_id, promise_id, request_hash, account_id, account_name, entity_code, state,"
            " is_placed, promised_on, tolerance_days, source, source_id, comment, created_by, created_at, version)"
            " VALUES (:tenant, :promise_id, :request_hash, :account_id, :account_name, :entity_code, :state,"
            " :is_placed, :promised_on, :tolerance_days, :source, :source_id, :comment, :created_by, :created_at,"
            " :version)"
        ),
        {**values, "tenant": tenant},
    )
    session.execute(
        text(
            "INSERT INTO promise_line (tenant_id, promise_id, item_id, item_number, currency, promised_minor,"
            " baseline_minor) VALUES (:tenant, :promise_id, :item_id, :item_number, :currency, :promised_minor,"
            " :baseline_minor)"
        ),
        [{**line, "tenant": tenant, "promise_id": row.promise_id} for line in lines],
    )


def save_promise(session: Session, row: PromiseRow) -> None:
    """Writes the state of a promise and of its lines."""
    session.execute(
        text(
            "UPDATE promise SET state = :state, is_placed = :is_placed, ended_on = :ended_on,"
            " ended_reason = :ended_reason, version = :version WHERE promise_id = :promise_id"
        ),
        {
            "state": str(row.state),
            "is_placed": row.is_placed,
            "ended_on": row.ended_on,
            "ended_reason": row.ended_reason,
            "version": row.version,
            "promise_id": row.promise_id,
        },
    )
    session.execute(
        text(
            "UPDATE promise_line SET promised_minor = :promised_minor, received_minor = :received_minor,"
            " is_replaced = :is_replaced WHERE promise_id = :promise_id AND item_id = :item_id"
        ),
        [
            {
                "promised_minor": line["promised_minor"],
                "received_minor": line["received_minor"],
                "is_replaced": line["is_replaced"],
                "promise_id": row.promise_id,
                "item_id": line["item_id"],
            }
            for line in row.lines
        ],
    )


def remove_unplaced_promise(session: Session, promise_id: str) -> None:
    """Forgets a promise whose holds were refused."""
    session.execute(
        text(
            "DELETE FROM promise_line l USING promise p WHERE p.promise_id = l.promise_id"
            " AND p.promise_id = :id AND NOT p.is_placed"
        ),
        {"id": promise_id},
    )
    session.execute(text("DELETE FROM promise WHERE promise_id = :id AND NOT is_placed"), {"id": promise_id})


_PROMISE_FIELDS = {name: PROMISE.c[name] for name in ("account_id", "state", "promised_on", "entity_code")}
_PROMISE_ORDER = {name: PROMISE.c[name] for name in ("promised_on", "created_at", "account_name", "state")}


def list_promises(
    session: Session, filter_text: str, order: str, limit: int, offset: int, account_id: str = ""
) -> tuple[list[PromiseRow], int]:
    """A page of promises within the caller's entities, and how many there are in all."""
    conditions: list[Any] = [*listing.parse_filter(filter_text, _PROMISE_FIELDS), text("is_placed")]
    if account_id:
        conditions.append(PROMISE.c.account_id == account_id)
    conditions += _within_entities(PROMISE.c.entity_code)
    total = session.execute(select(func.count()).select_from(PROMISE).where(*conditions)).scalar_one()
    ids = session.scalars(
        select(PROMISE.c.promise_id)
        .where(*conditions)
        .order_by(*listing.order_by(order, _PROMISE_ORDER, "promised_on"), PROMISE.c.promise_id)
        .limit(limit)
        .offset(offset)
    ).all()
    found = promises(session, ids)
    return [found[promise_id] for promise_id in ids], total


# ---- reasons ---------------------------------------------------------------------------------------------------------


def reason_to_json(reason: Reason) -> dict[str, Any]:
    """A reason as it is kept."""
    inputs = [{"name": given.name, "label": given.label, "value": given.value} for given in reason.inputs]
    return {"code": reason.code, "text": reason.text, "text_fr": reason.text_fr, "inputs": inputs}


def reason_from_json(kept: dict[str, Any] | None) -> Reason:
    """A reason as it was kept; an account that was never decided about says so."""
    if kept is None:
        return Reason("NOT_DECIDED", "Not computed yet", "Pas encore calculé")
    return Reason(kept["code"], kept["text"], kept["text_fr"], tuple(ReasonInput(**given) for given in kept["inputs"]))
