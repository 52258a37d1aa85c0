"""Chromium, one platform with the sample group, and people who sit in front of its pages."""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_client import Client, Customer
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from stack.harness import Platform

TODAY = "2026-09-15"
# The example of the IBAN registry for France.
IBAN = "FR1420041010050500013M02606"
ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
# Generous, because the machine may be busy; nothing waits this long when all is well.
WAIT_MS = 15_000
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The running platform."""
    bank = {"FR01": {"holder": "Sample Outillage SAS", "iban": IBAN, "currency": "EUR"}}
    with Platform.started(
        sample=True, QUITTANCE_TODAY=TODAY, QUITTANCE_PORTAL_BANK_ACCOUNTS=json.dumps(bank)
    ) as started:
        yield started


@pytest.fixture(scope="session")
def client(platform: Platform) -> Client:
    """A program with an administrator's key, for what a story does not do through pages."""
    return Client(platform)


@pytest.fixture(scope="session")
def fixture_file() -> Callable[[str], bytes]:
    """The bytes of a file in tests/fixtures."""
    return lambda name: (FIXTURES / name).read_bytes()


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    """Chromium without a window."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium_path,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
        )
        yield started
        started.close()


class Window:
    """A browser window of one person; remembers everything the console or the content policy complained of."""

    def __init__(self, browser: Browser, url: str, shots: Path, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(
            **{"base_url": url, "viewport": DESKTOP, "locale": "en-GB", "reduced_motion": "reduce", **options}
        )
        self.context.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self._shots = shots
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page: Page = self.context.new_page()

    def _said(self, message: ConsoleMessage) -> None:
        # A refused resource, a refused style or script (Content-Security-Policy) and a failed script are errors here.
        if message.type == "error" or "Content Security Policy" in message.text:
            self.complaints.append(f"{message.text} [{message.location.get('url', '')}]")

    def without_complaint(self) -> None:
        """Fails if anything was complained of since the last time."""
        found, self.complaints = self.complaints, []
        assert found == []

    def sign_in(self, email: str, password: str) -> None:
        """Signs in by the form."""
        self.page.goto("/sign-in")
        self.page.locator("input[name=email]").fill(email)
        self.page.locator("input[name=password]").fill(password)
        self.page.locator("main button[type=submit], form button[type=submit]").first.click()
        self.page.wait_for_url(lambda url: "/sign-in" not in url)

    def shot(self, name: str) -> None:
        """Leaves a picture for looking at."""
        self._shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._shots / f"{name}.png")

    def violations(self) -> list[tuple[str, str]]:
        """What axe finds on the page as it stands: (rule, the first place)."""
        # The checker itself needs what the policy forbids; the page was rendered under the policy before.
        session = self.context.new_cdp_session(self.page)
        session.send("Page.setBypassCSP", {"enabled": True})
        before = list(self.complaints)
        self.page.evaluate(AXE.read_text("utf-8") + ";0")
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        self.complaints = before
        session.send("Page.setBypassCSP", {"enabled": False})
        session.detach()
        assert found["passes"], "axe has looked at nothing"
        return [(each["id"], each["nodes"][0]["html"][:300]) for each in found["violations"]]

    def overflow_px(self) -> int:
        """By how much the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where pictures go."""
    return Path(os.environ.get("QUITTANCE_SHOTS") or ROOT / ".quittance" / "build" / "screenshots")


@pytest.fixture(scope="session")
def window(browser: Browser, shots: Path) -> Iterator[Callable[..., Window]]:
    """Opens windows: window(address, **options of a browser context)."""
    opened: list[Window] = []

    def open_window(url: str, **options: Any) -> Window:
        opened.append(Window(browser, url, shots, **options))
        return opened[-1]

    yield open_window
    for one in opened:
        one.context.close()


@pytest.fixture(scope="session")
def person(client: Client) -> Callable[[str], tuple[str, str]]:
    """Makes an administrator whose pages are in this language: (address, password)."""

    def make(language: str) -> tuple[str, str]:
        email, password = f"reader-{language}-{secrets.token_hex(3)}@example.com", "Lire-les-pages-2026"
        client.post(
            "/v1/users",
            {"email": email, "name": f"Reader {language}", "role": "administrator", "password": password, "language": language},
        )  # fmt: skip
        return email, password

    return make


@pytest.fixture(scope="session")
def addresses(client: Client, fixture_file: Callable[[str], bytes]) -> dict[str, str]:
    """An address of every page with something on it: name -> path (the customer's: whole address)."""
    entity = client.new_entity()
    run = client.upload(entity, fixture_file("open_items_fr.csv"))
    client.upload(entity, fixture_file("contacts.csv"), "contacts.csv", object="contacts")
    asked = client.upload(entity, fixture_file("ambiguous_dates.csv"), "ambiguous_dates.csv")
    rejected = client.upload(entity, fixture_file("bad_rows.csv"), "bad_rows.csv", apply=False)
    account = client.account(entity, "0001042")["accountId"]
    items = client.items(account)
    action = client.action(account)
    assert action
    message = client.sent(client.post(f"/v1/actions/{action['actionId']}:send")["messageId"])
    customer = Customer(message["portalLink"])
    customer.open()
    customer.answer(
        "DISPUTE", [items["FA-1002"]["itemId"]], send="DISPUTE", reason="PRICE", comment="Prix convenu 2 700"
    )
    [dispute] = client.get("/v1/responses", accountId=account)["responses"]
    accepted = client.post(f"/v1/responses/{dispute['responseId']}:accept")
    customer.open()
    customer.answer(
        "PROMISE", [items["FA-1001"]["itemId"]], send="PROMISE", on="2026-09-25", comment="Au prochain paiement"
    )
    [promise] = [
        one for one in client.get("/v1/responses", accountId=account)["responses"] if one["state"] == "RECEIVED"
    ]
    sample = client.get("/v1/accounts", filter='entityCode="FR01"', pageSize=1)["accounts"][0]
    open_actions = client.get("/v1/actions", pageSize=200)["actions"]
    written = next(one for one in open_actions if one["step"]["channel"] == "EMAIL")
    spoken = next((one for one in open_actions if one["step"]["channel"] != "EMAIL"), None)
    template = client.get("/v1/templates", pageSize=1)["templates"][0]
    found = {
        "sign-in": "/sign-in",
        "agenda": "/agenda",
        "agenda-ahead": "/agenda?view=ahead",
        "composer": f"/agenda/{written['actionId']}",
        "action-over": f"/agenda/{action['actionId']}",
        "message": f"/messages/{message['messageId']}",
        "answers": "/answers",
        "answer-waiting": f"/answers/{promise['responseId']}",
        "answer-decided": f"/answers/{dispute['responseId']}",
        "promises": "/promises",
        "accounts": "/accounts",
        "account": f"/accounts/{account}",
        "account-sample": f"/accounts/{sample['accountId']}",
        "item": f"/items/{items['FA-1002']['itemId']}",
        "disputes": "/disputes",
        "dispute": f"/disputes/{accepted['caseId']}",
        "credit-risk": "/credit-risk",
        "dashboard": "/dashboard",
        "aging": "/aging",
        "items": "/reports",
        "dso": "/reports/dso",
        "search": "/search?q=FA-10",
        "imports": "/imports",
        "import-upload": f"/imports/new?entity={entity}",
        "import-question": f"/imports/{asked['importId']}",
        "import-rejects": f"/imports/{rejected['importId']}",
        "import-report": f"/imports/{run['importId']}",
        "scenarios": "/scenarios",
        "templates": "/templates",
        "template": f"/templates/{template['templateId']}",
        "settings": "/settings",
        "profile": "/profile",
        "not-found": "/accounts/00000000-0000-7000-8000-000000000000",
        "portal": message["portalLink"],
        "portal-ended": re.sub(r".{4}$", "AAAA", message["portalLink"]),
    }
    if spoken:
        found["call"] = f"/agenda/{spoken['actionId']}"
    return found
