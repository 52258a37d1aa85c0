"""Every page, in both appearances and languages: accessible, quiet in the console, and no wider than a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

PAGES = (
    "sign-in agenda agenda-ahead composer call action-over message answers answer-waiting answer-decided promises "
    "accounts account account-sample item disputes dispute credit-risk dashboard aging items dso search imports "
    "import-upload import-question import-rejects import-report scenarios templates template settings profile "
    "not-found portal portal-ended"
).split()
# Pages for somebody who is not signed in.
STRANGERS = frozenset({"sign-in", "portal", "portal-ended"})
LANGUAGES = ("en", "fr")
THEMES = ("light", "dark")
# Checked at the width of a phone as well: the customer's page, and what a collector looks up on the way.
ON_A_PHONE = frozenset({"portal", "agenda", "account"})
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1440, "height": 900}
# What the browser says about an answer that is itself the page under test.
ANSWERED = {"not-found": "status of 404", "portal-ended": "status of 4"}


@pytest.fixture(scope="module")
def readers(window, person, platform) -> Iterator[dict[tuple[str, bool], object]]:
    """A window for each language, signed in and not; the appearance is switched in it, by the page's own button."""
    found = {}
    for language in LANGUAGES:
        for signed_in in (True, False):
            reader = window(platform.gateway_url, locale="fr-FR" if language == "fr" else "en-GB")
            if signed_in:
                reader.sign_in(*person(language))
                reader.without_complaint()
            found[language, signed_in] = reader
    return found


def appearances(page) -> Iterator[str]:
    """Shows the page in each appearance there is; customers' pages are always light."""
    if page.locator("[data-theme-toggle]").count() == 0:
        yield "light"
        return
    for _ in THEMES:
        yield page.evaluate("document.documentElement.dataset.bsTheme")
        page.locator("[data-theme-toggle]").first.dispatch_event("click")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_quiet_and_fits_a_phone(readers: dict, addresses: dict[str, str], name: str) -> None:
    if name not in addresses:
        pytest.skip("the sample group has no such action today")
    for language in LANGUAGES:
        reader = readers[language, name not in STRANGERS]
        page = reader.page
        page.set_viewport_size(DESKTOP)
        page.goto(addresses[name])
        expect(page.locator("h1")).to_have_count(1)
        if name not in STRANGERS:
            assert page.evaluate("document.documentElement.lang") == language
        # What htmx or a chart adds belongs to the page.
        page.wait_for_load_state("networkidle")
        reader.complaints = [one for one in reader.complaints if not (name in ANSWERED and ANSWERED[name] in one)]
        reader.without_complaint()
        seen = []
        for theme in appearances(page):
            seen.append(theme)
            page.set_viewport_size(DESKTOP)
            reader.shot(f"{name}-{theme}-{language}")
            assert reader.violations() == [], f"{name}, {theme}, {language}"
            page.set_viewport_size(PHONE)
            reader.shot(f"{name}-{theme}-{language}-phone")
            assert reader.overflow_px() <= 0, f"{name} scrolls sideways on a phone ({language})"
            if name in ON_A_PHONE:
                assert reader.violations() == [], f"{name}, {theme}, {language}, phone"
        assert sorted(seen) == (["light"] if name.startswith("portal") else sorted(THEMES))
        reader.complaints.clear()


def test_the_checker_would_notice(readers: dict) -> None:
    reader = readers["en", False]
    reader.page.goto("/sign-in")
    reader.page.evaluate("document.querySelector('label').remove()")
    assert "label" in [rule for rule, _ in reader.violations()]


def test_the_watcher_hears_what_the_policy_refuses(readers: dict) -> None:
    reader = readers["en", False]
    reader.page.goto("/sign-in")
    reader.without_complaint()
    with reader.page.expect_console_message():
        reader.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>')")
    assert any("Content Security Policy" in one for one in reader.complaints)
    reader.complaints.clear()


def test_keys_walk_the_agenda_and_open_what_the_cursor_is_on(readers: dict) -> None:
    reader = readers["en", True]
    page = reader.page
    page.set_viewport_size(DESKTOP)
    page.goto("/agenda")
    cursor = page.locator("tr.cursor a.name")
    names = page.locator("tr:has(a.name) a.name")
    assert names.count() > 2
    first, second = names.nth(0), names.nth(1)
    page.keyboard.press("j")
    expect(cursor).to_have_attribute("href", first.get_attribute("href"))
    page.keyboard.press("j")
    expect(cursor).to_have_attribute("href", second.get_attribute("href"))
    expect(page.locator("#preview h2").first).to_have_text(second.inner_text())
    page.keyboard.press("k")
    expect(cursor).to_have_attribute("href", first.get_attribute("href"))
    expect(page.locator("#preview h2").first).to_have_text(first.inner_text())
    target = first.get_attribute("href")
    page.keyboard.press("e")
    page.wait_for_url(lambda url: url.endswith(target))
    reader.without_complaint()


def test_letters_typed_into_a_field_stay_letters(readers: dict) -> None:
    reader = readers["en", True]
    page = reader.page
    page.goto("/agenda")
    page.keyboard.press("j")
    before = page.locator("tr.cursor a.name").get_attribute("href")
    page.keyboard.press("/")
    page.keyboard.type("jek")
    expect(page.locator("input[name=q]").first).to_have_value("jek")
    expect(page.locator("tr.cursor a.name")).to_have_attribute("href", before or "")


def test_the_sign_in_page_speaks_both_languages_before_anybody_is_known(readers: dict) -> None:
    page = readers["en", False].page
    page.goto("/sign-in")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_role("link", name="Français").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Se connecter")
