"""The service behind its interceptors, on a real PostgreSQL, fed by the ledger's events."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from credit_risk_said import TIMEOUT_S, changed

from credit_risk.__main__ import SERVICE
from credit_risk.consumers import HANDLERS
from kit import bulk
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, deliver, emitted, refused
from quittance.common.v1.money_pb2 import Money
from quittance.credit_risk.v1 import credit_risk_service_pb2 as pb
from quittance.credit_risk.v1.credit_risk_service_pb2_grpc import CreditRiskServiceStub
from quittance.ledger.v1 import ledger_events_pb2


@pytest.fixture
def database(make_database):
    return make_database("credit_risk")


@pytest.fixture
def stub(grpc_in_process, database, acting, monkeypatch):
    monkeypatch.setattr("credit_risk.rpc.wait_until_seen", lambda *args, **kwargs: True)
    return CreditRiskServiceStub(grpc_in_process(SERVICE, database))


def exposure(stub, account_id):
    return stub.GetAccountCredit(pb.GetAccountCreditRequest(account_id=account_id), timeout=TIMEOUT_S).credit


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.AccountsChanged")
def test_doubled_and_late_accounts_change_nothing(database, stub):
    account, unit = new_id(), new_id()
    deliver(database, HANDLERS, changed(account, unit, 2, ("EUR", 300_00, 5)), times=2)
    deliver(database, HANDLERS, changed(account, unit, 1, ("EUR", 999_00, 5)))
    assert exposure(stub, account).exposure == Money(currency="EUR", minor_units=300_00)


def test_a_limit_shows_exposure_overrun_and_history(database, stub):
    account, other, unit = new_id(), new_id(), new_id()
    deliver(database, HANDLERS, changed(account, unit, 1, ("EUR", 300_00, 5), ("EUR", -50_00, 0)))
    deliver(database, HANDLERS, changed(other, unit, 1, ("EUR", 100_00, -5), number="C-2", entity="DE01"))
    for minor in (100_00, 200_00):
        stub.SetLimit(
            pb.SetLimitRequest(account_id=other, amount=Money(currency="EUR", minor_units=minor), reason="review"),
            timeout=TIMEOUT_S,
        )
    credit = exposure(stub, account)
    assert credit.exposure.minor_units == 350_00
    assert (credit.over_limit.minor_units, credit.available.minor_units) == (150_00, -150_00)
    assert (credit.utilisation_percent, credit.is_over_limit, len(credit.history)) == (175.0, True, 2)
    assert [part.entity_code for part in credit.parts] == ["DE01", "FR01"]
    page = stub.ListCredits(
        pb.ListCreditsRequest(filter="overLimit=true AND utilisationPercent>100"), timeout=TIMEOUT_S
    )
    assert [one.legal_unit_id for one in page.credits] == [unit]


def backlog(account_id, recorded_at, *orders):
    accounts = pa.table({"account_id": [account_id], "recorded_at": pa.array([recorded_at], pa.timestamp("us", "UTC"))})
    table = pa.table(
        {
            "account_id": pa.array([account_id] * len(orders), pa.string()),
            "number": pa.array([f"O{n}" for n in range(len(orders))], pa.string()),
            "currency": pa.array([one[0] for one in orders], pa.string()),
            "amount_minor": pa.array([one[1] for one in orders], pa.int64()),
            "delivered_minor": pa.array([one[2] for one in orders], pa.int64()),
        }
    )
    return ledger_events_pb2.OrdersChanged(accounts=bulk.to_ipc(accounts), orders=bulk.to_ipc(table))


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.OrdersChanged")
def test_orders_stand_beside_the_exposure_until_the_rules_take_them_in(database, stub):
    account, unit = new_id(), new_id()
    deliver(database, HANDLERS, changed(account, unit, 1, ("EUR", 300_00, 5)))
    orders = backlog(account, datetime(2026, 2, 2, tzinfo=UTC), ("EUR", 90_00, 20_00), ("EUR", 10_00, 0), ("USD", 5, 0))
    deliver(database, HANDLERS, orders, times=2)
    deliver(database, HANDLERS, backlog(account, datetime(2026, 2, 1, tzinfo=UTC), ("EUR", 1, 1)))
    credit = exposure(stub, account)
    shown = (credit.exposure.minor_units, credit.orders.minor_units, credit.delivered.minor_units)
    assert shown == (300_00, 80_00, 20_00)
    limit = pb.SetLimitRequest(account_id=account, amount=Money(currency="EUR", minor_units=310_00), reason="review")
    stub.SetLimit(limit, timeout=TIMEOUT_S)
    said = len(emitted(database))
    rules = pb.ExposureRules(with_delivered=True)
    assert stub.SetExposureRules(pb.SetExposureRulesRequest(rules=rules), timeout=TIMEOUT_S).rules == rules
    assert stub.GetExposureRules(pb.GetExposureRulesRequest(), timeout=TIMEOUT_S).rules == rules
    assert len(emitted(database)) == said + 1
    credit = exposure(stub, account)
    assert (credit.exposure.minor_units, credit.is_over_limit) == (320_00, True)
    rules = pb.ExposureRules(with_delivered=True, with_orders=True)
    stub.SetExposureRules(pb.SetExposureRulesRequest(rules=rules), timeout=TIMEOUT_S)
    credit = exposure(stub, account)
    assert credit.exposure.minor_units == 400_00
    assert [money.minor_units for money in credit.other_currencies] == [5]


def test_a_change_of_exposure_under_a_limit_is_said_once_with_growing_versions(database, stub):
    account, unit = new_id(), new_id()
    deliver(database, HANDLERS, changed(account, unit, 1, ("EUR", 300_00, 5)))
    assert emitted(database) == []
    request = pb.SetLimitRequest(
        request_id="once", account_id=account, amount=Money(currency="EUR", minor_units=1), reason="first"
    )
    assert stub.SetLimit(request, timeout=TIMEOUT_S) == stub.SetLimit(request, timeout=TIMEOUT_S)
    deliver(database, HANDLERS, changed(account, unit, 2, ("EUR", 300_00, 5)))
    deliver(database, HANDLERS, changed(account, unit, 3, ("EUR", 200_00, 5)))
    assert [(event.version, event.credit.exposure.minor_units) for event in emitted(database)] == [
        (1, 300_00),
        (2, 200_00),
    ]


def test_another_tenants_account_is_not_found(database, stub, as_tenant, grpc_in_process):
    account = new_id()
    with as_tenant(new_id()):
        deliver(database, HANDLERS, changed(account, new_id(), 1, ("EUR", 1, 0)))
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        exposure(stub, account)


def test_an_account_of_an_entity_out_of_scope_is_not_found(database, stub, tenant, grpc_in_process):
    account = new_id()
    deliver(database, HANDLERS, changed(account, new_id(), 1, ("EUR", 1, 0)))
    scoped = CreditRiskServiceStub(grpc_in_process(SERVICE, database, caller_of(tenant, entities={"DE01"})))
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        exposure(scoped, account)
