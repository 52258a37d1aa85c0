"""The service over real gRPC and PostgreSQL: upload, questions, apply, repetition, faults, walls."""

from __future__ import annotations

import csv
import io

import grpc
import pytest
from import_dialects import shared_data
from import_driver import TIMEOUT_S, counts, state
from sqlalchemy import text

from importer.tasks import JOBS
from importer.usecases import applying
from kit import jobs
from kit.ids import new_id
from kit.testing import caller_of, emitted, refused
from quittance.importer.v1 import import_service_pb2 as pb
from quittance.importer.v1 import import_service_pb2_grpc as pb_grpc

HEADER = "Customer;Name;Invoice No;Invoice Date;Due Date;Currency;Amount;Paid on"
ROWS = [
    f"C{number % 4};Name {number % 4};R{number};{number + 12}/03/2026;20/04/2026;EUR;{number}0,50;"
    for number in range(1, 11)
]


def file_of(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def test_upload_preview_apply_and_again(service):
    run = service.upload(file_of(*ROWS))
    assert state(run) == "PREVIEWED"
    assert (run.row_counts.read, run.row_counts.accepted, run.row_counts.rejected) == (10, 10, 0)
    assert [(total.currency, total.item_count, total.total.minor_units) for total in run.totals] == [
        ("EUR", 10, 55_500)
    ]
    assert run.preview[0].values["issueOn"] == "2026-03-13"
    assert {column.header: column.field for column in run.columns}["Invoice No"] == "itemNumber"
    assert service.ledger.items == {}

    applied = service.apply(run.import_id)
    assert state(applied) == "APPLIED"
    assert counts(applied) == (10, 0, 0, 0, 0)
    assert len(service.ledger.items) == 10
    assert applied.profile_id
    # Each chunk holds whole accounts.
    assert len(service.ledger.commits) > 1
    assert counts(service.apply(run.import_id)) == (10, 0, 0, 0, 0)

    again = service.upload(file_of(*ROWS), apply=True)
    assert again.sha256 == run.sha256
    assert counts(again) == (0, 0, 10, 0, 0)

    paid = service.upload(file_of(ROWS[0] + "25/04/2026", *ROWS[1:9], "C9;New;R99;13/03/2026;;EUR;1,00;"), apply=True)
    assert counts(paid) == (1, 0, 8, 1, 0)
    with service.acting():
        events = [event for event in emitted(service.database) if event.import_run.import_id == run.import_id]
    states = [state(event.import_run) for event in events]
    assert (states[0], states[-1]) == ("UPLOADED", "APPLIED")
    assert [event.version for event in events] == list(range(1, len(events) + 1))


def test_questions_are_answered_once_per_layout(service):
    text_ = file_of("C1;A;R1;03/04/2026;05/06/2026;EUR;10,50;")
    run = service.upload(text_, apply=True)
    assert state(run) == "QUESTIONS"
    assert [(question.code, question.column, list(question.options)) for question in run.questions] == [
        ("dateOrder", "Invoice Date", ["DMY", "MDY"]),
    ]
    assert run.questions[0].evidence[1].examples[0] == "03/04/2026 = 2026-03-04"
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "QUESTIONS_OPEN"):
        service.stub.ApplyImport(pb.ApplyImportRequest(import_id=run.import_id), timeout=TIMEOUT_S)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "ANSWER_UNKNOWN"):
        service.stub.ApplyImport(
            pb.ApplyImportRequest(import_id=run.import_id, answers={"dateOrder": "YDM"}), timeout=TIMEOUT_S
        )
    assert counts(service.apply(run.import_id, dateOrder="MDY")) == (1, 0, 0, 0, 0)
    assert service.ledger.items["C1", "R1"]["issue_on"].isoformat() == "2026-03-04"

    again = service.upload(file_of("C1;A;R2;04/05/2026;05/06/2026;EUR;10,50;"), apply=True)
    assert state(again) == "APPLIED"
    assert service.ledger.items["C1", "R2"]["issue_on"].isoformat() == "2026-04-05"
    profiles = service.stub.ListProfiles(pb.ListProfilesRequest(), timeout=TIMEOUT_S)
    assert [(profile.used, profile.answers["dateOrder"]) for profile in profiles.profiles] == [(2, "MDY")]
    service.stub.DeleteProfile(pb.DeleteProfileRequest(profile_id=profiles.profiles[0].profile_id), timeout=TIMEOUT_S)
    assert state(service.upload(file_of("C1;A;R3;04/05/2026;05/06/2026;EUR;10,50;"), apply=True)) == "QUESTIONS"
    with refused(grpc.StatusCode.NOT_FOUND, "PROFILE_UNKNOWN"):
        service.stub.DeleteProfile(pb.DeleteProfileRequest(profile_id=new_id()), timeout=TIMEOUT_S)


def test_answers_in_advance(service):
    run = service.upload(file_of("C1;A;R1;03/04/2026;05/06/2026;EUR;10,50;"), apply=True, answers={"dateOrder": "DMY"})
    assert state(run) == "APPLIED"
    assert service.ledger.items["C1", "R1"]["issue_on"].isoformat() == "2026-04-03"


def test_mapping_is_corrected_by_hand(service):
    run = service.upload(file_of("C1;R1;2026-03-13;10.50;North;7", header="Customer;Rechts;Date;Amount;Zone;Doc"))
    assert [(question.code, question.column) for question in run.questions] == [("mapping", "itemNumber")]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "ANSWER_UNKNOWN"):
        service.stub.AnswerImport(
            pb.AnswerImportRequest(import_id=run.import_id, mapping={"Nowhere": "itemNumber"}), timeout=TIMEOUT_S
        )
    request = pb.AnswerImportRequest(import_id=run.import_id, mapping={"Rechts": "itemNumber", "Zone": "custom:Zone"})
    service.stub.AnswerImport(request, timeout=TIMEOUT_S)
    service.work()
    assert state(service.get(run.import_id)) == "PREVIEWED"
    assert counts(service.apply(run.import_id)) == (1, 0, 0, 0, 0)
    assert service.ledger.items["C1", "R1"]["custom_fields"] == '{"Zone":"North"}'


def test_rejected_rows_are_named_and_downloaded(service):
    run = service.upload(
        file_of(*ROWS, "C1;=cmd();R88;31/02/2026;;XXX;1,00;", "C1;A;R89;13/02/2026;;EUR;x;"), apply=True
    )
    assert counts(run) == (10, 0, 0, 0, 2)
    found = {(reject.line, reject.field, reject.code) for reject in run.rejects}
    assert found == {
        (12, "accountName", "formulaCell"),
        (12, "issueOn", "dateImpossible"),
        (12, "currency", "currencyUnknown"),
        (13, "initialAmount", "amountNotANumber"),
    }
    pieces = service.stub.DownloadRejects(pb.DownloadRejectsRequest(import_id=run.import_id), timeout=TIMEOUT_S)
    content = b"".join(piece.data for piece in pieces)
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["line"] for row in rows] == ["12", "12", "12", "13"]
    assert rows[0]["Name"] == "'=cmd()"
    assert any('"XXX"' in row["reason"] for row in rows)
    french = service.stub.GetImport(
        pb.GetImportRequest(import_id=run.import_id), timeout=TIMEOUT_S, metadata=(("accept-language", "fr-FR"),)
    )
    assert (
        "n'est pas" in french.import_run.rejects[0].reason or "est une formule" in french.import_run.rejects[0].reason
    )


@pytest.mark.parametrize(
    "data,code",
    [
        (b"Customer;Invoice No;Amount\n", "HEADER_ONLY"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "FILE_BINARY"),
        (b"PK\x03\x04broken", "SHEET_DAMAGED"),
        (b"no columns at all\nnone here\n", "NO_COLUMNS"),
    ],
)
def test_files_that_cannot_be_read_end_with_a_reason(service, data, code):
    run = service.upload(data, apply=True)
    assert (state(run), run.failure_code) == ("FAILED", code)
    assert run.failure
    assert service.ledger.commits == []
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IMPORT_FAILED"):
        service.stub.ApplyImport(pb.ApplyImportRequest(import_id=run.import_id), timeout=TIMEOUT_S)


def test_uploads_that_are_refused_at_once(service):
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FILE_EMPTY"):
        service.send(b"")
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE"):
        service.send(b"x" * (1024 * 1024 + 1))
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE"):
        service.send(b"x", size_bytes=2 * 1024**3)
    with refused(grpc.StatusCode.NOT_FOUND, "ENTITY_UNKNOWN"):
        service.send(b"a;b\n1;2\n", entity="NOWHERE")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "ANSWER_UNKNOWN"):
        service.send(b"a;b\n1;2\n", answers={"shoeSize": "43"})


def test_a_row_count_that_never_lies_when_all_rows_are_refused(service):
    run = service.upload(file_of("C1;A;R1;31/02/2026;;EUR;10,50;"), apply=True)
    assert (state(run), counts(run)) == ("APPLIED", (0, 0, 0, 0, 1))
    assert service.ledger.commits == []


def test_a_load_that_breaks_goes_on_where_it_stopped(service):
    service.ledger.fail_after_chunks = 2
    run = service.upload(file_of(*ROWS), apply=True)
    assert (state(run), counts(run)) == ("APPLIED", (10, 0, 0, 0, 0))
    chunks = [number for _, number in service.ledger.commits]
    assert chunks == sorted(set(chunks)), "a committed chunk was sent again and counted twice"


def test_a_worker_killed_after_the_load_finishes_it_without_doubling(service, monkeypatch):
    import_id = service.send(file_of(*ROWS), apply=True)
    original = applying._Load.write_to

    def dies(self, row):
        raise SystemExit("killed")

    monkeypatch.setattr(applying._Load, "write_to", dies)
    with pytest.raises(SystemExit):
        service.work()
    assert state(service.get(import_id)) == "APPLYING"
    assert service.ledger.commits
    monkeypatch.setattr(applying._Load, "write_to", original)
    with service.database.system_transaction() as session:
        session.execute(text("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'RUNNING'"))
        rows = session.execute(text("SELECT tenant_id, id FROM job WHERE state = 'RUNNING'")).all()
    assert [jobs.run(service.runtime, JOBS, str(row.tenant_id), str(row.id)) for row in rows] == ["DONE"]
    run = service.get(import_id)
    assert (state(run), counts(run)) == ("APPLIED", (10, 0, 0, 0, 0))
    assert len(service.ledger.commits) == len(set(service.ledger.commits))


def test_an_unreachable_ledger_fails_the_import_and_applying_again_mends_it(service):
    service.ledger.is_down = True
    run = service.upload(file_of(*ROWS), apply=True)
    assert (state(run), run.failure_code) == ("FAILED", "LEDGER_UNREACHABLE")
    service.ledger.is_down = False
    assert counts(service.apply(run.import_id)) == (10, 0, 0, 0, 0)


def test_stock_clears_what_is_absent_and_stops_at_the_guard(service):
    service.upload(file_of(*ROWS), apply=True)
    small = service.upload(file_of(*ROWS[:9]), apply=True, mode="stock")
    assert (state(small), counts(small), small.row_counts.cleared_absent) == ("APPLIED", (0, 0, 9, 0, 0), 1)
    run = service.upload(file_of(*ROWS[:2]), apply=True, mode="stock")
    assert state(run) == "QUESTIONS"
    assert [(question.code, list(question.options)) for question in run.questions] == [
        ("stockGuard", ["CONFIRM", "CANCEL"])
    ]
    assert "7 of 9" in run.questions[0].text
    assert sum(1 for row in service.ledger.items.values() if row["open_minor"]) == 9
    applied = service.apply(run.import_id, stockGuard="CONFIRM")
    assert (state(applied), counts(applied), applied.row_counts.cleared_absent) == ("APPLIED", (0, 0, 2, 0, 0), 7)


def test_a_declined_stock_guard_clears_nothing(service):
    service.upload(file_of(*ROWS), apply=True)
    run = service.upload(file_of(*ROWS[:2]), apply=True, mode="stock")
    declined = service.apply(run.import_id, stockGuard="CANCEL")
    assert (state(declined), declined.row_counts.cleared_absent) == ("CANCELLED", 0)
    assert sum(1 for row in service.ledger.items.values() if row["open_minor"]) == 10


def test_a_stock_file_without_one_valid_row_is_asked_about_before_anything(service):
    service.upload(file_of(*ROWS), apply=True)
    commits = len(service.ledger.commits)
    run = service.upload(file_of("C1;A;R1;31/02/2026;;EUR;10,50;"), apply=True, mode="stock")
    assert [question.code for question in run.questions] == ["stockGuard"]
    assert len(service.ledger.commits) == commits
    assert state(service.apply(run.import_id, stockGuard="CANCEL")) == "CANCELLED"


def test_accounts_and_contacts(service):
    accounts = service.upload("Customer;Name;Country;City\nC1;Uno;France;Lyon\n", name="accounts.csv", apply=True)
    assert (accounts.object, counts(accounts)) == (pb.IMPORT_OBJECT_ACCOUNTS, (1, 0, 0, 0, 0))
    contacts = service.upload(
        "Customer;Last name;E-mail\nC1;Doe;a@example.com\nUNKNOWN;Li;b@example.com\n", name="people.csv", apply=True
    )
    assert (contacts.object, counts(contacts)) == (pb.IMPORT_OBJECT_CONTACTS, (1, 0, 0, 0, 1))
    assert [(reject.line, reject.code) for reject in contacts.rejects if reject.field == "accountNumber"] == [
        (3, "unknownToLedger")
    ]
    assert [row["country"] for row in service.ledger.others if "country" in row] == ["FR"]


def test_cancelling(service):
    run = service.upload(file_of(*ROWS))
    assert (
        state(service.stub.CancelImport(pb.CancelImportRequest(import_id=run.import_id), timeout=TIMEOUT_S).import_run)
        == "CANCELLED"
    )
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IMPORT_NOT_OPEN"):
        service.stub.ApplyImport(pb.ApplyImportRequest(import_id=run.import_id), timeout=TIMEOUT_S)
    applied = service.upload(file_of(*ROWS), apply=True)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IMPORT_NOT_OPEN"):
        service.stub.CancelImport(pb.CancelImportRequest(import_id=applied.import_id), timeout=TIMEOUT_S)


def test_lists_and_walls(service, grpc_in_process, keys):
    first, second = service.upload(file_of(*ROWS)), service.upload(file_of(*ROWS), apply=True)
    page = service.stub.ListImports(pb.ListImportsRequest(page_size=1), timeout=TIMEOUT_S)
    assert ([entry.import_id for entry in page.imports], page.total_size) == ([second.import_id], 2)
    rest = service.stub.ListImports(
        pb.ListImportsRequest(page_size=1, page_token=page.next_page_token), timeout=TIMEOUT_S
    )
    assert ([entry.import_id for entry in rest.imports], rest.next_page_token) == ([first.import_id], "")
    chosen = service.stub.ListImports(pb.ListImportsRequest(filter="state=APPLIED"), timeout=TIMEOUT_S)
    assert [entry.import_id for entry in chosen.imports] == [second.import_id]
    # Another tenant, another entity's clerk and an unknown id all see the same nothing.
    from importer.__main__ import SERVICE

    for caller in (caller_of(new_id()), caller_of(service.tenant, entities={"DE01"})):
        stub = pb_grpc.ImportServiceStub(grpc_in_process(SERVICE, service.database, caller=caller))
        with refused(grpc.StatusCode.NOT_FOUND, "IMPORT_UNKNOWN"):
            stub.GetImport(pb.GetImportRequest(import_id=first.import_id), timeout=TIMEOUT_S)
        assert stub.ListImports(pb.ListImportsRequest(), timeout=TIMEOUT_S).total_size == 0
    reader = pb_grpc.ImportServiceStub(
        grpc_in_process(SERVICE, service.database, caller=caller_of(service.tenant, "imports:read"))
    )
    with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING"):
        reader.ApplyImport(pb.ApplyImportRequest(import_id=first.import_id), timeout=TIMEOUT_S)


def test_real_files_end_to_end(service):
    service.ledger.entities["US01"] = "USD"
    service.database.settings.chunk_rows = 500
    data = shared_data("ar/ibm_watson_late_payment/WA_Fn-UseC_-Accounts-Receivable.csv")
    run = service.upload(data, entity="US01", apply=True)
    assert (state(run), counts(run)) == ("APPLIED", (2466, 0, 0, 0, 0))
    assert [(total.currency, total.initial.minor_units) for total in run.totals] == [("USD", 14_770_318)]
    assert counts(service.upload(data, entity="US01", apply=True)) == (0, 0, 2466, 0, 0)


def test_a_large_file_is_read_in_parts_with_the_same_result_and_the_same_refused_rows(service, monkeypatch):
    rows = [f"C{n % 40:02d};Name;R{n};{n % 28 + 1}/03/2026;20/04/2026;EUR;{n + 1}0,50;" for n in range(2_000)]
    rows[700:700] = ["C05;Name;WRONG;31/31/2026;;EUR;x,y;"]
    service.database.settings.chunk_rows = 120
    found = []
    for large_from in (1 << 40, 0):
        monkeypatch.setattr("importer.domain.reading.stream.STREAM_FROM_BYTES", large_from)
        monkeypatch.setattr("importer.domain.reading.stream.BLOCK_BYTES", 20_000)
        monkeypatch.setattr("importer.domain.streaming.PART_ROWS", 300)
        if not large_from:
            monkeypatch.setattr("importer.usecases.reading.raw_table", lambda *_: pytest.fail("read whole"))
            monkeypatch.setattr("importer.usecases.rejecting.raw_table", lambda *_: pytest.fail("read whole"))
        service.ledger.items.clear()
        service.ledger.commits.clear()
        run = service.upload(file_of(*rows), apply=True)
        pieces = service.stub.DownloadRejects(pb.DownloadRejectsRequest(import_id=run.import_id), timeout=TIMEOUT_S)
        refused_rows = b"".join(piece.data for piece in pieces)
        chunks = [number for _, number in service.ledger.commits]
        found.append((state(run), counts(run), dict(service.ledger.items), chunks, refused_rows))
    assert found[0] == found[1]
    assert found[1][:2] == ("APPLIED", (2000, 0, 0, 0, 1))
    assert len(found[1][3]) == 14 and b"WRONG" in found[1][4]


def test_a_later_file_of_an_entity_waits_for_the_earlier_one(service):
    first = service.upload(file_of(*ROWS))

    def put(statement: str, **values: str) -> None:
        with service.acting(), service.database.transaction() as session:
            session.execute(text(statement), values)

    put("UPDATE batch SET state = 'APPLYING' WHERE import_id = :id", id=first.import_id)
    second = service.upload(file_of(ROWS[0]), apply=True)
    assert state(second) == "APPLYING"
    assert service.ledger.commits == []
    put("UPDATE batch SET state = 'CANCELLED' WHERE import_id = :id", id=first.import_id)
    put("UPDATE job SET run_after = now()")
    service.work()
    assert counts(service.get(second.import_id)) == (1, 0, 0, 0, 0)
