"""Published receivables files and the figures that must come out of them, to the cent."""

from pathlib import Path

import pytest
from flow_client import Client


@pytest.fixture(scope="module")
def late_payments(client: Client, shared_data: Path) -> dict:
    file = shared_data / "ar/ibm_watson_late_payment/WA_Fn-UseC_-Accounts-Receivable.csv"
    entity = client.new_entity("USD", "US")
    run = client.upload(entity, file.read_bytes(), file.name)
    return {"entity": entity, "run": run, "content": file.read_bytes()}


def test_the_late_payment_file_needs_no_question_and_is_read_whole(late_payments):
    run = late_payments["run"]
    assert (run["state"], run["questions"]) == ("APPLIED", []), run
    assert (run["rowCounts"]["read"], run["rowCounts"]["created"], run["rowCounts"]["rejected"]) == (2466, 2466, 0)
    assert run["totals"][0]["initial"] == {"currency": "USD", "amount": "147703.18"}


@pytest.mark.parametrize(
    ("as_of", "count", "total", "not_due", "late", "dso_days"),
    [
        ("2012-12-31", 99, "5725.06", (86, "4936.32"), (13, "788.74"), 27.3299),
        ("2013-06-30", 84, "5119.85", (72, "4284.29"), (12, "835.56"), 26.2575),
    ],
)
def test_the_late_payment_file_gives_the_published_figures(
    client, late_payments, as_of, count, total, not_due, late, dso_days
):
    [found] = client.get("/v1/reports/aging", asOf=as_of, entity=late_payments["entity"])["totals"]
    assert (found["itemCount"], found["total"]) == (count, {"currency": "USD", "amount": total})
    buckets = {one["label"]: (one["itemCount"], one["amount"]["amount"]) for one in found["buckets"]}
    assert (buckets["NOT_DUE"], buckets["1-30"]) == (not_due, late)
    [value] = client.get("/v1/reports/dso", asOf=as_of, method="COUNT_BACK", entity=late_payments["entity"])["values"]
    assert value["days"] == pytest.approx(dso_days, abs=5e-5)


def test_settled_items_are_history_and_never_chased(client, late_payments):
    entity = late_payments["entity"]
    accounts = client.get("/v1/accounts", filter=f'entityCode="{entity}"', pageSize=500)
    assert accounts["totalSize"] == 100
    assert client.get("/v1/actions", filter=f'entityCode="{entity}"')["totalSize"] == 0
    assert client.get("/v1/reports/aging", entity=entity)["totals"] == []


def test_the_late_payment_file_again_changes_nothing(client, late_payments):
    counts = client.upload(late_payments["entity"], late_payments["content"], "again.csv")["rowCounts"]
    assert (counts["read"], counts["unchanged"]) == (2466, 2466)


def test_the_open_items_file_gives_two_currencies_never_summed_and_one_account_for_eleven_spellings(
    client, shared_data
):
    file = shared_data / "ar/highradius_open_items/open_items_2020_with_predictions.csv"
    entity = client.new_entity("USD", "US")
    run = client.upload(entity, file.read_bytes(), file.name)
    assert (run["state"], run["questions"]) == ("APPLIED", []), run
    assert (run["rowCounts"]["read"], run["rowCounts"]["created"], run["rowCounts"]["rejected"]) == (9700, 9700, 0)
    wanted = {"USD": (8953, "275113716.83"), "CAD": (747, "44471009.08")}
    assert {one["currency"]: (one["itemCount"], one["total"]["amount"]) for one in run["totals"]} == wanted
    aging = client.get("/v1/reports/aging", entity=entity)["totals"]
    assert {one["currency"]: (one["itemCount"], one["total"]["amount"]) for one in aging} == wanted
    accounts = client.get("/v1/accounts", filter=f'entityCode="{entity}"', pageSize=1)
    assert accounts["totalSize"] == 664
    account = client.account(entity, "0200706844")
    assert len(account["aliases"]) == 10
    again = client.upload(entity, file.read_bytes(), "again.csv")["rowCounts"]
    assert (again["read"], again["unchanged"]) == (9700, 9700)


def test_the_other_export_of_the_open_items_is_read_too(client, shared_data):
    file = shared_data / "ar/highradius_open_items/open_items_ddmmyyyy_usd.csv"
    entity = client.new_entity("USD", "US")
    run = client.upload(entity, file.read_bytes(), file.name)
    assert (run["state"], run["questions"]) == ("APPLIED", []), run
    counts = run["rowCounts"]
    assert counts["read"] == 9681
    assert counts["created"] + counts["rejected"] == 9681
