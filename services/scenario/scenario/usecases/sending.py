"""E-mail actions on their way to the sender, and what became of their messages."""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from kit import clock, context, jobs
from kit.errors import Code, Refused
from kit.ids import new_id
from quittance.scenario.v1 import scenario_service_pb2 as pb
from scenario import store, translate
from scenario.config import Settings
from scenario.domain.model import REPLANNED_STATES, ActionState, Policy
from scenario.usecases.planning import ended, policy_of, replan, save_and_tell

MESSAGE_DONE = frozenset({"SENT", "DELIVERED"})
MESSAGE_NOT_DONE = frozenset({"BOUNCED", "FAILED", "UNKNOWN"})


def intend_to_send(session: Session, request: pb.SendActionRequest, today: date, settings: Settings) -> dict[str, Any]:
    """Puts an owed e-mail action into SENDING with what shall leave; the commit comes before the sender is asked.

    Returns the action: in SENDING without a message when the caller goes on, with one when this request was answered
    before; in another state when looking again has ended it.
    Refuses: NOT_FOUND ACTION_UNKNOWN; FAILED_PRECONDITION ACTION_ALREADY_SENT, ACTION_NOT_OWED, ACTION_NOT_A_MESSAGE,
    ITEM_NOT_COLLECTABLE; ALREADY_EXISTS REQUEST_ID_REUSED.
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
        # What was not ticked has not had this step: only what leaves counts for the plan.
        "item_ids": _ticked(row["item_ids"], request.item_ids),
        "intent": {
            # Each try has an id of its own: after a message that was stopped the next try is no repetition of it.
            "attempt_id": new_id(),
            "request_id": request.request_id,
            "content": content,
            "subject": request.subject,
            "body": request.body,
            "contact_ids": list(request.contact_ids),
            "item_ids": _ticked(row["item_ids"], request.item_ids),
            "exact_items": bool(request.item_ids),
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


def _ticked(owned: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The items that leave, in the action's order: those wanted, or all. Refuses ITEM_NOT_COLLECTABLE for any other."""
    if not wanted:
        return list(owned)
    strange = sorted(set(wanted).difference(owned))
    if strange:
        named = ", ".join(strange)
        raise Refused(
            Code.FAILED_PRECONDITION,
            "ITEM_NOT_COLLECTABLE",
            f"not of this action, or paid, held or answered in between: {named}",
            {"item_ids": f"cannot be chased here: {named}"},
            items=named,
        )
    return [item_id for item_id in owned if item_id in set(wanted)]


def _refuse_unless_sendable(row: dict[str, Any]) -> None:
    state = row["state"]
    if state in (ActionState.SENDING, ActionState.DONE, ActionState.NEEDS_ATTENTION):
        raise Refused(Code.FAILED_PRECONDITION, "ACTION_ALREADY_SENT", "this action was sent", state=state)
    if state not in REPLANNED_STATES:
        raise _not_owed(translate.outcome(row, context.language()) or "it has ended")
    if not store.step_from_json(row["step"]).is_message:
        raise Refused(
            Code.FAILED_PRECONDITION, "ACTION_NOT_A_MESSAGE", "this step is done by a person", channel=row["channel"]
        )


def _not_owed(why: str) -> Refused:
    return Refused(Code.FAILED_PRECONDITION, "ACTION_NOT_OWED", f"the action is not owed: {why}")


def refuse_not_owed(row: dict[str, Any]) -> None:
    """Refuses ACTION_NOT_OWED for an action that looking again has ended."""
    if row["state"] != ActionState.SENDING and not row["message_id"]:
        spoken = context.language()
        why = row["reason"]["text_fr"] if spoken == "fr" else row["reason"]["text"]
        raise _not_owed(translate.outcome(row, spoken) or why)


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
        row = ended(row, ActionState.CANCELLED, refusal.message or refusal.reason, now)
    else:
        row = {
            **row,
            "state": ActionState.DUE,
            "intent": None,
            "outcome": refusal.message or refusal.reason,
            "outcome_fr": "",
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
            changed = ended(changed, ActionState.DONE, "", now, sent_on or today)
        elif state in MESSAGE_NOT_DONE:
            rows = _make_room(session, row, now)
            changed = ended(changed, ActionState.NEEDS_ATTENTION, failure or state, now)
        elif state == "CANCELLED":
            changed = ended(changed, ActionState.CANCELLED, failure or state, now)
        else:
            changed = {**changed, "version": row["version"] + 1, "changed_at": now}
        save_and_tell(session, [*rows, changed], today)
    replan(session, [account_id], today, policy)


def _make_room(session: Session, row: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    """A step that turns out not to be done takes the place of what was planned after it."""
    pending = store.pending_action(session, row["account_id"])
    if pending is None or pending["action_id"] == row["action_id"] or pending["state"] not in REPLANNED_STATES:
        return []
    return [ended(pending, ActionState.CANCELLED, "the step before came back", now)]
