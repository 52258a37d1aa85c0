"""The web process as it runs: granian beside the service, ending with it."""

import os
import threading
import time
import urllib.error
import urllib.request

import pytest

from kit.embedded import free_port
from kit.ids import new_id
from kit.service import Runtime
from portal.server import serve_web
from quittance.portal.v1 import portal_service_pb2 as pb

START_S = 30.0


@pytest.fixture
def running(database, monkeypatch):
    """A running web server; gives its address and the event that ends it."""
    port = free_port()
    settings = database.settings
    for name in ("database_url", "jwks_url", "signing_key_path", "encryption_key_path"):
        monkeypatch.setenv(f"QUITTANCE_PORTAL_{name.upper()}", getattr(settings, name))
    monkeypatch.setenv("QUITTANCE_PORTAL_PORT", str(port))
    stop = threading.Event()
    thread = threading.Thread(target=serve_web, args=(Runtime(settings, database), stop))
    thread.start()
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=2).close()
            break
        except OSError:
            if time.monotonic() > until:
                stop.set()
                raise
            time.sleep(0.1)
    yield address, stop, thread
    stop.set()
    thread.join(30)


def test_it_serves_a_link_and_ends_when_asked(running, stub, account):
    address, stop, thread = running
    url = stub.CreateLink(pb.CreateLinkRequest(request_id=new_id(), account_id=account), timeout=10).url
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(address + url.removeprefix("http://portal.example"), timeout=10) as page:
        assert page.url == f"{address}/p"
        html = page.read().decode()
    assert "Two invoices wait for your answer" in html
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{address}/l/{'A' * 64}", timeout=10)
    assert error.value.code == 404
    if os.environ.get("SHOTS"):
        _shots(address, stub, account)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address}/healthz", timeout=2)


def _shots(address, stub, account):
    from pathlib import Path

    from playwright.sync_api import sync_playwright

    out = Path(os.environ["SHOTS"])
    out.mkdir(exist_ok=True)
    with sync_playwright() as p:
        kwargs = {"executable_path": os.environ["CHROME"]} if os.environ.get("CHROME") else {}
        b = p.chromium.launch(args=["--no-sandbox"], **kwargs)
        for name, size, lang in (
            ("desktop", (1440, 900), "en"),
            ("phone", (390, 844), "en"),
            ("fr-phone", (390, 844), "fr"),
            ("fr", (1440, 900), "fr"),
        ):
            ctx = b.new_context(viewport={"width": size[0], "height": size[1]})
            page = ctx.new_page()
            page.on("console", lambda m: print("CONSOLE", m.text))
            url = stub.CreateLink(
                pb.CreateLinkRequest(request_id=new_id(), account_id=account, language=lang), timeout=10
            ).url
            page.goto(address + url.removeprefix("http://portal.example"))
            page.wait_for_timeout(500)
            page.screenshot(path=str(out / f"{name}.png"), full_page=name in ("desktop", "fr"))
            if "phone" in name:
                page.locator(".p-sheet button[value=DISPUTE]").click()
            else:
                page.locator(".ans-row button[value=ALREADY_PAID]").click()
            page.wait_for_timeout(500)
            page.screenshot(path=str(out / f"{name}-form.png"), full_page=True)
            if name == "fr":
                page.locator("button[name=send]").click()
                page.wait_for_timeout(500)
                page.screenshot(path=str(out / "thanks.png"))
                page.goto(address + "/p")
                page.wait_for_timeout(300)
                page.screenshot(path=str(out / "after.png"), full_page=True)
            if name == "desktop":
                page.goto(address + "/l/x")
                page.screenshot(path=str(out / "ended.png"))
            ctx.close()
        b.close()
