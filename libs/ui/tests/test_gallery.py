"""The gallery in a browser under the strict policy: what people see, hear and press."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from ui.gallery import PAGES

AXE = Path(__file__).resolve().parents[3] / "node_modules" / "axe-core" / "axe.min.js"
# Where to leave pictures for looking at; none are taken without it.
SHOTS = os.environ.get("UI_SHOTS")


@contextmanager
def page_at(chromium, url, *, width=1440, theme="light", language="en"):
    """A page in a browser of its own; fails on script errors and on anything the policy refused."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900 if width > 720 else 844}, color_scheme=theme, locale=language
    )
    page = context.new_page()
    page.set_default_timeout(5000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if "Content Security Policy" in m.text else None)
    page.add_init_script(
        "window.refused = []; document.addEventListener('securitypolicyviolation', "
        "e => refused.push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sample))"
    )
    page.goto(url + ("&" if "?" in url else "?") + f"lang={language}")
    page.wait_for_load_state("load")
    yield page
    assert page.evaluate("window.refused") == []
    assert wrong == []
    context.close()


def axe(page):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make assets")
    # The checker itself needs what the policy forbids; the page was already rendered under it.
    page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    page.evaluate(AXE.read_text("utf-8") + ";0")
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(result["passes"]) > 10
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in result["violations"]]


ACCESSIBLE = [
    *((f"/{page}", "light", "en", 1440) for page in PAGES),
    *((f"/{page}", "dark", "fr", 1440) for page in ("components", "account", "dashboard")),
    ("/agenda", "dark", "fr", 320),
    ("/forms?errors=1", "dark", "en", 390),
    ("/signin", "dark", "fr", 320),
    ("/portal/", "light", "en", 1440),
    ("/portal/", "dark", "fr", 320),
]


@pytest.mark.parametrize(("path", "theme", "language", "width"), ACCESSIBLE)
def test_page_is_accessible(chromium, address, path, theme, language, width):
    with page_at(chromium, address + path, width=width, theme=theme, language=language) as page:
        if "/portal" not in path:
            assert page.evaluate("document.documentElement.dataset.bsTheme") == theme
        if SHOTS:
            page.wait_for_load_state("networkidle")
            name = re.sub(r"\W+", "-", f"{path}-{theme}-{language}-{width}").strip("-")
            page.screenshot(path=Path(SHOTS) / f"{name}.png")
        assert axe(page) == []


def test_no_page_scrolls_sideways(chromium, address):
    paths = [*(f"/{page}" for page in PAGES), "/forms?errors=1", "/signin", "/error/503", "/portal/", "/portal/thanks"]
    with page_at(chromium, address + "/components", width=320, language="fr") as page:
        for path in paths:
            page.goto(address + path + ("&" if "?" in path else "?") + "lang=fr")
            for width in (320, 720, 721, 1000, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_axe_would_notice(chromium, address):
    with page_at(chromium, address + "/signin") as page:
        page.evaluate("document.querySelector('label').remove()")
        assert "label" in [name for name, _ in axe(page)]


def test_totals_are_exact_per_currency_and_collectable(chromium, address):
    with page_at(chromium, address + "/account") as page:
        bar = page.locator("#total")
        assert bar.locator("[data-sum]").inner_text() == "EUR\u00a0139,912.40"
        assert bar.locator("[data-coll]").inner_text() == "EUR\u00a0121,562.40"
        page.get_by_label("Tick FA-260631").check()
        page.get_by_label("Tick AV-260071").check()
        assert bar.locator("[data-count]").inner_text() == "6"
        assert re.findall(r"[A-Z]{3}\u00a0\S+", bar.locator("[data-sum]").inner_text()) == [
            "EUR\u00a0136,792.40", "GBP\u00a06,480.00",
        ]  # fmt: skip
        # A sum no double could hold: 90,071,992,547,409.93 and a cent.
        page.evaluate("document.querySelector('[value=FA-260588]').dataset.amounts = 'EUR 9007199254740993 2'")
        page.get_by_label("Tick FA-260597").uncheck()
        page.get_by_label("Tick FA-260604").uncheck()
        page.get_by_label("Tick FA-260623").uncheck()
        page.get_by_label("Tick AV-260071").uncheck()
        assert "EUR\u00a090,071,992,547,409.93" in bar.locator("[data-sum]").inner_text()


def test_tick_all_means_all_rows_of_the_filter(chromium, address):
    with page_at(chromium, address + "/account") as page:
        everything = page.locator("#total [data-all]")
        assert everything.is_hidden()
        page.get_by_label("Tick all collectable").check()
        assert page.locator("#total [data-count]").inner_text() == "10"
        everything.click()
        assert page.locator("#total [data-count]").inner_text() == "124"
        assert page.locator("[name=all_of_filter]").input_value() == "1"
        page.get_by_label("Tick FA-260588").uncheck()
        assert page.locator("[name=all_of_filter]").input_value() == ""
        assert page.locator("#total [data-count]").inner_text() == "9"


def test_totals_in_french_stand_as_the_server_writes_them(chromium, address):
    with page_at(chromium, address + "/account", language="fr") as page:
        assert page.locator("#total [data-sum]").inner_text() == "139\u202f912,40\u00a0EUR"


def test_keys_move_tick_preview_and_open(chromium, address):
    with page_at(chromium, address + "/agenda") as page:
        cursor = page.locator("tr.cursor a.name")
        assert cursor.inner_text() == "Norrland Papper AB"
        page.keyboard.press("j")
        assert cursor.inner_text() == "Quaystone Marine Ltd"
        page.locator("#preview h2", has_text="Quaystone Marine Ltd").wait_for()
        assert "Quaystone Marine Ltd" in page.locator("#announce").inner_text()
        page.keyboard.press("x")
        assert page.locator("tr.cursor input").is_checked()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("Shift+X")
        assert page.locator("#confirm [data-count]").inner_text() == "5"
        page.keyboard.press("k")
        page.keyboard.press("r")  # At once: it waits for the preview of the row the cursor is on now.
        page.locator("dialog#date").wait_for()
        assert page.locator("#preview h2").first.inner_text() == page.locator("tr.cursor a.name").inner_text()
        page.keyboard.press("Escape")
        page.locator("tr.cursor").evaluate("document.activeElement.blur()")
        page.keyboard.press("Enter")
        page.wait_for_url("**/account*")


def test_letters_are_off_in_fields_and_when_switched_off(chromium, address):
    with page_at(chromium, address + "/agenda") as page:
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "q"
        page.keyboard.type("jx")
        assert page.locator("tr.cursor a.name").inner_text() == "Norrland Papper AB"
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("?")
        page.locator("#keys").get_by_label("Single letters act").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        assert page.locator("tr.cursor a.name").inner_text() == "Norrland Papper AB"


def test_g_then_a_letter_goes_there(chromium, address):
    with page_at(chromium, address + "/agenda") as page:
        page.keyboard.press("g")
        page.keyboard.press("i")
        page.wait_for_url("**/wizard*")


def test_dialogs_trap_and_give_back_focus(chromium, address):
    with page_at(chromium, address + "/components") as page:
        opener = page.get_by_role("button", name="Dialog")
        opener.click()
        dialog = page.locator("dialog#demo")
        for _ in range(8):
            page.keyboard.press("Tab")
            assert page.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog#demo')"
            )
        assert axe(page) == []
        page.keyboard.press("Escape")
        assert dialog.is_hidden()
        assert opener.evaluate("e => e === document.activeElement")


def test_menu_opens_below_its_button_and_walks_with_arrows(chromium, address):
    with page_at(chromium, address + "/components") as page:
        button = page.get_by_role("button", name="More")
        button.click()
        menu = page.get_by_role("menu", name="More")
        assert menu.get_by_role("menuitem").first.evaluate("e => e === document.activeElement")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.textContent.trim()") == "Remove"
        place, at = menu.bounding_box(), button.bounding_box()
        assert abs(place["y"] - at["y"] - at["height"] - 4) < 2 or place["y"] + place["height"] <= at["y"]
        page.keyboard.press("Escape")
        assert menu.is_hidden()


def test_charts_are_drawn_from_their_tables_in_both_appearances(chromium, address):
    with page_at(chromium, address + "/dashboard") as page:
        page.locator("#c-aging svg").wait_for()
        assert page.locator("#c-aging svg path").count() > 72  # Twelve months of six ages.
        box = page.locator("#c-cash").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator("#c-cash svg text", has_text="By habit").first.wait_for()
        light = page.locator("#c-aging svg").inner_html()
        page.get_by_role("button", name="Switch to dark appearance").click()
        assert page.locator("#c-aging svg").inner_html() != light
        assert {c["name"]: c["value"] for c in page.context.cookies()}["q_theme"] == "dark"
        page.get_by_role("button", name="Show Aging as a table").click()
        assert page.locator("#c-aging").is_hidden()
        assert page.locator("#c-aging-t").get_by_role("cell", name="2,105,000").is_visible()
        page.reload()
        assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
        page.locator("#c-dso svg").wait_for()
        row = page.locator("#c-aging").bounding_box()
        page.mouse.click(row["x"] + row["width"] / 2, row["y"] + row["height"] * 0.7)
        page.wait_for_url("**/account*")


@pytest.mark.parametrize(
    ("typed", "iso"),
    [
        ("22/9", "2026-09-22"),
        ("+7", "2026-09-22"),
        ("fri", "2026-09-18"),
        ("tue", "2026-09-22"),
        ("22 sep 27", "2027-09-22"),
        ("3.1.", "2027-01-03"),
        ("2026-10-05", "2026-10-05"),
        ("today", "2026-09-15"),
        ("20", "2026-09-20"),
        ("29/2/2028", "2028-02-29"),
        ("31 Sep 2026", ""),
        ("nonsense", ""),
        ("29/2/2027", ""),
    ],
)
def test_dates_as_people_write_them(chromium, address, typed, iso, request):
    page = request.getfixturevalue("date_page")
    field = page.get_by_label("Promise date")
    field.fill(typed)
    field.blur()
    assert page.locator("[name=on]").input_value() == iso
    hint = page.locator("[data-date-field] .form-hint").inner_text()
    assert ("t-bad" in (page.locator("[data-date-field] .form-hint").get_attribute("class") or "")) == (iso == "")
    if typed == "31 Sep 2026":
        assert hint == "September has 30 days."
    if typed == "22/9":
        assert field.input_value() == "22\u00a0Sep\u00a02026"
        assert hint == "Tue\u00a022\u00a0Sep\u00a02026"


@pytest.fixture(scope="module")
def date_page(chromium, address):
    with page_at(chromium, address + "/forms") as page:
        yield page


def test_file_goes_up_and_refusals_stay_by_the_field(chromium, address):
    with page_at(chromium, address + "/wizard") as page:
        chooser = page.locator("form.drop-q input[type=file]")
        chooser.set_input_files({"name": "x.exe", "mimeType": "text/csv", "buffer": b"a"})
        assert "x.exe" in page.locator(".drop-q [data-error]").inner_text()
        chooser.set_input_files({"name": "x.bad.csv", "mimeType": "text/csv", "buffer": b"a;b"})
        page.locator(".drop-q [data-error]", has_text="row 3 has 4 columns").wait_for()
        with page.expect_navigation(url="**/wizard?uploaded=1"):
            chooser.set_input_files({"name": "x.csv", "mimeType": "text/csv", "buffer": b"a;b\n" * 100000})


def test_long_job_shows_its_progress(chromium, address):
    with page_at(chromium, address + "/components") as page:
        page.locator("[data-sse-text]", has_text="All rows read").wait_for()
        assert page.locator("[data-sse-figures]").inner_text() == "1,204 of 1,204"
        assert page.locator("[data-sse-bar]").evaluate("e => e.value") == 1204


def test_htmx_answers_toast_and_faults_show_a_banner(chromium, address):
    with page_at(chromium, address + "/components") as page:
        with page.expect_request("**/act") as sent:
            page.get_by_role("button", name="Toast").click()
        assert sent.value.headers["x-csrf-token"] == "gallery"
        page.locator("#toasts", has_text="Promise kept for 4 items.").wait_for()
        assert page.locator("#toasts").get_by_role("button", name="Undo").is_visible()
        page.get_by_role("button", name="Fault").click()
        page.get_by_role("alert").filter(has_text="The server did not answer. Nothing was changed.").wait_for()


def test_portal_sums_copies_and_works_without_script(chromium, address):
    with page_at(chromium, address + "/portal/") as page:
        page.get_by_label("Choose FA-260588").uncheck()
        assert page.locator("[data-mirror]").inner_text() == "EUR\u00a079,382.40"
        page.locator(".qr svg").wait_for()
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy IBAN").click()
        assert page.evaluate("navigator.clipboard.readText()") == "FR76 9999 9000 0100 0000 0000 000"
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(address + "/portal/?lang=en")
    assert page.locator(".p-sheet").inner_text().startswith("4")
    page.locator(".p-sheet").get_by_role("button", name="Say when we pay").click()
    assert "answer=promise" in page.url
    assert "item=FA-260588" in page.url
    context.close()
