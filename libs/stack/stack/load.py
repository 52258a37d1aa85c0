"""Puts the sample group into a running platform through the same public API that everybody uses.

Each step is harmless when repeated, so a load that was cut off is simply begun again.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import httpx

from kit.clock import add_working_days, business_today
from stack import sample
from stack.layout import Unusable

CALL_TIMEOUT_S = 30.0
IMPORT_TIMEOUT_S = 120.0
NEWS_TIMEOUT_S = 30.0
POLL_EVERY_S = 0.3
PAGE_SIZE = 500
KEY_SPACE = uuid.UUID("5f0f6f0e-9f0b-5c8e-9d0a-6a6d1f2b7c11")

# One user per role preset (domain.md row 105), named by function.
USERS: tuple[tuple[str, str, str, tuple[str, ...], str], ...] = (
    ("credit.manager@example.com", "Credit manager", "credit_manager", (), "en"),
    ("collector.fr@example.com", "Collector France", "collector", ("FR01",), "fr"),
    ("collector.de@example.com", "Collector Germany", "collector", ("DE01",), "en"),
    ("collector.us@example.com", "Collector United States", "collector", ("US01",), "en"),
    ("sales.manager@example.com", "Sales manager", "sales_manager", (), "en"),
    ("sales.office@example.com", "Sales administration", "sales_administration", (), "fr"),
    ("controller@example.com", "Financial controller", "financial_controller", (), "en"),
    ("executive@example.com", "Finance director", "executive", (), "fr"),
    ("guest@example.com", "Guest", "guest", (), "en"),
)
# How many accounts get a promise or a dispute of a customer, so that every page has something true to show.
PROMISES = 5
# Reason and words of each dispute.
CASES = (
    ("PRICE", "The price is not the one on our order.", "Le prix n'est pas celui de notre commande."),
    ("QUANTITY", "Two pallets were missing.", "Il manquait deux palettes."),
    ("NOT_RECEIVED", "We do not have this invoice.", "Nous n'avons pas reçu cette facture."),
    ("QUALITY", "A part of the goods was damaged.", "Une partie de la marchandise était abîmée."),
)


class Api:
    """The platform's REST API with one key. Answers are JSON; a refusal raises Unusable with its reason."""

    def __init__(self, url: str, key: str):
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=CALL_TIMEOUT_S)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._read("GET", path, self._client.get(path, params=query))

    def post(self, path: str, body: dict[str, Any], *, known: tuple[str, ...] = ()) -> dict[str, Any]:
        """Posts under an idempotency key made of path and content; a refusal for one of the known reasons gives {}."""
        key = str(uuid.uuid5(KEY_SPACE, path + json.dumps(body, sort_keys=True)))
        answer = self._client.post(path, json=body, headers={"Idempotency-Key": key})
        if answer.status_code == 409 and any(reason in answer.text for reason in known):
            return {}
        return self._read("POST", path, answer)

    def upload(self, entity: str, kind: str, content: bytes) -> dict[str, Any]:
        """Uploads a file, waits until it is applied, and returns the import."""
        fields = {"entity": entity, "object": kind, "mode": "delta", "apply": "true"}
        files = {"file": (f"{entity.lower()}-{kind}.csv", content, "text/csv")}
        key = str(uuid.uuid5(KEY_SPACE, entity + kind + content.decode()))
        answer = self._client.post("/v1/imports", data=fields, files=files, headers={"Idempotency-Key": key})
        started = self._read("POST", "/v1/imports", answer)
        until = time.monotonic() + IMPORT_TIMEOUT_S
        while True:
            run = self.get(f"/v1/imports/{started['importId']}")
            if run["state"] == "APPLIED":
                return run
            if run["state"] in ("FAILED", "QUESTIONS", "CANCELLED") or time.monotonic() > until:
                told = {name: run.get(name) for name in ("state", "failure", "questions", "rejects", "rowCounts")}
                raise Unusable(f"the sample file {kind} of {entity} was not applied: {json.dumps(told)[:2000]}")
            time.sleep(POLL_EVERY_S)

    def pages(self, path: str, name: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All rows of a list."""
        token = ""
        while True:
            answer = self.get(path, pageSize=PAGE_SIZE, **query, **({"pageToken": token} if token else {}))
            yield from answer.get(name, [])
            token = answer.get("nextPageToken", "")
            if not token:
                return

    @staticmethod
    def _read(method: str, path: str, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code >= 400:
            raise Unusable(f"{method} {path} was refused ({answer.status_code}): {answer.text[:1000]}")
        return answer.json()


def load(url: str, key: str, say: Callable[[str], None], stopping: threading.Event) -> None:
    """Loads entities, customers, contacts, two years of items, limits, users, a few promises and cases."""
    api, today = Api(url, key), business_today()
    accounts = sample.build(today)
    for entity in sample.ENTITIES:
        body = {name: getattr(entity, name) for name in ("code", "name", "country", "currency", "language")}
        api.post("/v1/entities", {**body, "timeZone": entity.time_zone}, known=("EXISTS", "REUSED", "TAKEN"))
    codes = [entity.code for entity in sample.ENTITIES]
    makers = {"accounts": sample.accounts_file, "contacts": sample.contacts_file, "items": sample.items_file}
    for kind, make in makers.items():
        if stopping.is_set():
            return
        with ThreadPoolExecutor(max_workers=len(codes)) as pool:
            runs = list(
                pool.map(lambda code, kind=kind, make=make: api.upload(code, kind, make(accounts, code)), codes)
            )
        counts = [run["rowCounts"] for run in runs]
        rejected = sum(count.get("rejected", 0) for count in counts)
        if rejected:
            rejects = [reject for run in runs for reject in run.get("rejects", [])]
            raise Unusable(f"{rejected} rows of the sample {kind} were refused, the first: {json.dumps(rejects[:3])}")
        say(f"sample group: {sum(count.get('read', 0) for count in counts)} {kind} imported")
    ids = {(row["entityCode"], row["number"]): row["accountId"] for row in api.pages("/v1/accounts", "accounts")}
    for user_email, name, role, entity_codes, language in USERS:
        user = {
            "email": user_email,
            "name": name,
            "role": role,
            "entityCodes": list(entity_codes),
            "language": language,
        }
        api.post("/v1/users", user, known=("EXISTS", "TAKEN"))
    _limits(api, accounts, ids, today)
    _answers(api, accounts, ids, today)
    say("sample group: limits, users, promises and cases are in place")


def _limits(api: Api, accounts: list[sample.SampleAccount], ids: dict[tuple[str, str], str], today: date) -> None:
    """One limit per legal unit: the first of its accounts that has one speaks for it."""
    seen: set[tuple[str, str]] = set()
    for account in accounts:
        unit = (account.country, account.registration)
        if account.limit is None or unit in seen:
            continue
        seen.add(unit)
        amount = {"currency": account.entity.currency, "amount": f"{account.limit:.2f}"}
        body = {"amount": amount, "validFrom": (today - timedelta(days=120)).isoformat(), "reason": "Yearly review"}
        _post_when_known(api, f"/v1/accounts/{ids[account.entity.code, account.number]}/limits", body)


def _post_when_known(api: Api, path: str, body: dict[str, Any]) -> None:
    """Posts, and posts again while a service has not yet heard of the account."""
    until = time.monotonic() + NEWS_TIMEOUT_S
    while True:
        try:
            api.post(path, body)
            return
        except Unusable as error:
            if "UNKNOWN" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(POLL_EVERY_S)


def _answers(api: Api, accounts: list[sample.SampleAccount], ids: dict[tuple[str, str], str], today: date) -> None:
    """Promises and disputes on the overdue items of a few customers, as if they had been said on the telephone."""
    late = []
    for account in accounts:
        overdue = [
            i for i in account.items if i.kind == "invoice" and i.open_amount > 0 and i.due_on and i.due_on < today
        ]
        if overdue and account.habit.name in ("slow", "late", "arguing", "worsening"):
            late.append((account, overdue))
    for account, overdue in late[:PROMISES]:
        account_id = ids[account.entity.code, account.number]
        lines = [{"itemId": item["itemId"], "amount": item["open"]} for item in _items(api, account_id, overdue[:2])]
        body = {
            "accountId": account_id,
            "promisedOn": add_working_days(today, 6).isoformat(),
            "source": "CALL",
            "lines": lines,
        }
        _post_when_known(api, "/v1/promises", body)
    for (account, overdue), (reason, english, french) in zip(late[PROMISES:], CASES, strict=False):
        account_id = ids[account.entity.code, account.number]
        lines = [{"itemId": item["itemId"], "amount": item["open"]} for item in _items(api, account_id, overdue[:1])]
        said = {"comment": french if account.language == "fr" else english, "source": "COLLECTOR"}
        _post_when_known(api, "/v1/cases", {"accountId": account_id, "reasonCode": reason, "lines": lines, **said})


def _items(api: Api, account_id: str, wanted: list[sample.SampleItem]) -> list[dict[str, Any]]:
    numbers = {item.number for item in wanted}
    found = [item for item in api.pages(f"/v1/accounts/{account_id}/items", "items") if item["number"] in numbers]
    if len(found) != len(numbers):
        raise Unusable(f"the ledger shows {len(found)} of the {len(numbers)} sample items {', '.join(sorted(numbers))}")
    return found
