"""What the templates say, without a browser: policy, languages, catalogs, helpers."""

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import render_template_string

import ui
from ui import catalogs, icons
from ui.gallery import PAGES

PACKAGE = Path(ui.__file__).parent
ADDRESSES = [*(f"/{page}" for page in PAGES), "/signin", "/error/503", "/portal/", "/portal/thanks"]
PORTAL_BUDGET_BYTES = 60_000


@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_carry_no_inline_style_script_or_handler(app, address):
    for language in ("en", "fr"):
        html = app.test_client().get(address, query_string=f"lang={language}&errors=1").text
        assert f'<html lang="{language}"' in html
        assert not re.search(r"<[^>]+\sstyle=|<style|<[^>]+\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:", html)
        assert len(re.findall(r"<h1[ >]", html)) == 1
        ids = re.findall(r'\sid="([^"]+)"', html)
        assert len(ids) == len(set(ids)), sorted({each for each in ids if ids.count(each) > 1})


def test_every_text_of_the_design_system_has_french():
    assert catalogs.missing(PACKAGE, "fr") == []


def test_the_check_notices_a_missing_text(tmp_path):
    (tmp_path / "page.html").write_text('{{ _("Nobody translated this") }}{{ _("Accounts") }}')
    (tmp_path / "code.py").write_text('text = ngettext("%(num)s crate", "%(num)s crates", 2)')
    assert catalogs.missing(tmp_path, "fr") == ["%(num)s crate", "Nobody translated this"]
    assert catalogs.main([str(tmp_path), "--check"]) == 1
    catalogs.update(tmp_path)
    po = tmp_path / "translations/fr/LC_MESSAGES/messages.po"
    po.write_text(
        po.read_text().replace(
            'msgid "Nobody translated this"\nmsgstr ""', 'msgid "Nobody translated this"\nmsgstr "Personne"'
        )
    )
    assert catalogs.missing(tmp_path, "fr") == ["%(num)s crate"]
    assert 'msgstr "Personne"' in po.read_text()
    catalogs.update(tmp_path)
    assert 'msgstr "Personne"' in po.read_text()


def _say(app, template, language="en", address="/x", **context):
    with app.test_request_context(address), ui.speaking(language):
        return render_template_string(template, **context)


def test_constants_are_written_for_each_reader_anew(app):
    # Jinja computes filters of constants when it compiles; ours must wait for the reader's language.
    template = '{{ 34 | age_text }} {{ (125000, "EUR") | money_text }} {{ "2026-08-12" | date_text }}'
    assert _say(app, template) == "34 d EUR\u00a01,250.00 12\u00a0Aug"
    assert _say(app, template, "fr") == "34 j 1\u202f250,00\u00a0EUR 12\u00a0août"
    assert _say(app, template) == "34 d EUR\u00a01,250.00 12\u00a0Aug"


def test_money_marks_up_the_code_and_keeps_the_exact_amount(app):
    assert _say(app, '{{ (284612055, "EUR") | money(decimals=0) }}') == (
        '<span class="amt" title="EUR\u00a02,846,120.55"><span class="ccy">EUR\u00a0</span>2,846,121</span>'
    )
    assert _say(app, "{{ [(100, 'EUR'), (200, 'GBP')] | moneys }}").count("<br>") == 1
    with pytest.raises(TypeError, match="float"):
        _say(app, '{{ 12.5 | money("EUR") }}')


def test_names_are_never_markup(app):
    evil = '<script>alert(1)</script>" onmouseover="x'
    template = (
        '{% import "ui/macros.html" as q %}{{ q.chip(x, title=x) }}{{ q.person(x, x) }}{{ q.banner("bad", x, x) }}'
        '{{ q.field("f", x, x, error=x) }}{{ q.kv([(x, x)]) }}{{ q.tick("n", x, x) }}{{ q.meter(x, [("0", 0.5)]) }}'
        '{{ q.stepper([{"title": x, "text": x, "state": "now"}]) }}{{ q.filters([{"label": x, "remove_href": x}]) }}'
        '{{ q.chart("c", "bars", x, [{"label": x, "color": "age-0"}], [(x, [1])]) }}{{ unknown(x) }}'
    )
    html = _say(app, template, x=evil)
    assert "<script" not in html
    assert '" onmouseover' not in html


def test_here_keeps_the_address_and_starts_at_the_first_page(app):
    assert _say(app, '{{ here(sort="due_on desc") }}', address="/items?state=DUE&page=7&part=rows") == (
        "/items?state=DUE&amp;sort=due_on+desc"
    )
    assert _say(app, "{{ here(page=8) }}", address="/items?state=DUE&page=7") == "/items?state=DUE&amp;page=8"
    assert _say(app, "{{ here(state=none) }}", address="/items?state=DUE") == "/items"


def test_moments_are_in_the_readers_zone_and_unset_timestamps_are_empty(app):
    class Unset:
        seconds = nanos = 0

        def ToDatetime(self, tzinfo):
            raise AssertionError("1970 was about to be shown")

    assert _say(app, "{{ x | moment_text }}", x=datetime(2026, 9, 11, 14, 20, tzinfo=UTC)) == "11\u00a0Sep, 14:20"
    assert _say(app, "{{ x | moment }}", x=Unset()) == ""


def test_language_follows_choice_cookie_browser(app):
    client = app.test_client()
    assert '<html lang="fr"' in client.get("/signin", headers={"Accept-Language": "fr-CA, en;q=0.5"}).text
    assert '<html lang="en"' in client.get("/signin", headers={"Accept-Language": "sv"}).text
    client.set_cookie(ui.LANGUAGE_COOKIE, "fr")
    assert '<html lang="fr"' in client.get("/signin", headers={"Accept-Language": "en"}).text
    assert '<html lang="en"' in client.get("/signin?lang=en").text


def test_rail_shows_what_a_role_may_use(app):
    groups = ui.workspace_navigation({"agenda": "/a", "imports": "/i"}, {"agenda": 0, "imports": 2})
    assert [(group.title, [(link.key, link.count) for link in group.links]) for group in groups] == [
        ("Today", [("agenda", None)]),
        ("Set-up", [("imports", 2)]),
    ]
    with pytest.raises(KeyError, match="agneda"):
        ui.workspace_navigation({"agneda": "/"})


def test_unknown_icon_fails_and_known_ones_exist(app):
    with pytest.raises(KeyError, match="nosuch"):
        _say(app, '{{ icon("nosuch") }}')
    if not icons.FOLDER.exists():
        pytest.skip("the front-end packages are not there: make assets")
    assert set(icons.shapes()) == set(icons.ICONS)
    assert all(icons.shapes().values())


def test_static_files_are_kept_for_a_year_under_their_version_only(app):
    client = app.test_client()
    version = app.extensions["ui"].version
    assert "immutable" in client.get(f"/ui-static/{version}/quittance.css").headers["Cache-Control"]
    assert "immutable" not in client.get("/ui-static/older/quittance.css").headers.get("Cache-Control", "")
    assert client.get(f"/ui-static/{version}/../filters.py").status_code == 404


def test_portal_says_nothing_of_quittance_and_stays_small(app):
    html = app.test_client().get("/portal/").text
    assert "quittance" not in html.lower()
    sent = sum(
        len(gzip.compress((PACKAGE / "static" / name).read_bytes()))
        for name in ("portal.css", "portal.js", "parts.js", "vendor/qrcode.js")
        if (PACKAGE / "static" / name).exists()
    )
    assert sent <= PORTAL_BUDGET_BYTES
