"""Credits set against debts: both sides, both dates, never more than is open."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from ledger_driver import TIMEOUT_S, Ledger, item_row, item_table

from kit.errors import Code, Refused
from kit.ids import new_id
from kit.testing import refused
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import allocation_service_pb2 as pb
from quittance.ledger.v1 import allocation_service_pb2_grpc as pb_grpc
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb

CREDIT = {"kind": "CREDIT_NOTE", "number": "C1", "initial_minor": -6_000, "open_minor": -6_000, "due_on": None}


class Allocations:
    """A ledger with an invoice F1 of 100.00 and a credit note C1 of 60.00, both of 1 April."""

    def __init__(self, ledger: Ledger, channel) -> None:
        self.ledger = ledger
        self.rpc = pb_grpc.AllocationServiceStub(channel)
        ledger.load(item_row(), item_row(**CREDIT))
        self.account_id = ledger.accounts()[0].account_id

    def id_of(self, number: str) -> str:
        return self.ledger.item(number).item.item_id

    def order(self, credit: str = "C1", debit: str = "F1", minor: int | None = None, currency: str = "EUR"):
        amount = None if minor is None else money_pb2.Money(currency=currency, minor_units=minor)
        return pb.AllocationOrder(credit_item_id=self.id_of(credit), debit_item_id=self.id_of(debit), amount=amount)

    def record(self, *orders, request_id: str = "", value_on: str = "2024-06-01"):
        request = pb.RecordAllocationsRequest(
            request_id=request_id or new_id(), account_id=self.account_id, value_on=value_on, allocations=orders
        )
        return self.rpc.RecordAllocations(request, timeout=TIMEOUT_S)

    def reverse(self, allocation_id: str, value_on: str = "2024-06-15"):
        request = pb.ReverseAllocationRequest(
            allocation_id=allocation_id, request_id=new_id(), value_on=value_on, reason="wrong invoice"
        )
        return self.rpc.ReverseAllocation(request, timeout=TIMEOUT_S).reversal

    def listed(self, filter: str = ""):
        return list(self.rpc.ListAllocations(pb.ListAllocationsRequest(filter=filter), timeout=TIMEOUT_S).allocations)

    def open(self) -> dict[str, int]:
        return {item.number: item.open.minor_units for item in self.ledger.items()}


@pytest.fixture
def books(ledger, grpc_in_process):
    from ledger.__main__ import DEFINITION

    return Allocations(ledger, grpc_in_process(DEFINITION, ledger.database))


def test_both_sides_are_open_by_that_much_less_from_the_value_date_on(books):
    (done,) = books.record(books.order(minor=4_000)).allocations
    assert (done.credit_number, done.debit_number, done.amount.minor_units, done.value_on) == (
        "C1", "F1", 4_000, "2024-06-01",
    )  # fmt: skip
    assert books.open() == {"F1": 6_000, "C1": -2_000}
    assert books.ledger.history()[-1] == ("CREDIT", -4_000, "2024-06-01")
    assert books.ledger.history("C1")[-1] == ("CREDIT", 4_000, "2024-06-01")
    assert [books.ledger.as_of(day) for day in ("2024-05-31", "2024-06-01")] == [10_000, 6_000]
    balance = books.ledger.accounts()[0].balances[0]
    assert (balance.open.minor_units, balance.credits.minor_units) == (4_000, -2_000)
    names = [event.DESCRIPTOR.name for event in books.ledger.events()[-2:]]
    assert names == ["ItemFactsRecorded", "AccountsChanged"]


def test_without_an_amount_as_much_as_both_have_and_the_emptied_side_is_settled(books):
    (done,) = books.record(books.order()).allocations
    assert done.amount.minor_units == 6_000
    assert books.open() == {"F1": 4_000}
    assert books.ledger.item("C1").item.settled_on == "2024-06-01"


def test_cash_pays_and_everything_else_is_a_credit(books):
    books.ledger.load(item_row(kind="PAYMENT", number="P1", initial_minor=-500, open_minor=-500))
    books.record(books.order("P1"))
    assert books.ledger.history()[-1] == ("PAYMENT", -500, "2024-06-01")


def test_the_same_request_again_allocates_nothing_more(books):
    order = books.order(minor=1_000)
    first = books.record(order, request_id="r1")
    assert books.record(order, request_id="r1") == first
    assert books.open() == {"F1": 9_000, "C1": -5_000}


def test_taken_back_it_counts_from_its_day_to_the_day_before(books):
    (done,) = books.record(books.order()).allocations
    reversal = books.reverse(done.allocation_id)
    assert (reversal.reverses_id, reversal.amount.minor_units) == (done.allocation_id, -6_000)
    assert books.open() == {"F1": 10_000, "C1": -6_000}
    assert [books.ledger.as_of(day) for day in ("2024-05-31", "2024-06-14", "2024-06-15")] == [10_000, 4_000, 10_000]
    assert books.ledger.item("C1").item.settled_on == ""
    assert [a.allocation_id for a in books.listed("reversed=false")] == [reversal.allocation_id]
    assert [a.reversed_by_id for a in books.listed("reversed=true")] == [reversal.allocation_id]
    assert len(books.listed(f'item_id="{books.id_of("F1")}"')) == 2
    with refused(Code.FAILED_PRECONDITION, "ALREADY_REVERSED"):
        books.reverse(done.allocation_id)
    with refused(Code.FAILED_PRECONDITION, "IS_REVERSAL"):
        books.reverse(reversal.allocation_id)
    with refused(Code.NOT_FOUND, "ALLOCATION_UNKNOWN"):
        books.reverse(new_id())


def test_a_credit_note_used_twice_is_refused(books):
    books.ledger.load(item_row(number="F2"))
    books.record(books.order())
    with refused(Code.FAILED_PRECONDITION, "ALLOCATION_EXCEEDS_OPEN") as caught:
        books.record(books.order("C1", "F2", 1))
    assert caught.error.metadata["open_minor"] == "0"
    with refused(Code.FAILED_PRECONDITION, "ALLOCATION_EXCEEDS_OPEN"):
        books.record(books.order("C1", "F2"))


def test_all_or_none(books):
    with refused(Code.FAILED_PRECONDITION, "ALLOCATION_EXCEEDS_OPEN"):
        books.record(books.order(minor=4_000), books.order(minor=4_000))
    assert books.open() == {"F1": 10_000, "C1": -6_000}
    assert books.listed() == []


def test_fifty_calls_at_once_never_take_more_than_there_is(books):
    order = books.order(minor=500)

    def one(_) -> bool:
        try:
            books.record(order)
        except Refused as refusal:
            assert refusal.reason == "ALLOCATION_EXCEEDS_OPEN"
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        taken = sum(pool.map(one, range(50)))
    assert taken == 12
    assert books.open() == {"F1": 4_000}
    assert sum(allocation.amount.minor_units for allocation in books.listed()) == 6_000


@pytest.mark.parametrize(
    ("row", "order", "value_on", "field"),
    [
        ({"number": "F2", "currency": "USD"}, {"debit": "F2"}, "2024-06-01", "allocations[0].debit_item_id"),
        ({"number": "F2"}, {"minor": 1, "currency": "USD"}, "2024-06-01", "allocations[0].amount"),
        ({"number": "F2"}, {"minor": -1}, "2024-06-01", "allocations[0].amount"),
        ({"number": "F2"}, {}, "2024-07-01", "value_on"),
        ({"number": "F2", "issue_on": date(2024, 6, 10)}, {"debit": "F2"}, "2024-06-01", "value_on"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(books, row, order, value_on, field):
    books.ledger.load(item_row(**row))
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS") as caught:
        books.record(books.order(**order), value_on=value_on)
    assert list(caught.error.fields) == [field]


def test_the_open_amount_of_the_erp_wins_when_it_comes_again(books):
    (done,) = books.record(books.order()).allocations
    # Not booked there yet: both are open as the file says, and the allocation stays on record.
    books.ledger.load(item_row(), item_row(**CREDIT))
    assert books.open() == {"F1": 10_000, "C1": -6_000}
    assert books.ledger.history()[-1] == ("IMPORT", 6_000, "2024-06-30")
    assert [a.allocation_id for a in books.listed()] == [done.allocation_id]
    # Booked there: nothing changes.
    books.record(books.order())
    events = len(books.ledger.events())
    books.ledger.load(item_row(open_minor=4_000), item_row(**{**CREDIT, "open_minor": 0}))
    assert (books.open(), len(books.ledger.events())) == ({"F1": 4_000}, events)


def test_a_load_whose_items_were_allocated_cannot_be_taken_back_until_that_is_undone(books):
    load_id = new_id()
    books.ledger.stream(item_table(item_row(number="F2")), load_id=load_id)
    books.ledger.finish(load_id)
    (done,) = books.record(books.order("C1", "F2")).allocations

    def roll_back():
        return books.ledger.loads.RollBackLoad(load_pb.RollBackLoadRequest(load_id=load_id), timeout=TIMEOUT_S)

    with refused(Code.FAILED_PRECONDITION, "LOAD_IN_USE"):
        roll_back()
    books.reverse(done.allocation_id)
    assert roll_back().closed == 1
    assert books.open() == {"F1": 10_000, "C1": -6_000}
