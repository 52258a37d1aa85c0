"""The audit trail: noting what was done, sealing facts into blocks, and looking whether the books are still those."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from kit import context
from kit.context import Caller
from kit.db import Database
from kit.errors import Code, Refused
from kit.files import Store
from ledger.domain import audit as rules
from ledger.store import audit as store

# Facts in one block, about: one transaction with more is not split.
BLOCK_ROWS = 50_000
API_KEY_SUBJECT = "api-key:"
IMPORT = "service:import"
EXPORT_FORMAT = 1
LOOK_BACK_DAYS = 366


def canonical(value: Mapping[str, Any] | None) -> str | None:
    """JSON with one way to write each value: sorted names, no blanks; days and instants as ISO text."""
    if value is None:
        return None
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an audit entry")


def origin_of(caller: Caller) -> str:
    """Where an act came from: UI, API, IMPORT, AUTOMATION, or SERVICE (a service on behalf of a person)."""
    if caller.subject == IMPORT:
        return "IMPORT"
    if caller.is_service:
        return "SERVICE" if caller.acting_for else "AUTOMATION"
    return "API" if caller.subject.startswith(API_KEY_SUBJECT) else "UI"


def note(
    session: Session,
    what: str,
    object_kind: str,
    object_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    entity_code: str = "",
) -> None:
    """Notes in this transaction what the current caller does to an object.

    Args: what, such as account.update; before and after, only what changes, as JSON knows it (None: there was or is
    nothing); entity_code, whose scope the entry belongs to (empty: the whole tenant's, seen by those who see all).
    """
    caller = context.current_caller()
    store.insert_entries(
        session,
        [
            {
                "actor": caller.actor,
                "origin": origin_of(caller),
                "service": caller.name if caller.is_service else "",
                "what": what,
                "object_kind": object_kind,
                "object_id": object_id,
                "entity_code": entity_code,
                "before": canonical(before),
                "after": canonical(after),
            }
        ],
    )


# ---- sealing ---------------------------------------------------------------------------------------------------------


def seal_block(session: Session, *, most_rows: int = BLOCK_ROWS) -> rules.Block | None:
    """Seals the next facts of the tenant that are final; None when there are none.

    Facts of transactions that are still open, or younger than one that is, wait for the next time, so that no late
    commit is passed over. Raises LookupError where the database counts transactions from a new beginning (a restored
    dump): see the README.
    """
    store.lock_chain(session)
    last = store.last_block(session)
    begins = last[0].to_xid if last else 0
    horizon_xid, now = store.horizon(session)
    if horizon_xid < begins:
        raise LookupError(
            f"transaction {horizon_xid} comes before {begins}, up to which this tenant is sealed: the database was"
            " restored from a dump into a new server"
        )
    checked = max(begins, store.checked_xid(session))
    if horizon_xid <= checked:
        return None
    version = rules.CURRENT_VERSION
    ends = store.end_of_block(session, version, checked, horizon_xid, most_rows)
    number = last[0].number + 1 if last else 1
    count, nodes = store.seal(session, version, number, checked, ends)
    store.keep_checked(session, ends)
    if not count:
        return None
    block = rules.Block(
        number=number,
        version=version,
        # The block answers for what lies between it and the one before, too: there is nothing.
        from_xid=begins,
        to_xid=ends,
        row_count=count,
        merkle_root=rules.merkle_root(nodes),
        previous_hash=last[1] if last else rules.GENESIS,
        sealed_at=now,
    )
    store.insert_block(session, block)
    return block


# ---- verifying -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verified:
    """What a verification saw: blocks and facts looked at, the last block's number and hash, the first bad row or None."""

    blocks: int
    rows: int
    last_number: int
    last_hash: bytes
    finding: rules.Finding | None


def verify(
    database: Database,
    *,
    from_block: int = 1,
    most_blocks: int | None = None,
    go_on: Callable[[rules.Block], bool] = lambda _: True,
) -> Verified:
    """Verifies the chain of the current tenant from a block on, a transaction per block, up to the first bad row.

    go_on is told each block that is well and may stop the work. The block before from_block is believed.
    """
    blocks = rows = 0
    number = max(from_block, 1)
    previous: rules.Block | None = None
    previous_hash = rules.GENESIS
    if number > 1:
        with database.transaction() as session:
            kept = store.block_with_hash(session, number - 1)
        if kept is None:
            raise Refused(Code.NOT_FOUND, "AUDIT_BLOCK_UNKNOWN", "there is no such block")
        previous, previous_hash = kept
    while most_blocks is None or blocks < most_blocks:
        with database.transaction() as session:
            step = _verify_next(session, previous, previous_hash)
        if step is None:
            break
        if isinstance(step, rules.Finding):
            return Verified(blocks, rows, previous.number if previous else 0, previous_hash, step)
        previous, previous_hash = step
        blocks, rows = blocks + 1, rows + previous.row_count
        if not go_on(previous):
            break
    return Verified(blocks, rows, previous.number if previous else 0, previous_hash, None)


def _verify_next(
    session: Session, previous: rules.Block | None, previous_hash: bytes
) -> tuple[rules.Block, bytes] | rules.Finding | None:
    number = store.next_number(session, previous.number + 1 if previous else 1)
    if number is None:
        return None
    kept = store.block_with_hash(session, number)
    assert kept is not None, "it was there a moment ago, and blocks are never deleted"
    block, block_hash = kept
    finding = rules.check_link(block, block_hash, previous, previous_hash, context.current_tenant())
    if finding is not None:
        return finding
    if block.version not in rules.VERSIONS:
        raise LookupError(f"block {number} is of version {block.version}, which this program does not know")
    nodes = store.nodes_of_rows(session, block)
    if nodes and rules.merkle_root(nodes) == block.merkle_root and nodes == store.kept_nodes(session, block):
        return block, block_hash
    kept_nodes = store.kept_nodes(session, block)
    if not kept_nodes or rules.merkle_root(kept_nodes) != block.merkle_root:
        return rules.Finding(number, "audit_leaves", f"number={number}", "CHANGED")
    finding = store.first_bad_row(session, block)
    assert finding is not None, "other nodes come from other leaves"
    return finding


# ---- daily roots -----------------------------------------------------------------------------------------------------


def roots_key(tenant_id: str, day: date) -> str:
    """Where a day's roots lie in the file store."""
    return f"{tenant_id}/audit/roots/{day.isoformat()}.json"


def roots_of_day(session: Session, day: date) -> dict[str, Any] | None:
    """The links sealed on a day (UTC) and the one before them, for keeping outside the database; None without any."""
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = store.blocks_of_day(session, begins, begins + timedelta(days=1))
    if not rows:
        return None
    return {
        "format": EXPORT_FORMAT,
        "tenant": context.current_tenant(),
        "day": day.isoformat(),
        "previousHash": rows[0].previous_hash.hex(),
        "hash": rows[-1].block_hash.hex(),
        "blocks": [
            {
                "number": row.number,
                "version": row.version,
                "fromXid": row.from_xid,
                "toXid": row.to_xid,
                "rows": row.row_count,
                "merkleRoot": row.merkle_root.hex(),
                "hash": row.block_hash.hex(),
                "sealedAt": row.sealed_at.isoformat(),
            }
            for row in rows
        ],
    }


def _days(database: Database, until: date) -> list[date]:
    """The days before until since the chain began; a year at least, for a chain may have been removed."""
    with database.transaction() as session:
        began = store.first_sealed_at(session)
    first = until - timedelta(days=LOOK_BACK_DAYS)
    if began is not None:
        first = min(first, began.astimezone(UTC).date())
    return [first + timedelta(days=n) for n in range((until - first).days)]


def days_sealed(database: Database) -> list[date]:
    """The days (UTC) on which blocks were sealed, ascending."""
    with database.transaction() as session:
        return store.days_sealed(session)


def export_roots(database: Database, files: Store, until: date) -> list[str]:
    """Writes the roots of every day before until that is not written yet; returns the keys. What is written stays."""
    tenant_id, written = context.current_tenant(), []
    with database.transaction() as session:
        began = store.first_sealed_at(session)
    day = until - timedelta(days=1)
    while began is not None and day >= began.astimezone(UTC).date() and not files.exists(roots_key(tenant_id, day)):
        key = roots_key(tenant_id, day)
        with database.transaction() as session:
            roots = roots_of_day(session, day)
        day -= timedelta(days=1)
        if roots is not None:
            files.put(key, io.BytesIO(json.dumps(roots, indent=1).encode()))
            written.append(key)
    return written[::-1]


def verify_roots(database: Database, files: Store, until: date) -> rules.Finding | None:
    """Compares the chain with the roots exported before until: whoever rewrote the whole chain could not rewrite these."""
    tenant_id = context.current_tenant()
    for day in _days(database, until):
        key = roots_key(tenant_id, day)
        if not files.exists(key):
            continue
        with files.get(key) as stream:
            exported = json.load(stream)
        for block in exported["blocks"]:
            with database.transaction() as session:
                kept = store.block_with_hash(session, block["number"])
            if kept is None or kept[1].hex() != block["hash"]:
                what = "MISSING" if kept is None else "CHANGED"
                return rules.Finding(block["number"], "audit_blocks", f"number={block['number']}", what)
    return None
