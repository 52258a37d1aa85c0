"""Signing in, sessions, forms of the web app: what a browser sees, and what other sites cannot do."""

import html
import re
import statistics
import time
from datetime import timedelta

import pytest
from flask import Blueprint
from sqlalchemy import text

from gateway import store, usecases
from gateway.passwords import passwords
from gateway.web import _lists, framed, needs, signed_in, stubs, toast, wants_part
from kit.clock import utc_now
from kit.errors import Code, Refused
from quittance.ledger.v1 import ledger_service_pb2 as ledger
from quittance.reporting.v1 import reporting_service_pb2 as reporting_pb

from .conftest import PASSWORD, csrf_of, sign_in

ID = "0190aaaa-0000-7000-8000-000000000001"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def pages(make_app):
    """make(**settings) -> an application with a few pages as builders write them."""

    def make(**overrides):
        app = make_app(**overrides)
        blueprint = Blueprint("trial", __name__)

        @blueprint.get("/trial/account")
        @needs("accounts:read")
        def account():
            found = stubs().ledger.GetAccount(ledger.GetAccountRequest(account_id=ID), timeout=5)
            return f"{found.account.number} {wants_part('items')}"

        @blueprint.post("/trial/change")
        @needs("actions:write")
        def change():
            from flask import redirect

            toast("Done & <kept>.")
            return redirect("/profile", 303)

        @blueprint.get("/trial/any")
        @signed_in
        def anything():
            return "here"

        @blueprint.get("/trial/mail")
        @signed_in
        def mail():
            return framed("<p>mail</p>")

        app.register_blueprint(blueprint)
        return app

    return make


@pytest.fixture
def site(pages):
    return pages().test_client()


def _cookie(client, name="q_session"):
    found = client.get_cookie(name)
    return found.value if found else ""


def test_signing_in_and_out(site, group, platform):
    assert site.get("/trial/any", headers=HTML).headers["Location"] == "/sign-in?next=/trial/any"
    entered = sign_in(site, group.email.upper(), next="/trial/any?a=1")
    assert (entered.status_code, entered.headers["Location"]) == (303, "/trial/any?a=1")
    assert site.get("/trial/any").text == "here"
    kept = _cookie(site)
    assert site.post("/sign-out", data={"csrf_token": csrf_of(site)}).status_code == 303
    assert not _cookie(site)
    # The old cookie is dead on the server, too.
    site.set_cookie("q_session", kept)
    assert site.get("/trial/any", headers=HTML).status_code == 303


def test_cookies_keep_to_themselves(site, group, platform):
    entered = sign_in(site, group.email)
    cookie = next(value for value in entered.headers.getlist("Set-Cookie") if value.startswith("q_session="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


def test_over_tls_cookies_are_bound_to_the_host_and_hsts_is_sent(pages, group, platform):
    client = pages(trusted_proxies=1).test_client()
    secure = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.9"}
    page = client.get("/sign-in", headers=secure, base_url="https://localhost")
    assert "max-age=" in page.headers["Strict-Transport-Security"]
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]
    form = {"email": group.email, "password": PASSWORD, "csrf_token": token}
    entered = client.post("/sign-in", data=form, headers=secure, base_url="https://localhost")
    assert entered.status_code == 303
    cookies = entered.headers.getlist("Set-Cookie")
    assert any(each.startswith("__Host-q_session=") and "Secure" in each for each in cookies)
    assert "Strict-Transport-Security" not in client.get("/sign-in").headers


def test_a_session_made_before_signing_in_is_not_taken_over(site, group, platform):
    site.set_cookie("q_session", "attacker-knows-this-value-0123456789")
    sign_in(site, group.email)
    first = _cookie(site)
    assert first != "attacker-knows-this-value-0123456789"
    # Signing in again (in another tab) ends the session before.
    page = site.get("/sign-in")
    assert page.status_code == 303


def test_wrong_words_say_the_same_and_take_as_long(site, group, platform, add_user):
    known = sign_in(site, group.email, "Wrong-password-1")
    unknown = sign_in(site, "nobody@example.com", "Wrong-password-1")
    assert known.status_code == unknown.status_code == 401
    assert "Address or password is wrong." in known.text
    strip = lambda text: re.sub(r'value="[^"]*"|id="[^"]*"|for="[^"]*"|content="[^"]*"', "", text)  # noqa: E731
    assert strip(known.text) == strip(unknown.text)


def test_unknown_addresses_cost_the_same_work(database, settings, group):
    hasher = passwords(settings)

    def seconds(email):
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            with database.system_transaction() as session, pytest.raises(Refused):
                usecases.check_credentials(session, hasher, email, "Wrong-password-1")
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    known, unknown = seconds(group.email), seconds("nobody@example.com")
    assert unknown > known / 3
    assert known > unknown / 3


def test_ten_tries_and_no_more_reach_the_hash(pages, group, platform, monkeypatch):
    client = pages().test_client()
    reached = []
    monkeypatch.setattr(
        "gateway.usecases.check_credentials",
        lambda *_: reached.append(1) or (_ for _ in ()).throw(Refused(Code.UNAUTHENTICATED, "SIGN_IN_FAILED", "")),
    )
    statuses = [sign_in(client, group.email, f"Wrong-password-{n}").status_code for n in range(40)]
    assert len(reached) == 10
    assert statuses[:10] == [401] * 10
    assert set(statuses[10:]) == {429}
    # Another person at the same address is not locked out by it.
    monkeypatch.undo()
    assert sign_in(client, "other@example.com", "Wrong-password-1").status_code == 401


def test_the_sign_in_form_itself_needs_its_page(site, group, platform):
    without = site.post("/sign-in", data={"email": group.email, "password": PASSWORD})
    assert without.status_code == 403
    assert not _cookie(site)
    site.get("/sign-in")
    forged = site.post("/sign-in", data={"email": group.email, "password": PASSWORD, "csrf_token": "0" * 64})
    assert forged.status_code == 403


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "/sign-in"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(site, group, platform, target):
    assert sign_in(site, group.email, next=target).headers["Location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ],
)
def test_other_sites_cannot_change_anything(site, group, platform, headers):
    sign_in(site, group.email)
    token = csrf_of(site)
    assert site.post("/trial/change", data={"csrf_token": token}, headers=headers).status_code == 403
    assert site.post("/trial/change", data={}).status_code == 403
    assert site.post("/trial/change", data={"csrf_token": "x"}).status_code == 403
    assert site.post("/trial/change", data={"csrf_token": token}).status_code == 303
    assert site.post("/trial/change", headers={"X-CSRF-Token": token}).status_code == 303


def test_a_toast_comes_with_the_next_page_once(site, group, platform):
    sign_in(site, group.email)
    site.post("/trial/change", data={"csrf_token": csrf_of(site)})
    assert "Done &amp; &lt;kept&gt;." in site.get("/profile").text
    assert "Done &amp;" not in site.get("/profile").text


def test_a_toast_cookie_of_somebody_else_is_not_shown(site, group, platform):
    sign_in(site, group.email)
    site.set_cookie("q_toasts", "W1siU2VuZCBtb25leSIsICIiXV0=.0000")
    assert "Send money" not in site.get("/profile").text


# ---- time ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def session_of(database, settings, group):
    """Starts a session at an instant; resume(token, at) looks at it later."""

    class Sessions:
        def start(self, at):
            with database.system_transaction() as session:
                return usecases.start_session(session, settings, passwords(settings), group.email, PASSWORD, "", at)

        def resume(self, token, at):
            with database.system_transaction() as session:
                return usecases.resume_session(session, settings, token, at)

    return Sessions()


def test_a_session_idles_out_after_half_an_hour(session_of):
    now = utc_now()
    token = session_of.start(now)
    assert session_of.resume(token, now + timedelta(minutes=9)) is not None
    assert session_of.resume(token, now + timedelta(minutes=40)) is None
    assert session_of.resume(token, now + timedelta(minutes=10)) is None


def test_a_session_ends_after_twelve_hours_however_busy(session_of):
    now = utc_now()
    token = session_of.start(now)
    for minutes in range(9, 12 * 60, 9):
        found = session_of.resume(token, now + timedelta(minutes=minutes))
        assert found is not None, minutes
        token = found.new_token or token
    assert session_of.resume(token, now + timedelta(hours=12, minutes=1)) is None


def test_the_secret_rotates_and_a_stolen_old_one_ends_the_session(session_of):
    now = utc_now()
    first = session_of.start(now)
    at = now + timedelta(minutes=11)
    second = session_of.resume(first, at).new_token
    assert second
    assert second != first
    # Requests that were under way still get through, and do not rotate again.
    late = session_of.resume(first, at + timedelta(seconds=30))
    assert late is not None
    assert not late.new_token
    assert late.csrf_token == session_of.resume(second, at).csrf_token
    assert session_of.resume(first, at + timedelta(minutes=5)) is None
    assert session_of.resume(second, at + timedelta(minutes=5)) is None


def test_secrets_are_nowhere_in_the_database(database, session_of, group):
    token = session_of.start(utc_now())
    with database.system_transaction() as session:
        dump = " ".join(
            row
            for table in ("users", "sessions", "api_keys")
            for row in session.scalars(text(f"SELECT to_json(t)::text FROM {table} t"))
        )
    assert token not in dump
    assert group.key not in dump
    assert PASSWORD not in dump
    assert "$argon2id$" in dump
    assert group.tenant_id in dump


def test_a_person_who_may_no_longer_sign_in_is_out_at_once(site, group, platform, database, add_user):
    email = add_user("collector")
    sign_in(site, email)
    assert site.get("/trial/any").status_code == 200
    with database.system_transaction() as session:
        store.user_with_email(session, email).active = False
    assert site.get("/trial/any", headers=HTML).status_code == 303


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_pages_carry_a_strict_policy(site, group, platform):
    sign_in(site, group.email)
    for path in ("/sign-in", "/profile", "/docs", "/nothing-here", "/openapi.json"):
        answer = site.get(path, headers=HTML, follow_redirects=True)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\son\w+=|<style|\sstyle=", answer.text), path
    assert site.get("/profile").headers["Cache-Control"] == "no-store"


def test_a_mail_may_stand_in_our_own_pages_only(site, group, platform):
    sign_in(site, group.email)
    answer = site.get("/trial/mail")
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in policy
    assert "default-src 'none'" in policy
    assert "X-Frame-Options" not in answer.headers


def test_errors_are_pages_for_people_and_problems_for_programs(site, group, platform):
    sign_in(site, group.email)
    page = site.get("/nothing-here", headers=HTML)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "There is nothing at this address" in page.text
    problem = site.get("/nothing-here", headers={"Accept": "application/json"})
    assert problem.mimetype == "application/problem+json"
    french = site.get("/nothing-here", headers={**HTML, "Accept-Language": "fr"})
    assert 'lang="fr"' in french.text
    assert "There is nothing" not in french.text


@pytest.mark.parametrize(
    ("code", "reason", "status", "english", "french"),
    [
        (Code.INVALID_ARGUMENT, "INVALID_FIELDS", 400, "Something in it cannot be used", "Un élément ne peut pas"),
        (Code.PERMISSION_DENIED, "PERMISSION_MISSING", 403, "This page is not for your role", "Cette page n'est pas"),
        (Code.NOT_FOUND, "ACCOUNT_UNKNOWN", 404, "There is nothing at this address", "Il n'y a rien à cette"),
        (Code.FAILED_PRECONDITION, "CASE_CLOSED", 409, "This cannot be done as things stand now", "C'est impossible"),
        (Code.INVALID_ARGUMENT, "BODY_TOO_LARGE", 413, "This is too large to be taken", "C'est trop volumineux"),
        (Code.RESOURCE_EXHAUSTED, "TOO_FAST", 429, "That was too fast", "Trop de demandes à la fois"),
        (Code.INTERNAL, "INTERNAL", 500, "Something went wrong on our side", "Une erreur est survenue de notre côté"),
        (Code.UNAVAILABLE, "UNAVAILABLE", 503, "A part of Quittance does not answer", "Une partie de Quittance"),
    ],
)
def test_an_error_page_has_a_true_headline_and_says_what_to_do(app, code, reason, status, english, french):
    @app.get("/trial/refuse")
    def refuse():
        raise Refused(code, reason, "some words of a service")

    client = app.test_client()
    for tongue, headline in (("en", english), ("fr", french)):
        page = client.get("/trial/refuse", headers={**HTML, "Accept-Language": tongue})
        assert page.status_code == status
        heading = re.search(r"<h1>(.*?)</h1>\s*(.*?)<p class=\"muted", page.text, re.DOTALL)
        assert heading
        assert html.unescape(heading[1]).replace("\u2019", "'").startswith(headline)
        # What to do stands below it, whatever a service had to say.
        todo = re.findall(r"<p>(.*?)</p>", heading[2])[-1]
        assert todo
        assert todo != "Some words of a service"
        assert ("Something went wrong" in page.text) is (status == 500 and tongue == "en")


def test_a_change_that_broke_off_is_not_said_to_have_changed_nothing(app):
    @app.route("/trial/broken", methods=["GET", "POST"])
    def broken():
        raise Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "")

    client = app.test_client()
    said = re.compile(r'<p class="muted small">(.*?)</p>')
    assert said.search(client.get("/trial/broken", headers=HTML).text)[1] == "Nothing was changed."
    posted = client.post("/trial/broken", headers=HTML)
    assert posted.status_code == 504
    assert said.search(posted.text)[1].startswith("Whether anything was changed is not known")


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("/agenda?mine=1&sort=account_name", True),
        ("/accounts", True),
        ("https://evil.example/agenda", False),
        ("//evil.example/agenda", False),
        ("/settings", False),
        ("/agenda/../settings", False),
        ("javascript:alert(1)", False),
        ("/accounts?query=" + "x" * 2000, False),
    ],
)
def test_a_sheet_goes_back_to_our_own_lists_only(app, address, known):
    with app.test_request_context("/accounts/1", query_string={"from": address}):
        assert _lists.came_from("/fallback") == (address if known else "/fallback")


@pytest.fixture
def counted(monkeypatch):
    """Reporting behind the rail: how often it is asked, and what it says."""

    class Reporting:
        asked = 0
        refusal: Refused | None = None

        def GetDashboard(self, request, timeout):
            self.asked += 1
            if self.refusal:
                raise self.refusal
            return reporting_pb.GetDashboardResponse(actions_due=37, answers_waiting=2, cases_open=0)

    fake = Reporting()
    monkeypatch.setattr("gateway.web.Stubs.reporting", fake)
    return fake


def test_the_rail_counts_what_waits_with_one_question_for_many_pages(site, group, platform, counted):
    sign_in(site, group.email)
    for _ in range(3):
        page = site.get("/profile")
        assert re.search(r'href="/agenda"[^>]*>.*?Agenda<span class="count">37</span>', page.text)
        assert re.search(r'href="/answers"[^>]*>.*?Answers<span class="count">2</span>', page.text)
        # Nothing waits: no figure.
        assert not re.search(r'Disputes<span class="count">', page.text)
    assert counted.asked == 1


def test_no_page_waits_twice_for_counts_that_cannot_be_had(site, group, platform, counted):
    counted.refusal = Refused(Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", "away")
    sign_in(site, group.email)
    for _ in range(3):
        page = site.get("/profile")
        assert page.status_code == 200
        assert 'class="count"' not in page.text
    assert counted.asked == 1


def test_a_role_without_the_right_gets_a_page_that_says_so(site, platform, add_user):
    sign_in(site, add_user("guest"))
    answer = site.post("/trial/change", data={"csrf_token": csrf_of(site)}, headers=HTML)
    assert answer.status_code == 403
    assert "not for your role" in answer.text


def test_a_page_calls_services_as_its_person(site, group, platform, add_user):
    platform.ledger.answer = ledger.GetAccountResponse(account={"number": "0042"})
    email = add_user("collector", entity_codes=["FR01"])
    sign_in(site, email)
    assert site.get("/trial/account").text == "0042 False"
    part = site.get("/trial/account?part=items", headers={"HX-Request": "true"})
    assert part.text == "0042 True"
    caller = platform.ledger.callers[-1]
    assert (caller.subject, caller.tenant_id) == (email, group.tenant_id)
    assert caller.entity_codes == frozenset({"FR01"})
    platform.ledger.answer = Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "no such account")
    assert site.get("/trial/account", headers=HTML).status_code == 404


def test_a_part_of_a_page_sends_the_whole_window_to_sign_in(site, platform):
    answer = site.get("/trial/any", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in?next=/trial/any")


def test_language_of_the_sign_in_page_and_of_the_person(site, platform, add_user):
    assert 'lang="fr"' in site.get("/sign-in?lang=fr").text
    assert _cookie(site, "q_lang") == "fr"
    assert "Se connecter" in site.get("/sign-in").text
    site.delete_cookie("q_lang")
    assert "Sign in" in site.get("/sign-in").text
    sign_in(site, add_user("executive", language="fr"))
    page = site.get("/profile").text
    assert 'lang="fr"' in page
    assert "Direction" in page


def test_the_profile_keeps_language_and_password(pages, platform, add_user):
    site, other = (pages().test_client() for _ in range(2))
    email = add_user("collector")
    sign_in(site, email)
    sign_in(other, email)
    form = {"csrf_token": csrf_of(site), "language": "fr", "current_password": "no", "new_password": "Another-one-8"}
    assert site.post("/profile", data=form).status_code == 400
    weak = site.post("/profile", data={**form, "current_password": PASSWORD, "new_password": "short"})
    assert weak.status_code == 400
    assert site.post("/profile", data={**form, "current_password": PASSWORD}).status_code == 303
    # Other sessions of the person ended, this one goes on, in French.
    assert other.get("/trial/any", headers=HTML).status_code == 303
    assert 'lang="fr"' in site.get("/profile").text
    assert sign_in(other, email).status_code == 401
    assert sign_in(other, email, "Another-one-8").status_code == 303


def test_texts_are_complete_in_french():
    from pathlib import Path

    import gateway
    from ui import catalogs

    folder = Path(gateway.__file__).parent
    sources = [folder / "web" / name for name in ("session.py", "__init__.py")]
    sources += [path for name in ("session", "api") for path in (folder / "web" / "templates" / name).glob("*.html")]
    said = "\n".join(path.read_text("utf-8") for path in sources)
    lacking = [
        message
        for message in catalogs.missing(folder, "fr")
        if any(f"{mark}({quote}{message}{quote}" in said for mark in ("_", "gettext") for quote in "\"'")
    ]
    assert lacking == []
    assert "Sign in" in said
