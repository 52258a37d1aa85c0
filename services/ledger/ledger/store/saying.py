"""What the ledger says: events built by COPY out of the transaction that made them true."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import bulk, context, pgcopy
from kit.outbox import emit
from ledger.domain.rows import NewAccounts
from ledger.store.load import REST_CAUSE, REST_ON
from ledger.store.tables import EntityRow
from quittance.ledger.v1 import account_pb2
from quittance.ledger.v1 import ledger_events_pb2 as events

# An event may have 512 KiB; a little is kept for the message around the tables.
TABLES_MAX_BYTES = 500 * 1024
# Open items of one account in one event; the contract promises not to split fewer.
PART_MAX_ITEMS = 2000
# Rows at which a new event begins; the tables are split further where these turn out too large.
EVENT_ITEMS = 4000
FACTS_PER_EVENT = 4000

_ACCOUNTS = """
SELECT s.bucket, a.account_id, a.version, a.entity_id, e.code AS entity_code, e.name AS entity_name,
    e.currency AS entity_currency, e.country AS entity_country, e.language AS entity_language, a.number, a.name,
    a.country, a.language, a.payment_terms, a.legal_unit_id, u.name AS legal_unit_name, u.registration_number,
    a.parent_number, CAST(to_jsonb(a.groups) AS text) AS groups, a.collector,
    CAST(a.custom_fields AS text) AS custom_fields, a.changed_at,
    coalesce(CAST(a.master_account_id AS text), '') AS master_account_id,
    coalesce(CAST(a.merged_into_id AS text), '') AS merged_into_id
FROM {said} AS s
JOIN accounts AS a ON a.account_id = s.account_id AND a.account_id = ANY(ARRAY(SELECT account_id FROM {said} AS ids))
JOIN entities AS e ON e.entity_id = a.entity_id
JOIN legal_units AS u ON u.legal_unit_id = a.legal_unit_id
ORDER BY s.bucket, a.account_id
"""
_CONTACTS = """
SELECT s.bucket, c.account_id, c.contact_id, c.name, c.email, c.phone, c.role, c.language, c.valid,
    CAST(to_jsonb(ARRAY[c.role] || c.more_roles) AS text) AS roles, CAST(to_jsonb(c.channels) AS text) AS channels,
    c.preferred_channel, c.scope, CAST(to_jsonb(c.item_ids) AS text) AS item_ids, c.recipient
FROM {said} AS s JOIN contacts AS c ON c.account_id = s.account_id AND c.active
    AND c.account_id = ANY(ARRAY(SELECT account_id FROM {said} AS ids))
ORDER BY s.bucket, c.account_id, c.made_at, c.contact_id
"""
_OPEN_ITEMS = """
SELECT s.bucket, i.account_id, i.item_id, i.number, i.kind, i.currency, i.issue_on, i.due_on, i.initial_minor,
    i.open_minor, coalesce(h.held_minor, 0) AS held_minor, i.order_number, i.version
FROM {said} AS s JOIN items AS i ON i.account_id = s.account_id AND i.open_minor <> 0
    AND i.account_id = ANY(ARRAY(SELECT account_id FROM {said} AS ids))
LEFT JOIN (SELECT held.item_id, CAST(sum(held.amount_minor) AS bigint) AS held_minor
    FROM holds AS held WHERE held.account_id = ANY(ARRAY(SELECT account_id FROM {said} AS ids))
        AND held.state = 'ACTIVE' AND held.from_on <= :today AND (held.until_on IS NULL OR held.until_on >= :today)
    GROUP BY held.item_id) AS h ON h.item_id = i.item_id
ORDER BY s.bucket, i.account_id, i.item_id
"""
_HOLDS = """
SELECT s.bucket, h.account_id, h.item_id, h.hold_id, h.kind, h.amount_minor, h.from_on, h.until_on, h.review_on,
    h.reason, h.source, h.source_id
FROM {said} AS s JOIN holds AS h ON h.account_id = s.account_id AND h.state = 'ACTIVE'
    AND h.account_id = ANY(ARRAY(SELECT account_id FROM {said} AS ids))
ORDER BY s.bucket, h.account_id, h.hold_id
"""
ACCOUNT_COLUMNS = (
    "account_id", "version", "entity_id", "entity_code", "entity_name", "entity_currency", "entity_country",
    "entity_language", "number", "name", "country", "language", "payment_terms", "legal_unit_id", "legal_unit_name",
    "registration_number", "parent_number", "groups", "collector", "custom_fields", "changed_at",
    "master_account_id", "merged_into_id",
)  # fmt: skip
_ENTITY_COLUMNS = (
    ("id", "entity_id"), ("code", "code"), ("name", "name"), ("currency", "currency"), ("country", "country"),
    ("language", "language"),
)  # fmt: skip
_TEXT = pa.string()
CONTACT_SCHEMA = pa.schema(
    [
        ("account_id", _TEXT), ("contact_id", _TEXT), ("name", _TEXT), ("email", _TEXT), ("phone", _TEXT),
        ("role", _TEXT), ("language", _TEXT), ("valid", pa.bool_()), ("roles", _TEXT), ("channels", _TEXT),
        ("preferred_channel", _TEXT), ("scope", _TEXT), ("item_ids", _TEXT), ("recipient", _TEXT),
    ]
)  # fmt: skip
HOLD_SCHEMA = pa.schema(
    [
        ("account_id", _TEXT), ("item_id", _TEXT), ("hold_id", _TEXT), ("kind", _TEXT), ("amount_minor", pa.int64()),
        ("from_on", pa.date32()), ("until_on", pa.date32()), ("review_on", pa.date32()), ("reason", _TEXT),
        ("source", _TEXT), ("source_id", _TEXT),
    ]
)  # fmt: skip
CHANGE_FIELDS = (
    ("item_id", _TEXT), ("account_id", _TEXT), ("sequence", pa.int32()), ("cause", _TEXT), ("delta_minor", pa.int64()),
    ("value_on", pa.date32()), ("recorded_at", pa.timestamp("us", "UTC")),
)  # fmt: skip
# In all of these the ids stand as an array too: see load._ANY_TOUCHED.
# Accounts in groups of about EVENT_ITEMS open items; one that has too many for one event is a group of its own.
_SAID = """
CREATE TEMP TABLE said ON COMMIT DROP AS
SELECT account_id, CAST(CASE WHEN n > :part THEN -row_number() OVER (ORDER BY account_id)
    ELSE sum(CASE WHEN n > :part THEN 0 ELSE n + 1 END) OVER (ORDER BY account_id) / :event END AS integer) AS bucket
FROM (SELECT t.account_id, coalesce(b.n, 0) AS n FROM touched AS t LEFT JOIN (
    SELECT account_id, sum(item_count) AS n FROM account_balances GROUP BY account_id) AS b
    ON b.account_id = t.account_id) AS sized
"""


def entity_message(row: EntityRow) -> account_pb2.Entity:
    """An entity as the contract has it."""
    entity = account_pb2.Entity(
        entity_id=row.entity_id,
        code=row.code,
        name=row.name,
        country=row.country,
        currency=row.currency,
        time_zone=row.time_zone,
        language=row.language,
        version=row.version,
        field_owners={
            field: account_pb2.FieldOwner.Value(f"FIELD_OWNER_{owner}") for field, owner in row.field_owners.items()
        },
    )
    entity.ignore_item_below.currency = row.currency
    entity.ignore_item_below.minor_units = row.ignore_item_below_minor
    if row.min_account_minor is not None:
        entity.min_account_amount.currency = row.currency
        entity.min_account_amount.minor_units = row.min_account_minor
    return entity


def say_entity(session: Session, row: EntityRow) -> None:
    """Emits EntityChanged."""
    emit(session, events.EntityChanged(entity=entity_message(row)), row.entity_id)


def say_accounts(session: Session, today: Any, account_ids: list[str] | None = None, *, is_bulk: bool = False) -> None:
    """Emits AccountsChanged for these accounts, or for those in the temporary table touched."""
    params: dict[str, Any] = {"tenant": context.current_tenant(), "today": today}
    if account_ids is None:
        session.execute(text(_SAID), {"tenant": params["tenant"], "part": PART_MAX_ITEMS, "event": EVENT_ITEMS})
        session.execute(text("ANALYZE said"))
        said = "said"
    else:
        said = "(SELECT id AS account_id, 0 AS bucket FROM unnest(CAST(:accounts AS uuid[])) AS id)"
        params["accounts"] = account_ids
    tables = [
        bulk.copy_out_arrow(session, query.format(said=said), params)
        for query in (_ACCOUNTS, _CONTACTS, _OPEN_ITEMS, _HOLDS)
    ]
    slices = [_by_bucket(table) for table in tables]
    for bucket, accounts in slices[0].items():
        rest = [
            by_bucket.get(bucket, table.slice(0, 0).drop_columns("bucket"))
            for by_bucket, table in zip(slices[1:], tables[1:], strict=True)
        ]
        for event in _account_events(accounts, *rest, is_bulk=is_bulk):
            emit(session, event, accounts["account_id"][0].as_py())
    if account_ids is None:
        session.execute(text("DROP TABLE said"))


@dataclass(frozen=True)
class EntityWords:
    """What events about accounts say of their entity."""

    entity_id: str
    code: str
    name: str
    currency: str
    country: str
    language: str

    @classmethod
    def of(cls, row: EntityRow) -> "EntityWords":
        """As the books have it."""
        return cls(row.entity_id, row.code, row.name, row.currency, row.country, row.language)


def now(session: Session) -> datetime:
    """The time of the transaction: what it writes carries this as recorded_at and changed_at."""
    return session.execute(text("SELECT now()")).scalar_one()


def say_new(session: Session, words: list[tuple[Message, str]]) -> None:
    """Emits what words_of_new has made."""
    for event, key in words:
        emit(session, event, key)


def words_of_new(entity: EntityWords, new: NewAccounts, recorded_at: datetime) -> list[tuple[Message, str]]:
    """ItemFactsRecorded and AccountsChanged, with their keys, for accounts that fresh.write writes: from the rows in
    hand, nothing is read back. Pure."""
    words: list[tuple[Message, str]] = []
    accounts, items = new.accounts, new.items
    account_ids, item_ids = _texts(accounts["account_id"]), _texts(items["item_id"])
    account_of_item = account_ids.take(pa.array(new.place))
    facts = pa.table(
        {
            "item_id": item_ids,
            "version": _same(1, pa.int64(), items.num_rows),
            "account_id": account_of_item,
            "entity_code": _same(entity.code, pa.string(), items.num_rows),
            **{name: items[name] for name in ("number", "kind", "currency", "issue_on", "due_on", "initial_minor")},
            "settled_on": items["settled_on"],
            "order_number": items["order_number"],
            "issued_minor": items["initial_minor"],
            "issued_on": items["issue_on"],
        }
    )
    rest = new.changes
    changes = pa.table(
        {
            "item_id": _texts(rest["item_id"]),
            "account_id": _texts(rest["account_id"]),
            "sequence": _same(2, pa.int32(), rest.num_rows),
            **{name: rest[name] for name in ("cause", "delta_minor", "value_on")},
            "recorded_at": _same(recorded_at, pa.timestamp("us", "UTC"), rest.num_rows),
        }
    )
    words += _fact_events(facts, changes)
    texts = (
        "country", "language", "parent_number", "collector", "legal_unit_name", "registration_number",
        "master_account_id", "merged_into_id",
    )  # fmt: skip
    empty = dict.fromkeys(texts, _same("", pa.string(), accounts.num_rows))
    columns = {
        "account_id": account_ids,
        "version": _same(1, pa.int64(), accounts.num_rows),
        **{
            f"entity_{name}": _same(getattr(entity, column), pa.string(), accounts.num_rows)
            for name, column in _ENTITY_COLUMNS
        },
        **{name: accounts[name] for name in ("number", "name", "payment_terms")},
        **empty,
        "legal_unit_id": _texts(accounts["legal_unit_id"]),
        "groups": _same("[]", pa.string(), accounts.num_rows),
        "custom_fields": _same("{}", pa.string(), accounts.num_rows),
        "changed_at": _same(recorded_at, pa.timestamp("us", "UTC"), accounts.num_rows),
    }
    is_open = pc.not_equal(items["open_minor"], 0)
    open_items = pa.table(
        {
            "account_id": account_of_item,
            "item_id": item_ids,
            **{name: items[name] for name in ("number", "kind", "currency", "issue_on", "due_on", "initial_minor")},
            "open_minor": items["open_minor"],
            "held_minor": _same(0, pa.int64(), items.num_rows),
            "order_number": items["order_number"],
            "version": facts["version"],
        }
    ).filter(is_open)
    counts = np.bincount(new.place[is_open.to_numpy()], minlength=accounts.num_rows)
    ends = np.concatenate([[0], np.cumsum(counts)])
    table = pa.table({name: columns[name] for name in ACCOUNT_COLUMNS})
    for first, last in _buckets(counts):
        for event in _account_events(
            table.slice(first, last - first),
            CONTACT_SCHEMA.empty_table(),
            open_items.slice(ends[first], ends[last] - ends[first]),
            HOLD_SCHEMA.empty_table(),
            is_bulk=True,
        ):
            words.append((event, account_ids[first].as_py()))
    return words


def _texts(ids: pa.ChunkedArray) -> pa.Array:
    return pgcopy.uuid_texts(pgcopy.uuid_values(ids))


def _same(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count)


def _buckets(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of accounts (first, one past the last) with about EVENT_ITEMS open items together; one with more than
    PART_MAX_ITEMS is alone."""
    start, size = 0, 0
    for place, count in enumerate(counts.tolist()):
        if count > PART_MAX_ITEMS:
            if start < place:
                yield start, place
            yield place, place + 1
            start, size = place + 1, 0
            continue
        size += count + 1
        if size >= EVENT_ITEMS:
            yield start, place + 1
            start, size = place + 1, 0
    if start < len(counts):
        yield start, len(counts)


def _by_bucket(table: pa.Table) -> dict[int, pa.Table]:
    """Slices of a table that is ordered by its column bucket, without that column; nothing is copied."""
    if not table.num_rows:
        return {}
    runs = pc.run_end_encode(table["bucket"].combine_chunks())
    body, start, slices = table.drop_columns("bucket"), 0, {}
    for end, bucket in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
        slices[bucket] = body.slice(start, end - start)
        start = end
    return slices


def _account_events(
    accounts: pa.Table, contacts: pa.Table, items: pa.Table, holds: pa.Table, *, is_bulk: bool
) -> Iterator[events.AccountsChanged]:
    """The events that say these accounts: one, or as many as the limit on size asks for."""
    if accounts.num_rows == 1 and items.num_rows > PART_MAX_ITEMS:
        for part, start in enumerate(range(0, items.num_rows, PART_MAX_ITEMS)):
            whole = part == 0
            yield events.AccountsChanged(
                accounts=bulk.to_ipc(accounts),
                contacts=bulk.to_ipc(contacts if whole else contacts.slice(0, 0)),
                open_items=bulk.to_ipc(items.slice(start, PART_MAX_ITEMS)),
                holds=bulk.to_ipc(holds if whole else holds.slice(0, 0)),
                part=part,
                bulk=is_bulk,
            )
        return
    encoded = [bulk.to_ipc(table) for table in (accounts, contacts, items, holds)]
    if accounts.num_rows > 1 and (sum(map(len, encoded)) > TABLES_MAX_BYTES or items.num_rows > 2 * EVENT_ITEMS):
        middle = accounts.num_rows // 2
        for half in (accounts.slice(0, middle), accounts.slice(middle)):
            ids = half["account_id"]
            yield from _account_events(
                half,
                *(table.filter(pc.is_in(table["account_id"], ids)) for table in (contacts, items, holds)),
                is_bulk=is_bulk,
            )
        return
    yield events.AccountsChanged(
        accounts=encoded[0], contacts=encoded[1], open_items=encoded[2], holds=encoded[3], bulk=is_bulk
    )


def say_facts(session: Session, *, entity_code: str, file_on: Any, has_created: bool, has_changed: bool) -> None:
    """Emits ItemFactsRecorded for what merged has written: its new and changed items and their new changes."""
    effects = ["'created'"] * has_created + ["'updated'", "'cleared'"] * has_changed
    rows = bulk.copy_out_arrow(
        session,
        "SELECT item_id, coalesce(old_version, 0) + 1 AS version, account_id, number, kind, currency, issue_on, due_on,"
        " initial_minor, settled_on, order_number, coalesce(old_issued_minor, initial_minor) AS issued_minor,"
        " coalesce(old_issued_on, issue_on) AS issued_on, CASE WHEN effect = 'created' THEN open_minor - initial_minor END"
        f" AS rest_minor, {REST_CAUSE} AS rest_cause, {REST_ON} AS rest_on"
        f" FROM merged WHERE effect IN ({', '.join(effects)})",
        {"file_on": file_on},
    )
    items = rows.drop_columns(["rest_minor", "rest_cause", "rest_on"])
    items = items.add_column(
        items.column_names.index("number"), "entity_code", pa.repeat(pa.scalar(entity_code), items.num_rows)
    )
    histories = []
    if has_created:
        created = rows.filter(pc.is_valid(rows["rest_minor"])) if has_changed else rows
        created = created.filter(pc.not_equal(created["rest_minor"], 0))
        histories += [_changes(created, 2, created["rest_cause"], "rest_minor", "rest_on")]
    if has_changed:
        later = "SELECT item_id, account_id, sequence, cause, delta_minor, value_on FROM later_change"
        histories += [bulk.copy_out_arrow(session, later)]
    changes = pa.concat_tables(histories)
    recorded_at = session.execute(text("SELECT now()")).scalar_one()
    changes = changes.append_column(
        "recorded_at", pa.repeat(pa.scalar(recorded_at, pa.timestamp("us", "UTC")), changes.num_rows)
    )
    for event, key in _fact_events(items, changes):
        emit(session, event, key)


def say_items(session: Session, items: pa.Table, entity_code: str) -> None:
    """Emits ItemFactsRecorded for items whose history did not change. Args: items, its columns but entity_code."""
    codes = pa.repeat(pa.scalar(entity_code), items.num_rows)
    items = items.add_column(items.column_names.index("number"), "entity_code", codes)
    none = pa.table({name: pa.array([], kind) for name, kind in CHANGE_FIELDS})
    for event, key in _fact_events(items, none):
        emit(session, event, key)


def _fact_events(items: pa.Table, changes: pa.Table) -> Iterator[tuple[Message, str]]:
    """ItemFactsRecorded of items with their changes beside them, so that a reader writes each item once; changes of items
    that are not said here come last."""
    place = pc.index_in(changes["item_id"], value_set=items["item_id"]).fill_null(items.num_rows).to_numpy()
    order = np.argsort(place, kind="stable")
    changes, place = changes.take(pa.array(order)), place[order]
    for start in range(0, items.num_rows, FACTS_PER_EVENT):
        first, last = np.searchsorted(place, [start, start + FACTS_PER_EVENT]).tolist()
        if start + FACTS_PER_EVENT >= items.num_rows:
            last = int(np.searchsorted(place, items.num_rows))
        yield from _fact_event(items.slice(start, FACTS_PER_EVENT), changes.slice(first, last - first))
    for start in range(int(np.searchsorted(place, items.num_rows)), changes.num_rows, FACTS_PER_EVENT):
        yield from _fact_event(items.slice(0, 0), changes.slice(start, FACTS_PER_EVENT))


def _changes(rows: pa.Table, sequence: int, cause: str | pa.ChunkedArray, delta: str, value_on: str) -> pa.Table:
    """One entry of the history of each of these new items, as load.write_merged has written it."""
    return pa.table(
        {
            "item_id": rows["item_id"],
            "account_id": rows["account_id"],
            "sequence": pa.repeat(pa.scalar(sequence, pa.int32()), rows.num_rows),
            "cause": pa.repeat(pa.scalar(cause), rows.num_rows) if isinstance(cause, str) else cause,
            "delta_minor": rows[delta],
            "value_on": rows[value_on],
        }
    )


def _fact_event(items: pa.Table, changes: pa.Table) -> Iterator[tuple[Message, str]]:
    encoded_items, encoded_changes = bulk.to_ipc(items), bulk.to_ipc(changes)
    rows = max(items.num_rows, changes.num_rows)
    if len(encoded_items) + len(encoded_changes) > TABLES_MAX_BYTES and rows > 1:
        if items.num_rows > 1:
            half = items.num_rows // 2
            for part in (items.slice(0, half), items.slice(half)):
                yield from _fact_event(part, changes.filter(pc.is_in(changes["item_id"], part["item_id"])))
        else:
            half = changes.num_rows // 2
            yield from _fact_event(items, changes.slice(0, half))
            yield from _fact_event(items.slice(0, 0), changes.slice(half))
        return
    key = (items if items.num_rows else changes)["item_id"][0].as_py()
    yield events.ItemFactsRecorded(items=encoded_items, changes=encoded_changes), key
