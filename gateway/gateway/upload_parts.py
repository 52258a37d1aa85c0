"""The bytes of a file that comes in parts: PUT /v1/uploads/{uploadId}, gone on with after any break.

Announcing, asking and starting are RPCs (UploadService) and served like all others; only the bytes go their own way, in
pieces, so that memory stays flat whatever the size.
"""

import re
from collections.abc import Iterator
from typing import Any

from flask import Flask, current_app, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from gateway import messages
from gateway.auth import gate
from gateway.config import Settings
from kit.context import acting_as
from kit.errors import Code, Refused
from kit.grpc_client import channel
from quittance.importer.v1 import upload_service_pb2 as pb
from quittance.importer.v1.upload_service_pb2_grpc import UploadServiceStub

PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")


def register(app: Flask) -> None:
    """Adds the route."""
    app.add_url_rule(
        "/v1/uploads/<segment:upload_id>", "upload_parts.append", append, methods=["PUT"],
        provide_automatic_options=False,
    )  # fmt: skip


def append(upload_id: str) -> Any:
    """PUT /v1/uploads/{uploadId}: adds bytes at Content-Range; 200 with the upload as it is then."""
    settings: Settings = current_app.config["QUITTANCE"]
    caller = gate().api_caller()
    offset, length = _range()
    if length > settings.upload_max_bytes:
        text = "a file is not as large as that"
        raise Refused(Code.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE", text, {"file": text})
    request.max_content_length = length
    with acting_as(caller):
        upload = _stub(settings).AppendUpload(
            _pieces(upload_id, offset, length), timeout=settings.upload_timeout_s
        ).upload  # fmt: skip
    response = jsonify(messages.to_json(upload))
    response.headers["Upload-Offset"] = str(upload.offset)
    return response


def _range() -> tuple[int, int]:
    """Where the bytes begin and how many they are. Refuses INVALID_ARGUMENT CONTENT_RANGE_WRONG."""
    text = request.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(text.strip())
    wrong = "say which bytes these are, such as Content-Range: bytes 0-8388607/2000000000"
    if found is None:
        raise Refused(Code.INVALID_ARGUMENT, "CONTENT_RANGE_WRONG", wrong, {"Content-Range": wrong})
    first, last = int(found[1]), int(found[2])
    length = last - first + 1
    said = request.content_length
    if length < 1 or (said is not None and said != length):
        raise Refused(Code.INVALID_ARGUMENT, "CONTENT_RANGE_WRONG", wrong, {"Content-Range": wrong})
    return first, length


def _pieces(upload_id: str, offset: int, length: int) -> Iterator[pb.AppendUploadRequest]:
    yield pb.AppendUploadRequest(header=pb.AppendHeader(upload_id=upload_id, offset=offset))
    left = length
    while left:
        try:
            piece = request.stream.read(min(PIECE_BYTES, left))
        except (OSError, RequestEntityTooLarge):
            # The sender went away: what has come is kept, and he goes on there.
            return
        if not piece:
            return
        left -= len(piece)
        yield pb.AppendUploadRequest(data=piece)


def _stub(settings: Settings) -> UploadServiceStub:
    try:
        return UploadServiceStub(channel(settings, "import"))
    except LookupError as error:
        raise Refused(Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", "import is not part of this installation") from error
