"""Setting credits against debits: how much of both, and when it may not be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from kit.errors import Code, Refused


@dataclass(frozen=True)
class Side:
    """An item as allocations see it; open_minor is negative where it is a credit."""

    item_id: str
    kind: str
    currency: str
    issue_on: date
    open_minor: int


@dataclass(frozen=True)
class AllocationWish:
    """A credit wanted against a debit; amount_minor None means as much as both have open."""

    credit_item_id: str
    debit_item_id: str
    amount_minor: int | None


@dataclass(frozen=True)
class Allocated:
    """An allocation that both sides bear: positive amount, and what is left open on them by it."""

    credit_item_id: str
    debit_item_id: str
    amount_minor: int
    credit_left_minor: int
    debit_left_minor: int


def cause_of(credit: Side) -> str:
    """The cause in both histories: cash pays, everything else is a credit."""
    return "PAYMENT" if credit.kind == "PAYMENT" else "CREDIT"


def allocate(wishes: Iterable[AllocationWish], sides: Mapping[str, Side]) -> list[Allocated]:
    """What each wish takes, one after the other: never more than is open on either side by then.

    Refuses: FAILED_PRECONDITION ALLOCATION_EXCEEDS_OPEN (metadata item_id, open_minor).
    """
    left = {item_id: side.open_minor for item_id, side in sides.items()}
    found = []
    for wish in wishes:
        credit, debit = left[wish.credit_item_id], left[wish.debit_item_id]
        amount = min(-credit, debit) if wish.amount_minor is None else wish.amount_minor
        for item_id, room, is_open in ((wish.credit_item_id, -credit, credit), (wish.debit_item_id, debit, debit)):
            if (amount <= 0 and room <= 0) or amount > room:
                raise Refused(
                    Code.FAILED_PRECONDITION,
                    "ALLOCATION_EXCEEDS_OPEN",
                    "an allocation cannot exceed what is open on either side",
                    item_id=item_id,
                    open_minor=str(is_open),
                )
        left[wish.credit_item_id] += amount
        left[wish.debit_item_id] -= amount
        found.append(
            Allocated(
                wish.credit_item_id, wish.debit_item_id, amount, left[wish.credit_item_id], left[wish.debit_item_id]
            )
        )
    return found
