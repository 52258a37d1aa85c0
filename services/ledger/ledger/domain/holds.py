"""Holds: what one may take, and what becomes of it when less is open."""

from collections.abc import Sequence
from dataclasses import dataclass

from kit.errors import Code, Refused


@dataclass(frozen=True)
class ActiveHold:
    """A hold that is not ended, as the rules see it."""

    hold_id: str
    amount_minor: int


@dataclass(frozen=True)
class HoldWish:
    """A hold wanted: amount_minor None means all that is left."""

    item_id: str
    amount_minor: int | None


def room_minor(open_minor: int, holds: Sequence[ActiveHold]) -> int:
    """How much of an item can still be held; a credit has nothing to hold."""
    return max(open_minor, 0) - sum(hold.amount_minor for hold in holds)


def hold_amount(wish: HoldWish, open_minor: int, holds: Sequence[ActiveHold]) -> int:
    """The amount a new hold takes beside the active ones.

    Returns: minor units, more than 0 and at most what is open less all other holds.
    Refuses: FAILED_PRECONDITION ITEM_CLEARED when nothing is open, HOLD_EXCEEDS_OPEN when too little is left.
    """
    if open_minor == 0:
        raise Refused(Code.FAILED_PRECONDITION, "ITEM_CLEARED", "nothing is open on this item", item_id=wish.item_id)
    room = room_minor(open_minor, holds)
    amount = room if wish.amount_minor is None else wish.amount_minor
    if amount <= 0 or amount > room:
        raise Refused(
            Code.FAILED_PRECONDITION,
            "HOLD_EXCEEDS_OPEN",
            "the holds of an item cannot exceed what is open on it",
            item_id=wish.item_id,
            room_minor=str(max(room, 0)),
        )
    return amount


def shrink(open_minor: int, holds: Sequence[ActiveHold]) -> list[ActiveHold]:
    """What becomes of an item's holds when less is open than they hold: the newest give way first.

    Args: holds, oldest first. Returns: only those that change, with their new amount; 0 means that it ends.
    """
    left, changed = max(open_minor, 0), []
    for hold in holds:
        kept = min(hold.amount_minor, left)
        left -= kept
        if kept != hold.amount_minor:
            changed.append(ActiveHold(hold.hold_id, kept))
    return changed


@dataclass(frozen=True)
class Suspends:
    """What a kind of hold suspends of the amount it holds."""

    reminders: bool
    penalties: bool
    credit: bool


# Whoever reads a kind that is not here takes ALL: an unreadable hold counts as a hold.
ALL = Suspends(reminders=True, penalties=True, credit=True)
SUSPENDS = {
    # A claim that may be unfounded bears no interest, and does not block the customer.
    "DISPUTE": ALL,
    # A promise buys silence, no more: the debt is late all the same.
    "PROMISE": Suspends(reminders=True, penalties=False, credit=False),
    "PAYMENT_PLAN": Suspends(reminders=True, penalties=True, credit=False),
    "PAYMENT_ANNOUNCED": Suspends(reminders=True, penalties=False, credit=False),
    "RESPONSE": Suspends(reminders=True, penalties=False, credit=False),
    # Interest and exposure run on: the court or the insurer will ask for both.
    "LEGAL": Suspends(reminders=True, penalties=False, credit=False),
    "EXCLUSION": ALL,
}
