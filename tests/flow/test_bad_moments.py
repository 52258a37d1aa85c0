"""A process is killed in the middle of the main job; after it is back the job ends as if nothing had happened."""

import threading
import time

import pytest
from flow_client import Client, until

ITEMS = 6_000
# The work of a killed worker lies still until its lease is over; the machine may be busy besides.
FINISH_S = 240.0


def generated(count: int) -> bytes:
    """A file of count items of count / 20 customers."""
    lines = ["customer number,customer name,invoice number,invoice date,due date,currency,initial amount,open amount"]
    for number in range(count):
        amount = 100 + number % 900
        lines.append(
            f"K-{number % (count // 20):05d},Kill Example {number % (count // 20)},K{number:07d},2026-06-15,2026-07-15,EUR,"
            f"{amount}.25,{amount}.25"
        )
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("victim", ["import", "ledger", "nats", "valkey"])
def test_an_import_survives_the_death_of(client: Client, entity, victim):
    content = generated(ITEMS)
    started = client.upload(entity, content, wait=False)
    time.sleep(0.4)
    client.platform.kill(victim)
    # While the process is away calls may fail; the import itself must come to its end.
    run = None
    end = time.monotonic() + FINISH_S
    while time.monotonic() < end:
        answer = client.request("GET", f"/v1/imports/{started['importId']}")
        if answer.status_code == 200 and answer.json()["state"] in ("APPLIED", "FAILED"):
            run = answer.json()
            break
        time.sleep(0.2)
    assert run and run["state"] == "APPLIED", run
    assert run["rowCounts"]["read"] == run["rowCounts"]["created"] + run["rowCounts"]["unchanged"] == ITEMS
    wanted = sum(100 + number % 900 for number in range(ITEMS)) + ITEMS * 0.25

    def figures() -> bool:
        answer = client.request("GET", "/v1/reports/aging", params={"entity": entity})
        if answer.status_code != 200 or not answer.json()["totals"]:
            return False
        [total] = answer.json()["totals"]
        return total["itemCount"] == ITEMS and float(total["total"]["amount"]) == wanted

    until(figures, "each item once in the figures", FINISH_S)
    again = client.upload(entity, content)
    assert again["rowCounts"]["unchanged"] == ITEMS


def test_each_message_leaves_at_most_once_though_its_sender_is_killed(client: Client, entity, fixture_file):
    assert client.upload(entity, fixture_file("open_items_fr.csv"))["state"] == "APPLIED"
    contacts = fixture_file("contacts.csv").replace(b"@papeterie", b"@killed")
    assert client.upload(entity, contacts, "contacts.csv", object="contacts")["state"] == "APPLIED"
    account = client.account(entity, "0001042")["accountId"]
    action = client.action(account)
    threading.Timer(0.05, client.platform.kill, ["notification"]).start()
    answer = client.request("POST", f"/v1/actions/{action['actionId']}:send", json={})
    time.sleep(1)

    def message() -> dict | None:
        found = client.request("GET", "/v1/messages", params={"accountId": account})
        if found.status_code != 200:
            return None
        ended = [one for one in found.json()["messages"] if one["state"] not in ("QUEUED", "SENDING")]
        return ended[0] if ended else None

    if answer.status_code != 200:
        # It never reached the sender, or its answer was lost: sending again makes it leave, once.
        until(
            lambda: client.request("POST", f"/v1/actions/{action['actionId']}:send", json={}).status_code in (200, 409),
            "the sender to be back",
        )
    ended = until(message, "the message to end", FINISH_S)
    arrived = client.mails("compta@killed.example.com")
    assert len(arrived) <= 1
    assert ended["state"] in ("SENT", "UNKNOWN")
    assert (ended["state"] == "UNKNOWN") or len(arrived) == 1
