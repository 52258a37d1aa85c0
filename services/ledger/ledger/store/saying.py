"""What the ledger says: events built by COPY out of the transaction that made them true."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import bulk, context
from kit.outbox import emit
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
    CAST(a.custom_fields AS text) AS custom_fields, a.changed_at
FROM {said} AS s
JOIN accounts AS a ON a.account_id = s.account_id
JOIN entities AS e ON e.entity_id = a.entity_id
JOIN legal_units AS u ON u.legal_unit_id = a.legal_unit_id
ORDER BY s.bucket, a.account_id
"""
_CONTACTS = """
SELECT s.bucket, c.account_id, c.contact_id, c.name, c.email, c.phone, c.role, c.language, c.valid
FROM {said} AS s JOIN contacts AS c ON c.account_id = s.account_id
ORDER BY s.bucket, c.account_id, c.made_at, c.contact_id
"""
_OPEN_ITEMS = """
SELECT s.bucket, i.account_id, i.item_id, i.number, i.kind, i.currency, i.issue_on, i.due_on, i.initial_minor,
    i.open_minor, coalesce(h.held_minor, 0) AS held_minor, i.order_number, i.version
FROM {said} AS s JOIN items AS i ON i.account_id = s.account_id AND i.open_minor <> 0
LEFT JOIN (SELECT held.item_id, CAST(sum(held.amount_minor) AS bigint) AS held_minor
    FROM {said} AS hs JOIN holds AS held ON held.account_id = hs.account_id
    WHERE held.state = 'ACTIVE' AND held.from_on <= :today AND (held.until_on IS NULL OR held.until_on >= :today)
    GROUP BY held.item_id) AS h ON h.item_id = i.item_id
ORDER BY s.bucket, i.account_id, i.item_id
"""
_HOLDS = """
SELECT s.bucket, h.account_id, h.item_id, h.hold_id, h.kind, h.amount_minor, h.from_on, h.until_on, h.review_on,
    h.reason, h.source, h.source_id
FROM {said} AS s JOIN holds AS h ON h.account_id = s.account_id AND h.state = 'ACTIVE'
ORDER BY s.bucket, h.account_id, h.hold_id
"""
# Accounts in groups of about EVENT_ITEMS open items; one that has too many for one event is a group of its own.
_SAID = """
CREATE TEMP TABLE said ON COMMIT DROP AS
SELECT account_id, CAST(CASE WHEN n > :part THEN -row_number() OVER (ORDER BY account_id)
    ELSE sum(CASE WHEN n > :part THEN 0 ELSE n + 1 END) OVER (ORDER BY account_id) / :event END AS integer) AS bucket
FROM (SELECT t.account_id, coalesce(b.n, 0) AS n FROM touched AS t LEFT JOIN (
    SELECT account_id, sum(item_count) AS n FROM account_balances GROUP BY account_id) AS b
    ON b.account_id = t.account_id) AS sized
"""


def say_entity(session: Session, row: EntityRow) -> None:
    """Emits EntityChanged."""
    entity = account_pb2.Entity(
        entity_id=row.entity_id,
        code=row.code,
        name=row.name,
        country=row.country,
        currency=row.currency,
        time_zone=row.time_zone,
        language=row.language,
        version=row.version,
    )
    emit(session, events.EntityChanged(entity=entity), row.entity_id)


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
        " initial_minor, settled_on, order_number, CASE WHEN effect = 'created' THEN open_minor - initial_minor END"
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
        histories += [_changes(created, 1, "ISSUED", "initial_minor", "issue_on")]
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
    for start in range(0, max(items.num_rows, changes.num_rows), FACTS_PER_EVENT):
        _emit_facts(session, items.slice(start, FACTS_PER_EVENT), changes.slice(start, FACTS_PER_EVENT))


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


def _emit_facts(session: Session, items: pa.Table, changes: pa.Table) -> None:
    encoded_items, encoded_changes = bulk.to_ipc(items), bulk.to_ipc(changes)
    rows = max(items.num_rows, changes.num_rows)
    if len(encoded_items) + len(encoded_changes) > TABLES_MAX_BYTES and rows > 1:
        half = rows // 2
        _emit_facts(session, items.slice(0, half), changes.slice(0, half))
        _emit_facts(session, items.slice(half), changes.slice(half))
        return
    key = (items if items.num_rows else changes)["item_id"][0].as_py()
    emit(session, events.ItemFactsRecorded(items=encoded_items, changes=encoded_changes), key)
