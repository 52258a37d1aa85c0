"""Set-up and risk: legal units and their limits, scenarios, templates, entities, users and keys."""

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _mistakes, can, gettext, language, me, needs, stubs, toast
from gateway.web.agenda import CHANNELS, LANGUAGE_NAMES, channel_name
from kit.errors import Code, Refused
from quittance.credit_risk.v1 import credit_risk_service_pb2
from quittance.gateway.v1 import identity_service_pb2
from quittance.ledger.v1 import ledger_service_pb2
from quittance.notification.v1 import notification_service_pb2
from quittance.scenario.v1 import action_pb2, scenario_service_pb2

blueprint = Blueprint("setup", __name__)

ROWS_PER_PAGE = 100
# The field a refusal without named fields belongs to.
FIELD_OF_REASON = {"EMAIL_TAKEN": "email", "ENTITY_CODE_TAKEN": "code", "ROLE_TOO_HIGH": "role"}


@blueprint.get("/credit-risk")
@needs("credit:read")
def credit_risk():
    """Legal units, those nearest to their limit first."""
    over = request.args.get("view") == "over"
    found = stubs().credit_risk.ListCredits(
        credit_risk_service_pb2.ListCreditsRequest(
            filter="over_limit=true" if over else "",
            page_size=ROWS_PER_PAGE,
            page_token=request.args.get("page", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    return render_template("setup/credit_risk.html", found=found, over=over)


@blueprint.get("/scenarios")
@needs("scenarios:read")
def scenarios():
    """The scenarios with their steps."""
    found = stubs().scenario.ListScenarios(
        scenario_service_pb2.ListScenariosRequest(page_size=ROWS_PER_PAGE), timeout=RPC_TIMEOUT_S
    )
    return render_template(
        "setup/scenarios.html",
        found=found,
        channels=CHANNELS,
        channel_name=channel_name,
        when=_when,
        modes={
            action_pb2.STEP_MODE_MANUAL: gettext("by hand"),
            action_pb2.STEP_MODE_TO_CONFIRM: gettext("to confirm"),
            action_pb2.STEP_MODE_AUTOMATIC: gettext("automatic"),
        },
    )


def _when(step: action_pb2.Step) -> str:
    """When a step is owed, such as D+25."""
    days = f"{step.offset_days:+d}".replace("-", "\u2212")
    if step.anchor == action_pb2.STEP_ANCHOR_PREVIOUS_ACTION:
        return gettext("%(days)s d after the step before", days=days)
    return gettext("D%(days)s", days=days)


@blueprint.get("/templates")
@needs("templates:read")
def templates():
    """The texts by name and language."""
    found = stubs().notification.ListTemplates(
        notification_service_pb2.ListTemplatesRequest(page_size=500), timeout=RPC_TIMEOUT_S
    )
    return render_template("setup/templates.html", found=found, language_names=LANGUAGE_NAMES)


@blueprint.route("/templates/<uuid:template_id>", methods=["GET", "POST"])
@needs("templates:read")
def template(template_id):
    """One text, to read and to change."""
    errors = {}
    if request.method == "POST":
        if not can("templates:write"):
            raise Refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING", "this needs the permission templates:write")
        try:
            stubs().notification.UpdateTemplate(
                notification_service_pb2.UpdateTemplateRequest(
                    template_id=str(template_id),
                    subject=request.form.get("subject", ""),
                    body=request.form.get("body", ""),
                ),
                timeout=RPC_TIMEOUT_S,
            )
        except Refused as error:
            text = _mistakes.of(error)
            errors = _mistakes.by_field(error)
            if not errors.keys() & {"subject", "body"}:
                _mistakes.say(text)
        else:
            toast(gettext("Saved as a new version."))
            return redirect(url_for("setup.template", template_id=template_id), 303)
    found = stubs().notification.ListTemplates(
        notification_service_pb2.ListTemplatesRequest(page_size=500), timeout=RPC_TIMEOUT_S
    )
    one = next((each for each in found.templates if each.template_id == str(template_id)), None)
    if one is None:
        return render_template("ui/error.html", status=404), 404
    tags = stubs().notification.ListHashtags(notification_service_pb2.ListHashtagsRequest(), timeout=RPC_TIMEOUT_S)
    page = render_template(
        "setup/template.html",
        template=one,
        subject=request.form.get("subject", one.subject),
        body=request.form.get("body", one.body),
        errors=errors,
        hashtags=tags.hashtags,
        french=language() == "fr",
        language_names=LANGUAGE_NAMES,
    )
    return (page, 422) if request.method == "POST" else page


@blueprint.get("/settings")
@needs("users:read")
def settings_page():
    """Entities, users, API keys."""
    return _settings_page()


def _settings_page(opened: str = "", error: Refused | None = None):
    """The page; after a mistake with its dialog open again, the input kept and the wrong fields named."""
    errors = {}
    if error is not None:
        text = _mistakes.of(error)
        errors = _mistakes.by_field(error) or {FIELD_OF_REASON.get(error.reason, ""): text}
        if not opened:
            _mistakes.say(text)
    answer_entities = stubs().ledger.ListEntities(
        ledger_service_pb2.ListEntitiesRequest(page_size=500), timeout=RPC_TIMEOUT_S
    )
    users = stubs().identity.ListUsers(identity_service_pb2.ListUsersRequest(page_size=500), timeout=RPC_TIMEOUT_S)
    roles = stubs().identity.ListRoles(identity_service_pb2.ListRolesRequest(), timeout=RPC_TIMEOUT_S)
    keys = None
    if can("api_keys:read"):
        keys = stubs().identity.ListApiKeys(
            identity_service_pb2.ListApiKeysRequest(page_size=500), timeout=RPC_TIMEOUT_S
        )
    page = render_template(
        "setup/settings.html",
        opened=opened,
        errors=errors,
        form=request.form,
        my_user_id=me().user_id,
        entities=answer_entities.entities,
        users=users.users,
        roles=[(role.name, role.label_fr if language() == "fr" else role.label) for role in roles.roles],
        keys=keys.api_keys if keys else [],
    )
    return (page, 422) if error is not None else page


@blueprint.post("/settings/entities")
@needs("entities:write")
def add_entity():
    """Opens an entity."""
    form = request.form
    try:
        stubs().ledger.CreateEntity(
            ledger_service_pb2.CreateEntityRequest(
                code=form.get("code", "").strip().upper(),
                name=form.get("name", "").strip(),
                country=form.get("country", "").strip().upper(),
                currency=form.get("currency", "").strip().upper(),
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _settings_page("entity", error)
    toast(gettext("The entity was opened."))
    return redirect(url_for("setup.settings_page"), 303)


@blueprint.post("/settings/users")
@needs("users:write")
def add_user():
    """Adds a user and shows the first password, once."""
    form = request.form
    wanted = identity_service_pb2.CreateUserRequest(
        email=form.get("email", "").strip(),
        name=form.get("name", "").strip(),
        role=form.get("role", ""),
        entity_codes=form.getlist("entity_codes"),
        can_upload=form.get("can_upload") == "1",
    )
    try:
        user = stubs().identity.CreateUser(wanted, timeout=RPC_TIMEOUT_S).user
    except Refused as error:
        return _settings_page("user", error)
    return render_template(
        "setup/secret.html",
        title=gettext("The user was added"),
        text=gettext("First password of %(email)s. It is shown once.", email=user.email),
        secret=user.first_password,
    )


@blueprint.post("/settings/users/<uuid:user_id>")
@needs("users:write")
def change_user(user_id):
    """Lets a user in, or keeps him out."""
    try:
        stubs().identity.UpdateUser(
            identity_service_pb2.UpdateUserRequest(user_id=str(user_id), active=request.form.get("active") == "1"),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _settings_page("", error)
    toast(gettext("Changed."))
    return redirect(url_for("setup.settings_page"), 303)


@blueprint.post("/settings/api-keys")
@needs("api_keys:write")
def add_key():
    """Makes a key and shows it, once."""
    form = request.form
    try:
        made = stubs().identity.CreateApiKey(
            identity_service_pb2.CreateApiKeyRequest(name=form.get("name", "").strip(), role=form.get("role", "")),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _settings_page("key", error)
    return render_template(
        "setup/secret.html",
        title=gettext("The key was made"),
        text=gettext("Key “%(name)s”. It is shown once: keep it where your program finds it.", name=made.api_key.name),
        secret=made.secret,
    )


@blueprint.post("/settings/api-keys/<uuid:api_key_id>/revoke")
@needs("api_keys:write")
def revoke_key(api_key_id):
    """Ends a key at once."""
    stubs().identity.RevokeApiKey(
        identity_service_pb2.RevokeApiKeyRequest(api_key_id=str(api_key_id)), timeout=RPC_TIMEOUT_S
    )
    toast(gettext("The key has ended."))
    return redirect(url_for("setup.settings_page"), 303)
