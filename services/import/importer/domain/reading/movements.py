"""Open items from a journal: the postings of one customer with one document number make one item."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from importer.domain.reading.xml import plain

LAYOUT = {
    "Customer number": "accountNumber",
    "Customer name": "accountName",
    "Document number": "itemNumber",
    "Document type": "itemType",
    "Document date": "issueOn",
    "Posting date": "postedOn",
    "Due date": "dueOn",
    "Currency": "currency",
    "Amount": "initialAmount",
    "Open amount": "openAmount",
    "Text": "text",
    "Payment terms": "paymentTerms",
}
AMOUNTS = ("Amount", "Open amount")


@dataclass
class Movement:
    """One posting on a customer; debit is positive. Dates are ISO text, or as written where they are none."""

    line: int
    account: str
    number: str
    on: str
    currency: str
    amount: Decimal
    account_name: str = ""
    posted_on: str = ""
    due_on: str = ""
    text: str = ""
    terms: str = ""


def items_of(movements: list[Movement]) -> list[dict[str, str]]:
    """One row per customer, document number and currency: what was billed, and what the later postings leave of it.

    The side of the earliest posting is the item's side. A posting without a document number stays a row by itself and
    is refused for the missing number: no debt is lost without a word.
    """
    groups: dict[tuple[str, str, str, int], list[Movement]] = {}
    for movement in movements:
        own = 0 if movement.number else movement.line
        groups.setdefault((movement.account, movement.number, movement.currency, own), []).append(movement)
    rows = []
    for group in groups.values():
        first = min(group, key=lambda entry: (entry.on, entry.line))
        side = [entry.amount for entry in group if (entry.amount < 0) == (first.amount < 0)]
        initial, opened = sum(side, Decimal(0)), sum((entry.amount for entry in group), Decimal(0))
        if initial and opened and (initial < 0) != (opened < 0):
            initial = opened  # Overpaid: only the customer's credit is left.
        rows.append(
            {
                "line": str(first.line),
                "Customer number": first.account,
                "Customer name": next((entry.account_name for entry in group if entry.account_name), ""),
                "Document number": first.number,
                "Document type": "payment" if initial < 0 else "invoice",
                "Document date": first.on,
                "Posting date": first.posted_on,
                "Due date": next((entry.due_on for entry in group if entry.due_on), ""),
                "Currency": first.currency,
                "Amount": plain(initial),
                "Open amount": plain(opened),
                "Text": first.text[:500],
                "Payment terms": next((entry.terms for entry in group if entry.terms), ""),
            }
        )
    return sorted(rows, key=lambda row: int(row["line"]))
