"""Taking a load back: the books are as before it, and what comes next finds them as if it had never been."""

import os
from datetime import date, timedelta
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_driver import TIMEOUT_S, TODAY, Ledger, item_row, item_table
from sqlalchemy import text

from kit import context
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, refused
from quittance.ledger.v1 import item_pb2
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_service_pb2 as pb

STOCK, DELTA = load_pb.LOAD_MODE_STOCK, load_pb.LOAD_MODE_DELTA


def whole(ledger: Ledger, *rows, finished=True, entity="FR01", chunks=1, **header):
    """Loads and ends a file; returns the load's id."""
    load_id = new_id()
    tables = [item_table(*rows[n::chunks]) for n in range(chunks) if rows[n::chunks]]
    ledger.stream(*tables, load_id=load_id, entity_code=entity, **header)
    if finished:
        ledger.finish(load_id, confirm_clearing=True)
    return load_id


def roll_back(ledger: Ledger, load_id: str, **options):
    return ledger.loads.RollBackLoad(load_pb.RollBackLoadRequest(load_id=load_id, **options), timeout=TIMEOUT_S)


BOOKS = """
SELECT a.number AS account, i.number, i.kind, i.currency, i.issue_on, i.due_on, i.settled_on, i.initial_minor,
    i.open_minor, i.order_number, i.reference, i.text, i.account_name, CAST(i.custom_fields AS text) AS custom_fields,
    (SELECT jsonb_object_agg(p.value_on, p.delta) FROM (SELECT value_on, sum(delta) AS delta FROM (
        SELECT i.issued_on AS value_on, i.issued_minor AS delta
        UNION ALL SELECT c.value_on, c.delta_minor FROM item_changes AS c WHERE c.item_id = i.item_id) AS e
        GROUP BY value_on HAVING sum(delta) <> 0) AS p) AS past
FROM items AS i JOIN accounts AS a ON a.account_id = i.account_id JOIN entities AS e ON e.entity_id = a.entity_id
WHERE e.code = :entity AND i.source_system <> 'quittance:rolled-back'
ORDER BY a.number, i.number, i.kind
"""
ACCOUNTS = """
SELECT a.number, a.name, a.aliases, a.payment_terms, a.oldest_due_on, (SELECT jsonb_object_agg(b.currency,
    jsonb_build_array(b.open_minor, b.credits_minor, b.item_count)) FROM account_balances AS b
    WHERE b.account_id = a.account_id) AS balances
FROM accounts AS a JOIN entities AS e ON e.entity_id = a.entity_id WHERE e.code = :entity
    AND EXISTS (SELECT 1 FROM items AS i WHERE i.account_id = a.account_id
        AND i.source_system <> 'quittance:rolled-back')
ORDER BY a.number
"""


def books(ledger: Ledger, entity="FR01"):
    """All that the books say of items and accounts, histories summed by value date."""
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        return [[tuple(row) for row in session.execute(text(query), {"entity": entity})] for query in (BOOKS, ACCOUNTS)]


def test_new_items_are_closed_and_changed_ones_restored(ledger):
    whole(ledger, item_row(text="as agreed"), item_row(number="F2"), item_row(number="F3"), file_on="2024-06-01")
    before = books(ledger)
    load_id = whole(
        ledger,
        item_row(open_minor=1_000, text="overwritten", due_on=date(2024, 7, 1), account_name="Northwind Ltd"),
        item_row(number="F2", settled_on=date(2024, 5, 20)),
        item_row(number="N1"),
        item_row(number="N2", account_number="9", open_minor=500),
        mode=STOCK,
    )
    plan = roll_back(ledger, load_id, plan_only=True)
    assert (plan.closed, plan.restored, plan.holds_changed) == (2, 3, 0)
    (balance,) = plan.balances
    assert (balance.items_before, balance.open_before_minor) == (3, 11_500)
    assert (balance.items_after, balance.open_after_minor) == (3, 30_000)
    assert roll_back(ledger, load_id) == plan
    assert books(ledger) == before
    assert roll_back(ledger, load_id) == plan
    assert ledger.history()[-1] == ("ROLL_BACK", 9_000, "2024-06-30")
    assert ledger.history("N1")[-1] == ("ROLL_BACK", -10_000, "2024-04-01")
    assert [a.number for a in ledger.accounts()] == ["000100", "9"]


def test_the_readers_hear_of_it(ledger):
    whole(ledger, item_row())
    load_id = whole(ledger, item_row(open_minor=1))
    events = len(ledger.events())
    roll_back(ledger, load_id)
    assert [event.DESCRIPTOR.name for event in ledger.events()[events:]] == ["ItemFactsRecorded", "AccountsChanged"]
    roll_back(ledger, load_id)
    assert len(ledger.events()) == events + 2


def test_holds_give_way_when_less_is_open_again(ledger):
    whole(ledger, item_row(open_minor=1_000))
    load_id = whole(ledger, item_row(), item_row(number="N1"))
    (account,) = ledger.accounts()
    orders = [pb.HoldOrder(item_id=i.item_id, kind=item_pb2.HOLD_KIND_DISPUTE, reason="x") for i in ledger.items()]
    ledger.call(
        "PlaceHolds",
        pb.PlaceHoldsRequest(
            request_id=new_id(), account_id=account.account_id, source="t", source_id="1", holds=orders
        ),
    )
    assert roll_back(ledger, load_id).holds_changed == 2
    assert [(i.number, i.held.minor_units) for i in ledger.items()] == [("F1", 1_000)]


def test_a_stock_clearing_taken_back_and_a_false_one_seen_later(ledger):
    rows = [item_row(number=f"F{n}") for n in range(4)]
    whole(ledger, *rows)
    whole(ledger, *rows[:3], mode=STOCK, file_on="2024-06-10")
    load_id = whole(ledger, *rows, file_on="2024-06-20")
    assert ledger.as_of("2024-06-15", "F3") == 10_000
    roll_back(ledger, load_id)
    assert ledger.as_of("2024-06-15", "F3") == 0
    # It is still the complete file that cleared it, whatever was taken back since: never paid.
    whole(ledger, *rows, file_on="2024-06-25")
    assert ledger.as_of("2024-06-15", "F3") == 10_000
    assert ledger.history("F3")[-1][0] == "REOPENED"


def test_accounts_and_contacts_of_a_load_are_taken_back(ledger):
    import pyarrow as pa

    def table(**columns):
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})

    whole(ledger, item_row())
    first = new_id()
    ledger.stream(table(number=["000100"], name=["North"], language=["fr"], registration_number=["1"], country=["FR"],
                        legal_unit_name=["Wind"], groups=["key"]), method="LoadAccounts", load_id=first)  # fmt: skip
    ledger.stream(table(account_number=["000100"], name=["Anne"], email=["a@example.com"]), method="LoadContacts",
                  load_id=first)  # fmt: skip
    ledger.finish(first)

    def account():
        found = ledger.call("GetAccount", pb.GetAccountRequest(account_id=ledger.accounts()[0].account_id)).account
        found.ClearField("version")
        found.ClearField("changed_at")
        return found

    before = account()
    second = new_id()
    ledger.stream(table(number=["000100"], name=["South"], language=["de"], registration_number=["2"], country=["FR"],
                        legal_unit_name=["Storm"], groups=["lost"]), method="LoadAccounts", load_id=second)  # fmt: skip
    ledger.stream(table(account_number=["000100", "000100"], name=["Anna", "Bob"], email=["a@example.com", None]),
                  method="LoadContacts", load_id=second)  # fmt: skip
    ledger.finish(second)
    assert account() != before
    roll_back(ledger, second)
    assert account() == before


def test_only_the_last_load_that_ended_can_be_taken_back(ledger):
    with refused(Code.NOT_FOUND, "LOAD_UNKNOWN"):
        roll_back(ledger, new_id())
    first = whole(ledger, item_row(), finished=False)
    with refused(Code.FAILED_PRECONDITION, "LOAD_NOT_FINISHED"):
        roll_back(ledger, first)
    ledger.finish(first)
    second = whole(ledger, item_row(number="F2"), finished=False)
    with refused(Code.FAILED_PRECONDITION, "NOT_LAST_LOAD") as caught:
        roll_back(ledger, first)
    assert caught.error.metadata == {"load_id": second}
    ledger.finish(second)
    with refused(Code.FAILED_PRECONDITION, "NOT_LAST_LOAD"):
        roll_back(ledger, first)
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="FR02", name="F2", country="FR", currency="EUR"))
    whole(ledger, item_row(), entity="FR02")
    assert roll_back(ledger, second).closed == 1
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        session.execute(text("UPDATE loads SET finished_at = now() - interval '31 days'"))
    third = whole(ledger, item_row(number="F9"))
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        session.execute(text("UPDATE loads SET finished_at = finished_at - interval '31 days'"))
        session.execute(text("UPDATE load_chunks SET committed_at = committed_at - interval '31 days'"))
    with refused(Code.FAILED_PRECONDITION, "LOAD_TOO_OLD"):
        roll_back(ledger, third)


def test_what_is_kept_goes_when_the_next_load_ends(ledger):
    whole(ledger, item_row())
    whole(ledger, item_row(open_minor=1))
    last = whole(ledger, item_row(open_minor=2))
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        for table in ("item_images", "load_images"):
            kept = {str(row[0]) for row in session.execute(text(f"SELECT load_id FROM {table}"))}
            assert kept == {last}


# ---- whatever the files say ------------------------------------------------------------------------------------------

EXAMPLES = 300 if os.environ.get("QUITTANCE_LONG") == "1" else 25
EXAMPLE = count()

DAYS = st.integers(0, 120).map(lambda n: date(2024, 3, 1) + timedelta(days=n))
ITEM = st.fixed_dictionaries(
    {
        "account_number": st.sampled_from(["1", "2", "3"]),
        "number": st.sampled_from(["A", "B", "C"]),
        "account_name": st.sampled_from(["Wind", "wind SA", "WIND"]),
        "issue_on": st.sampled_from([date(2024, 3, 1), date(2024, 4, 2)]),
        "fiscal_year": st.just(2024),
        "due_on": st.none() | DAYS,
        "settled_on": st.none() | st.none() | DAYS,
        "initial_minor": st.sampled_from([10_000, 10_000, 7_000]),
        "open_minor": st.sampled_from([10_000, 7_000, 3_000, 0, -500]),
        "text": st.sampled_from([None, "first", "second"]),
        "order_number": st.sampled_from([None, "PO1"]),
        "payment_terms": st.sampled_from([None, "30 d", "60 d"]),
    }
)
FILE = st.tuples(
    st.lists(ITEM, max_size=9, unique_by=lambda row: (row["account_number"], row["number"])),
    st.sampled_from([STOCK, DELTA]),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=FILE, again=FILE, wrong=FILE, right=FILE)
def test_the_books_are_as_before_and_the_next_file_finds_no_trace(ledger, first, again, wrong, right):
    # Two entities of the same history, but for the wrong file.
    one, other = (f"{letter}{next(EXAMPLE)}" for letter in "AB")
    for code in (one, other):
        ledger.call("CreateEntity", pb.CreateEntityRequest(code=code, name="F", country="FR", currency="EUR"))

    def load(entity, file, day):
        rows = [item_row(**row) for row in sorted(file[0], key=lambda row: row["account_number"])]
        return whole(ledger, *rows, entity=entity, mode=file[1], file_on=str(TODAY - timedelta(days=day)))

    for entity in (one, other):
        load(entity, first, 40)
        load(entity, again, 30)
    before = books(ledger, one)
    roll_back(ledger, load(one, wrong, 20))
    assert books(ledger, one) == before
    for entity in (one, other):
        load(entity, right, 10)
    assert books(ledger, one) == books(ledger, other)
