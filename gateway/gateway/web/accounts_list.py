"""The list of accounts: its columns per person, and one change to many accounts with a look before it."""

from flask import Blueprint, redirect, render_template, request, url_for

from gateway import store
from gateway.auth import gate
from gateway.web import RPC_TIMEOUT_S, _lists, _mistakes, gettext, me, needs, stubs, toast
from kit.errors import Refused
from quittance.ledger.v1 import customer_service_pb2, ledger_service_pb2

blueprint = Blueprint("accounts_list", __name__)

PREFERENCE = "accounts_columns"
COLUMNS_MAX = 20
BULK_TIMEOUT_S = 60.0
DEFAULT_COLUMNS = ("number", "entity", "oldest_due_on", "open", "overdue", "held", "items", "collector")


def column_names(fields) -> dict[str, str]:
    """Columns that can be shown, in the reader's words; those of custom fields begin with custom."""
    names = {
        "number": gettext("Number"), "entity": gettext("Entity"), "oldest_due_on": gettext("Oldest due"),
        "open": gettext("Open"), "overdue": gettext("Overdue"), "held": gettext("On hold"), "items": gettext("Items"),
        "collector": gettext("Collector"), "groups": gettext("Groups"), "country": gettext("Country"),
        "language": gettext("Language"), "registration_number": gettext("Registration number"),
        "parent_number": gettext("Parent"), "payment_terms": gettext("Terms"),
    }  # fmt: skip
    return {**names, **{f"custom.{field.name}": _lists.field_label(field) for field in fields}}


def chosen_columns(known) -> list[str]:
    """The columns this person chose, else the usual ones."""
    with gate().database.transaction() as session:
        user = store.user(session, me().user_id)
        kept = list((user.preferences or {}).get(PREFERENCE, ())) if user is not None else []
    return [name for name in kept if name in known] or list(DEFAULT_COLUMNS)


@blueprint.post("/accounts/columns")
@needs("accounts:read")
def columns():
    """Keeps the columns a person chose; none chosen: the usual ones."""
    wanted = [] if request.form.get("usual") else request.form.getlist("column")[:COLUMNS_MAX]
    with gate().database.transaction() as session:
        user = store.user(session, me().user_id, for_update=True)
        assert user is not None, "a session has its user"
        user.preferences = {**(user.preferences or {}), PREFERENCE: [name[:120] for name in wanted]}
    return redirect(_back(), 303)


def _back() -> str:
    """The list this form came from, or the plain one."""
    address = request.form.get("back", "")
    is_list = address.partition("?")[0] == "/accounts" and len(address) <= _lists.FROM_MAX_CHARACTERS
    return address if is_list else url_for("customers.accounts")


@blueprint.post("/accounts/bulk")
@needs("accounts:write")
def bulk():
    """Says what a change to the ticked accounts (or to all the list shows) would do; confirm=1 does it."""
    form, back = request.form, _back()
    ids = [] if form.get("all") else [each for each in form.getlist("account") if each]
    if not ids and not form.get("all"):
        toast(gettext("Tick at least one account first."))
        return redirect(back, 303)
    args = _lists.args_of(back)
    change = customer_service_pb2.BulkUpdateAccountsRequest(
        account_ids=ids,
        filter="" if ids else _lists.accounts_filter(args),
        query="" if ids else args.get("query", ""),
        add_groups=[each.strip() for each in form.get("add_groups", "").split(",") if each.strip()],
        remove_groups=[each.strip() for each in form.get("remove_groups", "").split(",") if each.strip()],
    )
    if form.get("collector") or form.get("no_collector"):
        change.collector = "" if form.get("no_collector") else form["collector"].strip()
    if form.get("language"):
        change.language = form["language"]
    if form.get("field"):
        change.custom_fields[form["field"]] = form.get("value", "")
    change.plan_only = not form.get("confirm")
    try:
        answer = stubs().customers.BulkUpdateAccounts(change, timeout=BULK_TIMEOUT_S)
    except Refused as error:
        toast(_mistakes.of(error))
        return redirect(back, 303)
    if form.get("confirm"):
        toast(gettext("Accounts changed: %(count)s.", count=answer.changed_count))
        return redirect(back, 303)
    kept = [(name, value) for name, value in form.items(multi=True) if name not in ("csrf_token", "confirm")]
    return render_template("customers/bulk.html", answer=answer, kept=kept, back=back, names=column_names(()))


@blueprint.post("/accounts/<uuid:account_id>/master-data")
@needs("accounts:write")
def master_data(account_id):
    """Changes what people keep on an account: collector, language, groups, a note, custom fields, its master."""
    form, account_id = request.form, str(account_id)
    asked = ledger_service_pb2.GetAccountRequest(account_id=account_id)
    known = stubs().ledger.GetAccount(asked, timeout=RPC_TIMEOUT_S).account
    groups = [each.strip() for each in form.get("groups", "").split(",") if each.strip()]
    change = ledger_service_pb2.UpdateAccountRequest(
        account_id=account_id,
        collector=form.get("collector", "").strip(),
        language=form.get("language", ""),
        groups=groups,
        remove_groups=[group for group in known.groups if group not in groups],
        pinned_comment=form.get("pinned_comment", ""),
        custom_fields={
            name.removeprefix("custom."): value.strip()
            for name, value in form.items()
            if name.startswith("custom.") and value.strip() != known.custom_fields.get(name.removeprefix("custom."), "")
        },
    )
    stubs().ledger.UpdateAccount(change, timeout=RPC_TIMEOUT_S)
    wanted = form.get("master", "").strip()
    master_id = _lists.account_id_of(known.entity_code, wanted) if wanted else ""
    if master_id != known.master_account_id:
        stubs().customers.SetMaster(
            customer_service_pb2.SetMasterRequest(account_id=account_id, master_account_id=master_id),
            timeout=RPC_TIMEOUT_S,
        )
    toast(gettext("The account was changed."))
    return redirect(url_for("customers.account", account_id=account_id), 303)
