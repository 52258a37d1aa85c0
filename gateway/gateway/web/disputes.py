"""Disputes: the list of cases, and one case with its clock, its thread and its end."""

from datetime import date

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _mistakes, formatter, gettext, needs, selected_entity, stubs, toast
from kit.clock import business_today
from kit.errors import Refused
from quittance.dispute.v1 import dispute_service_pb2 as pb

blueprint = Blueprint("disputes", __name__)

ROWS_PER_PAGE = 100
# What a person may move a case to by hand; settling has a form of its own.
WORK_STATES = ("ACKNOWLEDGED", "ASSIGNED", "IN_PROGRESS", "WAITING_CUSTOMER", "WAITING_INTERNAL")


def case_state(state: pb.CaseState) -> tuple[str, str]:
    """(verdict, words) for where a case is."""
    return {
        pb.CASE_STATE_NEW: ("warn", gettext("New")),
        pb.CASE_STATE_ACKNOWLEDGED: ("note", gettext("Seen")),
        pb.CASE_STATE_ASSIGNED: ("note", gettext("Assigned")),
        pb.CASE_STATE_IN_PROGRESS: ("note", gettext("In progress")),
        pb.CASE_STATE_WAITING_CUSTOMER: ("note", gettext("Waits for the customer")),
        pb.CASE_STATE_WAITING_INTERNAL: ("note", gettext("Waits for a colleague")),
        pb.CASE_STATE_ACCEPTED: ("good", gettext("Accepted, credit to come")),
        pb.CASE_STATE_PARTLY_ACCEPTED: ("good", gettext("Accepted in part")),
        pb.CASE_STATE_REJECTED: ("bad", gettext("Rejected, collectable again")),
        pb.CASE_STATE_CLOSED: ("note", gettext("Closed")),
    }.get(state, ("note", ""))


@blueprint.get("/disputes")
@needs("cases:read")
def cases():
    """Cases that are not closed, by their clock; the settled ones on a tab of their own."""
    over = request.args.get("view") == "over"
    entity = selected_entity()
    terms = [f'entity_code="{entity}"'] if entity else []
    if over:
        terms.append("state=CLOSED")
    found = stubs().dispute.ListCases(
        pb.ListCasesRequest(
            filter=" AND ".join(terms), page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")
        ),
        timeout=RPC_TIMEOUT_S,
    )
    return render_template("disputes/cases.html", found=found, over=over, case_state=case_state)


@blueprint.get("/disputes/<uuid:case_id>")
@needs("cases:read")
def case(case_id):
    """One case."""
    return _case_page(case_id)


def _case_page(case_id: str) -> str:
    found = stubs().dispute.GetCase(pb.GetCaseRequest(case_id=str(case_id)), timeout=RPC_TIMEOUT_S).case
    settled = found.state in (
        pb.CASE_STATE_ACCEPTED, pb.CASE_STATE_PARTLY_ACCEPTED, pb.CASE_STATE_REJECTED, pb.CASE_STATE_CLOSED,
    )  # fmt: skip
    return render_template(
        "disputes/case.html",
        case=found,
        state=case_state(found.state),
        state_name=pb.CaseState.Name(found.state).removeprefix("CASE_STATE_"),
        days_left=(date.fromisoformat(found.due_on) - business_today()).days if found.due_on else None,
        steps=_steps(found, settled),
        event_text=_event_text,
        form=request.form,
        settled=settled,
        closed=found.state == pb.CASE_STATE_CLOSED,
        moves=[(name, case_state(pb.CaseState.Value(f"CASE_STATE_{name}"))[1]) for name in WORK_STATES],
        outcomes=_outcomes(),
        event_names={
            "opened": gettext("Opened"),
            "assigned": gettext("Assigned"),
            "moved": gettext("Moved"),
            "note": gettext("Note"),
            "resolved": gettext("Settled"),
            "closed": gettext("Closed"),
        },
    )


def _outcomes() -> list[tuple[str, str]]:
    return [
        ("CREDIT_NOTE", gettext("Credit note to come")),
        ("CORRECTED_INVOICE", gettext("Corrected invoice to come")),
        ("WRITE_OFF", gettext("Written off")),
        ("REJECTED", gettext("Rejected: collectable again")),
        ("SETTLED", gettext("Agreed otherwise")),
    ]


def _event_text(event: pb.CaseEvent) -> str:
    """What an event of the history says; states and outcomes in the reader's words."""
    code, separator, rest = event.text.partition(":")
    words = dict(_outcomes())
    words |= {name.removeprefix("CASE_STATE_"): case_state(number)[1] for name, number in pb.CaseState.items()}
    if event.what in ("moved", "resolved", "closed") and code in words:
        return words[code] + separator + rest
    return event.text


def _steps(found: pb.Case, settled: bool) -> list[dict]:
    """The way of a case, for the stepper."""
    closed = found.state == pb.CASE_STATE_CLOSED
    days = formatter("date_text")
    fresh = found.state == pb.CASE_STATE_NEW
    working = not fresh and not settled
    outcome = case_state(found.state)[1] if settled and not closed else ""
    return [
        {"title": gettext("Received"), "text": days(found.opened_on), "state": "now" if fresh else "done"},
        {
            "title": gettext("In work"),
            "text": case_state(found.state)[1] if working else found.owner,
            "state": "now" if working else "next" if fresh else "done",
        },
        {
            "title": gettext("Decision"),
            "text": (days(found.resolved_on) if found.resolved_on else "")
            if settled
            else (gettext("due %(day)s", day=days(found.due_on)) if found.due_on else ""),
            "state": "done" if settled else "next",
        },
        {"title": gettext("Closed"), "text": outcome, "state": "done" if closed else "now" if settled else "next"},
    ]


def _back(case_id):
    return redirect(url_for("disputes.case", case_id=case_id), 303)


@blueprint.post("/disputes/<uuid:case_id>/assign")
@needs("cases:write")
def assign(case_id):
    """Gives the case another owner."""
    form = request.form
    try:
        stubs().dispute.AssignCase(
            pb.AssignCaseRequest(case_id=str(case_id), owner=form.get("owner", ""), comment=form.get("comment", "")),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _case_page(case_id), 422
    toast(gettext("Assigned."))
    return _back(case_id)


@blueprint.post("/disputes/<uuid:case_id>/move")
@needs("cases:write")
def move(case_id):
    """Moves the case to another state of work, or closes it."""
    form = request.form
    try:
        stubs().dispute.MoveCase(
            pb.MoveCaseRequest(
                case_id=str(case_id), state=f"CASE_STATE_{form.get('state', '')}", comment=form.get("comment", "")
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _case_page(case_id), 422
    return _back(case_id)


@blueprint.post("/disputes/<uuid:case_id>/resolve")
@needs("cases:write")
def resolve(case_id):
    """Settles the case."""
    form = request.form
    try:
        stubs().dispute.ResolveCase(
            pb.ResolveCaseRequest(
                case_id=str(case_id), outcome=f"CASE_OUTCOME_{form.get('outcome', '')}", comment=form.get("comment", "")
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _case_page(case_id), 422
    toast(gettext("Settled."))
    return _back(case_id)


@blueprint.post("/disputes/<uuid:case_id>/note")
@needs("cases:write")
def note(case_id):
    """Adds a note."""
    try:
        stubs().dispute.AddNote(
            pb.AddNoteRequest(case_id=str(case_id), text=request.form.get("text", "")), timeout=RPC_TIMEOUT_S
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _case_page(case_id), 422
    return _back(case_id)
