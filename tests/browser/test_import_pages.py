"""An import as a person goes through it: question, consequences, control totals, apply, report, take back."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

HEAD = "Customer;Name;Invoice No;Invoice Date;Due Date;Currency;Amount;Paid on\n"


def rows(first: int, last: int, date: str = "{:02d}/03/2026", amount: str = "{}0,50", paid: str = "") -> bytes:
    lines = [
        f"W{n % 4};Walker {n % 4};WR{n};{date.format(n % 15 + 13)};20/04/2026;EUR;{amount.format(n)};{paid}"
        for n in range(first, last)
    ]
    return (HEAD + "\n".join(lines) + "\n").encode()


@pytest.fixture
def books(client: Any) -> str:
    """An entity with thirty open items."""
    entity = client.new_entity()
    assert client.upload(entity, rows(1, 31), "first.csv")["state"] == "APPLIED"
    return entity


@pytest.fixture
def reader(window: Any, platform: Any, person: Any) -> Any:
    """reader(language) -> a signed-in window."""

    def open_window(language: str, **options: Any) -> Any:
        opened = window(platform.gateway_url, **options)
        opened.sign_in(*person(language))
        return opened

    return open_window


def test_a_complete_file_is_seen_through_to_its_report_and_taken_back(client: Any, books: str, reader: Any) -> None:
    content = rows(1, 3, paid="25/04/2026") + rows(3, 29).split(b"\n", 1)[1] + rows(40, 44).split(b"\n", 1)[1]
    run = client.upload(books, content, "stock.csv", apply=False, mode="stock")
    assert run["state"] == "PREVIEWED"
    plan = run["consequences"]
    assert (plan["created"], plan["cleared"], plan["clearedAbsent"], plan["unchanged"]) == (4, 2, 2, 26)
    before = {one["number"] for one in client.items(client.account(books, "W1")["accountId"]).values()}
    desk = reader("en")
    page = desk.page
    page.goto(f"/imports/{run['importId']}")
    expect(page.get_by_role("heading", name="Row by row")).to_be_visible()
    expect(page.locator("#effects")).to_contain_text("Settled: not in the file")
    assert desk.violations() == []
    # Keyboard alone: a wrong total is asked about, the right one is not.
    page.get_by_label("Items expected in EUR").focus()
    page.keyboard.type("31")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The control totals differ").first).to_be_attached()
    assert client.get(f"/v1/imports/{run['importId']}")["state"] == "QUESTIONS"
    page.get_by_label("Items expected in EUR").fill("32")
    page.keyboard.press("Enter")
    expect(page.locator("#totals")).to_contain_text("agrees")
    assert {one["number"] for one in client.items(client.account(books, "W1")["accountId"]).values()} == before
    page.get_by_role("button", name=re.compile(r"^Apply 32 rows")).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What happened")).to_be_visible(timeout=60_000)
    report = client.settled(run["importId"])
    assert (report["state"], report["rowCounts"]["clearedAbsent"]) == ("APPLIED", 2)
    assert report["balances"][0]["openAfter"] == plan["balances"][0]["openAfter"]
    assert desk.violations() == []
    page.get_by_role("link", name="Take back").click()
    expect(page.get_by_role("heading", name="What would happen")).to_be_visible()
    assert desk.violations() == []
    page.get_by_role("button", name="Take the file back").click()
    expect(page.get_by_text("This file was taken back.")).to_be_visible(timeout=60_000)
    assert {one["number"] for one in client.items(client.account(books, "W1")["accountId"]).values()} == before
    desk.without_complaint()


def test_totals_come_with_the_file_and_a_difference_needs_a_reason(client: Any, books: str) -> None:
    totals = json.dumps([{"currency": "EUR", "itemCount": 9, "total": {"currency": "EUR", "amount": "1.00"}}])
    run = client.upload(books, rows(50, 55), "few.csv", controlTotals=totals)
    assert (run["state"], [one["code"] for one in run["questions"]]) == ("QUESTIONS", ["controlTotals"])
    path = f"/v1/imports/{run['importId']}"
    refused = client.request("POST", f"{path}:apply", json={"answers": {"controlTotals": "APPLY"}})
    assert refused.status_code == 400
    client.post(f"{path}:apply", {"answers": {"controlTotals": "APPLY", "controlTotalsReason": "counted twice"}})
    assert client.settled(run["importId"])["state"] == "APPLIED"
    effects = client.get(f"{path}/effects", pageSize=2)
    assert (effects["totalSize"], len(effects["effects"])) == (5, 2)
    answer = client.request("GET", f"{path}/effects.csv")
    assert (answer.status_code, answer.text.count("created")) == (200, 5)


@pytest.mark.parametrize(
    "language,options", [("fr", {"color_scheme": "dark"}), ("fr", {"viewport": {"width": 390, "height": 844}})]
)
def test_the_steps_are_readable_in_the_dark_and_on_a_phone(
    client: Any, books: str, reader: Any, language: str, options: dict
) -> None:
    asked = client.upload(books, rows(1, 4), "small.csv", mode="stock")
    assert [one["code"] for one in asked["questions"]] == ["stockGuard"]
    desk = reader(language, **options)
    for path in ("/imports?state=QUESTIONS", f"/imports/new?into={books}", f"/imports/{asked['importId']}"):
        desk.page.goto(path)
        assert desk.violations() == [], path
        assert desk.overflow_px() == 0, path
    expect(desk.page.locator("body")).to_contain_text("Face au grand livre")
    desk.without_complaint()
