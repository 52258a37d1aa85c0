"""Taking an applied import back, by reversal in the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from importer import domain, store
from importer.store import BatchRow
from importer.usecases.planning import balance_of
from importer.usecases.state import changed, find, with_warning
from kit import clock
from kit.db import Database
from kit.errors import Code, Refused
from kit.jobs import enqueue
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_load_service_pb2_grpc as load_grpc

log = logging.getLogger(__name__)

STAGE = "rollBack"
PLAN_TIMEOUT_S = 60.0


def roll_back_import(
    database: Database, ledger: Callable[[], Any], import_id: str, plan_only: bool
) -> tuple[dict[str, Any], BatchRow]:
    """Says what taking an import back does and, unless plan_only, asks for the job that does it.

    Refuses: NOT_FOUND IMPORT_UNKNOWN; FAILED_PRECONDITION IMPORT_NOT_APPLIED, ROLL_BACK_UNSUPPORTED, and what the ledger
    refuses: NOT_LAST_LOAD, LOAD_IN_USE.
    """
    with database.transaction() as session:
        row = find(session, import_id)
        session.expunge(row)
    if row.state == "ROLLED_BACK" or row.stage == STAGE:
        return row.roll_back, row
    _check(row)
    plan = _plan_of(
        load_grpc.LoadServiceStub(ledger()).RollBackLoad(
            load_pb.RollBackLoadRequest(load_id=import_id, plan_only=True), timeout=PLAN_TIMEOUT_S
        )
    )
    if plan_only:
        return plan, row
    with database.transaction() as session:
        row = find(session, import_id, lock=True)
        if row.state != "ROLLED_BACK" and row.stage != STAGE:
            _check(row)
            row.stage, row.roll_back = STAGE, plan
            enqueue(session, "import.rollBack", {"import_id": import_id}, f"{import_id}:{row.version}")
            changed(session, row)
        session.flush()
        session.expunge(row)
    return row.roll_back, row


def _check(row: BatchRow) -> None:
    if row.state != "APPLIED":
        raise Refused(Code.FAILED_PRECONDITION, "IMPORT_NOT_APPLIED", f"the import is {row.state.lower()}")
    if row.object != domain.ITEMS or not row.rows_done + row.cleared_absent:
        raise Refused(Code.FAILED_PRECONDITION, "ROLL_BACK_UNSUPPORTED", "only items that were applied are taken back")


def _plan_of(reply: load_pb.RollBackLoadResponse) -> dict[str, Any]:
    return {
        "closed": reply.closed,
        "restored": reply.restored,
        "holds_changed": reply.holds_changed,
        "balances": [balance_of(balance) for balance in reply.balances],
    }


def roll_back(job: Any, import_id: str) -> None:
    """Takes the import back in the ledger. Repeatable: the ledger does it once."""
    with job.database.transaction() as session:
        row = store.batch_for_update(session, import_id)
        if row is None or row.state != "APPLIED" or row.stage != STAGE:
            return
    refusal: Refused | None = None
    done: dict[str, Any] = {}
    try:
        stub = load_grpc.LoadServiceStub(job.runtime.channel("ledger"))
        done = _plan_of(
            stub.RollBackLoad(load_pb.RollBackLoadRequest(load_id=import_id), timeout=job.settings.ledger_timeout_s)
        )
    except Refused as refused:
        if refused.is_transient:
            raise
        refusal = refused
    with job.database.transaction() as session:
        job.fence(session)
        row = store.batch_for_update(session, import_id)
        if row is None or row.state != "APPLIED" or row.stage != STAGE:
            return
        row.stage = ""
        if refusal is not None:
            # Between the plan and now somebody used what it brought: it stays applied, and says why.
            log.warning("import %s: not taken back: %s", import_id, refusal.reason)
            give_up_roll_back(session, row, refusal.reason)
        else:
            row.state, row.roll_back, row.rolled_back_at = "ROLLED_BACK", done, clock.utc_now()
            changed(session, row)


def give_up_roll_back(session: Session, row: BatchRow, reason: str) -> None:
    """It stays applied, and says why."""
    row.stage, row.roll_back = "", {}
    row.details = with_warning(row.details, "notRolledBack", reason=reason)
    changed(session, row)
