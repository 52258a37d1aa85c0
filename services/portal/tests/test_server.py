"""The web process as it runs: granian beside the service, ending with it."""

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
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address}/healthz", timeout=2)
