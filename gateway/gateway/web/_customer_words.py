"""What is said about customers and items on more than one page: names of kinds, holds, roles; their chips and fills."""

import re
from datetime import date

from gateway.web import formatter, gettext
from quittance.ledger.v1 import account_pb2, item_pb2

# Levels of the five bars, by profile.
PROFILE_BARS = {"EXCELLENT": 5, "GOOD": 4, "AVERAGE": 3, "SLOW": 2, "BAD": 1}
HOLD_CHIPS = {
    "DISPUTE": "dispute",
    "PROMISE": "promise",
    "PAYMENT_PLAN": "plan",
    "PAYMENT_ANNOUNCED": "paid",
    "RESPONSE": "answer",
    "LEGAL": "legal",
    "EXCLUSION": "out",
}
AGE_FILL = {"NOT_DUE": "0", "1-30": "1", "31-60": "2", "61-90": "3", "91-120": "4", ">120": "5", "NO_DUE_DATE": "0"}
_ISO_DAY = re.compile(r"\b\d{4}-\d\d-\d\d\b")


# The chips of groups, by their colour word.
GROUP_KINDS = {
    "accent": "promise", "ok": "paid", "warn": "plan", "danger": "dispute", "violet": "legal", "info": "out",
}  # fmt: skip


def group_kind(colour: str) -> str:
    """The look of a group's chip."""
    return GROUP_KINDS.get(colour, "out")


def channel_names() -> list[tuple[str, str]]:
    """Ways to reach a contact with their names."""
    return [
        ("CONTACT_CHANNEL_EMAIL", gettext("E-mail")), ("CONTACT_CHANNEL_PHONE", gettext("Telephone")),
        ("CONTACT_CHANNEL_LETTER", gettext("Letter")), ("CONTACT_CHANNEL_SMS", gettext("Text message")),
    ]  # fmt: skip


def role_names() -> list[tuple[str, str]]:
    """What contacts are asked about, with names."""
    return [
        ("CONTACT_ROLE_ACCOUNTS_PAYABLE", gettext("Accounts payable")), ("CONTACT_ROLE_BUYER", gettext("Buyer")),
        ("CONTACT_ROLE_MANAGEMENT", gettext("Management")), ("CONTACT_ROLE_LEGAL", gettext("Legal")),
    ]  # fmt: skip


def profile_name(profile: str) -> str:
    """How a customer pays, in the reader's words."""
    return {
        "EXCELLENT": gettext("Excellent"),
        "GOOD": gettext("Good"),
        "AVERAGE": gettext("Average"),
        "SLOW": gettext("Slow"),
        "BAD": gettext("Bad"),
    }.get(profile, gettext("Not known yet"))


def hold_name(kind: str) -> str:
    """A hold in the reader's words."""
    return {
        "DISPUTE": gettext("Dispute"),
        "PROMISE": gettext("Promise"),
        "PAYMENT_PLAN": gettext("Payment plan"),
        "PAYMENT_ANNOUNCED": gettext("Said to be paid"),
        "RESPONSE": gettext("Answer waiting"),
        "LEGAL": gettext("Legal"),
        "EXCLUSION": gettext("Not chased"),
    }.get(kind, kind)


def hold_kind(hold: item_pb2.Hold) -> str:
    """The kind of a hold without its prefix."""
    return item_pb2.HoldKind.Name(hold.kind).removeprefix("HOLD_KIND_")


def item_kind(item: item_pb2.Item) -> str:
    """The kind of an item in the reader's words."""
    names = {
        item_pb2.ITEM_KIND_INVOICE: gettext("Invoice"),
        item_pb2.ITEM_KIND_CREDIT_NOTE: gettext("Credit note"),
        item_pb2.ITEM_KIND_PAYMENT: gettext("Cash not allocated"),
        item_pb2.ITEM_KIND_DOWN_PAYMENT: gettext("Down payment"),
        item_pb2.ITEM_KIND_IN_TRANSIT: gettext("On its way to the bank"),
        item_pb2.ITEM_KIND_BANK_CHARGE: gettext("Bank charge"),
        item_pb2.ITEM_KIND_OTHER_DEBIT: gettext("Other debit"),
        item_pb2.ITEM_KIND_OTHER_CREDIT: gettext("Other credit"),
        item_pb2.ITEM_KIND_LATE_INTEREST: gettext("Late interest"),
    }
    return names.get(item.kind, "")


def pays_text(days: float) -> str:
    """How late the customer pays, in words."""
    number = formatter("number")
    if round(days, 1) == 0:
        return gettext("on the due day")
    if days < 0:
        return gettext("%(days)s d before due", days=number(-days, 1))
    return gettext("%(days)s d after due", days=number(days, 1))


def collector_name(address: str) -> str:
    """The readable part of a collector's address."""
    return address.partition("@")[0]


def short_date(day: str) -> str:
    """A day of the contracts (2026-09-15) as lists show it."""
    return formatter("date_text")(date.fromisoformat(day))


def in_words(text: str) -> str:
    """A service's text with its days as the reader writes them."""
    return _ISO_DAY.sub(lambda found: short_date(found.group()), text)


def role_name(role: account_pb2.ContactRole) -> str:
    """A contact's role in the reader's words."""
    return {
        account_pb2.CONTACT_ROLE_ACCOUNTS_PAYABLE: gettext("Accounts payable"),
        account_pb2.CONTACT_ROLE_BUYER: gettext("Buyer"),
        account_pb2.CONTACT_ROLE_MANAGEMENT: gettext("Management"),
        account_pb2.CONTACT_ROLE_LEGAL: gettext("Legal"),
    }.get(role, "")
