"""Documents: files that go with items come in in pieces, and go out by signed addresses, a range of them if asked.

Whoever has such an address may fetch the file: it names one file of one tenant, for at most ten minutes. One that is
guessed, over, or names anything else leads to the page for what is not there.
"""

import re
import uuid
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from gateway import messages
from gateway.auth import address, gate
from gateway.config import MIB, Settings
from kit import downloads
from kit.context import Caller, acting_as
from kit.errors import Code, Refused
from kit.grpc_client import channel
from quittance.importer.v1 import document_service_pb2 as pb
from quittance.importer.v1.document_service_pb2_grpc import DocumentServiceStub

PIECE_BYTES = 256 * 1024
# Documents of one form, and the other parts and boundaries around them.
FILES_MAX = 50
FORM_SPARE_BYTES = 2 * MIB
FIELDS = ("entity", "item", "description", "colleagues", "customer", "csrf_token")
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no", "")
FOLDER = "documents"


def register(app: Flask) -> None:
    """Adds the routes."""
    app.add_url_rule(
        "/v1/documents", "document_files.upload", upload, methods=["POST"], provide_automatic_options=False
    )
    app.add_url_rule(
        "/downloads/<token>", "document_files.download", download, methods=["GET"], provide_automatic_options=False
    )


def stub() -> DocumentServiceStub:
    """DocumentService, with the token of who is acting."""
    try:
        return DocumentServiceStub(channel(current_app.config["QUITTANCE"], "import"))
    except LookupError as error:
        raise Refused(Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", "import is not part of this installation") from error


# ---- in --------------------------------------------------------------------------------------------------------------


def upload() -> Any:
    """POST /v1/documents: keeps one or more files; 201 with each, what it belongs to, or why it was refused."""
    caller, sent, header = _read()
    results = [_sent(caller, header, file) for file in sent]
    kept = [result for result in results if "document" in result]
    if not kept and len(results) == 1:
        raise results[0]["refused"]
    body: dict[str, Any] = {"documents": [result["document"] for result in kept]}
    body["refused"] = [
        {"fileName": result["name"], "reason": result["refused"].reason, "detail": result["refused"].message}
        for result in results
        if "refused" in result
    ]
    response = jsonify(body)
    response.status_code = 201 if kept else 400
    return response


def keep(caller: Caller, file: FileStorage, header: pb.DocumentHeader) -> pb.UploadDocumentResponse:
    """Sends one file of a form on, in pieces. Refuses what DocumentService refuses."""
    settings: Settings = current_app.config["QUITTANCE"]
    mine = pb.DocumentHeader()
    mine.CopyFrom(header)
    mine.file_name = (re.split(r"[\\/]", file.filename or "")[-1] or "file")[-255:]

    def pieces() -> Iterator[pb.UploadDocumentRequest]:
        yield pb.UploadDocumentRequest(header=mine)
        while piece := file.stream.read(PIECE_BYTES):
            yield pb.UploadDocumentRequest(data=piece)

    with acting_as(caller):
        return stub().UploadDocument(pieces(), timeout=settings.upload_timeout_s)


def allow_form(settings: Settings) -> None:
    """Lets the form of this request be as large as its documents may be together; before anything of it is read."""
    limit = settings.document_form_max_bytes + FORM_SPARE_BYTES
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(settings)
    request.max_content_length = limit


def _sent(caller: Caller, header: pb.DocumentHeader, file: FileStorage) -> dict[str, Any]:
    try:
        answer = keep(caller, file, header)
    except Refused as refused:
        if refused.is_transient or refused.code in (Code.PERMISSION_DENIED, Code.NOT_FOUND):
            raise
        return {"name": file.filename or "", "refused": refused}
    return {"document": messages.to_json(answer.document) | {"wasThere": answer.was_there}}


def _read() -> tuple[Caller, list[FileStorage], pb.DocumentHeader]:
    settings: Settings = current_app.config["QUITTANCE"]
    allow_form(settings)
    try:
        caller = gate().api_caller()
        if request.mimetype != "multipart/form-data":
            text = "send multipart/form-data with the field file, and item or entity"
            raise Refused(Code.INVALID_ARGUMENT, "UNSUPPORTED_MEDIA_TYPE", text)
        sent, header = form_of_request()
    except RequestEntityTooLarge as error:
        raise _too_large(settings) from error
    return caller, sent, header


def form_of_request() -> tuple[list[FileStorage], pb.DocumentHeader]:
    """The files and what is said about them. Refuses INVALID_FIELDS with every wrong field."""
    wrong: dict[str, str] = {}
    sent = [file for file in request.files.getlist("file") if file.filename]
    if not sent:
        wrong["file"] = "is required"
    if len(sent) > FILES_MAX:
        wrong["file"] = f"at most {FILES_MAX} files come in one form"
    strange = [name for name in (*request.form, *request.files) if name not in (*FIELDS, "file")]
    wrong |= {name[:60]: "is no field of this form" for name in strange}
    header = pb.DocumentHeader(
        entity_code=request.form.get("entity", "").strip(),
        description=request.form.get("description", "").strip()[:500],
    )
    for item_id in request.form.getlist("item"):
        try:
            header.item_ids.append(str(uuid.UUID(item_id.strip())))
        except ValueError:
            wrong["item"] = "must be the id of an item"
    for name, attribute in (("colleagues", "for_colleagues"), ("customer", "for_customer")):
        value = request.form.get(name, "").strip().lower()
        if value not in (*_TRUE, *_FALSE):
            wrong[name] = "must be true or false"
        setattr(header, attribute, value in _TRUE)
    if wrong:
        named = "; ".join(f"{name}: {text}" for name, text in wrong.items())
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", named, wrong)
    return sent, header


def _too_large(settings: Settings) -> Refused:
    most = settings.document_form_max_bytes / MIB
    text = f"at most {most:g} MiB can be uploaded at once: split the file, or compress it"
    return Refused(Code.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE", text, {"file": text})


# ---- out -------------------------------------------------------------------------------------------------------------


def download(token: str) -> Response:
    """GET /downloads/{token}: the file, or the range of it that is asked for."""
    settings: Settings = current_app.config["QUITTANCE"]
    found = downloads.answer(settings, token, FOLDER, request.headers.get("Range", ""), settings.document_store_url)
    if found is None:
        # Nobody finds one by trying.
        gate().limiter.take(gate().address_rate, address())
        text = "this address has expired, or never was one: ask for the document again"
        raise Refused(Code.NOT_FOUND, "DOWNLOAD_UNKNOWN", text)
    return Response(found.body, found.status, found.headers, direct_passthrough=True)
