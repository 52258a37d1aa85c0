"""Customers: the list of accounts, one account's sheet, one item with its history."""

import re
from collections.abc import Iterable
from datetime import UTC, date

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, can, formatter, gettext, language, me, needs, selected_entity, stubs, toast
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

ROWS_PER_PAGE = 100
SHEET_ITEMS_MAX = 500
# Levels of the five bars, by profile.
PROFILE_BARS = {"EXCELLENT": 5, "GOOD": 4, "AVERAGE": 3, "SLOW": 2, "BAD": 1}
HOLD_CHIPS = {
    "DISPUTE": "dispute",
    "PROMISE": "promise",
    "PAYMENT_PLAN": "plan",
    "PAYMENT_ANNOUNCED": "paid",
    "RESPONSE": "answer",
    "LEGAL": "legal",
    "EXCLUSION": "out",
}
AGE_FILL = {"NOT_DUE": "0", "1-30": "1", "31-60": "2", "61-90": "3", "91-120": "4", ">120": "5", "NO_DUE_DATE": "0"}
EVENT_LOOKS = {
    "MESSAGE": ("mail", "sent"),
    "RESPONSE": ("message-question", "in"),
    "PROMISE": ("calendar-check", "in"),
    "CASE": ("message-2-exclamation", "in"),
    "ACTION": ("phone", ""),
    "PAYMENT": ("cash", "money"),
}


def profile_name(profile: str) -> str:
    """How a customer pays, in the reader's words."""
    return {
        "EXCELLENT": gettext("Excellent"),
        "GOOD": gettext("Good"),
        "AVERAGE": gettext("Average"),
        "SLOW": gettext("Slow"),
        "BAD": gettext("Bad"),
    }.get(profile, gettext("Not known yet"))


def hold_name(kind: str) -> str:
    """A hold in the reader's words."""
    return {
        "DISPUTE": gettext("Dispute"),
        "PROMISE": gettext("Promise"),
        "PAYMENT_PLAN": gettext("Payment plan"),
        "PAYMENT_ANNOUNCED": gettext("Said to be paid"),
        "RESPONSE": gettext("Answer waiting"),
        "LEGAL": gettext("Legal"),
        "EXCLUSION": gettext("Not chased"),
    }.get(kind, kind)


def hold_kind(hold: item_pb2.Hold) -> str:
    """The kind of a hold without its prefix."""
    return item_pb2.HoldKind.Name(hold.kind).removeprefix("HOLD_KIND_")


def item_kind(item: item_pb2.Item) -> str:
    """The kind of an item in the reader's words."""
    names = {
        item_pb2.ITEM_KIND_INVOICE: gettext("Invoice"),
        item_pb2.ITEM_KIND_CREDIT_NOTE: gettext("Credit note"),
        item_pb2.ITEM_KIND_PAYMENT: gettext("Cash not allocated"),
        item_pb2.ITEM_KIND_DOWN_PAYMENT: gettext("Down payment"),
        item_pb2.ITEM_KIND_IN_TRANSIT: gettext("On its way to the bank"),
        item_pb2.ITEM_KIND_BANK_CHARGE: gettext("Bank charge"),
        item_pb2.ITEM_KIND_OTHER_DEBIT: gettext("Other debit"),
        item_pb2.ITEM_KIND_OTHER_CREDIT: gettext("Other credit"),
        item_pb2.ITEM_KIND_LATE_INTEREST: gettext("Late interest"),
    }
    return names.get(item.kind, "")


@blueprint.get("/accounts")
@needs("accounts:read")
def accounts():
    """The accounts, searched, sorted and paged by the ledger."""
    entity = selected_entity()
    words = request.args.get("query", "").strip()[:200]
    terms = [f'entity_code="{entity}"'] if entity else []
    if request.args.get("mine") == "1":
        terms.append(f'collector="{me().caller.subject}"')
    token = request.args.get("page", "")
    found = stubs().ledger.ListAccounts(
        ledger_service_pb2.ListAccountsRequest(
            filter=" AND ".join(terms),
            query=words,
            order_by=request.args.get("sort", ""),
            page_size=ROWS_PER_PAGE,
            page_token=token,
        ),
        timeout=RPC_TIMEOUT_S,
    )
    first = listing.offset_of(token) + 1 if token else 1
    return render_template(
        "customers/accounts.html",
        found=found,
        words=words,
        first=first,
        previous=page_before(first, ROWS_PER_PAGE),
        collector_name=collector_name,
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
        when = _short_date(step.on) if step.on else ""
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
    return gettext("since %(day)s", day=_short_date(day)) if days > 0 else _short_date(day)


def pays_text(days: float) -> str:
    """How late the customer pays, in words."""
    number = formatter("number")
    if round(days, 1) == 0:
        return gettext("on the due day")
    if days < 0:
        return gettext("%(days)s d before due", days=number(-days, 1))
    return gettext("%(days)s d after due", days=number(days, 1))


def collector_name(address: str) -> str:
    """The readable part of a collector's address."""
    return address.partition("@")[0]


def page_before(first: int, size: int) -> str | None:
    """Token of the page before the one that starts at row `first`; None: the first page."""
    return listing.encode_page_token(offset=first - 1 - size) if first - 1 > size else None


def _short_date(day: str) -> str:
    return formatter("date_text")(date.fromisoformat(day))


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


_ISO_DAY = re.compile(r"\b\d{4}-\d\d-\d\d\b")


def in_words(text: str) -> str:
    """A service's text with its days as the reader writes them."""
    return _ISO_DAY.sub(lambda found: _short_date(found.group()), text)


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
        return _short_date(at.date().isoformat())
    return formatter("moment_text")(entry.at)


def role_name(role: account_pb2.ContactRole) -> str:
    """A contact's role in the reader's words."""
    return {
        account_pb2.CONTACT_ROLE_ACCOUNTS_PAYABLE: gettext("Accounts payable"),
        account_pb2.CONTACT_ROLE_BUYER: gettext("Buyer"),
        account_pb2.CONTACT_ROLE_MANAGEMENT: gettext("Management"),
        account_pb2.CONTACT_ROLE_LEGAL: gettext("Legal"),
    }.get(role, "")


@blueprint.post("/accounts/<uuid:account_id>/contacts")
@needs("accounts:write")
def add_contact(account_id):
    """Adds a contact to an account."""
    form = request.form
    stubs().ledger.CreateContact(
        ledger_service_pb2.CreateContactRequest(
            account_id=str(account_id),
            name=form.get("name", ""),
            email=form.get("email", ""),
            phone=form.get("phone", ""),
            role=form.get("role", "CONTACT_ROLE_ACCOUNTS_PAYABLE"),
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


def plain_amount(written: str) -> str:
    """An amount as people write it (25 000,00 or 25,000.00) with a decimal point and no separators of thousands."""
    text = re.sub(r"[\s\u00a0\u202f'’]", "", written)
    # The last sign divides units from cents; alone and before three digits it divides thousands.
    parts = re.fullmatch(r"(.*?)(?:([.,])(\d*))?", text)
    whole, sign, cents = parts.groups(default="") if parts else (text, "", "")
    if sign and len(cents) == 3:
        return re.sub(r"[.,]", "", whole) + cents
    whole = re.sub(r"[.,]", "", whole)
    return f"{whole}.{cents}" if cents else whole


@blueprint.post("/accounts/<uuid:account_id>/limit")
@needs("credit:write")
def set_limit(account_id):
    """Sets the limit of the legal unit behind the account."""
    currency = request.form.get("currency", "")
    try:
        amount = Money.parse(plain_amount(request.form.get("amount", "")), currency)
    except ValueError as error:
        message = gettext("Write an amount such as 25000.00.")
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
