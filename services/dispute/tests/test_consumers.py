"""What the ledger says, doubled, late and in any order, on a real PostgreSQL."""

from datetime import date

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dispute import holding, store, usecases
from dispute.consumers import HANDLERS
from dispute.tasks import follow
from kit.ids import new_id
from kit.testing import deliver, emitted
from quittance.dispute.v1 import dispute_service_pb2 as pb

pytestmark = pytest.mark.usefixtures("acting")

ACCOUNT = "0197f000-0000-7000-8000-000000000001"
ITEM = "0197f000-0000-7000-8000-00000000a001"
OTHER = "0197f000-0000-7000-8000-00000000a002"
TODAY = date(2026, 3, 5)


def known(database) -> list[tuple]:
    with database.transaction() as session:
        rows = session.execute(
            text(
                "SELECT a.version, a.name, i.item_id::text, i.open_minor FROM account a"
                " LEFT JOIN open_item i ON i.account_id = a.account_id ORDER BY 3"
            )
        )
        return [tuple(row) for row in rows]


def case_of(database, case_id: str):
    with database.transaction() as session:
        return store.case(session, case_id)


@pytest.fixture
def accepted(database, said, ledger):
    """A case on one of two items, accepted in full: a credit is to come."""
    deliver(database, HANDLERS, said(ACCOUNT, 1, {ITEM: 100_00, OTHER: 50_00}))
    request = pb.OpenCaseRequest(
        request_id="r", account_id=ACCOUNT, reason_code="PRICE",
        lines=[{"item_id": ITEM, "amount": {"currency": "EUR", "minor_units": 60_00}}],
    )  # fmt: skip
    row = holding.open_case(database, database.settings, request, TODAY)
    with database.transaction() as session:
        usecases.resolve(
            session,
            pb.ResolveCaseRequest(case_id=row.case_id, outcome="CASE_OUTCOME_CREDIT_NOTE", comment="agreed"),
            database.settings,
            TODAY,
        )
    holding.settle_holds(database, database.settings, row.case_id, TODAY)
    return row


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.AccountsChanged")
def test_doubled_and_late_accounts_change_nothing(database, said):
    newer = said(ACCOUNT, 2, {ITEM: 300}, name="New name")
    assert deliver(database, HANDLERS, newer, times=2) == [True, False]
    deliver(database, HANDLERS, said(ACCOUNT, 1, {ITEM: 999, OTHER: 1}, name="Old name"))
    assert known(database) == [(2, "New name", ITEM, 300)]


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.AccountsChanged")
def test_parts_of_one_version_add_up_in_any_order(database, said):
    deliver(database, HANDLERS, said(ACCOUNT, 3, {OTHER: 2}, part=1), times=2)
    deliver(database, HANDLERS, said(ACCOUNT, 3, {ITEM: 1}), times=2)
    assert [row[2:] for row in known(database)] == [(ITEM, 1), (OTHER, 2)]
    deliver(database, HANDLERS, said(ACCOUNT, 4, {}))
    assert [row[2:] for row in known(database)] == [(None, None)]


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.AccountsChanged")
def test_an_accepted_case_closes_once_with_its_credit(database, said, accepted, ledger):
    deliver(database, HANDLERS, said(ACCOUNT, 2, {ITEM: 70_00, OTHER: 50_00}))
    assert case_of(database, accepted.case_id).state == "ACCEPTED"
    credited = said(ACCOUNT, 3, {ITEM: 40_00, OTHER: 50_00})
    deliver(database, HANDLERS, credited, times=2)
    deliver(database, HANDLERS, said(ACCOUNT, 2, {ITEM: 70_00, OTHER: 50_00}))
    row = case_of(database, accepted.case_id)
    assert (row.state, row.outcome) == ("CLOSED", "Credit note: agreed")
    closed = [event for event in emitted(database) if event.case.state == pb.CASE_STATE_CLOSED]
    assert len(closed) == 1
    assert ledger.held == {(accepted.case_id, ITEM): 60_00}
    holding.settle_holds(database, database.settings, accepted.case_id, TODAY)
    assert ledger.held == {}


def test_a_case_whose_items_were_all_paid_closes_itself(database, said, ledger):
    deliver(database, HANDLERS, said(ACCOUNT, 1, {ITEM: 100_00, OTHER: 50_00}))
    request = pb.OpenCaseRequest(request_id="r", account_id=ACCOUNT, reason_code="PRICE", lines=[{"item_id": ITEM}])
    row = holding.open_case(database, database.settings, request, TODAY)
    deliver(database, HANDLERS, said(ACCOUNT, 2, {OTHER: 50_00}))
    assert case_of(database, row.case_id).outcome == "Settled: all items were cleared"


def test_a_clock_that_runs_out_is_said_once(database, said, ledger, acting, business_date):
    deliver(database, HANDLERS, said(ACCOUNT, 1, {ITEM: 100_00}))
    request = pb.OpenCaseRequest(request_id="r", account_id=ACCOUNT, reason_code="PRICE", lines=[{"item_id": ITEM}])
    row = holding.open_case(database, database.settings, request, TODAY)
    assert row.due_on == date(2026, 3, 16)

    class JobOf:
        settings = database.settings

        def fence(self, session):
            pass

    job = JobOf()
    job.database = database
    for day, told in ((row.due_on, 1), (date(2026, 3, 17), 2), (date(2026, 3, 18), 2)):
        business_date(day)
        follow(job)
        assert len(emitted(database)) == told
    assert emitted(database)[-1].case.overdue


def test_history_is_never_changed_and_tenants_do_not_see_each_other(database, accepted, as_tenant):
    with pytest.raises(DBAPIError), database.transaction() as session:
        session.execute(text("UPDATE case_event SET text = 'other'"))
    with as_tenant(new_id()):
        assert known(database) == []
        with database.transaction() as session:
            assert store.cases(session, [accepted.case_id]) == {}
            assert store.next_number(session) == 1
