"""What the ledger says of items, kept: at once where all is new, and the same however it comes."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import text

from kit import context
from kit.ids import new_id
from reporting import store

ACCOUNT_ID = new_id()
CREDIT_ACCOUNT_ID = new_id()
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def session(make_database: Any, acting: Any) -> Iterator[Any]:
    with make_database("reporting").transaction() as opened:
        yield opened


def item(
    item_id: str, minor: int, due_on: date | None, version: int = 1, account_id: str = ACCOUNT_ID
) -> dict[str, Any]:
    return {
        "item_id": item_id, "version": version, "account_id": account_id, "entity_code": "FR01", "number": item_id[-6:],
        "kind": "INVOICE", "currency": "EUR", "issue_on": date(2026, 1, 10), "due_on": due_on, "initial_minor": minor,
        "settled_on": None, "order_number": "", "issued_minor": minor, "issued_on": date(2026, 1, 10),
    }  # fmt: skip


def change(item_id: str, sequence: int, minor: int, value_on: date) -> dict[str, Any]:
    return {
        "item_id": item_id, "account_id": ACCOUNT_ID, "sequence": sequence, "cause": "PAYMENT", "delta_minor": minor,
        "value_on": value_on, "recorded_at": NOW,
    }  # fmt: skip


ITEM_TYPES = pa.schema(
    [
        (name, pa.string())
        for name in ("item_id", "account_id", "entity_code", "number", "kind", "currency", "order_number")
    ]
    + [(name, pa.int64()) for name in ("version", "initial_minor", "issued_minor")]
    + [(name, pa.date32()) for name in ("issue_on", "due_on", "settled_on", "issued_on")]
)
CHANGE_TYPES = pa.schema(
    [
        ("item_id", pa.string()), ("account_id", pa.string()), ("sequence", pa.int32()), ("cause", pa.string()),
        ("delta_minor", pa.int64()), ("value_on", pa.date32()), ("recorded_at", pa.timestamp("us", "UTC")),
    ]
)  # fmt: skip


def keep(session: Any, items: list[dict[str, Any]], changes: list[dict[str, Any]]) -> None:
    store.keep_facts(
        session, pa.Table.from_pylist(items, schema=ITEM_TYPES), pa.Table.from_pylist(changes, schema=CHANGE_TYPES)
    )


def kept(session: Any) -> dict[str, tuple[int, date]]:
    rows = session.execute(text("SELECT item_id::text, open_minor, last_change_on FROM item"))
    return {row[0]: (row[1], row[2]) for row in rows}


FIRST, SECOND = sorted([new_id(), new_id()])
ITEMS = [item(FIRST, 10_000, date(2026, 2, 10)), item(SECOND, 500, None)]
PAYMENT, REST = change(FIRST, 2, -4_000, date(2026, 3, 1)), change(FIRST, 3, -1_000, date(2026, 4, 1))
EXPECTED = {FIRST: (5_000, date(2026, 4, 1)), SECOND: (500, date(2026, 1, 10))}


@pytest.mark.parametrize(
    "events",
    [
        [(ITEMS, [PAYMENT]), ([], [REST])],
        [([], [REST]), (ITEMS, [PAYMENT])],
        [([], [PAYMENT]), ([], [REST]), (ITEMS, [])],
        [(ITEMS, [PAYMENT, REST])],
        [(ITEMS, []), (ITEMS, [PAYMENT]), ([], [REST]), ([], [REST]), (ITEMS, [PAYMENT])],
        [(ITEMS[:1], [PAYMENT, REST]), (ITEMS[1:], []), (ITEMS, [PAYMENT, REST])],
    ],
)
def test_items_and_changes_give_the_same_in_whatever_order_and_however_often_they_come(session, events):
    for items, changes in events:
        keep(session, items, changes)
    assert kept(session) == EXPECTED


def test_items_of_which_nothing_is_known_are_written_once(session):
    keep(session, ITEMS, [PAYMENT])
    writes = session.execute(text("SELECT count(*) FILTER (WHERE ctid = '(0,1)' OR ctid = '(0,2)') FROM item")).scalar()
    assert writes == 2


@pytest.mark.parametrize("as_of", [date(2026, 1, 9), date(2026, 2, 20), date(2026, 3, 15), date(2026, 5, 1)])
def test_the_balance_by_account_has_the_figures_of_the_aging(session, as_of):
    credit = item(new_id(), -700, date(2026, 2, 1), account_id=CREDIT_ACCOUNT_ID)
    keep(session, [*ITEMS, credit], [PAYMENT])
    keep(session, [], [REST])
    balance = store.aged_balance(session, as_of, store.Scope())
    summed = {
        label: sum(filter(None, balance[label].to_pylist()))
        for label in balance.column_names[2:]
        if any(balance[label].to_pylist())
    }
    assert summed == {label: minor for _, label, minor, _ in store.aging_groups(session, as_of, store.Scope())}
    one = store.aged_balance(session, as_of, store.Scope(entity_codes=frozenset({"DE01"})))
    assert one.num_rows == 0
    assert context.current_tenant()
