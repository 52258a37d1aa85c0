"""A person's word: on an action, and on an account."""

from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from kit import clock
from kit.errors import Code, Refused
from quittance.scenario.v1 import scenario_service_pb2 as pb
from scenario import store
from scenario.domain.model import ActionState, Policy
from scenario.usecases.planning import ended, replan, save_and_tell

# Which states a person's word is taken in; the others have ended, or a sender has the word.
OPEN_TO_PEOPLE = frozenset({ActionState.DUE, ActionState.PLANNED, ActionState.NEEDS_ATTENTION})


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
    row = ended(row, state, outcome, clock.utc_now(), today)
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
        save_and_tell(session, [ended(row, ActionState.CANCELLED, request.reason, now)], today)
        replan(session, [row["account_id"]], today, policy)
        fresh = store.pending_action(session, row["account_id"])
        if fresh is None:
            return store.action(session, row["action_id"])
        row = fresh
    moved = {
        **row,
        "moved_to": due_on,
        "outcome": request.reason,
        "outcome_fr": "",
        "version": row["version"] + 1,
        "changed_at": now,
    }
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
