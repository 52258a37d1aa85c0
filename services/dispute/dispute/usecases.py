"""Load, decide, save, tell: one transaction each; what the ledger must hold is settled in between (holding.py)."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy.orm import Session

from dispute import domain, store, translate
from dispute.config import Settings
from dispute.domain import CaseState, Outcome
from kit import clock, context, jobs
from kit.errors import Code, Refused
from kit.outbox import emit
from quittance.dispute.v1 import dispute_events_pb2 as events_pb
from quittance.dispute.v1 import dispute_service_pb2 as pb
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb

_CASE_NAMESPACE = uuid.UUID("b7a0f0b1-3c3a-4e0e-9f1c-6d6f6a0b2c44")
HOLDS_JOB = "dispute.settle_holds"
SWEEP_BATCH_CASES = 200
SERVICE_NAME = "dispute"


def who() -> str:
    """Who acts, as a history shows it: the person behind a service's call where there is one."""
    caller = context.current_caller()
    return caller.acting_for or caller.name or caller.subject


def case_id_of(request_id: str) -> str:
    """The id of a case by the request that opens it: a repetition finds the same one."""
    return str(uuid.uuid5(_CASE_NAMESPACE, f"{context.current_tenant()}/{request_id}"))


def _tell(session: Session, row: store.CaseRow, what: str, words: str, today: date) -> None:
    """Counts the version up, writes the case, its history and its event."""
    row.version += 1
    row.changed_at = clock.utc_now()
    row.was_overdue = domain.is_overdue(row.state, row.due_on, today)
    store.save_case(session, row)
    store.add_event(session, row.case_id, row.changed_at, who(), what, words)
    emit(session, events_pb.CaseChanged(case=translate.case_to_proto(row, today)), row.case_id)


def _holds_changed(session: Session, row: store.CaseRow, settings: Settings, *, at_once: bool = False) -> None:
    """Notes that the ledger has something to hold or to let go, and that a job looks after it."""
    row.holds_version += 1
    _ask_for_holds(session, row, settings, at_once=at_once)


def _ask_for_holds(session: Session, row: store.CaseRow, settings: Settings, *, at_once: bool = False) -> None:
    delay = None if at_once else clock.utc_now() + timedelta(seconds=settings.holds_recovery_delay_s)
    jobs.enqueue(session, HOLDS_JOB, {"case_id": row.case_id}, f"{row.case_id}:{row.holds_version}", delay)


# ---- opening ---------------------------------------------------------------------------------------------------------


def intend_case(session: Session, request: pb.OpenCaseRequest, settings: Settings, today: date) -> store.CaseRow:
    """Writes down a case that holds nothing yet; the commit comes before the ledger is asked.

    Returns it; a number says that this request was answered before.
    Refuses: REASON_UNKNOWN, ACCOUNT_UNKNOWN, ITEM_CLEARED, INVALID_FIELDS, REQUEST_ID_REUSED.
    """
    case_id = case_id_of(request.request_id)
    content = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    known = store.cases(session, [case_id]).get(case_id)
    if known is not None:
        if bytes(known.request_hash) != content:
            raise Refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "this request id was used with other content")
        return known
    reason = domain.reason_of(request.reason_code)
    account = store.account(session, request.account_id)
    row = store.CaseRow(
        case_id=case_id,
        request_hash=content,
        number=None,
        state=CaseState.NEW,
        account_id=account.account_id,
        account_name=account.name,
        account_number=account.number,
        entity_code=account.entity_code,
        reason_code=reason.code,
        owner=request.owner or reason.owner,
        comment=request.comment,
        source=request.source or "COLLECTOR",
        source_id=request.source_id,
        opened_on=today,
        due_on=clock.add_working_days(today, reason.clock_working_days),
        resolved_on=None,
        outcome="",
        was_overdue=False,
        held_version=0,
        holds_version=1,
        version=0,
        changed_at=clock.utc_now(),
        lines=_lines(session, request),
    )
    store.add_case(session, row)
    _ask_for_holds(session, row, settings)
    return row


def _lines(session: Session, request: pb.OpenCaseRequest) -> list[store.LineRow]:
    if len({order.item_id for order in request.lines}) < len(request.lines):
        raise Refused(
            Code.INVALID_ARGUMENT, "INVALID_FIELDS", "each item is disputed once", {"lines": "names an item twice"}
        )
    items = store.open_items(session, request.account_id)
    lines = []
    for order in request.lines:
        item = items.get(order.item_id)
        if item is None or item.open_minor <= 0:
            raise Refused(
                Code.FAILED_PRECONDITION, "ITEM_CLEARED", "an item is not open on this account", item_id=order.item_id
            )
        disputed_minor = order.amount.minor_units if order.HasField("amount") else None
        if disputed_minor is not None and (order.amount.currency != item.currency or disputed_minor <= 0):
            raise Refused(
                Code.INVALID_ARGUMENT, "INVALID_FIELDS", "an amount is above zero, in the currency of its item",
                {"lines.amount": f"is not above zero in {item.currency}"},
            )  # fmt: skip
        lines.append(
            store.LineRow(item.item_id, item.number, item.currency, disputed_minor, item.open_minor,
                          open_minor=item.open_minor)
        )  # fmt: skip
    return lines


def first_holds(row: store.CaseRow) -> ledger_pb.PlaceHoldsRequest:
    """What the ledger is asked for when a case is opened; the answer's own holds end with it."""
    request = ledger_pb.PlaceHoldsRequest(
        request_id=f"case:{row.case_id}", account_id=row.account_id, source=SERVICE_NAME, source_id=row.case_id
    )
    for line in row.lines:
        order = request.holds.add(
            item_id=line.item_id,
            kind="HOLD_KIND_DISPUTE",
            review_on=row.due_on.isoformat(),
            reason=domain.reason_of(row.reason_code).name,
        )
        if line.disputed_minor is not None:
            order.amount.currency, order.amount.minor_units = line.currency, line.disputed_minor
    if row.source_id:
        request.ends.add(source="portal", source_id=row.source_id)
    return request


def note_opened(session: Session, case_id: str, held: ledger_pb.PlaceHoldsResponse, today: date) -> store.CaseRow:
    """The ledger holds it: the case gets its number and is said."""
    row = store.cases(session, [case_id], for_update=True)[case_id]
    if row.number is not None:
        return row
    held_minor = {hold.item_id: hold.amount.minor_units for hold in held.holds}
    for line in row.lines:
        if line.disputed_minor is None:
            line.disputed_minor = held_minor.get(line.item_id, line.opened_minor)
    row.number = store.next_number(session)
    row.held_version = row.holds_version
    _tell(session, row, "opened", row.comment, today)
    return row


# ---- work ------------------------------------------------------------------------------------------------------------


def assign(session: Session, request: pb.AssignCaseRequest, today: date) -> store.CaseRow:
    """Gives a case another owner. Refuses CASE_UNKNOWN, CASE_CLOSED."""
    row = store.case(session, request.case_id, for_update=True)
    if row.state is CaseState.CLOSED:
        raise Refused(Code.FAILED_PRECONDITION, "CASE_CLOSED", "the case is closed")
    row.owner = request.owner
    if row.state in (CaseState.NEW, CaseState.ACKNOWLEDGED):
        row.state = CaseState.ASSIGNED
    _tell(session, row, "assigned", f"{request.owner}: {request.comment}" if request.comment else request.owner, today)
    return row


def move(
    session: Session, case_id: str, wanted: CaseState, comment: str, settings: Settings, today: date
) -> store.CaseRow:
    """Moves a case to another state; IN_PROGRESS reopens a settled one. Refuses CASE_UNKNOWN, STATE_NOT_ALLOWED."""
    row = store.case(session, case_id, for_update=True)
    domain.check_move(row.state, wanted)
    before, row.state = row.state, wanted
    if before not in domain.AT_WORK:
        if wanted is CaseState.CLOSED:
            _holds_changed(session, row, settings)
            _tell(session, row, "closed", comment, today)
            return row
        row.resolved_on, row.outcome = None, ""
        for line in row.lines:
            line.accepted_minor = line.resolved_open_minor = None
        _holds_changed(session, row, settings)
    _tell(session, row, "moved", f"{wanted}: {comment}" if comment else wanted, today)
    return row


def resolve(session: Session, request: pb.ResolveCaseRequest, settings: Settings, today: date) -> store.CaseRow:
    """Settles a case. Refuses CASE_UNKNOWN, STATE_NOT_ALLOWED, AMOUNT_TOO_HIGH."""
    row = store.case(session, request.case_id, for_update=True)
    outcome = Outcome(pb.CaseOutcome.Name(request.outcome).removeprefix("CASE_OUTCOME_"))
    accepted = {
        order.item_id: (order.amount.currency, order.amount.minor_units) if order.HasField("amount") else None
        for order in request.accepted
    }
    row.state, amounts = domain.resolve(row.state, row.domain_lines(), outcome, accepted)
    for line in row.lines:
        line.accepted_minor, line.resolved_open_minor = amounts[line.item_id], line.open_minor
    row.resolved_on = today
    row.outcome = f"{domain.OUTCOME_WORDS[outcome]}: {request.comment}"
    _holds_changed(session, row, settings)
    _tell(session, row, "resolved", row.outcome, today)
    return row


def add_note(session: Session, case_id: str, words: str, today: date) -> store.CaseRow:
    """Adds a note to the thread. Refuses CASE_UNKNOWN."""
    row = store.case(session, case_id, for_update=True)
    _tell(session, row, "note", words, today)
    return row


# ---- holds -----------------------------------------------------------------------------------------------------------


def wanted_holds(row: store.CaseRow) -> tuple[ledger_pb.PlaceHoldsRequest | None, ledger_pb.ReleaseHoldsRequest | None]:
    """What the ledger is asked for so that it holds what the case says: amounts to hold, and items to let go."""
    held = domain.held_amounts(row.state, row.domain_lines())
    key = f"case:{row.case_id}:{row.holds_version}"
    place = release = None
    if held:
        place = ledger_pb.PlaceHoldsRequest(
            request_id=key, account_id=row.account_id, source=SERVICE_NAME, source_id=row.case_id
        )
        for line in row.lines:
            if line.item_id in held:
                place.holds.add(
                    item_id=line.item_id,
                    kind="HOLD_KIND_DISPUTE",
                    amount={"currency": line.currency, "minor_units": held[line.item_id]},
                    review_on=row.due_on.isoformat(),
                    reason=domain.reason_of(row.reason_code).name,
                )
    free = [line.item_id for line in row.lines if line.item_id not in held]
    if free:
        release = ledger_pb.ReleaseHoldsRequest(request_id=key, reason=(row.outcome or row.state)[:500])
        release.sources.add(source=SERVICE_NAME, source_id=row.case_id, item_ids=free)
    return place, release


def note_held(session: Session, case_id: str, holds_version: int) -> None:
    """The ledger holds what this version of the case wants."""
    row = store.cases(session, [case_id], for_update=True)[case_id]
    if row.held_version < holds_version:
        row.held_version = holds_version
        store.save_case(session, row)


def note_hold_refused(
    session: Session, case_id: str, holds_version: int, refusal: Refused, settings: Settings, today: date
) -> None:
    """The ledger will not hold a reopened case's amounts (they were promised or paid meanwhile): it closes again."""
    row = store.cases(session, [case_id], for_update=True)[case_id]
    if row.holds_version != holds_version or row.state is CaseState.CLOSED:
        return
    row.state = CaseState.CLOSED
    _holds_changed(session, row, settings)
    _tell(session, row, "closed", f"could not be reopened: {refusal.message or refusal.reason}", today)


# ---- what happens by itself ------------------------------------------------------------------------------------------


def follow(session: Session, case_ids: Sequence[str], settings: Settings, today: date) -> None:
    """Closes cases with nothing left to do, and says which have passed their clock since they were last said."""
    for row in store.cases(session, case_ids, for_update=True).values():
        why = domain.closes_itself(row.state, row.domain_lines())
        if why:
            row.state, row.resolved_on = CaseState.CLOSED, row.resolved_on or today
            row.outcome = row.outcome or f"Settled: {why}"
            _holds_changed(session, row, settings, at_once=True)
            _tell(session, row, "closed", why, today)
        elif domain.is_overdue(row.state, row.due_on, today) is not row.was_overdue:
            row.was_overdue = not row.was_overdue
            row.version += 1
            row.changed_at = clock.utc_now()
            store.save_case(session, row)
            emit(session, events_pb.CaseChanged(case=translate.case_to_proto(row, today)), row.case_id)
