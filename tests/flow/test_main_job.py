"""The main job, from a file to a settled dispute, over HTTP and real SMTP."""

import re

import pytest
from flow_client import Client, Customer, until


@pytest.fixture(scope="module")
def story(client: Client, fixture_file) -> dict:
    """Files of three customers are in the ledger; the tests of this module go on from one another."""
    entity = client.new_entity()
    run = client.upload(entity, fixture_file("open_items_fr.csv"))
    assert run["state"] == "APPLIED", run
    contacts = client.upload(entity, fixture_file("contacts.csv"), "contacts.csv", object="contacts")
    assert contacts["state"] == "APPLIED", contacts
    accounts = {number: client.account(entity, number) for number in ("0001042", "0001077", "0001099")}
    return {"entity": entity, "run": run, "accounts": accounts}


def account_id(story: dict, number: str) -> str:
    return story["accounts"][number]["accountId"]


def test_the_file_is_recognised_without_a_question_and_its_totals_are_apart_by_currency(story):
    run = story["run"]
    assert run["questions"] == []
    assert (run["rowCounts"]["read"], run["rowCounts"]["created"], run["rowCounts"]["rejected"]) == (8, 8, 0)
    assert {total["currency"]: total["total"]["amount"] for total in run["totals"]} == {
        "EUR": "28261.25",
        "GBP": "4000.00",
    }
    assert len(run["preview"]) == 8


def test_the_same_file_again_changes_nothing_and_asks_nothing(client, story, fixture_file):
    again = client.upload(story["entity"], fixture_file("open_items_fr.csv"))
    assert (again["state"], again["rowCounts"]["unchanged"], again["rowCounts"]["created"]) == ("APPLIED", 8, 0)


def test_aging_and_account_show_the_same_balance(client, story):
    totals = {one["currency"]: one for one in client.get("/v1/reports/aging", entity=story["entity"])["totals"]}
    assert set(totals) == {"EUR", "GBP"}
    euro = totals["EUR"]
    assert (euro["itemCount"], euro["total"], euro["credits"]) == (
        7,
        {"currency": "EUR", "amount": "28261.25"},
        {"currency": "EUR", "amount": "-120.00"},
    )
    amounts = {bucket["label"]: bucket["amount"]["amount"] for bucket in euro["buckets"]}
    assert (amounts["NOT_DUE"], amounts["1-30"], amounts["31-60"], amounts["61-90"]) == (
        "3200.75", "3200.00", "13980.50", "8000.00",
    )  # fmt: skip
    assert totals["GBP"]["total"]["amount"] == "4000.00"
    account = client.get(f"/v1/accounts/{account_id(story, '0001042')}")
    assert [(one["currency"], one["open"]["amount"], one["overdue"]["amount"]) for one in account["balances"]] == [
        ("EUR", "16510.50", "15680.50")
    ]


def test_each_account_has_one_action_decided_by_its_leader_and_says_why(client, story):
    action = client.action(account_id(story, "0001042"))
    assert action["leaderNumber"] == "FA-1001"
    assert action["leaderDaysLate"] == 37
    assert action["state"] == "DUE"
    assert {one["name"]: one["value"] for one in action["reason"]["inputs"]}
    assert "FA-1001" in action["reason"]["text"] and "FA-1001" in action["reason"]["textFr"]
    items = client.items(account_id(story, "0001042"))
    assert set(action["itemIds"]) == {items["FA-1001"]["itemId"], items["FA-1002"]["itemId"]}
    progress = client.get(f"/v1/accounts/{account_id(story, '0001042')}/progress")
    assert progress["current"]["actionId"] == action["actionId"]
    assert [step["state"] for step in progress["steps"]].count("CURRENT") == 1


def test_a_reminder_is_proposed_edited_sent_once_and_arrives_with_table_and_link(client, story):
    account = account_id(story, "0001042")
    action = client.action(account)
    draft = client.post(
        "/v1/messages:draft",
        {"accountId": account, "itemIds": action["itemIds"], "templateKey": action["step"]["templateKey"]},
    )
    assert draft["language"] == "fr"
    assert draft["unknownTags"] == []
    assert "FA-1001" in draft["body"] and "FA-1002" in draft["body"] and "FA-1003" not in draft["body"]
    answer = client.post(
        f"/v1/actions/{action['actionId']}:send",
        {"subject": "Relance modifiée #customer_name", "body": draft["bodySource"]},
    )
    assert answer["action"]["state"] in ("SENDING", "DONE")
    again = client.request("POST", f"/v1/actions/{action['actionId']}:send", json={})
    assert again.status_code == 409
    assert again.headers["content-type"].startswith("application/problem+json")
    assert again.json()["reason"] == "ACTION_ALREADY_SENT"
    message = client.sent(answer["messageId"])
    assert message["state"] == "SENT", message
    assert message["subject"] == "Relance modifiée Papeterie Exemple"
    assert [one["email"] for one in message["recipients"]] == ["compta@papeterie.example.com"]
    assert message["portalLink"].startswith(client.platform.portal_url)
    mails = client.mails("compta@papeterie.example.com")
    assert len(mails) == 1
    assert mails[0]["subject"] == "Relance modifiée Papeterie Exemple"
    story["link"] = message["portalLink"]
    story["messageId"] = answer["messageId"]
    done = until(
        lambda: [
            step
            for step in client.get(f"/v1/accounts/{account}/progress")["steps"]
            if step["state"] == "DONE" and step["actionId"] == action["actionId"]
        ],
        "the step to be done",
    )
    assert done[0]["on"] == "2026-09-15"


def test_an_account_paid_in_between_is_not_written_to(client, story, fixture_file):
    account = account_id(story, "0001099")
    action = client.action(account)
    paid = fixture_file("open_items_fr.csv").replace(b"GBP;4 000,00;4 000,00", b"GBP;4 000,00;0,00")
    assert client.upload(story["entity"], paid)["state"] == "APPLIED"
    answer = client.request("POST", f"/v1/actions/{action['actionId']}:send", json={})
    if answer.status_code == 200:
        assert client.sent(answer.json()["messageId"])["state"] == "CANCELLED"
    else:
        assert (answer.status_code, answer.json()["reason"]) == (409, "ACTION_NOT_OWED")
    assert client.mails("ap@export.example.com") == []


def test_opening_the_link_changes_nothing_and_shows_the_items(client, story):
    before = client.get(f"/v1/accounts/{account_id(story, '0001042')}")
    customer = story["customer"] = Customer(story["link"])
    answer = customer.open()
    assert answer.status_code == 200
    assert "FA-1001" in answer.text and "Quittance" not in re.sub(r"<[^>]*>", "", answer.text)
    assert story["link"].rsplit("/", 1)[1] not in str(answer.url)
    assert client.get(f"/v1/accounts/{account_id(story, '0001042')}")["version"] == before["version"]
    assert client.get("/v1/responses", accountId=account_id(story, "0001042"))["responses"] == []


def test_a_promise_leaves_the_agenda_at_once_and_becomes_a_hold_when_accepted(client, story):
    account = account_id(story, "0001042")
    items = client.items(account)
    story["customer"].open()
    answer = story["customer"].answer(
        "PROMISE", [items["FA-1001"]["itemId"]], on="2026-09-25", comment="Au prochain paiement"
    )
    assert answer.status_code == 200, answer.text[:500]
    [response] = client.get("/v1/responses", accountId=account)["responses"]
    assert (response["kind"], response["state"], response["promisedOn"]) == ("PROMISE", "RECEIVED", "2026-09-25")
    held = client.items(account)["FA-1001"]
    assert (held["collectable"]["amount"], [hold["kind"] for hold in held["holds"]]) == ("0.00", ["RESPONSE"])
    progress = client.get(f"/v1/accounts/{account}/progress")
    if progress.get("current"):
        assert items["FA-1001"]["itemId"] not in progress["current"]["itemIds"]
    accepted = client.post(f"/v1/responses/{response['responseId']}:accept")
    assert accepted["promiseId"] and accepted["response"]["state"] == "ACCEPTED"
    promised = client.items(account)["FA-1001"]
    assert [hold["kind"] for hold in promised["holds"]] == ["PROMISE"]
    assert client.request("POST", f"/v1/responses/{response['responseId']}:accept", json={}).status_code == 409


def test_a_dispute_of_a_part_becomes_a_case_and_the_rest_stays_collectable(client, story):
    account = account_id(story, "0001042")
    item_id = client.items(account)["FA-1002"]["itemId"]
    story["customer"].open()
    answer = story["customer"].answer(
        "DISPUTE", [item_id], reason="PRICE", comment="Prix convenu 2 700", **{f"amount-{item_id}": "500,00"}
    )
    assert answer.status_code == 200, answer.text[:500]
    [response] = client.get("/v1/responses", accountId=account)["responses"]
    assert (response["kind"], response["reasonCode"]) == ("DISPUTE", "PRICE")
    amended = client.post(
        f"/v1/responses/{response['responseId']}:accept",
        {"lines": [{"itemId": item_id, "amount": {"currency": "EUR", "amount": "700.00"}}]},
    )
    assert amended["response"]["state"] == "AMENDED"
    [case] = client.get("/v1/cases", accountId=account)["cases"]
    assert case["caseId"] == amended["caseId"]
    assert case["number"] and case["owner"] and case["dueOn"] > "2026-09-15"
    assert case["total"] == [{"currency": "EUR", "amount": "700.00"}]
    item = client.items(account)["FA-1002"]
    assert (item["open"]["amount"], item["held"]["amount"], item["collectable"]["amount"]) == (
        "3200.00", "700.00", "2500.00",
    )  # fmt: skip
    story["case"] = case["caseId"]


def test_the_dashboard_shows_what_is_disputed_and_promised(client, story):
    found = client.get("/v1/reports/dashboard", entity=story["entity"])
    euro = next(one for one in found["currencies"] if one["currency"] == "EUR")
    assert (euro["disputed"]["amount"], euro["promised"]["amount"]) == ("700.00", "12480.50")
    assert (euro["open"]["amount"], euro["overdue"]["amount"]) == ("28261.25", "25180.50")
    rows = client.get("/v1/reports/items", entity=story["entity"], filter="hold=DISPUTE")
    assert [row["number"] for row in rows["items"]] == ["FA-1002"]
    assert found["casesOpen"] >= 1


def test_already_paid_holds_until_the_cash_should_be_seen(client, story):
    account = account_id(story, "0001042")
    item_id = client.items(account)["FA-1003"]["itemId"]
    story["customer"].open()
    answer = story["customer"].answer("ALREADY_PAID", [item_id], on="2026-09-14", reference="VIR 88")
    assert answer.status_code == 200, answer.text[:500]
    [response] = client.get("/v1/responses", accountId=account)["responses"]
    assert response["kind"] == "ALREADY_PAID"
    rejected = client.post(f"/v1/responses/{response['responseId']}:reject", {"comment": "Rien reçu"})
    assert rejected["response"]["state"] == "REJECTED"
    assert client.items(account)["FA-1003"]["holds"] == []


def test_a_rejected_dispute_is_collectable_again_and_a_settled_case_closes(client, story):
    resolved = client.post(f"/v1/cases/{story['case']}:resolve", {"outcome": "REJECTED", "comment": "Prix conforme"})
    assert resolved["state"] in ("REJECTED", "CLOSED")
    account = account_id(story, "0001042")
    item = until(
        lambda: (lambda found: found if not found["holds"] else None)(client.items(account)["FA-1002"]),
        "the hold of the case to end",
    )
    assert item["collectable"]["amount"] == "3200.00"


def test_the_limit_of_the_legal_unit_its_exposure_and_the_overrun_are_there(client, story):
    account = account_id(story, "0001077")
    client.post(
        f"/v1/accounts/{account}/limits",
        {"amount": {"currency": "EUR", "amount": "9000.00"}, "reason": "yearly review"},
    )
    credit = client.get(f"/v1/accounts/{account}/credit")
    assert credit["limit"]["amount"] == {"currency": "EUR", "amount": "9000.00"}
    assert (credit["exposure"]["amount"], credit["overLimit"]["amount"]) == ("9500.00", "500.00")
    assert (credit["utilisationPercent"], credit["isOverLimit"]) == (105.6, True)


def test_a_partial_payment_shows_in_todays_figures_and_not_in_yesterdays(client, story, fixture_file):
    run = client.upload(story["entity"], fixture_file("open_items_fr_paid.csv"))
    assert (run["state"], run["rowCounts"]["updated"] + run["rowCounts"]["cleared"]) == ("APPLIED", 3), run["rowCounts"]
    totals = {
        one["currency"]: one["total"]["amount"]
        for one in client.get("/v1/reports/aging", entity=story["entity"])["totals"]
    }
    assert totals == {"EUR": "13580.75", "GBP": "4000.00"}
    before = {
        one["currency"]: one["total"]["amount"]
        for one in client.get("/v1/reports/aging", entity=story["entity"], asOf="2026-09-14")["totals"]
    }
    assert before["EUR"] == "28261.25"


def test_expired_revoked_and_mutated_links_show_a_polite_page_that_reveals_nothing(client, story):
    links = client.get("/v1/links", filter=f'accountId="{account_id(story, "0001042")}"')["links"]
    mutated = story["link"][:-4] + ("AAAA" if not story["link"].endswith("AAAA") else "BBBB")
    stranger = Customer(mutated).open()
    client.post(f"/v1/links/{links[0]['linkId']}:revoke")
    revoked = Customer(story["link"]).open()
    for page in (stranger, revoked):
        assert page.status_code in (404, 410)
        assert "Papeterie" not in page.text and "FA-1001" not in page.text
    assert story["customer"].open().status_code in (404, 410)
