"""The sink speaks real SMTP and shows what came in without running any of it."""

import smtplib
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

START_TIMEOUT_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sink:
    def __init__(self, folder: Path):
        self.smtp_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "stack.mailsink",
                "--folder",
                str(folder),
                "--smtp-port",
                str(self.smtp_port),
                "--http-port",
                str(self.http_port),
            ]
        )
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                httpx.get(f"{self.url}/healthz", timeout=1).raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < until, "the sink did not start"
                time.sleep(0.05)

    def send(self, to: str = "ap@example.com", subject: str = "Your account", html: str = "<p>Hello</p>") -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "collector@example.org", to, subject
        message["Message-ID"] = f"<{uuid.uuid4()}@example.org>"
        message.set_content("Dear customer")
        message.add_alternative(html, subtype="html")
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=5) as smtp:
            smtp.send_message(message)

    def messages(self, **query: str) -> list[dict]:
        return httpx.get(f"{self.url}/messages.json", params=query).json()["messages"]

    def fault(self, **fault: object) -> None:
        assert httpx.post(f"{self.url}/faults", json=fault).status_code == 201


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    sink = Sink(tmp_path_factory.mktemp("mail"))
    yield sink
    sink.process.terminate()
    assert sink.process.wait(timeout=10) == 0


@pytest.fixture
def sink(running: Sink) -> Sink:
    httpx.delete(f"{running.url}/messages")
    httpx.delete(f"{running.url}/faults")
    return running


def test_message_arrives_with_envelope_texts_and_id(sink: Sink) -> None:
    sink.send(subject="Relevé de compte")
    (line,) = sink.messages(to="ap@example.com")
    assert (line["subject"], line["envelopeTo"]) == ("Relevé de compte", ["ap@example.com"])
    shown = httpx.get(f"{sink.url}/messages/{line['number']}.json").json()
    assert "Dear customer" in shown["text"]
    assert "Hello" in shown["html"]
    found = httpx.get(f"{sink.url}/by-message-id/{line['messageId'].strip('<>')}")
    assert found.headers["location"] == f"/messages/{line['number']}"


def test_html_is_shown_without_scripts_in_a_frame_that_may_load_nothing(sink: Sink) -> None:
    image, link = '<img src="http://example.net/x.png">', '<a href="javascript:x()">b</a>'
    sink.send(html=f'<p onclick="x()">A</p><script>alert(1)</script>{image}{link}')
    number = sink.messages()[0]["number"]
    frame = httpx.get(f"{sink.url}/messages/{number}/html")
    assert "script" not in frame.text
    assert "onclick" not in frame.text
    assert frame.headers["content-security-policy"].startswith("sandbox")
    assert "default-src 'none'" in frame.headers["content-security-policy"]


def test_markup_in_a_subject_stays_text(sink: Sink) -> None:
    sink.send(subject="<b>bold</b>")
    assert "<b>bold" not in httpx.get(sink.url).text
    assert "&lt;b&gt;bold" in httpx.get(sink.url).text


def test_refused_and_busy_mailboxes(sink: Sink) -> None:
    sink.fault(recipient="gone@example.com", kind="refuse", times=-1)
    sink.fault(recipient="busy@example.com", kind="defer")
    for address, code in (("gone@example.com", 550), ("busy@example.com", 451)):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            sink.send(to=address)
        assert refusal.value.recipients[address][0] == code
    sink.send(to="busy@example.com")
    assert [line["envelopeTo"] for line in sink.messages()] == [["busy@example.com"]]


def test_a_dropped_line_leaves_the_message_in_the_box(sink: Sink) -> None:
    sink.fault(recipient="*", kind="drop")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        sink.send(subject="in doubt")
    assert [line["subject"] for line in sink.messages()] == ["in doubt"]


def test_a_page_of_another_origin_cannot_change_the_box(sink: Sink) -> None:
    sink.send()
    answer = httpx.delete(f"{sink.url}/messages", headers={"Origin": "http://example.net"})
    assert answer.status_code == 404
    assert len(sink.messages()) == 1
