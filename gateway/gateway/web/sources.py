"""Where files come from by themselves, and how their layouts are read: sources, profiles, a try on a past file."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from gateway.web import RPC_TIMEOUT_S, _mistakes, can, entities, formatter, gettext, needs, settings, stubs, toast
from gateway.web.imports import AMOUNT_FIELDS, object_name, state_name, state_of
from kit.errors import Code, Refused
from kit.grpc_client import channel
from quittance.importer.v1 import import_service_pb2, profile_service_pb2, source_service_pb2
from quittance.importer.v1.profile_service_pb2_grpc import ProfileServiceStub
from quittance.importer.v1.source_service_pb2_grpc import SourceServiceStub

blueprint = Blueprint("sources", __name__)

ROWS_PER_PAGE = 100
PAST_FILES = 30
# Empty lines at the end of each list of the editors.
SPARE_LINES = 2
# Asking a customer's server for its key takes its time.
LOOK_UP_TIMEOUT_S = 12.0
DROPPED = (source_service_pb2.SOURCE_KIND_SFTP, source_service_pb2.SOURCE_KIND_FTPS)
PULLED = source_service_pb2.SOURCE_KIND_PULL_SFTP
LAYOUT_CODES = ("dateOrder", "decimalSign", "twoDigitYear")
FIELD_OF_REASON = {
    "SOURCE_NAME_TAKEN": "name",
    "ENTITY_UNKNOWN": "entity_code",
    "HOST_FORBIDDEN": "host",
    "HOST_UNREACHABLE": "host",
}


def _sources() -> SourceServiceStub:
    return SourceServiceStub(channel(settings(), "import"))


def _profiles() -> ProfileServiceStub:
    return ProfileServiceStub(channel(settings(), "import"))


def kind_name(kind: int) -> str:
    """How files of a source arrive, in the reader's words."""
    names: dict[int, str] = {
        source_service_pb2.SOURCE_KIND_UPLOAD: gettext("Uploaded by people"),
        source_service_pb2.SOURCE_KIND_API: gettext("Sent by a program (API)"),
        source_service_pb2.SOURCE_KIND_SFTP: gettext("Dropped by SFTP"),
        source_service_pb2.SOURCE_KIND_FTPS: gettext("Dropped by FTPS"),
        PULLED: gettext("Fetched from a customer's server (SFTP)"),
    }
    return names.get(kind, "")


def type_name(kind: str) -> str:
    """A kind of item, in the reader's words."""
    return {
        "INVOICE": gettext("Invoice"),
        "CREDIT_NOTE": gettext("Credit note"),
        "PAYMENT": gettext("Cash not allocated"),
        "DOWN_PAYMENT": gettext("Down payment"),
        "IN_TRANSIT": gettext("On its way to the bank"),
        "BANK_CHARGE": gettext("Bank charge"),
        "LATE_INTEREST": gettext("Late interest"),
        "OTHER_DEBIT": gettext("Other debit"),
        "OTHER_CREDIT": gettext("Other credit"),
    }.get(kind, kind)


# ---- sources ---------------------------------------------------------------------------------------------------------


@blueprint.get("/imports/sources")
@needs("imports:read")
def sources():
    """All sources, and where senders connect to."""
    found = _sources().ListSources(
        source_service_pb2.ListSourcesRequest(page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")),
        timeout=RPC_TIMEOUT_S,
    )
    told = _sources().GetChannels(source_service_pb2.GetChannelsRequest(), timeout=RPC_TIMEOUT_S)
    return render_template("sources/sources.html", found=found, told=told, kind_name=kind_name)


@blueprint.route("/imports/sources/new", methods=["GET", "POST"])
@needs("sources:write")
def new_source():
    """A new source: its kind first, then what that kind needs."""
    kind = request.values.get("kind", type=int) or 0
    if kind not in (*DROPPED, PULLED, source_service_pb2.SOURCE_KIND_API):
        kind = 0
    draft = _source_draft(kind) if request.method == "POST" else _empty_draft(kind)
    if request.method == "GET":
        return _source_page(None, draft)
    if request.form.get("do") == "host-key":
        return _with_host_key(None, draft)
    form = request.form
    secrets = source_service_pb2.SourceSecrets(
        public_key=form.get("public_key", "").strip(),
        password=form.get("password", ""),
        private_key=form.get("private_key", "").replace("\r\n", "\n"),
    )
    try:
        made = _sources().CreateSource(
            source_service_pb2.CreateSourceRequest(source=draft, secrets=secrets), timeout=RPC_TIMEOUT_S
        )
    except Refused as error:
        return _source_page(None, draft, error)
    toast(gettext("The source was added."))
    if made.password:
        return _secret_page(made.source, made.password)
    return redirect(url_for("sources.source", source_id=made.source.source_id), 303)


@blueprint.route("/imports/sources/<uuid:source_id>", methods=["GET", "POST"])
@needs("imports:read")
def source(source_id):
    """One source: what was said about it, who opens it, what came."""
    one = _source(str(source_id))
    if request.method == "GET":
        return _source_page(one, one.draft)
    _only("sources:write")
    draft = _source_draft(one.draft.kind)
    if request.form.get("do") == "host-key":
        return _with_host_key(one, draft)
    try:
        _sources().UpdateSource(
            source_service_pb2.UpdateSourceRequest(
                source_id=one.source_id, source=draft, version=request.form.get("version", type=int) or 0
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _source_page(one, draft, error)
    toast(gettext("Saved."))
    return redirect(url_for("sources.source", source_id=source_id), 303)


@blueprint.post("/imports/sources/<uuid:source_id>/access")
@needs("sources:write")
def replace_access(source_id):
    """New secrets; the old ones end at once."""
    form = request.form
    secrets = source_service_pb2.SourceSecrets(
        public_key=form.get("public_key", "").strip(),
        password=form.get("password", ""),
        private_key=form.get("private_key", "").replace("\r\n", "\n"),
    )
    try:
        answer = _sources().ReplaceAccess(
            source_service_pb2.ReplaceAccessRequest(source_id=str(source_id), secrets=secrets), timeout=RPC_TIMEOUT_S
        )
    except Refused as error:
        one = _source(str(source_id))
        return _source_page(one, one.draft, error, opened="access")
    if answer.password:
        return _secret_page(answer.source, answer.password)
    toast(gettext("Replaced. The old access has ended."))
    return redirect(url_for("sources.source", source_id=source_id), 303)


@blueprint.post("/imports/sources/<uuid:source_id>/pull")
@needs("imports:write")
def pull(source_id):
    """Looks at the customer's server now."""
    try:
        _sources().PullNow(source_service_pb2.PullNowRequest(source_id=str(source_id)), timeout=RPC_TIMEOUT_S)
    except Refused as error:
        one = _source(str(source_id))
        return _source_page(one, one.draft, error)
    toast(gettext("The server is being asked; new files appear among the imports."))
    return redirect(url_for("sources.source", source_id=source_id), 303)


@blueprint.post("/imports/sources/<uuid:source_id>/delete")
@needs("sources:write")
def delete_source(source_id):
    """Ends a source."""
    _sources().DeleteSource(source_service_pb2.DeleteSourceRequest(source_id=str(source_id)), timeout=RPC_TIMEOUT_S)
    toast(gettext("The source has ended. Its imports stay."))
    return redirect(url_for("sources.sources"), 303)


def _only(permission: str) -> None:
    if not can(permission):
        raise Refused(
            Code.PERMISSION_DENIED,
            "PERMISSION_MISSING",
            f"this needs the permission {permission}",
            permission=permission,
        )


def _source(source_id: str) -> source_service_pb2.Source:
    return _sources().GetSource(source_service_pb2.GetSourceRequest(source_id=source_id), timeout=RPC_TIMEOUT_S).source


def _empty_draft(kind: int) -> source_service_pb2.SourceDraft:
    """What a new source starts with."""
    draft = source_service_pb2.SourceDraft(mode="delta", apply=True, enabled=True)
    draft.kind = kind  # type: ignore[assignment]
    return draft


def _source_draft(kind: int) -> source_service_pb2.SourceDraft:
    form = request.form
    draft = source_service_pb2.SourceDraft(
        name=form.get("name", "").strip(),
        entity_code=form.get("entity_code", ""),
        kind=kind,  # type: ignore[arg-type]
        mode=form.get("mode", ""),
        apply=form.get("apply") == "1",
        recipients=form.get("recipients", "").replace(",", " ").replace(";", " ").split(),
        language=form.get("language", ""),
        enabled=form.get("enabled") == "1",
    )
    for number in _numbers("pattern"):
        pattern = form[f"pattern:{number}"].strip()
        if pattern:
            draft.patterns.add(
                pattern=pattern,
                profile_id=form.get(f"profile:{number}", ""),
                mode=form.get(f"pattern_mode:{number}", ""),
            )
    if kind == PULLED:
        after = form.get("after", type=int) or source_service_pb2.AFTER_PULL_LEAVE
        draft.pull.CopyFrom(
            source_service_pb2.PullSettings(
                host=form.get("host", "").strip(),
                port=_whole(form.get("port", "")),
                user_name=form.get("user_name", "").strip(),
                host_key=form.get("host_key", "").strip(),
                folder=form.get("folder", "").strip(),
                after=after,  # type: ignore[arg-type]
                done_folder=form.get("done_folder", "").strip(),
                every_minutes=_whole(form.get("every_minutes", "")),
            )
        )
    return draft


def _whole(text: str) -> int:
    """A small number of a form; what is none is left to its default."""
    return int(text) if text.strip().isdigit() and len(text.strip()) <= 5 else 0


def _numbers(name: str) -> list[int]:
    """The lines of a list in the form, such as pattern:0, pattern:1."""
    found = [key.partition(":")[2] for key in request.form if key.startswith(f"{name}:")]
    return sorted(int(number) for number in found if number.isdigit())


def _with_host_key(one: source_service_pb2.Source | None, draft: source_service_pb2.SourceDraft) -> Any:
    """The form again, with the key that the customer's server shows; a person compares and saves it."""
    try:
        found = _sources().LookUpHostKey(
            source_service_pb2.LookUpHostKeyRequest(host=draft.pull.host, port=draft.pull.port),
            timeout=LOOK_UP_TIMEOUT_S,
        )
    except Refused as error:
        if error.reason != "HOST_UNREACHABLE":
            return _source_page(one, draft, error)
        _mistakes.say(gettext("This server did not answer: check host and port."))
        return _source_page(one, draft), 422
    draft.pull.host_key, draft.pull.host_key_fingerprint = found.host_key, found.fingerprint
    return _source_page(one, draft, looked_up=True)


def _source_page(
    one: source_service_pb2.Source | None,
    draft: source_service_pb2.SourceDraft,
    error: Refused | None = None,
    opened: str = "",
    looked_up: bool = False,
) -> Any:
    errors: dict[str, str] = {}
    if error is not None:
        text = _mistakes.of(error)
        errors = _mistakes.by_field(error) or {FIELD_OF_REASON.get(error.reason, ""): text}
        _mistakes.say(text)
    found = stubs().importer.ListProfiles(
        import_service_pb2.ListProfilesRequest(page_size=500, order_by="name"), timeout=RPC_TIMEOUT_S
    )
    runs = []
    if one is not None:
        runs = (
            stubs()
            .importer.ListImports(
                import_service_pb2.ListImportsRequest(filter=f'source_id="{one.source_id}"', page_size=10),
                timeout=RPC_TIMEOUT_S,
            )
            .imports
        )
    page = render_template(
        "sources/source.html",
        one=one,
        draft=draft,
        errors=errors,
        opened=opened,
        looked_up=looked_up,
        told=_sources().GetChannels(source_service_pb2.GetChannelsRequest(), timeout=RPC_TIMEOUT_S),
        runs=runs,
        state_of=state_of,
        state_name=state_name,
        kind_name=kind_name,
        dropped=draft.kind in DROPPED,
        pulled=draft.kind == PULLED,
        kinds=[
            (kind, kind_name(kind))
            for kind in (*DROPPED, PULLED, source_service_pb2.SOURCE_KIND_API)
            if kind != source_service_pb2.SOURCE_KIND_FTPS or _ftps_is_on()
        ],
        entity_choices=[(entity.code, f"{entity.name} ({entity.code})") for entity in entities()],
        profile_choices=[
            ("", gettext("recognised by its layout")),
            *((profile.profile_id, profile.name) for profile in found.profiles),
        ],
        patterns=[*draft.patterns, *(source_service_pb2.FilePattern() for _ in range(SPARE_LINES))],
    )
    return (page, 422) if error is not None else page


def _ftps_is_on() -> bool:
    told = _sources().GetChannels(source_service_pb2.GetChannelsRequest(), timeout=RPC_TIMEOUT_S)
    return bool(told.ftps_host)


def _secret_page(one: source_service_pb2.Source, password: str) -> str:
    told = _sources().GetChannels(source_service_pb2.GetChannelsRequest(), timeout=RPC_TIMEOUT_S)
    return render_template("sources/secret.html", one=one, password=password, told=told)


# ---- profiles --------------------------------------------------------------------------------------------------------


@blueprint.get("/imports/profiles")
@needs("imports:read")
def profiles():
    """All layouts that are known."""
    found = stubs().importer.ListProfiles(
        import_service_pb2.ListProfilesRequest(page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")),
        timeout=RPC_TIMEOUT_S,
    )
    return render_template("sources/profiles.html", found=found, object_name=object_name)


@blueprint.route("/imports/profiles/new", methods=["GET", "POST"])
@needs("imports:write")
def new_profile():
    """A new profile, by hand or from an import's layout."""
    from_import = request.values.get("from", "")
    if request.method == "GET":
        return _profile_page(None, _draft_from(from_import), from_import=from_import)
    draft = _profile_draft()
    if request.form.get("do") == "test":
        return _tried(None, draft, from_import)
    try:
        made = (
            _profiles()
            .CreateProfile(
                profile_service_pb2.CreateProfileRequest(profile=draft, from_import_id=from_import),
                timeout=RPC_TIMEOUT_S,
            )
            .profile
        )
    except Refused as error:
        return _profile_page(None, draft, error, from_import=from_import)
    toast(gettext("The profile was saved."))
    return redirect(url_for("sources.profile", profile_id=made.profile_id), 303)


@blueprint.route("/imports/profiles/<uuid:profile_id>", methods=["GET", "POST"])
@needs("imports:read")
def profile(profile_id):
    """One profile, to read, to change and to try on a past file."""
    version = request.args.get("version", type=int) or 0
    one = (
        _profiles()
        .GetProfile(
            profile_service_pb2.GetProfileRequest(profile_id=str(profile_id), version=max(version, 0)),
            timeout=RPC_TIMEOUT_S,
        )
        .profile
    )
    if request.method == "GET":
        return _profile_page(one, _as_draft(one))
    _only("imports:write")
    draft = _profile_draft()
    if request.form.get("do") == "test":
        return _tried(one, draft, "")
    try:
        _profiles().UpdateProfile(
            profile_service_pb2.UpdateProfileRequest(
                profile_id=one.profile_id, profile=draft, version=request.form.get("version", type=int) or 0
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _profile_page(one, draft, error)
    toast(gettext("Saved as a new version."))
    return redirect(url_for("sources.profile", profile_id=profile_id), 303)


@blueprint.post("/imports/profiles/<uuid:profile_id>/delete")
@needs("imports:write")
def delete_profile(profile_id):
    """Forgets a profile."""
    stubs().importer.DeleteProfile(
        import_service_pb2.DeleteProfileRequest(profile_id=str(profile_id)), timeout=RPC_TIMEOUT_S
    )
    toast(gettext("Forgotten. The next file of this layout is asked about again."))
    return redirect(url_for("sources.profiles"), 303)


def _draft_from(import_id: str) -> profile_service_pb2.ProfileDraft:
    """What an import's columns say, as the beginning of a profile."""
    draft = profile_service_pb2.ProfileDraft(object=import_service_pb2.IMPORT_OBJECT_ITEMS)
    if import_id:
        run = (
            stubs()
            .importer.GetImport(import_service_pb2.GetImportRequest(import_id=import_id), timeout=RPC_TIMEOUT_S)
            .import_run
        )
        draft.name, draft.object = run.file_name[:100], run.object
        headers = [column.header for column in run.columns]
        for column in run.columns:
            alone = column.header and headers.count(column.header) == 1
            draft.mapping[column.header if alone else f"#{column.position}"] = column.field
        for key, value in run.answers.items():
            if key.partition(":")[0] in (*LAYOUT_CODES, "currency"):
                draft.answers[key] = value
    return draft


def _as_draft(one: import_service_pb2.Profile) -> profile_service_pb2.ProfileDraft:
    return profile_service_pb2.ProfileDraft(
        name=one.name[:100],
        object=one.object,
        patterns=one.patterns,
        entity_codes=one.entity_codes,
        mapping=one.mapping,
        constants=one.constants,
        answers=one.answers,
        item_types=one.item_types,
        unknown_item_type=one.unknown_item_type,
        mode=one.mode,
        source_system=one.source_system,
    )


def _profile_draft() -> profile_service_pb2.ProfileDraft:
    form = request.form
    kind = form.get("object", type=int) or 0
    draft = profile_service_pb2.ProfileDraft(
        name=form.get("name", "").strip(),
        object=kind,  # type: ignore[arg-type]
        patterns=[line.strip() for line in form.get("patterns", "").splitlines() if line.strip()],
        entity_codes=form.getlist("entity_codes"),
        unknown_item_type=form.get("unknown_item_type", ""),
        mode=form.get("mode", ""),
        source_system=form.get("source_system", "").strip(),
    )
    for code in (*LAYOUT_CODES, "currency"):
        value = form.get(f"answer:{code}", "").strip()
        if value:
            draft.answers[code] = value
    for number in _numbers("column"):
        column = form[f"column:{number}"].strip()
        if not column:
            continue
        wanted = form.get(f"map:{number}", "")
        draft.mapping[column] = f"custom:{column}" if wanted == "custom" else wanted
        for code in LAYOUT_CODES:
            value = form.get(f"{code}:{number}", "")
            if value:
                draft.answers[f"{code}:{column}"] = value
    for number in _numbers("constant"):
        field, value = form[f"constant:{number}"], form.get(f"value:{number}", "").strip()
        if field and value:
            draft.constants[field] = value
    for number in _numbers("type"):
        value = form[f"type:{number}"].strip()
        if value:
            draft.item_types.add(
                value=value, kind=form.get(f"kind:{number}", ""), flip_sign=form.get(f"flip:{number}") == "1"
            )
    return draft


def _tried(one: import_service_pb2.Profile | None, draft: profile_service_pb2.ProfileDraft, from_import: str) -> Any:
    """The editor again, with what the draft makes of a past file."""
    import_id = request.form.get("try_on", "")
    try:
        result = _profiles().TestProfile(
            profile_service_pb2.TestProfileRequest(import_id=import_id, draft=draft), timeout=LOOK_UP_TIMEOUT_S
        )
    except Refused as error:
        return _profile_page(one, draft, error, from_import=from_import)
    return _profile_page(one, draft, from_import=from_import, result=result, tried_on=import_id)


def _profile_page(
    one: import_service_pb2.Profile | None,
    draft: profile_service_pb2.ProfileDraft,
    error: Refused | None = None,
    from_import: str = "",
    result: profile_service_pb2.TestProfileResponse | None = None,
    tried_on: str = "",
) -> Any:
    errors: dict[str, str] = {}
    if error is not None:
        text = _mistakes.of(error)
        errors = _mistakes.by_field(error)
        _mistakes.say(text)
    known = _profiles().GetFields(profile_service_pb2.GetFieldsRequest(object=draft.object), timeout=RPC_TIMEOUT_S)
    labels = {field.name: field.label[:1].upper() + field.label[1:] for field in known.fields}
    runs = (
        stubs()
        .importer.ListImports(
            import_service_pb2.ListImportsRequest(page_size=PAST_FILES, order_by="created_at desc"),
            timeout=RPC_TIMEOUT_S,
        )
        .imports
    )
    versions = []
    if one is not None:
        versions = (
            _profiles()
            .ListProfileVersions(
                profile_service_pb2.ListProfileVersionsRequest(profile_id=one.profile_id, page_size=20),
                timeout=RPC_TIMEOUT_S,
            )
            .versions
        )
    page = render_template(
        "sources/profile.html",
        one=one,
        draft=draft,
        errors=errors,
        from_import=from_import,
        result=result,
        tried_on=tried_on,
        runs=[(run.import_id, f"{run.file_name} ({run.entity_code})") for run in runs],
        versions=versions,
        current=max((version.version for version in versions), default=0),
        columns=[
            *(_column_line(draft, column) for column in sorted(draft.mapping, key=_column_order(draft))),
            *({"name": "", "field": "", "answers": {}} for _ in range(SPARE_LINES)),
        ],
        constants=[*sorted(draft.constants.items()), *(("", "") for _ in range(SPARE_LINES))],
        item_types=[*draft.item_types, *(import_service_pb2.ItemTypeRule() for _ in range(SPARE_LINES))],
        objects=[
            (value.number, object_name(value.number))  # type: ignore[arg-type]
            for value in import_service_pb2.ImportObject.DESCRIPTOR.values
            if value.number in (1, 2, 3) or value.number == draft.object
        ],
        field_choices=[
            ("", gettext("left out")),
            *((field.name, field.label[:1].upper() + field.label[1:]) for field in known.fields),
            ("custom", gettext("Own field")),
        ],
        labels=labels,
        cell=_cell,
        amount_fields=AMOUNT_FIELDS,
        kinds=[(kind, type_name(kind)) for kind in known.item_kinds],
        entity_list=entities(),
        object_name=object_name,
        is_items=draft.object in (0, import_service_pb2.IMPORT_OBJECT_ITEMS),
    )
    return (page, 422) if error is not None else page


def _cell(field: str, value: str) -> str:
    """What a cell became, as people write it."""
    if field == "itemType":
        return type_name(value)
    return formatter("date_text")(value, "year") if field.endswith("On") else value


def _column_line(draft: profile_service_pb2.ProfileDraft, column: str) -> dict[str, Any]:
    field = draft.mapping[column]
    return {
        "name": column,
        "field": "custom" if field.startswith("custom:") else field,
        "answers": {code: draft.answers.get(f"{code}:{column}", "") for code in LAYOUT_CODES},
    }


def _column_order(draft: profile_service_pb2.ProfileDraft) -> Any:
    """Columns that become something first."""
    return lambda column: (not draft.mapping[column], column.lower())
