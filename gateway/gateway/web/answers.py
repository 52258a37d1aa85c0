"""What customers said: answers to accept, amend or reject, and promises with what became of them."""

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _mistakes, can, gettext, language, needs, selected_entity, stubs, toast
from kit.clock import business_today
from kit.errors import Code, Refused
from kit.money import Money, to_proto
from quittance.dispute.v1 import dispute_service_pb2
from quittance.portal.v1 import portal_service_pb2 as pb
from quittance.scenario.v1 import action_pb2, scenario_service_pb2

blueprint = Blueprint("answers", __name__)

ROWS_PER_PAGE = 100


def kind_of(response: pb.Response) -> tuple[str, str]:
    """(chip, words) for what a customer answered."""
    return {
        pb.RESPONSE_KIND_PROMISE: ("promise", gettext("Promise")),
        pb.RESPONSE_KIND_ALREADY_PAID: ("paid", gettext("Says paid")),
        pb.RESPONSE_KIND_DISPUTE: ("dispute", gettext("Dispute")),
    }.get(response.kind, ("answer", ""))


def state_of(response: pb.Response) -> tuple[str, str]:
    """(verdict, words) for where an answer is."""
    return {
        pb.RESPONSE_STATE_RECEIVED: ("warn", gettext("Waits for your word")),
        pb.RESPONSE_STATE_ACCEPTED: ("good", gettext("Accepted")),
        pb.RESPONSE_STATE_AMENDED: ("good", gettext("Accepted with changes")),
        pb.RESPONSE_STATE_REJECTED: ("bad", gettext("Rejected")),
        pb.RESPONSE_STATE_EXPIRED: ("note", gettext("Expired")),
    }.get(response.state, ("note", ""))


def _terms() -> str:
    entity = selected_entity()
    return f'entity_code="{entity}"' if entity else ""


@blueprint.get("/answers")
@needs("responses:read")
def answers():
    """Answers that wait for a word; the decided ones on a tab of their own."""
    decided = request.args.get("view") == "decided"
    terms = [_terms(), "state!=RECEIVED" if decided else ""]
    found = stubs().portal.ListResponses(
        pb.ListResponsesRequest(
            filter=" AND ".join(term for term in terms if term),
            page_size=ROWS_PER_PAGE,
            page_token=request.args.get("page", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    return render_template("answers/answers.html", found=found, decided=decided, kind_of=kind_of, state_of=state_of)


@blueprint.get("/answers/<uuid:response_id>")
@needs("responses:read")
def answer(response_id):
    """One answer with what accepting it would make."""
    return _answer_page(response_id)


def _answer_page(response_id: str) -> str:
    response = (
        stubs().portal.GetResponse(pb.GetResponseRequest(response_id=str(response_id)), timeout=RPC_TIMEOUT_S).response
    )
    reasons = []
    if response.kind == pb.RESPONSE_KIND_DISPUTE and can("cases:read"):
        found = stubs().dispute.ListReasons(dispute_service_pb2.ListReasonsRequest(), timeout=RPC_TIMEOUT_S)
        reasons = [(one.code, one.name_fr if language() == "fr" else one.name) for one in found.reasons]
    return render_template(
        "answers/answer.html",
        response=response,
        kind=kind_of(response),
        state=state_of(response),
        reasons=reasons,
        waiting=response.state == pb.RESPONSE_STATE_RECEIVED,
        is_promise=response.kind == pb.RESPONSE_KIND_PROMISE,
        is_dispute=response.kind == pb.RESPONSE_KIND_DISPUTE,
        today=business_today(),
        form=request.form,
    )


def _amendments(response: pb.Response) -> list[pb.ResponseLineAmendment]:
    """Lines whose amount the form changed. Refuses INVALID_FIELDS for what is no amount."""
    changed = []
    for line in response.lines:
        text = request.form.get(f"amount:{line.item_id}", "").strip()
        if not text:
            continue
        try:
            amount = Money.read(text, line.amount.currency)
        except ValueError as error:
            message = _mistakes.amount_text(error, line.amount.currency)
            raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", f"{line.item_number}: {message}") from error
        if amount.minor_units == line.amount.minor_units:
            continue
        if not 0 < amount.minor_units <= line.open.minor_units:
            message = gettext("%(number)s: the amount has to be above zero and no more than what is open.",
                              number=line.item_number)  # fmt: skip
            raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", message)
        changed.append(pb.ResponseLineAmendment(item_id=line.item_id, amount=to_proto(amount)))
    return changed


@blueprint.post("/answers/<uuid:response_id>/accept")
@needs("responses:write")
def accept(response_id):
    """Accepts an answer, as given or amended."""
    response = (
        stubs().portal.GetResponse(pb.GetResponseRequest(response_id=str(response_id)), timeout=RPC_TIMEOUT_S).response
    )
    form = request.form
    promised_on = form.get("promised_on", "")
    reason_code = form.get("reason_code", "")
    try:
        done = stubs().portal.AcceptResponse(
            pb.AcceptResponseRequest(
                response_id=str(response_id),
                promised_on=promised_on if promised_on != response.promised_on else "",
                reason_code=reason_code if reason_code != response.reason_code else "",
                lines=_amendments(response),
                owner=form.get("owner", ""),
                comment=form.get("comment", ""),
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _answer_page(response_id), 422
    if done.case_id:
        toast(gettext("Accepted. A case was opened; the rest stays collectable."))
        return redirect(f"/disputes/{done.case_id}", 303)
    toast(gettext("Accepted. Its items are held until then."))
    return redirect(url_for("answers.answers"), 303)


@blueprint.post("/answers/<uuid:response_id>/reject")
@needs("responses:write")
def reject(response_id):
    """Rejects an answer; its items are collectable again."""
    try:
        stubs().portal.RejectResponse(
            pb.RejectResponseRequest(response_id=str(response_id), comment=request.form.get("comment", "")),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _answer_page(response_id), 422
    toast(gettext("Rejected. Its items are collectable again."))
    return redirect(url_for("answers.answers"), 303)


def promise_state(state: action_pb2.PromiseState) -> tuple[str, str]:
    """(verdict, words) for what became of a promise."""
    return {
        action_pb2.PROMISE_STATE_OPEN: ("note", gettext("Awaited")),
        action_pb2.PROMISE_STATE_KEPT: ("good", gettext("Kept")),
        action_pb2.PROMISE_STATE_PARTLY_KEPT: ("warn", gettext("Kept in part")),
        action_pb2.PROMISE_STATE_BROKEN: ("bad", gettext("Broken")),
        action_pb2.PROMISE_STATE_CANCELLED: ("note", gettext("Ended")),
    }.get(state, ("note", ""))


@blueprint.get("/promises")
@needs("promises:read")
def promises():
    """Promises by their day; those over on a tab of their own."""
    over = request.args.get("view") == "over"
    terms = [_terms(), "state!=OPEN" if over else "state=OPEN"]
    found = stubs().scenario.ListPromises(
        scenario_service_pb2.ListPromisesRequest(
            filter=" AND ".join(term for term in terms if term),
            order_by="promised_on desc" if over else "promised_on",
            page_size=ROWS_PER_PAGE,
            page_token=request.args.get("page", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    return render_template(
        "answers/promises.html", found=found, over=over, promise_state=promise_state, today=business_today().isoformat()
    )


@blueprint.post("/promises/<uuid:promise_id>/cancel")
@needs("promises:write")
def cancel_promise(promise_id):
    """Ends a promise; its items are collectable again."""
    try:
        stubs().scenario.CancelPromise(
            scenario_service_pb2.CancelPromiseRequest(
                promise_id=str(promise_id), reason=request.form.get("reason", "") or gettext("ended by hand")
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return promises(), 422
    toast(gettext("Ended. Its items are collectable again."))
    return redirect(url_for("answers.promises"), 303)
