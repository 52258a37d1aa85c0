"""The audit chain: how a fact is written as bytes, hashed, and bound to all facts before it.

A version fixes which tables and columns are sealed and how. Blocks name theirs, so an old block is verified as it was
sealed; a version once released is never changed, a new one is added.

Encoding of a fact: 0x00, version (2 bytes), code of its table (1 byte), then each field as its length (4 bytes, -1 for
none) and its bytes: uuid 16 bytes; whole numbers 4 or 8 bytes, big-endian, signed; a date as days and an instant as
microseconds since 2000-01-01 (UTC), in 4 and 8 bytes; text in UTF-8. Its SHA-256 is a leaf. Leaves stand in the order of
tables and keys; 256 at a time, a node is the SHA-256 of 0x01 and its children, until one is left: the Merkle root.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

NODE_WIDTH = 256
HASH_BYTES = 32
GENESIS = bytes(HASH_BYTES)
_EPOCH_DAY = date(2000, 1, 1).toordinal()
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
KIND_BYTES = {"uuid": 16, "int4": 4, "int8": 8, "date": 4, "instant": 8}


@dataclass(frozen=True)
class SealedTable:
    """A table whose rows are sealed: code, its number in hashes; key, the first fields; fields as (column, kind).

    Kinds: uuid, int4, int8, date, instant, text; text? and so on where the column may be null.
    """

    code: int
    table: str
    key: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]

    @property
    def key_bytes(self) -> int:
        """Length of a key: its fields' bytes without lengths."""
        return sum(KIND_BYTES[dict(self.fields)[column]] for column in self.key)


VERSIONS: dict[int, tuple[SealedTable, ...]] = {
    1: (
        SealedTable(
            1,
            "items",
            ("item_id",),
            # What an item was issued as, and on whose account, never changes; what is open on it is the sum of its changes.
            (
                ("item_id", "uuid"), ("entity_id", "uuid"), ("came_with_account_id", "uuid"), ("currency", "text"),
                ("issued_minor", "int8"),
                ("issued_on", "date"), ("recorded_at", "instant"), ("source_system", "text"), ("external_id", "text?"),
                ("first_load_id", "uuid?"),
            ),
        ),
        SealedTable(
            2,
            "item_changes",
            ("item_id", "sequence"),
            (
                ("item_id", "uuid"), ("sequence", "int4"), ("account_id", "uuid"), ("cause", "text"),
                ("delta_minor", "int8"), ("value_on", "date"), ("recorded_at", "instant"), ("import_id", "uuid?"),
            ),
        ),
        SealedTable(
            3,
            "hold_changes",
            ("hold_id", "sequence"),
            (
                ("hold_id", "uuid"), ("sequence", "int4"), ("what", "text"), ("amount_minor", "int8"),
                ("reason", "text"), ("actor", "text"), ("recorded_at", "instant"), ("until_on", "date?"),
                ("review_on", "date?"),
            ),
        ),
        SealedTable(
            4,
            "audit_entries",
            ("entry_id",),
            (
                ("entry_id", "uuid"), ("recorded_at", "instant"), ("actor", "text"), ("origin", "text"),
                ("service", "text"), ("what", "text"), ("object_kind", "text"), ("object_id", "text"),
                ("entity_code", "text"), ("before", "text?"), ("after", "text?"),
            ),
        ),
        SealedTable(
            5,
            "allocations",
            ("allocation_id",),
            (
                ("allocation_id", "uuid"), ("account_id", "uuid"), ("credit_item_id", "uuid"), ("debit_item_id", "uuid"),
                ("currency", "text"), ("amount_minor", "int8"), ("value_on", "date"), ("recorded_at", "instant"),
                ("actor", "text"), ("reason", "text"), ("external_id", "text"), ("reverses_id", "uuid?"),
                ("load_id", "uuid?"), ("credit_sequence", "int4"), ("debit_sequence", "int4"),
            ),
        ),
    ),
}  # fmt: skip
CURRENT_VERSION = 1


def encode(version: int, table: SealedTable, row: Mapping[str, Any]) -> bytes:
    """The canonical bytes of one fact; values as Python has them (str or UUID, int, date, datetime with zone, str)."""
    written = [struct.pack(">BhB", 0, version, table.code)]
    for column, kind in table.fields:
        value = row[column]
        if value is None:
            if not kind.endswith("?"):
                raise ValueError(f"{table.table}.{column} is never null")
            written.append(struct.pack(">i", -1))
            continue
        data = _field(kind.removesuffix("?"), value)
        written += [struct.pack(">i", len(data)), data]
    return b"".join(written)


def _field(kind: str, value: Any) -> bytes:
    match kind:
        case "uuid":
            return (value if isinstance(value, UUID) else UUID(value)).bytes
        case "int4":
            return struct.pack(">i", value)
        case "int8":
            return struct.pack(">q", value)
        case "date":
            return struct.pack(">i", value.toordinal() - _EPOCH_DAY)
        case "instant":
            past = value - _EPOCH
            return struct.pack(">q", (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds)
        case "text":
            return value.encode()
    raise ValueError(f"no encoding for {kind}")


def leaf(version: int, table: SealedTable, row: Mapping[str, Any]) -> bytes:
    """The hash of one fact."""
    return hashlib.sha256(encode(version, table, row)).digest()


def key_of(table: SealedTable, row: Mapping[str, Any]) -> bytes:
    """The key of a fact as the chain keeps it; keys sort as bytes."""
    kinds = dict(table.fields)
    return b"".join(_field(kinds[column], row[column]) for column in table.key)


def key_text(table: SealedTable, key: bytes) -> str:
    """A kept key as people look it up: item_id=..., sequence=2."""
    kinds, said, at = dict(table.fields), [], 0
    for column in table.key:
        part = key[at : at + KIND_BYTES[kinds[column]]]
        at += len(part)
        said.append(f"{column}={UUID(bytes=part) if kinds[column] == 'uuid' else int.from_bytes(part, signed=True)}")
    return ", ".join(said)


def node(children: bytes) -> bytes:
    """The hash over up to 256 hashes that follow one another."""
    return hashlib.sha256(b"\x01" + children).digest()


def merkle_root(nodes: Sequence[bytes]) -> bytes:
    """The root over the lowest nodes, in their order. A single node is its own root. Raises ValueError without any."""
    if not nodes:
        raise ValueError("nothing to seal")
    level = list(nodes)
    while len(level) > 1:
        level = [node(b"".join(level[at : at + NODE_WIDTH])) for at in range(0, len(level), NODE_WIDTH)]
    return level[0]


@dataclass(frozen=True)
class Block:
    """A link of the chain: the facts of transactions from_xid (included) to to_xid (excluded), by their Merkle root."""

    number: int
    version: int
    from_xid: int
    to_xid: int
    row_count: int
    merkle_root: bytes
    previous_hash: bytes
    sealed_at: datetime

    def hash(self, tenant_id: str) -> bytes:
        """What the next block carries on: everything this block says, and through previous_hash all before it."""
        return hashlib.sha256(
            struct.pack(
                ">Bh16sqqqqq", 2, self.version, UUID(tenant_id).bytes, self.number, self.from_xid, self.to_xid,
                self.row_count, struct.unpack(">q", _field("instant", self.sealed_at))[0],
            ) + self.merkle_root + self.previous_hash
        ).digest()  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """The first thing that is not as it was sealed.

    what: CHANGED, MISSING or ADDED; table and key, the row; block, the block it belongs to.
    """

    block: int
    table: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"block {self.block}: row of {self.table} with {self.key} is {self.what.lower()}"


def check_link(
    block: Block, kept_hash: bytes, previous: Block | None, previous_hash: bytes, tenant_id: str
) -> Finding | None:
    """Whether a block follows the one before it (None: it must be the first) and is what its hash says."""
    key = f"number={block.number}"
    expected = 1 if previous is None else previous.number + 1
    if block.number != expected:
        return Finding(expected, "audit_blocks", f"number={expected}", "MISSING")
    begins = 0 if previous is None else previous.to_xid
    if block.previous_hash != previous_hash or block.from_xid != begins or block.hash(tenant_id) != kept_hash:
        return Finding(block.number, "audit_blocks", key, "CHANGED")
    return None
