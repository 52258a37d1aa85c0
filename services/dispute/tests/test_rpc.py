"""The service behind its interceptors, on a real PostgreSQL, with a ledger over real gRPC."""

from datetime import date

import pytest
from sqlalchemy import text

from dispute.__main__ import SERVICE
from dispute.consumers import HANDLERS
from dispute.tasks import JOBS
from kit import jobs
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.service import Runtime
from kit.testing import caller_of, deliver, emitted, refused
from quittance.dispute.v1 import dispute_service_pb2 as pb
from quittance.dispute.v1.dispute_service_pb2_grpc import DisputeServiceStub

pytestmark = pytest.mark.usefixtures("acting")

ACCOUNT = "0197f000-0000-7000-8000-000000000001"
ITEM = "0197f000-0000-7000-8000-00000000a001"
OTHER = "0197f000-0000-7000-8000-00000000a002"


@pytest.fixture
def service(database, grpc_in_process, ledger, said) -> DisputeServiceStub:
    deliver(database, HANDLERS, said(ACCOUNT, 1, {ITEM: 100_00, OTHER: 50_00}))
    return DisputeServiceStub(grpc_in_process(SERVICE, database))


def euros(minor: int) -> dict:
    return {"currency": "EUR", "minor_units": minor}


def opening(request_id: str = "r1", **values) -> pb.OpenCaseRequest:
    values = {
        "account_id": ACCOUNT, "reason_code": "PRICE", "comment": "agreed price was 90",
        "lines": [{"item_id": ITEM, "amount": euros(60_00)}, {"item_id": OTHER}],
        "source": "PORTAL", "source_id": "response-1", **values,
    }  # fmt: skip
    return pb.OpenCaseRequest(request_id=request_id, **values)


def run_jobs(database, tenant) -> list[str]:
    with database.system_transaction() as session:
        session.execute(text("UPDATE job SET run_after = now() - interval '1 second' WHERE state = 'QUEUED'"))
        ids = [str(i) for i in session.scalars(text("SELECT id FROM job WHERE state = 'QUEUED'"))]
    return [jobs.run(Runtime(database.settings, database), JOBS, tenant, job_id) for job_id in ids]


def moved(service, case_id: str, state: str) -> pb.Case:
    return service.MoveCase(pb.MoveCaseRequest(case_id=case_id, state=f"CASE_STATE_{state}", comment="because")).case


def test_a_case_is_opened_once_with_number_clock_owner_and_holds(database, service, ledger):
    case = service.OpenCase(opening()).case
    assert service.OpenCase(opening()).case == case
    (request,) = ledger.placed
    assert (request.source, request.source_id) == ("dispute", case.case_id)
    assert [(end.source, end.source_id) for end in request.ends] == [("portal", "response-1")]
    assert ledger.held == {(case.case_id, ITEM): 60_00, (case.case_id, OTHER): 80_00}
    assert (case.number, case.owner, case.reason_name) == ("D-0001", "Sales", "Price")
    assert (case.opened_on, case.due_on, case.overdue) == ("2026-03-05", "2026-03-16", False)
    assert (case.account_name, case.account_number, case.entity_code) == ("Sample Customer", "C-100", "FR01")
    assert [line.open.minor_units for line in case.lines] == [100_00, 50_00]
    assert case.total[0].minor_units == 140_00
    assert [event.case.number for event in emitted(database)] == ["D-0001"]
    assert service.OpenCase(opening("r2")).case.number == "D-0002"
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        service.OpenCase(opening(comment="other"))


@pytest.mark.parametrize(
    ("values", "code", "reason"),
    [
        ({"reason_code": "MOOD"}, Code.INVALID_ARGUMENT, "REASON_UNKNOWN"),
        ({"account_id": OTHER}, Code.NOT_FOUND, "ACCOUNT_UNKNOWN"),
        ({"lines": [{"item_id": ACCOUNT}]}, Code.FAILED_PRECONDITION, "ITEM_CLEARED"),
        ({"lines": [{"item_id": ITEM}, {"item_id": ITEM}]}, Code.INVALID_ARGUMENT, "INVALID_FIELDS"),
        (
            {"lines": [{"item_id": ITEM, "amount": {"currency": "USD", "minor_units": 1}}]},
            Code.INVALID_ARGUMENT,
            "INVALID_FIELDS",
        ),
    ],
)
def test_a_wrong_opening_is_refused_before_the_ledger_is_asked(service, ledger, values, code, reason):
    with refused(code, reason):
        service.OpenCase(opening(**values))
    assert ledger.placed == []


def test_what_the_ledger_refuses_leaves_no_case_and_takes_no_number(database, service, ledger, tenant):
    ledger.refusal = Refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN", "too much")
    with refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN"):
        service.OpenCase(opening())
    ledger.refusal = None
    assert set(run_jobs(database, tenant)) == {"DONE"}
    assert service.ListCases(pb.ListCasesRequest()).total_size == 0
    assert service.OpenCase(opening()).case.number == "D-0001"


def test_an_opening_cut_short_is_finished_by_its_job(database, service, ledger, tenant):
    ledger.refusal = Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "slow")
    with pytest.raises(Refused):
        service.OpenCase(opening())
    assert service.ListCases(pb.ListCasesRequest()).total_size == 0
    assert run_jobs(database, tenant) == ["QUEUED"]
    ledger.refusal = None
    assert run_jobs(database, tenant) == ["DONE"]
    (case,) = service.ListCases(pb.ListCasesRequest()).cases
    assert case.number == "D-0001"
    assert service.OpenCase(opening()).case.case_id == case.case_id
    assert len({request.request_id for request in ledger.placed}) == 1


def test_work_moves_by_the_table_and_stays_in_the_history(service):
    case_id = service.OpenCase(opening()).case.case_id
    assigned = service.AssignCase(pb.AssignCaseRequest(case_id=case_id, owner="ann@example.com", comment="hers")).case
    assert (assigned.state, assigned.owner) == (pb.CASE_STATE_ASSIGNED, "ann@example.com")
    moved(service, case_id, "IN_PROGRESS")
    moved(service, case_id, "WAITING_CUSTOMER")
    with refused(Code.FAILED_PRECONDITION, "STATE_NOT_ALLOWED"):
        moved(service, case_id, "CLOSED")
    with refused(Code.FAILED_PRECONDITION, "STATE_NOT_ALLOWED"):
        moved(service, case_id, "ACCEPTED")
    service.AddNote(pb.AddNoteRequest(case_id=case_id, text="called"))
    case = service.GetCase(pb.GetCaseRequest(case_id=case_id)).case
    assert [event.what for event in case.events] == ["opened", "assigned", "moved", "moved", "note"]
    assert [event.by for event in case.events] == ["Test User"] * 5
    assert case.events[1].text == "ann@example.com: hers"
    assert case.version == 5


def test_accepted_stays_held_and_rejected_is_free_at_once(service, ledger):
    case_id = service.OpenCase(opening()).case.case_id
    with refused(Code.INVALID_ARGUMENT, "AMOUNT_TOO_HIGH"):
        service.ResolveCase(
            pb.ResolveCaseRequest(
                case_id=case_id,
                outcome="CASE_OUTCOME_CREDIT_NOTE",
                comment="x",
                accepted=[{"item_id": ITEM, "amount": euros(60_01)}],
            )
        )
    case = service.ResolveCase(
        pb.ResolveCaseRequest(
            case_id=case_id,
            outcome="CASE_OUTCOME_CREDIT_NOTE",
            comment="half of it",
            accepted=[{"item_id": ITEM, "amount": euros(30_00)}],
        )
    ).case
    assert (case.state, case.outcome) == (pb.CASE_STATE_PARTLY_ACCEPTED, "Credit note: half of it")
    assert [line.accepted.minor_units for line in case.lines] == [30_00, 0]
    assert case.resolved_on == "2026-03-05"
    assert ledger.held == {(case_id, ITEM): 30_00}
    with refused(Code.FAILED_PRECONDITION, "STATE_NOT_ALLOWED"):
        service.ResolveCase(pb.ResolveCaseRequest(case_id=case_id, outcome="CASE_OUTCOME_REJECTED", comment="again"))
    assert moved(service, case_id, "CLOSED").state == pb.CASE_STATE_CLOSED
    assert ledger.held == {}
    assert service.ListCases(pb.ListCasesRequest()).total_size == 0
    assert service.ListCases(pb.ListCasesRequest(filter="state=CLOSED")).total_size == 1
    with refused(Code.FAILED_PRECONDITION, "CASE_CLOSED"):
        service.AssignCase(pb.AssignCaseRequest(case_id=case_id, owner="x"))


def test_a_rejected_case_frees_everything_and_reopening_holds_it_again(service, ledger):
    case_id = service.OpenCase(opening(lines=[{"item_id": ITEM, "amount": euros(60_00)}])).case.case_id
    rejected = service.ResolveCase(
        pb.ResolveCaseRequest(case_id=case_id, outcome="CASE_OUTCOME_REJECTED", comment="price was right")
    ).case
    assert rejected.state == pb.CASE_STATE_REJECTED
    assert ledger.held == {}
    reopened = moved(service, case_id, "IN_PROGRESS")
    assert (reopened.outcome, reopened.resolved_on, reopened.lines[0].HasField("accepted")) == ("", "", False)
    assert ledger.held == {(case_id, ITEM): 60_00}


def test_a_case_that_cannot_be_held_again_closes_again(service, ledger):
    case_id = service.OpenCase(opening(lines=[{"item_id": ITEM, "amount": euros(60_00)}])).case.case_id
    service.ResolveCase(pb.ResolveCaseRequest(case_id=case_id, outcome="CASE_OUTCOME_REJECTED", comment="no"))
    ledger.refusal = Refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN", "promised meanwhile")
    with refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN"):
        moved(service, case_id, "IN_PROGRESS")
    case = service.GetCase(pb.GetCaseRequest(case_id=case_id)).case
    assert case.state == pb.CASE_STATE_CLOSED
    assert case.events[-1].text == "could not be reopened: promised meanwhile"


def test_a_resolution_whose_ledger_call_fails_is_finished_by_its_job(database, service, ledger, tenant):
    case_id = service.OpenCase(opening()).case.case_id
    ledger.refusal = Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "slow")
    case = service.ResolveCase(
        pb.ResolveCaseRequest(case_id=case_id, outcome="CASE_OUTCOME_REJECTED", comment="no")
    ).case
    assert case.state == pb.CASE_STATE_REJECTED
    assert ledger.held
    ledger.refusal = None
    assert set(run_jobs(database, tenant)) == {"DONE"}
    assert ledger.held == {}


def test_cases_are_listed_filtered_and_paged(service, business_date):
    service.OpenCase(opening("r1", reason_code="QUALITY"))
    service.OpenCase(opening("r2", reason_code="ADMINISTRATIVE"))
    service.OpenCase(opening("r3"))
    first = service.ListCases(pb.ListCasesRequest(page_size=2))
    assert [case.reason_code for case in first.cases] == ["ADMINISTRATIVE", "PRICE"]
    rest = service.ListCases(pb.ListCasesRequest(page_size=2, page_token=first.next_page_token))
    assert [case.reason_code for case in rest.cases] == ["QUALITY"]
    assert service.ListCases(pb.ListCasesRequest(filter='reasonCode=PRICE AND owner="Sales"')).total_size == 1
    assert service.ListCases(pb.ListCasesRequest(account_id=OTHER)).total_size == 0
    business_date(date(2026, 3, 11))
    overdue = [(case.number, case.days_open) for case in service.ListCases(pb.ListCasesRequest()).cases if case.overdue]
    assert overdue == [("D-0002", 6)]


def test_reasons_and_names_come_in_both_languages(service):
    reasons = service.ListReasons(pb.ListReasonsRequest()).reasons
    assert len(reasons) == 9
    assert (reasons[0].name, reasons[0].name_fr) == ("Price", "Prix")
    case_id = service.OpenCase(opening()).case.case_id
    case = service.GetCase(pb.GetCaseRequest(case_id=case_id), metadata=[("accept-language", "fr")]).case
    assert case.reason_name == "Prix"


def test_outcomes_history_and_refusals_come_in_the_language_of_the_call(service, ledger):
    french = [("accept-language", "fr-FR,fr;q=0.9")]
    case_id = service.OpenCase(opening()).case.case_id
    service.AddNote(pb.AddNoteRequest(case_id=case_id, text="Rejected: no"))
    service.ResolveCase(pb.ResolveCaseRequest(case_id=case_id, outcome=pb.CASE_OUTCOME_REJECTED, comment="not ours"))
    case = service.GetCase(pb.GetCaseRequest(case_id=case_id), metadata=french).case
    assert case.outcome == "Refusé : not ours"
    # What somebody wrote stays as he wrote it.
    assert sorted(event.text for event in case.events if event.what in ("note", "resolved")) == [
        "Refusé : not ours", "Rejected: no",
    ]  # fmt: skip
    assert service.GetCase(pb.GetCaseRequest(case_id=case_id)).case.outcome == "Rejected: not ours"
    with pytest.raises(Refused) as refusal:
        service.MoveCase(pb.MoveCaseRequest(case_id=case_id, state=pb.CASE_STATE_ASSIGNED), metadata=french)
    assert refusal.value.message == "un dossier refusé ne devient pas attribué"
    with pytest.raises(Refused) as refusal:
        service.OpenCase(pb.OpenCaseRequest(request_id="r", reason_code="PRICE"), metadata=french)
    assert refusal.value.fields["accountId"] == "est obligatoire"


def test_cases_of_another_entity_or_tenant_are_unknown(database, service, grpc_in_process, tenant):
    case_id = service.OpenCase(opening()).case.case_id
    elsewhere = DisputeServiceStub(grpc_in_process(SERVICE, database, caller_of(tenant, "*", entities={"US01"})))
    stranger = DisputeServiceStub(grpc_in_process(SERVICE, database, caller_of(new_id())))
    for stub in (elsewhere, stranger):
        assert stub.ListCases(pb.ListCasesRequest()).total_size == 0
        with refused(Code.NOT_FOUND, "CASE_UNKNOWN"):
            stub.GetCase(pb.GetCaseRequest(case_id=case_id))
        with refused(Code.NOT_FOUND, "CASE_UNKNOWN"):
            stub.AddNote(pb.AddNoteRequest(case_id=case_id, text="x"))
    reader = DisputeServiceStub(grpc_in_process(SERVICE, database, caller_of(tenant, "cases:read")))
    with pytest.raises(Refused) as refusal:
        reader.AddNote(pb.AddNoteRequest(case_id=case_id, text="x"))
    assert refusal.value.code is Code.PERMISSION_DENIED
