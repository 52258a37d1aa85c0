"""An account's way through its scenario: what is done, what comes now, what comes next, and why."""

from datetime import date, timedelta
from typing import Any

from sqlalchemy.orm import Session

from quittance.scenario.v1 import scenario_service_pb2 as pb
from scenario import store, translate, usecases
from scenario.domain.decision import decide, projected_days
from scenario.domain.model import ActionState, Policy, Scenario

_NOW = (ActionState.DUE, ActionState.SENDING, ActionState.NEEDS_ATTENTION)


def of_account(
    session: Session, account_id: str, today: date, policy: Policy, language: str
) -> pb.GetAccountProgressResponse:
    """The answer of GetAccountProgress. Refuses ACCOUNT_UNKNOWN."""
    account = store.account(session, account_id)
    scenario = usecases.scenario_of(session, account)
    note = store.decision_note(session, account_id)
    facts = store.facts(session, [account_id], today)[account_id]
    calendar = usecases.calendar_of(account.entity_country)
    decision = decide(facts.state(today), scenario, calendar, today, policy)
    is_paused = account.paused_until is not None and account.paused_until >= today
    reply = pb.GetAccountProgressResponse(
        scenario=translate.scenario_to_proto(scenario, language),
        reason=translate.reason_to_proto(store.reason_from_json(note.reason)),
        paused_until=translate.day(account.paused_until) if is_paused else "",
        pause_reason=account.pause_reason if is_paused else "",
        collectable_overdue=translate.moneys(note.collectable),
    )
    if facts.pending is not None:
        reply.current.CopyFrom(translate.action_to_proto(facts.pending, today, language))
    # Steps done for debt that is gone belong to an earlier way through the scenario.
    open_ids = {item.item_id for item in facts.items}
    history = store.history(session, account_id, today - timedelta(days=store.HISTORY_DAYS))
    done = {row["step_key"]: row for row in history if open_ids.intersection(row["item_ids"])}
    reply.steps.extend(_steps(scenario, facts.pending, done, projected_days(decision, scenario, calendar), language))
    return reply


def _steps(
    scenario: Scenario,
    pending: dict[str, Any] | None,
    done: dict[str, dict[str, Any]],
    days: dict[str, date],
    language: str,
) -> list[pb.ProgressStep]:
    current_number = pending["step_number"] if pending else 0
    last_done = max((number for number, step in enumerate(scenario.steps, 1) if step.key in done), default=0)
    next_number = current_number if pending and pending["state"] not in _NOW else max(current_number, last_done) + 1
    steps = []
    for number, step in enumerate(scenario.steps, 1):
        entry = pb.ProgressStep(step=translate.step_to_proto(step, language), number=number)
        kept = done.get(step.key)
        if pending and number == current_number:
            is_now = pending["state"] in _NOW
            entry.state = pb.PROGRESS_STATE_CURRENT if is_now else pb.PROGRESS_STATE_NEXT
            entry.on, entry.action_id = translate.day(pending["due_on"]), pending["action_id"]
        elif kept is not None:
            is_done = kept["state"] == ActionState.DONE
            entry.state = pb.PROGRESS_STATE_DONE if is_done else pb.PROGRESS_STATE_SKIPPED
            entry.on, entry.action_id = translate.day(kept["done_on"]), kept["action_id"]
            entry.outcome = kept["outcome"]
        elif number < max(current_number, last_done):
            # The debt was older than this step when its turn came; it is not made up for.
            entry.state = pb.PROGRESS_STATE_SKIPPED
        else:
            entry.state = pb.PROGRESS_STATE_NEXT if number == next_number else pb.PROGRESS_STATE_LATER
            entry.on = translate.day(days.get(step.key))
        steps.append(entry)
    return steps
