"""What stands between two transactions: the case is committed, then the ledger is asked to hold what it says."""

import logging
from datetime import date

from dispute import store, usecases
from dispute.config import Settings
from dispute.domain import AT_WORK
from kit import grpc_client
from kit.db import Database
from kit.errors import Refused
from quittance.dispute.v1 import dispute_service_pb2 as pb
from quittance.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

log = logging.getLogger(__name__)

HOLDS_TIMEOUT_S = 4.0


def _ledger(settings: Settings) -> LedgerServiceStub:
    return LedgerServiceStub(grpc_client.channel(settings, "ledger"))


def open_case(database: Database, settings: Settings, request: pb.OpenCaseRequest, today: date) -> store.CaseRow:
    """Opens a case: written down, held in the ledger, then numbered and said. What the ledger refuses is forgotten."""
    with database.transaction() as session:
        row = usecases.intend_case(session, request, settings, today)
    return row if row.number is not None else finish_opening(database, settings, row, today)


def finish_opening(database: Database, settings: Settings, row: store.CaseRow, today: date) -> store.CaseRow:
    """Holds a case's amounts for the first time; harmless to repeat. Refuses what the ledger refuses."""
    try:
        held = _ledger(settings).PlaceHolds(usecases.first_holds(row), timeout=HOLDS_TIMEOUT_S)
    except Refused as refusal:
        if not refusal.is_transient:
            with database.transaction() as session:
                store.remove_unopened_case(session, row.case_id)
        raise
    with database.transaction() as session:
        return usecases.note_opened(session, row.case_id, held, today)


def settle_holds(database: Database, settings: Settings, case_id: str, today: date) -> None:
    """Makes the ledger hold what a case says, whatever was cut short before; harmless to repeat.

    Refuses what the ledger refuses; a case whose amounts cannot be held again is closed.
    """
    with database.transaction() as session:
        row = store.cases(session, [case_id]).get(case_id)
    if row is None or row.held_version >= row.holds_version:
        return
    if row.number is None:
        finish_opening(database, settings, row, today)
        return
    place, release = usecases.wanted_holds(row)
    try:
        if release is not None:
            _ledger(settings).ReleaseHolds(release, timeout=HOLDS_TIMEOUT_S)
        if place is not None:
            _ledger(settings).PlaceHolds(place, timeout=HOLDS_TIMEOUT_S)
    except Refused as refusal:
        if refusal.is_transient:
            raise
        if row.state in AT_WORK:
            with database.transaction() as session:
                usecases.note_hold_refused(session, case_id, row.holds_version, refusal, settings, today)
            raise
        # A settled case keeps the hold it has; the item was paid or credited meanwhile, and its news is on the way.
        log.warning("case %s: what was accepted is held as before: %s", case_id, refusal)
    with database.transaction() as session:
        usecases.note_held(session, case_id, row.holds_version)


def settle_now_or_later(database: Database, settings: Settings, case_id: str, today: date) -> None:
    """settle_holds, except that a ledger that cannot be reached leaves it to the job: the case itself is committed."""
    try:
        settle_holds(database, settings, case_id, today)
    except Refused as refusal:
        if not refusal.is_transient:
            raise
        log.warning("holds of case %s are left to the job: %s", case_id, refusal)
