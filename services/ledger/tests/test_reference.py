"""Rows beside items through LoadRows, what is listed of them, rates, and what becomes of holds."""

from datetime import date

import pyarrow as pa
import pytest
from ledger_driver import TIMEOUT_S, TODAY, counts, item_row

from kit import bulk
from kit.errors import Code
from kit.ids import new_id
from kit.testing import refused
from ledger import domain
from ledger.domain import rates
from ledger.store.rates import shipped_rates
from quittance.ledger.v1 import hold_service_pb2 as hold_pb
from quittance.ledger.v1 import hold_service_pb2_grpc as hold_grpc
from quittance.ledger.v1 import item_pb2
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1 import reference_service_pb2 as pb
from quittance.ledger.v1 import reference_service_pb2_grpc as pb_grpc

TYPES = {"line": pa.int32(), "month": pa.date32(), "gross_minor": pa.int64(), "net_minor": pa.int64(),
         "ordered_on": pa.date32(), "delivery_on": pa.date32(), "amount_minor": pa.int64(),
         "delivered_minor": pa.int64(), "value_on": pa.date32(), "valid_from": pa.date32()}  # fmt: skip


@pytest.fixture
def channel(ledger, grpc_in_process):
    from ledger.__main__ import DEFINITION

    return grpc_in_process(DEFINITION, ledger.database)


@pytest.fixture
def reference(channel):
    return pb_grpc.ReferenceServiceStub(channel)


def rows(ledger, load_object, *rows, finish=True, **header):
    """Sends rows in one chunk; returns its progress and the load's id."""
    load_id = new_id()
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {"line": pa.array(range(1, len(rows) + 1), pa.int32())}
    for name in names:
        columns[name] = pa.array([row.get(name) for row in rows], TYPES.get(name, pa.string()))
    header = load_pb.LoadHeader(
        load_id=load_id, entity_code="FR01", file_on=TODAY.isoformat(), object=load_object, **header
    )
    chunk = load_pb.LoadChunk(chunk_number=0, rows=bulk.to_ipc(pa.table(columns)))
    requests = [load_pb.LoadRowsRequest(header=header), load_pb.LoadRowsRequest(chunk=chunk)]
    (answer,) = ledger.loads.LoadRows(iter(requests), timeout=TIMEOUT_S)
    if finish and not header.plan_only:
        ledger.finish(load_id)
    return answer.progress, load_id


def roll_back(ledger, load_id):
    return ledger.loads.RollBackLoad(load_pb.RollBackLoadRequest(load_id=load_id), timeout=TIMEOUT_S)


def test_rows_without_a_known_object_are_refused(ledger):
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        rows(ledger, load_pb.LOAD_OBJECT_UNSPECIFIED, {"account_number": "000100"})
    with refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA"):
        rows(ledger, load_pb.LOAD_OBJECT_SALES, {"account_number": "000100"})


# ---- sales -----------------------------------------------------------------------------------------------------------


def listed_sales(reference, filter=""):
    found = reference.ListSales(pb.ListSalesRequest(filter=filter), timeout=TIMEOUT_S)
    assert found.total_size == len(found.sales)
    return [(s.month, s.gross.currency, s.gross.minor_units, s.net.minor_units, s.from_file) for s in found.sales]


def sale(**changes):
    row = {"account_number": "000100", "month": date(2024, 4, 1), "currency": "EUR", "gross_minor": 50_000}
    return {**row, "net_minor": None, **changes}


def test_sales_of_a_file_stand_for_those_derived_from_items(ledger, reference):
    ledger.load(
        item_row(), item_row(number="C1", kind="CREDIT_NOTE", initial_minor=-1_000, open_minor=-1_000),
        item_row(number="P1", kind="PAYMENT", initial_minor=-500, open_minor=-500),
        item_row(number="F2", issue_on=date(2024, 5, 31), settled_on=date(2024, 6, 1)),
    )  # fmt: skip
    assert listed_sales(reference) == [
        ("2024-05-01", "EUR", 10_000, 0, False), ("2024-04-01", "EUR", 9_000, 0, False),
    ]  # fmt: skip
    progress, load_id = rows(ledger, load_pb.LOAD_OBJECT_SALES, sale(net_minor=41_000), sale(account_number="none"))
    assert counts(progress) == {"created": 1, "rejected": 1}
    assert [(r.line, r.field, r.reason) for r in progress.rejects] == [(2, "account_number", "UNKNOWN")]
    assert listed_sales(reference, "from_file=true") == [("2024-04-01", "EUR", 50_000, 41_000, True)]
    assert listed_sales(reference, "month=2024-05-01") == [("2024-05-01", "EUR", 10_000, 0, False)]
    event = ledger.events()[-1]
    (said,) = bulk.from_ipc(event.sales).to_pylist()
    assert (said["month"], said["gross_minor"], said["net_minor"]) == (date(2024, 4, 1), 50_000, 41_000)
    roll_back(ledger, load_id)
    assert listed_sales(reference, "month=2024-04-01") == [("2024-04-01", "EUR", 9_000, 0, False)]
    assert bulk.from_ipc(ledger.events()[-1].sales)["gross_minor"].to_pylist() == [None]


def test_sales_are_replaced_and_their_former_figures_come_back(ledger, reference):
    ledger.load(item_row())
    rows(ledger, load_pb.LOAD_OBJECT_SALES, sale())
    events = len(ledger.events())
    assert counts(rows(ledger, load_pb.LOAD_OBJECT_SALES, sale())[0]) == {"unchanged": 1}
    assert len(ledger.events()) == events
    planned, _ = rows(ledger, load_pb.LOAD_OBJECT_SALES, sale(gross_minor=1), plan_only=True)
    assert counts(planned) == {"updated": 1}
    assert listed_sales(reference) == [("2024-04-01", "EUR", 50_000, 0, True)]
    _, load_id = rows(ledger, load_pb.LOAD_OBJECT_SALES, sale(gross_minor=60_000))
    assert listed_sales(reference) == [("2024-04-01", "EUR", 60_000, 0, True)]
    roll_back(ledger, load_id)
    assert listed_sales(reference) == [("2024-04-01", "EUR", 50_000, 0, True)]


def test_items_of_a_load_that_was_taken_back_are_no_sales(ledger, reference):
    load_id = new_id()
    from ledger_driver import item_table

    ledger.stream(item_table(item_row()), load_id=load_id)
    ledger.finish(load_id)
    roll_back(ledger, load_id)
    assert listed_sales(reference) == []


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"month": date(2024, 4, 2)}, "month", "IMPOSSIBLE"),
        ({"currency": "XXX"}, "currency", "UNKNOWN"),
        ({"gross_minor": None}, "gross_minor", "MISSING"),
        ({"gross_minor": 10**18}, "gross_minor", "TOO_LARGE"),
    ],
)
def test_bad_sales_are_named(ledger, change, field, reason):
    ledger.load(item_row())
    progress, _ = rows(ledger, load_pb.LOAD_OBJECT_SALES, sale(**change))
    assert [(r.field, r.reason) for r in progress.rejects] == [(field, reason)]


# ---- orders ----------------------------------------------------------------------------------------------------------


def order(**changes):
    row = {"account_number": "000100", "number": "O1", "ordered_on": date(2024, 6, 3), "delivery_on": None}
    return {**row, "amount_minor": 9_000, "currency": "EUR", "delivered_minor": None, **changes}


def test_orders_are_complete_for_each_account_that_a_file_names(ledger, reference):
    ledger.load(item_row(), item_row(account_number="9"))
    rows(ledger, load_pb.LOAD_OBJECT_ORDERS, order(), order(number="O2", delivered_minor=2_000),
         order(account_number="9", currency="USD"))  # fmt: skip
    reply = reference.ListOrders(pb.ListOrdersRequest(), timeout=TIMEOUT_S)
    assert [(o.account_number, o.number, o.amount.minor_units, o.delivered.minor_units) for o in reply.orders] == [
        ("000100", "O1", 9_000, 0), ("9", "O1", 9_000, 0), ("000100", "O2", 9_000, 2_000),
    ]  # fmt: skip
    assert [(t.amount.currency, t.order_count, t.amount.minor_units, t.delivered.minor_units) for t in reply.totals] == [
        ("EUR", 2, 18_000, 2_000), ("USD", 1, 9_000, 0),
    ]  # fmt: skip
    progress, load_id = rows(ledger, load_pb.LOAD_OBJECT_ORDERS, order(number="O2", delivered_minor=3_000))
    assert counts(progress) == {"updated": 1}
    (o2,) = reference.ListOrders(pb.ListOrdersRequest(filter='account_number="000100"'), timeout=TIMEOUT_S).orders
    assert (o2.number, o2.delivered.minor_units) == ("O2", 3_000)
    event = ledger.events()[-1]
    assert (bulk.from_ipc(event.accounts).num_rows, bulk.from_ipc(event.orders)["number"].to_pylist()) == (1, ["O2"])
    assert reference.ListOrders(pb.ListOrdersRequest(), timeout=TIMEOUT_S).total_size == 2
    roll_back(ledger, load_id)
    assert reference.ListOrders(pb.ListOrdersRequest(), timeout=TIMEOUT_S) == reply


def test_an_order_cannot_be_delivered_beyond_what_is_not_invoiced(ledger):
    ledger.load(item_row())
    progress, _ = rows(
        ledger, load_pb.LOAD_OBJECT_ORDERS, order(delivered_minor=9_001), order(number="", amount_minor=1)
    )
    assert [(r.field, r.reason) for r in progress.rejects] == [("delivered_minor", "TOO_LARGE"), ("number", "MISSING")]


# ---- assignments and allocations -------------------------------------------------------------------------------------


def test_assignments_name_collector_and_sales_person_of_known_accounts(ledger):
    ledger.load(item_row(), item_row(account_number="9"))
    progress, load_id = rows(
        ledger, load_pb.LOAD_OBJECT_ASSIGNMENTS,
        {"account_number": "000100", "collector": "anne@example.com", "sales_person": "Bob \"B\""},
        {"account_number": "nobody", "collector": "anne@example.com"},
        {"account_number": "9", "collector": "nonsense"},
    )  # fmt: skip
    assert counts(progress) == {"updated": 1, "rejected": 2}
    assert [(r.line, r.field, r.reason) for r in progress.rejects] == [
        (2, "account_number", "UNKNOWN"), (3, "collector", "UNREADABLE"),
    ]  # fmt: skip
    account = ledger.accounts()[0]
    assert (account.collector, dict(account.custom_fields)) == ("anne@example.com", {"sales_person": 'Bob "B"'})
    roll_back(ledger, load_id)
    assert (ledger.accounts()[0].collector, dict(ledger.accounts()[0].custom_fields)) == ("", {})


def allocation(**changes):
    row = {"account_number": "000100", "credit_number": "C1", "debit_number": "F1", "amount_minor": 2_000}
    return {**row, "currency": "EUR", "value_on": date(2024, 6, 1), "external_id": None, **changes}


def test_allocations_of_a_file_are_taken_in_order_as_far_as_there_is_room(ledger):
    ledger.load(
        item_row(), item_row(number="C1", kind="CREDIT_NOTE", initial_minor=-6_000, open_minor=-6_000),
        item_row(number="F2", line_number="1"), item_row(number="F2", line_number="2"),
    )  # fmt: skip
    progress, load_id = rows(
        ledger, load_pb.LOAD_OBJECT_ALLOCATIONS, allocation(), allocation(external_id="A2", amount_minor=4_000),
        allocation(external_id="A3", amount_minor=1), allocation(debit_number="F2"), allocation(credit_number="nil"),
        allocation(value_on=date(2024, 3, 1), amount_minor=3),
    )  # fmt: skip
    assert counts(progress) == {"created": 2, "rejected": 4}
    assert [(r.line, r.field, r.reason) for r in progress.rejects] == [
        (3, "amount_minor", "EXCEEDS_OPEN"), (4, "debit_number", "AMBIGUOUS"), (5, "credit_number", "UNKNOWN"),
        (6, "value_on", "IMPOSSIBLE"),
    ]  # fmt: skip
    assert ledger.item().item.open.minor_units == 4_000
    again, _ = rows(
        ledger, load_pb.LOAD_OBJECT_ALLOCATIONS, allocation(), allocation(external_id="A2", amount_minor=4_000)
    )
    assert counts(again) == {"unchanged": 2}
    with refused(Code.FAILED_PRECONDITION, "NOT_LAST_LOAD"):
        roll_back(ledger, load_id)


def test_allocations_of_a_file_are_taken_back_with_it(ledger):
    ledger.load(item_row(), item_row(number="C1", kind="CREDIT_NOTE", initial_minor=-6_000, open_minor=-6_000))
    _, load_id = rows(ledger, load_pb.LOAD_OBJECT_ALLOCATIONS, allocation(amount_minor=6_000))
    assert ledger.item("C1").item.settled_on == "2024-06-01"
    done = roll_back(ledger, load_id)
    assert done.balances[0].open_after_minor == 4_000
    assert (ledger.item().item.open.minor_units, ledger.item("C1").item.open.minor_units) == (10_000, -6_000)
    assert roll_back(ledger, load_id) == done


def test_a_complete_file_of_something_else_clears_no_item(ledger):
    ledger.load(item_row())
    _, load_id = rows(ledger, load_pb.LOAD_OBJECT_SALES, sale(), finish=False, mode=load_pb.LOAD_MODE_STOCK)
    assert ledger.finish(load_id, confirm_clearing=True).cleared_absent == 0
    assert len(ledger.items()) == 1


# ---- exchange rates --------------------------------------------------------------------------------------------------


def set_rates(reference, *wanted, request_id=""):
    found = [pb.ExchangeRate(base=b, quote=q, rate=r, valid_from=day, source="ECB") for b, q, r, day in wanted]
    request = pb.SetExchangeRatesRequest(request_id=request_id or new_id(), rates=found)
    return reference.SetExchangeRates(request, timeout=TIMEOUT_S).changed


def rate_on(reference, base, quote, day=""):
    rate = reference.GetRateOn(pb.GetRateOnRequest(base=base, quote=quote, on=day), timeout=TIMEOUT_S).rate
    return rate.rate, rate.valid_from


def test_a_day_has_the_newest_rate_before_it_and_nothing_is_guessed(reference):
    assert set_rates(reference, ("EUR", "USD", "1.10", "2024-01-01"), ("EUR", "USD", "1.08", "2024-06-01")) == 2
    assert set_rates(reference, ("EUR", "USD", "1.1", "2024-01-01")) == 0
    assert rate_on(reference, "EUR", "USD", "2024-05-31") == ("1.1", "2024-01-01")
    assert rate_on(reference, "EUR", "USD", "2024-06-01") == ("1.08", "2024-06-01")
    assert rate_on(reference, "EUR", "USD") == ("1.08", "2024-06-01")
    assert rate_on(reference, "USD", "EUR", "2024-06-30") == ("0.925925925926", "2024-06-01")
    for base, quote, day in (("EUR", "USD", "2023-12-31"), ("EUR", "GBP", "2024-06-01")):
        with refused(Code.NOT_FOUND, "RATE_UNKNOWN"):
            rate_on(reference, base, quote, day)
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        rate_on(reference, "EUR", "EUR")


def test_a_rate_is_replaced_for_its_day_and_bad_ones_are_named(reference):
    set_rates(reference, ("EUR", "USD", "1.10", "2024-01-01"))
    assert set_rates(reference, ("EUR", "USD", "1.11", "2024-01-01"), request_id="r") == 1
    assert set_rates(reference, ("EUR", "USD", "1.11", "2024-01-01"), request_id="r") == 1
    (rate,) = reference.ListExchangeRates(pb.ListExchangeRatesRequest(filter="quote=USD"), timeout=TIMEOUT_S).rates
    assert (rate.rate, rate.source) == ("1.11", "ECB")
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS") as caught:
        set_rates(reference, ("EUR", "USD", "1.12", "2024-01-01"), ("EUR", "EUR", "1", "2024-01-01"),
                  ("EUR", "GBP", "0.0", "2024-01-01"))  # fmt: skip
    assert caught.error.fields == {"rates[1].quote": "impossible", "rates[2].rate": "impossible"}
    assert rate_on(reference, "EUR", "USD", "2024-01-01") == ("1.11", "2024-01-01")


def test_exchange_rates_come_from_a_file(ledger, reference):
    progress, load_id = rows(
        ledger, load_pb.LOAD_OBJECT_EXCHANGE_RATES,
        {"base": "EUR", "quote": "USD", "rate": "1.1", "valid_from": date(2024, 1, 1), "source": "bank"},
        {"base": "EUR", "quote": "GBP", "rate": "0,85", "valid_from": date(2024, 1, 1)},
    )  # fmt: skip
    assert [(r.line, r.field, r.reason) for r in progress.rejects] == [(2, "rate", "UNREADABLE")]
    assert rate_on(reference, "EUR", "USD") == ("1.1", "2024-01-01")
    roll_back(ledger, load_id)
    with refused(Code.NOT_FOUND, "RATE_UNKNOWN"):
        rate_on(reference, "EUR", "USD")


# ---- statutory rates -------------------------------------------------------------------------------------------------


def statutory(reference, series):
    request = pb.ListStatutoryRatesRequest(filter=f'series="{series}"', order_by="valid_from", page_size=100)
    return reference.ListStatutoryRates(request, timeout=TIMEOUT_S)


def test_the_shipped_rates_are_there_with_their_source_and_what_is_to_confirm(reference):
    reply = statutory(reference, "ECB_MAIN_REFINANCING")
    by_day = {rate.valid_from: rate for rate in reply.rates}
    assert (by_day["2024-01-01"].value, by_day["2024-07-01"].value, by_day["2009-01-01"].value) == (
        "4.5",
        "4.25",
        "2.5",
    )
    assert (by_day["2024-07-01"].to_confirm, by_day["2025-07-01"].to_confirm) == (False, True)
    assert all(rate.source and not rate.edited for rate in reply.rates)
    assert statutory(reference, "FR_RECOVERY_SUM").rates[0].value == "40"
    assert statutory(reference, "UK_FIXED_SUM_BELOW_10000").rates[0].value == "70"
    assert len(reply.rates) == 35


def test_a_half_year_without_a_rate_is_reported_and_never_guessed(reference, monkeypatch):
    monkeypatch.setenv("QUITTANCE_TODAY", "2026-07-15")
    missing = {(m.series, m.valid_from) for m in statutory(reference, "ECB_MAIN_REFINANCING").missing}
    assert ("ECB_MAIN_REFINANCING", "2026-07-01") in missing
    assert ("BOE_BASE_REFERENCE", "2026-07-01") not in missing
    assert ("FR_LEGAL_INTEREST_BUSINESS", "2025-01-01") in missing
    request = pb.SetStatutoryRateRequest(
        request_id=new_id(), series="ECB_MAIN_REFINANCING", valid_from="2026-07-01", value="2.15", source="ECB notice"
    )
    rate = reference.SetStatutoryRate(request, timeout=TIMEOUT_S).rate
    assert (rate.value, rate.edited, rate.to_confirm) == ("2.15", True, False)
    reply = statutory(reference, "ECB_MAIN_REFINANCING")
    assert reply.rates[-1] == rate
    assert not any(m.series == "ECB_MAIN_REFINANCING" for m in reply.missing)


def test_what_a_person_set_is_not_seeded_over(reference):
    request = pb.SetStatutoryRateRequest(
        request_id=new_id(), series="FR_RECOVERY_SUM", valid_from="2013-01-01", value="45", source="a new decree"
    )
    reference.SetStatutoryRate(request, timeout=TIMEOUT_S)
    assert [rate.value for rate in statutory(reference, "FR_RECOVERY_SUM").rates] == ["45"]


@pytest.mark.parametrize(
    ("series", "day", "field"),
    [("NO_SERIES", "2024-01-01", "series"), ("BOE_BASE_REFERENCE", "2024-02-01", "valid_from")],
)
def test_a_statutory_rate_of_no_series_or_of_an_odd_day_is_refused(reference, series, day, field):
    request = pb.SetStatutoryRateRequest(request_id=new_id(), series=series, valid_from=day, value="1", source="x")
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS") as caught:
        reference.SetStatutoryRate(request, timeout=TIMEOUT_S)
    assert list(caught.error.fields) == [field]


def test_the_shipped_file_names_known_series_once_per_day():
    keys = [(rate.series, rate.valid_from) for rate in shipped_rates()]
    assert len(keys) == len(set(keys))
    assert {series for series, _ in keys} == set(rates.SERIES)
    for rate in shipped_rates():
        assert rate.series not in rates.HALF_YEARLY or rate.valid_from == rates.half_year(rate.valid_from)


# ---- holds -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def holds(channel):
    return hold_grpc.HoldServiceStub(channel)


def place(ledger, **order):
    ledger.load(item_row())
    (item,) = ledger.items()
    wanted = ledger_pb.HoldOrder(item_id=item.item_id, kind=item_pb2.HOLD_KIND_DISPUTE, reason="late", **order)
    request = ledger_pb.PlaceHoldsRequest(
        request_id=new_id(), account_id=item.account_id, source="t", source_id="1", holds=[wanted]
    )
    return ledger.call("PlaceHolds", request).holds[0]


def test_a_hold_tells_its_history_and_can_be_revised(ledger, holds):
    hold = place(ledger)
    request = hold_pb.UpdateHoldRequest(hold_id=hold.hold_id, until_on="2024-07-31", review_on="2024-07-15")
    changed = holds.UpdateHold(request, timeout=TIMEOUT_S).hold
    assert (changed.until_on, changed.review_on, changed.reason) == ("2024-07-31", "2024-07-15", "late")
    reply = holds.GetHold(hold_pb.GetHoldRequest(hold_id=hold.hold_id), timeout=TIMEOUT_S)
    assert reply.hold == changed
    assert [(c.sequence, c.what, c.until_on, c.review_on) for c in reply.changes] == [
        (1, "PLACED", "", ""), (2, "CHANGED", "2024-07-31", "2024-07-15"),
    ]  # fmt: skip
    events = len(ledger.events())
    holds.UpdateHold(request, timeout=TIMEOUT_S)
    assert len(ledger.events()) == events
    due = ledger.call("ListHolds", ledger_pb.ListHoldsRequest(filter="state=ACTIVE AND review_on<=2024-07-15")).holds
    assert [h.hold_id for h in due] == [hold.hold_id]
    cleared = holds.UpdateHold(hold_pb.UpdateHoldRequest(hold_id=hold.hold_id, until_on=""), timeout=TIMEOUT_S).hold
    assert (cleared.until_on, cleared.review_on) == ("", "2024-07-15")


def test_a_hold_cannot_end_before_it_began_or_be_changed_when_it_is_over(ledger, holds, monkeypatch):
    hold = place(ledger, until_on="2024-07-02")
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS") as caught:
        holds.UpdateHold(hold_pb.UpdateHoldRequest(hold_id=hold.hold_id, until_on="2024-06-29", reason=" "), timeout=9)
    assert set(caught.error.fields) == {"until_on", "reason"}
    monkeypatch.setenv("QUITTANCE_TODAY", "2024-07-03")
    with refused(Code.FAILED_PRECONDITION, "HOLD_ENDED"):
        holds.UpdateHold(hold_pb.UpdateHoldRequest(hold_id=hold.hold_id, until_on="2024-08-01"), timeout=TIMEOUT_S)
    with refused(Code.NOT_FOUND, "HOLD_UNKNOWN"):
        holds.GetHold(hold_pb.GetHoldRequest(hold_id=new_id()), timeout=TIMEOUT_S)


def test_every_kind_of_hold_says_what_it_suspends(holds):
    rules = holds.ListHoldKinds(hold_pb.ListHoldKindsRequest(), timeout=TIMEOUT_S).rules
    assert {rule.kind for rule in rules} == set(item_pb2.HoldKind.values()) - {item_pb2.HOLD_KIND_UNSPECIFIED}
    assert all(rule.suspends_reminders for rule in rules)
    assert [rule.kind for rule in rules if rule.suspends_credit] == [
        item_pb2.HOLD_KIND_DISPUTE, item_pb2.HOLD_KIND_EXCLUSION,
    ]  # fmt: skip
    assert set(domain.SUSPENDS) == {
        name.removeprefix("HOLD_KIND_") for name, _ in item_pb2.HoldKind.items() if not name.endswith("UNSPECIFIED")
    }
