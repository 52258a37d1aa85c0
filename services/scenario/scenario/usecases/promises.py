"""Promises: made, held, replaced, cancelled, judged."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy.orm import Session

from kit import clock, context, jobs
from kit.errors import Code, Refused
from kit.outbox import emit
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.scenario.v1 import scenario_events_pb2 as events_pb
from quittance.scenario.v1 import scenario_service_pb2 as pb
from scenario import store, translate
from scenario.domain import promise as promise_rules
from scenario.domain.promise import PromiseState

# An account with so many items in one event may have more in the next: its promises are judged by the sweep.
ITEMS_PER_PART = 2000
_PROMISE_NAMESPACE = uuid.UUID("0c1b3a52-8c52-4d3e-93b7-4d3f5f2c9f11")


def promise_id_of(request_id: str) -> str:
    """The id of a promise by the request that makes it: a repetition finds the same one."""
    return str(uuid.uuid5(_PROMISE_NAMESPACE, f"{context.current_tenant()}/{request_id}"))


def intend_promise(session: Session, request: pb.CreatePromiseRequest, today: date) -> store.PromiseRow:
    """Writes down a promise that holds nothing yet; the commit comes before the ledger is asked.

    Returns it; is_placed says that this request was answered before.
    Refuses: ACCOUNT_UNKNOWN, DATE_PAST, DATE_TOO_FAR, ITEM_CLEARED, REQUEST_ID_REUSED.
    """
    promise_id = promise_id_of(request.request_id)
    content = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    account = store.account(session, request.account_id)
    store.lock_accounts(session, [request.account_id])
    known = store.promises(session, [promise_id]).get(promise_id)
    if known is not None:
        if bytes(known.request_hash) != content:
            raise Refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "this request id was used with other content")
        return known
    promised_on = date.fromisoformat(request.promised_on)
    caller = context.current_caller()
    promise_rules.check_day(promised_on, today, caller.can("promises:exceed"))
    if len({order.item_id for order in request.lines}) < len(request.lines):
        raise Refused(
            Code.INVALID_ARGUMENT, "INVALID_FIELDS", "each item is promised once", {"lines": "names an item twice"}
        )
    items = {item.item_id: item for item in store.facts(session, [request.account_id], today)[request.account_id].items}
    lines = []
    for order in request.lines:
        item = items.get(order.item_id)
        if item is None:
            raise Refused(
                Code.FAILED_PRECONDITION, "ITEM_CLEARED", "an item of the promise is not open on this account",
                item_id=order.item_id,
            )  # fmt: skip
        if order.HasField("amount") and order.amount.currency != item.currency:
            raise Refused(
                Code.INVALID_ARGUMENT, "INVALID_FIELDS", "the amount is in the currency of the item",
                {"lines.amount.currency": f"the item is in {item.currency}"},
            )  # fmt: skip
        lines.append(
            {
                "item_id": item.item_id,
                "item_number": item.number,
                "currency": item.currency,
                "promised_minor": order.amount.minor_units if order.HasField("amount") else None,
                "baseline_minor": item.open_minor,
            }
        )
    row = store.PromiseRow(
        promise_id=promise_id,
        request_hash=content,
        account_id=request.account_id,
        account_name=account.name,
        entity_code=account.entity_code,
        state=PromiseState.OPEN,
        is_placed=False,
        promised_on=promised_on,
        tolerance_days=promise_rules.TOLERANCE_DAYS,
        source=request.source or "CALL",
        source_id=request.source_id,
        comment=request.comment,
        created_by=caller.acting_for or caller.name or caller.subject,
        created_at=clock.utc_now(),
        ended_on=None,
        ended_reason="",
        version=1,
        lines=lines,
    )
    store.add_promise(session, row)
    jobs.enqueue(
        session, "scenario.place_promise", {"promise_id": promise_id}, promise_id,
        clock.utc_now() + timedelta(seconds=20),
    )  # fmt: skip
    return row


def holds_of_promise(session: Session, row: store.PromiseRow) -> ledger_pb.PlaceHoldsRequest:
    """What the ledger is asked for: the promised amounts out of collection until the day plus tolerance; the answer's
    own holds and those of older promises on the same items end with it."""
    until_on = promise_rules.last_day(row.promised_on, row.tolerance_days)
    request = ledger_pb.PlaceHoldsRequest(
        request_id=f"promise:{row.promise_id}",
        account_id=row.account_id,
        source="scenario",
        source_id=row.promise_id,
    )
    for line in row.lines:
        order = request.holds.add(
            item_id=line["item_id"],
            kind="HOLD_KIND_PROMISE",
            until_on=until_on.isoformat(),
            reason=f"Promised for {row.promised_on.isoformat()}",
        )
        if line["promised_minor"] is not None:
            order.amount.currency, order.amount.minor_units = line["currency"], line["promised_minor"]
    if row.source_id:
        request.ends.add(source="portal", source_id=row.source_id)
    older = store.live_promises_of_items(session, (line["item_id"] for line in row.lines), row.promise_id)
    for promise_id, item_ids in older.items():
        request.ends.add(source="scenario", source_id=promise_id, item_ids=item_ids)
    return request


def note_placed(session: Session, promise_id: str, held: ledger_pb.PlaceHoldsResponse, today: date) -> store.PromiseRow:
    """The ledger holds it: the promise counts, and older ones lose the items it took over."""
    row = store.promises(session, [promise_id], for_update=True)[promise_id]
    if row.is_placed:
        return row
    held_minor = {hold.item_id: hold.amount.minor_units for hold in held.holds}
    for line in row.lines:
        if line["promised_minor"] is None:
            line["promised_minor"] = held_minor.get(line["item_id"], line["baseline_minor"])
    row.is_placed = True
    store.save_promise(session, row)
    older = store.live_promises_of_items(session, (line["item_id"] for line in row.lines), promise_id)
    for other in store.promises(session, list(older), for_update=True).values():
        for line in other.lines:
            line["is_replaced"] = line["is_replaced"] or line["item_id"] in older[other.promise_id]
        if all(line["is_replaced"] for line in other.lines):
            other.state, other.ended_on = PromiseState.CANCELLED, today
            other.ended_reason = "replaced by a newer promise"
        other.version += 1
        store.save_promise(session, other)
        emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(other)), other.promise_id)
    emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(row)), promise_id)
    return row


def cancel_promise(session: Session, promise_id: str, reason: str, today: date) -> store.PromiseRow:
    """Ends a promise; the job or the caller then releases its holds. Refuses PROMISE_UNKNOWN."""
    row = store.promise(session, promise_id, for_update=True)
    if row.state == PromiseState.OPEN:
        row.state, row.ended_on, row.ended_reason = PromiseState.CANCELLED, today, reason
        row.version += 1
        store.save_promise(session, row)
        emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(row)), promise_id)
        jobs.enqueue(
            session, "scenario.release_promise", {"promise_id": promise_id}, promise_id,
            clock.utc_now() + timedelta(seconds=20),
        )  # fmt: skip
    return row


def release_of_promise(row: store.PromiseRow) -> ledger_pb.ReleaseHoldsRequest:
    """What the ledger is asked for when a promise was cancelled."""
    request = ledger_pb.ReleaseHoldsRequest(
        request_id=f"promise-cancelled:{row.promise_id}", reason=(row.ended_reason or "promise cancelled")[:500]
    )
    request.sources.add(source="scenario", source_id=row.promise_id)
    return request


def evaluate_promises(session: Session, account_ids: Sequence[str], today: date) -> None:
    """Judges the promises of accounts whose rows are locked by what is open now, and tells what changed."""
    promise_ids = store.promises_to_evaluate(session, account_ids, today)
    for row in store.promises(session, promise_ids, for_update=True).values():
        lines = [line for line in row.lines if not line["is_replaced"]]
        judged = [
            promise_rules.PromiseLine(
                line["item_id"], line["currency"], translate.amount_of(line), line["baseline_minor"], line["open_minor"]
            )
            for line in lines
        ]
        state = promise_rules.evaluate(judged, row.promised_on, row.tolerance_days, today)
        received = [line.received_minor for line in judged]
        if state == row.state and received == [line["received_minor"] for line in lines]:
            continue
        for line, minor in zip(lines, received, strict=True):
            line["received_minor"] = minor
        row.state, row.ended_on = state, None if state is PromiseState.OPEN else today
        row.version += 1
        store.save_promise(session, row)
        emit(session, events_pb.PromiseChanged(promise=translate.promise_to_proto(row)), row.promise_id)
