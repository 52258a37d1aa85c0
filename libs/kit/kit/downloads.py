"""Answers to requests for a file by a signed address: whole or a range, in pieces, to be saved and not shown.

For any HTTP server: status, headers and the body as an iterator. The token is what kit.files.sign made; see there.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import quote

from kit import files
from kit.context import acting_as, service_caller
from kit.errors import Code, Refused
from kit.settings import ServiceSettings

PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
# All else is bytes: nothing of a file shall run where our pages do.
_TYPES = {
    "pdf": "application/pdf",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "zip": "application/zip",
}


@dataclass(frozen=True)
class Download:
    """An answer: the HTTP status (200, 206, 416), its headers, its body (close it, or read it to the end)."""

    status: int
    headers: dict[str, str]
    body: Iterator[bytes]


def answer(
    settings: ServiceSettings, token: str, folder: str, range_header: str = "", store_url: str = ""
) -> Download | None:
    """The answer for a token that names a file `<tenant>/<folder>/<id>`; None for one that is over, or never was ours.

    range_header: the request's Range; one range is served, several are answered with the whole file (RFC 9110, 14.2).
    store_url: where the service that signed keeps its files; empty: where the caller's own are.
    Refuses UNAVAILABLE where the file store does not answer.
    """
    try:
        signed = files.verify(settings, token)
    except Refused:
        return None
    tenant_id, _, rest = signed.key.partition("/")
    found_folder, _, file_id = rest.partition("/")
    if found_folder != folder or not _is_uuid(tenant_id) or not _is_uuid(file_id):
        return None
    try:
        # The store itself keeps to the tenant of who acts.
        where = settings.model_copy(update={"file_store_url": store_url}) if store_url else settings
        with acting_as(service_caller(tenant_id, settings.service_name)):
            return _ranged(files.store(where), signed, range_header)
    except Refused as refused:
        if refused.code is Code.NOT_FOUND:
            return None
        raise


def _ranged(store: files.Store, signed: files.Signed, range_header: str) -> Download:
    size = store.size(signed.key)
    headers = _headers(signed.name)
    asked = _range(range_header, size)
    if asked is None:
        return Download(200, headers | {"Content-Length": str(size)}, _pieces(store.get(signed.key)))
    start, end = asked
    if start >= size or end < start:
        return Download(416, headers | {"Content-Range": f"bytes */{size}", "Content-Length": "0"}, iter(()))
    length = end - start + 1
    headers |= {"Content-Range": f"bytes {start}-{end}/{size}", "Content-Length": str(length)}
    return Download(206, headers, _pieces(store.get(signed.key, start, length)))


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of one range that is well said; None for everything else, which a server may pass over."""
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        last = int(found[2])
        return (max(size - last, 0), size - 1) if last else (size, size)
    start = int(found[1])
    if found[2] and int(found[2]) < start:
        return None
    return start, min(int(found[2]), size - 1) if found[2] else max(size - 1, start)


def _headers(name: str) -> dict[str, str]:
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)[:150] or "document"
    extension = name.rpartition(".")[2].lower()
    return {
        "Content-Type": _TYPES.get(extension, "application/octet-stream"),
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex, nofollow",
    }


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
