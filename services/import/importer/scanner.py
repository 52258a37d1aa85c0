"""Virus scanners: clamd (tcp://host:3310, INSTREAM) and ICAP servers (icap://host:1344/service, RESPMOD; icaps:// over
TLS). Documents go through in pieces; nothing is whole in memory."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import SplitResult, urlsplit

from kit.errors import Code, Refused

PIECE_BYTES = 64 * 1024
CLAMD_PORT = 3310
ICAP_PORT = 1344
ICAPS_PORT = 11344
ANSWER_MAX_BYTES = 64 * 1024
# Headers in which ICAP servers say what they found.
_FOUND_HEADERS = ("x-infection-found", "x-virus-id", "x-violations-found", "x-virus-name")


@dataclass(frozen=True)
class Verdict:
    """What a scanner says: clean, or the name of what it found."""

    is_clean: bool
    found: str = ""


def scan(url: str, file: IO[bytes], size_bytes: int, timeout_s: float) -> Verdict:
    """Asks the scanner at url about a file of so many bytes.

    Refuses UNAVAILABLE SCANNER_UNAVAILABLE when it does not answer, or not with a verdict: then nobody knows. Raises
    ValueError for an address of another kind.
    """
    where = urlsplit(url)
    if where.scheme not in ("tcp", "icap", "icaps") or not where.hostname:
        raise ValueError(f"a scanner is at tcp://host:port or icap://host:port/service, not at {url!r}")
    try:
        return _clamd(where, file, timeout_s) if where.scheme == "tcp" else _icap(where, file, size_bytes, timeout_s)
    except (OSError, EOFError) as error:
        raise _unavailable(str(error) or type(error).__name__) from error


def _unavailable(detail: str) -> Refused:
    return Refused(
        Code.UNAVAILABLE, "SCANNER_UNAVAILABLE", "the virus scanner cannot be asked now", detail=detail[:300]
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


# ---- clamd -----------------------------------------------------------------------------------------------------------


def _clamd(where: SplitResult, file: IO[bytes], timeout_s: float) -> Verdict:
    with socket.create_connection((where.hostname, where.port or CLAMD_PORT), timeout_s) as connection:
        # It answers early, and goes, when a stream is longer than it takes.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"zINSTREAM\0")
            for piece in _pieces(file):
                connection.sendall(struct.pack("!I", len(piece)) + piece)
            connection.sendall(struct.pack("!I", 0))
        answer = b""
        while not answer.endswith(b"\0") and len(answer) < ANSWER_MAX_BYTES:
            if not (more := connection.recv(4096)):
                break
            answer += more
    text = answer.rstrip(b"\0\n").decode("utf-8", "replace").removeprefix("stream:").strip()
    if text == "OK":
        return Verdict(True)
    if text.endswith(" FOUND"):
        return Verdict(False, text.removesuffix(" FOUND"))
    raise _unavailable(text or "the connection ended without an answer")


# ---- ICAP ------------------------------------------------------------------------------------------------------------


def _icap(where: SplitResult, file: IO[bytes], size_bytes: int, timeout_s: float) -> Verdict:
    port = where.port or (ICAPS_PORT if where.scheme == "icaps" else ICAP_PORT)
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((where.hostname, port), timeout_s))
        if where.scheme == "icaps":
            context = ssl.create_default_context()
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=where.hostname))
        digest = hashlib.sha256()
        # It may answer before it has heard everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(_icap_head(where, port, size_bytes))
            for piece in _pieces(file):
                digest.update(piece)
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
        answer = stack.enter_context(connection.makefile("rb"))
        return _icap_verdict(answer, digest.hexdigest())


def _icap_head(where: SplitResult, port: int, size_bytes: int) -> bytes:
    asked = b"GET http://documents.invalid/document HTTP/1.1\r\nHost: documents.invalid\r\n\r\n"
    answered = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" + b"Content-Length: %d\r\n\r\n" % size_bytes
    )
    head = (
        f"RESPMOD icap://{where.hostname}:{port}{where.path or '/'} ICAP/1.0\r\n"
        f"Host: {where.hostname}\r\nUser-Agent: quittance\r\nAllow: 204\r\nConnection: close\r\n"
        f"Encapsulated: req-hdr=0, res-hdr={len(asked)}, res-body={len(asked) + len(answered)}\r\n\r\n"
    )
    return head.encode("ascii") + asked + answered


def _icap_verdict(answer: IO[bytes], sha256: str) -> Verdict:
    status, headers = _head(answer, "ICAP/")
    found = next((headers[name] for name in _FOUND_HEADERS if headers.get(name)), "")
    if found:
        return Verdict(False, _threat(found))
    if status == 204:
        return Verdict(True)
    if status != 200:
        raise _unavailable(f"ICAP status {status}")
    # It answers with a page instead of the file where it blocks, and with the same file where it does not know 204.
    parts = dict(part.strip().partition("=")[::2] for part in headers.get("encapsulated", "").split(","))
    if "req-hdr" in parts:
        _lines(answer)
    http_status, _ = _head(answer, "HTTP/")
    if http_status == 200 and "res-body" in parts and _chunked_sha256(answer) == sha256:
        return Verdict(True)
    return Verdict(False, "blocked")


def _threat(header: str) -> str:
    """The name in "Type=0; Resolution=2; Threat=Eicar-Signature;", or the whole of a header of another form."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name.lower() == "threat" and value:
            return value[:200]
    return header[:200]


def _lines(answer: IO[bytes]) -> list[str]:
    lines: list[str] = []
    while (line := answer.readline(ANSWER_MAX_BYTES)) not in (b"\r\n", b"\n"):
        if not line or len(lines) > 200:
            raise EOFError("the answer of the scanner ended early")
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    return lines


def _head(answer: IO[bytes], protocol: str) -> tuple[int, dict[str, str]]:
    lines = _lines(answer)
    words = lines[0].split() if lines else []
    if len(words) < 2 or not words[0].startswith(protocol) or not words[1].isdecimal():
        raise _unavailable("the answer is none of this protocol")
    pairs = (line.partition(":") for line in lines[1:])
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _chunked_sha256(answer: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while True:
        try:
            left = int(answer.readline(1024).partition(b";")[0].strip(), 16)
        except ValueError as error:
            raise _unavailable("the answer is none of this protocol") from error
        if left <= 0:
            return digest.hexdigest()
        while left:
            if not (piece := answer.read(min(left, PIECE_BYTES))):
                raise EOFError("the answer of the scanner ended early")
            digest.update(piece)
            left -= len(piece)
        answer.readline(1024)
