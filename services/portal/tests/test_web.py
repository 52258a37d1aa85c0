"""The customer's pages through Flask's client: links, sessions, answers, and what must never happen."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from kit.context import acting_as
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.testing import caller_of, emitted
from portal import domain
from portal.web import Visit
from quittance.ledger.v1 import item_pb2
from quittance.portal.v1 import portal_service_pb2 as pb


@pytest.fixture
def make_link(stub):
    def make(account_id, **fields):
        request = pb.CreateLinkRequest(request_id=fields.pop("request_id", new_id()), account_id=account_id, **fields)
        return stub.CreateLink(request, timeout=10)

    return make


def path(link) -> str:
    assert link.url.startswith("http://portal.example/l/")
    return link.url.removeprefix("http://portal.example")


@pytest.fixture
def visit(browser, make_link, account):
    """visit() opens a fresh link and gives the page."""

    def go(account_id=account, **fields):
        answer = browser.get(path(make_link(account_id, **fields)))
        assert (answer.status_code, answer.location) == (303, "/p")
        return browser.get("/p").get_data(as_text=True)

    return go


def hidden(html: str) -> dict[str, str]:
    return {name: re.search(rf'name="{name}" value="([^"]+)"', html)[1] for name in ("csrf_token", "nonce")}


def promise(html: str, items, **fields):
    return {**hidden(html), "item": [item.item_id for item in items], "send": "PROMISE", "on": "2026-09-22", **fields}


# ---- opening ---------------------------------------------------------------------------------------------------------
def test_a_link_becomes_a_cookie_and_a_clean_address(browser, make_link, account):
    link = make_link(account)
    answer = browser.get(path(link))
    assert (answer.status_code, answer.location) == (303, "/p")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert path(link).rpartition("/")[2] not in cookie
    page = browser.get("/p")
    assert page.status_code == 200
    html = page.get_data(as_text=True)
    assert "Two invoices wait for your answer" in html
    assert "Norrland Papper AB" in html
    assert "FA-260588" in html
    assert "your order 4500-7781" in html
    assert "Brindle France" in html
    assert "Quittance" not in html
    assert "style=" not in html
    assert "<script>" not in html


def test_every_answer_is_private(browser, make_link, account):
    link = make_link(account)
    for address in (path(link), "/p", "/nothing", "/l/wrong"):
        headers = browser.get(address).headers
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "noindex" in headers["X-Robots-Tag"]
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_opening_changes_nothing_in_business_data(browser, make_link, account, ledger, database):
    link = make_link(account)
    before = len(emitted(database))
    for _ in range(5):
        browser.head(path(link))
        browser.get(path(link), headers={"Sec-Purpose": "prefetch"})
        browser.get("/p")
    assert ledger.placed == []
    assert ledger.holds == {}
    assert len(emitted(database)) == before
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM response")).scalar_one() == 0
        assert session.execute(text("SELECT count(*) FROM job")).scalar_one() == 0


def test_openings_are_counted_but_not_those_of_scanners_by_head(browser, make_link, account, stub):
    link = make_link(account)
    browser.head(path(link))
    assert stub.ListLinks(pb.ListLinksRequest(), timeout=10).links[0].use_count == 0
    browser.get(path(link))
    browser.get(path(link))
    listed = stub.ListLinks(pb.ListLinksRequest(), timeout=10).links[0]
    assert listed.use_count == 2
    assert listed.HasField("last_used_at")


# ---- links that open nothing -----------------------------------------------------------------------------------------
def test_ended_revoked_changed_and_invented_links_look_the_same(app, make_link, account, stub, database):
    good, revoked, expired = (make_link(account) for _ in range(3))
    stub.RevokeLink(pb.RevokeLinkRequest(link_id=revoked.link.link_id), timeout=10)
    with database.transaction() as session:
        session.execute(text("UPDATE link SET expires_at = now() WHERE link_id = :id"), {"id": expired.link.link_id})
    token = path(good).rpartition("/")[2]
    stranger = domain.make_token(new_id(), bytes(32))
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    other_tenant = stranger[:21] + token[21:]
    addresses = [
        path(revoked),
        path(expired),
        "/l/x",
        f"/l/{changed}",
        f"/l/{stranger}",
        f"/l/{other_tenant}",
        f"/l/{token.lower()}",
        "/l/%00",
        "/p",
        "/zzz",
        "/",
    ]
    pages = set()
    for address in addresses:
        answer = app.test_client().get(address)
        assert answer.status_code == 404, address
        assert "Set-Cookie" not in answer.headers
        pages.add(answer.get_data(as_text=True))
    assert len(pages) == 1
    page = pages.pop()
    assert "This link has ended" in page
    for secret in ("Norrland", "Brindle", "C-10482", "FA-26"):
        assert secret not in page
    assert app.test_client().get(path(good)).status_code == 303


def test_a_thousand_changed_tokens_open_nothing(app, make_link, account):
    token = path(make_link(account)).rpartition("/")[2]
    client = app.test_client()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for number in range(1000):
        place, letter = 22 + number % 42, alphabet[number * 7 % 64]
        changed = token[:place] + letter + token[place + 1 :]
        assert changed == token or client.head(f"/l/{changed}").status_code == 404


def test_a_revocation_counts_for_sessions_at_once(browser, visit, stub):
    visit()
    link_id = stub.ListLinks(pb.ListLinksRequest(), timeout=10).links[0].link_id
    stub.RevokeLink(pb.RevokeLinkRequest(link_id=link_id), timeout=10)
    assert browser.get("/p").status_code == 404


def test_a_session_ends_and_cannot_be_made_up(browser, visit, database, tenant):
    visit()
    sealed = browser.get_cookie("visit").value
    visit_now = Visit.unseal(database.settings, sealed)
    browser.set_cookie("visit", sealed[:-3] + "abc")
    assert browser.get("/p").status_code == 404
    old = Visit(visit_now.tenant_id, visit_now.link_id, visit_now.session_id, 1)
    browser.set_cookie("visit", old.seal(database.settings))
    assert browser.get("/p").status_code == 404
    elsewhere = Visit(new_id(), visit_now.link_id, visit_now.session_id, visit_now.until_s)
    browser.set_cookie("visit", elsewhere.seal(database.settings))
    assert browser.get("/p").status_code == 404
    browser.set_cookie("visit", visit_now.seal(database.settings))
    assert browser.get("/p").status_code == 200


def test_too_many_wrong_links_are_slowed_down(make_database, acting, neighbours):
    from portal.web import create_app

    database = make_database("portal", redis_url="", pages_per_minute=1000, wrong_links_per_minute=3)
    client = create_app(database.settings, database).test_client()
    statuses = [client.get("/l/wrong").status_code for _ in range(5)]
    assert statuses == [404, 404, 404, 429, 429]
    assert client.get("/l/wrong").headers["Retry-After"] == "60"
    assert client.get("/healthz").status_code == 200


def test_a_ledger_that_is_away_is_said_politely(browser, visit, ledger):
    visit()
    ledger.look_refuses = Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "away")
    answer = browser.get("/p")
    assert answer.status_code == 503
    assert "Nothing was changed" in answer.get_data(as_text=True)
    assert "Norrland" not in answer.get_data(as_text=True)


# ---- languages -------------------------------------------------------------------------------------------------------
def test_french_is_complete_and_the_switch_stays(browser, visit):
    html = visit(language="fr")
    assert "Deux factures attendent votre réponse" in html
    assert "Dire quand nous payons" in html
    assert "42\u202f180,00" in html
    assert "échue le" in html or "échéance" in html
    english = browser.get("/p?lang=en").get_data(as_text=True)
    assert "Two invoices wait for your answer" in english
    assert "Two invoices wait for your answer" in browser.get("/p").get_data(as_text=True)
    assert len(browser.get("/p").headers.getlist("Set-Cookie")) == 0


# ---- answering -------------------------------------------------------------------------------------------------------
def test_a_promise_is_kept_once_and_its_items_are_held_at_once(browser, visit, items, ledger, stub, database):
    html = visit()
    form = promise(html, items[:2], comment="Next run")
    first = browser.post("/p/answer", data=form)
    second = browser.post("/p/answer", data=form)
    assert first.status_code == second.status_code == 303
    assert first.location == second.location
    assert "Thank you" in browser.get(first.location).get_data(as_text=True)
    [response] = stub.ListResponses(pb.ListResponsesRequest(), timeout=10).responses
    assert response.kind == pb.RESPONSE_KIND_PROMISE
    assert response.state == pb.RESPONSE_STATE_RECEIVED
    assert (response.promised_on, response.comment, response.account_name) == (
        "2026-09-22",
        "Next run",
        "Norrland Papper AB",
    )
    assert [(m.currency, m.minor_units) for m in response.total] == [("EUR", 6_053_000)]
    assert ledger.kinds() == ["RESPONSE", "RESPONSE"]
    assert {hold.until_on for hold in ledger.holds.values()} == {"2026-09-18"}
    assert [event.response.state for event in emitted(database)] == [pb.RESPONSE_STATE_RECEIVED]
    page = browser.get("/p").get_data(as_text=True)
    assert "You answered, we check" in page
    assert "No invoice waits for your answer" in page
    assert f'value="{items[0].item_id}"' not in page


def test_ten_submits_at_once_are_one_answer(app, visit, items, browser, stub, ledger):
    form = promise(visit(), items[:1])
    cookie = browser.get_cookie("visit").value

    def submit(_):
        client = app.test_client()
        client.set_cookie("visit", cookie)
        return client.post("/p/answer", data=form).status_code

    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(submit, range(10))) == {303}
    assert stub.ListResponses(pb.ListResponsesRequest(), timeout=10).total_size == 1
    assert len(ledger.placed) == 1


def test_each_button_leads_to_its_short_form_without_changing_anything(browser, visit, items, ledger):
    html = visit()
    for kind, words in (
        ("PROMISE", "We pay on"),
        ("ALREADY_PAID", "Reference of the transfer"),
        ("DISPUTE", "Choose a reason"),
    ):
        answer = browser.post("/p/answer", data={**hidden(html), "item": [items[0].item_id], "answer": kind})
        assert answer.status_code == 200
        page = answer.get_data(as_text=True)
        assert words in page
        assert f'name="item" value="{items[0].item_id}"' in page
    assert ledger.placed == []


def test_already_paid_and_dispute_in_part(browser, visit, items, stub, ledger):
    html = visit()
    paid = {
        **hidden(html),
        "item": [items[0].item_id],
        "send": "ALREADY_PAID",
        "on": "2026-09-09",
        "reference": "TRX 17",
    }
    assert browser.post("/p/answer", data=paid).status_code == 303
    html = browser.get("/p").get_data(as_text=True)
    wrong = {
        **hidden(html),
        "item": [items[1].item_id],
        "send": "DISPUTE",
        "reason": "PRICE",
        "comment": "Agreed 9 EUR",
        f"amount-{items[1].item_id}": "8,350.00",
    }
    assert browser.post("/p/answer", data=wrong).status_code == 303
    dispute, declared = stub.ListResponses(pb.ListResponsesRequest(), timeout=10).responses
    assert (declared.paid_on, declared.payment_reference) == ("2026-09-09", "TRX 17")
    assert (dispute.reason_code, dispute.comment, dispute.lines[0].amount.minor_units) == (
        "PRICE",
        "Agreed 9 EUR",
        835_000,
    )
    assert sorted(hold.amount.minor_units for hold in ledger.holds.values()) == [835_000, 4_218_000]
    page = browser.get("/p").get_data(as_text=True)
    assert f'value="{items[1].item_id}"' in page


def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_kept(browser, visit, items, ledger, stub):
    form = {
        **hidden(visit()),
        "item": [items[0].item_id],
        "send": "DISPUTE",
        "comment": "<b>x</b>",
        f"amount-{items[0].item_id}": "99999999",
    }
    answer = browser.post("/p/answer", data=form)
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert "Choose what is wrong." in page
    assert "This is more than is open." in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<b>x</b>" not in page
    assert ledger.placed == []
    assert stub.ListResponses(pb.ListResponsesRequest(), timeout=10).total_size == 0


@pytest.mark.parametrize("change", [{"csrf_token": "0" * 64}, {"csrf_token": ""}, {"nonce": "short"}, {"nonce": ""}])
def test_forms_that_did_not_come_from_our_page_are_not_taken(browser, visit, items, ledger, change):
    form = {**promise(visit(), items[:1]), **change}
    assert browser.post("/p/answer", data=form).status_code == 400
    assert ledger.placed == []


def test_forms_sent_by_other_sites_are_not_taken(browser, visit, items, ledger):
    form = promise(visit(), items[:1])
    assert browser.post("/p/answer", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 400
    assert ledger.placed == []


def test_items_of_other_accounts_cannot_be_answered(browser, visit, ledger, new_item, items):
    other = new_item("SECRET-1")
    ledger.account([other])
    answer = browser.post("/p/answer", data=promise(visit(), [items[0], other]))
    assert answer.status_code == 422
    assert "Something has changed" in answer.get_data(as_text=True)
    assert "SECRET-1" not in answer.get_data(as_text=True)
    assert ledger.placed == []


def test_paid_while_the_form_was_open_nothing_is_taken(browser, visit, items, ledger, stub, database):
    form = promise(visit(), items[:1])
    ledger.refuse = Refused(Code.FAILED_PRECONDITION, "ITEM_CLEARED", "paid")
    answer = browser.post("/p/answer", data=form)
    assert answer.status_code == 409
    assert "Something has changed" in answer.get_data(as_text=True)
    assert stub.ListResponses(pb.ListResponsesRequest(), timeout=10).total_size == 0
    assert emitted(database) == []
    # The form that is shown now can be sent.
    ledger.refuse = None
    again = {**form, **hidden(answer.get_data(as_text=True))}
    assert browser.post("/p/answer", data=again).status_code == 303


def test_a_ledger_that_is_away_loses_no_answer(browser, visit, items, ledger, stub, run_due):
    form = promise(visit(), items[:1])
    ledger.refuse = Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "away")
    assert browser.post("/p/answer", data=form).status_code == 303
    assert stub.ListResponses(pb.ListResponsesRequest(), timeout=10).total_size == 0
    ledger.refuse = None
    assert run_due() == ["DONE"]
    assert stub.ListResponses(pb.ListResponsesRequest(), timeout=10).total_size == 1
    assert ledger.kinds() == ["RESPONSE"]


def test_thanks_are_only_for_ones_own_answer(app, browser, visit, items, make_link, ledger, new_item):
    location = browser.post("/p/answer", data=promise(visit(), items[:1])).location
    other = app.test_client()
    other.get(path(make_link(ledger.account([new_item("X-1")], name="Somebody else"))))
    assert other.get(location).status_code == 303
    assert browser.get("/p/thanks?answer=nonsense").status_code == 303


def test_names_cannot_break_the_page(browser, visit, ledger, new_item):
    account = ledger.account([new_item('<img src=x onerror="y">')], name="<script>alert(1)</script>{{7*7}}")
    html = visit(account)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "{{7*7}}" in html


def test_two_currencies_stay_two_sums(visit, ledger, new_item):
    html = visit(ledger.account([new_item("A-1", 100_000), new_item("B-1", 50_000, currency="GBP")]))
    summed = re.search(r'data-mirror="#psum">(.*?)</p>', html, re.S)[1]
    assert "1,000.00" in summed
    assert "500.00" in summed


def test_held_items_show_why_and_cannot_be_ticked(visit, ledger, new_item):
    item = new_item("FA-9", 1_000_000)
    account = ledger.account([item])
    ledger.holds["dispute", "c", item.item_id, 1] = item_pb2.Hold(
        item_id=item.item_id,
        kind=item_pb2.HOLD_KIND_DISPUTE,
        state=item_pb2.HOLD_STATE_ACTIVE,
        amount={"currency": "EUR", "minor_units": 400_000},
    )
    html = visit(account)
    assert "4,000.00 more disputed, we check" in html
    assert "6,000.00" in html


def test_the_token_is_nowhere_at_rest_after_it_was_used(browser, make_link, account, database, tenant):
    link = make_link(account)
    token = path(link).rpartition("/")[2]
    browser.get(path(link))
    with acting_as(caller_of(tenant)), database.transaction() as session:
        for table in ("link", "request", "job", "outbox"):
            for row in session.execute(text(f"SELECT t::text FROM {table} t")).scalars():
                assert token not in row
                assert token.encode().hex() not in row
        assert session.execute(text("SELECT sealed_token FROM link")).scalar_one() == ""
