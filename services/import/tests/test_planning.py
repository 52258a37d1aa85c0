"""What an import would do is known before it does it; what it did can be taken back."""

from __future__ import annotations

import csv
import io

import grpc
import pytest
from import_driver import TIMEOUT_S, counts, state
from sqlalchemy import text

from importer.tasks import JOBS
from importer.usecases import planning
from kit import jobs
from kit.testing import caller_of, refused
from quittance.common.v1 import money_pb2
from quittance.importer.v1 import import_service_pb2 as pb
from quittance.importer.v1 import import_service_pb2_grpc as pb_grpc

HEADER = "Customer;Name;Invoice No;Invoice Date;Due Date;Currency;Amount;Paid on"
ROWS = [
    f"C{number % 4};Name {number % 4};R{number};{number + 12}/03/2026;20/04/2026;EUR;{number}0,50;"
    for number in range(1, 11)
]


def file_of(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def effects(service, import_id, **more):
    reply = service.stub.ListEffects(pb.ListEffectsRequest(import_id=import_id, **more), timeout=TIMEOUT_S)
    return reply


def expect(currency="EUR", count=None, minor=None):
    total = pb.ControlTotal(currency=currency)
    if count is not None:
        total.item_count = count
    if minor is not None:
        total.total.CopyFrom(money_pb2.Money(currency=currency, minor_units=minor))
    return total


def test_a_preview_tells_each_consequence_with_old_and_new_before_anything_is_applied(service):
    service.upload(file_of(*ROWS[:9]), apply=True)
    service.upload(file_of(ROWS[8] + "25/04/2026"), apply=True)
    books = {key: dict(row) for key, row in service.ledger.items.items()}
    changed = ROWS[1].replace("20,50", "25,50").replace("20/04/2026", "21/04/2026")
    run = service.upload(file_of(ROWS[0] + "25/04/2026", changed, *ROWS[2:10]))
    assert state(run) == "PREVIEWED"
    assert service.ledger.items == books, "a preview wrote to the books"
    plan = run.consequences
    assert (plan.created, plan.updated, plan.unchanged, plan.cleared, plan.rejected) == (1, 2, 6, 1, 0)
    assert (plan.reopened, plan.cleared_absent, plan.open_items, plan.effects_kept) == (1, 0, 8, 4)
    [balance] = plan.balances
    assert (balance.currency, balance.items_before, balance.items_after) == ("EUR", 8, 9)
    assert balance.open_before.minor_units == 364_00
    assert balance.open_after.minor_units == 364_00 - 10_50 + 5_00 + 90_50 + 100_50
    found = effects(service, run.import_id).effects
    assert [(one.effect, one.number) for one in found] == [
        ("reopened", "R9"),
        ("cleared", "R1"),
        ("updated", "R2"),
        ("created", "R10"),
    ]
    assert {(change.field, change.old, change.new) for change in found[2].changes} == {
        ("openAmount", "20.50", "25.50"),
        ("initialAmount", "20.50", "25.50"),
        ("dueOn", "2026-04-20", "2026-04-21"),
    }
    assert (found[3].line, found[3].open.minor_units) == (11, 100_50)
    applied = service.apply(run.import_id)
    assert counts(applied) == (1, 2, 6, 1, 0)
    [now] = applied.balances
    assert (now.open_before.minor_units, now.open_after.minor_units) == (
        balance.open_before.minor_units,
        balance.open_after.minor_units,
    )


def test_effects_are_paged_filtered_and_downloaded_safely(service):
    run = service.upload(file_of("C1;A;=R1;13/03/2026;20/04/2026;EUR;1,00;", *ROWS))
    first = effects(service, run.import_id, page_size=4)
    second = effects(service, run.import_id, page_size=4, page_token=first.next_page_token)
    assert (len(first.effects), first.total_size, len(second.effects)) == (4, 10, 4)
    assert {one.number for one in first.effects} & {one.number for one in second.effects} == set()
    assert effects(service, run.import_id, filter="effect=updated").total_size == 0
    lines = [one.line for one in effects(service, run.import_id, order_by="line desc").effects]
    assert lines == sorted(lines, reverse=True)
    for wrong in ({"filter": "shoeSize=43"}, {"order_by": "shoeSize"}):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELDS"):
            effects(service, run.import_id, **wrong)
    pieces = service.stub.DownloadEffects(pb.DownloadEffectsRequest(import_id=run.import_id), timeout=TIMEOUT_S)
    content = b"".join(piece.data for piece in pieces)
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert len(rows) == 10
    assert {row["effect"] for row in rows} == {"created"}


def test_effects_of_another_entity_are_nobodys(service, grpc_in_process):
    from importer.__main__ import SERVICE

    run = service.upload(file_of(*ROWS))
    stub = pb_grpc.ImportServiceStub(
        grpc_in_process(SERVICE, service.database, caller=caller_of(service.tenant, entities={"DE01"}))
    )
    with refused(grpc.StatusCode.NOT_FOUND, "IMPORT_UNKNOWN"):
        stub.ListEffects(pb.ListEffectsRequest(import_id=run.import_id), timeout=TIMEOUT_S)
    with refused(grpc.StatusCode.NOT_FOUND, "IMPORT_UNKNOWN"):
        stub.RollBackImport(pb.RollBackImportRequest(import_id=run.import_id), timeout=TIMEOUT_S)


def test_applying_at_once_asks_for_no_plan(service):
    run = service.upload(file_of(*ROWS), apply=True)
    assert state(run) == "APPLIED"
    assert service.ledger.planned == []
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_PLANNED"):
        effects(service, run.import_id)


def test_the_stock_guard_asks_before_one_row_is_applied(service):
    service.upload(file_of(*ROWS), apply=True)
    commits, books = len(service.ledger.commits), dict(service.ledger.items)
    run = service.upload(file_of(*ROWS[:2], "C9;New;R99;13/03/2026;;EUR;1,00;"), apply=True, mode="stock")
    assert (state(run), [question.code for question in run.questions]) == ("QUESTIONS", ["stockGuard"])
    assert "8 of 10" in run.questions[0].text
    assert run.consequences.cleared_absent == 8
    assert (len(service.ledger.commits), service.ledger.items) == (commits, books)
    absent = effects(service, run.import_id, filter="effect=clearedAbsent")
    assert (absent.total_size, absent.effects[0].line) == (8, 0)
    declined = service.apply(run.import_id, stockGuard="CANCEL")
    assert state(declined) == "CANCELLED"
    assert (len(service.ledger.commits), service.ledger.items) == (commits, books)


def test_the_stock_guard_looks_at_amounts_too(service):
    rows = [*ROWS[:9], "C9;Big;R77;13/03/2026;20/04/2026;EUR;9.000,50;"]
    service.upload(file_of(*rows), apply=True)
    run = service.upload(file_of(*rows[:9]), apply=True, mode="stock")
    assert [question.code for question in run.questions] == ["stockGuard"], "one item of ten, but most of the money"


def test_a_complete_file_of_another_company_is_asked_about(service):
    header = HEADER + ";Company code"
    service.upload(file_of(*(row + ";FR01" for row in ROWS), header=header), apply=True)
    run = service.upload(file_of(*(row + ";DE99" for row in ROWS), header=header), apply=True, mode="stock")
    assert [question.code for question in run.questions] == ["stockGuard"]
    assert "DE99" in run.questions[0].text


def test_a_complete_file_into_empty_books_is_applied_without_a_plan(service):
    run = service.upload(file_of(*ROWS), apply=True, mode="stock")
    assert (state(run), counts(run)) == ("APPLIED", (10, 0, 0, 0, 0))
    assert service.ledger.planned == []


def test_control_totals_that_agree_change_nothing(service):
    run = service.upload(file_of(*ROWS), apply=True, control_totals=[expect(count=10, minor=555_00)])
    assert state(run) == "APPLIED"
    [check] = run.control_checks
    assert (check.agrees, check.item_count, check.total.minor_units) == (True, 10, 555_00)


@pytest.mark.parametrize("expected", [expect(count=11), expect(minor=555_01), expect("USD", count=1)])
def test_control_totals_that_differ_are_asked_about_with_a_reason(service, expected):
    run = service.upload(file_of(*ROWS), apply=True, control_totals=[expected])
    assert (state(run), [question.code for question in run.questions]) == ("QUESTIONS", ["controlTotals"])
    assert expected.currency in run.questions[0].text
    assert run.consequences.created == 10
    assert service.ledger.commits == []
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "ANSWER_UNKNOWN"):
        service.apply(run.import_id, controlTotals="APPLY")
    applied = service.apply(run.import_id, controlTotals="APPLY", controlTotalsReason="credit notes left out")
    assert (state(applied), applied.answers["controlTotalsReason"]) == ("APPLIED", "credit notes left out")
    assert not applied.control_checks[0].agrees


def test_control_totals_can_be_typed_in_and_mended_while_the_preview_stands(service):
    run = service.upload(file_of(*ROWS))
    planned = len(service.ledger.planned)

    def say(*totals):
        request = pb.AnswerImportRequest(import_id=run.import_id, control_totals=totals)
        return service.stub.AnswerImport(request, timeout=TIMEOUT_S).import_run

    assert state(say(expect(count=9))) == "QUESTIONS"
    assert state(say(expect(count=10))) == "PREVIEWED"
    assert len(service.ledger.planned) == planned, "typing a total planned everything again"
    for wrong in ([expect("ZZZ", count=1)], [expect(count=1), expect(count=2)]):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELDS"):
            say(*wrong)
    assert state(say(expect(count=9))) == "QUESTIONS"
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "QUESTIONS_OPEN"):
        service.apply(run.import_id)
    assert state(service.apply(run.import_id, controlTotals="CANCEL")) == "CANCELLED"
    assert service.ledger.commits == []


def test_a_new_reading_asks_again_what_was_decided_about_the_old_one(service):
    service.upload(file_of(*ROWS), apply=True)
    run = service.upload(file_of(*ROWS[:2]), mode="stock")
    confirm = pb.AnswerImportRequest(import_id=run.import_id, answers={"stockGuard": "CONFIRM"})
    assert state(service.stub.AnswerImport(confirm, timeout=TIMEOUT_S).import_run) == "PREVIEWED"
    mapping = pb.AnswerImportRequest(import_id=run.import_id, mapping={"Name": ""})
    service.stub.AnswerImport(mapping, timeout=TIMEOUT_S)
    service.work()
    assert [question.code for question in service.get(run.import_id).questions] == ["stockGuard"]


def test_a_preview_without_its_ledger_says_so_and_a_complete_file_is_planned_before_it_is_applied(service):
    service.upload(file_of(*ROWS), apply=True)
    service.ledger.is_down = True
    run = service.upload(file_of(*ROWS[:2]), mode="stock")
    assert (state(run), run.HasField("consequences")) == ("PREVIEWED", False)
    assert "planUnknown" in [group.code for group in run.warning_groups]
    service.ledger.is_down = False
    assert [question.code for question in service.apply(run.import_id).questions] == ["stockGuard"]


def test_a_plan_that_is_killed_is_made_again(service, monkeypatch):
    import_id = service.send(file_of(*ROWS))

    def dies(self):
        raise SystemExit("killed")

    monkeypatch.setattr(planning._Plan, "keep_effects", dies)
    with pytest.raises(SystemExit):
        service.work()
    run = service.get(import_id)
    assert (state(run), run.stage) == ("READING", "plan")
    monkeypatch.undo()
    monkeypatch.setenv("QUITTANCE_LEDGER_ADDRESS", service.ledger.address)
    with service.database.system_transaction() as session:
        session.execute(text("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'RUNNING'"))
        rows = session.execute(text("SELECT tenant_id, id FROM job WHERE state = 'RUNNING'")).all()
    assert [jobs.run(service.runtime, JOBS, str(row.tenant_id), str(row.id)) for row in rows] == ["DONE"]
    assert (state(service.get(import_id)), service.get(import_id).consequences.created) == ("PREVIEWED", 10)


def test_progress_names_the_stage_its_rate_and_the_time_left(service, monkeypatch):
    seen = []
    original = planning._Plan._save

    def looks(self):
        original(self)
        with service.acting():
            seen.append(service.get(self.row.import_id))

    monkeypatch.setattr(planning._Plan, "_save", looks)
    service.database.settings.progress_every_s = 1e-9
    service.upload(file_of(*ROWS))
    assert {run.stage for run in seen} == {"plan"}
    assert [run.stage_rows for run in seen] == sorted({run.stage_rows for run in seen})
    assert all(run.rows_per_second > 0 for run in seen)
    assert seen[0].HasField("seconds_left")


def roll_back(service, import_id, **more):
    request = pb.RollBackImportRequest(import_id=import_id, **more)
    return service.stub.RollBackImport(request, timeout=TIMEOUT_S)


def test_the_last_import_is_taken_back_after_its_plan_was_shown(service):
    service.upload(file_of(*ROWS[:5]), apply=True)
    before = {key: dict(row) for key, row in service.ledger.items.items()}
    run = service.upload(file_of(ROWS[0] + "25/04/2026", *ROWS[5:]), apply=True)
    plan = roll_back(service, run.import_id, plan_only=True).plan
    assert (plan.closed, plan.restored) == (5, 1)
    [balance] = plan.balances
    assert (balance.items_before, balance.items_after) == (9, 5)
    assert state(service.get(run.import_id)) == "APPLIED"
    assert roll_back(service, run.import_id).import_run.stage == "rollBack"
    service.work()
    done = service.get(run.import_id)
    assert (state(done), done.stage, done.roll_back.closed) == ("ROLLED_BACK", "", 5)
    assert done.HasField("rolled_back_at")
    assert service.ledger.items == before
    assert roll_back(service, run.import_id).plan == done.roll_back
    assert service.work() == []
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IMPORT_NOT_OPEN"):
        service.stub.ApplyImport(pb.ApplyImportRequest(import_id=run.import_id), timeout=TIMEOUT_S)


def test_only_the_last_applied_import_of_items_that_nobody_used_is_taken_back(service):
    first = service.upload(file_of(*ROWS[:5]), apply=True)
    second = service.upload(file_of(*ROWS[5:]), apply=True)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_LAST_LOAD"):
        roll_back(service, first.import_id)
    accounts = service.upload("Customer;Name;Country;City\nC1;Uno;France;Lyon\n", name="accounts.csv", apply=True)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ROLL_BACK_UNSUPPORTED"):
        roll_back(service, accounts.import_id)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IMPORT_NOT_APPLIED"):
        roll_back(service, service.upload(file_of(*ROWS)).import_id)
    service.ledger.in_use = True
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "LOAD_IN_USE"):
        roll_back(service, second.import_id, plan_only=True)


def test_a_roll_back_that_became_impossible_leaves_the_import_applied_and_says_why(service):
    run = service.upload(file_of(*ROWS), apply=True)
    roll_back(service, run.import_id)
    service.ledger.in_use = True
    service.work()
    left = service.get(run.import_id)
    assert (state(left), left.stage) == ("APPLIED", "")
    assert "notRolledBack" in [group.code for group in left.warning_groups]
    service.ledger.in_use = False
    roll_back(service, run.import_id)
    service.work()
    assert state(service.get(run.import_id)) == "ROLLED_BACK"


def test_what_is_odd_is_counted_by_kind_with_its_first_lines(service):
    odd = [
        "C1;A;A1;13/03/2026;20/02/2026;EUR;1,00;",
        "C1;A;A2;13/03/2026;20/04/2029;EUR;1,00;",
        "C1;A;A3;13/03/2126;20/04/2126;EUR;1,00;",
        "C1;A;A4;13/03/2026;;EUR;1,00;",
        "C1;A;A5;13/03/2026;20/02/2026;EUR;1,00;",
    ]
    run = service.upload(file_of(*odd))
    found = {group.code: (group.count, list(group.lines)) for group in run.warning_groups}
    assert found == {
        "dueBeforeIssue": (2, [2, 6]),
        "dueFarAway": (1, [3]),
        "issueInFuture": (1, [4]),
        "dueMissing": (1, [5]),
    }
    assert list(run.warnings) == [group.text for group in run.warning_groups]
    service.apply(run.import_id)
    again = service.upload(file_of(*odd), name="again.csv")
    assert "sameFile" in [group.code for group in again.warning_groups]
    assert "items.csv" in next(group.text for group in again.warning_groups if group.code == "sameFile")


def test_settled_items_are_taken_in_as_history(service):
    run = service.upload(file_of(*(row + "25/04/2026" for row in ROWS)), apply=True)
    assert counts(run) == (10, 0, 0, 0, 0)
    assert [(total.total.minor_units, total.initial.minor_units) for total in run.totals] == [(0, 555_00)]
    assert {row["open_minor"] for row in service.ledger.items.values()} == {0}
    assert {row["settled_on"].isoformat() for row in service.ledger.items.values()} == {"2026-04-25"}


def test_groups_and_columns_nobody_knows_come_along(service):
    text_ = 'Customer;Name;Country;City;Groups;Branch\nC1;Uno;France;Lyon;"Retail, North";B7\n'
    run = service.upload(text_, name="accounts.csv")
    mapping = pb.AnswerImportRequest(import_id=run.import_id, mapping={"Branch": "custom:Branch"})
    service.stub.AnswerImport(mapping, timeout=TIMEOUT_S)
    service.work()
    service.apply(run.import_id)
    [account] = service.ledger.others
    assert account["groups"] == "Retail, North"
    assert '"Branch":"B7"' in account["custom_fields"]
