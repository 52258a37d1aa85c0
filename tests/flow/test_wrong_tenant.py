"""Whatever another tenant asks by an id that is not his is not there: over REST, in the pages, in lists and in bodies.

The routes come from /openapi.json and from the pages' own blueprints, so that a new one is covered the day it is there;
an id of a kind this test has never seen fails it until the story below makes one.
"""

import importlib
import json
import pkgutil
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from flask import Flask
from flow_client import Client, Customer

import gateway.web
from stack.harness import Tenant

ACCOUNT = "0001042"
CONTENT = "open_items_fr.csv"
# Words of the owner's data that no stranger may read in any answer.
SECRETS = ("Papeterie", "FA-100", "papeterie.example.com", "Ateliers", "FA-200", "12480.50", "12 480,50")
NO_ID = {"key": "same-for-both-tenants"}
# Moves by itself: when a key was last used.
RESTLESS = re.compile(r'"lastUsedAt":\s*"[^"]*",?')


@dataclass
class Owner:
    """Everything the owning tenant has, by the name an id has in paths and bodies."""

    client: Client
    document: dict[str, Any]
    ids: dict[str, str]

    def routes(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(verb, path, operation) of the whole API."""
        for path, operations in self.document["paths"].items():
            for verb, operation in operations.items():
                yield verb.upper(), path, operation

    def fill(self, path: str) -> str:
        """The path with the owner's ids in it."""
        names = re.findall(r"\{(\w+)\}", path)
        unknown = [name for name in names if name not in self.ids]
        assert not unknown, f"{path}: let the story of this test make a {unknown[0]} of the owner's"
        for name in names:
            path = path.replace("{" + name + "}", self.ids[name])
        return path

    def body(self, operation: dict[str, Any]) -> Any:
        """A plausible body: every required field, and every field that can name something of the owner's."""
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        return self._value("", content["schema"]) if content else None

    def _value(self, name: str, schema: dict[str, Any]) -> Any:
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        if "enum" in schema:
            return next(value for value in schema["enum"] if value != "UNSPECIFIED")
        match schema["type"]:
            case "object":
                required = schema.get("required", [])
                fields = schema.get("properties", {})
                if set(fields) == {"currency", "amount"}:
                    return {"currency": "EUR", "amount": "1.00"}
                return {
                    field: self._value(field, inner)
                    for field, inner in fields.items()
                    if field in required or self._named(field) or field in ("lines", "holds", "reason", "comment")
                }
            case "array":
                value = self._value(name, schema["items"])
                return [] if value in ("", {}) else [value]
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
        if self._named(name):
            return self.ids[self._named(name)]
        examples = {"date": "2026-10-01", "email": "stranger@example.com", "uuid": str(uuid.uuid4())}
        if schema.get("format") in examples:
            return examples[schema["format"]]
        words = {"country": "FR", "currency": "EUR", "role": "guest", "reasonCode": "PRICE", "source": "CALL"}
        return words.get(name, "words")

    def _named(self, field: str) -> str:
        """The kind of id a field of a body holds; empty when it holds none."""
        single = field.removesuffix("s")
        return single if single in self.ids and single != "entity" else ""

    def everything(self) -> dict[str, str]:
        """What the owner sees of all he has, route by route."""
        seen = {}
        for verb, path, operation in self.routes():
            if verb != "GET" or path.endswith("/events") or not path.startswith("/v1/"):
                continue
            needed = {
                parameter["name"]: "Papeterie"
                for parameter in operation.get("parameters", [])
                if parameter["in"] == "query" and parameter.get("required")
            }
            answer = self.client.request("GET", self.fill(path), params=needed)
            assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
            seen[path] = RESTLESS.sub("", answer.text)
        return seen


@pytest.fixture(scope="module")
def owner(client: Client, fixture_file) -> Owner:
    """A tenant with one of everything."""
    entity = client.new_entity()
    run = client.upload(entity, fixture_file(CONTENT))
    assert run["state"] == "APPLIED", run
    assert client.upload(entity, fixture_file("contacts.csv"), "contacts.csv", object="contacts")["state"] == "APPLIED"
    account = client.account(entity, ACCOUNT)["accountId"]
    items = client.items(account)
    contact = client.get(f"/v1/accounts/{account}")["contacts"][0]
    action = client.action(account)
    message = client.sent(client.post(f"/v1/actions/{action['actionId']}:send")["messageId"])
    customer = Customer(message["portalLink"])
    customer.open()
    assert customer.answer("PROMISE", [items["FA-1001"]["itemId"]], on="2026-09-25").status_code == 200
    [answer] = client.get("/v1/responses", accountId=account)["responses"]
    promise = client.post(f"/v1/responses/{answer['responseId']}:accept")["promiseId"]
    customer.open()
    disputed = customer.answer("DISPUTE", [items["FA-1002"]["itemId"]], reason="PRICE", comment="Prix")
    assert disputed.status_code == 200
    waiting = next(
        one for one in client.get("/v1/responses", accountId=account)["responses"] if one["state"] == "RECEIVED"
    )
    case = client.post(
        "/v1/cases",
        {"accountId": account, "reasonCode": "PRICE", "lines": [{"itemId": items["FA-1003"]["itemId"]}]},
        headers={"Idempotency-Key": NO_ID["key"]},
    )
    entity_id = next(one for one in client.get("/v1/entities")["entities"] if one["code"] == entity)["entityId"]
    hold = client.get("/v1/holds", filter=f'accountId="{account}"')["holds"][0]
    return Owner(
        client,
        client.get("/openapi.json"),
        {
            "entity": entity_id,
            "entityId": entity_id,
            "importId": run["importId"],
            "profileId": client.get("/v1/import-profiles")["profiles"][0]["profileId"],
            "accountId": account,
            "itemId": items["FA-1001"]["itemId"],
            "contactId": contact["contactId"],
            "actionId": action["actionId"],
            "messageId": message["messageId"],
            "linkId": client.get("/v1/links", filter=f'accountId="{account}"')["links"][0]["linkId"],
            "responseId": waiting["responseId"],
            "promiseId": promise,
            "caseId": case["caseId"],
            "holdId": hold["holdId"],
            "scenarioId": client.get("/v1/scenarios")["scenarios"][0]["scenarioId"],
            "templateId": client.get("/v1/templates")["templates"][0]["templateId"],
            "userId": client.get("/v1/users")["users"][0]["userId"],
            "apiKeyId": client.get("/v1/api-keys")["apiKeys"][0]["apiKeyId"],
        },
    )


@pytest.fixture(scope="module")
def tenant(client: Client) -> Tenant:
    """Somebody else's group on the same platform."""
    return client.platform.new_tenant("Other group", "admin@other.example.com")


@pytest.fixture(scope="module")
def ask(client: Client, tenant: Tenant) -> Callable[..., httpx.Response]:
    """A call with the stranger's key."""

    def call(verb: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {tenant.key}", "Idempotency-Key": str(uuid.uuid4())}
        return client.request(verb, path, **{"headers": headers, **more})

    return call


def leak(answer: httpx.Response, what: str, kind: str = "application/problem+json") -> list[str]:
    """What is wrong with an answer that must be a 404 without one of the owner's words."""
    is_good = (
        answer.status_code == 404
        and answer.headers["content-type"].startswith(kind)
        and not [word for word in SECRETS if word in answer.text]
    )
    return [] if is_good else [f"{what}: {answer.status_code} {answer.text[:300]}"]


def test_every_route_with_an_id_answers_404_to_another_tenant_and_changes_nothing(owner: Owner, ask):
    before = owner.everything()
    assert all(word in json.dumps(before) for word in ("Papeterie", "FA-100")), "the story shows what must stay secret"
    asked = [(verb, path, operation) for verb, path, operation in owner.routes() if "{" in path]
    assert {verb for verb, _, _ in asked} >= {"GET", "POST", "PATCH", "DELETE"} and len(asked) > 40
    leaks: list[str] = []
    for verb, path, operation in asked:
        leaks += leak(ask(verb, owner.fill(path), json=owner.body(operation)), f"{verb} {path}")
    assert not leaks, "\n".join(leaks)
    assert owner.everything() == before


def test_an_id_in_a_body_or_a_query_is_nobodys_for_another_tenant(owner: Owner, ask):
    before = owner.everything()
    leaks: list[str] = []
    for verb, path, operation in owner.routes():
        if "{" in path or not path.startswith("/v1/"):
            continue
        body = owner.body(operation)
        if any(f'"{known}"' in json.dumps(body) for known in owner.ids.values()):
            answer = ask(verb, path, json=body)
            if path == "/v1/holds:release":
                # Ending what is not there any more is no mistake: nothing is ended, and nothing told.
                assert answer.status_code in (200, 404) and not answer.json().get("holds"), answer.text
                continue
            leaks += leak(answer, f"{verb} {path}")
        names = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"}
        for name in (names & set(owner.ids)) - {"entity"}:
            answer = ask(verb, path, params={name: owner.ids[name]})
            assert answer.status_code in (200, 404), f"{path}: {answer.text}"
            assert not [word for word in SECRETS if word in answer.text], f"{path}: {answer.text[:1000]}"
            assert not any(value for value in answer.json().values() if isinstance(value, list)), answer.text[:1000]
    assert not leaks, "\n".join(leaks)
    assert owner.everything() == before


def test_lists_reports_and_search_hold_nothing_of_another_tenant(owner: Owner, ask):
    for verb, path, _ in owner.routes():
        if verb != "GET" or "{" in path or not path.startswith("/v1/"):
            continue
        answer = ask("GET", path, params={"query": "Papeterie"} if path == "/v1/search" else {})
        assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
        text = answer.text
        assert not [word for word in SECRETS if word in text], f"{path}: {text[:1000]}"
        leaked = [name for name, value in owner.ids.items() if value in text]
        assert not leaked, f"{path} tells the owner's {leaked}: {text[:1000]}"


def test_the_same_codes_numbers_files_and_keys_belong_to_each_tenant_by_itself(owner: Owner, ask, fixture_file):
    before = owner.everything()
    code = owner.client.get(f"/v1/entities/{owner.ids['entity']}")["code"]
    opened = ask("POST", "/v1/entities", json={"code": code, "name": "Other", "country": "FR", "currency": "EUR"})
    assert opened.status_code == 200 and opened.json()["entityId"] != owner.ids["entityId"], opened.text
    files = {"file": (CONTENT, fixture_file(CONTENT))}
    started = ask("POST", "/v1/imports", data={"entity": code, "apply": "true"}, files=files)
    assert started.status_code == 202, started.text
    stranger = _Stranger(owner.client, ask)
    run = stranger.settled(started.json()["importId"])
    assert (run["state"], run["rowCounts"]["created"]) == ("APPLIED", 8), run
    account = stranger.account(code, ACCOUNT)
    assert account["accountId"] != owner.ids["accountId"]
    item = stranger.items(account["accountId"])["FA-1003"]
    opened = ask(
        "POST",
        "/v1/cases",
        json={"accountId": account["accountId"], "reasonCode": "PRICE", "lines": [{"itemId": item["itemId"]}]},
        headers={"Authorization": stranger.authorization, "Idempotency-Key": NO_ID["key"]},
    )
    assert opened.status_code == 200 and opened.json()["caseId"] != owner.ids["caseId"], opened.text
    # What is his and what is not in one breath: nothing of it happens, and the owner's item is one he does not have.
    mixed = ask(
        "POST", "/v1/promises",
        json={
            "accountId": account["accountId"], "promisedOn": "2026-10-01", "lines": [{"itemId": owner.ids["itemId"]}],
        },
    )  # fmt: skip
    assert mixed.status_code in (404, 409) and not [word for word in SECRETS if word in mixed.text], mixed.text
    invented = ask(
        "POST", "/v1/promises",
        json={"accountId": account["accountId"], "promisedOn": "2026-10-01", "lines": [{"itemId": str(uuid.uuid4())}]},
    )  # fmt: skip
    assert (mixed.status_code, mixed.json()["detail"]) == (invented.status_code, invented.json()["detail"])
    assert owner.everything() == before


class _Stranger(Client):
    """A program with the other tenant's key."""

    def __init__(self, client: Client, ask: Callable[..., httpx.Response]) -> None:
        super().__init__(client.platform)
        self._ask = ask
        self.authorization = ask("GET", "/v1/me").request.headers["Authorization"]

    def get(self, path: str, **query: Any) -> Any:
        answer = self._ask("GET", path, params=query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:1000]}"
        return answer.json()


def pages() -> Iterator[tuple[str, str]]:
    """(verb, path with {names}) of every page of the workspace that names something by its id."""
    app = Flask("routes")
    for module in pkgutil.iter_modules(gateway.web.__path__):
        found = getattr(importlib.import_module(f"gateway.web.{module.name}"), "blueprint", None)
        if found is not None:
            app.register_blueprint(found)
    for rule in app.url_map.iter_rules():
        if "static" in rule.endpoint or not rule.arguments:
            continue
        path = re.sub(r"<[^>]*?(\w+)>", lambda name: "{" + _camel(name[1]) + "}", rule.rule)
        for verb in sorted((rule.methods or set()) & {"GET", "POST"}):
            yield verb, path


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def test_every_page_of_the_owners_is_a_page_not_found_for_a_stranger_who_is_signed_in(owner: Owner, tenant: Tenant):
    before = owner.everything()
    asked = list(pages())
    assert len(asked) > 20
    with httpx.Client(base_url=owner.client.platform.gateway_url, timeout=30) as browser:
        form = browser.get("/sign-in").text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
        assert token, "the sign-in page has its token"
        entered = browser.post(
            "/sign-in", data={"email": tenant.email, "password": tenant.password, "csrf_token": token[1]}
        )
        assert entered.status_code == 303, entered.text[:500]
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get("/profile").text)
        assert token, "a page has its token"
        leaks: list[str] = []
        for verb, path in asked:
            form = {"csrf_token": token[1], "item": owner.ids["itemId"], **PAGE_FORM} if verb == "POST" else None
            answer = browser.request(verb, owner.fill(path), data=form)
            leaks += leak(answer, f"{verb} {path} {answer.headers.get('location', '')}", "text/html")
    assert not leaks, "\n".join(leaks)
    assert owner.everything() == before


# What the forms of the pages send, all together: each takes what it knows.
PAGE_FORM = {
    "reason": "PRICE", "comment": "words", "subject": "words", "body": "<p>words</p>", "untilOn": "2026-10-01",
    "until": "2026-10-01", "on": "2026-10-01", "due_on": "2026-10-01", "promised_on": "2026-10-01", "amount": "1",
    "currency": "EUR", "outcome": "REJECTED", "state": "IN_PROGRESS", "owner": "words", "text": "words",
    "name": "words", "email": "stranger@example.com", "role": "CONTACT_ROLE_BUYER", "reason_code": "PRICE",
    "request_id": "6f1c7b60-54c5-4c79-8b4e-0d7d8f0f4c11", "sent": "1", "until_on": "2026-10-01",
}  # fmt: skip
