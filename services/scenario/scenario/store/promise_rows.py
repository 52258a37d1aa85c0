"""Promises and their lines."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from kit import context, listing
from kit.errors import Code, Refused
from scenario.store.tables import PROMISE, within_entities


@dataclass
class PromiseRow:
    """A promise with its lines (item_id, item_number, currency, promised_minor, baseline_minor, received_minor,
    is_replaced; open_minor as known now, 0 for an item that is not open)."""

    promise_id: str
    request_hash: bytes
    account_id: str
    account_name: str
    entity_code: str
    state: str
    is_placed: bool
    promised_on: date
    tolerance_days: int
    source: str
    source_id: str
    comment: str
    created_by: str
    created_at: Any
    ended_on: date | None
    ended_reason: str
    version: int
    lines: list[dict[str, Any]] = field(default_factory=list)


def promises(session: Session, promise_ids: Sequence[str], *, for_update: bool = False) -> dict[str, PromiseRow]:
    """Promises by id, with their lines; locked in ascending order when asked for."""
    rows = session.execute(
        text(
            "SELECT promise_id::text, request_hash, account_id::text, account_name, entity_code, state, is_placed,"
            " promised_on, tolerance_days, source, source_id, comment, created_by, created_at, ended_on, ended_reason,"
            " version FROM promise WHERE promise_id = ANY(CAST(:ids AS uuid[])) ORDER BY promise_id"
            + (" FOR UPDATE" if for_update else "")
        ),
        {"ids": list(promise_ids)},
    )
    found = {row.promise_id: PromiseRow(**row._asdict()) for row in rows}
    lines = session.execute(
        text(
            "SELECT l.promise_id::text, l.item_id::text, l.item_number, l.currency, l.promised_minor, l.baseline_minor,"
            " l.received_minor, l.is_replaced, coalesce(i.open_minor, 0) AS open_minor"
            " FROM promise_line l JOIN promise p ON p.promise_id = l.promise_id"
            # An item may have moved to a related account since, or be collected through this one.
            " LEFT JOIN LATERAL (SELECT o.open_minor FROM open_item o WHERE o.item_id = l.item_id AND o.account_id = ANY("
            "   ARRAY(SELECT p.account_id UNION ALL SELECT r.relative_id FROM account_relative r"
            "     WHERE r.account_id = p.account_id)) LIMIT 1) i ON true"
            " WHERE l.promise_id = ANY(CAST(:ids AS uuid[])) ORDER BY l.item_number, l.item_id"
        ),
        {"ids": list(promise_ids)},
    )
    for row in lines:
        found[row.promise_id].lines.append(row._asdict())
    return found


def promise(session: Session, promise_id: str, *, for_update: bool = False) -> PromiseRow:
    """One placed promise within the caller's entities. Refuses NOT_FOUND PROMISE_UNKNOWN."""
    found = promises(session, [promise_id], for_update=for_update).get(promise_id)
    if found is None or not found.is_placed or not context.current_caller().sees_entity(found.entity_code):
        raise Refused(Code.NOT_FOUND, "PROMISE_UNKNOWN", "no such promise")
    return found


def promises_to_evaluate(session: Session, account_ids: Sequence[str], today: date) -> list[str]:
    """Ids of promises of these accounts that may change: open ones, and kept ones while a payment can be reversed."""
    rows = session.scalars(
        text(
            "SELECT promise_id::text FROM promise WHERE account_id = ANY(CAST(:ids AS uuid[]) || ARRAY("
            "   SELECT relative_id FROM account_relative WHERE account_id = ANY(CAST(:ids AS uuid[])))) AND is_placed"
            " AND (state = 'OPEN' OR (state = 'KEPT' AND promised_on + tolerance_days >= :today)) ORDER BY promise_id"
        ),
        {"ids": list(account_ids), "today": today},
    )
    return list(rows)


def live_promises_of_items(session: Session, item_ids: Iterable[str], but_not: str) -> dict[str, list[str]]:
    """Open promises on these items other than one: promise id to the items concerned."""
    rows = session.execute(
        text(
            "SELECT p.promise_id::text, l.item_id::text FROM promise p"
            " JOIN promise_line l ON l.promise_id = p.promise_id AND NOT l.is_replaced"
            " WHERE p.state = 'OPEN' AND p.is_placed AND p.promise_id <> CAST(:but_not AS uuid)"
            " AND l.item_id = ANY(CAST(:items AS uuid[])) ORDER BY 1, 2"
        ),
        {"items": list(item_ids), "but_not": but_not},
    )
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row.promise_id].append(row.item_id)
    return dict(found)


def add_promise(session: Session, row: PromiseRow) -> None:
    """Writes a new promise with its lines."""
    tenant = context.current_tenant()
    values = asdict(row)
    lines = values.pop("lines")
    session.execute(
        text(
            "INSERT INTO promise (tenant_id, promise_id, request_hash, account_id, account_name, entity_code, state,"
            " is_placed, promised_on, tolerance_days, source, source_id, comment, created_by, created_at, version)"
            " VALUES (:tenant, :promise_id, :request_hash, :account_id, :account_name, :entity_code, :state,"
            " :is_placed, :promised_on, :tolerance_days, :source, :source_id, :comment, :created_by, :created_at,"
            " :version)"
        ),
        {**values, "tenant": tenant},
    )
    session.execute(
        text(
            "INSERT INTO promise_line (tenant_id, promise_id, item_id, item_number, currency, promised_minor,"
            " baseline_minor) VALUES (:tenant, :promise_id, :item_id, :item_number, :currency, :promised_minor,"
            " :baseline_minor)"
        ),
        [{**line, "tenant": tenant, "promise_id": row.promise_id} for line in lines],
    )


def save_promise(session: Session, row: PromiseRow) -> None:
    """Writes the state of a promise and of its lines."""
    session.execute(
        text(
            "UPDATE promise SET state = :state, is_placed = :is_placed, ended_on = :ended_on,"
            " ended_reason = :ended_reason, version = :version WHERE promise_id = :promise_id"
        ),
        {
            "state": str(row.state),
            "is_placed": row.is_placed,
            "ended_on": row.ended_on,
            "ended_reason": row.ended_reason,
            "version": row.version,
            "promise_id": row.promise_id,
        },
    )
    session.execute(
        text(
            "UPDATE promise_line SET promised_minor = :promised_minor, received_minor = :received_minor,"
            " is_replaced = :is_replaced WHERE promise_id = :promise_id AND item_id = :item_id"
        ),
        [
            {
                "promised_minor": line["promised_minor"],
                "received_minor": line["received_minor"],
                "is_replaced": line["is_replaced"],
                "promise_id": row.promise_id,
                "item_id": line["item_id"],
            }
            for line in row.lines
        ],
    )


def remove_unplaced_promise(session: Session, promise_id: str) -> None:
    """Forgets a promise whose holds were refused."""
    session.execute(
        text(
            "DELETE FROM promise_line l USING promise p WHERE p.promise_id = l.promise_id"
            " AND p.promise_id = :id AND NOT p.is_placed"
        ),
        {"id": promise_id},
    )
    session.execute(text("DELETE FROM promise WHERE promise_id = :id AND NOT is_placed"), {"id": promise_id})


_PROMISE_FIELDS = {name: PROMISE.c[name] for name in ("account_id", "state", "promised_on", "entity_code")}
_PROMISE_ORDER = {name: PROMISE.c[name] for name in ("promised_on", "created_at", "account_name", "state")}


def list_promises(
    session: Session, filter_text: str, order: str, limit: int, offset: int, account_id: str = ""
) -> tuple[list[PromiseRow], int]:
    """A page of promises within the caller's entities, and how many there are in all."""
    conditions: list[Any] = [*listing.parse_filter(filter_text, _PROMISE_FIELDS), text("is_placed")]
    if account_id:
        conditions.append(PROMISE.c.account_id == account_id)
    conditions += within_entities(PROMISE.c.entity_code)
    total = session.execute(select(func.count()).select_from(PROMISE).where(*conditions)).scalar_one()
    ids = session.scalars(
        select(PROMISE.c.promise_id)
        .where(*conditions)
        .order_by(*listing.order_by(order, _PROMISE_ORDER, "promised_on"), PROMISE.c.promise_id)
        .limit(limit)
        .offset(offset)
    ).all()
    found = promises(session, ids)
    return [found[promise_id] for promise_id in ids], total
