"""The rules of links and answers. No clock, no I/O, no chance: random bytes and the day come in."""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from kit.errors import Code, Refused
from kit.money import Money, format_amount

SECRET_BYTES = 32
_TENANT_BYTES = 16
TOKEN_CHARACTERS = 64
PROMISE_MAX_DAYS = 180
PAID_MAX_DAYS = 365
LINES_MAX = 500
TEXT_MAX_CHARACTERS = 2000
REFERENCE_MAX_CHARACTERS = 100


class Kind(StrEnum):
    """What a customer answers; names as in the contract."""

    PROMISE = "PROMISE"
    ALREADY_PAID = "ALREADY_PAID"
    DISPUTE = "DISPUTE"


class State(StrEnum):
    """Where an answer is; names as in the contract."""

    RECEIVED = "RECEIVED"
    ACCEPTED = "ACCEPTED"
    AMENDED = "AMENDED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class Stage(StrEnum):
    """Which neighbour still has to hear of an answer. Committed before the call, so that a job can finish it."""

    PLACING = "PLACING"
    PLACED = "PLACED"
    DECIDING = "DECIDING"
    DONE = "DONE"


# The reasons of the dispute service, in the order shown to people; their words are in the catalogs of this service.
REASONS = ("PRICE", "QUANTITY", "QUALITY", "NOT_RECEIVED", "ADMINISTRATIVE", "DELIVERY", "TERMS", "RETURNED", "OTHER")


# ---- links -----------------------------------------------------------------------------------------------------------
def make_token(tenant_id: str, secret: bytes) -> str:
    """The token of a link: 64 characters that hold the tenant, so that its wall can be set, and 256 random bits."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes")
    return base64.urlsafe_b64encode(uuid.UUID(tenant_id).bytes + secret).decode()


def read_token(token: str) -> tuple[str, bytes] | None:
    """The tenant and the SHA-256 to look for; None for what no link ever was. Says nothing about whether it exists."""
    if len(token) != TOKEN_CHARACTERS or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    if len(raw) != _TENANT_BYTES + SECRET_BYTES:
        return None
    return str(uuid.UUID(bytes=raw[:_TENANT_BYTES])), token_sha256(token)


def token_sha256(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


# ---- items as the customer sees them ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class HoldFact:
    """A hold in force on an item."""

    kind: str
    amount: Money
    until_on: date | None
    source: str = ""
    source_id: str = ""


@dataclass(frozen=True)
class ItemFact:
    """An open item as the ledger sees it this moment."""

    item_id: str
    number: str
    due_on: date | None
    days_late: int
    open: Money
    collectable: Money
    order_number: str = ""
    holds: tuple[HoldFact, ...] = ()

    @property
    def is_credit(self) -> bool:
        """Whether it lowers what is owed."""
        return self.open.minor_units < 0

    @property
    def can_be_answered(self) -> bool:
        """Whether something of it still waits for an answer."""
        return not self.is_credit and self.collectable.minor_units > 0

    @property
    def waits(self) -> bool:
        """Whether it is due and waits for an answer: these are ticked when the page opens."""
        return self.can_be_answered and self.due_on is not None and self.days_late >= 0


@dataclass(frozen=True)
class ContactFact:
    """Somebody at the customer."""

    contact_id: str
    name: str
    language: str = ""


@dataclass(frozen=True)
class DocumentFact:
    """A file of items that the customer may fetch: kept by us (document_id), or in the creditor's archive (url)."""

    document_id: str
    name: str
    is_invoice: bool
    url: str
    item_ids: frozenset[str]


@dataclass(frozen=True)
class AccountFact:
    """The account with its entity, contacts and open items."""

    account_id: str
    number: str
    name: str
    language: str
    collector: str
    entity_code: str
    entity_name: str
    entity_language: str
    contacts: tuple[ContactFact, ...] = ()
    items: tuple[ItemFact, ...] = ()

    def contact_name(self, contact_id: str) -> str:
        """The name of a contact; empty when nobody in particular was written to."""
        return next((contact.name for contact in self.contacts if contact.contact_id == contact_id), "")


def sums(amounts: Sequence[Money]) -> list[Money]:
    """One sum per currency, in the order of their codes; currencies are never added together."""
    by_currency: dict[str, Money] = {}
    for amount in amounts:
        known = by_currency.get(amount.currency)
        by_currency[amount.currency] = amount if known is None else known + amount
    return [by_currency[currency] for currency in sorted(by_currency)]


# ---- answers ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Line:
    """One item of an answer: the amount answered for, and what was open then."""

    item_id: str
    number: str
    amount: Money
    open: Money


@dataclass(frozen=True)
class Answer:
    """What a customer said, checked."""

    kind: Kind
    lines: tuple[Line, ...]
    promised_on: date | None = None
    paid_on: date | None = None
    payment_reference: str = ""
    reason_code: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Form:
    """What a customer typed, as it came."""

    kind: str
    item_ids: tuple[str, ...]
    on: str = ""
    reference: str = ""
    reason: str = ""
    comment: str = ""
    amounts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrong:
    """A form that cannot be taken: errors by field name, as stable words that the page puts into sentences."""

    errors: Mapping[str, str]


def read_answer(form: Form, items: Sequence[ItemFact], today: date) -> Answer | Wrong:
    """The answer a form holds, or what is wrong with it.

    Errors: items NONE (nothing chosen), items TOO_MANY, items CHANGED (answered or paid meanwhile);
    on MISSING, PAST, FUTURE, FAR; reason MISSING; comment MISSING, LONG; reference LONG; amount:<item id> AMOUNT, HIGH.
    """
    errors: dict[str, str] = {}
    try:
        kind = Kind(form.kind)
    except ValueError:
        return Wrong({"answer": "MISSING"})
    answerable = {item.item_id: item for item in items if item.can_be_answered}
    wanted = list(dict.fromkeys(form.item_ids))
    chosen = [answerable[item_id] for item_id in wanted if item_id in answerable]
    if len(wanted) > LINES_MAX:
        errors["items"] = "TOO_MANY"
    elif not wanted:
        errors["items"] = "NONE"
    elif len(chosen) < len(wanted):
        errors["items"] = "CHANGED"
    comment = _text(form.comment)
    if len(comment) > TEXT_MAX_CHARACTERS:
        errors["comment"] = "LONG"
    amounts = {item.item_id: item.collectable for item in chosen}
    promised_on = paid_on = None
    reason = reference = ""
    if kind is Kind.DISPUTE:
        reason = form.reason if form.reason in REASONS else ""
        if not reason:
            errors["reason"] = "MISSING"
        if not comment:
            errors["comment"] = "MISSING"
        for item in chosen:
            amount = read_amount(form.amounts.get(item.item_id, ""), item.collectable)
            if isinstance(amount, str):
                errors[f"amount:{item.item_id}"] = amount
            else:
                amounts[item.item_id] = amount
    else:
        day, problem = _day(form.on, today, is_future=kind is Kind.PROMISE)
        if problem:
            errors["on"] = problem
        promised_on, paid_on = (day, None) if kind is Kind.PROMISE else (None, day)
    if kind is Kind.ALREADY_PAID:
        reference = _text(form.reference)
        if len(reference) > REFERENCE_MAX_CHARACTERS:
            errors["reference"] = "LONG"
    if errors:
        return Wrong(errors)
    lines = tuple(Line(item.item_id, item.number, amounts[item.item_id], item.open) for item in chosen)
    return Answer(kind, lines, promised_on, paid_on, reference, reason, comment)


def _day(text: str, today: date, *, is_future: bool) -> tuple[date | None, str]:
    if not text.strip():
        return None, "MISSING"
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        return None, "MISSING"
    if is_future:
        problem = "PAST" if day < today else "FAR" if day > today + timedelta(days=PROMISE_MAX_DAYS) else ""
    else:
        problem = "FUTURE" if day > today else "FAR" if day < today - timedelta(days=PAID_MAX_DAYS) else ""
    return (None, problem) if problem else (day, "")


def read_amount(text: str, limit: Money) -> Money | str:
    """An amount as people write it (see kit.money.Money.read), at most limit; empty means all of it.

    Gives AMOUNT for what is no amount above zero or can be read in two ways, HIGH for more than the limit.
    """
    if not text.strip():
        return limit
    try:
        amount = Money.read(text, limit.currency)
    except ValueError:
        return "AMOUNT"
    if amount.minor_units <= 0:
        return "AMOUNT"
    return "HIGH" if amount.minor_units > limit.minor_units else amount


def _text(text: str) -> str:
    """What was typed, with plain line ends and without control characters."""
    joined = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in joined if c == "\n" or c == "\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160)).strip()


# ---- decisions -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Amendment:
    """What a collector changes with his word; empty fields leave what the customer said."""

    promised_on: date | None = None
    reason_code: str = ""
    amounts: Mapping[str, Money] = field(default_factory=dict)


def amended(answer: Answer, amendment: Amendment, today: date) -> Answer:
    """The answer as it is accepted. Refuses DATE_PAST, and INVALID_FIELDS for items it does not hold or amounts that
    are not between zero and what was open."""
    promised_on = amendment.promised_on or answer.promised_on
    if answer.kind is Kind.PROMISE and (promised_on is None or promised_on < today):
        raise Refused(
            Code.INVALID_ARGUMENT,
            "DATE_PAST",
            "the day of payment is past: agree on another one",
            {"promisedOn": "the day of payment is past"},
        )
    _refuse_lines_that_do_not_fit(answer, amendment)
    lines = tuple(
        Line(line.item_id, line.number, amendment.amounts.get(line.item_id, line.amount), line.open)
        for line in answer.lines
    )
    reason = amendment.reason_code if answer.kind is Kind.DISPUTE and amendment.reason_code else answer.reason_code
    return Answer(
        answer.kind,
        lines,
        promised_on if answer.kind is Kind.PROMISE else None,
        answer.paid_on,
        answer.payment_reference,
        reason,
        answer.comment,
    )


def _refuse_lines_that_do_not_fit(answer: Answer, amendment: Amendment) -> None:
    """Names each line by its place in the request, for programs, and by the number of its item, for people."""
    known = {line.item_id: line for line in answer.lines}
    wrong: dict[str, str] = {}
    shown: list[str] = []
    for place, (item_id, amount) in enumerate(amendment.amounts.items()):
        line = known.get(item_id)
        if line is None:
            wrong[f"lines[{place}].item_id"] = "is not part of the answer"
            shown.append(f"{place + 1}.")
        elif amount.currency != line.open.currency or not 0 < amount.minor_units <= line.open.minor_units:
            most = f"{format_amount(line.open.minor_units, line.open.currency)} {line.open.currency}"
            wrong[f"lines[{place}].amount"] = f"{line.number}: above zero and at most {most}"
            shown.append(line.number)
    if wrong:
        named = ", ".join(shown)
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", f"these lines do not fit the answer: {named}", wrong)


def first_name(email: str) -> str:
    """The first name behind a person's address, as far as it shows: ines.caradec@... gives Ines; else nothing."""
    local, _, domain = email.partition("@")
    first = local.replace("_", ".").replace("-", ".").split(".")[0]
    return first.capitalize() if domain and "." in local and first.isalpha() else ""
