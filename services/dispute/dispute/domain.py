"""The rules of disputes: reasons and their clocks, states and the moves between them, what stays held."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from kit.errors import Code, Refused


class CaseState(enum.StrEnum):
    """Where a case is; values are the contract's names without prefix."""

    NEW = "NEW"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    ASSIGNED = "ASSIGNED"
    IN_PROGRESS = "IN_PROGRESS"
    WAITING_CUSTOMER = "WAITING_CUSTOMER"
    WAITING_INTERNAL = "WAITING_INTERNAL"
    ACCEPTED = "ACCEPTED"
    PARTLY_ACCEPTED = "PARTLY_ACCEPTED"
    REJECTED = "REJECTED"
    CLOSED = "CLOSED"


S = CaseState
AT_WORK = frozenset({S.NEW, S.ACKNOWLEDGED, S.ASSIGNED, S.IN_PROGRESS, S.WAITING_CUSTOMER, S.WAITING_INTERNAL})
SETTLED = frozenset({S.ACCEPTED, S.PARTLY_ACCEPTED, S.REJECTED})
# What a person may move a case to; settling it is a decision of its own (resolve). IN_PROGRESS also reopens.
MOVES: Mapping[CaseState, frozenset[CaseState]] = {
    S.NEW: frozenset({S.ACKNOWLEDGED, S.ASSIGNED, S.IN_PROGRESS, S.WAITING_CUSTOMER, S.WAITING_INTERNAL}),
    S.ACKNOWLEDGED: frozenset({S.ASSIGNED, S.IN_PROGRESS, S.WAITING_CUSTOMER, S.WAITING_INTERNAL}),
    S.ASSIGNED: frozenset({S.IN_PROGRESS, S.WAITING_CUSTOMER, S.WAITING_INTERNAL}),
    S.IN_PROGRESS: frozenset({S.ASSIGNED, S.WAITING_CUSTOMER, S.WAITING_INTERNAL}),
    S.WAITING_CUSTOMER: frozenset({S.ASSIGNED, S.IN_PROGRESS, S.WAITING_INTERNAL}),
    S.WAITING_INTERNAL: frozenset({S.ASSIGNED, S.IN_PROGRESS, S.WAITING_CUSTOMER}),
    S.ACCEPTED: frozenset({S.CLOSED, S.IN_PROGRESS}),
    S.PARTLY_ACCEPTED: frozenset({S.CLOSED, S.IN_PROGRESS}),
    S.REJECTED: frozenset({S.CLOSED, S.IN_PROGRESS}),
    S.CLOSED: frozenset({S.IN_PROGRESS}),
}


class Outcome(enum.StrEnum):
    """How a dispute ends; values are the contract's names without prefix."""

    CREDIT_NOTE = "CREDIT_NOTE"
    CORRECTED_INVOICE = "CORRECTED_INVOICE"
    WRITE_OFF = "WRITE_OFF"
    REJECTED = "REJECTED"
    SETTLED = "SETTLED"


OUTCOME_WORDS = {
    Outcome.CREDIT_NOTE: "Credit note",
    Outcome.CORRECTED_INVOICE: "Corrected invoice",
    Outcome.WRITE_OFF: "Write-off",
    Outcome.REJECTED: "Rejected",
    Outcome.SETTLED: "Settled",
}


@dataclass(frozen=True)
class Reason:
    """A reason for disputes, with the working days in which it should be settled and the function that settles it."""

    code: str
    name: str
    name_fr: str
    clock_working_days: int
    owner: str


REASONS = (
    Reason("PRICE", "Price", "Prix", 7, "Sales"),
    Reason("QUANTITY", "Quantity or shortage", "Quantité ou manquant", 7, "Logistics"),
    Reason("QUALITY", "Quality or damage", "Qualité ou avarie", 15, "Quality"),
    Reason("NOT_RECEIVED", "Invoice not received", "Facture non reçue", 3, "Billing"),
    Reason("ADMINISTRATIVE", "Administrative", "Administratif", 3, "Billing"),
    Reason("DELIVERY", "Delivery or its date", "Livraison ou sa date", 7, "Logistics"),
    Reason("TERMS", "Contract or terms", "Contrat ou conditions", 7, "Sales"),
    Reason("RETURNED", "Returned goods", "Marchandise retournée", 10, "Logistics"),
    Reason("OTHER", "Other", "Autre", 7, "Credit management"),
)
_REASON_BY_CODE = {reason.code: reason for reason in REASONS}


def reason_of(code: str) -> Reason:
    """The reason with a code. Refuses INVALID_ARGUMENT REASON_UNKNOWN."""
    reason = _REASON_BY_CODE.get(code)
    if reason is None:
        raise Refused(
            Code.INVALID_ARGUMENT, "REASON_UNKNOWN", f"reasons are {', '.join(_REASON_BY_CODE)}",
            {"reason_code": "is not a reason"},
        )  # fmt: skip
    return reason


@dataclass(frozen=True)
class Line:
    """One disputed item, amounts in minor units of its currency.

    open_minor is what is open now; resolved_open_minor was open when the case was settled.
    """

    item_id: str
    currency: str
    disputed_minor: int
    open_minor: int
    accepted_minor: int | None = None
    resolved_open_minor: int | None = None

    @property
    def is_credited(self) -> bool:
        """Whether what was accepted of it has come off the open amount since."""
        if self.open_minor <= 0:
            return True
        expected_minor = (self.resolved_open_minor or 0) - (self.accepted_minor or 0)
        return self.open_minor <= expected_minor


def check_move(now: CaseState, wanted: CaseState) -> None:
    """Refuses FAILED_PRECONDITION STATE_NOT_ALLOWED unless the table of moves has it."""
    if wanted not in MOVES[now]:
        raise Refused(
            Code.FAILED_PRECONDITION, "STATE_NOT_ALLOWED", f"a case that is {now} does not become {wanted}",
            state=now,
        )  # fmt: skip


def resolve(
    state: CaseState, lines: Sequence[Line], outcome: Outcome, accepted: Mapping[str, tuple[str, int] | None]
) -> tuple[CaseState, dict[str, int]]:
    """What settling a case makes of it: its new state, and the accepted amount of each line in minor units.

    Args: accepted, (currency, minor units) by item, None for all that is disputed of it; empty means all of the case
        for outcomes that accept and nothing for REJECTED. Items not named are rejected.
    Refuses: FAILED_PRECONDITION STATE_NOT_ALLOWED; INVALID_ARGUMENT AMOUNT_TOO_HIGH for more than is disputed.
    """
    if state not in AT_WORK:
        raise Refused(
            Code.FAILED_PRECONDITION, "STATE_NOT_ALLOWED", f"a case that is {state} is not settled again", state=state
        )
    by_item = {line.item_id: line for line in lines}
    amounts = dict.fromkeys(by_item, 0)
    if not accepted and outcome is not Outcome.REJECTED:
        amounts = {line.item_id: line.disputed_minor for line in lines}
    for item_id, amount in accepted.items():
        line = by_item.get(item_id)
        currency, minor = amount or ((line.currency, line.disputed_minor) if line else ("", 0))
        if line is None or currency != line.currency or not 0 <= minor <= line.disputed_minor:
            raise _too_high(item_id)
        if outcome is Outcome.REJECTED and minor > 0:
            raise _too_high(item_id)
        amounts[item_id] = minor
    if not any(amounts.values()):
        return CaseState.REJECTED, amounts
    is_all = all(amounts[line.item_id] == line.disputed_minor for line in lines)
    return (CaseState.ACCEPTED if is_all else CaseState.PARTLY_ACCEPTED), amounts


def _too_high(item_id: str) -> Refused:
    return Refused(
        Code.INVALID_ARGUMENT, "AMOUNT_TOO_HIGH", "at most what is disputed of an item can be accepted",
        {"accepted": f"is more than is disputed of {item_id}"}, item_id=item_id,
    )  # fmt: skip


def held_amounts(state: CaseState, lines: Sequence[Line]) -> dict[str, int]:
    """What the ledger should hold for a case, in minor units by item; items not named are free.

    At work: what is disputed. Accepted: that, until the credit comes. Never more than is open.
    """
    if state in AT_WORK:
        wanted = {line.item_id: line.disputed_minor for line in lines}
    elif state in (CaseState.ACCEPTED, CaseState.PARTLY_ACCEPTED):
        wanted = {line.item_id: line.accepted_minor or 0 for line in lines if not line.is_credited}
    else:
        wanted = {}
    open_minor = {line.item_id: max(line.open_minor, 0) for line in lines}
    capped = {item_id: min(minor, open_minor[item_id]) for item_id, minor in wanted.items()}
    return {item_id: minor for item_id, minor in capped.items() if minor > 0}


def closes_itself(state: CaseState, lines: Sequence[Line]) -> str:
    """Why a case has nothing left to do, in words; empty while it has."""
    if state is CaseState.CLOSED:
        return ""
    if all(line.open_minor <= 0 for line in lines):
        return "all items were cleared"
    if state in (CaseState.ACCEPTED, CaseState.PARTLY_ACCEPTED) and all(
        line.is_credited for line in lines if line.accepted_minor
    ):
        return "the accepted amounts were credited"
    return ""


def is_overdue(state: CaseState, due_on: date, today: date) -> bool:
    """Whether a case is past its clock and not settled; its last day is in time."""
    return state in AT_WORK and today > due_on
