"""Files: what a browser or a program sends goes to the importer in pieces; rejected rows come back as a file.

A part that is longer than half a megabyte waits in a temporary file until its last byte and all other fields are there;
it is never whole in memory.
"""

import re
from collections.abc import Callable, Iterator
from typing import IO, Any

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from gateway import messages
from gateway.auth import gate
from gateway.config import MIB, Settings
from kit.context import Caller, acting_as
from kit.errors import Code, Refused
from kit.grpc_client import channel
from quittance.importer.v1 import import_service_pb2 as pb
from quittance.importer.v1.import_service_pb2_grpc import ImportServiceStub

PIECE_BYTES = 256 * 1024
# The other parts of the form and the boundaries around them.
FORM_SPARE_BYTES = 2 * MIB
FIELDS = ("entity", "object", "mode", "answers", "controlTotals", "apply", "source", "profile")
CSRF_FIELDS = ("csrf_token",)
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no", "")


def register(app: Flask) -> None:
    """Adds the routes."""
    app.add_url_rule("/v1/imports", "uploads.upload", upload, methods=["POST"], provide_automatic_options=False)
    app.add_url_rule(
        "/v1/imports/<segment:import_id>/rejects.csv",
        "uploads.rejects",
        rejects,
        methods=["GET"],
        provide_automatic_options=False,
    )
    app.add_url_rule(
        "/v1/imports/<segment:import_id>/effects.csv",
        "uploads.effects",
        effects,
        methods=["GET"],
        provide_automatic_options=False,
    )


def upload() -> Any:
    """POST /v1/imports: keeps a file and starts to read it; 202 with importId and state."""
    settings: Settings = current_app.config["QUITTANCE"]
    limit = settings.upload_max_bytes + FORM_SPARE_BYTES
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(settings)
    # Read from here on, the form (with its CSRF field) included: at most the limit, whatever the header said.
    request.max_content_length = limit
    try:
        caller, file, header = _read()
    except RequestEntityTooLarge as error:
        # Sent without its length: it was cut off where the limit is.
        raise _too_large(settings) from error

    size = _size(file.stream)
    if size > settings.upload_max_bytes:
        raise _too_large(settings)
    if size == 0:
        raise Refused(Code.INVALID_ARGUMENT, "FILE_EMPTY", "the file is empty", {"file": "is empty"})
    header.size_bytes = size
    with acting_as(caller):
        answer = _stub(settings).UploadFile(_pieces(header, file.stream), timeout=settings.upload_timeout_s)
    body = {
        "importId": answer.import_id,
        "state": messages.enum_names(pb.ImportState.DESCRIPTOR).get(answer.state, "UPLOADED"),
    }
    if "Authorization" not in request.headers:
        # The upload form of a page goes on to the import itself.
        body["href"] = f"/imports/{answer.import_id}"
    response = jsonify(body)
    response.status_code = 202
    response.headers["Location"] = f"/v1/imports/{answer.import_id}"
    return response


def _read() -> tuple[Caller, FileStorage, pb.ImportHeader]:
    """Who uploads, and the form as it came."""
    caller = gate().api_caller()
    if request.mimetype != "multipart/form-data":
        raise Refused(
            Code.INVALID_ARGUMENT, "UNSUPPORTED_MEDIA_TYPE", "send multipart/form-data with the fields file and entity"
        )
    file, header = _form()
    return caller, file, header


def _too_large(settings: Settings) -> Refused:
    most = settings.upload_max_bytes / MIB
    text = f"at most {most:g} MiB can be uploaded at once: split the file, or compress it"
    return Refused(Code.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE", text, {"file": text})


def _form() -> tuple[FileStorage, pb.ImportHeader]:
    """The file and what is said about it. Refuses INVALID_FIELDS with every wrong field."""
    wrong: dict[str, str] = {}
    files = request.files.getlist("file")
    if len(files) != 1:
        wrong["file"] = "is required" if not files else "is given more than once"
    strange = [name for name in (*request.form, *request.files) if name not in (*FIELDS, *CSRF_FIELDS, "file")]
    wrong |= {name[:60]: "is no field of this form" for name in strange}
    entity = request.form.get("entity", "").strip()
    source = request.form.get("source", "").strip()
    if not entity and not source:
        wrong["entity"] = "is required: the code of the entity whose books these are"
    apply = request.form.get("apply", "").strip().lower()
    if apply not in (*_TRUE, *_FALSE):
        wrong["apply"] = "must be true or false"
    mode = request.form.get("mode", "").strip().lower()
    if mode not in ("", "delta", "stock"):
        wrong["mode"] = "must be delta or stock"
    kind = 0
    kind_text = request.form.get("object", "").strip().upper()
    if kind_text:
        kind = messages.enum_numbers(pb.ImportObject.DESCRIPTOR).get(kind_text, -1)
        if kind < 1:
            wrong["object"] = "must be what its rows are, such as items or accounts"
    header = pb.ImportHeader(entity_code=entity, mode=mode, apply=apply in _TRUE, source_id=source)
    header.profile_id = request.form.get("profile", "").strip()
    _fill_answers(header, request.form.get("answers", ""), wrong)
    _fill_totals(header, request.form.get("controlTotals", ""), wrong)
    if files:
        header.file_name = _file_name(files[0].filename or "")
    if wrong:
        named = "; ".join(f"{name}: {text}" for name, text in wrong.items())
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", named, wrong)
    header.object = kind  # type: ignore[assignment]
    return files[0], header


def _fill_answers(header: pb.ImportHeader, text: str, wrong: dict[str, str]) -> None:
    if not text.strip():
        return
    try:
        given = messages.parse_json(text.encode("utf-8", "surrogatepass"))
        messages.fill(header, {"answers": given})
    except Refused as refused:
        wrong |= refused.fields or {"answers": 'must be a JSON object such as {"dateOrder": "DMY"}'}


def _fill_totals(header: pb.ImportHeader, text: str, wrong: dict[str, str]) -> None:
    if not text.strip():
        return
    try:
        given = messages.parse_json(text.encode("utf-8", "surrogatepass"))
        messages.fill(header, {"controlTotals": given})
    except Refused as refused:
        wrong |= refused.fields or {
            "controlTotals": 'must be a JSON list such as [{"currency": "EUR", "itemCount": 12}]'
        }


def _file_name(name: str) -> str:
    """The name as the user's system had it: no folders, no control characters, at most 255 characters."""
    last = re.split(r"[\\/]", name)[-1]
    cleaned = "".join(sign if sign.isprintable() else "_" for sign in last).strip()
    return cleaned[-255:] or "file"


def _size(stream: IO[bytes]) -> int:
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(0)
    return size


def _pieces(header: pb.ImportHeader, stream: IO[bytes]) -> Iterator[pb.UploadFileRequest]:
    yield pb.UploadFileRequest(header=header)
    while piece := stream.read(PIECE_BYTES):
        yield pb.UploadFileRequest(data=piece)


def rejects(import_id: str) -> Response:
    """GET /v1/imports/{importId}/rejects.csv: all refused rows as a file."""
    message = pb.DownloadRejectsRequest(import_id=import_id)
    return _csv("rejects", import_id, lambda stub, **timeout: stub.DownloadRejects(message, **timeout))


def effects(import_id: str) -> Response:
    """GET /v1/imports/{importId}/effects.csv: what applying would do, row by row, as a file."""
    message = pb.DownloadEffectsRequest(import_id=import_id)
    return _csv("effects", import_id, lambda stub, **timeout: stub.DownloadEffects(message, **timeout))


def _csv(kind: str, import_id: str, ask: Callable[..., Iterator[Any]]) -> Response:
    settings: Settings = current_app.config["QUITTANCE"]
    caller = gate().api_caller()
    with acting_as(caller):
        pieces = ask(_stub(settings), timeout=settings.upload_timeout_s)
        # The first piece is waited for here, so that a refusal still has a status of its own.
        first = next(pieces, None)
    name = re.sub(r"[^A-Za-z0-9-]", "", import_id)[:40]
    return Response(
        _bytes(first, pieces),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{kind}-{name}.csv"'},
    )


def _bytes(first: Any, pieces: Iterator[Any]) -> Iterator[bytes]:
    if first is not None:
        yield first.data
    for piece in pieces:
        yield piece.data


def _stub(settings: Settings) -> ImportServiceStub:
    try:
        return ImportServiceStub(channel(settings, "import"))
    except LookupError as error:
        raise Refused(Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", "import is not part of this installation") from error
