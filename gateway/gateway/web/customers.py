"""Customers: the list of accounts, one account's sheet, one item with its history."""

from collections.abc import Iterable
from datetime import UTC, date

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _lists, _mistakes, can, formatter, gettext, language, needs, stubs, toast
from gateway.web._customer_words import (
    AGE_FILL,
    HOLD_CHIPS,
    PROFILE_BARS,
    collector_name,
    hold_kind,
    hold_name,
    in_words,
    item_kind,
    pays_text,
    profile_name,
    role_name,
    short_date,
)
from gateway.web.accounts_list import chosen_columns, column_names
from gateway.web.figures import bucket_name
from kit import listing
from kit.clock import business_today
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money, to_proto
from quittance.credit_risk.v1 import credit_risk_service_pb2
from quittance.dispute.v1 import dispute_service_pb2
from quittance.ledger.v1 import account_pb2, item_pb2, ledger_service_pb2
from quittance.reporting.v1 import reporting_service_pb2
from quittance.scenario.v1 import scenario_service_pb2

blueprint = Blueprint("customers", __name__)

SHEET_ITEMS_MAX = 500
EVENT_LOOKS = {
    "MESSAGE": ("mail", "sent"),
    "RESPONSE": ("message-question", "in"),
    "PROMISE": ("calendar-check", "in"),
    "CASE": ("message-2-exclamation", "in"),
    "ACTION": ("phone", ""),
    "PAYMENT": ("cash", "money"),
}


@blueprint.get("/accounts")
@needs("accounts:read")
def accounts():
    """The accounts, searched, sorted and paged by the ledger."""
    words = request.args.get("query", "").strip()[:200]
    token = request.args.get("page", "")
    found = _lists.accounts_of(request.args, token)
    first = listing.offset_of(token) + 1 if token else 1
    fields = _lists.custom_fields()
    names = column_names(fields)
    return render_template(
        "customers/accounts.html",
        names=names,
        columns=chosen_columns(names),
        fields=fields,
        field_label=_lists.field_label,
        chips=_lists.group_chips(sorted({group for account in found.accounts for group in account.groups})),
        found=found,
        words=words,
        first=first,
        previous=page_before(first, _lists.ACCOUNTS_PER_PAGE),
        collector_name=collector_name,
        account_href=_lists.account_href,
        origin=_lists.origin(),
    )


@blueprint.get("/accounts/<uuid:account_id>")
@needs("accounts:read")
def account(account_id):
    """One account: header, exposure, scenario and why, items with live totals, what was said and sent."""
    account_id = str(account_id)
    answer = stubs().ledger.GetAccount(
        ledger_service_pb2.GetAccountRequest(account_id=account_id), timeout=RPC_TIMEOUT_S
    )
    settled = request.args.get("items") == "settled"
    token = request.args.get("page", "")
    first = listing.offset_of(token) + 1 if token else 1
    items = stubs().ledger.ListItems(
        ledger_service_pb2.ListItemsRequest(
            account_id=account_id,
            page_size=SHEET_ITEMS_MAX,
            filter="state=CLEARED" if settled else "",
            order_by=request.args.get("sort", "settled_on desc" if settled else "due_on"),
            page_token=token,
        ),
        timeout=RPC_TIMEOUT_S,
    )
    # A figure whose service does not answer is left out and said so; the items are the sheet's reason to be.
    missing: list[str] = []
    progress = _or_missing(missing, "actions:read", lambda: _progress(account_id))
    credit = _or_missing(missing, "credit:read", lambda: _credit(account_id))
    activity = _or_missing(missing, "reports:read", lambda: _activity(account_id))
    return render_template(
        "customers/account.html",
        account=answer.account,
        chips=_lists.group_chips(list(answer.account.groups)),
        fields=_lists.custom_fields(),
        field_label=_lists.field_label,
        master=_other_account(answer.account.master_account_id),
        merged_into=_other_account(answer.account.merged_into_id),
        recipients=_recipients,
        walk=_lists.walk(account_id),
        items=items,
        settled=settled,
        first=first,
        previous=page_before(first, SHEET_ITEMS_MAX),
        progress=progress,
        steps=_steps(progress) if progress else [],
        credit=credit,
        exposure_parts=_exposure_parts(credit) if credit else [],
        limit_mark=_limit_mark(credit) if credit else None,
        age_legend=_age_legend(credit) if credit else [],
        activity=activity,
        pays_text=pays_text,
        collector_name=collector_name,
        bucket_name=bucket_name,
        missing=missing,
        today=business_today(),
        hold_kind=hold_kind,
        hold_name=hold_name,
        hold_chips=HOLD_CHIPS,
        item_kind=item_kind,
        profile_bars=PROFILE_BARS,
        profile_name=profile_name,
        events=[_event(entry) for entry in activity.entries] if activity else [],
        role_name=role_name,
        in_words=in_words,
        age_fill=AGE_FILL,
        reasons=_reasons(),
        new_id=new_id,
        french=language() == "fr",
    )


def _other_account(account_id: str) -> account_pb2.Account | None:
    """An account that another one names; None without one."""
    if not account_id:
        return None
    request_ = ledger_service_pb2.GetAccountRequest(account_id=account_id)
    return stubs().ledger.GetAccount(request_, timeout=RPC_TIMEOUT_S).account


def _recipients(contact: account_pb2.Contact) -> str:
    """A contact's roles, and whether it stands in copy, in the reader's words."""
    roles = ", ".join(role_name(role) for role in (contact.roles or [contact.role]))
    return (
        gettext("%(roles)s (in copy)", roles=roles) if contact.recipient == account_pb2.CONTACT_RECIPIENT_CC else roles
    )


def _progress(account_id: str) -> scenario_service_pb2.GetAccountProgressResponse:
    request_ = scenario_service_pb2.GetAccountProgressRequest(account_id=account_id)
    return stubs().scenario.GetAccountProgress(request_, timeout=RPC_TIMEOUT_S)


def _credit(account_id: str) -> credit_risk_service_pb2.Credit:
    request_ = credit_risk_service_pb2.GetAccountCreditRequest(account_id=account_id)
    return stubs().credit_risk.GetAccountCredit(request_, timeout=RPC_TIMEOUT_S).credit


def _activity(account_id: str) -> reporting_service_pb2.GetAccountActivityResponse:
    request_ = reporting_service_pb2.GetAccountActivityRequest(account_id=account_id, limit=30)
    return stubs().reporting.GetAccountActivity(request_, timeout=RPC_TIMEOUT_S)


def _reasons() -> list[tuple[str, str]]:
    """Reasons of disputes for the form; none without the right to open a case."""
    if not can("cases:write"):
        return []
    found = stubs().dispute.ListReasons(dispute_service_pb2.ListReasonsRequest(), timeout=RPC_TIMEOUT_S)
    return [(reason.code, reason.name_fr if language() == "fr" else reason.name) for reason in found.reasons]


def _or_missing(missing: list[str], permission: str, ask):
    if not can(permission):
        return None
    try:
        return ask()
    except Refused as error:
        if not error.is_transient and error.code is not Code.NOT_FOUND:
            raise
        missing.append(permission.partition(":")[0])
        return None


def _steps(progress: scenario_service_pb2.GetAccountProgressResponse) -> list[dict[str, str]]:
    """The scenario's steps as the stepper shows them."""
    shown = {
        scenario_service_pb2.PROGRESS_STATE_DONE: "done",
        scenario_service_pb2.PROGRESS_STATE_SKIPPED: "skipped",
        scenario_service_pb2.PROGRESS_STATE_CURRENT: "now",
    }
    steps = []
    for step in progress.steps:
        state = shown.get(step.state, "next")
        when = short_date(step.on) if step.on else ""
        if state == "next" and not when and progress.HasField("current"):
            when = gettext("after the step before")
        elif state == "now" and when:
            when = _when_owed(step.on)
        # A step behind us without a day was passed by: the account was already later than it when it was first seen.
        outcome = step.outcome or (gettext("left out") if state == "skipped" and not when else "")
        steps.append(
            {"title": step.step.name, "text": ", ".join(part for part in (when, outcome) if part), "state": state}
        )
    return steps


def _when_owed(day: str) -> str:
    """The day of the action that is owed: today, since when, or when it will be."""
    days = (business_today() - date.fromisoformat(day)).days
    if days == 0:
        return gettext("Today")
    return gettext("since %(day)s", day=short_date(day)) if days > 0 else short_date(day)


def page_before(first: int, size: int) -> str | None:
    """Token of the page before the one that starts at row `first`; None: the first page."""
    return listing.encode_page_token(offset=first - 1 - size) if first - 1 > size else None


def _limit_mark(credit: credit_risk_service_pb2.Credit) -> float | None:
    """Where the limit stands on the bar (0 to 1) when the exposure is longer than it."""
    whole = sum(age.amount.minor_units for age in credit.ages)
    limit = credit.limit.amount.minor_units if credit.HasField("limit") else 0
    return limit / whole if 0 < limit < whole else None


def _exposure_parts(credit: credit_risk_service_pb2.Credit) -> list[tuple[str, float]]:
    """(fill, share of the bar) by age; the bar is as long as the larger of exposure and limit."""
    whole = max(
        sum(age.amount.minor_units for age in credit.ages),
        credit.limit.amount.minor_units if credit.HasField("limit") else 0,
    )
    if not whole:
        return []
    return [(AGE_FILL[age.label], age.amount.minor_units / whole) for age in credit.ages if age.amount.minor_units]


def _age_legend(credit: credit_risk_service_pb2.Credit) -> list[tuple[str, str]]:
    """(swatch, words) for the parts of the exposure bar."""
    return [(AGE_FILL[age.label], bucket_name(age.label)) for age in credit.ages if age.amount.minor_units]


def _event(entry: reporting_service_pb2.ActivityEntry) -> dict:
    """One entry of what was said and sent."""
    icon, kind = EVENT_LOOKS.get(entry.kind, ("note", ""))
    title = (entry.title_fr if language() == "fr" else entry.title) or entry.title
    if entry.kind == "PAYMENT":
        title = gettext("Payment")
    href = {
        "MESSAGE": f"/messages/{entry.reference_id}",
        "CASE": f"/disputes/{entry.reference_id}",
        "RESPONSE": f"/answers/{entry.reference_id}",
    }.get(entry.kind, "")
    if entry.kind == "MESSAGE" and entry.state in ("FAILED", "BOUNCED", "UNKNOWN", "CANCELLED"):
        kind = "bad"
    link = {"MESSAGE": gettext("As sent"), "CASE": gettext("Open the case")}.get(entry.kind, gettext("Open"))
    title = in_words(title)
    return {
        "icon": icon,
        "kind": kind,
        "title": title,
        "href": href,
        "link": link,
        "when": _event_time(entry),
        "entry": entry,
    }


def _event_time(entry: reporting_service_pb2.ActivityEntry) -> str:
    """When it was: a day where only the day is known, else day and time."""
    if entry.kind == "PAYMENT":
        return formatter("date_text")(entry.reference_id, "year")
    at = entry.at.ToDatetime(tzinfo=UTC)
    if (at.hour, at.minute, at.second) == (0, 0, 0):
        return short_date(at.date().isoformat())
    return formatter("moment_text")(entry.at)


@blueprint.post("/accounts/<uuid:account_id>/contacts")
@needs("accounts:write")
def add_contact(account_id):
    """Adds a contact to an account."""
    form = request.form
    role = form.get("role", "CONTACT_ROLE_ACCOUNTS_PAYABLE")
    known = account_pb2.ContactRole.keys()
    if role not in known:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "role: is not one of the roles", {"role": "is unknown"})
    stubs().ledger.CreateContact(
        ledger_service_pb2.CreateContactRequest(
            account_id=str(account_id),
            name=form.get("name", ""),
            email=form.get("email", ""),
            phone=form.get("phone", ""),
            role=role,
            language=form.get("language", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    toast(gettext("The contact was added."))
    return redirect(url_for("customers.account", account_id=account_id), 303)


@blueprint.post("/accounts/<uuid:account_id>/pause")
@needs("actions:write")
def pause(account_id):
    """No action until a day, with a reason; without a day the pause ends."""
    if request.form.get("resume"):
        stubs().scenario.ResumeAccount(
            scenario_service_pb2.ResumeAccountRequest(account_id=str(account_id)), timeout=RPC_TIMEOUT_S
        )
        toast(gettext("The pause has ended. The next action is to be confirmed."))
    else:
        stubs().scenario.PauseAccount(
            scenario_service_pb2.PauseAccountRequest(
                account_id=str(account_id),
                until_on=request.form.get("until_on", ""),
                reason=request.form.get("reason", ""),
            ),
            timeout=RPC_TIMEOUT_S,
        )
        toast(gettext("Paused. Nothing is sent until that day."))
    return redirect(url_for("customers.account", account_id=account_id), 303)


@blueprint.post("/accounts/<uuid:account_id>/limit")
@needs("credit:write")
def set_limit(account_id):
    """Sets the limit of the legal unit behind the account."""
    currency = request.form.get("currency", "")
    try:
        amount = Money.read(request.form.get("amount", ""), currency)
    except ValueError as error:
        message = _mistakes.amount_text(error, currency)
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", message, {"amount": message}) from error
    stubs().credit_risk.SetLimit(
        credit_risk_service_pb2.SetLimitRequest(
            request_id=request.form.get("request_id", ""),
            account_id=str(account_id),
            amount=to_proto(amount),
            valid_until=request.form.get("valid_until", ""),
            reason=request.form.get("reason", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    toast(gettext("The limit was set."))
    return redirect(url_for("customers.account", account_id=account_id), 303)


@blueprint.post("/accounts/<uuid:account_id>/promise")
@needs("promises:write")
def promise(account_id):
    """Records a promise on the ticked items, as said on the telephone."""
    lines = [scenario_service_pb2.PromiseOrder(item_id=item_id) for item_id in _ticked(request.form.getlist("item"))]
    stubs().scenario.CreatePromise(
        scenario_service_pb2.CreatePromiseRequest(
            request_id=request.form.get("request_id", ""),
            account_id=str(account_id),
            promised_on=request.form.get("promised_on", ""),
            lines=lines,
            source="CALL",
            comment=request.form.get("comment", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    toast(gettext("The promise was recorded. Its items leave the agenda until then."))
    return redirect(url_for("customers.account", account_id=account_id), 303)


@blueprint.post("/accounts/<uuid:account_id>/dispute")
@needs("cases:write")
def dispute(account_id):
    """Opens a case on the ticked items."""
    answer = stubs().dispute.OpenCase(
        dispute_service_pb2.OpenCaseRequest(
            request_id=request.form.get("request_id", ""),
            account_id=str(account_id),
            reason_code=request.form.get("reason_code", ""),
            lines=[
                dispute_service_pb2.CaseLineOrder(item_id=item_id) for item_id in _ticked(request.form.getlist("item"))
            ],
            comment=request.form.get("comment", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    toast(gettext("Case %(number)s was opened.", number=answer.case.number))
    return redirect(f"/disputes/{answer.case.case_id}", 303)


def _ticked(item_ids: Iterable[str]) -> list[str]:
    """The ticked items. Refuses NOTHING_TICKED when there are none."""
    ids = [item_id for item_id in item_ids if item_id]
    if not ids:
        raise Refused(Code.INVALID_ARGUMENT, "NOTHING_TICKED", gettext("Tick at least one item first."))
    return ids


@blueprint.get("/items/<uuid:item_id>")
@needs("items:read")
def item(item_id):
    """One item: what is open, why, and everything that ever changed it."""
    found = stubs().ledger.GetItem(ledger_service_pb2.GetItemRequest(item_id=str(item_id)), timeout=RPC_TIMEOUT_S)
    causes = {
        item_pb2.CHANGE_CAUSE_ISSUED: gettext("Issued"),
        item_pb2.CHANGE_CAUSE_PAYMENT: gettext("Payment"),
        item_pb2.CHANGE_CAUSE_CREDIT: gettext("Credit set against it"),
        item_pb2.CHANGE_CAUSE_WRITE_OFF: gettext("Written off"),
        item_pb2.CHANGE_CAUSE_IMPORT: gettext("Changed by an import"),
        item_pb2.CHANGE_CAUSE_ABSENT_FROM_STOCK: gettext("No longer in the complete file"),
        item_pb2.CHANGE_CAUSE_REOPENED: gettext("Reopened"),
        item_pb2.CHANGE_CAUSE_ROLL_BACK: gettext("Import rolled back"),
    }
    return render_template(
        "customers/item.html",
        found=found,
        item=found.item,
        causes=causes,
        in_words=in_words,
        hold_kind=hold_kind,
        hold_name=hold_name,
        hold_chips=HOLD_CHIPS,
        item_kind=item_kind,
        states={
            item_pb2.HOLD_STATE_ACTIVE: gettext("in force"),
            item_pb2.HOLD_STATE_EXPIRED: gettext("expired"),
            item_pb2.HOLD_STATE_RELEASED: gettext("ended"),
        },
    )
