"""Groups of accounts, custom fields, companies behind accounts."""

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, can, gettext, needs, stubs, toast
from gateway.web._customer_words import group_kind
from quittance.ledger.v1 import customer_service_pb2

blueprint = Blueprint("groups", __name__)

ROWS_PER_PAGE = 200


def colours() -> list[tuple[str, str]]:
    """Colour words of groups with their names."""
    return [
        ("accent", gettext("Blue")), ("ok", gettext("Green")), ("warn", gettext("Amber")), ("danger", gettext("Red")),
        ("info", gettext("Grey")), ("violet", gettext("Violet")),
    ]  # fmt: skip


def field_types() -> list[tuple[str, str]]:
    """Types of custom fields with their names."""
    return [
        ("FIELD_TYPE_TEXT", gettext("Text")), ("FIELD_TYPE_NUMBER", gettext("Decimal number")),
        ("FIELD_TYPE_DATE", gettext("Date")), ("FIELD_TYPE_LIST", gettext("List")),
    ]  # fmt: skip


@blueprint.get("/groups")
@needs("accounts:read")
def groups():
    """Groups with how many accounts are in them, and custom fields."""
    found = stubs().customers.ListGroups(
        customer_service_pb2.ListGroupsRequest(page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")),
        timeout=RPC_TIMEOUT_S,
    )
    fields = stubs().customers.ListCustomFields(
        customer_service_pb2.ListCustomFieldsRequest(page_size=ROWS_PER_PAGE), timeout=RPC_TIMEOUT_S
    )
    types = dict(field_types())
    return render_template(
        "groups/groups.html",
        found=found,
        fields=fields.fields,
        colours=colours(),
        types=field_types(),
        type_name=lambda kind: types[customer_service_pb2.FieldType.Name(kind)],
        group_kind=group_kind,
        is_account=lambda field: field.object == customer_service_pb2.FIELD_OBJECT_ACCOUNT,
    )


@blueprint.post("/groups")
@needs("accounts:write")
def save_group():
    """Names a new group, or changes one (known=1), or forgets it (delete=1)."""
    form = request.form
    code, values = form.get("code", ""), {"name": form.get("name", ""), "colour": form.get("colour", "")}
    if form.get("delete"):
        stubs().customers.DeleteGroup(customer_service_pb2.DeleteGroupRequest(code=code), timeout=RPC_TIMEOUT_S)
        toast(gettext("The group was forgotten."))
    elif form.get("known"):
        stubs().customers.UpdateGroup(
            customer_service_pb2.UpdateGroupRequest(code=code, **values), timeout=RPC_TIMEOUT_S
        )
        toast(gettext("The group was changed."))
    else:
        stubs().customers.CreateGroup(
            customer_service_pb2.CreateGroupRequest(code=code, **values), timeout=RPC_TIMEOUT_S
        )
        toast(gettext("The group was made."))
    return redirect(url_for("groups.groups"), 303)


@blueprint.post("/custom-fields")
@needs("accounts:write")
def save_field():
    """Defines a custom field, or forgets its definition (delete=1)."""
    form = request.form
    kind = form.get("object", "FIELD_OBJECT_ACCOUNT")
    if form.get("delete"):
        stubs().customers.DeleteCustomField(
            customer_service_pb2.DeleteCustomFieldRequest(object=kind, name=form.get("name", "")), timeout=RPC_TIMEOUT_S
        )
        toast(gettext("The definition was forgotten; values stay."))
    else:
        stubs().customers.SetCustomField(
            customer_service_pb2.SetCustomFieldRequest(
                object=kind,
                name=form.get("name", ""),
                type=form.get("type", "FIELD_TYPE_TEXT"),
                label_en=form.get("label_en", ""),
                label_fr=form.get("label_fr", ""),
                options=[line.strip() for line in form.get("options", "").splitlines() if line.strip()],
            ),
            timeout=RPC_TIMEOUT_S,
        )
        toast(gettext("The field was defined."))
    return redirect(url_for("groups.groups"), 303)


@blueprint.route("/legal-units/<uuid:legal_unit_id>", methods=["GET", "POST"])
@needs("accounts:read")
def legal_unit(legal_unit_id):
    """A company with its accounts and what they owe per currency, none added together."""
    unit_id = str(legal_unit_id)
    if request.method == "POST" and can("accounts:write"):
        stubs().customers.UpdateLegalUnit(
            customer_service_pb2.UpdateLegalUnitRequest(
                legal_unit_id=unit_id,
                name=request.form.get("name", ""),
                registration_number=request.form.get("registration_number", ""),
                country=request.form.get("country", "").upper(),
            ),
            timeout=RPC_TIMEOUT_S,
        )
        toast(gettext("The company was changed."))
        return redirect(url_for("groups.legal_unit", legal_unit_id=unit_id), 303)
    found = stubs().customers.GetLegalUnit(
        customer_service_pb2.GetLegalUnitRequest(legal_unit_id=unit_id), timeout=RPC_TIMEOUT_S
    )
    return render_template("groups/legal_unit.html", found=found, unit=found.legal_unit)
