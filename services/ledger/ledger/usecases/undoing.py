"""Taking loads back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy.orm import Session

from kit import context
from kit.errors import Code, Refused
from ledger.store import corrections, load, loads, orders, plans, queries, rates, sales, saying, undo
from ledger.usecases import audit
from ledger.usecases.allocations import reverse_load
from ledger.usecases.loads import fit_holds

# What a load changed is kept that long.
KEPT = timedelta(days=30)


@dataclass(frozen=True)
class RolledBack:
    """What taking a load back did or would do; balances as store.plans.balances gives them."""

    closed: int
    restored: int
    holds_changed: int
    balances: Sequence[Mapping[str, Any]]


def roll_back_load(session: Session, load_id: str, *, plan_only: bool, today: date) -> RolledBack:
    """Takes back what the entity's last load did; a load that was taken back already stays as it is.

    Refuses: NOT_FOUND LOAD_UNKNOWN; FAILED_PRECONDITION LOAD_NOT_FINISHED, NOT_LAST_LOAD (metadata load_id),
    LOAD_TOO_OLD, LOAD_IN_USE.
    """
    row = loads.lock_load(session, load_id)
    entity = None if row is None else queries.entity_by_id(session, row.entity_id)
    if row is None or entity is None or not context.current_caller().sees_entity(entity.code):
        raise Refused(Code.NOT_FOUND, "LOAD_UNKNOWN", "there is no such load", load_id=load_id)
    if row.rolled_back is not None:
        return RolledBack(**row.rolled_back)
    if row.finished_at is None:
        raise Refused(Code.FAILED_PRECONDITION, "LOAD_NOT_FINISHED", "this load has not ended yet", load_id=load_id)
    load.lock_entity(session, entity.entity_id)
    later = undo.later_load(session, load_id)
    if later is not None:
        raise Refused(
            Code.FAILED_PRECONDITION, "NOT_LAST_LOAD", "only the last load can be taken back, and another came after it",
            load_id=later,
        )  # fmt: skip
    if undo.is_too_old(session, load_id, KEPT):
        raise Refused(Code.FAILED_PRECONDITION, "LOAD_TOO_OLD", "a load can be taken back for 30 days", load_id=load_id)
    before = plans.books(session, entity.entity_id)
    undo.merge_back(session, load_id, entity.entity_id)
    if not plan_only:
        # Under the locks nobody sets anything against these items any more.
        load.touch(session, undo.touched_accounts().format(load=row.load_id))
    if undo.is_in_use(session, load_id):
        raise Refused(
            Code.FAILED_PRECONDITION, "LOAD_IN_USE",
            "somebody has set items of this load against others: undo these allocations first", load_id=load_id,
        )  # fmt: skip
    found = undo.counts(session)
    if plan_only:
        return RolledBack(**found, balances=plans.balances(before, plans.moved(before, [plans.moves(session)])))
    # Whatever else than items the load brought, each in its own way.
    sales.roll_back(session, row.load_id)
    orders.roll_back(session, row.load_id)
    rates.roll_back(session, row.load_id)
    corrections.write(session, row.load_id)
    undo.forget_keys(session, row.load_id)
    fit_holds(session, "import rolled back")
    undo.restore_accounts(session, row.load_id)
    load.refresh_accounts(session)
    saying.say_facts(session, entity_code=entity.code, file_on=row.file_on, has_created=False, has_changed=True)
    saying.say_accounts(session, today, is_bulk=True)
    reverse_load(session, row.load_id, entity, "import rolled back", today)
    done: dict[str, Any] = {**found, "balances": plans.balances(before, plans.books(session, entity.entity_id))}
    undo.keep_answer(session, row.load_id, done)
    audit.note(session, "load.roll_back", "load", row.load_id, None, done, entity_code=entity.code)
    return RolledBack(**done)


def forget_images(session: Session) -> None:
    """Drops what is kept of loads that can no longer be taken back."""
    undo.forget_old(session, KEPT)
