"""The service behind its interceptors, on a real PostgreSQL, fed by the ledger's events."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from credit_risk.__main__ import SERVICE
from credit_risk.consumers import HANDLERS
from kit import bulk
from kit.clock import business_today
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, deliver, emitted, refused
from quittance.common.v1.money_pb2 import Money
from quittance.credit_risk.v1 import credit_risk_service_pb2 as pb
from quittance.credit_risk.v1.credit_risk_service_pb2_grpc import CreditRiskServiceStub
from quittance.ledger.v1 import ledger_events_pb2

TIMEOUT_S = 5


def changed(account_id, unit, version, *opens, number="C-1", entity="FR01", part=0):
    """One account as the ledger says it; opens are (currency, minor units, days late)."""
    accounts = {
        "account_id": account_id, "version": version, "entity_id": new_id(), "entity_code": entity, "entity_name": entity,
        "entity_currency": "EUR", "entity_country": "FR", "entity_language": "fr", "number": number,
        "name": f"Customer {number}", "country": "FR", "language": "", "payment_terms": "", "legal_unit_id": unit,
        "legal_unit_name": "Unit", "registration_number": "", "parent_number": "", "groups": "[]", "collector": "",
        "custom_fields": "{}", "changed_at": datetime.now(UTC),
    }  # fmt: skip
    schema = pa.schema(
        [(name, pa.int64() if name == "version" else pa.timestamp("us", "UTC") if name == "changed_at" else pa.string())
         for name in accounts]
    )  # fmt: skip
    items = pa.table(
        {
            "account_id": pa.array([account_id] * len(opens), pa.string()),
            "currency": pa.array([one[0] for one in opens], pa.string()),
            "due_on": pa.array([business_today() - timedelta(days=one[2]) for one in opens], pa.date32()),
            "open_minor": pa.array([one[1] for one in opens], pa.int64()),
        }
    )
    return ledger_events_pb2.AccountsChanged(
        accounts=bulk.to_ipc(pa.Table.from_pylist([accounts], schema=schema)), open_items=bulk.to_ipc(items), part=part
    )


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
