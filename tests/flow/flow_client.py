"""What a program does with the platform over HTTP, and what a customer does with his page."""

import html
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from stack.harness import Platform

WAIT_S = 30.0
LOOK_EVERY_S = 0.1
STILL = frozenset({"QUESTIONS", "PREVIEWED", "APPLIED", "FAILED", "CANCELLED"})

Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str, wait_s: float = WAIT_S) -> Found:
    """The first true answer of look; fails with what was waited for."""
    end = time.monotonic() + wait_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {wait_s:g} s in vain: {what}"
        time.sleep(LOOK_EVERY_S)


class Client:
    """A program with an administrator's key."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._numbers = itertools.count(1)

    def get(self, path: str, **query: Any) -> Any:
        return self.platform.get(path, **query)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Any:
        return self.platform.post(path, body, **more)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.platform.request(method, path, **more)

    def new_entity(self, currency: str = "EUR", country: str = "FR") -> str:
        """Opens an entity and returns its code."""
        code = f"T{next(self._numbers):03d}"
        made = self.post(
            "/v1/entities", {"code": code, "name": f"Test {code}", "country": country, "currency": currency}
        )
        assert made["code"] == code and made["entityId"]
        return code

    def upload(
        self,
        entity: str,
        content: bytes,
        name: str = "items.csv",
        *,
        apply: bool = True,
        wait: bool = True,
        **fields: str,
    ) -> dict:
        """Uploads a file and, if asked to wait, returns the import once nothing moves any more."""
        answers = fields.pop("answers", None)
        data = {"entity": entity, "apply": "true" if apply else "false", **fields}
        if answers is not None:
            data["answers"] = json.dumps(answers)
        answer = self.request("POST", "/v1/imports", data=data, files={"file": (name, content)})
        assert answer.status_code == 202, f"{answer.status_code} {answer.text[:2000]}"
        return self.settled(answer.json()["importId"]) if wait else answer.json()

    def settled(self, import_id: str, wait_s: float = 120.0) -> dict:
        """The import once nothing moves any more; its counts always add up."""

        def look() -> dict | None:
            run = self.get(f"/v1/imports/{import_id}")
            return run if run["state"] in STILL else None

        run = until(look, f"import {import_id} to come to rest", wait_s)
        counts = run["rowCounts"]
        if run["state"] == "APPLIED":
            parts = ("created", "updated", "unchanged", "cleared", "rejected")
            assert counts["read"] == sum(counts[part] for part in parts), counts
        return run

    def account(self, entity: str, number: str) -> dict:
        """The account with this number."""
        found = self.get("/v1/accounts", filter=f'entityCode="{entity}" AND number="{number}"')["accounts"]
        assert len(found) == 1, found
        return found[0]

    def items(self, account_id: str) -> dict[str, dict]:
        """The open items of an account by number."""
        return {item["number"]: item for item in self.get(f"/v1/accounts/{account_id}/items", pageSize=500)["items"]}

    def action(self, account_id: str, **more: Any) -> dict | None:
        """The action owed to an account now; there is never more than one."""
        found = self.get("/v1/actions", accountId=account_id, **more)["actions"]
        assert len(found) <= 1, found
        return found[0] if found else None

    def sent(self, message_id: str) -> dict:
        """The message once it has left, or has stopped."""

        def look() -> dict | None:
            message = self.get(f"/v1/messages/{message_id}")
            return message if message["state"] not in ("QUEUED", "SENDING") else None

        return until(look, f"message {message_id} to leave")

    def mails(self, to: str) -> list[dict]:
        """What the mail sink holds for an address, newest first."""
        answer = httpx.get(f"{self.platform.mailsink_url}/messages.json", params={"to": to}, timeout=10)
        answer.raise_for_status()
        return answer.json()["messages"]


class Customer:
    """A customer with the link from his e-mail; a browser without script."""

    def __init__(self, link: str) -> None:
        self._http = httpx.Client(follow_redirects=True, timeout=30)
        self.link = link
        self.page = ""

    def open(self) -> httpx.Response:
        """Opens the link."""
        answer = self._http.get(self.link)
        self.page = answer.text
        return answer

    def answer(self, kind: str, item_ids: list[str], **fields: str) -> httpx.Response:
        """Ticks items and answers for them (PROMISE, ALREADY_PAID or DISPUTE), as the page's own forms do."""
        hidden = {
            html.unescape(name): html.unescape(value)
            for name, value in re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', self.page)
            if name != "item"
        }
        action = re.search(r'<form[^>]*method="post"[^>]*action="([^"]*)"', self.page)
        assert action, "the page has no form"
        address = httpx.URL(self.link).join(html.unescape(action[1]))
        answer = self._http.post(address, data={**hidden, "item": item_ids, "send": kind, **fields})
        self.page = answer.text
        return answer
