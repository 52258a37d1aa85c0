"""Documents in the pages: added to an item, shown to the customer, matched by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(20)
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def book(client: Any, fixture_file: Any) -> dict[str, Any]:
    """An entity with items, one of them with its invoice."""
    entity = client.new_entity()
    client.upload(entity, fixture_file("open_items_fr.csv"))
    client.upload(entity, fixture_file("contacts.csv"), "contacts.csv", object="contacts")
    account = client.account(entity, "0001042")["accountId"]
    items = client.items(account)
    answer = client.request(
        "POST",
        "/v1/documents",
        data={"entity": entity},
        files=[("file", ("FA-1001.pdf", PDF)), ("file", ("zz.pdf", PDF))],
    )
    assert answer.status_code == 201, answer.text
    invoice, unmatched = answer.json()["documents"]
    assert invoice["itemIds"] == [items["FA-1001"]["itemId"]]
    assert unmatched["itemIds"] == []
    return {"entity": entity, "account": account, "items": items, "invoice": invoice["documentId"]}


def checked(window: Any, name: str) -> None:
    """Nothing is complained of, nothing sticks out, everybody can use it."""
    window.shot(name)
    assert window.violations() == []
    assert window.overflow_px() == 0
    window.without_complaint()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_collector_adds_a_document_and_shows_it_to_the_customer(
    window: Any, person: Any, platform: Any, client: Any, book: dict[str, Any], tmp_path: Path, language: str
) -> None:
    desk = window(platform.gateway_url)
    desk.sign_in(*person(language))
    page = desk.page
    number = {"en": "FA-1001", "fr": "FA-1002"}[language]
    item_id = book["items"][number]["itemId"]
    page.goto(f"/items/{item_id}")
    panel = page.locator("#documents")
    expect(panel).to_be_visible()
    if language == "en":
        expect(panel.get_by_role("link", name="FA-1001.pdf")).to_be_visible()
    panel.locator("details summary").last.click()
    file = tmp_path / f"proof {language}.png"
    file.write_bytes(PNG)
    panel.locator("input[type=file]").set_input_files(file)
    panel.locator("input[name=description]").last.fill("Signed delivery note")
    panel.locator("input[name=customer]").last.check()
    panel.locator("button.btn-primary").click()
    expect(panel.get_by_role("link", name=file.name)).to_be_visible()
    expect(panel).to_contain_text("Signed delivery note")
    checked(desk, f"documents-item-{language}")
    with page.expect_download() as download:
        panel.get_by_role("link", name=file.name).click()
    assert Path(download.value.path()).read_bytes() == PNG
    desk.without_complaint()
    # Hidden again: the form of the document itself.
    mine = panel.locator("[data-document]", has_text=file.name)
    mine.locator("summary").click()
    mine.locator("input[name=customer]").uncheck()
    mine.locator("button", has_text={"en": "Save", "fr": "Enregistrer"}[language]).click()
    expect(mine.locator(".chip", has_text={"en": "Customer sees it", "fr": "Vu du client"}[language])).to_have_count(0)
    page.goto(f"/items/{item_id}/documents")
    checked(desk, f"documents-alone-{language}")


def test_what_is_no_pdf_is_refused_on_the_page(
    window: Any, person: Any, platform: Any, book: Any, tmp_path: Path
) -> None:
    desk = window(platform.gateway_url)
    desk.sign_in(*person("fr"))
    page = desk.page
    page.goto(f"/items/{book['items']['FA-1003']['itemId']}/documents")
    panel = page.locator("#documents")
    panel.locator("details summary").last.click()
    file = tmp_path / "facture.pdf"
    file.write_bytes(PNG)
    panel.locator("input[type=file]").set_input_files(file)
    panel.locator("button.btn-primary").click()
    expect(panel.get_by_role("alert")).to_contain_text("le contenu n'est pas un pdf", ignore_case=True)
    checked(desk, "documents-refused-fr")


@pytest.mark.parametrize(("language", "size"), [("en", None), ("fr", PHONE)])
def test_a_document_without_an_item_is_matched_by_hand(
    window: Any, person: Any, platform: Any, client: Any, book: dict[str, Any], tmp_path: Path, language: str, size: Any
) -> None:
    desk = window(platform.gateway_url, **({"viewport": size} if size else {}))
    desk.sign_in(*person(language))
    page = desk.page
    page.goto("/imports/documents")
    name = f"scan {language}.pdf"
    file = tmp_path / name
    file.write_bytes(PDF + language.encode())
    page.locator("select[name=entity]").first.select_option(book["entity"])
    page.locator("input[type=file]").set_input_files(file)
    page.locator("form[enctype] button.btn-primary").click()
    row = page.locator("tr", has_text=name)
    expect(row).to_be_visible()
    checked(desk, f"documents-unmatched-{language}")
    row.locator("input[name=number]").fill("nothing like it")
    row.locator("form").first.locator("button").click()
    expect(page.get_by_role("alert").first).to_contain_text(book["entity"])
    desk.complaints.clear()  # The browser itself notes the answer 422.
    row.locator("input[name=number]").fill("FA-1003")
    row.locator("form").first.locator("button").click()
    expect(page.locator("tr", has_text=name)).to_have_count(0)
    found = client.get(f"/v1/items/{book['items']['FA-1003']['itemId']}/documents")["documents"]
    assert name in [one["fileName"] for one in found]


def test_the_customer_opens_his_invoice_from_the_e_mail_s_link(window: Any, client: Any, book: dict[str, Any]) -> None:
    action = client.action(book["account"])
    message = client.sent(client.post(f"/v1/actions/{action['actionId']}:send")["messageId"])
    guest = window(re.match(r"https?://[^/]+", message["portalLink"])[0])
    page = guest.page
    page.goto(message["portalLink"])
    link = page.locator(".p-item", has_text="FA-1001").locator("a.pdf-l")
    expect(link).to_be_visible()
    checked(guest, "documents-portal")
    fetched = page.request.get(link.get_attribute("href"))
    assert (fetched.status, fetched.body()) == (200, PDF)
    with page.expect_download() as download:
        link.click()
    assert Path(download.value.path()).read_bytes() == PDF
    assert download.value.suggested_filename == "FA-1001.pdf"
    page.goto("/d/eyJ4.AAAA")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    guest.shot("documents-gone")
