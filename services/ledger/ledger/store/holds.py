"""Holds: placed, shrunk and ended under the lock of their account, so that their sum never exceeds what is open.

Whoever changes items or holds of an account locks the account's row first, accounts in the order of their ids; then
items in the order of theirs.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, func, or_, select, text, update
from sqlalchemy.orm import Session

from kit import context
from kit.ids import new_id
from ledger.store.tables import AccountRow, EntityRow, HoldChangeRow, HoldRow, ItemRow


def lock_account(session: Session, account_id: str) -> tuple[AccountRow, EntityRow] | None:
    """An account and its entity, the account's row locked; None when it does not exist."""
    row = session.execute(
        select(AccountRow, EntityRow)
        .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
        .where(AccountRow.account_id == account_id)
        .with_for_update(of=AccountRow, key_share=True)
        .execution_options(populate_existing=True)
    ).first()
    return None if row is None else (row[0], row[1])


def lock_items(session: Session, account_ids: Sequence[str], item_ids: Sequence[str]) -> list[ItemRow]:
    """Those of the items that are of these accounts, locked in the order of their ids."""
    return list(
        session.scalars(
            select(ItemRow)
            .where(ItemRow.account_id.in_(account_ids), ItemRow.item_id.in_(item_ids))
            .order_by(ItemRow.item_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )


def active_of_items(session: Session, item_ids: Sequence[str]) -> list[HoldRow]:
    """Holds not ended of these items, oldest first."""
    return list(
        session.scalars(
            select(HoldRow)
            .where(HoldRow.item_id.in_(item_ids), HoldRow.state == "ACTIVE")
            .order_by(HoldRow.placed_at, HoldRow.hold_id)
            .execution_options(populate_existing=True)
        )
    )


def active_of_sources(session: Session, sources: Sequence[tuple[str, str, Sequence[str]]]) -> list[HoldRow]:
    """Holds not ended that these (source, source_id, item ids or none for all) placed."""
    conditions = []
    for source, source_id, item_ids in sources:
        condition = (HoldRow.source == source) & (HoldRow.source_id == source_id)
        conditions.append(condition & HoldRow.item_id.in_(item_ids) if item_ids else condition)
    if not conditions:
        return []
    query = select(HoldRow).where(or_(*conditions), HoldRow.state == "ACTIVE")
    return list(session.scalars(query.execution_options(populate_existing=True)))


def active_by_ids(session: Session, hold_ids: Sequence[str]) -> list[HoldRow]:
    """Those of the holds that are not ended."""
    query = select(HoldRow).where(HoldRow.hold_id.in_(hold_ids), HoldRow.state == "ACTIVE")
    return list(session.scalars(query.execution_options(populate_existing=True)))


def over_open(session: Session) -> list[Row]:
    """Active holds of the items that merged has changed, oldest first, with what is open now (load.write_merged)."""
    return list(
        session.execute(
            text(
                "SELECT h.hold_id, h.item_id, h.amount_minor, m.open_minor FROM merged AS m"
                " JOIN holds AS h ON h.item_id = m.item_id AND h.state = 'ACTIVE'"
                " WHERE m.effect IN ('updated', 'cleared') ORDER BY h.item_id, h.placed_at, h.hold_id"
            ),
            {"tenant": context.current_tenant()},
        )
    )


def place(session: Session, account_id: str, item_id: str, today: date, **columns: Any) -> HoldRow:
    """Writes a new hold and the first line of its history."""
    hold = HoldRow(
        hold_id=new_id(),
        item_id=item_id,
        account_id=account_id,
        state="ACTIVE",
        begun=columns["from_on"] <= today,
        placed_at=func.clock_timestamp(),
        **columns,
    )
    session.add(hold)
    session.flush()
    _tell(session, [(hold.hold_id, "PLACED", hold.amount_minor, hold.reason)])
    return hold


def change(session: Session, changes: Sequence[tuple[str, str, int, str]]) -> None:
    """Ends or shrinks active holds: (hold_id, what: SHRUNK, REPLACED, RELEASED or EXPIRED, amount left, reason)."""
    if not changes:
        return
    for what, state in (("REPLACED", "RELEASED"), ("RELEASED", "RELEASED"), ("EXPIRED", "EXPIRED")):
        ids = [hold_id for hold_id, done, _, _ in changes if done == what]
        if ids:
            session.execute(
                update(HoldRow)
                .where(HoldRow.hold_id.in_(ids))
                .values(state=state)
                .execution_options(synchronize_session=False)
            )
    for hold_id, what, amount_minor, _ in changes:
        if what == "SHRUNK":
            session.execute(
                update(HoldRow)
                .where(HoldRow.hold_id == hold_id)
                .values(amount_minor=amount_minor)
                .execution_options(synchronize_session=False)
            )
    _tell(session, changes)


def _tell(session: Session, changes: Sequence[tuple[str, str, int, str]]) -> None:
    ids = [hold_id for hold_id, _, _, _ in changes]
    rows = session.execute(
        select(HoldChangeRow.hold_id, func.max(HoldChangeRow.sequence).label("sequence"))
        .where(HoldChangeRow.hold_id.in_(ids))
        .group_by(HoldChangeRow.hold_id)
    )
    last = {row.hold_id: row.sequence for row in rows}
    caller = context.current_caller()
    for hold_id, what, amount_minor, reason in changes:
        last[hold_id] = last.get(hold_id, 0) + 1
        session.add(
            HoldChangeRow(
                hold_id=hold_id,
                sequence=last[hold_id],
                what=what,
                amount_minor=amount_minor,
                reason=reason,
                actor=caller.actor,
                recorded_at=func.clock_timestamp(),
            )
        )
    session.flush()


def bump_accounts(session: Session, account_ids: Sequence[str]) -> None:
    """A new version for accounts that are locked."""
    session.execute(
        update(AccountRow)
        .where(AccountRow.account_id.in_(account_ids))
        .values(version=AccountRow.version + 1, changed_at=func.now())
        .execution_options(synchronize_session=False)
    )


def due_accounts(session: Session, today: date, limit: int) -> list[str]:
    """Accounts with a hold that has run out, or that comes into force, without the ledger having said so yet."""
    return list(
        session.scalars(
            select(HoldRow.account_id)
            .where(
                HoldRow.state == "ACTIVE",
                or_(HoldRow.until_on < today, (HoldRow.from_on <= today) & ~HoldRow.begun),
            )
            .distinct()
            .order_by(HoldRow.account_id)
            .limit(limit)
        )
    )


def expired_of_accounts(session: Session, account_ids: Sequence[str], today: date) -> list[HoldRow]:
    """Active holds of these accounts whose last day is past."""
    return list(
        session.scalars(
            select(HoldRow).where(
                HoldRow.account_id.in_(account_ids), HoldRow.state == "ACTIVE", HoldRow.until_on < today
            )
        )
    )


def begin(session: Session, account_ids: Sequence[str], today: date) -> None:
    """Notes that the holds of these accounts that are in force by today have been said."""
    session.execute(
        update(HoldRow)
        .where(HoldRow.account_id.in_(account_ids), HoldRow.from_on <= today, ~HoldRow.begun)
        .values(begun=True)
        .execution_options(synchronize_session=False)
    )


def visible(session: Session, hold_id: str) -> tuple[HoldRow, str, EntityRow] | None:
    """A hold, the currency of its item and its entity, whatever the caller may see."""
    row = session.execute(
        select(HoldRow, ItemRow.currency, EntityRow)
        .join(ItemRow, ItemRow.item_id == HoldRow.item_id)
        .join(EntityRow, EntityRow.entity_id == ItemRow.entity_id)
        .where(HoldRow.hold_id == hold_id)
        .execution_options(populate_existing=True)
    ).first()
    return None if row is None else (row[0], row[1], row[2])


def history(session: Session, hold_id: str) -> Sequence[HoldChangeRow]:
    """The history of a hold, oldest first."""
    return session.scalars(
        select(HoldChangeRow).where(HoldChangeRow.hold_id == hold_id).order_by(HoldChangeRow.sequence)
    ).all()


def revise(session: Session, hold: HoldRow, *, until_on: date | None, review_on: date | None, reason: str) -> None:
    """Changes the days and the reason of an active hold, and its history."""
    hold.until_on, hold.review_on, hold.reason = until_on, review_on, reason
    last = session.execute(
        select(func.max(HoldChangeRow.sequence)).where(HoldChangeRow.hold_id == hold.hold_id)
    ).scalar_one()
    session.add(
        HoldChangeRow(
            hold_id=hold.hold_id, sequence=last + 1, what="CHANGED", amount_minor=hold.amount_minor, reason=reason,
            actor=context.current_caller().actor, recorded_at=func.clock_timestamp(), until_on=until_on,
            review_on=review_on,
        )
    )  # fmt: skip
    session.flush()
