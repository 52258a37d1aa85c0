"""The service behind its interceptors, on a real PostgreSQL, fed by the other services' events."""

import calendar
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
import sqlalchemy.event
from google.protobuf.timestamp_pb2 import Timestamp

from kit import bulk
from kit.errors import Code
from kit.ids import new_id
from kit.testing import caller_of, deliver, refused
from quittance.common.v1.money_pb2 import Money
from quittance.credit_risk.v1 import credit_risk_events_pb2, credit_risk_service_pb2
from quittance.dispute.v1 import dispute_events_pb2, dispute_service_pb2
from quittance.ledger.v1 import account_pb2, ledger_events_pb2
from quittance.notification.v1 import notification_events_pb2, notification_service_pb2
from quittance.portal.v1 import portal_events_pb2, portal_service_pb2
from quittance.reporting.v1 import reporting_service_pb2 as pb
from quittance.reporting.v1.reporting_service_pb2_grpc import ReportingServiceStub
from quittance.scenario.v1 import action_pb2, scenario_events_pb2
from reporting.__main__ import SERVICE
from reporting.consumers import HANDLERS

TIMEOUT_S = 5
TODAY = date(2026, 9, 15)
ACCOUNT, OTHER = new_id(), new_id()

ITEM_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()), ("version", pa.int64()), ("account_id", pa.string()), ("entity_code", pa.string()),
        ("number", pa.string()), ("kind", pa.string()), ("currency", pa.string()), ("issue_on", pa.date32()),
        ("due_on", pa.date32()), ("initial_minor", pa.int64()), ("settled_on", pa.date32()), ("order_number", pa.string()),
        ("issued_minor", pa.int64()), ("issued_on", pa.date32()),
    ]
)  # fmt: skip
CHANGE_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()), ("account_id", pa.string()), ("sequence", pa.int32()), ("cause", pa.string()),
        ("delta_minor", pa.int64()), ("value_on", pa.date32()), ("recorded_at", pa.timestamp("us", "UTC")),
    ]
)  # fmt: skip


def at(day):
    stamp = Timestamp()
    stamp.FromDatetime(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return stamp


def facts(*items):
    """Items as (id, number, currency, issued, due, initial, [(day, delta), ...], kind, account)."""
    rows, changes = [], []
    for item_id, number, currency, issue_on, due_on, initial, later, kind, account in items:
        open_minor = initial + sum(delta for _, delta in later)
        rows.append(
            {
                "item_id": item_id, "version": 1 + len(later), "account_id": account, "entity_code": "FR01",
                "number": number, "kind": kind, "currency": currency, "issue_on": issue_on, "due_on": due_on,
                "initial_minor": initial, "settled_on": later[-1][0] if later and not open_minor else None,
                "order_number": "", "issued_minor": initial, "issued_on": issue_on,
            }
        )  # fmt: skip
        for sequence, (day, delta) in enumerate(later, start=2):
            changes.append(
                {
                    "item_id": item_id, "account_id": account, "sequence": sequence,
                    "cause": "PAYMENT", "delta_minor": delta, "value_on": day,
                    "recorded_at": datetime(2026, 9, 15, tzinfo=UTC),
                }
            )  # fmt: skip
    return ledger_events_pb2.ItemFactsRecorded(
        items=bulk.to_ipc(pa.Table.from_pylist(rows, schema=ITEM_SCHEMA)),
        changes=bulk.to_ipc(pa.Table.from_pylist(changes, schema=CHANGE_SCHEMA)),
    )


def invoice(item_id, number, issue_on, due_on, initial, later=(), currency="EUR", kind="INVOICE", account=ACCOUNT):
    return (item_id, number, currency, issue_on, due_on, initial, list(later), kind, account)


def accounts(version, name, *holds, account_id=ACCOUNT, entity="FR01"):
    """One account; holds are (item id, kind, minor units)."""
    account = {
        "account_id": account_id, "version": version, "entity_code": entity, "number": "C-1", "name": name,
        "collector": "", "legal_unit_id": new_id(),
    }  # fmt: skip
    contact = {"account_id": account_id, "contact_id": new_id(), "name": "Accounts payable", "email": "ap@example.com"}
    hold_schema = pa.schema(
        [
            ("account_id", pa.string()), ("item_id", pa.string()), ("hold_id", pa.string()), ("kind", pa.string()),
            ("amount_minor", pa.int64()), ("from_on", pa.date32()), ("until_on", pa.date32()),
        ]
    )  # fmt: skip
    hold_rows = [
        {"account_id": account_id, "item_id": item, "hold_id": new_id(), "kind": kind, "amount_minor": minor,
         "from_on": date(2026, 1, 1), "until_on": None}
        for item, kind, minor in holds
    ]  # fmt: skip
    account_schema = pa.schema([(name, pa.int64() if name == "version" else pa.string()) for name in account])
    return ledger_events_pb2.AccountsChanged(
        accounts=bulk.to_ipc(pa.Table.from_pylist([account], schema=account_schema)),
        contacts=bulk.to_ipc(pa.Table.from_pylist([contact])),
        holds=bulk.to_ipc(pa.Table.from_pylist(hold_rows, schema=hold_schema)),
    )


def entity(code="FR01", version=1, name="Entity"):
    return ledger_events_pb2.EntityChanged(
        entity=account_pb2.Entity(entity_id=ENTITY_ID, code=code, name=name, currency="EUR", version=version)
    )


ENTITY_ID = new_id()


@pytest.fixture
def database(make_database):
    return make_database("reporting")


@pytest.fixture
def stub(grpc_in_process, database, acting, monkeypatch):
    monkeypatch.setattr(
        "reporting.rpc.wait_until_all_seen", lambda database, producers, timeout_s: dict.fromkeys(producers, True)
    )
    monkeypatch.setenv("QUITTANCE_TODAY", TODAY.isoformat())
    return ReportingServiceStub(grpc_in_process(SERVICE, database))


def aging(stub, as_of="", **more):
    return stub.GetAging(pb.GetAgingRequest(as_of=as_of, **more), timeout=TIMEOUT_S)


def buckets(total):
    return {one.label: (one.item_count, one.amount.minor_units) for one in total.buckets if one.item_count}


def test_a_payment_after_the_day_is_not_deducted_and_the_day_it_is_paid_it_is(database, stub):
    deliver(
        database,
        HANDLERS,
        facts(invoice(new_id(), "1", date(2026, 1, 1), date(2026, 1, 31), 100, [(date(2026, 3, 10), -100)])),
    )
    assert buckets(aging(stub, "2026-01-31").totals[0]) == {"NOT_DUE": (1, 100)}
    assert buckets(aging(stub, "2026-02-01").totals[0]) == {"1-30": (1, 100)}
    assert buckets(aging(stub, "2026-03-09").totals[0]) == {"31-60": (1, 100)}
    assert list(aging(stub, "2026-03-10").totals) == []
    assert list(aging(stub, "2025-12-31").totals) == []


def test_currencies_never_mix_and_buckets_plus_credits_are_the_total(database, stub):
    deliver(
        database,
        HANDLERS,
        facts(
            invoice(new_id(), "1", date(2026, 9, 1), date(2026, 9, 30), 500),
            invoice(new_id(), "2", date(2026, 9, 1), None, 70),
            invoice(new_id(), "3", date(2026, 9, 1), None, -30, kind="CREDIT_NOTE"),
            invoice(new_id(), "4", date(2026, 1, 1), date(2026, 1, 31), 9, currency="USD"),
        ),
    )
    euro, dollar = aging(stub).totals
    assert (euro.currency, euro.item_count, euro.total.minor_units, euro.credits.minor_units) == ("EUR", 3, 540, -30)
    assert buckets(euro) == {"NOT_DUE": (1, 500), "NO_DUE_DATE": (1, 70)}
    assert buckets(dollar) == {">120": (1, 9)}
    assert [one.label for one in euro.buckets] == ["NOT_DUE", "1-30", "31-60", "61-90", "91-120", ">120", "NO_DUE_DATE"]


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.ItemFactsRecorded")
def test_doubled_and_late_facts_give_the_same_sums(database, stub):
    item = new_id()
    newer = facts(invoice(item, "1", date(2026, 1, 1), date(2026, 2, 15), 100, [(date(2026, 3, 1), -40)]))
    older = facts(invoice(item, "1", date(2026, 1, 1), date(2026, 1, 31), 100))
    deliver(database, HANDLERS, newer, times=2)
    deliver(database, HANDLERS, older)
    [total] = aging(stub, "2026-02-20").totals
    assert buckets(total) == {"1-30": (1, 100)}
    assert aging(stub, "2026-03-01").totals[0].total.minor_units == 60


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.AccountsChanged")
def test_doubled_and_late_accounts_change_nothing(database, stub):
    deliver(database, HANDLERS, accounts(2, "New name"), times=2)
    deliver(database, HANDLERS, accounts(1, "Old name"))
    hits = stub.Search(pb.SearchRequest(query="name"), timeout=TIMEOUT_S).hits
    assert [(hit.kind, hit.title) for hit in hits] == [("ACCOUNT", "New name")]


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.EntityChanged")
def test_doubled_and_late_entities_change_nothing(database, stub):
    deliver(database, HANDLERS, entity(version=2), times=2)
    deliver(database, HANDLERS, entity(version=1, code="OLD"))
    assert aging(stub, entity="FR01").as_of == TODAY.isoformat()
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        aging(stub, entity="OLD")


def action(version, state):
    return scenario_events_pb2.ActionsChanged(
        actions=[
            action_pb2.Action(
                action_id=REFERENCE, account_id=ACCOUNT, entity_code="FR01", state=state, due_on="2026-09-14",
                version=version, changed_at=at(TODAY), step=action_pb2.Step(name="Call", channel=action_pb2.CHANNEL_CALL),
            )
        ]
    )  # fmt: skip


REFERENCE = new_id()


def promise(version, state):
    return scenario_events_pb2.PromiseChanged(
        promise=action_pb2.Promise(
            promise_id=REFERENCE, account_id=ACCOUNT, entity_code="FR01", state=state, promised_on="2026-09-15",
            version=version, created_at=at(TODAY),
        )
    )  # fmt: skip


def message(version, state):
    return notification_events_pb2.MessageChanged(
        message=notification_service_pb2.Message(
            message_id=REFERENCE, account_id=ACCOUNT, entity_code="FR01", state=state, version=version,
            created_at=at(TODAY), subject="Reminder",
        )
    )  # fmt: skip


def response(version, state):
    return portal_events_pb2.ResponseChanged(
        response=portal_service_pb2.Response(
            response_id=REFERENCE, account_id=ACCOUNT, entity_code="FR01", state=state, version=version,
            received_at=at(TODAY), kind=portal_service_pb2.RESPONSE_KIND_PROMISE,
        )
    )  # fmt: skip


def case(version, state):
    return dispute_events_pb2.CaseChanged(
        case=dispute_service_pb2.Case(
            case_id=REFERENCE, number="D-0001", account_id=ACCOUNT, entity_code="FR01", state=state, version=version,
            opened_on="2026-09-01", due_on="2026-09-10",
        )
    )  # fmt: skip


def risk(version, is_over_limit):
    credit = credit_risk_service_pb2.Credit(
        legal_unit_id=REFERENCE, is_over_limit=is_over_limit, over_limit=Money(currency="EUR", minor_units=5)
    )
    return credit_risk_events_pb2.RiskChanged(credit=credit, version=version)


WORK = [
    ("scenario", action, action_pb2.ACTION_STATE_DONE, action_pb2.ACTION_STATE_DUE, "actions_due"),
    ("scenario", promise, action_pb2.PROMISE_STATE_KEPT, action_pb2.PROMISE_STATE_OPEN, "promises_due"),
    ("portal", response, portal_service_pb2.RESPONSE_STATE_ACCEPTED, portal_service_pb2.RESPONSE_STATE_RECEIVED, "answers_waiting"),
    ("dispute", case, dispute_service_pb2.CASE_STATE_CLOSED, dispute_service_pb2.CASE_STATE_NEW, "cases_open"),
    ("credit-risk", risk, False, True, "over_limit_count"),
]  # fmt: skip


@pytest.mark.doubled_and_late(event="quittance.scenario.v1.ActionsChanged")
@pytest.mark.doubled_and_late(event="quittance.scenario.v1.PromiseChanged")
@pytest.mark.doubled_and_late(event="quittance.portal.v1.ResponseChanged")
@pytest.mark.doubled_and_late(event="quittance.dispute.v1.CaseChanged")
@pytest.mark.doubled_and_late(event="quittance.credit_risk.v1.RiskChanged")
@pytest.mark.parametrize(("producer", "event", "ended", "waiting", "count"), WORK, ids=[row[4] for row in WORK])
def test_doubled_and_late_work_is_counted_once_by_its_newest_state(
    database, stub, producer, event, ended, waiting, count
):
    deliver(database, HANDLERS, event(2, waiting), producer=producer, times=2)
    assert getattr(stub.GetDashboard(pb.GetDashboardRequest(), timeout=TIMEOUT_S), count) == 1
    deliver(database, HANDLERS, event(3, ended), producer=producer)
    deliver(database, HANDLERS, event(1, waiting), producer=producer)
    assert getattr(stub.GetDashboard(pb.GetDashboardRequest(), timeout=TIMEOUT_S), count) == 0


@pytest.mark.doubled_and_late(event="quittance.notification.v1.MessageChanged")
def test_doubled_and_late_messages_stand_once_in_the_history(database, stub):
    deliver(database, HANDLERS, accounts(1, "Customer"))
    sent, queued = notification_service_pb2.MESSAGE_STATE_SENT, notification_service_pb2.MESSAGE_STATE_QUEUED
    deliver(database, HANDLERS, message(2, sent), producer="notification", times=2)
    deliver(database, HANDLERS, message(1, queued), producer="notification")
    activity = stub.GetAccountActivity(pb.GetAccountActivityRequest(account_id=ACCOUNT), timeout=TIMEOUT_S)
    assert [(entry.kind, entry.state, entry.title) for entry in activity.entries] == [("MESSAGE", "SENT", "Reminder")]


def test_the_dashboard_shows_holds_ratio_receipts_and_a_series(database, stub):
    disputed, promised = new_id(), new_id()
    deliver(
        database,
        HANDLERS,
        facts(
            invoice(disputed, "1", date(2026, 7, 1), date(2026, 7, 31), 300),
            invoice(promised, "2", date(2026, 8, 1), date(2026, 8, 31), 200, [(date(2026, 9, 5), -50)]),
            invoice(new_id(), "3", date(2026, 9, 1), date(2026, 9, 30), 450),
        ),
    )
    deliver(database, HANDLERS, accounts(1, "Customer", (disputed, "DISPUTE", 120), (promised, "PROMISE", 150)))
    found = stub.GetDashboard(pb.GetDashboardRequest(), timeout=TIMEOUT_S)
    [euro] = found.currencies
    figures = (
        euro.open,
        euro.overdue,
        euro.disputed,
        euro.promised,
        euro.collectable_overdue,
        euro.received_this_month,
    )
    assert [one.minor_units for one in figures] == [900, 450, 120, 150, 180, 50]
    assert (euro.overdue_percent, found.account_count) == (50.0, 1)
    assert [month.month for month in found.series] == ["2026-07", "2026-08", "2026-09"]
    assert found.series[-1].dso_days == pytest.approx(euro.dso.days)


def test_the_series_says_of_each_month_end_what_that_day_says_alone(database, stub):
    books = []
    for month in range(1, 13):
        for year in (2024, 2025, 2026):
            first = date(year, month, 5)
            if first > TODAY:
                continue
            later = [(date(year, month, 28), -30 * month)] if month % 3 else []
            for currency in ("EUR", "USD"):
                books.append(
                    invoice(new_id(), f"{currency}{first}", first, date(year, month, 25), 100 * month, later, currency)
                )
    # Credits, an item without a due date, one settled long ago, and a currency that is open in two months only.
    books.append(invoice(new_id(), "K1", date(2026, 2, 1), None, -70, [], kind="CREDIT_NOTE"))
    books.append(invoice(new_id(), "N1", date(2026, 3, 3), None, 45))
    books.append(invoice(new_id(), "P1", date(2026, 5, 3), date(2026, 5, 9), 45, [(date(2026, 7, 2), -45)], "GBP"))
    deliver(database, HANDLERS, facts(*books))
    statements = []

    def count(_connection, _cursor, statement, *_):
        if "open_item" in statement or "to_char" in statement:
            statements.append(statement)

    engine = database.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", count)
    try:
        found = stub.GetDashboard(pb.GetDashboardRequest(), timeout=TIMEOUT_S)
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", count)
    assert len(statements) == 2, "one for the ages of all days, one for the sales"
    assert len({month.month for month in found.series}) == 12
    assert sorted(month.month for month in found.series if month.currency == "GBP") == ["2026-05", "2026-06"]
    for shown in found.series:
        year, month = map(int, shown.month.split("-"))
        day = min(date(year, month, calendar.monthrange(year, month)[1]), TODAY).isoformat()
        aging = stub.GetAging(pb.GetAgingRequest(as_of=day), timeout=TIMEOUT_S)
        dso = stub.GetDso(pb.GetDsoRequest(as_of=day), timeout=TIMEOUT_S)
        [alone] = [total for total in aging.totals if total.currency == shown.currency]
        assert list(shown.buckets) == list(alone.buckets)
        [value] = [one for one in dso.values if one.currency == shown.currency]
        assert shown.dso_days == value.days


def test_explanations_titles_and_details_speak_the_readers_language(database, stub):
    french = [("accept-language", "fr")]
    deliver(database, HANDLERS, facts(invoice(new_id(), "1", date(2026, 7, 1), date(2026, 7, 31), 300)))
    deliver(database, HANDLERS, accounts(1, "Customer"))
    settled = case(1, dispute_service_pb2.CASE_STATE_REJECTED)
    settled.case.reason_name, settled.case.outcome = "Quality or damage", "Rejected: not our fault"
    deliver(database, HANDLERS, settled, producer="dispute")
    [dso] = stub.GetDso(pb.GetDsoRequest(), timeout=TIMEOUT_S, metadata=french).values
    assert dso.explanation.startswith("Les ventes brutes")
    request = pb.GetAccountActivityRequest(account_id=ACCOUNT)
    [entry] = stub.GetAccountActivity(request, timeout=TIMEOUT_S, metadata=french).entries
    assert (entry.title_fr, entry.detail) == ("Litige D-0001 : Qualité ou avarie", "Refusé : not our fault")
    assert stub.GetAccountActivity(request, timeout=TIMEOUT_S).entries[0].detail == "Rejected: not our fault"


def test_rows_behind_a_figure_add_up_to_it(database, stub):
    disputed = new_id()
    deliver(
        database,
        HANDLERS,
        facts(
            invoice(disputed, "1", date(2026, 7, 1), date(2026, 7, 31), 300),
            invoice(new_id(), "2", date(2026, 9, 1), date(2026, 9, 30), 450),
        ),
    )
    deliver(database, HANDLERS, accounts(1, "Customer", (disputed, "DISPUTE", 120)))

    def rows(**request):
        return stub.ListReportItems(pb.ListReportItemsRequest(**request), timeout=TIMEOUT_S)

    assert [row.number for row in rows(overdue=True).items] == ["1"]
    assert [row.number for row in rows(filter="hold=DISPUTE AND currency=EUR").items] == ["1"]
    assert [(row.number, row.bucket, row.account_name) for row in rows(filter="bucket=NOT_DUE").items] == [
        ("2", "NOT_DUE", "Customer")
    ]
    first = rows(page_size=1)
    assert (first.total_size, [row.number for row in rows(page_size=1, page_token=first.next_page_token).items]) == (
        2,
        ["2"],
    )
    assert first.items[0].held.minor_units == 120


def test_dso_says_its_inputs(database, stub):
    deliver(
        database,
        HANDLERS,
        facts(
            invoice(new_id(), "1", date(2026, 8, 10), date(2026, 9, 9), 100),
            invoice(new_id(), "2", date(2026, 9, 5), date(2026, 10, 5), 50),
        ),
    )
    [value] = stub.GetDso(pb.GetDsoRequest(), timeout=TIMEOUT_S).values
    assert value.days == pytest.approx(15 + 31)
    assert [(month.month, month.days, month.used.minor_units) for month in value.months] == [
        ("2026-09", 15, 50),
        ("2026-08", 31, 100),
    ]
    assert value.overdue_days == pytest.approx(46 * 100 / 150)


def sales(recorded_at, *rows):
    names = ("account_id", "entity_code", "currency", "month", "gross_minor", "net_minor")
    table = pa.table(
        {
            **{name: pa.array([row[place] for row in rows], kind) for place, (name, kind) in enumerate(
                zip(names, (pa.string(),) * 3 + (pa.date32(), pa.int64(), pa.int64()), strict=True))},
            "recorded_at": pa.array([recorded_at] * len(rows), pa.timestamp("us", "UTC")),
        }
    )  # fmt: skip
    return ledger_events_pb2.SalesRecorded(sales=bulk.to_ipc(table))


@pytest.mark.doubled_and_late(event="quittance.ledger.v1.SalesRecorded")
def test_count_back_dso_takes_the_sales_that_files_say_and_says_so(database, stub):
    deliver(
        database,
        HANDLERS,
        facts(
            invoice(new_id(), "1", date(2026, 8, 10), date(2026, 9, 9), 100),
            invoice(new_id(), "2", date(2026, 9, 5), date(2026, 10, 5), 50),
        ),
    )
    august = (ACCOUNT, "FR01", "EUR", date(2026, 8, 1))
    deliver(database, HANDLERS, sales(datetime(2026, 9, 2, tzinfo=UTC), (*august, 400, None)))
    deliver(database, HANDLERS, sales(datetime(2026, 9, 1, tzinfo=UTC), (*august, 7, None)))
    [value] = stub.GetDso(pb.GetDsoRequest(), timeout=TIMEOUT_S).values
    assert [(month.month, month.sales.minor_units, month.used.minor_units) for month in value.months] == [
        ("2026-09", 50, 50),
        ("2026-08", 400, 100),
    ]
    assert value.explanation.endswith("Sales of 2026-08 as files say them.")
    deliver(database, HANDLERS, sales(datetime(2026, 9, 3, tzinfo=UTC), (*august, None, None)))
    [value] = stub.GetDso(pb.GetDsoRequest(), timeout=TIMEOUT_S).values
    assert [month.sales.minor_units for month in value.months] == [50, 100]
    assert "files" not in value.explanation


def test_simple_dso_takes_the_sales_of_ninety_days_each_currency_apart(database, stub):
    deliver(
        database,
        HANDLERS,
        facts(
            invoice(new_id(), "1", date(2026, 6, 18), date(2026, 7, 18), 100),
            invoice(new_id(), "2", date(2026, 6, 17), date(2026, 7, 17), 900, [(date(2026, 7, 1), -900)]),
            invoice(new_id(), "3", date(2026, 9, 1), date(2026, 9, 30), 30, currency="USD"),
            invoice(new_id(), "4", date(2026, 8, 1), date(2026, 8, 31), 60, [(date(2026, 9, 1), -60)], currency="USD"),
        ),
    )
    found = stub.GetDso(pb.GetDsoRequest(method=pb.DSO_METHOD_SIMPLE), timeout=TIMEOUT_S)
    assert {value.currency: value.days for value in found.values} == {"EUR": 90.0, "USD": 30.0}


def test_another_tenants_and_another_entitys_rows_are_not_seen(database, stub, as_tenant, tenant, grpc_in_process):
    with as_tenant(new_id()):
        deliver(database, HANDLERS, facts(invoice(new_id(), "1", date(2026, 9, 1), date(2026, 9, 30), 450)))
        deliver(database, HANDLERS, accounts(1, "Elsewhere"))
    assert list(aging(stub).totals) == []
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        stub.GetAccountActivity(pb.GetAccountActivityRequest(account_id=ACCOUNT), timeout=TIMEOUT_S)
    deliver(database, HANDLERS, facts(invoice(new_id(), "2", date(2026, 9, 1), date(2026, 9, 30), 7)))
    scoped = ReportingServiceStub(grpc_in_process(SERVICE, database, caller_of(tenant, entities={"DE01"})))
    assert list(aging(scoped).totals) == []
    assert len(aging(stub).totals) == 1
