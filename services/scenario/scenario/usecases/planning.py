"""Deciding about accounts, and the one action that follows from it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import holidays
from sqlalchemy.orm import Session

from kit import clock, context
from kit.ids import new_id
from kit.money import Money
from kit.outbox import emit
from quittance.scenario.v1 import scenario_events_pb2 as events_pb
from scenario import store, translate
from scenario.config import Settings
from scenario.domain.decision import decide
from scenario.domain.model import REPLANNED_STATES, ActionState, Calendar, Decision, Policy, Scenario
from scenario.usecases.promises import evaluate_promises

ACTIONS_PER_EVENT_MAX = 200
# Below the bus's limit of 512 KiB with room for the envelope; one action lists at most 2,000 items (about 80 KB).
EVENT_MAX_BYTES = 400_000
SWEEP_BATCH_ACCOUNTS = 500


def policy_of(settings: Settings) -> Policy:
    """The rules' policy from the settings."""
    return Policy(settings.min_contact_gap_days, settings.min_account_amount, settings.nets_credits)


@lru_cache(maxsize=64)
def calendar_of(country: str) -> Calendar:
    """Weekends and the public holidays of a country; weekends only for one we have no holidays of."""
    try:
        return Calendar(holidays=holidays.country_holidays(country)) if country else Calendar()
    except NotImplementedError:
        return Calendar()


def replan(session: Session, account_ids: Sequence[str], today: date, policy: Policy) -> dict[str, Decision]:
    """Decides anew about accounts whose rows are locked, keeps what became of it, and tells; by account id."""
    if not account_ids:
        return {}
    known = store.facts(session, account_ids, today)
    by_id, default = _scenarios(session)
    now = clock.utc_now()
    rules = store.entity_rules(session, sorted({facts.account.entity_code for facts in known.values()}))
    decisions, notes, changed = {}, [], []
    for account_id, facts in known.items():
        scenario = by_id.get(facts.account.scenario_id or "", default)
        own = _policy_by_rule(policy, rules.get(facts.account.entity_code), facts.account.entity_currency)
        decision = decide(facts.state(today), scenario, calendar_of(facts.account.entity_country), today, own)
        decisions[account_id] = decision
        notes.append(
            {
                "account_id": account_id,
                "decided_on": today,
                "reason": store.reason_to_json(decision.reason),
                "overdue": decision.overdue_minor,
                "collectable": decision.collectable_minor,
            }
        )
        changed += _reconcile(facts, scenario, decision, today, now)
    store.save_decisions(session, notes)
    save_and_tell(session, changed, today)
    return decisions


def _policy_by_rule(policy: Policy, rule: tuple[int, int | None] | None, currency: str) -> Policy:
    """The policy of an entity: its own small-amount rules where it has any."""
    if rule is None:
        return policy
    below_minor, minimum_minor = rule
    minimum = policy.min_account_amount if minimum_minor is None else Money(currency, minimum_minor).amount
    return replace(policy, ignore_item_below_minor=below_minor, min_account_amount=minimum)


def _scenarios(session: Session) -> tuple[dict[str, Scenario], Scenario]:
    found = store.scenarios(session)
    default = next(scenario for scenario in found if scenario.is_default)
    return {scenario.scenario_id: scenario for scenario in found if scenario.active}, default


def scenario_of(session: Session, account: store.AccountRow) -> Scenario:
    """The scenario an account follows."""
    by_id, default = _scenarios(session)
    return by_id.get(account.scenario_id or "", default)


def _reconcile(
    facts: store.AccountFacts, scenario: Scenario, decision: Decision, today: date, now: datetime
) -> list[dict[str, Any]]:
    """The rows to write so that the pending action is the decided one: none, one, or an ended and a new one."""
    pending, wanted = facts.pending, decision.action
    if pending is not None and pending["state"] not in REPLANNED_STATES:
        # A sender or a person has the word; only a failure about which nothing is owed any more goes by itself.
        if (
            wanted is None
            and pending["state"] == ActionState.NEEDS_ATTENTION
            and pending["message_state"] in ("BOUNCED", "FAILED")
        ):
            return [_not_wanted(pending, decision, now)]
        return []
    if wanted is None:
        return [] if pending is None else [_not_wanted(pending, decision, now)]
    row = _wanted_row(facts, scenario, decision, today)
    if pending is None:
        return [_fresh(row, now)]
    is_same_step = pending["step_key"] == row["step_key"] and pending["scenario_id"] == row["scenario_id"]
    if not is_same_step and pending["state"] == ActionState.DUE:
        return [
            _not_wanted(pending, decision, now),
            _fresh(row, now),
        ]
    moved_to = pending["moved_to"] if is_same_step and pending["leader_item_id"] == row["leader_item_id"] else None
    after = {**pending, **row, "moved_to": moved_to}
    if all(pending[name] == after[name] for name in store.ACTION_COLUMNS):
        return []
    return [{**after, "version": pending["version"] + 1, "changed_at": now}]


def _wanted_row(facts: store.AccountFacts, scenario: Scenario, decision: Decision, today: date) -> dict[str, Any]:
    action, account = decision.action, facts.account
    assert action is not None
    return {
        "tenant_id": context.current_tenant(),
        "account_id": account.account_id,
        "account_number": account.number,
        "account_name": account.name,
        "entity_code": account.entity_code,
        "scenario_id": scenario.scenario_id,
        "scenario_version": scenario.version,
        "step": {**store.step_to_json(action.step), "mode": str(action.mode)},
        "step_key": action.step.key,
        "channel": str(action.step.channel),
        "step_number": action.step_number,
        "step_count": len(scenario.steps),
        "state": ActionState.DUE if action.due_on <= today else ActionState.PLANNED,
        "due_on": action.due_on,
        "leader_item_id": action.leader.item_id,
        "leader_number": action.leader.number,
        "leader_due_on": action.leader.due_on,
        "item_ids": list(action.item_ids),
        "overdue": decision.overdue_minor,
        "collectable": decision.collectable_minor,
        "collectable_minor": decision.collectable_minor.get(action.leader.currency, 0),
        "reason": store.reason_to_json(decision.reason),
        "assignee": account.collector,
        "hold_summary": facts.hold_summary,
    }


def _fresh(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        **row,
        "action_id": new_id(),
        "message_id": None,
        "message_state": "",
        "outcome": "",
        "outcome_fr": "",
        "done_on": None,
        "moved_to": None,
        "intent": None,
        "version": 1,
        "changed_at": now,
    }


def _not_wanted(pending: dict[str, Any], decision: Decision, now: datetime) -> dict[str, Any]:
    """The pending action as it ends because the rules no longer want it, with their reason."""
    reason = decision.reason
    return ended(pending, ActionState.CANCELLED, reason.text, now, outcome_fr=reason.text_fr)


def ended(
    row: dict[str, Any],
    state: ActionState,
    outcome: str,
    now: datetime,
    done_on: date | None = None,
    outcome_fr: str = "",
) -> dict[str, Any]:
    """An action's row as it ends: how, in English, and in French where that was said too."""
    return {
        **row,
        "state": state,
        "outcome": outcome,
        "outcome_fr": outcome_fr,
        "done_on": done_on,
        "version": row["version"] + 1,
        "changed_at": now,
    }


def save_and_tell(session: Session, rows: Sequence[dict[str, Any]], today: date) -> None:
    """Writes actions and says them, at most 200 and 400 kB in one event."""
    store.save_actions(session, rows)
    event, size = events_pb.ActionsChanged(), 0
    for row in rows:
        message = translate.action_to_proto(row, today)
        is_full = len(event.actions) == ACTIONS_PER_EVENT_MAX or size + message.ByteSize() > EVENT_MAX_BYTES
        if event.actions and is_full:
            emit(session, event, event.actions[0].account_id)
            event, size = events_pb.ActionsChanged(), 0
        event.actions.append(message)
        size += message.ByteSize()
    if event.actions:
        emit(session, event, event.actions[0].account_id)


def replan_one(session: Session, account_id: str, today: date, policy: Policy) -> Decision:
    """Locks one account and decides about it."""
    store.lock_accounts(session, [account_id])
    return replan(session, [account_id], today, policy)[account_id]


def sweep(session: Session, after: str, today: date, policy: Policy) -> str:
    """Decides about the next accounts whose decision is of another day; returns the last id, empty for none."""
    account_ids = store.stale_accounts(session, today, after, SWEEP_BATCH_ACCOUNTS)
    evaluate_promises(session, account_ids, today)
    replan(session, account_ids, today, policy)
    return account_ids[-1] if account_ids else ""
