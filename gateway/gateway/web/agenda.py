"""The day's work: the agenda, one action (an e-mail to compose or a call to make), messages as sent."""

import re
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from markupsafe import Markup

from gateway.web import (
    RPC_TIMEOUT_S,
    _lists,
    _mistakes,
    can,
    counts_of,
    framed,
    gettext,
    language,
    needs,
    selected_entity,
    stubs,
    toast,
)
from gateway.web._customer_words import HOLD_CHIPS, hold_kind, hold_name
from kit.clock import business_today
from kit.errors import Refused
from quittance.ledger.v1 import ledger_service_pb2
from quittance.notification.v1 import notification_service_pb2 as mail_pb
from quittance.reporting.v1 import reporting_service_pb2
from quittance.scenario.v1 import action_pb2
from quittance.scenario.v1 import scenario_service_pb2 as pb

blueprint = Blueprint("agenda", __name__)

# The hashtags shown before anything is typed; all others follow.
COMMON_TAGS = (
    "#contact_salutation",
    "#customer_name",
    "#items_list_selected",
    "#items_amount_selected",
    "#days_late",
    "#interactive_page_button",
    "#bank_details",
    "#collector_signature",
)
CHANNELS = {
    action_pb2.CHANNEL_EMAIL: "email",
    action_pb2.CHANNEL_CALL: "call",
    action_pb2.CHANNEL_LETTER: "letter",
    action_pb2.CHANNEL_SMS: "email",
    action_pb2.CHANNEL_INTERNAL: "internal",
    action_pb2.CHANNEL_TASK: "task",
}
LANGUAGE_NAMES = {"en": "English", "fr": "Français", "de": "Deutsch", "es": "Español"}
WRITTEN = frozenset({action_pb2.CHANNEL_EMAIL})
OPEN_STATES = frozenset(
    {action_pb2.ACTION_STATE_DUE, action_pb2.ACTION_STATE_PLANNED, action_pb2.ACTION_STATE_NEEDS_ATTENTION}
)


def channel_name(channel: action_pb2.Channel) -> str:
    """A channel in the reader's words."""
    return {
        action_pb2.CHANNEL_EMAIL: gettext("E-mail"),
        action_pb2.CHANNEL_CALL: gettext("Call"),
        action_pb2.CHANNEL_LETTER: gettext("Letter"),
        action_pb2.CHANNEL_SMS: gettext("Text message"),
        action_pb2.CHANNEL_INTERNAL: gettext("Internal e-mail"),
        action_pb2.CHANNEL_TASK: gettext("Task"),
    }.get(channel, "")


def reason_text(reason: action_pb2.Reason) -> str:
    """Why, in the reader's language."""
    return (reason.text_fr if language() == "fr" else reason.text) or reason.text


def holds_of(action: action_pb2.Action) -> list[tuple[str, str]]:
    """(chip, words) for the holds of an action's account, from "DISPUTE:1,PROMISE:2"."""
    found = []
    for part in action.hold_summary.split(","):
        kind, _, count = part.partition(":")
        if kind:
            found.append((HOLD_CHIPS.get(kind, "out"), f"{hold_name(kind)} {count}".strip()))
    return found


def _group(action: action_pb2.Action, today: str) -> str:
    if action.state == action_pb2.ACTION_STATE_NEEDS_ATTENTION:
        return gettext("Needs a person")
    if action.state == action_pb2.ACTION_STATE_SENDING:
        return gettext("Being sent")
    return gettext("Late") if action.due_on < today else gettext("Today")


@blueprint.get("/agenda")
@needs("actions:read")
def agenda():
    """Who is to be contacted today, about what and why."""
    ahead = request.args.get("view") == "ahead"
    found, actions = _lists.actions_of(request.args)
    today = business_today().isoformat()
    figures = None
    if can("reports:read"):
        try:
            figures = stubs().reporting.GetDashboard(
                reporting_service_pb2.GetDashboardRequest(entity=selected_entity()), timeout=RPC_TIMEOUT_S
            )
            if not selected_entity():
                g.nav_counts = counts_of(figures)
        except Refused as error:
            if not error.is_transient:
                raise
    return render_template(
        "agenda/agenda.html",
        found=found,
        actions=actions,
        groups=[gettext("Ahead") if ahead else _group(action, today) for action in actions],
        ahead=ahead,
        figures=figures,
        channels=CHANNELS,
        channel_name=channel_name,
        reason_text=reason_text,
        holds_of=holds_of,
        pb=action_pb2,
        origin=_lists.origin(),
    )


def _action(action_id: str) -> action_pb2.Action:
    return stubs().scenario.GetAction(pb.GetActionRequest(action_id=str(action_id)), timeout=RPC_TIMEOUT_S).action


def _looked_again(account_id: str) -> ledger_service_pb2.LookAgainResponse:
    return stubs().ledger.LookAgain(ledger_service_pb2.LookAgainRequest(account_id=account_id), timeout=RPC_TIMEOUT_S)


@blueprint.get("/agenda/preview/<uuid:action_id>")
@needs("actions:read")
def preview(action_id):
    """The side of the agenda: why this action, its items, what is left out, who is written to."""
    action = _action(action_id)
    now = _looked_again(action.account_id)
    inside = set(action.item_ids)
    return render_template(
        "agenda/_preview.html",
        action=action,
        now=now,
        items=[item for item in now.items if item.item_id in inside],
        left_out=[item for item in now.items if item.held.minor_units],
        reason_text=reason_text,
        hold_kind=hold_kind,
        hold_name=hold_name,
        hold_chips=HOLD_CHIPS,
        written=action.step.channel in WRITTEN,
        account_href=_lists.account_href(action.account_id, _lists.came_from("/agenda")),
        origin=_lists.came_from() or None,
    )


@blueprint.get("/agenda/<uuid:action_id>")
@needs("actions:read")
def action(action_id):
    """One action: the e-mail as proposed, to edit and preview, or the call with what to say."""
    return _action_page(action_id)


@dataclass(frozen=True)
class Typed:
    """What a person has put into the composer; item_ids None: nothing was said about items."""

    subject: str
    body: str
    item_ids: tuple[str, ...] | None

    @classmethod
    def of_form(cls) -> "Typed | None":
        """The form of this request; None where the composer was not sent."""
        form = request.form
        if "body" not in form:
            return None
        # Unticked boxes send nothing: the hidden field says that there were boxes.
        item_ids = tuple(form.getlist("item")) if "ticks" in form else None
        return cls(form.get("subject", ""), form["body"], item_ids)

    def mistakes(self) -> dict[str, str]:
        """What has to be put right before it can leave, by field. An emptied text is never the template's again."""
        found = {}
        if not self.subject.strip():
            found["subject"] = gettext("Write a subject.")
        if _is_blank(self.body):
            found["body"] = gettext("The message has no text. Write one, or skip the step.")
        if self.item_ids is not None and not self.item_ids:
            found["items"] = gettext("Tick at least one item first.")
        return found


def _is_blank(body: str) -> bool:
    """Whether nothing would be left to read of a body once its marks are gone."""
    return not re.sub(r"<[^>]*>|&nbsp;|\s", "", body)


def _action_page(action_id: str, typed: Typed | None = None, mistakes: dict[str, str] | None = None) -> str:
    """The action's page; with the person's own text and ticks where there are some already."""
    found = _action(action_id)
    now = _looked_again(found.account_id)
    draft = None
    if found.step.channel in WRITTEN and found.state in OPEN_STATES and can("messages:write"):
        draft = _draft(found, typed)
    ticked = set(found.item_ids if typed is None or typed.item_ids is None else typed.item_ids)
    address = _lists.came_from("/agenda")
    return render_template(
        "agenda/compose.html" if draft else "agenda/call.html",
        action=found,
        now=now,
        draft=draft,
        subject=typed.subject if typed else (draft.subject_source if draft else ""),
        body=typed.body if typed else (draft.body_source if draft else ""),
        ticked=ticked,
        mistakes=mistakes or {},
        list_href=address,
        account_href=_lists.account_href(found.account_id, address),
        reason_text=reason_text,
        channel_name=channel_name,
        channels=CHANNELS,
        hold_kind=hold_kind,
        hold_name=hold_name,
        hold_chips=HOLD_CHIPS,
        is_open=found.state in OPEN_STATES,
        hashtags=_hashtags() if draft else [],
        common_tags=COMMON_TAGS,
        next_action=_next_after(str(action_id), address) if draft else "",
        outcomes=_outcomes(),
        form=request.form,
        french=language() == "fr",
        written=found.step.channel in WRITTEN,
    )


def _draft(action: action_pb2.Action, typed: Typed | None = None) -> mail_pb.DraftMessageResponse:
    chosen = typed.item_ids if typed else None
    return stubs().notification.DraftMessage(
        mail_pb.DraftMessageRequest(
            account_id=action.account_id,
            item_ids=list(chosen or action.item_ids),
            template_key=action.step.template_key,
            contact_role=action.step.contact_role,
            subject=typed.subject if typed else "",
            body=typed.body if typed else "",
        ),
        timeout=RPC_TIMEOUT_S,
    )


def _hashtags() -> list[mail_pb.Hashtag]:
    """All hashtags, those one reaches for first in front."""
    found = stubs().notification.ListHashtags(mail_pb.ListHashtagsRequest(), timeout=RPC_TIMEOUT_S).hashtags
    rank = {name: at for at, name in enumerate(COMMON_TAGS)}
    return sorted(found, key=lambda tag: (rank.get(tag.name, len(rank)), tag.name))


def _outcomes() -> list[tuple[str, str]]:
    return [
        ("reached", gettext("Reached")),
        ("voicemail", gettext("Voicemail")),
        ("wrong person", gettext("Wrong person")),
        ("refused", gettext("Refused")),
        ("promise", gettext("Promise")),
        ("dispute", gettext("Dispute")),
        ("done", gettext("Done")),
    ]


def _next_after(action_id: str, address: str) -> str:
    """The action after this one in its list; the first when this is not in it; empty when there is no other."""
    args = _lists.args_of(address) if address.partition("?")[0] == "/agenda" else {}
    ids = [one.action_id for one in _lists.actions_of(args)[1]]
    if action_id in ids:
        at = ids.index(action_id)
        ids = ids[at + 1 :] + ids[:at]
    return ids[0] if ids else ""


@blueprint.route("/agenda/<uuid:action_id>/preview", methods=["GET", "POST"])
@needs("messages:write")
def mail_preview(action_id):
    """The e-mail as its reader will see it, on the account's real items: a page of its own for the frame.

    With ?part=checks: what should be known before sending it.
    """
    typed = Typed.of_form()
    mistakes = typed.mistakes() if typed else {}
    draft = _draft(_action(action_id), typed)
    if request.args.get("part") == "checks":
        return render_template("agenda/_checks.html", draft=draft, mistakes=mistakes)
    if mistakes:
        # Not what the template would say: there is nothing to show until it is put right.
        said = Markup("").join(Markup("<p>{}</p>").format(text) for text in mistakes.values())
        return _mail_page(typed.subject if typed else "", str(said), language())
    return _mail_page(draft.subject, draft.body, draft.language)


def _mail_page(subject: str, body: str, mail_language: str) -> Response:
    return framed(render_template("agenda/_mail.html", subject=subject, body=body, mail_language=mail_language))


@blueprint.post("/agenda/<uuid:action_id>/send")
@needs("actions:write")
def send(action_id):
    """Sends the e-mail, once."""
    form = request.form
    typed = Typed.of_form() or Typed("", "", None)
    mistakes = typed.mistakes()
    if mistakes:
        _mistakes.say(" ".join(mistakes.values()))
        return _action_page(action_id, typed, mistakes), 422
    try:
        answer = stubs().scenario.SendAction(
            pb.SendActionRequest(
                action_id=str(action_id), subject=typed.subject, body=typed.body, item_ids=typed.item_ids or ()
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _action_page(action_id, typed), 422
    toast(gettext("Sent to %(name)s.", name=answer.action.account_name))
    following = form.get("next", "")
    if form.get("then") == "next" and following:
        known: dict[str, Any] = {"from": _lists.came_from() or None}
        return redirect(url_for("agenda.action", action_id=following, **known), 303)
    return redirect(url_for("agenda.message", message_id=answer.message_id), 303)


@blueprint.post("/agenda/<uuid:action_id>/complete")
@needs("actions:write")
def complete(action_id):
    """Records what a call or a task came to."""
    try:
        stubs().scenario.CompleteAction(
            pb.CompleteActionRequest(
                action_id=str(action_id),
                outcome=request.form.get("outcome", ""),
                comment=request.form.get("comment", ""),
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _action_page(action_id), 422
    toast(gettext("Recorded."))
    return redirect(url_for("agenda.agenda"), 303)


@blueprint.post("/agenda/<uuid:action_id>/skip")
@needs("actions:write")
def skip(action_id):
    """Leaves the step out, with a reason."""
    try:
        stubs().scenario.SkipAction(
            pb.SkipActionRequest(action_id=str(action_id), reason=request.form.get("reason", "")), timeout=RPC_TIMEOUT_S
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _action_page(action_id), 422
    toast(gettext("Skipped. The history keeps the reason."))
    return redirect(url_for("agenda.agenda"), 303)


@blueprint.post("/agenda/<uuid:action_id>/reschedule")
@needs("actions:write")
def reschedule(action_id):
    """Moves the action to another day, with a reason."""
    try:
        stubs().scenario.RescheduleAction(
            pb.RescheduleActionRequest(
                action_id=str(action_id), due_on=request.form.get("due_on", ""), reason=request.form.get("reason", "")
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return _action_page(action_id), 422
    toast(gettext("Moved."))
    return redirect(url_for("agenda.agenda"), 303)


# ---- messages --------------------------------------------------------------------------------------------------------
def message_state(state: mail_pb.MessageState) -> tuple[str, str]:
    """(verdict, words) for the state of a message."""
    return {
        mail_pb.MESSAGE_STATE_QUEUED: ("note", gettext("Waits for the sender")),
        mail_pb.MESSAGE_STATE_SENDING: ("note", gettext("Being sent")),
        mail_pb.MESSAGE_STATE_SENT: ("good", gettext("Sent")),
        mail_pb.MESSAGE_STATE_DELIVERED: ("good", gettext("Delivered")),
        mail_pb.MESSAGE_STATE_BOUNCED: ("bad", gettext("Came back")),
        mail_pb.MESSAGE_STATE_FAILED: ("bad", gettext("Refused by the server")),
        mail_pb.MESSAGE_STATE_UNKNOWN: ("warn", gettext("Outcome not known")),
        mail_pb.MESSAGE_STATE_CANCELLED: ("warn", gettext("Not sent")),
    }.get(state, ("note", ""))


def _message(message_id: str) -> mail_pb.Message:
    return (
        stubs()
        .notification.GetMessage(mail_pb.GetMessageRequest(message_id=str(message_id)), timeout=RPC_TIMEOUT_S)
        .message
    )


@blueprint.get("/messages/<uuid:message_id>")
@needs("messages:read")
def message(message_id):
    """One message as it was sent."""
    found = _message(message_id)
    return render_template(
        "agenda/message.html",
        message=found,
        state=message_state(found.state),
        is_unknown=found.state == mail_pb.MESSAGE_STATE_UNKNOWN,
        outcome_names={"sent": gettext("Sent"), "failed": gettext("Refused by the server")},
        language_names=LANGUAGE_NAMES,
        waiting=found.state in (mail_pb.MESSAGE_STATE_QUEUED, mail_pb.MESSAGE_STATE_SENDING),
    )


@blueprint.get("/messages/<uuid:message_id>/body")
@needs("messages:read")
def message_body(message_id):
    """The message's own page, for the frame."""
    found = _message(message_id)
    return _mail_page(found.subject, found.body, found.language)


@blueprint.post("/messages/<uuid:message_id>/resolve")
@needs("messages:write")
def resolve(message_id):
    """A person says what became of a message whose outcome is not known."""
    try:
        stubs().notification.ResolveMessage(
            mail_pb.ResolveMessageRequest(
                message_id=str(message_id),
                sent=request.form.get("sent") == "1",
                comment=request.form.get("comment", ""),
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        _mistakes.say(_mistakes.of(error))
        return message(message_id), 422
    toast(gettext("Recorded."))
    return redirect(url_for("agenda.message", message_id=message_id), 303)
