"""Load, decide, save, tell. Whoever changes anything of an account holds the lock of its row."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import holidays
from sqlalchemy.orm import Session

from kit import clock, context, jobs
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.outbox import emit
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.scenario.v1 import scenario_events_pb2 as events_pb
from quittance.scenario.v1 import scenario_service_pb2 as pb
from scenario import store, translate
from scenario.config import Settings
from scenario.domain import promise as promise_rules
from scenario.domain.decision import decide
from scenario.domain.model import (
    REPLANNED_STATES,
    ActionState,
    Calendar,
    Decision,
    Policy,
    Scenario,
)
from scenario.domain.promise import PromiseState

ACTIONS_PER_EVENT_MAX = 200
# Below the bus's limit of 512 KiB with room for the envelope; one action lists at most 2,000 items (about 80 KB).
EVENT_MAX_BYTES = 400_000
SWEEP_BATCH_ACCOUNTS = 500
# An account with so many items in one event may have more in the next: its promises are judged by the sweep.
ITEMS_PER_PART = 2000
_PROMISE_NAMESPACE = uuid.UUID("0c1b3a52-8c52-4d3e-93b7-4d3f5f2c9f11")

# Which states a person's word is taken in; the others have ended, or a sender has the word.
OPEN_TO_PEOPLE = frozenset({ActionState.DUE, ActionState.PLANNED, ActionState.NEEDS_ATTENTION})
MESSAGE_DONE = frozenset({"SENT", "DELIVERED"})
MESSAGE_NOT_DONE = frozenset({"BOUNCED", "FAILED", "UNKNOWN"})


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


# ---- planning --------------------------------------------------------------------------------------------------------


def replan(session: Session, account_ids: Sequence[str], today: date, policy: Policy) -> dict[str, Decision]:
    """Decides anew about accounts whose rows are locked, keeps what became of it, and tells; by account id."""
    if not account_ids:
        return {}
    known = store.facts(session, account_ids, today)
    by_id, default = _scenarios(session)
    now = clock.utc_now()
    decisions, notes, changed = {}, [], []
    for account_id, facts in known.items():
        scenario = by_id.get(facts.account.scenario_id or "", default)
        decision = decide(facts.state(today), scenario, calendar_of(facts.account.entity_country), today, policy)
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
            return [_ended(pending, ActionState.CANCELLED, decision.reason.text, now)]
        return []
    if wanted is None:
        return [] if pending is None else [_ended(pending, ActionState.CANCELLED, decision.reason.text, now)]
    row = _wanted_row(facts, scenario, decision, today)
    if pending is None:
        return [_fresh(row, now)]
    is_same_step = pending["step_key"] == row["step_key"] and pending["scenario_id"] == row["scenario_id"]
    if not is_same_step and pending["state"] == ActionState.DUE:
        return [_ended(pending, ActionState.CANCELLED, decision.reason.text, now), _fresh(row, now)]
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
        "done_on": None,
        "moved_to": None,
        "intent": None,
        "version": 1,
        "changed_at": now,
    }


def _ended(
    row: dict[str, Any], state: ActionState, outcome: str, now: datetime, done_on: date | None = None
) -> dict[str, Any]:
    return {
        **row,
        "state": state,
        "outcome": outcome,
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


# ---- sending ---------------------------------------------------------------------------------------------------------


def intend_to_send(session: Session, request: pb.SendActionRequest, today: date, settings: Settings) -> dict[str, Any]:
    """Puts an owed e-mail action into SENDING with what shall leave; the commit comes before the sender is asked.

    Returns the action: in SENDING without a message when the caller goes on, with one when this request was answered
    before; in another state when looking again has ended it.
    Refuses: NOT_FOUND ACTION_UNKNOWN; FAILED_PRECONDITION ACTION_ALREADY_SENT, ACTION_NOT_OWED, ACTION_NOT_A_MESSAGE;
    ALREADY_EXISTS REQUEST_ID_REUSED.
    """
    row = store.action_for_update(session, request.action_id)
    content = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
    intent = row["intent"] or {}
    if request.request_id and intent.get("request_id") == request.request_id:
        if intent["content"] != content:
            raise Refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "this request id was used with other content")
        if row["state"] not in REPLANNED_STATES:
            return row
    _refuse_unless_sendable(row)
    step_key = row["step_key"]
    replan(session, [row["account_id"]], today, policy_of(settings))
    row = store.action(session, request.action_id)
    if row["state"] not in REPLANNED_STATES or row["step_key"] != step_key:
        # Raising would roll the new plan back; the caller commits first.
        return row
    if row["state"] == ActionState.PLANNED:
        raise _not_owed(f"its day is {row['due_on'].isoformat()}; move it to today to send it now")
    caller = context.current_caller()
    row = {
        **row,
        "state": ActionState.SENDING,
        "intent": {
            # Each try has an id of its own: after a message that was stopped the next try is no repetition of it.
            "attempt_id": new_id(),
            "request_id": request.request_id,
            "content": content,
            "subject": request.subject,
            "body": request.body,
            "contact_ids": list(request.contact_ids),
            "item_ids": row["item_ids"],
            "by": caller.actor,
        },
        "version": row["version"] + 1,
        "changed_at": clock.utc_now(),
    }
    save_and_tell(session, [row], today)
    jobs.enqueue(
        session,
        "scenario.send",
        {"action_id": row["action_id"]},
        f"{row['action_id']}:{row['version']}",
        clock.utc_now() + timedelta(seconds=settings.send_recovery_delay_s),
    )
    return row


def _refuse_unless_sendable(row: dict[str, Any]) -> None:
    state = row["state"]
    if state in (ActionState.SENDING, ActionState.DONE, ActionState.NEEDS_ATTENTION):
        raise Refused(Code.FAILED_PRECONDITION, "ACTION_ALREADY_SENT", "this action was sent", state=state)
    if state not in REPLANNED_STATES:
        raise _not_owed(row["outcome"] or "it has ended")
    if not store.step_from_json(row["step"]).is_message:
        raise Refused(
            Code.FAILED_PRECONDITION, "ACTION_NOT_A_MESSAGE", "this step is done by a person", channel=row["channel"]
        )


def _not_owed(why: str) -> Refused:
    return Refused(Code.FAILED_PRECONDITION, "ACTION_NOT_OWED", f"the action is not owed: {why}")


def refuse_not_owed(row: dict[str, Any]) -> None:
    """Refuses ACTION_NOT_OWED for an action that looking again has ended."""
    if row["state"] != ActionState.SENDING and not row["message_id"]:
        raise _not_owed(row["outcome"] or row["reason"]["text"])


def note_handed_over(session: Session, action_id: str, message_id: str, today: date) -> dict[str, Any]:
    """Notes which message an action became; harmless when that is known."""
    row = store.action_for_update(session, action_id)
    if row["message_id"] == message_id or row["state"] != ActionState.SENDING:
        return row
    row = {**row, "message_id": message_id, "version": row["version"] + 1, "changed_at": clock.utc_now()}
    save_and_tell(session, [row], today)
    return row


def note_refused(session: Session, action_id: str, refusal: Refused, today: date, policy: Policy) -> None:
    """The sender will not have it: an action without debt ends, any other waits for a person again."""
    row = store.action_for_update(session, action_id)
    if row["state"] != ActionState.SENDING or row["message_id"]:
        return
    now = clock.utc_now()
    if refusal.reason == "NOTHING_COLLECTABLE":
        row = _ended(row, ActionState.CANCELLED, refusal.message or refusal.reason, now)
    else:
        row = {
            **row,
            "state": ActionState.DUE,
            "intent": None,
            "outcome": refusal.message or refusal.reason,
            "version": row["version"] + 1,
            "changed_at": now,
        }
    save_and_tell(session, [row], today)
    replan(session, [row["account_id"]], today, policy)


def apply_message(
    session: Session, message_id: str, version: int, account_id: str, action_id: str, state: str,
    sent_on: date | None, failure: str, today: date, policy: Policy,
) -> None:  # fmt: skip
    """What became of a message: only a confirmed one completes its step, one that came back takes that back."""
    store.lock_accounts(session, [account_id])
    is_done = state in MESSAGE_DONE
    if not store.keep_message_if_newer(
        session, message_id, version, account_id, action_id or None, state, (sent_on or today) if is_done else None
    ):
        return
    row = store.action_if_known(session, action_id) if action_id else None
    now = clock.utc_now()
    # An action that ended otherwise and has another message keeps what it has.
    if row is not None and row["message_id"] in (None, message_id):
        changed = {**row, "message_id": message_id, "message_state": state}
        rows = []
        if is_done:
            changed = _ended(changed, ActionState.DONE, "", now, sent_on or today)
        elif state in MESSAGE_NOT_DONE:
            rows = _make_room(session, row, now)
            changed = _ended(changed, ActionState.NEEDS_ATTENTION, failure or state, now)
        elif state == "CANCELLED":
            changed = _ended(changed, ActionState.CANCELLED, failure or state, now)
        else:
            changed = {**changed, "version": row["version"] + 1, "changed_at": now}
        save_and_tell(session, [*rows, changed], today)
    replan(session, [account_id], today, policy)


def _make_room(session: Session, row: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    """A step that turns out not to be done takes the place of what was planned after it."""
    pending = store.pending_action(session, row["account_id"])
    if pending is None or pending["action_id"] == row["action_id"] or pending["state"] not in REPLANNED_STATES:
        return []
    return [_ended(pending, ActionState.CANCELLED, "the step before came back", now)]


# ---- a person's word -------------------------------------------------------------------------------------------------


def complete_action(session: Session, request: pb.CompleteActionRequest, today: date, policy: Policy) -> dict[str, Any]:
    """Records what a call or task came to. Refuses ACTION_UNKNOWN, ACTION_ENDED, ACTION_IS_A_MESSAGE."""
    row = _open_to_people(session, request.action_id)
    if store.step_from_json(row["step"]).is_message:
        raise Refused(Code.FAILED_PRECONDITION, "ACTION_IS_A_MESSAGE", "an e-mail is done when it was sent")
    outcome = f"{request.outcome}: {request.comment}" if request.comment else request.outcome
    return _end_by_person(session, row, ActionState.DONE, outcome, today, policy)


def skip_action(session: Session, request: pb.SkipActionRequest, today: date, policy: Policy) -> dict[str, Any]:
    """Leaves a step out; it stays in the history with its reason. Refuses ACTION_UNKNOWN, ACTION_ENDED."""
    row = _open_to_people(session, request.action_id)
    return _end_by_person(session, row, ActionState.SKIPPED, request.reason, today, policy)


def _open_to_people(session: Session, action_id: str) -> dict[str, Any]:
    row = store.action_for_update(session, action_id)
    if row["state"] not in OPEN_TO_PEOPLE:
        raise Refused(
            Code.FAILED_PRECONDITION, "ACTION_ENDED", "this action has ended or is being sent", state=row["state"]
        )
    return row


def _end_by_person(
    session: Session, row: dict[str, Any], state: ActionState, outcome: str, today: date, policy: Policy
) -> dict[str, Any]:
    row = _ended(row, state, outcome, clock.utc_now(), today)
    save_and_tell(session, [row], today)
    replan(session, [row["account_id"]], today, policy)
    return row


def reschedule_action(
    session: Session, request: pb.RescheduleActionRequest, today: date, policy: Policy
) -> dict[str, Any]:
    """Moves an action to another day; one whose message came back gives way to a new one, which can be sent.

    Refuses ACTION_UNKNOWN, ACTION_ENDED, DATE_PAST.
    """
    due_on = date.fromisoformat(request.due_on)
    if due_on < today:
        raise Refused(
            Code.INVALID_ARGUMENT, "DATE_PAST", "an action moves to today or later", {"due_on": "is in the past"}
        )
    row = _open_to_people(session, request.action_id)
    if row["message_state"] == "UNKNOWN":
        raise Refused(Code.FAILED_PRECONDITION, "ACTION_ENDED", "say first whether the message left")
    now = clock.utc_now()
    if row["state"] == ActionState.NEEDS_ATTENTION:
        save_and_tell(session, [_ended(row, ActionState.CANCELLED, request.reason, now)], today)
        replan(session, [row["account_id"]], today, policy)
        fresh = store.pending_action(session, row["account_id"])
        if fresh is None:
            return store.action(session, row["action_id"])
        row = fresh
    moved = {**row, "moved_to": due_on, "outcome": request.reason, "version": row["version"] + 1, "changed_at": now}
    store.save_actions(session, [moved])
    replan(session, [row["account_id"]], today, policy)
    return store.action(session, row["action_id"])


def pause_account(session: Session, account_id: str, until_on: date, reason: str, today: date, policy: Policy) -> None:
    """No action until a day. Refuses ACCOUNT_UNKNOWN, DATE_PAST."""
    if until_on < today:
        raise Refused(Code.INVALID_ARGUMENT, "DATE_PAST", "a pause ends today or later", {"until_on": "is in the past"})
    store.account(session, account_id)
    store.lock_accounts(session, [account_id])
    store.set_account(session, account_id, paused_until=until_on, pause_reason=reason)
    replan(session, [account_id], today, policy)


def resume_account(session: Session, account_id: str, today: date, policy: Policy) -> None:
    """Ends a pause; what comes next is to be confirmed. Refuses ACCOUNT_UNKNOWN."""
    account = store.account(session, account_id)
    store.lock_accounts(session, [account_id])
    if account.paused_until is not None:
        store.set_account(session, account_id, paused_until=None, pause_reason="", resumed_on=today)
    replan(session, [account_id], today, policy)


def assign_scenario(session: Session, account_id: str, scenario_id: str, today: date, policy: Policy) -> None:
    """Gives an account another scenario; it goes on by step key. Refuses ACCOUNT_UNKNOWN, SCENARIO_UNKNOWN."""
    store.account(session, account_id)
    if not any(scenario.scenario_id == scenario_id and scenario.active for scenario in store.scenarios(session)):
        raise Refused(Code.NOT_FOUND, "SCENARIO_UNKNOWN", "no such scenario")
    store.lock_accounts(session, [account_id])
    store.set_account(session, account_id, scenario_id=scenario_id)
    replan(session, [account_id], today, policy)


# ---- promises --------------------------------------------------------------------------------------------------------


def promise_id_of(request_id: str) -> str:
    """The id of a promise by the request that makes it: a repetition finds the same one."""
    return str(uuid.uuid5(_PROMISE_NAMESPACE, f"{context.current_tenant()}/{request_id}"))


def intend_promise(session: Session, request: pb.CreatePromiseRequest, today: date) -> store.PromiseRow:
    """Writes down a promise that holds nothing yet; the commit comes before the ledger is asked.

    Returns it; is_placed says that this request was answered before.
    Refuses: ACCOUNT_UNKNOWN, DATE_PAST, DATE_TOO_FAR, ITEM_CLEARED, REQUEST_ID_REUSED.
    """
    promise_id = promise_id_of(request.request_id)
    content = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    account = store.account(session, request.account_id)
    store.lock_accounts(session, [request.account_id])
    known = store.promises(session, [promise_id]).get(promise_id)
    if known is not None:
        if bytes(known.request_hash) != content:
            raise Refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "this request id was used with other content")
        return known
    promised_on = date.fromisoformat(request.promised_on)
    caller = context.current_caller()
    promise_rules.check_day(promised_on, today, caller.can("promises:exceed"))
    if len({order.item_id for order in request.lines}) < len(request.lines):
        raise Refused(
            Code.INVALID_ARGUMENT, "INVALID_FIELDS", "each item is promised once", {"lines": "names an item twice"}
        )
    items = {item.item_id: item for item in store.facts(session, [request.account_id], today)[request.account_id].items}
    lines = []
    for order in request.lines:
        item = items.get(order.item_id)
        if item is None:
            raise Refused(
                Code.FAILED_PRECONDITION, "ITEM_CLEARED", "an item of the promise is not open on this account",
                item_id=order.item_id,
            )  # fmt: skip
        if order.HasField("amount") and order.amount.currency != item.currency:
            raise Refused(
                Code.INVALID_ARGUMENT, "INVALID_FIELDS", "the amount is in the currency of the item",
                {"lines.amount.currency": f"is {item.currency}"},
            )  # fmt: skip
        lines.append(
            {
                "item_id": item.item_id,
                "item_number": item.number,
                "currency": item.currency,
                "promised_minor": order.amount.minor_units if order.HasField("amount") else None,
                "baseline_minor": item.open_minor,
            }
        )
    row = store.PromiseRow(
        promise_id=promise_id,
        request_hash=content,
        account_id=request.account_id,
        account_name=account.name,
        entity_code=account.entity_code,
        state=PromiseState.OPEN,
        is_placed=False,
        promised_on=promised_on,
        tolerance_days=promise_rules.TOLERANCE_DAYS,
        source=request.source or "CALL",
        source_id=request.source_id,
        comment=request.comment,
        created_by=caller.acting_for or caller.name or caller.subject,
        created_at=clock.utc_now(),
        ended_on=None,
        ended_reason="",
        version=1,
        lines=lines,
    )
    store.add_promise(session, row)
    jobs.enqueue(
        session, "scenario.place_promise", {"promise_id": promise_id}, promise_id,
        clock.utc_now() + timedelta(seconds=20),
    )  # fmt: skip
    return row


def holds_of_promise(session: Session, row: store.PromiseRow) -> ledger_pb.PlaceHoldsRequest:
    """What the ledger is asked for: the promised amounts out of collection until the day plus tolerance; the answer's
    own holds and those of older promises on the same items end with it."""
    until_on = promise_rules.last_day(row.promised_on, row.tolerance_days)
    request = ledger_pb.PlaceHoldsRequest(
        request_id=f"promise:{row.promise_id}",
        account_id=row.account_id,
        source="scenario",
        source_id=row.promise_id,
    )
    for line in row.lines:
        order = request.holds.add(
            item_id=line["item_id"],
            kind="HOLD_KIND_PROMISE",
            until_on=until_on.isoformat(),
            reason=f"Promised for {row.promised_on.isoformat()}",
        )
        if line["promised_minor"] is not None:
            order.amount.currency, order.amount.minor_units = line["currency"], line["promised_minor"]
    if row.source_id:
        request.ends.add(source="portal", source_id=row.source_id)
    older = store.live_promises_of_items(session, (line["item_id"] for line in row.lines), row.promise_id)
    for promise_id, item_ids in older.items():
        request.ends.add(source="scenario", source_id=promise_id, item_ids=item_ids)
    return request


def note_placed(session: Session, promise_id: str, held: ledger_pb.PlaceHoldsResponse, today: date) -> store.PromiseRow:
    """The ledger holds it: the promise counts, and older ones lose the items it took over."""
    row = store.promises(session, [promise_id], for_update=True)[promise_id]
    if row.is_placed:
        return row
    held_minor = {hold.item_id: hold.amount.minor_units for hold in held.holds}
    for line in row.lines:
        if line["promised_minor"] is None:
            line["promised_minor"] = held_minor.get(line["item_id"], line["baseline_minor"])
    row.is_placed = True
    store.save_promise(session, row)
    older = store.live_promises_of_items(session, (line["item_id"] for line in row.lines), promise_id)
    for other in store.promises(session, list(older), for_update=True).values():
        for line in other.lines:
            line["is_replaced"] = line["is_replaced"] or line["item_id"] in older[other.promise_id]
        if all(line["is_replaced"] for line in other.lines):
            other.state, other.ended_on = PromiseState.CANCELLED, today
            other.ended_reason = "replaced by a newer promise"
        other.version += 1
        store.save_promise(session, other)
        emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(other)), other.promise_id)
    emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(row)), promise_id)
    return row


def cancel_promise(session: Session, promise_id: str, reason: str, today: date) -> store.PromiseRow:
    """Ends a promise; the job or the caller then releases its holds. Refuses PROMISE_UNKNOWN."""
    row = store.promise(session, promise_id, for_update=True)
    if row.state == PromiseState.OPEN:
        row.state, row.ended_on, row.ended_reason = PromiseState.CANCELLED, today, reason
        row.version += 1
        store.save_promise(session, row)
        emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(row)), promise_id)
        jobs.enqueue(
            session, "scenario.release_promise", {"promise_id": promise_id}, promise_id,
            clock.utc_now() + timedelta(seconds=20),
        )  # fmt: skip
    return row


def release_of_promise(row: store.PromiseRow) -> ledger_pb.ReleaseHoldsRequest:
    """What the ledger is asked for when a promise was cancelled."""
    request = ledger_pb.ReleaseHoldsRequest(
        request_id=f"promise-cancelled:{row.promise_id}", reason=(row.ended_reason or "promise cancelled")[:500]
    )
    request.sources.add(source="scenario", source_id=row.promise_id)
    return request


def evaluate_promises(session: Session, account_ids: Sequence[str], today: date) -> None:
    """Judges the promises of accounts whose rows are locked by what is open now, and tells what changed."""
    promise_ids = store.promises_to_evaluate(session, account_ids, today)
    for row in store.promises(session, promise_ids, for_update=True).values():
        lines = [line for line in row.lines if not line["is_replaced"]]
        judged = [
            promise_rules.PromiseLine(
                line["item_id"], line["currency"], translate.amount_of(line), line["baseline_minor"], line["open_minor"]
            )
            for line in lines
        ]
        state = promise_rules.evaluate(judged, row.promised_on, row.tolerance_days, today)
        received = [line.received_minor for line in judged]
        if state == row.state and received == [line["received_minor"] for line in lines]:
            continue
        for line, minor in zip(lines, received, strict=True):
            line["received_minor"] = minor
        row.state, row.ended_on = state, None if state is PromiseState.OPEN else today
        row.version += 1
        store.save_promise(session, row)
        emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(row)), row.promise_id)
