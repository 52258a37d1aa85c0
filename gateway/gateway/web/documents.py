"""Documents: the panel on an item's page, what no item was found for, and where invoices lie in an archive."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for

from gateway import documents as files
from gateway.auth import gate
from gateway.web import RPC_TIMEOUT_S, _mistakes, entities, formatter, gettext, me, needs, settings, stubs, toast
from kit.errors import Code, Refused
from quittance.importer.v1 import document_service_pb2 as pb
from quittance.ledger.v1 import item_pb2, ledger_service_pb2

blueprint = Blueprint("documents", __name__)

ROWS_PER_PAGE = 50
CHOICES_MAX = 20
ACCEPT = ".pdf,.docx,.xlsx,.pptx,.odt,.ods,.doc,.xls,.msg,.eml,.jpg,.jpeg,.png,.tif,.tiff,.zip"
DOCUMENT_LIMIT_BYTES = 50_000_000
ICONS = {
    "pdf": "file-type-pdf",
    "xlsx": "file-spreadsheet",
    "xls": "file-spreadsheet",
    "ods": "file-spreadsheet",
    "docx": "file-text",
    "doc": "file-text",
    "odt": "file-text",
}


def takes_files(view: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a form with documents in, before the guard reads its CSRF field."""

    @wraps(view)
    def sized(*args: Any, **kwargs: Any) -> Any:
        files.allow_form(settings())
        return view(*args, **kwargs)

    return sized


def icon_of(document: pb.Document) -> str:
    """The sign of a document's kind."""
    return "external-link" if document.url else ICONS.get(document.kind, "paperclip")


# ---- an item's documents ---------------------------------------------------------------------------------------------


@blueprint.get("/items/<uuid:item_id>/documents")
@needs("items:read")
def of_item(item_id):
    """The documents of one item: a part of its page, or a page of its own where nothing runs."""
    return _item_page(str(item_id))


@blueprint.post("/items/<uuid:item_id>/documents")
@takes_files
@needs("accounts:write")
def add_to_item(item_id):
    """Adds files to an item."""
    try:
        sent, header = files.form_of_request()
        header.item_ids[:] = [str(item_id)]
        kept = [files.keep(gate().web_caller(me()), file, header) for file in sent]
    except Refused as error:
        return _item_page(str(item_id), error)
    _say_kept(kept)
    return redirect(url_for("documents.of_item", item_id=item_id), 303)


@blueprint.post("/documents/<uuid:document_id>/visibility")
@needs("accounts:write")
def show_to(document_id):
    """Says who sees a document."""
    files.stub().UpdateDocument(
        pb.UpdateDocumentRequest(
            document_id=str(document_id),
            for_colleagues=request.form.get("colleagues") == "1",
            for_customer=request.form.get("customer") == "1",
            description=request.form.get("description", "").strip()[:500],
        ),
        timeout=RPC_TIMEOUT_S,
    )
    toast(gettext("Saved."))
    return _back()


@blueprint.post("/documents/<uuid:document_id>/delete")
@needs("accounts:write")
def delete(document_id):
    """Removes a document."""
    files.stub().DeleteDocument(pb.DeleteDocumentRequest(document_id=str(document_id)), timeout=RPC_TIMEOUT_S)
    toast(gettext("The document was removed."))
    return _back()


@blueprint.get("/documents/<uuid:document_id>")
@needs("items:read")
def fetch(document_id):
    """Leads to the file, by an address of its own for a few minutes."""
    found = files.stub().GetDocumentUrl(pb.GetDocumentUrlRequest(document_id=str(document_id)), timeout=RPC_TIMEOUT_S)
    return redirect(found.url, 303)


def _back() -> Any:
    """To the item the form came from, else to the list of unmatched documents."""
    item_id = request.form.get("item", "")
    if item_id:
        return redirect(url_for("documents.of_item", item_id=item_id), 303)
    return redirect(url_for("documents.unmatched"), 303)


def _item_page(item_id: str, error: Refused | None = None) -> Any:
    found = files.stub().ListDocuments(pb.ListDocumentsRequest(item_id=item_id, page_size=500), timeout=RPC_TIMEOUT_S)
    is_part = request.headers.get("HX-Request") == "true"
    item = None
    if not is_part:
        request_ = ledger_service_pb2.GetItemRequest(item_id=item_id)
        item = stubs().ledger.GetItem(request_, timeout=RPC_TIMEOUT_S).item
    page = render_template(
        "documents/_panel.html" if is_part else "documents/of_item.html",
        item_id=item_id,
        item=item,
        documents=found.documents,
        error=_words(error) if error is not None else "",
        icon_of=icon_of,
        accept=ACCEPT,
        limit_bytes=DOCUMENT_LIMIT_BYTES,
    )
    # A part that htmx does not put in place would say nothing.
    return page if error is None or is_part else (page, 422)


def _words(error: Refused) -> str:
    """What is wrong with a file, without the name of the field; anything but an ordinary mistake is raised again."""
    if error.reason in ("DOCUMENT_TOO_LARGE", "FILE_TOO_LARGE") or set(error.fields) in ({"file"}, {"pattern"}):
        return error.message[:1].upper() + error.message[1:]
    return _mistakes.of(error)


def _say_kept(kept: list[pb.UploadDocumentResponse]) -> None:
    new = sum(not answer.was_there for answer in kept)
    if new < len(kept):
        toast(gettext("Some of these documents were here already."))
    if new:
        ngettext = current_app.extensions["ui"].languages.ngettext
        text = ngettext("%(number)s document was added.", "%(number)s documents were added.", new)
        toast(text % {"number": formatter("number")(new)})


# ---- documents without an item, and archives -------------------------------------------------------------------------


@blueprint.get("/imports/documents")
@needs("imports:read")
def unmatched():
    """Documents no item was found for, the upload of many, and the address patterns of entities."""
    return _unmatched_page()


@blueprint.post("/imports/documents")
@takes_files
@needs("accounts:write")
def add_many():
    """Takes many files at once, each for the item whose number its name is."""
    refusals: list[tuple[str, str]] = []
    kept = []
    try:
        sent, header = files.form_of_request()
    except Refused as error:
        return _unmatched_page(error)
    for file in sent:
        try:
            kept.append(files.keep(gate().web_caller(me()), file, header))
        except Refused as error:
            refusals.append((file.filename or "", _words(error)))
    if refusals:
        return _unmatched_page(refusals=refusals, kept=kept)
    _say_kept(kept)
    return redirect(url_for("documents.unmatched"), 303)


@blueprint.post("/documents/<uuid:document_id>/match")
@needs("accounts:write")
def match(document_id):
    """Gives a document to the item with a typed number; where several accounts have it, they are shown to choose from."""
    number, entity = request.form.get("number", "").strip(), request.form.get("entity", "")
    item_ids = request.form.getlist("item_id")
    if not item_ids:
        items = _items_numbered(number, entity)
        if not items:
            error = Refused(
                Code.INVALID_ARGUMENT,
                "NUMBER_UNKNOWN",
                gettext("No item of %(entity)s has this number.", entity=entity),
            )
            return _unmatched_page(error, typed={str(document_id): number})
        if len({item.account_id for item in items}) > 1:
            return _unmatched_page(choices={str(document_id): items}, typed={str(document_id): number})
        item_ids = [item.item_id for item in items]
    try:
        files.stub().MatchDocument(
            pb.MatchDocumentRequest(document_id=str(document_id), item_ids=item_ids), timeout=RPC_TIMEOUT_S
        )
    except Refused as error:
        return _unmatched_page(error, typed={str(document_id): number})
    toast(gettext("The document is with its item now."))
    return redirect(url_for("documents.unmatched"), 303)


@blueprint.post("/imports/documents/patterns")
@needs("imports:write")
def set_pattern():
    """Says where the invoices of an entity lie."""
    try:
        files.stub().SetUrlPattern(
            pb.SetUrlPatternRequest(
                entity_code=request.form.get("entity", ""),
                pattern=request.form.get("pattern", "").strip(),
                for_customer=request.form.get("customer") == "1",
            ),
            timeout=RPC_TIMEOUT_S,
        )
    except Refused as error:
        return _unmatched_page(error, pattern=dict(request.form.items()))
    toast(gettext("Saved."))
    return redirect(url_for("documents.unmatched"), 303)


def _items_numbered(number: str, entity: str) -> list[item_pb2.Item]:
    if not number:
        return []
    quoted = number.replace("\\", "\\\\").replace('"', '\\"')
    items: list[item_pb2.Item] = []
    for state in ("OPEN", "CLEARED"):
        asked = f'number="{quoted}" AND entity_code="{entity}" AND state={state}'
        request_ = ledger_service_pb2.ListItemsRequest(filter=asked, page_size=CHOICES_MAX)
        items += stubs().ledger.ListItems(request_, timeout=RPC_TIMEOUT_S).items
    return items


def _unmatched_page(
    error: Refused | None = None,
    refusals: list[tuple[str, str]] | None = None,
    kept: list[pb.UploadDocumentResponse] | None = None,
    choices: dict[str, list[item_pb2.Item]] | None = None,
    typed: dict[str, str] | None = None,
    pattern: dict[str, str] | None = None,
) -> Any:
    if error is not None:
        _mistakes.say(_words(error))
    if kept:
        _say_kept(kept)
    found = files.stub().ListDocuments(
        pb.ListDocumentsRequest(unmatched=True, page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")),
        timeout=RPC_TIMEOUT_S,
    )
    patterns = files.stub().ListUrlPatterns(pb.ListUrlPatternsRequest(page_size=500), timeout=RPC_TIMEOUT_S)
    page = render_template(
        "documents/unmatched.html",
        found=found,
        patterns=patterns,
        refusals=refusals or [],
        choices=choices or {},
        typed=typed or {},
        pattern=pattern or {},
        entity_choices=[(entity.code, f"{entity.code} {entity.name}") for entity in entities()],
        icon_of=icon_of,
        accept=ACCEPT,
        limit_bytes=DOCUMENT_LIMIT_BYTES,
    )
    return (page, 422) if error is not None or refusals else page
