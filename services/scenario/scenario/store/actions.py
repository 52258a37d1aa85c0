"""Actions, and the messages that some of them became."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Table, func, select, text
from sqlalchemy.orm import Session

from kit import context, listing
from kit.errors import Code, Refused
from scenario.domain.model import PENDING_STATES
from scenario.store.accounts import lock_accounts
from scenario.store.tables import ACTION, ACTION_COLUMNS, within_entities


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
    conditions += within_entities(ACTION.c.entity_code)
    return _page(
        session, ACTION, conditions,
        [*listing.order_by(order, _ACTION_ORDER, "due_on, collectable desc"), ACTION.c.action_id], limit, offset,
    )  # fmt: skip


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
