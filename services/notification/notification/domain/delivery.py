"""Who is written to, in which language, and what stops a message just before it leaves."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.money import Money
from notification.domain.hashtags import clean_line
from notification.domain.rendering import AccountFact, ContactFact, ItemFact, Sender, amount_text, selection
from notification.domain.words import LANGUAGES

PAYABLE_ROLE = "ACCOUNTS_PAYABLE"
FORMAL_NOTICE_ROLE = "LEGAL"
# Addresses a plain SMTP server takes: ASCII, one @, no space or sign that could end a header or a path.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


class State(StrEnum):
    """Where a message is; names as in the contract."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    BOUNCED = "BOUNCED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    CANCELLED = "CANCELLED"


class Phase(StrEnum):
    """How far the handing over of a SENDING message is known to be."""

    NONE = ""
    # Connected at most; not one byte of the message has been offered.
    HANDSHAKE = "HANDSHAKE"
    # DATA may have been said: from here on only the server knows.
    DATA = "DATA"


# A message in one of these states did not reach anybody: its purpose may be tried again by a new message.
WITHOUT_EFFECT = frozenset({State.FAILED, State.CANCELLED, State.BOUNCED})


@dataclass(frozen=True)
class Addressee:
    """One recipient; kind is TO, CC or BCC."""

    contact_id: str
    name: str
    email: str
    kind: str = "TO"
    language: str = ""


@dataclass(frozen=True)
class Verdict:
    """What looking again said: the items that are still to be chased, or why nothing may leave."""

    items: tuple[ItemFact, ...]
    code: str = ""
    reason: str = ""

    @property
    def stops(self) -> bool:
        """Whether the message may not leave."""
        return bool(self.code)


def is_address(text: str) -> bool:
    """Whether a mail can be sent to it; a line end or a space never passes."""
    return bool(_ADDRESS.fullmatch(text)) and ".." not in text


def recipients(
    contacts: Sequence[ContactFact], contact_ids: Iterable[str], role: str, template_key: str
) -> list[Addressee]:
    """Who is written to: the contacts named; else those of the role; else accounts payable; else anyone reachable.

    Contacts marked invalid, and those without a usable address, are never written to. Each address once.
    """
    usable = [contact for contact in contacts if contact.valid and is_address(contact.email.strip())]
    named = list(contact_ids)
    if named:
        order = {contact_id: place for place, contact_id in enumerate(named)}
        chosen = sorted((c for c in usable if c.contact_id in order), key=lambda c: order[c.contact_id])
    else:
        wanted = [role] if role else [FORMAL_NOTICE_ROLE] if template_key == "formal-notice" else []
        chosen = []
        for candidate in [*wanted, PAYABLE_ROLE]:
            chosen = chosen or [contact for contact in usable if contact.role == candidate]
        chosen = chosen or usable[:1]
    by_address: dict[str, Addressee] = {}
    for contact in chosen:
        address = contact.email.strip()
        by_address.setdefault(
            address.lower(), Addressee(contact.contact_id, clean_line(contact.name), address, "TO", contact.language)
        )
    return list(by_address.values())


def language_for(wanted: str, addressees: Sequence[Addressee], account: AccountFact) -> str:
    """The language asked for, else the first addressee's, the account's, the entity's, English."""
    contact_language = next((addressee.language for addressee in addressees if addressee.language), "")
    return (wanted or contact_language or account.language or account.entity_language or "en").lower()[:2]


def taken_language(wanted: str, available: Iterable[str], account: AccountFact) -> str:
    """The language really taken: the wanted one where there is a text in it, else the entity's, English, any."""
    known = [language for language in available if language in LANGUAGES]
    for language in (wanted, account.entity_language.lower()[:2], "en"):
        if language in known:
            return language
    return known[0] if known else "en"


def sender_of(account: AccountFact, caller_name: str, caller_email: str) -> Sender:
    """Who signs: the collector in charge, else the person who sends; a service alone signs for the entity only."""
    collector = account.collector.strip()
    if collector and is_address(collector):
        own = collector.lower() == caller_email.lower() and bool(caller_name)
        local = collector.partition("@")[0]
        spelt = " ".join(part.capitalize() for part in re.split(r"[._-]+", local) if part)
        return Sender(clean_line(caller_name) if own else spelt, collector)
    return Sender(clean_line(caller_name), caller_email if is_address(caller_email) else "")


def look_again(frozen: Mapping[str, Money], items: Sequence[ItemFact], template_key: str) -> Verdict:
    """What of the frozen items is still to be chased; frozen maps item ids to what was collectable then.

    All paid: PAID_IN_BETWEEN. All paid or under a hold: HELD. An item that is gone from the ledger counts as paid.
    """
    now = selection(items, frozen, template_key)
    if now:
        return Verdict(now)
    still_open = [item for item in items if item.item_id in frozen and item.open.minor_units > 0]
    if not still_open:
        return Verdict((), "PAID_IN_BETWEEN", "Paid in between. The e-mail was not sent.")
    return Verdict((), "HELD", "Answered, disputed or put on hold in between. The e-mail was not sent.")


def stale_words(
    source: str, frozen: Mapping[str, Money], numbers: Mapping[str, str], now: Sequence[ItemFact], language: str
) -> list[str]:
    """What a person typed into the text that is no longer true: numbers of items that left, amounts that changed.

    Hashtags are rendered anew and never stale; only what stands in the source itself can be.
    """
    current = {item.item_id: item for item in now}
    stale: list[str] = []
    for item_id, amount in frozen.items():
        item = current.get(item_id)
        if item is None:
            if len(numbers.get(item_id, "")) >= 4 and numbers[item_id] in source:
                stale.append(numbers[item_id])
        elif item.collectable != amount:
            written = amount_text(amount, language, with_code=False)
            if written in source:
                stale.append(written)
    return stale
