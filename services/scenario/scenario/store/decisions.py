"""What decisions are made of, and what became of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from scenario.domain.model import (
    PENDING_STATES,
    AccountState,
    BrokenPromise,
    Channel,
    CompletedStep,
    Move,
    OpenItem,
    Reason,
    ReasonInput,
)
from scenario.store.accounts import ACCOUNT_COLUMNS, AccountRow, account_row
from scenario.store.tables import ACTION

# How far back done steps and broken promises are read: older ones say nothing about what is open today.
HISTORY_DAYS = 730
ACTIVE_HOLD = "(from_on IS NULL OR from_on <= :today) AND (until_on IS NULL OR until_on >= :today)"


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
    master: str = ""

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
            master=self.master,
        )

    @property
    def hold_summary(self) -> str:
        """Such as DISPUTE:1,PROMISE:2."""
        return ",".join(f"{kind}:{count}" for kind, count in sorted(self.holds_by_kind.items()))


def facts(session: Session, account_ids: Sequence[str], today: date) -> dict[str, AccountFacts]:
    """All that decisions about these accounts need, in nine statements whatever their number; by account id.

    What accounts owe, and what was done about it, counts for the account through which they are collected.
    """
    given = {"ids": list(account_ids), "today": today, "since": today - timedelta(days=HISTORY_DAYS)}

    def rows(statement: str) -> Any:
        return session.execute(text(statement), given)

    found = {
        str(row.account_id): AccountFacts(account_row(row))
        for row in rows(f"SELECT {ACCOUNT_COLUMNS} FROM account WHERE account_id = ANY(CAST(:ids AS uuid[]))")
    }
    for row in rows(
        "SELECT a.account_id::text, m.number, m.name FROM account a JOIN account m ON m.account_id = a.master_account_id"
        " WHERE a.account_id = ANY(CAST(:ids AS uuid[]))"
    ):
        found[row.account_id].master = f"{row.number} {row.name}".strip()
    # Whose facts go where: each account's own to itself, those of accounts it leads to their master.
    takers = {account_id: [account_id] for account_id in found}
    for row in rows(
        "SELECT account_id::text, master_account_id::text FROM account"
        " WHERE master_account_id = ANY(CAST(:ids AS uuid[]))"
    ):
        takers.setdefault(row.account_id, []).append(row.master_account_id)
    given["ids"] = list(takers)
    for account_id, item_id, number, kind, currency, issue_on, due_on, open_minor, held_minor in rows(
        "SELECT i.account_id::text, i.item_id::text, i.number, i.kind, i.currency, i.issue_on, i.due_on, i.open_minor,"
        " least(coalesce(h.held_minor, 0), greatest(i.open_minor, 0))::bigint"
        " FROM open_item i LEFT JOIN (SELECT account_id, item_id, sum(amount_minor) AS held_minor FROM hold"
        f"  WHERE account_id = ANY(CAST(:ids AS uuid[])) AND {ACTIVE_HOLD} GROUP BY account_id, item_id) h"
        " ON h.account_id = i.account_id AND h.item_id = i.item_id"
        " WHERE i.account_id = ANY(CAST(:ids AS uuid[]))"
    ):
        item = OpenItem(item_id, number, kind, currency, issue_on, due_on, open_minor, held_minor)
        for taker in takers[account_id]:
            found[taker].items.append(item)
    for row in rows(
        f"SELECT account_id::text, kind, count(*) AS n FROM hold WHERE account_id = ANY(CAST(:ids AS uuid[]))"
        f" AND {ACTIVE_HOLD} GROUP BY account_id, kind"
    ):
        for taker in takers[row.account_id]:
            by_kind = found[taker].holds_by_kind
            by_kind[row.kind] = by_kind.get(row.kind, 0) + row.n
    for row in rows(
        "SELECT account_id::text, step_key, step, done_on, item_ids, channel, state FROM action"
        " WHERE account_id = ANY(CAST(:ids AS uuid[])) AND state IN ('DONE', 'SKIPPED') AND done_on >= :since"
        " ORDER BY done_on, action_id"
    ):
        is_skipped = row.state == "SKIPPED"
        reached = Channel(row.channel).reaches_customer and not is_skipped
        done = CompletedStep(
            row.step_key, row.step["offset_days"], row.done_on, frozenset(row.item_ids), reached, is_skipped
        )
        for taker in takers[row.account_id]:
            known = found[taker]
            known.completed.append(done)
            if reached:
                known.last_contact_on = max(known.last_contact_on or row.done_on, row.done_on)
    for row in rows(
        "SELECT account_id::text, max(sent_on) AS sent_on FROM message WHERE account_id = ANY(CAST(:ids AS uuid[]))"
        " AND sent_on IS NOT NULL GROUP BY account_id"
    ):
        for taker in takers.get(row.account_id, ()):
            known = found[taker]
            known.last_contact_on = max(known.last_contact_on or row.sent_on, row.sent_on)
    for row in rows(
        "SELECT p.account_id::text, p.promised_on, p.ended_on, l.currency, array_agg(l.item_id::text) AS item_ids,"
        " sum(coalesce(l.promised_minor, l.baseline_minor))::bigint AS promised_minor,"
        " sum(least(l.received_minor, coalesce(l.promised_minor, l.baseline_minor)))::bigint AS received_minor"
        " FROM promise p JOIN promise_line l ON l.promise_id = p.promise_id AND NOT l.is_replaced"
        " WHERE p.account_id = ANY(CAST(:ids AS uuid[])) AND p.state IN ('BROKEN', 'PARTLY_KEPT')"
        " AND p.ended_on >= :since GROUP BY p.promise_id, p.account_id, p.promised_on, p.ended_on, l.currency"
    ):
        promise = BrokenPromise(
            frozenset(row.item_ids), row.promised_on, row.ended_on, row.currency, row.promised_minor,
            row.received_minor,
        )  # fmt: skip
        for taker in takers[row.account_id]:
            found[taker].broken.append(promise)
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


def reason_to_json(reason: Reason) -> dict[str, Any]:
    """A reason as it is kept."""
    inputs = [{"name": given.name, "label": given.label, "value": given.value} for given in reason.inputs]
    return {"code": reason.code, "text": reason.text, "text_fr": reason.text_fr, "inputs": inputs}


def reason_from_json(kept: dict[str, Any] | None) -> Reason:
    """A reason as it was kept; an account that was never decided about says so."""
    if kept is None:
        return Reason("NOT_DECIDED", "Not computed yet", "Pas encore calculé")
    return Reason(kept["code"], kept["text"], kept["text_fr"], tuple(ReasonInput(**given) for given in kept["inputs"]))
