"""Cover and credit information: files merged by their keys, walls between companies, what the account shows of them."""

from datetime import date, timedelta

import pyarrow as pa
import pytest
from credit_risk_said import TIMEOUT_S, changed

from credit_risk.__main__ import SERVICE
from credit_risk.consumers import HANDLERS
from credit_risk.domain import Cover, insured
from kit import bulk
from kit.clock import business_today
from kit.errors import Code
from kit.ids import new_id
from kit.money import Money
from kit.testing import caller_of, deliver, refused
from quittance.credit_risk.v1 import credit_risk_service_pb2 as pb
from quittance.credit_risk.v1 import risk_load_service_pb2 as load_pb
from quittance.credit_risk.v1.credit_risk_service_pb2_grpc import CreditRiskServiceStub
from quittance.credit_risk.v1.risk_load_service_pb2_grpc import RiskLoadServiceStub

COVER = pa.schema(
    [("line", pa.int32()), ("account_number", pa.string()), ("registration_number", pa.string()), ("kind", pa.string()),
     ("insurer", pa.string()), ("policy", pa.string()), ("amount_minor", pa.int64()), ("currency", pa.string()),
     ("valid_from", pa.date32()), ("valid_until", pa.date32())]
)  # fmt: skip
INFORMATION = pa.schema(
    [("line", pa.int32()), ("account_number", pa.string()), ("registration_number", pa.string()),
     ("provider", pa.string()), ("score", pa.string()), ("rating", pa.string()), ("informed_on", pa.date32()),
     ("facts", pa.string())]
)  # fmt: skip


@pytest.fixture
def database(make_database):
    return make_database("credit_risk")


@pytest.fixture
def channel(grpc_in_process, database, acting, monkeypatch):
    monkeypatch.setattr("credit_risk.rpc.wait_until_seen", lambda *args, **kwargs: True)
    return grpc_in_process(SERVICE, database)


def cover(line, minor, *, account="C-1", registration=None, policy="P1", kind="INSURANCE", until=None, start=None):
    return {"line": line, "account_number": account, "registration_number": registration, "kind": kind,
            "insurer": "Sample Insurer", "policy": policy, "amount_minor": minor, "currency": "EUR",
            "valid_from": start, "valid_until": until}  # fmt: skip


def send(channel, rows, *, schema=COVER, load=None, entity="FR01", plan=False, chunk=0):
    kind = load_pb.RISK_OBJECT_COVER if schema is COVER else load_pb.RISK_OBJECT_CREDIT_INFORMATION
    header = load_pb.RiskLoadHeader(load_id=load or new_id(), entity_code=entity, object=kind, plan_only=plan)
    data = bulk.to_ipc(pa.Table.from_pylist(rows, schema=schema))
    messages = [
        load_pb.LoadRiskRequest(header=header),
        load_pb.LoadRiskRequest(chunk=load_pb.RiskChunk(chunk_number=chunk, rows=data)),
    ]
    [answer] = RiskLoadServiceStub(channel).LoadRisk(iter(messages), timeout=TIMEOUT_S)
    return answer


def counts(answer):
    return answer.created, answer.updated, answer.unchanged, answer.rejected


def credit(channel, account):
    request = pb.GetAccountCreditRequest(account_id=account)
    return CreditRiskServiceStub(channel).GetAccountCredit(request, timeout=TIMEOUT_S).credit


def test_cover_is_merged_by_its_key_planned_first_and_shown_with_what_is_in_force(database, channel):
    account, unit, today = new_id(), new_id(), business_today()
    deliver(database, HANDLERS, changed(account, unit, 1, ("EUR", 300_00, 5)))
    rows = [
        cover(2, 100_00),
        cover(3, 50_00, policy="P2", kind="GUARANTEE", until=today),
        cover(4, 70_00, policy="P3", until=today - timedelta(days=1)),
        cover(5, 70_00, account="NOBODY"),
    ]
    assert counts(send(channel, rows, plan=True)) == (3, 0, 0, 1)
    assert not credit(channel, account).covers
    answer = send(channel, rows)
    assert counts(answer) == (3, 0, 0, 1)
    assert [(one.line, one.field, one.reason) for one in answer.rejects] == [(5, "account_number", "UNKNOWN")]
    shown = credit(channel, account)
    assert [(one.policy, one.is_in_force) for one in shown.covers] == [("P1", True), ("P2", True), ("P3", False)]
    assert shown.insured.minor_units == 150_00
    assert counts(send(channel, [cover(2, 120_00), cover(3, 50_00, policy="P2", kind="GUARANTEE", until=today)])) == (
        0, 1, 1, 0,
    )  # fmt: skip
    assert credit(channel, account).insured.minor_units == 170_00


def test_a_chunk_that_comes_twice_is_answered_from_its_record(database, channel):
    account, load = new_id(), new_id()
    deliver(database, HANDLERS, changed(account, new_id(), 1, ("EUR", 1, 0)))
    assert send(channel, [cover(2, 1)], load=load) == send(channel, [cover(2, 1)], load=load)
    assert counts(send(channel, [cover(2, 1)], load=load, chunk=1)) == (0, 0, 1, 0)


def test_a_legal_unit_is_found_by_its_registration_number_and_contradictions_are_refused(database, channel):
    first, second = new_id(), new_id()
    units = new_id(), new_id()
    for account, unit, number, registration in (
        (first, units[0], "C-1", "552 100 554"),
        (second, units[1], "C-2", "410 034 607"),
    ):
        event = changed(account, unit, 1, ("EUR", 1, 0), number=number)
        table = bulk.from_ipc(event.accounts)
        at = table.schema.get_field_index("registration_number")
        event.accounts = bulk.to_ipc(table.set_column(at, "registration_number", pa.array([registration])))
        deliver(database, HANDLERS, event)
    answer = send(
        channel,
        [cover(2, 5_00, account=None, registration="410034607"), cover(3, 5_00, registration="410034607", policy="P2")],
    )
    assert counts(answer) == (1, 0, 0, 1)
    assert [(one.line, one.reason) for one in answer.rejects] == [(3, "CONTRADICTS")]
    assert credit(channel, second).insured.minor_units == 5_00
    assert not credit(channel, first).covers


def test_credit_information_keeps_one_word_of_a_provider_a_day_newest_first(database, channel):
    account = new_id()
    deliver(database, HANDLERS, changed(account, new_id(), 1, ("EUR", 1, 0)))

    def said(line, day, score, facts=None):
        return {"line": line, "account_number": "C-1", "registration_number": None, "provider": "Sample Agency",
                "score": score, "rating": "B", "informed_on": date(2026, 3, day), "facts": facts}  # fmt: skip

    rows = [said(2, 1, "48"), said(3, 15, "52", '{"Employees":"12"}')]
    assert counts(send(channel, rows, schema=INFORMATION)) == (2, 0, 0, 0)
    assert counts(send(channel, [said(2, 15, "53", '{"Employees":"12"}')], schema=INFORMATION)) == (0, 1, 0, 0)
    found = credit(channel, account).information
    assert [(one.informed_on, one.score, dict(one.facts)) for one in found] == [
        ("2026-03-15", "53", {"Employees": "12"}),
        ("2026-03-01", "48", {}),
    ]


def test_rows_of_another_shape_and_entities_out_of_sight_are_refused(database, channel, tenant, grpc_in_process):
    with refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA"):
        send(channel, [{"line": 2}], schema=pa.schema([("line", pa.int32())]))
    scoped = grpc_in_process(SERVICE, database, caller_of(tenant, entities={"DE01"}))
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        send(scoped, [cover(2, 1)])


def test_what_is_insured_never_adds_currencies():
    on = date(2026, 3, 31)
    covers = [
        Cover("INSURANCE", "A", "", Money("EUR", 1), None, on),
        Cover("GUARANTEE", "B", "", Money("USD", 5), on, None),
    ]
    assert insured(covers, "EUR", on) == Money("EUR", 1)
    assert insured(covers, "EUR", on + timedelta(days=1)) is None
