"""The main job as people do it: a collector at a desk, a customer with a telephone. Each step goes on from the last."""

import re
from typing import Any

import pytest
from flow_client import until
from playwright.sync_api import Page, expect

PHONE = {"width": 390, "height": 844}
SUBJECT = "Relance relue avant envoi"
SENTENCE = "Merci de nous répondre par le lien."


def amount(text: str) -> re.Pattern[str]:
    """An amount as pages write it, whatever blank stands between its parts."""
    return re.compile(r"\s".join(map(re.escape, text.split(" "))))


@pytest.fixture(scope="module")
def story(client: Any, fixture_file: Any) -> dict[str, Any]:
    """An entity with the files of three customers; what a step finds out is kept here for the next ones."""
    entity = client.new_entity()
    assert client.upload(entity, fixture_file("open_items_fr.csv"))["state"] == "APPLIED"
    assert client.upload(entity, fixture_file("contacts.csv"), "contacts.csv", object="contacts")["state"] == "APPLIED"
    account = client.account(entity, "0001042")["accountId"]
    return {"entity": entity, "account": account, "items": client.items(account)}


@pytest.fixture(scope="module")
def desk(window: Any, platform: Any) -> Any:
    """The collector's window."""
    return window(platform.gateway_url)


@pytest.fixture
def page(desk: Any) -> Any:
    """The collector's page; a step fails when the console or the policy complained during it."""
    yield desk.page
    desk.without_complaint()


@pytest.mark.usefixtures("story")  # First: pages keep the list of entities for half a minute.
def test_a_wrong_password_says_so_and_keeps_the_address(desk: Any, page: Page) -> None:
    page.goto("/")
    page.get_by_label("E-mail address").fill("admin@example.com")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Address or password is wrong.")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value("admin@example.com")
    assert [one for one in desk.complaints if "401" not in one] == []
    desk.complaints.clear()


def test_the_right_one_leads_to_the_first_page_of_the_role(desk: Any, page: Page, platform: Any) -> None:
    page.get_by_label("Password").fill(platform.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    expect(page.get_by_role("navigation").first).to_be_visible()
    desk.shot("story-01-signed-in")


def test_a_dropped_file_goes_up_and_asks_what_it_cannot_know(
    desk: Any, page: Page, story: dict, fixture_file: Any
) -> None:
    # The pages keep the list of entities for half a minute; this one was opened a moment ago, over the API.
    until(lambda: page.goto(f"/imports/new?entity={story['entity']}") and page.locator("form[data-drop]").count(),
          "the pages to know the new entity", 60)  # fmt: skip
    # One more column, so that no earlier file has taught the platform how this layout is to be read.
    lines = fixture_file("ambiguous_dates.csv").decode().splitlines()
    content = "".join(f"{line},{extra}\n" for line, extra in zip(lines, (story["entity"], "x", "y"), strict=True))
    dropped = page.evaluate_handle(
        "text => { const d = new DataTransfer(); d.items.add(new File([text], 'dates.csv', {type: 'text/csv'})); return d }",
        content,
    )
    page.locator("form[data-drop]").dispatch_event("drop", {"dataTransfer": dropped})
    page.wait_for_url(re.compile(r"/imports/[0-9a-f-]{36}"))
    story["import"] = page.url.rstrip("/").rsplit("/", 1)[1].partition("?")[0]
    expect(page.get_by_role("radio", name=re.compile("Day first")).first).to_be_visible()
    # Both readings are possible, so neither is proposed.
    assert page.locator("input[type=radio][name^='answer:']:checked").count() == 0
    desk.shot("story-02-question")


def test_the_answer_gives_a_preview_and_nothing_is_applied_yet(desk: Any, page: Page, client: Any, story: dict) -> None:
    for choice in page.get_by_role("radio", name=re.compile("Day first")).all():
        choice.check()
    page.get_by_role("button", name="Answer and see consequences").click()
    expect(page.get_by_role("button", name=re.compile(r"^Apply 2\b"))).to_be_visible()
    expect(page.get_by_role("radio", name=re.compile("Day first"))).to_have_count(0)
    run = client.get(f"/v1/imports/{story['import']}")
    assert (run["state"], run["questions"], run["rowCounts"]["read"]) == ("PREVIEWED", [], 2)
    assert client.get("/v1/accounts", filter=f'entityCode="{story["entity"]}" AND number="D-1"')["accounts"] == []
    desk.shot("story-03-preview")


def test_applying_leads_to_a_report_of_every_row(desk: Any, page: Page, client: Any, story: dict) -> None:
    page.get_by_role("button", name=re.compile(r"^Apply 2\b")).click()
    expect(page.get_by_text("What happened")).to_be_visible()
    report = page.locator("main")
    expect(report).to_contain_text(amount("300.00"))
    items = client.items(client.account(story["entity"], "D-1")["accountId"])
    assert {number: item["dueOn"] for number, item in items.items()} == {"INV-1": "2026-06-05", "INV-2": "2026-07-06"}
    desk.shot("story-04-report")


def test_the_account_sheet_counts_what_is_ticked_to_the_cent(desk: Any, page: Page, story: dict) -> None:
    page.goto(f"/accounts?entity={story['entity']}")
    page.get_by_role("link", name="Papeterie Exemple").first.click()
    page.wait_for_url(lambda url: f"/accounts/{story['account']}" in url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Papeterie Exemple")
    bar = page.locator("[data-totals-out]").filter(has=page.locator("[data-sum]")).first
    for box in page.get_by_role("checkbox", name=re.compile(r"^Tick (FA|AV)-")).all():
        box.uncheck()
    expect(bar.locator("[data-count]")).to_have_text("0")
    page.get_by_role("checkbox", name="Tick FA-1001").check()
    page.get_by_role("checkbox", name="Tick FA-1002").check()
    expect(bar.locator("[data-count]")).to_have_text("2")
    expect(bar.locator("[data-sum]")).to_have_text(amount("EUR 15,680.50"))
    page.get_by_role("checkbox", name="Tick AV-0007").check()
    expect(bar.locator("[data-sum]")).to_have_text(amount("EUR 15,560.50"))
    page.get_by_role("checkbox", name="Tick FA-1001").uncheck()
    expect(bar.locator("[data-sum]")).to_have_text(amount("EUR 3,080.00"))
    desk.shot("story-05-account")


def test_the_agenda_says_who_is_due_and_why(desk: Any, page: Page, story: dict) -> None:
    page.goto(f"/agenda?entity={story['entity']}")
    row = page.get_by_role("row").filter(has_text="Papeterie Exemple")
    expect(row).to_contain_text("FA-1001")
    expect(row).to_contain_text(amount("EUR 15,680.50"))
    desk.shot("story-06-agenda")
    row.get_by_role("link", name="Papeterie Exemple").click()
    page.wait_for_url(re.compile(r"/agenda/[0-9a-f-]{36}"))
    story["action"] = page.url


def test_the_proposed_e_mail_can_be_edited_and_its_preview_follows(desk: Any, page: Page) -> None:
    preview = page.frame_locator("iframe[name=mail-preview]")
    expect(preview.locator("body")).to_contain_text("FA-1001")
    expect(preview.locator("body")).to_contain_text("FA-1002")
    expect(preview.locator("body")).not_to_contain_text("FA-1003")
    page.get_by_label("Subject").fill(SUBJECT)
    editor = page.get_by_role("textbox", name="Message text")
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Enter")
    page.keyboard.type(SENTENCE)
    expect(preview.locator("body")).to_contain_text(SENTENCE)
    expect(preview.locator("body")).to_contain_text(SUBJECT)
    desk.shot("story-07-composer")


def test_it_is_sent_once_and_arrives_with_the_customers_link(desk: Any, page: Page, client: Any, story: dict) -> None:
    page.get_by_role("button", name=re.compile(r"^Send(?! and)")).click()
    page.wait_for_url(re.compile(r"/messages/[0-9a-f-]{36}"))
    message = client.sent(page.url.rsplit("/", 1)[1].partition("?")[0])
    assert (message["state"], message["subject"]) == ("SENT", SUBJECT)
    page.reload()
    expect(page.get_by_text("Sent", exact=True).first).to_be_visible()
    expect(page.frame_locator("iframe").first.locator("body")).to_contain_text(SENTENCE)
    story["link"] = page.get_by_role("link", name="The customer's page").get_attribute("href")
    desk.shot("story-08-message")
    mails = client.mails("compta@papeterie.example.com")
    assert [mail["subject"] for mail in mails].count(SUBJECT) == 1
    with desk.context.expect_page() as opened:
        page.get_by_role("link", name="Open in the mail sink").click()
    sink = opened.value
    expect(sink.locator("body")).to_contain_text(SUBJECT)
    sink.close()
    desk.complaints.clear()  # The sink is a tool beside the product.


def test_it_cannot_be_sent_again(page: Page, story: dict) -> None:
    page.goto(story["action"])
    expect(page.get_by_text("This action is over.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"^Send"))).to_have_count(0)


@pytest.fixture(scope="module")
def plain_phone(window: Any, platform: Any) -> Any:
    """The customer's telephone with scripts switched off."""
    return window(platform.portal_url, viewport=PHONE, java_script_enabled=False)


@pytest.fixture(scope="module")
def phone(window: Any, platform: Any) -> Any:
    """The customer's telephone."""
    return window(platform.portal_url, viewport=PHONE, has_touch=True, is_mobile=True)


def choose(page: Page, number: str) -> None:
    """Leaves only this invoice ticked."""
    for box in page.locator("input[name=item]").all():
        box.set_checked(number in (box.get_attribute("aria-label") or ""))
    assert page.locator("input[name=item]:checked").count() == 1


def test_the_customer_promises_a_date_without_script(plain_phone: Any, client: Any, story: dict) -> None:
    page = plain_phone.page
    page.goto(story["link"])
    secret = story["link"].rsplit("/", 1)[1]
    assert secret not in page.url
    expect(page.locator("main")).to_contain_text("FA-1001")
    assert client.get("/v1/responses", accountId=story["account"])["responses"] == []
    plain_phone.shot("story-09-portal-without-script")
    choose(page, "FA-1001")
    page.locator("button[name=answer][value=PROMISE]:visible").first.click()
    page.locator("input[name=on]").fill("2026-09-25")
    page.locator("button[name=send][value=PROMISE]").click()
    expect(page.get_by_role("status")).to_be_visible()
    plain_phone.without_complaint()
    [response] = client.get("/v1/responses", accountId=story["account"])["responses"]
    assert (response["kind"], response["promisedOn"]) == ("PROMISE", "2026-09-25")


def test_the_customer_disputes_an_invoice_on_a_telephone(phone: Any, client: Any, story: dict) -> None:
    page = phone.page
    page.goto(story["link"])
    choose(page, "FA-1002")
    expect(page.locator("[data-sum]:visible")).to_have_text(re.compile(r"3\D200,00|3,200\.00"))
    assert phone.overflow_px() <= 0
    phone.shot("story-10-portal-phone")
    page.locator("button[name=answer][value=DISPUTE]:visible").first.click()
    page.locator("select[name=reason]").select_option("PRICE")
    page.locator("[name^=amount-]").fill("500,00")
    page.locator("textarea[name=comment]").fill("Prix convenu 2 700")
    phone.shot("story-11-portal-dispute")
    page.locator("button[name=send][value=DISPUTE]").click()
    expect(page.get_by_role("status")).to_be_visible()
    phone.shot("story-12-portal-thanks")
    phone.without_complaint()
    kinds = [one["kind"] for one in client.get("/v1/responses", accountId=story["account"])["responses"]]
    assert sorted(kinds) == ["DISPUTE", "PROMISE"]


def test_the_collector_accepts_the_promise(desk: Any, page: Page, client: Any, story: dict) -> None:
    page.goto(f"/answers?entity={story['entity']}")
    rows = page.get_by_role("row").filter(has_text="Papeterie Exemple")
    expect(rows).to_have_count(2)
    desk.shot("story-13-answers")
    rows.filter(has_text="Promise").get_by_role("link", name="Papeterie Exemple").click()
    expect(page.get_by_role("button", name=re.compile("^Reject"))).to_be_visible()
    desk.shot("story-14-answer")
    page.get_by_role("button", name=re.compile("^Accept")).click()
    page.wait_for_load_state()
    holds = until(
        lambda: [hold["kind"] for hold in client.items(story["account"])["FA-1001"]["holds"]] == ["PROMISE"],
        "the promise to hold its item",
    )
    assert holds
    page.goto(f"/promises?entity={story['entity']}")
    expect(page.get_by_role("row").filter(has_text="FA-1001")).to_contain_text(amount("EUR 12,480.50"))
    desk.shot("story-15-promises")


def test_accepting_the_dispute_opens_a_case_for_a_part(desk: Any, page: Page, client: Any, story: dict) -> None:
    page.goto(f"/answers?entity={story['entity']}")
    page.get_by_role("row").filter(has_text="Dispute").get_by_role("link", name="Papeterie Exemple").click()
    page.get_by_label("Amount for FA-1002").fill("700.00")
    page.get_by_role("button", name=re.compile("^Accept")).click()
    page.wait_for_load_state()
    [case] = until(lambda: client.get("/v1/cases", accountId=story["account"])["cases"], "the case")
    page.goto(f"/disputes?entity={story['entity']}")
    page.get_by_role("link", name=case["number"]).click()
    expect(page.locator("main")).to_contain_text(case["number"])
    expect(page.locator("main")).to_contain_text(amount("EUR 700.00"))
    expect(page.locator("main")).to_contain_text("Prix convenu 2 700")
    desk.shot("story-16-case")
    item = client.items(story["account"])["FA-1002"]
    assert (item["held"]["amount"], item["collectable"]["amount"]) == ("700.00", "2500.00")


def test_each_figure_of_the_dashboard_links_to_its_rows(desk: Any, page: Page, story: dict) -> None:
    page.goto(f"/dashboard?entity={story['entity']}")
    figures = page.locator("a.kpi")
    expect(figures.first).to_be_visible()
    desk.shot("story-17-dashboard")
    for label, figure, numbers in (
        ("Disputed", "700", {"FA-1002"}),
        ("Promised", "12,480", {"FA-1001"}),
    ):
        page.goto(f"/dashboard?entity={story['entity']}")
        link = figures.filter(has=page.get_by_text(label, exact=True))
        expect(link).to_contain_text(figure)
        link.click()
        page.wait_for_url(lambda url: "/dashboard" not in url)
        rows = page.locator("main tbody tr").filter(has_text=re.compile(r"(FA|AV|INV)-\d"))
        expect(rows).to_have_count(len(numbers))
        for number in numbers:
            expect(rows.filter(has_text=number)).to_have_count(1)
    page.goto(f"/dashboard?entity={story['entity']}")
    expect(figures.first).to_be_visible()
    assert page.locator(".kpi:not(a)").count() == 0
    targets = [link.get_attribute("href") for link in figures.all()]
    assert len(targets) >= 5
    for target in targets:
        answer = page.goto(str(target))
        assert answer is not None
        assert answer.status == 200, target
        if "/reports?" in str(target) and "hold=" not in str(target):
            expect(page.locator("main")).to_contain_text("FA-1001")


def test_the_account_shows_what_became_of_it(desk: Any, page: Page, story: dict) -> None:
    page.goto(f"/accounts/{story['account']}")
    expect(page.get_by_role("row").filter(has_text="FA-1001")).to_contain_text("Promise")
    expect(page.get_by_role("row").filter(has_text="FA-1002")).to_contain_text("Dispute")
    desk.shot("story-18-account-after")


def test_a_person_signs_out(page: Page) -> None:
    page.goto("/profile")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/sign-in"))
    page.goto("/agenda")
    page.wait_for_url(re.compile("/sign-in"))
