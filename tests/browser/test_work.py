"""What a collector does all day: walking through accounts, choosing what to write about, sending files up."""

import re
import uuid
from typing import Any

import pytest
from playwright.sync_api import expect

IBAN_IN_GROUPS = "FR14 2004 1010 0505 0001 3M02 606"
PHONE = {"width": 390, "height": 844}
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def desk(window: Any, person: Any, platform: Any) -> Any:
    """A collector's window."""
    opened = window(platform.gateway_url)
    opened.sign_in(*person("en"))
    return opened


def names_on(page: Any) -> list[str]:
    """The names in the list that is shown."""
    return page.locator("table[data-rows] a.name").all_inner_texts()


@pytest.mark.parametrize("address", ["/accounts?sort=name+desc&query=a", "/agenda?sort=account_name"])
def test_j_and_k_walk_the_accounts_of_the_list_the_sheet_came_from(desk: Any, address: str) -> None:
    page = desk.page
    page.goto(address)
    names = names_on(page)
    assert len(names) > 3
    if address.startswith("/accounts"):
        page.locator("table[data-rows] a.name").nth(1).click()
    else:
        page.keyboard.press("j")
        page.keyboard.press("j")
        expect(page.locator("#preview h2").first).to_have_text(names[1])
        page.locator("#preview").get_by_role("link", name="Account").click()
    heading, place = page.get_by_role("heading", level=1), page.locator(".walk-q")
    expect(heading).to_have_text(names[1])
    expect(place).to_contain_text(re.compile(r"^2 of \d+"))
    for key, at in (("j", 2), ("k", 1), ("k", 0), ("k", 0), ("j", 1)):
        page.keyboard.press(key)
        expect(heading).to_have_text(names[at])
        expect(place).to_contain_text(re.compile(rf"^{at + 1} of \d+"))
    place.get_by_role("link", name="Next account").click()
    expect(heading).to_have_text(names[2])
    page.locator(".crumb a").click()
    page.wait_for_url(lambda url: url.endswith(address))
    desk.without_complaint()


def test_arrows_walk_the_items_of_a_sheet(desk: Any, addresses: dict[str, str]) -> None:
    page = desk.page
    page.goto(addresses["account"])
    items = page.locator("table[data-rows] tbody a.name")
    cursor = page.locator("tr.cursor a.name")
    page.keyboard.press("ArrowDown")
    expect(cursor).to_have_text(items.nth(0).inner_text())
    page.keyboard.press("ArrowDown")
    expect(cursor).to_have_text(items.nth(1).inner_text())
    page.keyboard.press("ArrowUp")
    expect(cursor).to_have_text(items.nth(0).inner_text())
    before = page.url
    # Not from a list: there is nobody before or after.
    page.keyboard.press("j")
    expect(cursor).to_have_text(items.nth(0).inner_text())
    assert page.url == before
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("account of the list it came from")
    page.keyboard.press("Escape")


def test_the_rail_counts_what_waits(desk: Any, client: Any) -> None:
    page = desk.page
    figures = client.get("/v1/reports/dashboard")
    page.goto("/agenda")
    rail = page.get_by_role("navigation", name="Main", exact=True)
    expect(rail.get_by_role("link", name=re.compile("^Agenda"))).to_contain_text(str(figures["actionsDue"]))
    expect(rail.get_by_role("link", name=re.compile("^Disputes"))).to_contain_text(str(figures["casesOpen"]))
    page.goto("/templates")
    expect(rail.get_by_role("link", name=re.compile("^Agenda"))).to_contain_text(re.compile(r"\d"))


def test_only_ticked_items_are_written_about(desk: Any, client: Any, addresses: dict[str, str]) -> None:
    page = desk.page
    action = next(
        one
        for one in client.get("/v1/actions", pageSize=200)["actions"]
        if one["step"]["channel"] == "EMAIL"
        and len(one["itemIds"]) > 1
        and one["actionId"] not in addresses["composer"]
    )
    page.goto(f"/agenda/{action['actionId']}")
    boxes = page.locator("input[name=item]")
    expect(boxes).to_have_count(len(action["itemIds"]))
    preview, bar = page.frame_locator("iframe[name=mail-preview]").locator("body"), page.locator("#mail-total")
    first = page.locator("label.it").nth(0).locator("b").inner_text()
    expect(preview).to_contain_text(first)
    boxes.nth(0).uncheck()
    expect(bar.locator("[data-count]")).to_have_text(str(len(action["itemIds"]) - 1))
    expect(preview).not_to_contain_text(first)
    # The whole subject can be read.
    subject = page.get_by_label("Subject")
    subject.fill("A long subject " * 15)
    assert subject.evaluate("box => box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight + 1")
    # An emptied text is never the template's again.
    editor = page.get_by_role("textbox", name="Message text")
    editor.fill("")
    expect(page.locator("#checks")).to_contain_text("The message has no text.")
    page.get_by_role("button", name=re.compile(r"^Send(?! and)")).click()
    expect(page.locator("#body-m")).to_contain_text("The message has no text.")
    expect(page.get_by_role("textbox", name="Message text")).to_have_attribute("aria-invalid", "true")
    assert boxes.nth(0).is_checked() is False
    desk.complaints.clear()  # The browser says that the answer was 422.
    assert desk.violations() == []
    page.get_by_role("textbox", name="Message text").fill("Please see below. #items_list_selected")
    page.get_by_role("button", name=re.compile(r"^Send(?! and)")).click()
    page.wait_for_url(re.compile(r"/messages/[0-9a-f-]{36}"))
    message = client.sent(page.url.rsplit("/", 1)[1].partition("?")[0])
    assert {item["itemId"] for item in message["items"]} == set(action["itemIds"]) - {
        item["itemId"] for item in client.items(action["accountId"]).values() if item["number"] == first
    }
    desk.without_complaint()


def test_a_dropped_file_goes_up_with_its_progress_seen(desk: Any, client: Any) -> None:
    page = desk.page
    page.goto("/imports/new?into=FR01")
    zone = page.locator("form[data-drop]")
    expect(zone).to_be_visible()
    page.evaluate(
        """() => {
            window.seen = [];
            const bar = document.querySelector('.drop-p progress'), figures = document.querySelector('[data-figures]');
            new MutationObserver(() => window.seen.push([bar.hasAttribute('value') ? bar.value : -1, figures.textContent]))
                .observe(document.querySelector('.drop-p'), { attributes: true, childList: true, subtree: true });
        }"""
    )
    # A line as slow as an office's, so that several megabytes take a while.
    session = desk.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2 * MEGABYTE}
    session.send("Network.emulateNetworkConditions", slow)
    page.evaluate(
        "window.addEventListener('pagehide', () => sessionStorage.setItem('seen', JSON.stringify(window.seen)))"
    )
    dropped = page.evaluate_handle(
        """size => {
            const head = 'Account number;Name;Invoice;Invoice date;Due date;Amount;Note\\n', lines = [head];
            for (let n = 0, at = 0; at < size; n += 1) {
                const line = `D-${n % 50};C${n % 50};INV-${n};2026-06-01;2026-06-30;${n % 900 + 100}.00;${'x'.repeat(2000)}\\n`;
                lines.push(line); at += line.length;
            }
            const files = new DataTransfer();
            files.items.add(new File(lines, 'dropped.csv', { type: 'text/csv' }));
            return files;
        }""",
        4 * MEGABYTE,
    )
    zone.dispatch_event("dragover", {"dataTransfer": dropped})
    expect(zone).to_have_class(re.compile(r"\bover\b"))
    zone.dispatch_event("drop", {"dataTransfer": dropped})
    expect(page.locator(".drop-p")).to_be_visible()
    expect(page.locator("[data-name]")).to_have_text("dropped.csv")
    expect(page.locator("[data-figures]")).to_contain_text("%")
    desk.shot("upload-progress")
    page.wait_for_url(re.compile(r"/imports/[0-9a-f-]{36}"), timeout=60_000)
    session.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    session.detach()
    seen = page.evaluate("JSON.parse(sessionStorage.getItem('seen'))")
    values = [value for value, _ in seen if value >= 0]
    assert values == sorted(values)
    assert len({value for value in values if 0 < value < 100}) >= 3, values
    assert any("MB" in text for _, text in seen)
    run = client.settled(page.url.rsplit("/", 1)[1].partition("?")[0])
    assert run["fileName"] == "dropped.csv"
    assert int(run["sizeBytes"]) > 4 * MEGABYTE
    desk.without_complaint()


def test_the_customer_finds_the_bank_account_and_its_code(window: Any, platform: Any, client: Any) -> None:
    account = next(
        one
        for one in client.get("/v1/accounts", filter='entityCode="FR01"', pageSize=100)["accounts"]
        if len([item for item in client.items(one["accountId"]).values() if item["collectable"]["amount"] > "0"]) > 1
        and any(balance["overdue"]["amount"] not in ("0.00", "0") for balance in one["balances"])
    )
    once = {"Idempotency-Key": str(uuid.uuid4())}
    link = client.post("/v1/links", {"accountId": account["accountId"], "language": "en"}, headers=once)["url"]
    phone = window(platform.portal_url, viewport=PHONE, has_touch=True, is_mobile=True)
    page = phone.page
    page.goto(link)
    page.get_by_role("link", name="Pay by transfer").click()
    bank = page.locator("#bank")
    expect(bank).to_be_in_viewport()
    expect(bank).to_contain_text(IBAN_IN_GROUPS)
    code = bank.locator("[data-qr]")
    expect(code.locator("svg")).to_be_visible()
    for box in page.locator("input[name=item]").all():
        box.set_checked(False)
    expect(bank.locator(".qr-row")).to_be_hidden()
    page.locator("input[name=item]").first.check()
    expect(code.locator("svg")).to_be_visible()
    chosen = re.sub(r"[^0-9.]", "", bank.locator(".p-sum").inner_text())
    assert f"\nEUR{chosen}\n" in (code.get_attribute("data-qr") or "")
    assert phone.overflow_px() <= 0
    assert phone.violations() == []
    phone.shot("portal-bank-phone")
    phone.page.set_viewport_size({"width": 1440, "height": 900})
    phone.shot("portal-bank-desktop")
    phone.without_complaint()
