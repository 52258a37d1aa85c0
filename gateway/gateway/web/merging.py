"""Accounts that are one customer: suggestions, what a merge would move, merging, undoing."""

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _mistakes, entities, gettext, needs, stubs, toast
from kit.errors import Refused
from kit.ids import new_id
from quittance.ledger.v1 import customer_service_pb2, ledger_service_pb2

blueprint = Blueprint("merging", __name__)

MERGES_PER_PAGE = 50
COMPARED_MAX = 10


def reason_name(reason: customer_service_pb2.MergeReason) -> str:
    """Why accounts look like one customer, in the reader's words."""
    return {
        customer_service_pb2.MERGE_REASON_SAME_REGISTRATION: gettext("Same registration number"),
        customer_service_pb2.MERGE_REASON_SAME_NAME: gettext("Same name"),
        customer_service_pb2.MERGE_REASON_SIMILAR_NAME: gettext("Similar name"),
    }.get(reason, "")


@blueprint.get("/duplicates")
@needs("accounts:read")
def duplicates():
    """Accounts that look like one customer, and the merges of the past."""
    codes = [entity.code for entity in entities()]
    code = request.args.get("entity", "")
    code = code if code in codes else (codes[0] if codes else "")
    suggestions = []
    if code:
        asked = customer_service_pb2.SuggestMergesRequest(entity_code=code)
        suggestions = stubs().customers.SuggestMerges(asked, timeout=RPC_TIMEOUT_S).suggestions
    past = stubs().customers.ListMerges(
        customer_service_pb2.ListMergesRequest(
            filter=f'entity_code="{code}"' if code else "",
            page_size=MERGES_PER_PAGE,
            page_token=request.args.get("page", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    return render_template(
        "merging/duplicates.html", code=code, codes=codes, suggestions=suggestions, past=past, reason_name=reason_name
    )


@blueprint.get("/duplicates/compare")
@needs("accounts:read")
def compare():
    """Accounts side by side, and what a merge into the chosen one would move."""
    ids = list(dict.fromkeys(request.args.getlist("account")))[:COMPARED_MAX]
    accounts = [
        stubs().ledger.GetAccount(ledger_service_pb2.GetAccountRequest(account_id=each), timeout=RPC_TIMEOUT_S).account
        for each in ids
    ]
    survivor_id = request.args.get("survivor", "")
    survivor_id = survivor_id if survivor_id in ids else (ids[0] if ids else "")
    plan = None
    if len(ids) > 1:
        try:
            plan = stubs().customers.MergeAccounts(_merge(survivor_id, ids, plan_only=True), timeout=RPC_TIMEOUT_S)
        except Refused as error:
            _mistakes.say(_mistakes.of(error))
    return render_template("merging/compare.html", accounts=accounts, survivor_id=survivor_id, plan=plan, new_id=new_id)


def _merge(survivor_id: str, ids: list[str], **more) -> customer_service_pb2.MergeAccountsRequest:
    return customer_service_pb2.MergeAccountsRequest(
        survivor_id=survivor_id, merged_ids=[each for each in ids if each != survivor_id], **more
    )


@blueprint.post("/duplicates/merge")
@needs("accounts:write")
def merge():
    """Puts the accounts into the chosen one."""
    ids, survivor_id = request.form.getlist("account"), request.form.get("survivor", "")
    done = stubs().customers.MergeAccounts(
        _merge(survivor_id, ids, request_id=request.form.get("request_id", ""), reason=request.form.get("reason", "")),
        timeout=RPC_TIMEOUT_S,
    )
    toast(gettext("Merged. Items moved: %(count)s.", count=done.item_count))
    return redirect(url_for("customers.account", account_id=survivor_id), 303)


@blueprint.post("/duplicates/<uuid:account_id>/split")
@needs("accounts:write")
def split(account_id):
    """Undoes the merge of one account."""
    done = stubs().customers.SplitMerge(
        customer_service_pb2.SplitMergeRequest(
            request_id=request.form.get("request_id", ""), account_id=str(account_id)
        ),
        timeout=RPC_TIMEOUT_S,
    )
    toast(gettext("Split again. Items that went back: %(count)s.", count=done.item_count))
    return redirect(url_for("customers.account", account_id=account_id), 303)
