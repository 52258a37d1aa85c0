"""The parts of a use case that stand between two transactions: the intent is committed, then a neighbour is asked."""

from datetime import date
from typing import Any

from kit import context
from kit.db import Database
from kit.errors import Refused
from quittance.scenario.v1 import scenario_service_pb2 as pb
from scenario import neighbours, store, usecases
from scenario.config import Settings


def hand_over(database: Database, settings: Settings, row: dict[str, Any], today: date) -> dict[str, Any]:
    """Asks the sender for an action in SENDING and notes the answer; harmless to repeat, which is what its job does.

    A sender that cannot be reached leaves it in SENDING for the job. Refuses what the sender refuses for good, after
    taking the intent back: ACTION_NOT_OWED when nothing is collectable any more.
    """
    try:
        message_id = neighbours.send_action(settings, row)
    except Refused as refusal:
        if refusal.is_transient or refusal.reason == "MESSAGE_EXISTS":
            # Not known, or sent by an earlier try: the message's own event says what became of it.
            raise
        with database.transaction() as session:
            usecases.note_refused(session, row["action_id"], refusal, today, usecases.policy_of(settings))
        if refusal.reason == "NOTHING_COLLECTABLE":
            raise Refused(
                refusal.code, "ACTION_NOT_OWED", refusal.message or "nothing of it is collectable any more"
            ) from refusal
        raise
    with database.transaction() as session:
        return usecases.note_handed_over(session, row["action_id"], message_id, today)


def recover_send(database: Database, settings: Settings, action_id: str, today: date) -> None:
    """Finishes a send that was cut short between its intent and the sender's answer."""
    with database.transaction() as session:
        row = store.action(session, action_id)
    if row["state"] != "SENDING" or row["message_id"]:
        return
    caller = context.service_caller(context.current_tenant(), settings.service_name)
    on_behalf = context.Caller(
        caller.tenant_id, caller.subject, caller.name, caller.permissions, None, row["intent"]["by"]
    )
    with context.acting_as(on_behalf):
        try:
            hand_over(database, settings, row, today)
        except Refused as refusal:
            if refusal.is_transient:
                raise


def make_promise(
    database: Database, settings: Settings, request: pb.CreatePromiseRequest, today: date
) -> store.PromiseRow:
    """Records a promise: written down, held in the ledger, then counted. What the ledger refuses is forgotten."""
    with database.transaction() as session:
        row = usecases.intend_promise(session, request, today)
    return row if row.is_placed else place_promise(database, settings, row.promise_id, today)


def place_promise(database: Database, settings: Settings, promise_id: str, today: date) -> store.PromiseRow:
    """Holds a promise's amounts in the ledger and counts it from then on; harmless to repeat."""
    with database.transaction() as session:
        row = store.promises(session, [promise_id])[promise_id]
        request = usecases.holds_of_promise(session, row)
    try:
        held = neighbours.place_holds(settings, request)
    except Refused as refusal:
        if not refusal.is_transient:
            with database.transaction() as session:
                store.remove_unplaced_promise(session, promise_id)
        raise
    with database.transaction() as session:
        return usecases.note_placed(session, promise_id, held, today)


def release_promise(database: Database, settings: Settings, promise_id: str) -> None:
    """Ends the holds of a cancelled promise; harmless to repeat."""
    with database.transaction() as session:
        row = store.promises(session, [promise_id])[promise_id]
    neighbours.release_holds(settings, usecases.release_of_promise(row))
