"""A mail server that delivers to a folder: what the platform sends on one machine ends here and can be looked at.

It speaks real SMTP. Messages lie as <mail>/<number>.eml; a small read-only site lists and shows them. The HTML part
is sanitised and shown in a sandboxed frame that may load nothing, because what it shows is somebody's input.

Tests make it misbehave, over HTTP: POST /faults {"recipient": "...", "kind": "refuse", "times": 1}
- refuse: 550 to RCPT TO (a bad address)          - defer: 451 to RCPT TO (try again later)
- reject_data: 554 after the message              - drop: the message is kept, then the line is cut before the answer
- delay: answers after `seconds`
A recipient of "*" means everyone. DELETE /faults ends all; DELETE /messages empties the box.
"""

from __future__ import annotations

import argparse
import asyncio
import email.policy
import html
import json
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import EmailMessage
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import nh3
from aiosmtpd.smtp import SMTP, Envelope, Session

from stack.layout import LOOPBACK

MESSAGE_MAX_BYTES = 25 * 1024 * 1024
BODY_MAX_BYTES = 64 * 1024
LIST_MAX = 500
FAULT_KINDS = ("refuse", "defer", "reject_data", "drop", "delay")


@dataclass
class Fault:
    """One misbehaviour asked for by a test; times < 0 means until it is deleted."""

    recipient: str
    kind: str
    times: int = 1
    seconds: float = 0.0

    def meets(self, recipient: str) -> bool:
        return self.times != 0 and self.recipient in ("*", recipient.lower())


class Box:
    """The messages on disk and the faults in memory; safe for the SMTP loop and the HTTP threads together."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        numbers = [int(path.stem) for path in folder.glob("*.eml") if path.stem.isdigit()]
        self._last = max(numbers, default=0)
        self._faults: list[Fault] = []

    def keep(self, sender: str, recipients: list[str], content: bytes) -> int:
        """Writes one message down, envelope in front as X-headers; returns its number."""
        with self._lock:
            self._last += 1
            number = self._last
        envelope = (
            f"X-Envelope-From: {sender}\r\nX-Envelope-To: {', '.join(recipients)}\r\n"
            f"X-Received-At: {datetime.now(UTC).isoformat()}\r\n"
        )
        beside = self._folder / f"{number:08d}.part"
        beside.write_bytes(envelope.encode("utf-8", "surrogateescape") + content)
        beside.rename(self._folder / f"{number:08d}.eml")
        return number

    def numbers(self) -> list[int]:
        """All messages, newest first."""
        return sorted((int(path.stem) for path in self._folder.glob("*.eml") if path.stem.isdigit()), reverse=True)

    def read(self, number: int) -> bytes | None:
        path = self._folder / f"{number:08d}.eml"
        return path.read_bytes() if path.exists() else None

    def empty(self) -> None:
        for path in self._folder.glob("*.eml"):
            path.unlink()

    def add_fault(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def faults(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults if fault.times != 0]

    def take_fault(self, recipients: list[str], kinds: tuple[str, ...]) -> Fault | None:
        """The first fault asked for these recipients, counted down by one."""
        with self._lock:
            for fault in self._faults:
                if fault.kind in kinds and any(fault.meets(recipient) for recipient in recipients):
                    fault.times -= 1 if fault.times > 0 else 0
                    return fault
        return None


class SmtpHandler:
    """What the SMTP server asks at each step."""

    def __init__(self, box: Box):
        self._box = box

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = self._box.take_fault([address], ("refuse", "defer"))
        if fault is not None:
            return "550 5.1.1 no such mailbox" if fault.kind == "refuse" else "451 4.2.1 mailbox busy, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        recipients = [str(recipient) for recipient in envelope.rcpt_tos]
        fault = self._box.take_fault(recipients, ("reject_data", "drop", "delay"))
        if fault is not None and fault.kind == "reject_data":
            return "554 5.7.1 message refused"
        content = envelope.original_content or b""
        number = self._box.keep(str(envelope.mail_from or ""), recipients, content)
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "drop":
            # Accepted, and the sender never learns: the gap of RFC 1047 on demand.
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            return "421 4.3.0 gone"
        return f"250 2.0.0 kept as {number}"


STYLE = """
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 960px; padding: 16px;
  background: light-dark(#f5f6f8, #0e1218); color: light-dark(#1c2430, #dfe5ee); }
table, pre { background: light-dark(#fff, #151b24); border: 1px solid light-dark(#dfe3e9, #2a3341); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 8px 10px; vertical-align: top; overflow-wrap: anywhere;
  border-bottom: 1px solid light-dark(#e6e9ee, #242c38); }
th { font-weight: 500; color: light-dark(#576273, #9aa7ba); white-space: nowrap; }
a { color: light-dark(#1f5fbf, #82b1ff); }
iframe { width: 100%; height: 640px; border: 1px solid light-dark(#dfe3e9, #2a3341); background: #fff; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 10px; }
h1 { font-size: 20px; font-weight: 600; }
"""
PAGE_CSP = (
    "default-src 'none'; style-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self' {app}"
)
FRAME_CSP = (
    "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
LOOKS = {"style", "align", "width", "height", "lang", "dir"}
MAIL_ATTRIBUTES = {tag: set(nh3.ALLOWED_ATTRIBUTES.get(tag, ())) | LOOKS for tag in nh3.ALLOWED_TAGS}


def parse(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def header(message: EmailMessage, name: str) -> str:
    """One header as text. Decoded here and not by the policy, whose parser raises on what strangers may send."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    unfolded = " ".join(raw.split())
    try:
        return str(make_header(decode_header(unfolded)))
    except (HeaderParseError, LookupError, ValueError):
        return unfolded


def part_text(message: EmailMessage, kind: str) -> str:
    """Text of the first part of that kind (plain or html), empty when there is none."""
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return ""
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    charset = part.get_content_charset() or "utf-8"
    try:
        return payload.decode(charset, "replace")
    except LookupError:
        return payload.decode("utf-8", "replace")


def summary(number: int, content: bytes) -> dict[str, Any]:
    """What the list and the tests need to know of a message."""
    message = parse(content)
    return {
        "number": number,
        "messageId": header(message, "Message-ID"),
        "from": header(message, "From"),
        "to": header(message, "To"),
        "cc": header(message, "Cc"),
        "envelopeFrom": header(message, "X-Envelope-From"),
        "envelopeTo": [address.strip() for address in header(message, "X-Envelope-To").split(",") if address.strip()],
        "subject": header(message, "Subject"),
        "receivedAt": header(message, "X-Received-At"),
    }


def detail(number: int, content: bytes) -> dict[str, Any]:
    """The whole message as JSON: headers, both texts, attachments by name and size."""
    message = parse(content)
    attachments = [
        {
            "name": part.get_filename() or "",
            "type": part.get_content_type(),
            "bytes": len(part.get_payload(decode=True) or b""),
        }
        for part in message.iter_attachments()
    ]
    headers = {name: header(message, name) for name, _ in message.raw_items()}
    return {
        **summary(number, content),
        "text": part_text(message, "plain"),
        "html": part_text(message, "html"),
        "headers": headers,
        "attachments": attachments,
    }


def page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{html.escape(title)}</title><link rel="stylesheet" href="/style.css"></head><body>{body}</body></html>'
    )


def list_page(box: Box, wanted: str) -> str:
    rows = []
    for number in box.numbers()[:LIST_MAX]:
        content = box.read(number)
        if content is None:
            continue
        line = summary(number, content)
        if wanted and wanted not in json.dumps(line).lower():
            continue
        rows.append(
            f"<tr><td>{number}</td><td>{html.escape(line['receivedAt'][:19].replace('T', ' '))}</td>"
            f"<td>{html.escape(', '.join(line['envelopeTo']))}</td>"
            f'<td><a href="/messages/{number}">{html.escape(line["subject"] or "(no subject)")}</a></td></tr>'
        )
    table = (
        '<table><caption>Newest first. Nothing here has left this machine.</caption><thead><tr><th scope="col">No.</th>'
        '<th scope="col">Received (UTC)</th><th scope="col">To</th><th scope="col">Subject</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        if rows
        else "<p>No message yet. What the platform sends on this machine arrives here.</p>"
    )
    return page("Mail sink", f"<main><h1>Mail sink</h1>{table}</main>")


def message_page(number: int, content: bytes) -> str:
    shown = detail(number, content)
    heads = "".join(
        f'<tr><th scope="row">{label}</th><td>{html.escape(value)}</td></tr>'
        for label, value in (
            ("From", shown["from"]),
            ("To", shown["to"]),
            ("Cc", shown["cc"]),
            ("Subject", shown["subject"]),
            ("Received", shown["receivedAt"]),
            ("Message-ID", shown["messageId"]),
            ("Attachments", ", ".join(f"{item['name']} ({item['bytes']} bytes)" for item in shown["attachments"])),
        )
        if value
    )
    frame = (
        "<h2>As the reader sees it</h2>"
        f'<iframe sandbox="allow-popups" title="HTML part" src="/messages/{number}/html"></iframe>'
        if shown["html"]
        else ""
    )
    text = f"<h2>Plain text</h2><pre>{html.escape(shown['text'])}</pre>" if shown["text"] else ""
    body = (
        f'<main><p><a href="/">All messages</a> · <a href="/messages/{number}/raw">Source</a></p>'
        f"<h1>{html.escape(shown['subject'] or '(no subject)')}</h1>"
        f"<table><tbody>{heads}</tbody></table>{frame}{text}</main>"
    )
    return page(shown["subject"] or "Message", body)


def safe_html(text: str) -> str:
    """The HTML part without anything that runs or loads; links open in a new window."""
    cleaned = nh3.clean(
        text, attributes=MAIL_ATTRIBUTES, url_schemes={"http", "https", "mailto"}, link_rel="noopener noreferrer"
    )
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><base target="_blank"></head><body>{cleaned}</body></html>'
    )


def http_handler(box: Box, app_url: str) -> type[BaseHTTPRequestHandler]:
    """The site over one box; app_url may show it in a frame."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "quittance-mailsink"
        sys_version = ""

        def _answer(
            self, body: str | bytes, kind: str = "text/html; charset=utf-8", status: int = 200, csp: str = ""
        ) -> None:
            data = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Security-Policy", csp or PAGE_CSP.format(app=app_url))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _json(self, value: Any, status: int = 200) -> None:
            self._answer(json.dumps(value, ensure_ascii=False), "application/json", status)

        def _from_a_page(self) -> bool:
            """Whether a browser's page of another origin sends this: only tools and tests may change the box."""
            host = self.headers.get("Host", "")
            own = host.partition(":")[0] in (LOOPBACK, "localhost")
            return not own or self.headers.get("Origin") is not None

        def _body(self) -> bytes:
            length = int(self.headers.get("Content-Length") or 0)
            if length > BODY_MAX_BYTES:
                raise ValueError("body too large")
            return self.rfile.read(length)

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            parts = [unquote(part) for part in url.path.split("/") if part]
            if not parts:
                return self._answer(list_page(box, query.get("q", "").lower()))
            if parts == ["style.css"]:
                return self._answer(STYLE, "text/css; charset=utf-8")
            if parts == ["healthz"]:
                return self._json({"status": "ok"})
            if parts == ["faults"]:
                return self._json({"faults": box.faults()})
            if parts == ["messages.json"]:
                found = ((number, box.read(number)) for number in box.numbers()[:LIST_MAX])
                lines = [summary(number, content) for number, content in found if content is not None]
                recipient = query.get("to", "").lower()
                lines = [
                    line for line in lines if not recipient or recipient in [a.lower() for a in line["envelopeTo"]]
                ]
                wanted_id = query.get("messageId", "")
                return self._json(
                    {"messages": [line for line in lines if not wanted_id or wanted_id in line["messageId"]]}
                )
            if parts[0] == "by-message-id" and len(parts) == 2:
                return self._by_message_id(parts[1])
            if parts[0] == "messages" and len(parts) in (2, 3) and parts[1].removesuffix(".json").isdigit():
                return self._message(parts)
            return self._answer(page("Not found", "<h1>Not found</h1>"), status=404)

        do_HEAD = do_GET

        def _by_message_id(self, wanted: str) -> None:
            for number in box.numbers():
                content = box.read(number)
                if content is not None and wanted.strip("<>") == summary(number, content)["messageId"].strip("<>"):
                    self.send_response(HTTPStatus.SEE_OTHER)
                    self.send_header("Location", f"/messages/{number}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self._answer(page("Not found", "<h1>No such message here</h1>"), status=404)

        def _message(self, parts: list[str]) -> None:
            number = int(parts[1].removesuffix(".json"))
            content = box.read(number)
            if content is None:
                return self._answer(page("Not found", "<h1>Not found</h1>"), status=404)
            if len(parts) == 2 and parts[1].endswith(".json"):
                return self._json(detail(number, content))
            if len(parts) == 2:
                return self._answer(message_page(number, content))
            if parts[2] == "html":
                return self._answer(safe_html(part_text(parse(content), "html")), csp=FRAME_CSP)
            if parts[2] == "raw":
                return self._answer(content, "text/plain; charset=utf-8")
            return self._answer(page("Not found", "<h1>Not found</h1>"), status=404)

        def do_POST(self) -> None:
            if self.path != "/faults" or self._from_a_page():
                return self._json({"error": "not here"}, 404)
            try:
                asked = json.loads(self._body())
                fault = Fault(
                    str(asked["recipient"]).lower(),
                    str(asked["kind"]),
                    int(asked.get("times", 1)),
                    float(asked.get("seconds", 0)),
                )
            except (ValueError, KeyError, TypeError) as error:
                return self._json({"error": f"not a fault: {error}"}, 400)
            if fault.kind not in FAULT_KINDS:
                return self._json({"error": f"kind is one of {', '.join(FAULT_KINDS)}"}, 400)
            box.add_fault(fault)
            return self._json(asdict(fault), 201)

        def do_DELETE(self) -> None:
            actions: dict[str, Callable[[], None]] = {"/faults": box.clear_faults, "/messages": box.empty}
            if self.path not in actions or self._from_a_page():
                return self._json({"error": "not here"}, 404)
            actions[self.path]()
            return self._json({"status": "done"})

        def log_message(self, format: str, *args: Any) -> None:
            """Pages being looked at are not worth a line in the log."""

    return Handler


async def serve(folder: Path, smtp_port: int, http_port: int, app_url: str) -> None:
    """Runs both servers until SIGTERM or SIGINT."""
    box = Box(folder)
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(
        lambda: SMTP(
            SmtpHandler(box),
            hostname="mail-sink.localhost",
            data_size_limit=MESSAGE_MAX_BYTES,
            enable_SMTPUTF8=True,
            loop=loop,
        ),
        LOOPBACK,
        smtp_port,
    )
    site = ThreadingHTTPServer((LOOPBACK, http_port), http_handler(box, app_url))
    threading.Thread(target=site.serve_forever, name="site", daemon=True).start()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print(f"SMTP on {LOOPBACK}:{smtp_port}, messages on http://{LOOPBACK}:{http_port}", flush=True)
    await ended.wait()
    smtp.close()
    site.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stack.mailsink", description="A mail server that delivers to a folder."
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--app-url", default="http://127.0.0.1:8080", help="origin that may show the pages in a frame")
    wanted = parser.parse_args()
    asyncio.run(serve(wanted.folder, wanted.smtp_port, wanted.http_port, wanted.app_url))


if __name__ == "__main__":
    main()
