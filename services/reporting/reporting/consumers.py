"""What the other services say, kept as rows. The inbox and the versions make a second or late arrival harmless."""

import json
from datetime import UTC, date, datetime
from typing import Any

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from sqlalchemy.orm import Session

from kit import bulk
from quittance.common.v1 import event_log_service_pb2
from quittance.credit_risk.v1 import credit_risk_events_pb2
from quittance.dispute.v1 import dispute_events_pb2, dispute_service_pb2
from quittance.ledger.v1 import ledger_events_pb2
from quittance.notification.v1 import notification_events_pb2, notification_service_pb2
from quittance.portal.v1 import portal_events_pb2, portal_service_pb2
from quittance.scenario.v1 import action_pb2, scenario_events_pb2
from reporting import store
from reporting.texts import CATALOG

Envelope = event_log_service_pb2.Envelope

_OPEN_ACTIONS = frozenset({"DUE", "PLANNED", "NEEDS_ATTENTION", "SENDING"})
_CLOSED_CASES = frozenset({"CLOSED", "REJECTED"})
_ANSWERS = {
    "PROMISE": ("Promise on the customer page", "Promesse sur la page client"),
    "ALREADY_PAID": ("Says paid", "Dit avoir payé"),
    "DISPUTE": ("Dispute on the customer page", "Litige sur la page client"),
}


def _name(enum: EnumTypeWrapper, number: int, prefix: str) -> str:
    return enum.Name(number).removeprefix(prefix)


def _amounts(moneys: Any) -> str:
    return json.dumps([{"currency": money.currency, "minor": money.minor_units} for money in moneys])


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _row(kind: str, reference_id: str, version: int, happened_at: datetime, **values: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "account_id": "", "entity_code": "", "state": "", "is_open": False, "is_shown": True, "due_on": None,
        "title": "", "title_fr": "", "detail": "", "by": "", "amounts": "[]",
    }  # fmt: skip
    row = {"kind": kind, "reference_id": reference_id, "version": version, "happened_at": happened_at}
    return {**empty, **row, **values}


def on_entity_changed(session: Session, event: ledger_events_pb2.EntityChanged, envelope: Envelope) -> None:
    """Keeps an entity."""
    entity = event.entity
    store.keep_entity(session, entity.entity_id, entity.version, entity.code, entity.name, entity.currency)


def on_accounts_changed(session: Session, event: ledger_events_pb2.AccountsChanged, envelope: Envelope) -> None:
    """Keeps accounts with contacts and holds."""
    accounts, contacts, holds = (bulk.from_ipc(data) for data in (event.accounts, event.contacts, event.holds))
    store.keep_accounts(session, accounts, contacts, holds, event.part)


def on_item_facts_recorded(session: Session, event: ledger_events_pb2.ItemFactsRecorded, envelope: Envelope) -> None:
    """Keeps items and their changes."""
    store.keep_facts(session, bulk.from_ipc(event.items), bulk.from_ipc(event.changes))


def on_sales_recorded(session: Session, event: ledger_events_pb2.SalesRecorded, envelope: Envelope) -> None:
    """Keeps sales by month that files say."""
    store.keep_sales(session, bulk.from_ipc(event.sales))


def on_actions_changed(session: Session, event: scenario_events_pb2.ActionsChanged, envelope: Envelope) -> None:
    """Keeps actions: open ones for the counts, done and skipped ones for the history."""
    rows = []
    for action in event.actions:
        state = _name(action_pb2.ActionState, action.state, "ACTION_STATE_")
        channel = _name(action_pb2.Channel, action.step.channel, "CHANNEL_")
        rows.append(
            _row(
                "ACTION",
                action.action_id,
                action.version,
                action.changed_at.ToDatetime(tzinfo=UTC),
                account_id=action.account_id,
                entity_code=action.entity_code,
                state=state,
                is_open=state in _OPEN_ACTIONS,
                # An e-mail stands in the history as the message it became.
                is_shown=state == "SKIPPED" or (state == "DONE" and channel != "EMAIL"),
                due_on=_day(action.due_on),
                title=action.step.name,
                title_fr=CATALOG.say(action.step.name, "fr"),
                detail=action.outcome,
                by=action.assignee,
                amounts=_amounts(action.collectable),
            )
        )
    store.keep_work_items(session, rows)


def on_promise_changed(session: Session, event: scenario_events_pb2.PromiseChanged, envelope: Envelope) -> None:
    """Keeps a promise."""
    promise = event.promise
    state = _name(action_pb2.PromiseState, promise.state, "PROMISE_STATE_")
    row = _row(
        "PROMISE",
        promise.promise_id,
        promise.version,
        promise.created_at.ToDatetime(tzinfo=UTC),
        account_id=promise.account_id,
        entity_code=promise.entity_code,
        state=state,
        is_open=state == "OPEN",
        due_on=_day(promise.promised_on),
        title=f"Promise for {promise.promised_on}",
        title_fr=CATALOG.say(f"Promise for {promise.promised_on}", "fr"),
        detail=promise.comment,
        by=promise.created_by,
        amounts=_amounts(promise.total),
    )
    store.keep_work_items(session, [row])


def on_message_changed(session: Session, event: notification_events_pb2.MessageChanged, envelope: Envelope) -> None:
    """Keeps a message."""
    message = event.message
    state = _name(notification_service_pb2.MessageState, message.state, "MESSAGE_STATE_")
    at = message.sent_at if message.HasField("sent_at") else message.created_at
    row = _row(
        "MESSAGE",
        message.message_id,
        message.version,
        at.ToDatetime(tzinfo=UTC),
        account_id=message.account_id,
        entity_code=message.entity_code,
        state=state,
        is_open=state in {"QUEUED", "SENDING", "UNKNOWN"},
        title=message.subject,
        title_fr=message.subject,
        detail=message.failure or ", ".join(recipient.email for recipient in message.recipients),
        by=message.created_by,
        amounts=_amounts(message.total),
    )
    store.keep_work_items(session, [row])


def on_response_changed(session: Session, event: portal_events_pb2.ResponseChanged, envelope: Envelope) -> None:
    """Keeps a customer's answer."""
    response = event.response
    state = _name(portal_service_pb2.ResponseState, response.state, "RESPONSE_STATE_")
    kind = _name(portal_service_pb2.ResponseKind, response.kind, "RESPONSE_KIND_")
    title, title_fr = _ANSWERS.get(kind, (kind, kind))
    row = _row(
        "RESPONSE",
        response.response_id,
        response.version,
        response.received_at.ToDatetime(tzinfo=UTC),
        account_id=response.account_id,
        entity_code=response.entity_code,
        state=state,
        is_open=state == "RECEIVED",
        title=title,
        title_fr=title_fr,
        detail=response.comment,
        by=response.contact_name,
        amounts=_amounts(response.total),
    )
    store.keep_work_items(session, [row])


def on_case_changed(session: Session, event: dispute_events_pb2.CaseChanged, envelope: Envelope) -> None:
    """Keeps a dispute."""
    case = event.case
    state = _name(dispute_service_pb2.CaseState, case.state, "CASE_STATE_")
    opened = datetime.fromisoformat(case.opened_on).replace(tzinfo=UTC)
    row = _row(
        "CASE",
        case.case_id,
        case.version,
        opened,
        account_id=case.account_id,
        entity_code=case.entity_code,
        state=state,
        is_open=state not in _CLOSED_CASES,
        due_on=_day(case.due_on),
        title=f"Case {case.number}: {case.reason_name}",
        title_fr=CATALOG.say(f"Case {case.number}: {case.reason_name}", "fr"),
        detail=case.outcome or case.comment,
        by=case.owner,
        amounts=_amounts(case.total),
    )
    store.keep_work_items(session, [row])


def on_risk_changed(session: Session, event: credit_risk_events_pb2.RiskChanged, envelope: Envelope) -> None:
    """Keeps whether a legal unit is above its limit."""
    credit = event.credit
    row = _row(
        "RISK",
        credit.legal_unit_id,
        event.version,
        envelope.recorded_at.ToDatetime(tzinfo=UTC),
        state="OVER_LIMIT" if credit.is_over_limit else "WITHIN",
        is_open=credit.is_over_limit,
        is_shown=False,
        title=credit.legal_unit_name,
        title_fr=credit.legal_unit_name,
        amounts=_amounts([credit.over_limit] if credit.is_over_limit else []),
    )
    store.keep_work_items(session, [row])


HANDLERS: dict[tuple[str, str], Any] = {
    ("ledger", "quittance.ledger.v1.EntityChanged"): on_entity_changed,
    ("ledger", "quittance.ledger.v1.AccountsChanged"): on_accounts_changed,
    ("ledger", "quittance.ledger.v1.ItemFactsRecorded"): on_item_facts_recorded,
    ("ledger", "quittance.ledger.v1.SalesRecorded"): on_sales_recorded,
    ("scenario", "quittance.scenario.v1.ActionsChanged"): on_actions_changed,
    ("scenario", "quittance.scenario.v1.PromiseChanged"): on_promise_changed,
    ("notification", "quittance.notification.v1.MessageChanged"): on_message_changed,
    ("portal", "quittance.portal.v1.ResponseChanged"): on_response_changed,
    ("dispute", "quittance.dispute.v1.CaseChanged"): on_case_changed,
    ("credit-risk", "quittance.credit_risk.v1.RiskChanged"): on_risk_changed,
}
