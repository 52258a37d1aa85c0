"""Calls over HTTP: a fake ledger and import behind the kit's real guard, the real gateway in front."""

import io
import json

import pytest
from werkzeug.test import EnvironBuilder

from gateway import domain
from kit.errors import Code, Refused
from quittance.common.v1.money_pb2 import Money
from quittance.importer.v1 import import_service_pb2 as importer
from quittance.ledger.v1 import account_pb2, item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger

from .conftest import csrf_of, sign_in

ENTITY = {"code": "FR01", "name": "Sample SAS", "country": "FR", "currency": "EUR"}
ID = "0190aaaa-0000-7000-8000-000000000001"


def test_create_entity_end_to_end(platform, client, bearer, group):
    platform.ledger.answer = ledger.CreateEntityResponse(entity_id=ID, code="FR01")
    answer = client.post("/v1/entities", json=ENTITY, headers={**bearer, "Idempotency-Key": "mine-1"})
    assert (answer.status_code, answer.json["entityId"], answer.json["code"]) == (200, ID, "FR01")
    request, caller = platform.ledger.requests[0], platform.ledger.callers[0]
    assert (request.code, request.request_id) == ("FR01", "mine-1")
    assert caller.tenant_id == group.tenant_id
    assert caller.permissions == domain.ROLES["administrator"].permissions
    assert caller.entity_codes is None


def test_an_id_is_made_where_none_is_needed_but_not_for_money(platform, client, bearer):
    platform.ledger.answer = ledger.CreateEntityResponse()
    client.post("/v1/entities", json=ENTITY, headers=bearer)
    assert len(platform.ledger.requests[0].request_id) == 36
    refused = client.post("/v1/holds", json={"accountId": ID, "holds": []}, headers=bearer)
    assert (refused.status_code, refused.json["reason"]) == (400, "IDEMPOTENCY_KEY_MISSING")
    assert "requestId" in refused.json["fields"]


def test_key_in_header_and_body_must_agree(platform, client, bearer):
    body = {**ENTITY, "requestId": "b"}
    answer = client.post("/v1/entities", json=body, headers={**bearer, "Idempotency-Key": "a"})
    assert answer.status_code == 400
    assert not platform.ledger.requests


def test_refusals_cross_with_reason_and_fields(platform, client, bearer):
    platform.ledger.answer = Refused(
        Code.ALREADY_EXISTS, "ENTITY_CODE_TAKEN", "FR01 is taken", {"entity_code": "is taken"}, taken_by="FR02"
    )
    answer = client.post("/v1/entities", json=ENTITY, headers=bearer)
    assert answer.status_code == 409
    assert answer.content_type == "application/problem+json"
    body = answer.json
    assert body["type"] == "urn:quittance:ENTITY_CODE_TAKEN"
    assert body["reason"] == "ENTITY_CODE_TAKEN"
    assert body["fields"] == {"entityCode": "is taken"}
    assert body["metadata"] == {"taken_by": "FR02"}
    assert body["detail"] == "FR01 is taken"
    assert body["traceId"]


@pytest.mark.parametrize(
    "code, status",
    [
        (Code.NOT_FOUND, 404),
        (Code.INVALID_ARGUMENT, 400),
        (Code.FAILED_PRECONDITION, 409),
        (Code.ALREADY_EXISTS, 409),
        (Code.PERMISSION_DENIED, 403),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.UNAUTHENTICATED, 500),
        (Code.INTERNAL, 500),
    ],
)
def test_status_of_every_kind_of_refusal(platform, client, bearer, code, status):
    platform.ledger.answer = Refused(code, "SOME_REASON", "said")
    assert client.get(f"/v1/accounts/{ID}", headers=bearer).status_code == status


def test_what_breaks_inside_stays_inside(platform, client, bearer):
    platform.ledger.answer = RuntimeError("postgresql://ledger:secret@db/ledger")
    answer = client.get(f"/v1/accounts/{ID}", headers=bearer)
    assert (answer.status_code, answer.json["reason"]) == (500, "INTERNAL")
    assert "secret" not in answer.text


def test_a_service_that_is_away_is_503_without_addresses(platform, client, bearer, monkeypatch):
    monkeypatch.setenv("QUITTANCE_DISPUTE_ADDRESS", "127.0.0.1:9")
    answer = client.get("/v1/cases", headers=bearer)
    assert (answer.status_code, answer.json["reason"]) == (503, "SERVICE_UNAVAILABLE")
    assert "Retry-After" in answer.headers
    assert "127.0.0.1" not in answer.text


def test_the_services_own_validation_names_fields_as_json(platform, client, bearer):
    answer = client.post("/v1/entities", json={**ENTITY, "country": "XX", "name": ""}, headers=bearer)
    assert answer.status_code == 400
    assert {"country", "name"} <= set(answer.json["fields"])
    assert not platform.ledger.requests


def test_unknown_fields_and_parameters_are_refused(platform, client, bearer):
    answer = client.post("/v1/entities", json={**ENTITY, "isAdmin": True}, headers=bearer)
    assert (answer.status_code, answer.json["reason"]) == (400, "UNKNOWN_FIELDS")
    assert list(answer.json["fields"]) == ["isAdmin"]
    answer = client.get("/v1/accounts?nonsense=1", headers=bearer)
    assert list(answer.json["fields"]) == ["nonsense"]


def test_query_parameters_in_both_spellings(platform, client, bearer):
    platform.ledger.answer = ledger.ListItemsResponse(
        items=[item_pb2.Item(item_id=ID, state=1, open=Money(currency="USD", minor_units=572506))], total_size=1
    )
    for query in (
        "filter=state%3DOPEN&orderBy=due_on&pageSize=7&pageToken=",
        "filter=state%3DOPEN&order_by=due_on&page_size=7",
    ):
        answer = client.get(f"/v1/accounts/{ID}/items?{query}", headers=bearer)
        assert answer.status_code == 200, answer.text
        request = platform.ledger.requests[-1]
        assert (request.account_id, request.filter, request.order_by, request.page_size) == (
            ID,
            "state=OPEN",
            "due_on",
            7,
        )
    assert answer.json["items"][0]["open"] == {"currency": "USD", "amount": "5725.06"}
    assert answer.json["items"][0]["state"] == "OPEN"
    assert (answer.json["totalSize"], answer.json["nextPageToken"]) == (1, "")
    client.get("/v1/items?pageSize=3", headers=bearer)
    assert platform.ledger.requests[-1].account_id == ""
    twice = client.get("/v1/items?pageSize=3&page_size=4", headers=bearer)
    assert twice.status_code == 400


def test_response_body_is_the_whole_body(platform, client, bearer):
    platform.ledger.answer = ledger.GetAccountResponse(account=account_pb2.Account(account_id=ID, number="00042"))
    answer = client.get(f"/v1/accounts/{ID}", headers=bearer)
    assert (answer.json["accountId"], answer.json["number"]) == (ID, "00042")
    assert answer.json["balances"] == []


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/accounts", 405),
        ("POST", f"/v1/accounts/{ID}:nonsense", 404),
        ("DELETE", f"/v1/accounts/{ID}", 405),
    ],
)
def test_unknown_routes_and_methods(client, bearer, method, path, status):
    answer = client.open(path, method=method, headers=bearer)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    if status == 405:
        assert "GET" in answer.headers["Allow"]


def test_bodies_that_cannot_be_read(platform, make_app, bearer):
    client = make_app(body_max_bytes=2000).test_client()
    headers = {**bearer, "Content-Type": "application/json"}
    assert client.post("/v1/entities", data="{", headers=headers).json["reason"] == "JSON_MALFORMED"
    assert client.post("/v1/entities", data="x" * 3000, headers=headers).status_code == 413
    form = client.post("/v1/entities", data={"code": "FR01"}, headers=bearer)
    assert form.status_code == 415


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer qk_wrong", "Basic abc", "Bearer eyJhbGciOiJub25lIn0.e30.", f"Bearer qk_{'x' * 300}"],
)
def test_wrong_keys_are_401(platform, client, header):
    answer = client.get("/v1/accounts", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.content_type == "application/problem+json"


def test_a_revoked_key_ends_at_once(platform, client, bearer):
    made = client.post("/v1/api-keys", json={"name": "robot", "role": "guest"}, headers=bearer)
    assert made.status_code == 200, made.text
    secret = made.json["secret"]
    assert secret.startswith("qk_")
    assert len(secret) >= 43
    own = {"Authorization": f"Bearer {secret}"}
    me = client.get("/v1/me", headers=own).json
    assert (me["name"], me["role"]) == ("robot", "guest")
    assert client.post("/v1/entities", json=ENTITY, headers=own).status_code == 403
    listed = client.get("/v1/api-keys", headers=bearer)
    assert secret not in listed.text
    assert {key["prefix"] for key in listed.json["apiKeys"]} >= {secret[:10]}
    revoked = client.post(f"/v1/api-keys/{made.json['apiKey']['apiKeyId']}:revoke", headers=bearer)
    assert revoked.json["revokedAt"]
    assert client.get("/v1/me", headers=own).status_code == 401


def test_too_many_calls_are_429(platform, make_app, bearer):
    client = make_app(api_rate_per_s=0.01, api_rate_burst=3).test_client()
    statuses = [client.get("/v1/roles", headers=bearer).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = client.get("/v1/roles", headers=bearer)
    assert answer.json["reason"] == "RATE_LIMITED"
    assert int(answer.headers["Retry-After"]) >= 1


# ---- the session calls the API too ----------------------------------------------------------------------------------


def test_a_session_may_call_the_api_with_its_csrf_token(platform, client, group):
    platform.ledger.answer = ledger.CreateEntityResponse(entity_id=ID, code="FR01")
    sign_in(client, group.email)
    assert client.get("/v1/me").json["subject"] == group.email
    without = client.post("/v1/entities", json=ENTITY)
    assert (without.status_code, without.json["reason"]) == (403, "CSRF_FAILED")
    wrong = client.post("/v1/entities", json=ENTITY, headers={"X-CSRF-Token": "x"})
    assert wrong.status_code == 403
    assert not platform.ledger.requests
    with_token = client.post("/v1/entities", json=ENTITY, headers={"X-CSRF-Token": csrf_of(client)})
    assert with_token.status_code == 200, with_token.text


def test_permissions_of_a_person_hold_in_the_api(platform, client, add_user):
    platform.ledger.answer = ledger.GetAccountResponse()
    sign_in(client, add_user("guest", entity_codes=["FR01"]))
    assert client.get(f"/v1/accounts/{ID}").status_code == 200
    assert platform.ledger.callers[-1].entity_codes == frozenset({"FR01"})
    refused = client.post("/v1/entities", json=ENTITY, headers={"X-CSRF-Token": csrf_of(client)})
    assert (refused.status_code, refused.json["reason"]) == (403, "PERMISSION_MISSING")


# ---- languages -------------------------------------------------------------------------------------------------------


def test_every_call_asks_the_services_in_the_language_of_the_program(platform, client, bearer):
    platform.ledger.answer = ledger.GetAccountResponse()
    for header, spoken in (("fr-CA,fr;q=0.9", "fr"), ("de, fr;q=0.5", "fr"), ("en-GB", "en"), ("", "en")):
        answer = client.get(f"/v1/accounts/{ID}", headers={**bearer, "Accept-Language": header})
        assert answer.status_code == 200, answer.text
        assert platform.ledger.languages[-1] == spoken


def test_every_call_asks_the_services_in_the_language_the_person_has_chosen(platform, client, add_user):
    platform.ledger.answer = ledger.GetAccountResponse()
    sign_in(client, add_user("executive", language="fr"))
    assert client.get(f"/v1/accounts/{ID}", headers={"Accept-Language": "en"}).status_code == 200
    assert platform.ledger.languages[-1] == "fr"


def test_refusals_of_services_and_of_the_gateway_itself_are_in_the_language_of_the_program(platform, client, bearer):
    french = {**bearer, "Accept-Language": "fr"}
    platform.ledger.answer = Refused(Code.NOT_FOUND, "ANY", "the database cannot be reached")
    assert client.get(f"/v1/accounts/{ID}", headers=french).json["detail"] == "la base de données est injoignable"
    assert client.get(f"/v1/accounts/{ID}", headers=bearer).json["detail"] == "the database cannot be reached"
    wrong = client.get("/v1/accounts/no-uuid", headers=french).json
    assert wrong["fields"] == {"accountId": "n'est pas un identifiant (UUID)"}
    assert wrong["detail"] == "accountId: n'est pas un identifiant (UUID)"
    own = client.post("/v1/entities", json={"cod": "x"}, headers=french).json
    assert own["fields"] == {"cod": "n'est pas un champ de cet appel"}
    unknown = client.get("/v1/me", headers={"Accept-Language": "fr"}).json
    assert unknown["detail"].startswith("connectez-vous")


# ---- files -----------------------------------------------------------------------------------------------------------


def _upload(client, headers, content=b"number;amount\n1;2\n", **fields):
    data = {"file": (io.BytesIO(content), fields.pop("name", "items.csv")), "entity": "FR01", **fields}
    return client.post("/v1/imports", data=data, headers=headers, content_type="multipart/form-data")


def test_an_upload_goes_to_import_in_pieces(platform, client, bearer):
    content = bytes(range(256)) * 4000  # About a megabyte.
    answer = _upload(
        client, bearer, content, mode="stock", object="items", answers=json.dumps({"dateOrder": "DMY"}), apply="true",
        name="../../etc/op\x00en.csv",
    )  # fmt: skip
    assert (answer.status_code, answer.json) == (202, {"importId": ID, "state": "UPLOADED"})
    header = platform.importer.header
    assert (header.entity_code, header.mode, header.object, header.apply) == (
        "FR01",
        "stock",
        importer.IMPORT_OBJECT_ITEMS,
        True,
    )
    assert dict(header.answers) == {"dateOrder": "DMY"}
    assert header.size_bytes == len(content)
    assert "/" not in header.file_name
    assert b"".join(platform.importer.pieces) == content
    assert max(map(len, platform.importer.pieces)) <= 256 * 1024


def test_wrong_uploads_name_their_fields(platform, client, bearer):
    answer = _upload(client, bearer, mode="all", apply="maybe", answers="[1]", object="cats", strange="1")
    assert answer.status_code == 400
    assert set(answer.json["fields"]) == {"mode", "apply", "answers", "object", "strange"}
    answer = client.post("/v1/imports", data={"x": "1"}, headers=bearer, content_type="multipart/form-data")
    assert {"file", "entity"} <= set(answer.json["fields"])
    assert _upload(client, bearer, b"").json["reason"] == "FILE_EMPTY"
    assert client.post("/v1/imports", json={}, headers=bearer).status_code == 415


def test_a_file_over_the_limit_is_413_before_it_is_read(platform, make_app, bearer):
    client = make_app(upload_max_bytes=1024).test_client()
    answer = client.post(
        "/v1/imports",
        headers={**bearer, "Content-Type": "multipart/form-data; boundary=x"},
        environ_overrides={"CONTENT_LENGTH": str(3 * 1024**3), "wsgi.input": _Unreadable()},
    )
    assert (answer.status_code, answer.json["reason"]) == (413, "FILE_TOO_LARGE")
    assert "MiB" in answer.json["detail"]
    assert _upload(client, bearer, b"x" * 2000).status_code == 413
    assert platform.importer.header is None


def test_a_file_without_a_length_is_cut_off_at_the_limit(platform, make_app, bearer, monkeypatch):
    monkeypatch.setattr("gateway.uploads.FORM_SPARE_BYTES", 1000)
    client = make_app(upload_max_bytes=1024).test_client()
    data = {"file": (io.BytesIO(b"x" * 9000), "a.csv"), "entity": "FR01"}
    environ = EnvironBuilder(path="/v1/imports", method="POST", data=data, headers=bearer).get_environ()
    del environ["CONTENT_LENGTH"]
    answer = client.open({**environ, "wsgi.input_terminated": True})
    assert (answer.status_code, answer.json["reason"]) == (413, "FILE_TOO_LARGE")
    assert platform.importer.header is None


class _Unreadable:
    def read(self, *_):
        raise AssertionError("the body was read")

    readline = readlines = __iter__ = read


def test_refused_uploads_and_downloads(platform, client, bearer):
    platform.importer.refusal = Refused(Code.NOT_FOUND, "ENTITY_UNKNOWN", "no entity FR01")
    assert _upload(client, bearer).json["reason"] == "ENTITY_UNKNOWN"
    platform.importer.refusal = Refused(Code.NOT_FOUND, "IMPORT_UNKNOWN", "no such import")
    answer = client.get(f"/v1/imports/{ID}/rejects.csv", headers=bearer)
    assert (answer.status_code, answer.json["reason"]) == (404, "IMPORT_UNKNOWN")
    assert client.get(f"/v1/imports/{ID}/events", headers=bearer).status_code == 404


def test_rejects_come_as_a_file(platform, client, bearer):
    platform.importer.rejects = [b"\xef\xbb\xbfline,field\n", b"2,dueOn\n"]
    answer = client.get(f"/v1/imports/{ID}/rejects.csv", headers=bearer)
    assert answer.data == b"\xef\xbb\xbfline,field\n2,dueOn\n"
    assert "attachment" in answer.headers["Content-Disposition"]


def test_progress_is_told_until_it_is_over(platform, make_app, bearer):
    client = make_app(live_poll_s=0.01).test_client()
    platform.importer.states = [2, 2, 5, 6]
    answer = client.get(f"/v1/imports/{ID}/events", headers=bearer)
    assert answer.mimetype == "text/event-stream"
    events = [block for block in answer.text.split("\n\n") if block.startswith("event")]
    states = [json.loads(block.split("data: ")[1])["state"] for block in events]
    assert states == ["READING", "APPLYING", "APPLIED", "APPLIED"]
    assert events[-1].startswith("event: done")
    assert json.loads(events[-1].split("data: ")[1])["href"] == f"/imports/{ID}"
    again = client.get(f"/v1/imports/{ID}/events", headers={**bearer, "Last-Event-ID": "APPLIED-end"})
    assert again.status_code == 204


def test_a_stream_ends_after_its_time(platform, make_app, bearer):
    client = make_app(live_poll_s=0.01, live_max_s=0.1).test_client()
    platform.importer.states = [2]
    answer = client.get(f"/v1/imports/{ID}/events", headers=bearer)
    assert "event: done" not in answer.text
    assert "READING" in answer.text


# ---- what the platform says about itself -----------------------------------------------------------------------------


def test_health_names_what_is_missing(platform, client, monkeypatch):
    from grpc_health.v1 import health_pb2

    answer = client.get("/healthz")
    assert answer.status_code == 200, answer.text
    platform.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    monkeypatch.setenv("QUITTANCE_DISPUTE_ADDRESS", "127.0.0.1:9")
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json["missing"]["ledger"] == "is not ready"
    assert answer.json["missing"]["dispute"] == "does not answer"
    assert "database" not in answer.json["missing"]


def test_public_keys_have_no_private_part(client):
    keys = client.get("/.well-known/jwks.json").json["keys"]
    assert keys
    assert all("d" not in key and key["kid"] for key in keys)


def test_openapi_is_valid(client):
    validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed")
    validator.validate(client.get("/openapi.json").json)


def test_openapi_is_complete(client, app):
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for route in app.extensions["catalog"].routes:
        from gateway.openapi.writer import path_of

        operation = document["paths"][path_of(route)][route.verb.lower()]
        assert operation["description"], route.rpc_path
        assert operation["x-permission"] == route.needs
    ids = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids))
    schemas = document["components"]["schemas"]
    assert schemas["ImportState"]["enum"][:2] == ["UNSPECIFIED", "UPLOADED"]
    references = set()
    _collect(document, references)
    assert all(reference.split("/")[-1] in schemas for reference in references if "/schemas/" in reference)
    entity = document["paths"]["/v1/entities"]["post"]
    body = entity["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["required"]) >= {"code", "name", "country", "currency"}
    assert "requestId" not in body["properties"]
    holds = document["paths"]["/v1/holds"]["post"]["parameters"]
    assert any(each["name"] == "Idempotency-Key" and each["required"] for each in holds)


def _collect(node, found):
    if isinstance(node, dict):
        if "$ref" in node:
            found.add(node["$ref"])
        for value in node.values():
            _collect(value, found)
    elif isinstance(node, list):
        for value in node:
            _collect(value, found)


def test_openapi_is_kept_by_its_tag(client):
    first = client.get("/openapi.json")
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


def test_docs_load_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert "<style" not in page
    assert client.get("/static/docs.js").status_code == 200
