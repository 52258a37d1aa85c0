"""Every bad file ends with a clear message, and nothing is applied by half."""

import csv
import http.client
import io
import urllib.parse
import zipfile

import pytest
from flow_client import Client

HEADER = b"customer number,customer name,invoice number,invoice date,due date,currency,open amount\n"


def bomb() -> bytes:
    """A spreadsheet of 300 KB that would be 300 MB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 300_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (HEADER, "header_only.csv", "row"),
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40, "program.csv", "text"),
    ],
    ids=["header only", "binary"],
)
def test_a_file_that_is_none_fails_with_a_reason(client: Client, entity, content, name, words):
    run = client.upload(entity, content, name)
    assert run["state"] == "FAILED", run
    assert words.lower() in run["failure"].lower(), run["failure"]
    assert client.get("/v1/accounts", filter=f'entityCode="{entity}"')["totalSize"] == 0


def test_a_nul_byte_costs_its_row_and_names_line_and_field(client, entity):
    content = (
        HEADER + b"C-1,Name,INV-1,2026-07-01,2026-07-31,EUR,10.00\nC-1,Name,INV-2,2026-07-01,2026-07-31,EUR,1\x00.00\n"
    )
    run = client.upload(entity, content, "nul.csv")
    assert run["state"] == "APPLIED", run
    assert run["rowCounts"]["rejected"] == 1
    assert {(reject["line"], reject["field"]) for reject in run["rejects"]} == {(3, "openAmount")}


def test_an_empty_file_is_refused_at_once(client, entity):
    answer = client.request("POST", "/v1/imports", data={"entity": entity}, files={"file": ("empty.csv", b"")})
    assert (answer.status_code, answer.json()["reason"]) == (400, "FILE_EMPTY")


def test_a_zip_bomb_is_not_unpacked(client, entity):
    run = client.upload(entity, bomb(), "bomb.xlsx")
    assert run["state"] == "FAILED", run
    assert run["failure"]


def test_more_than_two_gigabytes_are_refused_before_they_are_read(client, entity):
    address = urllib.parse.urlsplit(client.platform.gateway_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.putrequest("POST", "/v1/imports")
    connection.putheader("Authorization", f"Bearer {client.platform.key}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(3 * 1024**3))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"MiB" in answer.read()


def test_an_unknown_entity_is_named(client):
    answer = client.request("POST", "/v1/imports", data={"entity": "NOWHERE"}, files={"file": ("a.csv", HEADER + b"x")})
    assert (answer.status_code, answer.json()["reason"]) == (404, "ENTITY_UNKNOWN")


def test_bad_rows_are_named_with_line_and_field_and_good_ones_go_in(client, entity, fixture_file):
    run = client.upload(entity, fixture_file("bad_rows.csv"), "bad_rows.csv")
    assert run["state"] == "APPLIED", run
    assert (run["rowCounts"]["created"], run["rowCounts"]["rejected"]) == (2, 7), run["rejects"]
    assert {(reject["line"], reject["field"]) for reject in run["rejects"]} == {
        (3, "issueOn"),
        (4, "currency"),
        (5, "itemNumber"),
        (6, "itemNumber"),
        (7, "accountName"),
        (8, "openAmount"),
        (9, "accountNumber"),
    }
    assert all(reject["reason"] for reject in run["rejects"])
    download = client.request("GET", f"/v1/imports/{run['importId']}/rejects.csv")
    assert download.status_code == 200
    cells = [cell for row in csv.reader(io.StringIO(download.text.lstrip("\ufeff"))) for cell in row]
    assert "BAD-CUR" in cells and not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_an_ambiguous_date_order_is_asked_with_evidence_and_then_never_again(client, entity, fixture_file):
    run = client.upload(entity, fixture_file("ambiguous_dates.csv"))
    assert run["state"] == "QUESTIONS"
    [question] = run["questions"]
    assert (question["code"], sorted(question["options"])) == ("dateOrder", ["DMY", "MDY"])
    refused = client.request("POST", f"/v1/imports/{run['importId']}:apply", json={})
    assert (refused.status_code, refused.json()["reason"]) == (409, "QUESTIONS_OPEN")
    client.post(f"/v1/imports/{run['importId']}:apply", {"answers": {"dateOrder": "DMY"}})
    applied = client.settled(run["importId"])
    assert applied["state"] == "APPLIED"
    account = client.account(entity, "D-1")
    assert client.items(account["accountId"])["INV-1"]["issueOn"] == "2026-04-03"
    next_time = fixture_file("ambiguous_dates.csv").replace(b"INV-2", b"INV-9")
    assert client.upload(entity, next_time)["state"] == "APPLIED"


def test_answers_may_come_with_the_file(client, entity, fixture_file):
    run = client.upload(entity, fixture_file("ambiguous_dates.csv"), answers={"dateOrder": "MDY"})
    assert run["state"] == "APPLIED"
    assert client.items(client.account(entity, "D-1")["accountId"])["INV-1"]["issueOn"] == "2026-03-04"


def test_a_stock_file_that_would_clear_too_much_asks_first(client, entity, fixture_file):
    assert client.upload(entity, fixture_file("open_items_fr.csv"))["state"] == "APPLIED"
    lines = fixture_file("open_items_fr.csv").splitlines(keepends=True)
    run = client.upload(entity, b"".join(lines[:4]), mode="stock")
    assert run["state"] == "QUESTIONS", run
    assert [question["code"] for question in run["questions"]] == ["stockGuard"]
    option = run["questions"][0]["options"][0]
    client.post(f"/v1/imports/{run['importId']}:apply", {"answers": {"stockGuard": option}})
    applied = client.settled(run["importId"])
    assert applied["state"] == "APPLIED"
    assert applied["rowCounts"]["clearedAbsent"] == 5


def test_ids_of_nobody_and_wrong_keys_are_not_found_or_refused(client):
    missing = "00000000-0000-7000-8000-000000000000"
    for path in ("accounts", "imports", "items", "messages", "responses", "cases", "actions"):
        answer = client.request("GET", f"/v1/{path}/{missing}")
        assert (path, answer.status_code) == (path, 404)
    assert client.request("GET", "/v1/accounts", headers={"Authorization": "Bearer qk_wrong"}).status_code == 401
