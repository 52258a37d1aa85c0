"""One contact: what it is asked about, how and for what it is reached; taking it away."""

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _mistakes, gettext, needs, stubs, toast
from gateway.web._customer_words import channel_names, role_names
from kit.errors import Code, Refused
from quittance.ledger.v1 import account_pb2, customer_service_pb2, ledger_service_pb2

blueprint = Blueprint("contacts", __name__)


@blueprint.route("/accounts/<uuid:account_id>/contacts/<uuid:contact_id>", methods=["GET", "POST"])
@needs("accounts:write")
def contact(account_id, contact_id):
    """A contact's form; delete=1 takes it away."""
    account_id, contact_id = str(account_id), str(contact_id)
    form = request.form
    errors = {}
    if request.method == "POST":
        try:
            if form.get("delete"):
                stubs().customers.DeleteContact(
                    customer_service_pb2.DeleteContactRequest(contact_id=contact_id), timeout=RPC_TIMEOUT_S
                )
                toast(gettext("The contact was taken away."))
            else:
                _save(contact_id)
                toast(gettext("The contact was changed."))
            return redirect(url_for("customers.account", account_id=account_id), 303)
        except Refused as error:
            text = _mistakes.of(error)
            errors = _mistakes.by_field(error)
            if not errors.keys() & {"name", "email", "phone"}:
                _mistakes.say(text)
    account = (
        stubs().ledger.GetAccount(ledger_service_pb2.GetAccountRequest(account_id=account_id), timeout=RPC_TIMEOUT_S)
    ).account
    found = next((each for each in account.contacts if each.contact_id == contact_id), None)
    if found is None:
        raise Refused(Code.NOT_FOUND, "CONTACT_UNKNOWN", gettext("This contact is gone."))
    page = render_template(
        "contacts/contact.html",
        account=account,
        contact=found,
        errors=errors,
        roles=role_names(),
        channels=channel_names(),
        has_role=lambda name: account_pb2.ContactRole.Value(name) in found.roles,
        has_channel=lambda name: account_pb2.ContactChannel.Value(name) in found.channels,
        preferred=account_pb2.ContactChannel.Name(found.preferred_channel),
        is_cc=found.recipient == account_pb2.CONTACT_RECIPIENT_CC,
        scope=account_pb2.ContactScope.Name(found.scope),
    )
    return (page, 422) if request.method == "POST" else page


def _save(contact_id: str) -> None:
    form = request.form
    known = {
        "roles": dict(role_names()), "channels": dict(channel_names()),
        "scope": {"CONTACT_SCOPE_ACCOUNT", "CONTACT_SCOPE_LEGAL_UNIT", "CONTACT_SCOPE_ITEMS"},
    }  # fmt: skip
    preferred = form.get("preferred", "")
    request_ = customer_service_pb2.UpdateContactRequest(
        contact_id=contact_id,
        name=form.get("name", ""),
        email=form.get("email", ""),
        phone=form.get("phone", ""),
        language=form.get("language", ""),
        roles=[name for name in form.getlist("roles") if name in known["roles"]],
        channels=[name for name in form.getlist("channels") if name in known["channels"]],
        preferred_channel=preferred if preferred in known["channels"] else None,
        scope=form.get("scope") if form.get("scope") in known["scope"] else None,
        recipient="CONTACT_RECIPIENT_CC" if form.get("cc") else "CONTACT_RECIPIENT_TO",
    )
    stubs().customers.UpdateContact(request_, timeout=RPC_TIMEOUT_S)
