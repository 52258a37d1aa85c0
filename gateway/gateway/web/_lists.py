"""The lists an account is opened from, asked for by their own address: so a sheet knows who comes before and after."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import request, url_for

from gateway.web import RPC_TIMEOUT_S, can, entities, gettext, language, me, stubs
from gateway.web._customer_words import group_kind
from kit import listing
from kit.clock import business_today
from kit.errors import Code, Refused
from quittance.ledger.v1 import customer_service_pb2, ledger_service_pb2
from quittance.scenario.v1 import action_pb2, scenario_service_pb2

ACCOUNTS_PER_PAGE = 100
ACTIONS_PER_PAGE = 200
# How far to either side an account is looked for whose place in the list has changed.
SEARCHED_ROWS = 100
FROM_MAX_CHARACTERS = 1000


@dataclass(frozen=True)
class Walk:
    """A sheet's place in the list it came from; `at` is None when it is in it no more. Hrefs are empty at the ends."""

    title: str
    list_href: str
    at: int | None
    total: int
    previous_href: str
    next_href: str


def _terms(args: Mapping[str, str], mine: str) -> list[str]:
    code = args.get("entity", "")
    terms = [f'entity_code="{code}"'] if code in {entity.code for entity in entities()} else []
    if args.get("mine") == "1":
        terms.append(f'{mine}="{me().caller.subject}"')
    return terms


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def accounts_filter(args: Mapping[str, str]) -> str:
    """The ledger's filter of a list of accounts with these arguments: entity, mine, group, contact=none, field and
    value (of a custom field)."""
    terms = _terms(args, "collector")
    if args.get("group"):
        terms.append(f"group={_quoted(args['group'][:50])}")
    if args.get("contact") == "none":
        terms += ["has_contact=false", "has_open=true"]
    if args.get("field"):
        name = re.sub(r"[^A-Za-z0-9_]+", "_", args["field"][:100])
        terms.append(f"custom.{name}={_quoted(args.get('value', '')[:200])}")
    return " AND ".join(terms)


def custom_fields() -> Sequence[customer_service_pb2.CustomField]:
    """Definitions of the accounts' custom fields, by name."""
    request_ = customer_service_pb2.ListCustomFieldsRequest(page_size=200, filter="object=ACCOUNT")
    return stubs().customers.ListCustomFields(request_, timeout=RPC_TIMEOUT_S).fields


def field_label(field: customer_service_pb2.CustomField) -> str:
    """A custom field in the reader's words."""
    return (field.label_fr if language() == "fr" else field.label_en) or field.name


def group_chips(codes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """(name, look) of groups by their code."""
    if not codes:
        return {}
    asked = customer_service_pb2.ListGroupsRequest(page_size=500)
    known = {group.code: group for group in stubs().customers.ListGroups(asked, timeout=RPC_TIMEOUT_S).groups}
    return {
        code: (known[code].name, group_kind(known[code].colour)) if code in known else (code, "out") for code in codes
    }


def account_id_of(entity_code: str, number: str) -> str:
    """The account with a number. Refuses: INVALID_ARGUMENT INVALID_FIELDS when the entity has none."""
    request_ = ledger_service_pb2.ListAccountsRequest(
        filter=f"entity_code={_quoted(entity_code)} AND number={_quoted(number)}", page_size=1
    )
    for found in stubs().ledger.ListAccounts(request_, timeout=RPC_TIMEOUT_S).accounts:
        return found.account_id
    text = gettext("No account of this entity has the number %(number)s.", number=number)
    raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", text, {"master": text})


def accounts_of(
    args: Mapping[str, str], token: str, size: int = ACCOUNTS_PER_PAGE
) -> ledger_service_pb2.ListAccountsResponse:
    """Accounts as the list with these arguments (entity, mine, query, sort) shows them, from a page token on."""
    return stubs().ledger.ListAccounts(
        ledger_service_pb2.ListAccountsRequest(
            filter=accounts_filter(args),
            query=args.get("query", "").strip()[:200],
            order_by=args.get("sort", ""),
            page_size=size,
            page_token=token,
        ),
        timeout=RPC_TIMEOUT_S,
    )


def actions_of(
    args: Mapping[str, str],
) -> tuple[scenario_service_pb2.ListActionsResponse, list[action_pb2.Action]]:
    """The service's page of the agenda with these arguments, and its actions in the order in which they are shown."""
    is_ahead = args.get("view") == "ahead"
    terms = _terms(args, "assignee") + (["state=PLANNED"] if is_ahead else [])
    found = stubs().scenario.ListActions(
        scenario_service_pb2.ListActionsRequest(
            filter=" AND ".join(terms),
            order_by=args.get("sort", ""),
            page_size=ACTIONS_PER_PAGE,
            page_token=args.get("page", ""),
        ),
        timeout=RPC_TIMEOUT_S,
    )
    actions = list(found.actions)
    if not args.get("sort") and not is_ahead:
        # What needs a person first, then late, then today; the service's order within.
        today = business_today().isoformat()
        rank = {action_pb2.ACTION_STATE_NEEDS_ATTENTION: 0, action_pb2.ACTION_STATE_SENDING: 3}
        actions.sort(key=lambda one: rank.get(one.state, 1 if one.due_on < today else 2))
    return found, actions


# ---- where a page came from ------------------------------------------------------------------------------------------
def origin() -> str:
    """This list's address, for the links to its rows."""
    args = [(name, value) for name, value in request.args.items(multi=True) if name != "part" and value]
    return request.path + (f"?{urlencode(args)}" if args else "")


def came_from(default: str = "") -> str:
    """The address of the list this page was opened from (?from=), else the default."""
    address = request.args.get("from", "")
    return address if len(address) <= FROM_MAX_CHARACTERS and _known(address) else default


def _known(address: str) -> bool:
    """Whether it is one of our lists; anything else, another site above all, is none."""
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc and parts.path in ("/agenda", "/accounts")


def account_href(account_id: str, list_address: str = "", at: int = 0) -> str:
    """An account's sheet that remembers its list and its place there."""
    known: dict[str, Any] = {"from": list_address or None, "n": at or None}
    return url_for("customers.account", account_id=account_id, **known)


def args_of(list_address: str) -> dict[str, str]:
    """The arguments in a list's address."""
    return dict(parse_qsl(urlsplit(list_address).query))


def walk(account_id: str) -> Walk | None:
    """Who comes before and after this account in the list it came from. None without a list, or while it is away."""
    address = came_from()
    if not address:
        return None
    args = args_of(address)
    try:
        if urlsplit(address).path == "/agenda":
            return _agenda_walk(account_id, address, args) if can("actions:read") else None
        return _accounts_walk(account_id, address, args)
    except Refused as error:
        # The sheet itself is there. A list that cannot be asked (away, or an address somebody changed) leaves no walk.
        if error.is_transient or error.code is Code.INVALID_ARGUMENT:
            return None
        raise


def _place() -> int:
    """The row the link to this page named; 0 without one."""
    text = request.args.get("n", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _agenda_walk(account_id: str, address: str, args: Mapping[str, str]) -> Walk:
    found, actions = actions_of(args)
    offset = listing.offset_of(args["page"]) if args.get("page") else 0
    ids = [action.account_id for action in actions]
    return _walk_over(gettext("Agenda"), address, ids, offset, found.total_size, account_id)


def _accounts_walk(account_id: str, address: str, args: Mapping[str, str]) -> Walk:
    at = max(_place(), 1)
    # Its neighbours alone, nearly always; more only when the list has changed under it.
    for reach in (1, SEARCHED_ROWS):
        offset = max(at - 1 - reach, 0)
        token = listing.encode_page_token(offset=offset) if offset else ""
        found = accounts_of(args, token, at - offset + reach)
        ids = [account.account_id for account in found.accounts]
        in_middle = account_id in ids and (ids.index(account_id) > 0 or offset == 0)
        if in_middle and (ids[-1] != account_id or not found.next_page_token):
            break
    return _walk_over(gettext("Accounts"), address, ids, offset, found.total_size, account_id)


def _walk_over(title: str, address: str, ids: list[str], offset: int, total: int, account_id: str) -> Walk:
    def href(index: int) -> str:
        return account_href(ids[index], address, offset + index + 1) if 0 <= index < len(ids) else ""

    if account_id in ids:
        index = ids.index(account_id)
        return Walk(title, address, offset + index + 1, total, href(index - 1), href(index + 1))
    # It has left the list (sent, paid): whoever took its place comes next.
    index = max(_place() - 1 - offset, 0)
    return Walk(title, address, None, total, href(index - 1), href(index))
