"""Lists beside items, from the file to where they are kept: the ledger, credit-risk, the customer's sheet."""

from pathlib import Path

import pytest

OBJECTS = Path(__file__).resolve().parents[1] / "fixtures" / "objects"
ITEMS = """Customer;Name;Invoice No;Document type;Invoice Date;Due Date;Currency;Amount
C-100;Sample One;INV-1;Invoice;13/02/2026;15/03/2026;EUR;1200,50
C-100;Sample One;INV-2;Invoice;13/02/2026;15/03/2026;EUR;99,50
C-100;Sample One;P-77;Payment;15/03/2026;15/03/2026;EUR;-1300,00
C-200;Sample Two;INV-9;Invoice;13/02/2026;15/03/2026;EUR;300,00
C-200;Sample Two;CN-5;Credit note;20/03/2026;20/03/2026;EUR;-300,00
"""


@pytest.fixture(scope="module")
def books(client):
    entity = client.new_entity()
    assert client.upload(entity, ITEMS.encode())["rowCounts"]["created"] == 5
    return entity


@pytest.mark.parametrize(
    "name,created",
    [("sales_fr.csv", 3), ("orders_en.csv", 2), ("rates_en.csv", 3), ("allocations_en.csv", 3), ("cover_fr.csv", 1)],
)
def test_a_list_is_kept_once_however_often_it_comes(client, books, name, created):
    content = (OBJECTS / name).read_bytes()
    first = client.upload(books, content, name)
    assert (first["state"], first["rowCounts"]["created"], first["rejects"]) == ("APPLIED", created, [])
    again = client.upload(books, content, name)
    assert (again["state"], again["rowCounts"]["created"], again["rowCounts"]["updated"]) == ("APPLIED", 0, 0)


def test_cover_and_scores_stand_beside_the_exposure(client, books):
    client.upload(books, (OBJECTS / "cover_fr.csv").read_bytes(), "cover.csv")
    scores = b"Customer;Credit agency;Score;Score date\nC-100;Sample Agency;52;2026-08-31\n"
    assert client.upload(books, scores, "scores.csv")["state"] == "APPLIED"
    credit = client.get(f"/v1/accounts/{client.account(books, 'C-100')['accountId']}/credit")
    assert credit["insured"] == {"currency": "EUR", "amount": "50000.00"}
    assert [(one["score"], one["informedOn"]) for one in credit["information"]] == [("52", "2026-08-31")]


def test_a_row_of_nobody_is_refused_with_its_line(client, books):
    text = b"Customer;Month;Sales including tax;Currency\nNOBODY;2026-01;10,50;EUR\nC-100;2026-04;10,50;EUR\n"
    run = client.upload(books, text, "sales.csv")
    assert (run["rowCounts"]["created"], run["rowCounts"]["rejected"]) == (1, 1)
    assert [(one["line"], one["code"]) for one in run["rejects"]] == [(2, "unknownToLedger")]
