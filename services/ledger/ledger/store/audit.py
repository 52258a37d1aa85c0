"""The audit chain in the store: what people did, blocks of hashes over all facts, and looking whether they still agree.

Hashing is set-based SQL: a block of fifty thousand facts makes no Python object per fact.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, FetchedValue, Integer, LargeBinary, Row, SmallInteger, Text, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit import context, listing
from kit.db import TenantMixin
from kit.ids import new_id
from ledger.domain import audit
from ledger.domain.audit import HASH_BYTES, NODE_WIDTH, Block, Finding, SealedTable
from ledger.store.queries import Page, _paged
from ledger.store.tables import Base, Id, Instant


class AuditEntryRow(TenantMixin, Base):
    """Something a person or a program did; before and after are canonical JSON. Insert-only."""

    __tablename__ = "audit_entries"
    entry_id: Mapped[str] = mapped_column(Id, primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[str] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(Text)
    service: Mapped[str] = mapped_column(Text)
    what: Mapped[str] = mapped_column(Text)
    object_kind: Mapped[str] = mapped_column(Text)
    object_id: Mapped[str] = mapped_column(Text)
    entity_code: Mapped[str] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    audit_xid: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue(), deferred=True)


class AuditBlockRow(TenantMixin, Base):
    """A link of the chain (domain.audit.Block). Insert-only."""

    __tablename__ = "audit_blocks"
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    version: Mapped[int] = mapped_column(SmallInteger)
    from_xid: Mapped[int] = mapped_column(BigInteger)
    to_xid: Mapped[int] = mapped_column(BigInteger)
    row_count: Mapped[int] = mapped_column(Integer)
    merkle_root: Mapped[bytes] = mapped_column(LargeBinary)
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    block_hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime] = mapped_column(Instant)


class AuditLeavesRow(TenantMixin, Base):
    """Keys and hashes of up to 256 facts of one table in one block, each a text of fixed-length pieces. Insert-only."""

    __tablename__ = "audit_leaves"
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    object: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    part: Mapped[int] = mapped_column(Integer, primary_key=True)
    row_count: Mapped[int] = mapped_column(Integer)
    keys: Mapped[bytes] = mapped_column(LargeBinary)
    leaves: Mapped[bytes] = mapped_column(LargeBinary)
    node: Mapped[bytes] = mapped_column(LargeBinary)


class AuditHeadRow(TenantMixin, Base):
    """How far a tenant's facts were looked through for the next block."""

    __tablename__ = "audit_heads"
    checked_xid: Mapped[int] = mapped_column(BigInteger)


# ---- entries ---------------------------------------------------------------------------------------------------------


def insert_entries(session: Session, entries: Sequence[dict[str, Any]]) -> None:
    """Writes entries; each has actor, origin, service, what, object_kind, object_id, entity_code, before, after."""
    if entries:
        tenant_id = context.current_tenant()
        rows = [
            {"tenant_id": tenant_id, "entry_id": new_id(), "recorded_at": func.clock_timestamp(), **e} for e in entries
        ]
        session.execute(insert(AuditEntryRow).values(rows))


def list_entries(session: Session, page: Page) -> tuple[Sequence[AuditEntryRow], str, int]:
    """Entries of the entities within the caller's scope, newest first: a page, the next token, the total."""
    allowed = {
        "object_kind": AuditEntryRow.object_kind,
        "object_id": AuditEntryRow.object_id,
        "entity_code": AuditEntryRow.entity_code,
        "actor": AuditEntryRow.actor,
        "origin": AuditEntryRow.origin,
        "what": AuditEntryRow.what,
        "recorded_at": AuditEntryRow.recorded_at,
    }
    conditions = listing.parse_filter(page.filter, allowed)
    codes = context.current_caller().entity_codes
    if codes is not None:
        conditions.append(AuditEntryRow.entity_code.in_(sorted(codes)))
    query = select(AuditEntryRow).where(*conditions)
    total = session.execute(select(func.count()).select_from(AuditEntryRow).where(*conditions)).scalar_one()
    ordered = query.order_by(
        *listing.order_by(page.order_by, {"recorded_at": AuditEntryRow.recorded_at}, "recorded_at desc"),
        AuditEntryRow.entry_id,
    )
    rows, token = _paged(session, ordered, page, total)
    return [row[0] for row in rows], token, total


def list_blocks(session: Session, page: Page) -> tuple[Sequence[AuditBlockRow], str, int]:
    """Blocks, newest first: a page, the next token, the total."""
    allowed = {"number": AuditBlockRow.number, "sealed_at": AuditBlockRow.sealed_at}
    conditions = listing.parse_filter(page.filter, allowed)
    total = session.execute(select(func.count()).select_from(AuditBlockRow).where(*conditions)).scalar_one()
    query = select(AuditBlockRow).where(*conditions)
    rows, token = _paged(session, query.order_by(*listing.order_by(page.order_by, allowed, "number desc")), page, total)
    return [row[0] for row in rows], token, total


# ---- hashing ---------------------------------------------------------------------------------------------------------

_SENDS = {
    "uuid": "uuid_send",
    "int4": "int4send",
    "int8": "int8send",
    "date": "date_send",
    "instant": "timestamptz_send",
}


# A field that is not a column: the account whose number an item came with, whatever account it was merged into.
EXPRESSIONS = {"came_with_account_id": "coalesce(original_account_id, account_id)"}


def _field_sql(column: str, kind: str) -> str:
    column, name = EXPRESSIONS.get(column, column), kind.removesuffix("?")
    if name == "text":
        written = f"int4send(octet_length({column})) || convert_to({column}, 'UTF8')"
    else:
        length = audit.KIND_BYTES[name].to_bytes(4).hex()
        written = f"'\\x{length}'::bytea || {_SENDS[name]}({column})"
    # Without parentheses the constants join what was written so far, one copy less per field.
    return f"CASE WHEN {column} IS NULL THEN '\\xffffffff'::bytea ELSE {written} END" if kind != name else written


def rows_sql(version: int, table: SealedTable) -> str:
    """SELECT of (key, leaf) of a table's facts of the transactions :from_xid to :to_xid (excluded); as domain.audit.leaf."""
    head = (b"\x00" + version.to_bytes(2) + bytes([table.code])).hex()
    kinds = dict(table.fields)
    key = " || ".join(f"{_SENDS[kinds[column]]}({column})" for column in table.key)
    fields = " || ".join(_field_sql(column, kind) for column, kind in table.fields)
    return (
        f"SELECT {key} AS key, sha256('\\x{head}'::bytea || {fields}) AS leaf FROM {table.table}"
        " WHERE audit_xid >= :from_xid AND audit_xid < :to_xid"
    )


def _parts_sql(version: int, table: SealedTable) -> str:
    """The same as parts of 256 facts in the order of their keys: part, row_count, keys, leaves."""
    return (
        f"SELECT CAST(n / {NODE_WIDTH} AS integer) AS part, CAST(count(*) AS integer) AS row_count,"
        " string_agg(key, ''::bytea ORDER BY n) AS keys, string_agg(leaf, ''::bytea ORDER BY n) AS leaves"
        f" FROM (SELECT key, leaf, row_number() OVER (ORDER BY key) - 1 AS n FROM ({rows_sql(version, table)}) AS r) AS s"
        f" GROUP BY n / {NODE_WIDTH}"
    )


# ---- sealing ---------------------------------------------------------------------------------------------------------


def lock_chain(session: Session) -> None:
    """One builder per tenant at a time; a second one waits and then sees the first one's block."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('quittance audit ' || :tenant, 0))"),
        {"tenant": context.current_tenant()},
    )


def last_block(session: Session) -> tuple[Block, bytes] | None:
    """The newest block and its hash."""
    row = session.scalars(select(AuditBlockRow).order_by(AuditBlockRow.number.desc()).limit(1)).first()
    return None if row is None else (block_of(row), row.block_hash)


def block_of(row: AuditBlockRow) -> Block:
    """A kept block as the rules see it."""
    return Block(
        number=row.number,
        version=row.version,
        from_xid=row.from_xid,
        to_xid=row.to_xid,
        row_count=row.row_count,
        merkle_root=bytes(row.merkle_root),
        previous_hash=bytes(row.previous_hash),
        sealed_at=row.sealed_at,
    )


def horizon(session: Session) -> tuple[int, datetime]:
    """The first transaction that may not have ended yet (everything before it is final), and the instant."""
    row = session.execute(
        text("SELECT txid_snapshot_xmin(txid_current_snapshot()) AS xid, clock_timestamp() AS now")
    ).one()
    return row.xid, row.now


def checked_xid(session: Session) -> int:
    """How far the tenant was looked through; 0 at the beginning."""
    return session.scalars(select(AuditHeadRow.checked_xid)).first() or 0


def keep_checked(session: Session, xid: int) -> None:
    """Notes how far the tenant was looked through."""
    statement = insert(AuditHeadRow).values(tenant_id=context.current_tenant(), checked_xid=xid)
    session.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_={"checked_xid": xid}))


def end_of_block(session: Session, version: int, from_xid: int, horizon_xid: int, most_rows: int) -> int:
    """Where the next block ends, so that it holds about most_rows facts at most; transactions are never split.

    Reads about most_rows facts for each halving, never all that wait.
    """

    def sample(to_xid: int) -> Row:
        waiting = " UNION ALL ".join(
            f"(SELECT audit_xid FROM {table.table} WHERE audit_xid >= :from_xid AND audit_xid < :to_xid LIMIT :most)"
            for table in audit.VERSIONS[version]
        )
        return session.execute(
            text(
                "SELECT count(*) AS n, min(audit_xid) AS low,"
                f" percentile_disc(0.5) WITHIN GROUP (ORDER BY audit_xid) AS middle FROM ({waiting}) AS w"
            ),
            {"from_xid": from_xid, "to_xid": to_xid, "most": most_rows + 1},
        ).one()

    to_xid, known_full = horizon_xid, horizon_xid
    while True:
        found = sample(to_xid)
        if found.n == 0:
            # What was left out of the sample is what there is: one transaction with more than most_rows.
            return known_full
        if found.n <= most_rows:
            return to_xid
        known_full = to_xid
        if found.middle > found.low:
            to_xid = found.middle
        elif found.low + 1 < to_xid:
            to_xid = found.low + 1
        else:
            to_xid = found.low


def seal(session: Session, version: int, number: int, from_xid: int, to_xid: int) -> tuple[int, list[bytes]]:
    """Writes the leaves of a block; returns how many facts it holds and the nodes over them."""
    count, nodes = 0, []
    for table in audit.VERSIONS[version]:
        rows = session.execute(
            text(
                "INSERT INTO audit_leaves (tenant_id, number, object, part, row_count, keys, leaves, node)"
                " SELECT :tenant, :number, :object, part, row_count, keys, leaves, sha256('\\x01'::bytea || leaves)"
                f" FROM ({_parts_sql(version, table)}) AS p RETURNING part, row_count, node"
            ),
            {
                "tenant": context.current_tenant(),
                "number": number,
                "object": table.code,
                "from_xid": from_xid,
                "to_xid": to_xid,
            },
        ).all()
        for row in sorted(rows, key=lambda row: row.part):
            count += row.row_count
            nodes.append(bytes(row.node))
    return count, nodes


def insert_block(session: Session, block: Block) -> None:
    """Adds a link to the chain."""
    session.add(AuditBlockRow(**block.__dict__, block_hash=block.hash(context.current_tenant())))
    session.flush()


# ---- verifying -------------------------------------------------------------------------------------------------------


def block_with_hash(session: Session, number: int) -> tuple[Block, bytes] | None:
    """A block and its hash."""
    row = session.scalars(select(AuditBlockRow).where(AuditBlockRow.number == number)).first()
    return None if row is None else (block_of(row), bytes(row.block_hash))


def next_number(session: Session, number: int) -> int | None:
    """The number of the first block that is kept from this number on."""
    return session.scalars(select(func.min(AuditBlockRow.number)).where(AuditBlockRow.number >= number)).one()


def kept_nodes(session: Session, block: Block) -> list[bytes]:
    """The lowest nodes as the kept leaves give them."""
    rows = session.execute(
        text(
            "SELECT sha256('\\x01'::bytea || leaves) AS node FROM audit_leaves WHERE number = :number"
            " ORDER BY object, part"
        ),
        {"number": block.number},
    )
    return [bytes(row.node) for row in rows]


def nodes_of_rows(session: Session, block: Block) -> list[bytes]:
    """The lowest nodes as the facts themselves give them, now."""
    nodes = []
    for table in audit.VERSIONS[block.version]:
        rows = session.execute(
            text(
                "SELECT sha256('\\x01'::bytea || leaves) AS node"
                f" FROM ({_parts_sql(block.version, table)}) AS p ORDER BY part"
            ),
            {"from_xid": block.from_xid, "to_xid": block.to_xid},
        )
        nodes += [bytes(row.node) for row in rows]
    return nodes


def first_bad_row(session: Session, block: Block) -> Finding | None:
    """The first fact, by table and key, that is not what the block's leaves say."""
    for table in audit.VERSIONS[block.version]:
        width = table.key_bytes
        row = session.execute(
            text(
                f"""
WITH kept AS (
    SELECT substring(l.keys FROM i * {width} + 1 FOR {width}) AS key,
        substring(l.leaves FROM i * {HASH_BYTES} + 1 FOR {HASH_BYTES}) AS leaf
    FROM audit_leaves AS l, generate_series(0, l.row_count - 1) AS i
    WHERE l.number = :number AND l.object = :object
), found AS ({rows_sql(block.version, table)})
SELECT key, CASE WHEN found.leaf IS NULL THEN 'MISSING' WHEN kept.leaf IS NULL THEN 'ADDED' ELSE 'CHANGED' END AS what
FROM kept FULL JOIN found USING (key) WHERE kept.leaf IS DISTINCT FROM found.leaf ORDER BY key LIMIT 1
"""
            ),
            {"number": block.number, "object": table.code, "from_xid": block.from_xid, "to_xid": block.to_xid},
        ).first()
        if row is not None:
            key, what = bytes(row.key), row.what
            if what == "MISSING" and _exists(session, table, key):
                # It is there, but says that another transaction wrote it.
                what = "CHANGED"
            return Finding(block.number, table.table, audit.key_text(table, key), what)
    return None


def _exists(session: Session, table: SealedTable, key: bytes) -> bool:
    kinds = dict(table.fields)
    written = " || ".join(f"{_SENDS[kinds[column]]}({column})" for column in table.key)
    first = f"encode(substring(CAST(:key AS bytea) FROM 1 FOR {audit.KIND_BYTES[kinds[table.key[0]]]}), 'hex')::uuid"
    query = f"SELECT EXISTS (SELECT 1 FROM {table.table} WHERE {table.key[0]} = {first} AND {written} = :key)"
    return session.execute(text(query), {"key": key}).scalar_one()


def blocks_of_day(session: Session, begins: datetime, ends: datetime) -> Sequence[AuditBlockRow]:
    """Blocks sealed from one instant to another (excluded), ascending."""
    return session.scalars(
        select(AuditBlockRow)
        .where(AuditBlockRow.sealed_at >= begins, AuditBlockRow.sealed_at < ends)
        .order_by(AuditBlockRow.number)
    ).all()


def days_sealed(session: Session) -> list[date]:
    """The days (UTC) on which blocks were sealed, ascending."""
    query = "SELECT DISTINCT CAST(sealed_at AT TIME ZONE 'UTC' AS date) AS day FROM audit_blocks ORDER BY day"
    return list(session.scalars(text(query)))


def first_sealed_at(session: Session) -> datetime | None:
    """When the chain began."""
    return session.scalars(select(func.min(AuditBlockRow.sealed_at))).one()
