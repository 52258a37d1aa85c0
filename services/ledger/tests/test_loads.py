"""Loads through the real service: what each row becomes, and that nothing happens twice."""

from datetime import date
from typing import Any

import grpc
import pyarrow as pa
import pytest
from ledger_driver import TIMEOUT_S, TODAY, Ledger, counts, item_row, item_table
from sqlalchemy import text

from kit import bulk, context
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, refused
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_service_pb2 as pb

STOCK = load_pb.LOAD_MODE_STOCK


def test_new_items_are_issued_and_partly_paid(ledger):
    assert ledger.load(item_row(open_minor=6_000)) == {"created": 1}
    assert ledger.history() == [("ISSUED", 10_000, "2024-04-01"), ("PAYMENT", -4_000, "2024-06-30")]
    (account,) = ledger.accounts()
    assert (account.number, account.name, account.oldest_due_on) == ("000100", "Northwind SA", "2024-05-01")
    assert account.balances[0].open.minor_units == account.balances[0].overdue.minor_units == 6_000


def test_the_same_file_again_changes_nothing_and_says_nothing(ledger):
    rows = [item_row(), item_row(number="F2", settled_on=date(2024, 5, 20)), item_row(number="F3", open_minor=1)]
    assert ledger.load(*rows) == {"created": 3}
    before, events = ledger.accounts(), len(ledger.events())
    assert ledger.load(*rows) == {"unchanged": 3}
    assert ledger.accounts() == before
    assert len(ledger.events()) == events


def test_history_is_never_open(ledger):
    ledger.load(item_row(settled_on=date(2024, 5, 20)))
    assert ledger.items() == []
    assert ledger.history() == [("ISSUED", 10_000, "2024-04-01"), ("PAYMENT", -10_000, "2024-05-20")]
    assert ledger.item().item.settled_on == "2024-05-20"
    assert not ledger.accounts()[0].balances


@pytest.mark.parametrize(
    ("day", "open_minor"),
    [("2024-03-31", 0), ("2024-04-01", 10_000), ("2024-05-19", 10_000), ("2024-05-20", 0), ("2024-06-30", 0)],
)
def test_as_of_around_the_payment(ledger, day, open_minor):
    ledger.load(item_row())
    assert ledger.load(item_row(open_minor=0, settled_on=date(2024, 5, 20))) == {"cleared": 1}
    assert ledger.as_of(day) == open_minor


def test_a_settlement_before_the_issue_counts_from_the_issue(ledger):
    ledger.load(item_row(settled_on=date(2024, 3, 1)))
    assert ledger.item().item.settled_on == "2024-03-01"
    assert ledger.history()[-1] == ("PAYMENT", -10_000, "2024-04-01")


def test_a_settlement_dated_before_a_known_part_payment(ledger):
    ledger.load(item_row())
    ledger.load(item_row(open_minor=7_000), file_on="2024-06-10")
    ledger.load(item_row(open_minor=0, settled_on=date(2024, 5, 20)))
    assert [ledger.as_of(day) for day in ("2024-05-19", "2024-05-20", "2024-06-09", "2024-06-10")] == [10_000, 0, 0, 0]


def test_a_settlement_moved_to_a_later_day(ledger):
    ledger.load(item_row(settled_on=date(2024, 5, 20)))
    assert ledger.load(item_row(settled_on=date(2024, 5, 25))) == {"updated": 1}
    assert [ledger.as_of(day) for day in ("2024-05-20", "2024-05-24", "2024-05-25")] == [10_000, 10_000, 0]


def test_amounts_that_grow_or_are_corrected_are_no_payments(ledger):
    ledger.load(item_row(open_minor=5_000))
    assert ledger.load(item_row(open_minor=8_000)) == {"updated": 1}
    assert ledger.history()[-1] == ("IMPORT", 3_000, "2024-06-30")
    assert ledger.load(item_row(initial_minor=12_000, open_minor=9_000)) == {"updated": 1}
    assert ledger.history()[-2:] == [("IMPORT", 2_000, "2024-06-30"), ("PAYMENT", -1_000, "2024-06-30")]


def test_a_new_due_date_is_an_update_without_a_change(ledger):
    ledger.load(item_row())
    assert ledger.load(item_row(due_on=date(2024, 7, 15))) == {"updated": 1}
    assert ledger.history() == [("ISSUED", 10_000, "2024-04-01")]
    assert (ledger.item().item.due_on, ledger.item().item.version) == ("2024-07-15", 2)


def test_a_new_issue_date_moves_the_beginning(ledger):
    ledger.load(item_row())
    ledger.load(item_row(issue_on=date(2024, 4, 10), fiscal_year=2024))
    assert [ledger.as_of(day) for day in ("2024-04-01", "2024-04-09", "2024-04-10")] == [0, 0, 10_000]


def test_a_row_with_nothing_open_and_no_date_is_settled_on_the_day_of_the_file(ledger):
    ledger.load(item_row())
    assert ledger.load(item_row(open_minor=0), file_on="2024-06-15") == {"cleared": 1}
    assert ledger.item().item.settled_on == "2024-06-15"


def test_credits_reduce_and_never_are_due(ledger):
    ledger.load(item_row(), item_row(number="C1", kind="CREDIT_NOTE", initial_minor=-3_000, open_minor=-3_000))
    (balance,) = ledger.accounts()[0].balances
    assert (balance.open.minor_units, balance.overdue.minor_units, balance.credits.minor_units) == (
        7_000,
        10_000,
        -3_000,
    )


def test_currencies_are_never_added(ledger):
    ledger.load(item_row(), item_row(number="F2", currency="USD"), item_row(number="F3", currency="JPY"))
    reply = ledger.call("ListItems", pb.ListItemsRequest())
    assert [(t.currency, t.item_count, t.open.minor_units) for t in reply.totals] == [
        ("EUR", 1, 10_000), ("JPY", 1, 10_000), ("USD", 1, 10_000),
    ]  # fmt: skip
    assert [b.currency for b in ledger.accounts()[0].balances] == ["EUR", "JPY", "USD"]


def test_eleven_spellings_are_one_account(ledger):
    names = [f"WINC {suffix}" for suffix in "co llc in us corp group trust assoc sys fnd".split()] + ["WINC"]
    rows = [item_row(number=f"F{n}", account_name=name) for n, name in enumerate(names)]
    ledger.load(*rows, item_row(number="F99", account_name="WINC"))
    (account,) = ledger.accounts()
    assert account.name == "WINC"
    assert len(account.aliases) == 10
    assert ledger.accounts(query="winc LLC")[0].account_id == account.account_id


def test_external_ids_identify_within_their_source(ledger):
    ledger.load(item_row(external_id="A1"), source_system="SAP")
    renumbered = item_row(external_id="A1", number="F1-bis", open_minor=1_000)
    assert ledger.load(renumbered, source_system="SAP") == {"updated": 1}
    assert ledger.load(renumbered, source_system="Sage") == {"created": 1}
    (progress,) = ledger.stream(item_table(item_row(external_id="A1", account_number="7")), source_system="SAP")
    assert [(r.field, r.reason) for r in progress.rejects] == [("account_number", "CHANGED_KEY")]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"number": ""}, "number", "MISSING"),
        ({"account_number": None}, "account_number", "MISSING"),
        ({"issue_on": None}, "issue_on", "MISSING"),
        ({"kind": "GIFT"}, "kind", "UNKNOWN"),
        ({"currency": "XXX"}, "currency", "UNKNOWN"),
        ({"kind": "CREDIT_NOTE"}, "initial_minor", "SIGN"),
        ({"due_on": date(1601, 1, 1)}, "due_on", "IMPOSSIBLE"),
        ({"open_minor": 10**18}, "open_minor", "TOO_LARGE"),
        ({"text": "a\0b"}, "text", "UNREADABLE"),
        ({"number": "9" * 201}, "number", "TOO_LONG"),
        ({"custom_fields": "[1]"}, "custom_fields", "UNREADABLE"),
        ({"custom_fields": '{"a": "\\u0000"}'}, "custom_fields", "UNREADABLE"),
    ],
)
def test_bad_rows_are_named_and_the_others_taken(ledger, change, field, reason):
    (progress,) = ledger.stream(item_table(item_row(number="F7", account_number="9"), item_row(**change)))
    assert counts(progress) == {"created": 1, "rejected": 1}
    assert [(r.line, r.field, r.reason) for r in progress.rejects] == [(2, field, reason)]
    assert [account.number for account in ledger.accounts()] == ["9"]


def test_both_rows_of_a_doubled_key_are_refused(ledger):
    (progress,) = ledger.stream(item_table(item_row(), item_row(open_minor=1), item_row(number="F2")))
    assert counts(progress) == {"created": 1, "rejected": 2}
    assert {(r.line, r.reason) for r in progress.rejects} == {(1, "DUPLICATE_KEY"), (2, "DUPLICATE_KEY")}


def test_another_currency_under_the_same_key_is_refused(ledger):
    ledger.load(item_row())
    (progress,) = ledger.stream(item_table(item_row(currency="USD")))
    assert [(r.field, r.reason) for r in progress.rejects] == [("currency", "CHANGED_KEY")]


def test_custom_fields_are_kept_and_replaced(ledger):
    ledger.load(item_row(custom_fields='{"site": "Lyon", "pages": 3}'))
    assert dict(ledger.item().item.custom_fields) == {"site": "Lyon", "pages": "3"}
    ledger.load(item_row())
    assert dict(ledger.item().item.custom_fields) == {"site": "Lyon", "pages": "3"}
    assert ledger.load(item_row(custom_fields='{"site": "Lille"}')) == {"updated": 1}


@pytest.mark.parametrize(
    "table",
    [
        item_table(item_row()).drop_columns("number"),
        item_table(item_row()).append_column("surprise", pa.array(["x"])),
        item_table(item_row()).set_column(0, "line", pa.array(["x"])),
    ],
)
def test_another_schema_is_refused(ledger, table):
    with refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA"):
        ledger.stream(table)


def test_bytes_that_are_no_table_are_refused(ledger):
    header = load_pb.LoadHeader(load_id=new_id(), entity_code="FR01")
    requests = [
        load_pb.LoadItemsRequest(header=header),
        load_pb.LoadItemsRequest(chunk=load_pb.LoadChunk(chunk_number=0, rows=b"rubbish")),
    ]
    with refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA"):
        list(ledger.loads.LoadItems(iter(requests), timeout=TIMEOUT_S))


def test_an_unknown_entity_is_refused(ledger):
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        ledger.stream(item_table(item_row()), entity_code="DE01")


# ---- resuming --------------------------------------------------------------------------------------------------------


def test_a_killed_load_goes_on_where_it_stopped(ledger):
    load_id = new_id()
    chunks = [item_table(*(item_row(account_number=str(a), number=f"F{n}") for n in range(5))) for a in range(4)]
    ledger.stream(*chunks[:2], load_id=load_id)
    known = ledger.loads.GetLoad(load_pb.GetLoadRequest(load_id=load_id), timeout=TIMEOUT_S)
    assert ([c.chunk_number for c in known.chunks], known.finished) == ([0, 1], False)
    events = len(ledger.events())
    answers = ledger.stream(*chunks, load_id=load_id)
    assert [counts(answer) for answer in answers] == [{"created": 5}] * 4
    assert len(ledger.items()) == 20
    # The first two chunks were answered from their records: nothing was said again.
    assert len(ledger.events()) == events + 4
    end = ledger.finish(load_id)
    assert (end.cleared_absent, end.open_items) == (0, 20)
    assert end.position == len(ledger.events())
    assert ledger.finish(load_id) == end
    with refused(Code.FAILED_PRECONDITION, "LOAD_FINISHED"):
        ledger.stream(chunks[0], load_id=load_id, first_chunk=4)


@pytest.mark.parametrize("last_step", ["say_new", "say_facts"])
def test_a_load_that_dies_within_a_chunk_leaves_nothing_of_it(ledger, monkeypatch, last_step):
    from ledger.usecases import loads

    def die(*args, **kwargs):
        raise OSError("the machine is gone")

    load_id = new_id()
    # An account that is new, and one that is known and gets another item.
    rows = item_table(item_row(account_number="9"), *([item_row(number="F2")] if last_step == "say_facts" else []))
    ledger.load(item_row())
    before = ledger.accounts(), ledger.items(), len(ledger.events())
    with monkeypatch.context() as patch:
        patch.setattr(loads.saying, last_step, die)
        with pytest.raises(Exception, match="INTERNAL"):
            ledger.stream(rows, load_id=load_id)
    assert (ledger.accounts(), ledger.items(), len(ledger.events())) == before
    assert counts(ledger.stream(rows, load_id=load_id)[0]) == {"created": rows.num_rows}


def test_an_unknown_load(ledger):
    with refused(Code.NOT_FOUND, "LOAD_UNKNOWN"):
        ledger.loads.GetLoad(load_pb.GetLoadRequest(load_id=new_id()), timeout=TIMEOUT_S)
    with refused(Code.NOT_FOUND, "LOAD_UNKNOWN"):
        ledger.finish(new_id())


def test_a_plan_writes_nothing(ledger):
    ledger.load(item_row())
    events = len(ledger.events())
    load_id = new_id()
    rows = item_table(item_row(open_minor=1), item_row(number="F2"), item_row(number="F3", kind="?"))
    (progress,) = ledger.stream(rows, load_id=load_id, plan_only=True)
    assert counts(progress) == {"created": 1, "updated": 1, "rejected": 1}
    assert (len(ledger.events()), len(ledger.items())) == (events, 1)
    assert counts(ledger.stream(rows, load_id=load_id)[0]) == counts(progress)


# ---- complete files --------------------------------------------------------------------------------------------------


def many(count: int, **changes):
    return [item_row(number=f"F{n}", **changes) for n in range(count)]


def test_a_complete_file_clears_what_it_does_not_hold(ledger):
    ledger.load(*many(10))
    end = ledger.stock(*many(10)[:8], file_on=date(2024, 6, 20))
    assert (end.cleared_absent, end.open_items) == (2, 10)
    assert ledger.history("F9")[-1] == ("ABSENT_FROM_STOCK", -10_000, "2024-06-20")
    assert len(ledger.items()) == 8


def test_what_reappears_was_never_paid(ledger):
    ledger.load(*many(10))
    ledger.stock(*many(10)[:8], file_on=date(2024, 6, 20))
    assert ledger.load(item_row(number="F9", open_minor=9_000)) == {"updated": 1}
    assert ledger.history("F9")[-2:] == [("REOPENED", 10_000, "2024-06-20"), ("PAYMENT", -1_000, "2024-06-30")]
    assert ledger.as_of("2024-06-25", "F9") == 10_000
    assert ledger.item("F9").item.settled_on == ""


def test_the_guard_stops_a_file_that_clears_too_many(ledger):
    ledger.load(*many(10))
    load_id = new_id()
    ledger.stream(item_table(*many(6)), load_id=load_id, mode=STOCK)
    with refused(Code.FAILED_PRECONDITION, "STOCK_GUARD") as caught:
        ledger.finish(load_id)
    assert caught.error.metadata == {"cleared_items": "4", "open_items": "10"}
    assert len(ledger.items()) == 10
    assert ledger.finish(load_id, plan_only=True).cleared_absent == 4
    assert len(ledger.items()) == 10
    assert ledger.finish(load_id, confirm_clearing=True).cleared_absent == 4
    assert len(ledger.items()) == 6


def test_the_guard_looks_at_each_currency(ledger):
    rows = [*many(9), item_row(number="U1", currency="USD")]
    ledger.load(*rows)
    with refused(Code.FAILED_PRECONDITION, "STOCK_GUARD"):
        ledger.stock(*rows[:9])


def test_new_items_do_not_hide_that_old_ones_vanish(ledger):
    ledger.load(*many(10))
    with refused(Code.FAILED_PRECONDITION, "STOCK_GUARD"):
        ledger.stock(*many(6), *(item_row(number=f"N{n}") for n in range(100)))


def test_an_empty_complete_file_is_stopped(ledger):
    ledger.load(*many(3))
    with refused(Code.FAILED_PRECONDITION, "STOCK_GUARD"):
        ledger.stock()


def test_a_refused_row_of_a_complete_file_is_not_absent(ledger):
    ledger.load(*many(2))
    end = ledger.stock(many(2)[0], {**many(2)[1], "currency": "USD"})
    assert end.cleared_absent == 0


def test_a_plan_of_a_complete_file_says_what_would_be_cleared(ledger):
    ledger.load(*many(10))
    load_id = new_id()
    ledger.stream(item_table(*many(9)), load_id=load_id, mode=STOCK, plan_only=True)
    assert ledger.finish(load_id, plan_only=True).cleared_absent == 1
    assert len(ledger.items()) == 10


def test_the_first_complete_file_clears_nothing(ledger):
    assert ledger.stock(*many(5)).cleared_absent == 0


# ---- the short way ---------------------------------------------------------------------------------------------------


def of_every_kind(**same):
    """Rows of new accounts in every shape that a row can have."""
    changes = [
        {}, {"number": "F2", "open_minor": 6_000}, {"number": "F3", "settled_on": date(2024, 5, 20)},
        {"number": "F4", "settled_on": date(2024, 3, 1), "open_minor": 0}, {"number": "F5", "open_minor": 0},
        {"number": "F6", "open_minor": 12_000}, {"number": "F7", "open_minor": -1}, {"number": "F8", "due_on": None},
        {"number": "C1", "kind": "CREDIT_NOTE", "initial_minor": -3_000, "open_minor": -2_000},
        {"number": "U1", "currency": "USD", "payment_terms": "NET60", "account_name": "Northwind"},
        {"number": "U2", "currency": "USD", "payment_terms": "NET60", "account_name": "Northwind"},
        {"number": "F9", "account_name": "", "payment_terms": "NET30", "custom_fields": '{"site": "Lyon"}'},
        {"number": "X1", "external_id": "A1", "line_number": "1", "order_number": "PO7", "reference": "r", "text": "t"},
        {"number": "F1", "account_number": "7", "posted_on": date(2024, 4, 2), "fiscal_year": 2023},
        {"number": "F1", "account_number": "8", "account_name": "", "settled_on": date(2024, 5, 20)},
    ]  # fmt: skip
    return [item_row(**{**change, **same}) for change in changes]


def books(ledger):
    """All that a ledger keeps of its accounts, and all it has said of them, ids and times apart."""
    queries = {
        "accounts": "SELECT a.number, a.name, a.aliases, a.country, a.language, a.payment_terms, a.parent_number,"
        " a.groups, a.collector, a.custom_fields, a.oldest_due_on, a.version, u.registration_number, u.country, u.name"
        " FROM accounts AS a JOIN legal_units AS u ON u.legal_unit_id = a.legal_unit_id",
        "names": "SELECT a.number, n.name, n.item_count FROM accounts AS a JOIN account_names AS n USING (account_id)",
        "balances": "SELECT a.number, b.currency, b.open_minor, b.credits_minor, b.item_count"
        " FROM accounts AS a JOIN account_balances AS b USING (account_id)",
        "items": "SELECT a.number, i.number, i.line_number, i.kind, i.currency, i.issue_on, i.due_on, i.posted_on,"
        " i.settled_on, i.initial_minor, i.open_minor, i.issued_minor, i.issued_on, i.fiscal_year, i.source_system,"
        " i.external_id, i.order_number, i.reference, i.text, i.account_name, i.custom_fields, i.change_count,"
        " i.version, i.first_load_id IS NOT NULL FROM accounts AS a JOIN items AS i USING (account_id)",
        "changes": "SELECT i.number, i.external_id, c.sequence, a.number, c.cause, c.delta_minor, c.value_on,"
        " c.import_id = i.first_load_id FROM accounts AS a JOIN items AS i USING (account_id)"
        " JOIN item_changes AS c ON c.item_id = i.item_id AND c.account_id = a.account_id",
    }
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        found: dict[str, Any] = {
            name: sorted(str(tuple(row)) for row in session.execute(text(query))) for name, query in queries.items()
        }
    for event in ledger.events():
        for field, value in event.ListFields():
            if isinstance(value, bytes):
                table = bulk.from_ipc(value)
                found.setdefault(f"schema of {field.name}", table.schema)
                assert found[f"schema of {field.name}"].equals(table.schema), field.name
                found.setdefault(f"said: {field.name}", []).append(table)
    for name in [name for name in found if name.startswith("said: ")]:
        rows = [
            {key: value for key, value in row.items() if not key.endswith(("_id", "_at"))}
            for table in found[name]
            for row in table.to_pylist()
        ]
        found[name] = sorted(map(str, rows))
    return found


@pytest.fixture
def second_ledger(ledger, grpc_in_process):
    """A ledger like ledger, for another tenant."""
    from ledger.__main__ import DEFINITION

    tenant = new_id()
    channel = grpc_in_process(DEFINITION, ledger.database, caller_of(tenant))
    second = Ledger(ledger.database, channel, tenant)
    second.call("CreateEntity", pb.CreateEntityRequest(code="FR01", name="Fournier SA", country="FR", currency="EUR"))
    return second


def test_the_short_way_and_the_merge_make_the_same_books_and_say_the_same(ledger, second_ledger, monkeypatch):
    from ledger.usecases import loads

    def merge_all(session, entity, rows, is_new):
        return is_new & False

    short, merged = ledger, second_ledger
    rows = of_every_kind()
    with monkeypatch.context() as patch:
        patch.setattr(loads.load, "stage_items", None)
        assert short.load(*rows, source_system="SAP") == {"created": len(rows)}
    monkeypatch.setattr(loads, "_really_new", merge_all)
    assert merged.load(*rows, source_system="SAP") == {"created": len(rows)}
    short_books, merged_books = books(short), books(merged)
    assert set(short_books) == set(merged_books)
    for name, found in merged_books.items():
        assert short_books[name] == found, name


def no_merge(monkeypatch):
    """Makes the merging of any row fail."""
    from ledger.usecases import loads

    def fail(*args, **kwargs):
        raise AssertionError("a row was merged")

    monkeypatch.setattr(loads.load, "stage_items", fail)


@pytest.mark.parametrize("mode", [load_pb.LOAD_MODE_DELTA, STOCK])
@pytest.mark.parametrize("first_way", ["new", "merged"])
def test_rows_that_come_again_are_recognised_without_a_merge(ledger, monkeypatch, mode, first_way):
    rows = many(5)
    if first_way == "merged":
        ledger.load(*many(5, text="before"))
    ledger.load(*rows)
    no_merge(monkeypatch)
    load_id = new_id()
    (progress,) = ledger.stream(item_table(*rows), load_id=load_id, mode=mode)
    assert counts(progress) == {"unchanged": 5}
    assert ledger.finish(load_id).cleared_absent == 0


def test_rows_in_another_order_change_nothing_either(ledger):
    rows = many(5)
    ledger.load(*rows)
    assert ledger.load(*reversed(rows)) == {"unchanged": 5}


def test_what_was_recognised_once_is_compared_again_after_another_load(ledger):
    ledger.load(item_row())
    ledger.load(item_row(open_minor=6_000))
    assert ledger.load(item_row()) == {"updated": 1}
    assert ledger.load(item_row()) == {"unchanged": 1}


def test_what_was_recognised_once_is_compared_again_after_any_change_of_the_account(ledger):
    """Whatever makes the readers hear of an account takes its digest along."""
    ledger.load(item_row())
    with context.acting_as(caller_of(ledger.tenant)), ledger.database.transaction() as session:
        session.execute(text("UPDATE items SET open_minor = 1, change_count = 2, version = version + 1"))
        session.execute(text("UPDATE account_balances SET open_minor = 1"))
        session.execute(
            text(
                "INSERT INTO item_changes (tenant_id, item_id, sequence, account_id, cause, delta_minor, value_on)"
                " SELECT tenant_id, item_id, 2, account_id, 'PAYMENT', -9999, '2024-05-01' FROM items"
            )
        )
        session.execute(text("UPDATE accounts SET version = version + 1"))
    assert ledger.load(item_row()) == {"updated": 1}


def test_a_complete_file_clears_what_other_files_brought_beside_its_rows(ledger):
    rows = many(9)
    ledger.stock(*rows)
    ledger.load(item_row(number="later"))
    end = ledger.stock(*rows)
    assert (end.cleared_absent, end.open_items) == (1, 10)
    assert [item.number for item in ledger.items()] == [row["number"] for row in rows]


def test_an_account_in_two_chunks_of_a_complete_file_is_whole(ledger):
    rows, load_id = many(10), new_id()
    for _ in range(2):
        load_id = new_id()
        ledger.stream(item_table(*rows[:5]), item_table(*rows[5:]), load_id=load_id, mode=STOCK)
        assert ledger.finish(load_id).cleared_absent == 0
    assert len(ledger.items()) == 10


def test_an_account_of_which_a_row_is_refused_is_compared_each_time(ledger):
    rows = [item_row(), item_row(number="F2", kind="GIFT")]
    for first in ({"created": 1, "rejected": 1}, {"unchanged": 1, "rejected": 1}, {"unchanged": 1, "rejected": 1}):
        assert ledger.load(*rows) == first
    ledger.load(item_row(currency="USD"))
    assert ledger.load(item_row(currency="USD")) == {"rejected": 1}


# ---- accounts and contacts -------------------------------------------------------------------------------------------


def table(**columns):
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def test_accounts_are_merged_and_share_a_legal_unit(ledger):
    ledger.load(item_row())
    rows = table(
        number=["000100", "000200", ""], name=["Northwind", "Southwind", "x"], country=["FR", "FR", ""],
        registration_number=["552100554", "552100554", ""], legal_unit_name=["Wind Group", None, None],
        groups=["key, retail", None, None], collector=["a.b@example.com", None, None],
        custom_fields=['{"tier": "1"}', None, None],
    )  # fmt: skip
    (progress,) = ledger.stream(rows, method="LoadAccounts")
    assert counts(progress) == {"created": 1, "updated": 1, "rejected": 1}
    first, second = ledger.accounts()
    assert (first.legal_unit_id, first.legal_unit_name) == (second.legal_unit_id, "Wind Group")
    # The items' spelling is the name, that of the list an alias.
    assert (first.name, list(first.aliases), list(first.groups)) == ("Northwind SA", ["Northwind"], ["key", "retail"])
    assert (second.name, second.registration_number) == ("Southwind", "552100554")
    assert [a.number for a in ledger.accounts(filter="group=retail")] == ["000100"]
    assert counts(ledger.stream(rows, method="LoadAccounts")[0]) == {"unchanged": 2, "rejected": 1}


def test_contacts_are_merged_by_address_or_name(ledger):
    ledger.load(item_row())
    rows = table(
        account_number=["000100", "000100", "999", "000100"], name=["Anne", "Bob", "Zoe", ""],
        email=["Anne@Example.com", None, "z@example.com", "nonsense"], role=[None, "BUYER", None, None],
    )  # fmt: skip
    (progress,) = ledger.stream(rows, method="LoadContacts")
    assert counts(progress) == {"created": 2, "rejected": 2}
    assert [(r.line, r.field, r.reason) for r in progress.rejects] == [
        (3, "account_number", "UNKNOWN"), (4, "email", "UNREADABLE"),
    ]  # fmt: skip
    again = table(account_number=["000100"], name=["Anne Martin"], email=["anne@example.com"])
    assert counts(ledger.stream(again, method="LoadContacts")[0]) == {"updated": 1}
    account = ledger.call("GetAccount", pb.GetAccountRequest(account_id=ledger.accounts()[0].account_id)).account
    assert [(c.name, c.email) for c in account.contacts] == [("Anne Martin", "anne@example.com"), ("Bob", "")]


# ---- what is said ----------------------------------------------------------------------------------------------------


def test_events_carry_the_whole_state(ledger):
    ledger.load(item_row(order_number="PO7"), item_row(number="F2", settled_on=date(2024, 5, 20)))
    entity, facts, changed = ledger.events()
    assert entity.entity.code == "FR01"
    items, changes = bulk.from_ipc(facts.items), bulk.from_ipc(facts.changes)
    assert items.schema.names == [
        "item_id", "version", "account_id", "entity_code", "number", "kind", "currency", "issue_on", "due_on",
        "initial_minor", "settled_on", "order_number", "issued_minor", "issued_on",
    ]  # fmt: skip
    assert changes.schema.names == [
        "item_id", "account_id", "sequence", "cause", "delta_minor", "value_on", "recorded_at",
    ]  # fmt: skip
    assert (items.num_rows, changes.num_rows) == (2, 1)
    assert items["issued_minor"].to_pylist() == [10_000, 10_000]
    assert str(changes.schema.field("recorded_at").type) == "timestamp[us, tz=UTC]"
    accounts, open_items = bulk.from_ipc(changed.accounts), bulk.from_ipc(changed.open_items)
    assert accounts.schema.names == [
        "account_id", "version", "entity_id", "entity_code", "entity_name", "entity_currency", "entity_country",
        "entity_language", "number", "name", "country", "language", "payment_terms", "legal_unit_id", "legal_unit_name",
        "registration_number", "parent_number", "groups", "collector", "custom_fields", "changed_at",
        "master_account_id", "merged_into_id",
    ]  # fmt: skip
    assert accounts.to_pylist()[0]["groups"] == "[]"
    assert all(column.null_count == 0 for column in accounts.columns)
    (open_item,) = open_items.to_pylist()
    assert (open_item["number"], open_item["open_minor"], open_item["order_number"]) == ("F1", 10_000, "PO7")
    assert list(open_item) == [
        "account_id", "item_id", "number", "kind", "currency", "issue_on", "due_on", "initial_minor", "open_minor",
        "held_minor", "order_number", "version",
    ]  # fmt: skip
    assert changed.bulk


def test_an_account_with_many_items_is_said_in_parts(ledger):
    ledger.load(item_row(account_number="1"), *many(4_500))
    changed = [event for event in ledger.events() if event.DESCRIPTOR.name == "AccountsChanged"]
    sizes = sorted((event.part, bulk.from_ipc(event.open_items).num_rows) for event in changed)
    assert sizes == [(0, 1), (0, 2_000), (1, 2_000), (2, 500)]
    assert all(event.ByteSize() < 512 * 1024 for event in ledger.events())
    assert {len(bulk.from_ipc(event.accounts)) for event in changed} == {1}


def test_texts_of_any_kind_arrive_unchanged(ledger):
    nasty = 'O\'Neill "The, Great"\nline; \\N é 漢 {x} %s :tenant'
    ledger.load(item_row(account_name=nasty, number="F;1", text=nasty, order_number=""))
    assert ledger.items()[0].text == nasty
    event = next(event for event in ledger.events() if event.DESCRIPTOR.name == "AccountsChanged")
    assert bulk.from_ipc(event.accounts)["name"][0].as_py() == nasty
    assert ledger.load(item_row(account_name=nasty, number="F;1", text=nasty)) == {"unchanged": 1}


def test_a_stream_without_header_is_refused(ledger):
    chunk = load_pb.LoadChunk(chunk_number=0, rows=bulk.to_ipc(item_table(item_row())))
    with refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA"):
        list(ledger.loads.LoadItems(iter([load_pb.LoadItemsRequest(chunk=chunk)]), timeout=TIMEOUT_S))


def test_loading_needs_its_permission(ledger, grpc_in_process, tenant):
    from ledger.__main__ import DEFINITION
    from quittance.ledger.v1 import ledger_load_service_pb2_grpc as load_grpc

    stub = load_grpc.LoadServiceStub(grpc_in_process(DEFINITION, ledger.database, caller_of(tenant, "items:read")))
    with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING"):
        stub.FinishLoad(load_pb.FinishLoadRequest(load_id=new_id()), timeout=TIMEOUT_S)


def test_today_is_the_day_of_a_file_that_has_none(ledger):
    ledger.load(item_row(open_minor=1), file_on="")
    assert ledger.history()[-1][2] == TODAY.isoformat()
