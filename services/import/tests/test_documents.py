"""Documents of items: what is taken, to which item it goes, who sees it, when it ends."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from import_documents import FILES, MAIL, PDF, PNG, ItemLedger, ole, packed
from import_driver import Driver
from import_scanners import EICAR, Clamd, Icap, scanner_server
from sqlalchemy import text

from importer import scanner, store, tasks
from importer.__main__ import SERVICE
from importer.consumers import HANDLERS
from importer.domain import documents as rules
from importer.tasks import SCHEDULES
from importer.usecases import documents as usecases
from kit import bulk, context, files, grpc_client
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.jobs import enqueue
from kit.testing import caller_of, deliver, refused
from quittance.importer.v1 import document_service_pb2 as pb
from quittance.importer.v1 import document_service_pb2_grpc as pb_grpc
from quittance.importer.v1 import import_service_pb2 as import_pb
from quittance.ledger.v1 import item_pb2, ledger_events_pb2

T = 10
COLLECTOR = ("accounts:write", "items:read", "imports:read", "imports:write")
LOOKER = ("items:read",)


# ---- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_document_is_what_its_name_says(name):
    assert rules.check_content(name, io.BytesIO(FILES[name])) == name.partition(".")[2]


@pytest.mark.parametrize("name", FILES)
def test_no_content_passes_under_the_name_of_another_kind(name):
    own = name.partition(".")[2]
    for other in set(rules.KINDS) - {own, "zip"}:
        with pytest.raises(Refused, match="is no"):
            rules.check_content(f"a.{other}", io.BytesIO(FILES[name]))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pdf", b"<html><script>alert(1)</script>%PDF-1.4", "CONTENT_IS_OTHER"),
        ("a.pdf", b"MZ\x90\0" + bytes(100), "CONTENT_IS_OTHER"),
        ("a.eml", b"<html>\n<body>From: me", "CONTENT_IS_OTHER"),
        ("a.eml", b"just a note\n\nnothing more", "CONTENT_IS_OTHER"),
        ("a.docx", b"PK\x03\x04 but then nothing that a zip file has", "CONTENT_IS_OTHER"),
        ("a.docx", packed("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"), "MACROS_NOT_TAKEN"),
        ("a.doc", ole("WordDocument", "Macros"), "MACROS_NOT_TAKEN"),
        ("a.exe", PDF, "KIND_NOT_TAKEN"),
        ("a.html", b"<html>", "KIND_NOT_TAKEN"),
        ("a.svg", b"<svg/>", "KIND_NOT_TAKEN"),
        ("pdf", PDF, "KIND_NOT_TAKEN"),
        ("a.pdf.js", PDF, "KIND_NOT_TAKEN"),
    ],
)
def test_what_is_something_else_is_refused(name, content, reason):
    with pytest.raises(Refused) as caught:
        rules.check_content(name, io.BytesIO(content))
    assert caught.value.reason == reason


def test_a_file_s_name_is_a_number():
    assert rules.wanted_number("C:\\out\\Invoice 4711.pdf") == "4711"
    assert rules.wanted_number("RE_2026_001.PDF") == "RE_2026_001"
    assert rules.wanted_number("0004711.pdf") == "0004711"
    assert rules.wanted_number("invoice.pdf") == "invoice"
    assert "RE/2026/001" in rules.spellings("RE_2026_001")
    assert rules.number_key("re/2026-001") == rules.number_key("RE_2026_001") == "RE2026001"


HOSTS = ["archive.example.com", "*.docs.example.org"]


@pytest.mark.parametrize(
    "pattern",
    [
        "http://archive.example.com/{number}.pdf",
        "https://{number}.example.com/a.pdf",
        "https://archive.example.com{number}/a",
        "https://archive.example.com/a.pdf",
        "https://archive.example.com/{secret}.pdf",
        "https://archive.example.com/{number",
        "https://user:word@archive.example.com/{number}",
        "https://archive.example.com:8443/{number}",
        "https://archive.example.com\\@evil.example/{number}",
        "https://archive.example.com /{number}",
        "https://evil.example/{number}",
        "https://evil.example#archive.example.com/{number}",
        "https://archive.example.com.evil.example/{number}",
        "https://evildocs.example.org/{number}",
        "javascript:alert({number})",
        "//archive.example.com/{number}",
    ],
)
def test_only_plain_addresses_on_allowed_hosts_are_patterns(pattern):
    with pytest.raises(Refused):
        rules.check_pattern(pattern, HOSTS)


def test_values_cannot_leave_their_place_in_an_address():
    pattern = rules.check_pattern("https://a.docs.example.org/i/{number}/{custom.Box}?on={issue_on}#p", HOSTS)
    values = {"number": "../R&D/1 é?#", "custom.Box": "a@b", "issue_on": "2026-01-05"}
    url = rules.url_of(pattern, values)
    assert url == "https://a.docs.example.org/i/..%2FR%26D%2F1%20%C3%A9%3F%23/a%40b?on=2026-01-05#p"
    assert rules.url_of(pattern, values | {"number": ""}) == ""
    assert rules.url_of(pattern, values | {"number": ".."}) == ""


def test_documents_are_kept_some_months_after_the_last_item_was_cleared():
    day = dt.date
    assert rules.keep_until([day(2026, 8, 31)], 6) == day(2027, 2, 28)
    assert rules.keep_until([day(2026, 1, 1), day(2026, 3, 2)], 6) == day(2026, 9, 2)
    assert rules.keep_until([day(2026, 1, 1), None], 6) is None
    assert rules.keep_until([], 6) is None
    assert rules.months_after(day(2026, 3, 31), -6) == day(2025, 9, 30)


# ---- scanners --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "how"), [(Clamd, ""), (Icap, ""), (Icap, "no 204")], ids=["clamd", "icap", "icap without 204"]
)
def test_scanners_tell_clean_from_infected(handler, how):
    clean = PDF + bytes(300_000)
    with scanner_server(handler, how) as server:
        assert scanner.scan(server.url, io.BytesIO(clean), len(clean), T) == scanner.Verdict(True)
        found = scanner.scan(server.url, io.BytesIO(clean + EICAR), len(clean) + len(EICAR), T)
    assert (found.is_clean, found.found.lower()[:5]) == (False, "eicar")
    assert server.seen == [clean, clean + EICAR]


def test_a_page_instead_of_the_file_is_an_infection_even_if_nothing_is_named():
    with scanner_server(Icap, "silent") as server:
        assert scanner.scan(server.url, io.BytesIO(EICAR), len(EICAR), T) == scanner.Verdict(False, "blocked")


@pytest.mark.parametrize(
    ("handler", "options"), [(Clamd, {"limit": 100_000}), (Icap, {"how": "busy"})], ids=["clamd", "icap"]
)
def test_a_scanner_without_a_verdict_is_no_verdict(handler, options):
    data = bytes(3_000_000)
    with scanner_server(handler, **options) as server, refused(Code.UNAVAILABLE, "SCANNER_UNAVAILABLE"):
        scanner.scan(server.url, io.BytesIO(data), len(data), T)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:9", "icap://127.0.0.1:9/x"])
def test_a_scanner_that_is_away_is_no_verdict(url):
    with refused(Code.UNAVAILABLE, "SCANNER_UNAVAILABLE"):
        scanner.scan(url, io.BytesIO(PDF), len(PDF), 1)


# ---- the service -----------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger() -> Iterator[ItemLedger]:
    """A ledger over real gRPC that knows items."""
    fake = ItemLedger()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    fake.register(server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield fake
    server.stop(None)


class Desk:
    """The service as a test drives it: .stub of a collector, .stub_of(caller), .send(), .work()."""

    def __init__(self, database: Any, ledger: ItemLedger, tenant: str, grpc_in_process: Callable[..., Any]) -> None:
        self.database, self.ledger, self.tenant = database, ledger, tenant
        self.settings = database.settings
        self._channel = grpc_in_process
        self.stub = self.stub_of(caller_of(tenant, *COLLECTOR))
        self.driver = Driver(database, ledger, tenant, grpc_in_process(SERVICE, database))

    def scan_with(self, url: str) -> None:
        """From here on documents are scanned there."""
        self.settings.document_scan_url = url
        self.stub = self.stub_of(caller_of(self.tenant, *COLLECTOR))

    def stub_of(self, caller: Any) -> pb_grpc.DocumentServiceStub:
        return pb_grpc.DocumentServiceStub(self._channel(SERVICE, self.database, caller=caller))

    def send(
        self, name: str, content: bytes = PDF, stub: Any = None, piece: int = 65536, **header: Any
    ) -> pb.UploadDocumentResponse:
        def messages() -> Iterator[pb.UploadDocumentRequest]:
            yield pb.UploadDocumentRequest(header=pb.DocumentHeader(file_name=name, **header))
            for start in range(0, len(content), piece):
                yield pb.UploadDocumentRequest(data=content[start : start + piece])

        return (stub or self.stub).UploadDocument(messages(), timeout=60)

    def of_item(self, item_id: str, stub: Any = None, **more: Any) -> list[pb.Document]:
        request = pb.ListDocumentsRequest(item_id=item_id, **more)
        return list((stub or self.stub).ListDocuments(request, timeout=T).documents)

    def unmatched(self, stub: Any = None) -> list[str]:
        reply = (stub or self.stub).ListDocuments(pb.ListDocumentsRequest(unmatched=True), timeout=T)
        return [document.file_name for document in reply.documents]

    def url(self, document_id: str, stub: Any = None, **more: Any) -> pb.GetDocumentUrlResponse:
        request = pb.GetDocumentUrlRequest(document_id=document_id, **more)
        return (stub or self.stub).GetDocumentUrl(request, timeout=T)

    def acting(self) -> Any:
        return context.acting_as(context.service_caller(self.tenant, "import"))

    def work(self) -> list[str]:
        return self.driver.work()

    def schedule(self, name: str) -> None:
        """What a schedule does when its time has come, as a worker does it."""
        tasks.JOBS[f"test.{name}"] = SCHEDULES[name].handler
        try:
            with self.acting(), self.database.transaction() as session:
                enqueue(session, f"test.{name}", {}, new_id())
            ended = self.work()
            assert set(ended) <= {"DONE"}, ended
        finally:
            del tasks.JOBS[f"test.{name}"]

    def deletions(self) -> list[tuple]:
        with self.acting(), self.database.transaction() as session:
            return [tuple(row) for row in session.execute(text("SELECT file_name, cause FROM document_deletion"))]

    def has_file(self, document_id: str) -> bool:
        with self.acting():
            return files.store(self.settings).exists(usecases.file_key(document_id))


@pytest.fixture
def shared_invoice() -> bytes:
    """A real Factur-X invoice."""
    shared = Path(os.environ.get("QUITTANCE_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
    path = shared / "einvoice" / "facturx_pdf" / "EN16931_Einfach_DueDate.pdf"
    if not path.exists():
        pytest.skip(f"no real invoice at {path}")
    return path.read_bytes()


@pytest.fixture
def desk(
    make_database: Callable[..., Any],
    ledger: ItemLedger,
    tenant: str,
    grpc_in_process: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    database = make_database(
        "importer", job_backoff_s=0, document_limit_bytes=3 * 1024 * 1024, document_hosts=["archive.example.com"]
    )
    monkeypatch.setenv("QUITTANCE_LEDGER_ADDRESS", ledger.address)
    monkeypatch.setattr("kit.jobs.wake", lambda *_: None)
    monkeypatch.setenv("QUITTANCE_TODAY", "2026-09-15")
    return Desk(database, ledger, tenant, grpc_in_process)


def facts_of(ledger: ItemLedger, *item_ids: str) -> ledger_events_pb2.ItemFactsRecorded:
    """What the ledger says of items, as its event says it."""
    rows = [ledger.known[item_id] for item_id in item_ids]
    table = pa.table(
        {
            "item_id": pa.array([row.item_id for row in rows], pa.string()),
            "version": pa.array([row.version for row in rows], pa.int64()),
            "account_id": pa.array([row.account_id for row in rows], pa.string()),
            "entity_code": pa.array([row.entity_code for row in rows], pa.string()),
            "number": pa.array([row.number for row in rows], pa.string()),
            "settled_on": pa.array(
                [dt.date.fromisoformat(row.settled_on) if row.settled_on else None for row in rows], pa.date32()
            ),
        }
    )
    return ledger_events_pb2.ItemFactsRecorded(items=bulk.to_ipc(table))


def test_a_document_is_kept_for_its_items_and_shown_to_nobody_else_at_first(desk):
    first, second = desk.ledger.add("100"), desk.ledger.add("101")
    sent = desk.send("../..\\proof of delivery.png", PNG, item_ids=[first, second], description=" Signed ")
    document = sent.document
    assert (document.file_name, document.kind, document.size_bytes) == ("proof of delivery.png", "png", len(PNG))
    assert (document.purpose, document.description) == (pb.DOCUMENT_PURPOSE_ATTACHMENT, "Signed")
    assert (document.for_colleagues, document.for_customer, document.state) == (False, False, pb.DOCUMENT_STATE_READY)
    assert set(document.item_ids) == {first, second}
    assert [one.document_id for one in desk.of_item(second)] == [document.document_id]
    looker = desk.stub_of(caller_of(desk.tenant, *LOOKER, subject="user:sales"))
    assert desk.of_item(second, looker) == []
    with refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN"):
        desk.url(document.document_id, looker)
    desk.stub.UpdateDocument(pb.UpdateDocumentRequest(document_id=document.document_id, for_colleagues=True), timeout=T)
    (seen,) = desk.of_item(second, looker)
    assert (seen.description, seen.for_colleagues, seen.for_customer) == ("Signed", True, False)
    assert desk.url(document.document_id, looker).url.startswith("/downloads/")


def test_the_same_content_for_the_same_items_is_one_document(desk):
    first, second = desk.ledger.add("100"), desk.ledger.add("101")
    one = desk.send("a.pdf", item_ids=[first])
    again = desk.send("other name.pdf", item_ids=[first])
    assert (one.was_there, again.was_there) == (False, True)
    assert again.document.document_id == one.document.document_id
    more = desk.send("a.pdf", item_ids=[first, second])
    assert not more.was_there
    assert [len(desk.of_item(item)) for item in (first, second)] == [1, 1]
    # What became of an arrival that was a repetition: no file is left behind.
    with desk.acting():
        kept = [entry.key for entry in files.store(desk.settings).list(f"{desk.tenant}/documents")]
    assert len(kept) == 2


def test_documents_are_refused_in_words(desk):
    item = desk.ledger.add("100")
    with refused(Code.INVALID_ARGUMENT, "FILE_EMPTY"):
        desk.send("a.pdf", b"", item_ids=[item])
    with refused(Code.INVALID_ARGUMENT, "CONTENT_IS_OTHER"):
        desk.send("a.pdf", PNG, item_ids=[item])
    with refused(Code.RESOURCE_EXHAUSTED, "DOCUMENT_TOO_LARGE"):
        desk.send("a.pdf", PDF + bytes(4 * 1024 * 1024), item_ids=[item])
    with refused(Code.INVALID_ARGUMENT, "ENTITY_MISSING"):
        desk.send("a.pdf")
    with refused(Code.NOT_FOUND, "ENTITY_UNKNOWN"):
        desk.send("a.pdf", entity_code="ZZ")
    with refused(Code.NOT_FOUND, "ITEM_UNKNOWN"):
        desk.send("a.pdf", item_ids=[new_id()])
    other = desk.ledger.add("101", entity="DE01")
    with refused(Code.INVALID_ARGUMENT, "ITEM_OF_OTHER_ENTITY"):
        desk.send("a.pdf", item_ids=[item, other])
    assert desk.unmatched() == []
    with desk.acting():
        assert list(files.store(desk.settings).list(f"{desk.tenant}/documents")) == []


def test_a_large_document_is_never_whole_in_memory(desk):
    item = desk.ledger.add("100")
    content = PDF + bytes(2_900_000)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 65536):
            yield content[start : start + 65536]

    arrival = usecases.Arrival(file_name="a.pdf", item_ids=(item,))
    with desk.acting():
        tracemalloc.start()
        row, _ = usecases.upload_document(
            desk.database, desk.settings, lambda: grpc_client.channel(desk.settings, "ledger"), arrival, pieces()
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert row.size_bytes == len(content)
    # The spool holds one megabyte, and a copy of a buffer of one.
    assert peak < 4.5 * 1024 * 1024 < 2 * len(content)


# ---- matching --------------------------------------------------------------------------------------------------------


def test_an_invoice_finds_its_item_by_the_name_of_its_file_and_is_for_everybody(desk):
    account = new_id()
    instalments = [desk.ledger.add("RE/2026/001", account), desk.ledger.add("RE/2026/001", account)]
    sent = desk.send("RE_2026_001.pdf", entity_code="FR01").document
    assert set(sent.item_ids) == set(instalments)
    assert (sent.purpose, sent.for_colleagues, sent.for_customer) == (pb.DOCUMENT_PURPOSE_INVOICE, True, True)
    assert desk.unmatched() == []


def test_a_cleared_item_is_found_too(desk):
    item = desk.ledger.add("77")
    desk.ledger.settle(item, "2026-08-01")
    sent = desk.send("77.pdf", entity_code="FR01").document
    assert (list(sent.item_ids), sent.keep_until_on) == ([item], "2027-02-01")


def test_a_number_of_two_customers_is_matched_by_hand(desk):
    mine, other = desk.ledger.add("1"), desk.ledger.add("1")
    sent = desk.send("1.pdf", entity_code="FR01").document
    assert list(sent.item_ids) == []
    assert desk.unmatched() == ["1.pdf"]
    matched = desk.stub.MatchDocument(
        pb.MatchDocumentRequest(document_id=sent.document_id, item_ids=[mine]), timeout=T
    ).document
    assert list(matched.item_ids) == [mine]
    assert desk.unmatched() == []
    assert [len(desk.of_item(item)) for item in (mine, other)] == [1, 0]
    # Nobody but the two accounts' collectors knew which was meant; that it is the invoice its name says.
    assert (sent.purpose, sent.for_customer) == (pb.DOCUMENT_PURPOSE_ATTACHMENT, False)
    assert (matched.purpose, matched.for_customer) == (pb.DOCUMENT_PURPOSE_INVOICE, True)
    scan = desk.send("scan.pdf", PDF + b"\n", entity_code="FR01").document
    scan = desk.stub.MatchDocument(
        pb.MatchDocumentRequest(document_id=scan.document_id, item_ids=[mine]), timeout=T
    ).document
    assert (scan.purpose, scan.for_customer) == (pb.DOCUMENT_PURPOSE_ATTACHMENT, False)
    foreign = desk.ledger.add("9", entity="DE01")
    with refused(Code.INVALID_ARGUMENT, "ITEM_OF_OTHER_ENTITY"):
        desk.stub.MatchDocument(pb.MatchDocumentRequest(document_id=sent.document_id, item_ids=[foreign]), timeout=T)


@pytest.mark.doubled_and_late("quittance.ledger.v1.ItemFactsRecorded")
def test_a_document_that_came_before_its_item_finds_it_once(desk):
    desk.send("RE_2026_002.pdf", entity_code="FR01")
    desk.send("RE_2026_003.pdf", PDF + b"\n", entity_code="FR01")
    desk.work()
    assert sorted(desk.unmatched()) == ["RE_2026_002.pdf", "RE_2026_003.pdf"]
    item = desk.ledger.add("re 2026.002")
    desk.ledger.add("RE_2026_003", entity="DE01")
    with desk.acting():
        event = facts_of(desk.ledger, *desk.ledger.known)
        assert deliver(desk.database, HANDLERS, event, times=2) == [True, False]
    desk.work()
    assert desk.unmatched() == ["RE_2026_003.pdf"]
    (found,) = desk.of_item(item)
    assert found.file_name == "RE_2026_002.pdf"
    with desk.acting():
        deliver(desk.database, HANDLERS, event)
    desk.work()
    assert len(desk.of_item(item)) == 1


def test_the_file_of_an_imported_invoice_waits_for_its_item_and_for_no_other_account_s(desk):
    account = new_id()
    desk.ledger.numbers[account] = "C-77"
    with desk.acting():
        kept = usecases.keep_for_item(desk.database, desk.settings, "FR01", "500", "C-77", "invoice.pdf", PDF)
        assert kept == usecases.keep_for_item(desk.database, desk.settings, "FR01", "500", "C-77", "invoice.pdf", PDF)
    desk.ledger.add("500")
    desk.work()
    assert desk.unmatched() == ["invoice.pdf"]
    item = desk.ledger.add("500", account)
    with desk.acting():
        deliver(desk.database, HANDLERS, facts_of(desk.ledger, item))
    desk.work()
    (found,) = desk.of_item(item)
    assert (found.document_id, found.channel, found.for_customer) == (kept, "IMPORT", True)
    assert desk.unmatched() == []


def test_a_file_of_a_source_s_folder_is_taken_once(desk):
    item = desk.ledger.add("900")
    source = store.SourceRow(entity_code="FR01", kind="SFTP")
    with desk.acting():
        taken = [
            usecases.take(
                desk.database,
                desk.settings,
                lambda: grpc_client.channel(desk.settings, "ledger"),
                source,
                "900.pdf",
                io.BytesIO(PDF),
            )
            for _ in range(2)
        ]
    assert taken[0] == taken[1]
    (found,) = desk.of_item(item)
    assert (found.document_id, found.channel) == (taken[0], "SFTP")


# ---- the wall --------------------------------------------------------------------------------------------------------


def test_nobody_sees_documents_of_other_tenants_or_entities(desk):
    item = desk.ledger.add("100")
    document_id = desk.send("100.pdf", entity_code="FR01").document.document_id
    desk.send("none.pdf", entity_code="FR01")
    stranger = desk.stub_of(caller_of(new_id(), *COLLECTOR))
    elsewhere = desk.stub_of(caller_of(desk.tenant, *COLLECTOR, entities={"DE01"}))
    for stub in (stranger, elsewhere):
        with refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN"):
            desk.url(document_id, stub)
        with refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN"):
            stub.DeleteDocument(pb.DeleteDocumentRequest(document_id=document_id), timeout=T)
        with refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN"):
            stub.UpdateDocument(pb.UpdateDocumentRequest(document_id=document_id, for_customer=True), timeout=T)
        assert desk.unmatched(stub) == []
    with refused(Code.NOT_FOUND, "ITEM_UNKNOWN"):
        desk.of_item(item, elsewhere)
    # The ledger of the test knows no tenants; the wall of this service is its own.
    assert desk.of_item(item, stranger) == []
    looker = desk.stub_of(caller_of(desk.tenant, *LOOKER))
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
        looker.DeleteDocument(pb.DeleteDocumentRequest(document_id=document_id), timeout=T)


def test_an_address_names_one_file_of_one_tenant_for_a_while(desk):
    desk.ledger.add("100")
    document_id = desk.send("100.pdf", entity_code="FR01").document.document_id
    given = desk.url(document_id)
    signed = files.verify(desk.settings, given.token)
    assert (signed.key, signed.name) == (f"{desk.tenant}/documents/{document_id}", "100.pdf")
    left_s = given.expires_at.ToDatetime(dt.UTC) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(0) < left_s <= dt.timedelta(minutes=10)
    body, _, seal = given.token.partition(".")
    other = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    other[0] = f"{new_id()}/documents/{document_id}"
    forged = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    with refused(Code.PERMISSION_DENIED, "DOWNLOAD_INVALID"):
        files.verify(desk.settings, f"{forged}.{seal}")


def test_customers_get_what_is_for_them_and_of_their_items(desk):
    account = new_id()
    item, hidden = desk.ledger.add("100", account), desk.ledger.add("101", account)
    invoice = desk.send("100.pdf", entity_code="FR01").document
    note = desk.send("note.png", PNG, item_ids=[item, hidden]).document

    def shown() -> list[tuple[str, list[str]]]:
        request = pb.GetCustomerDocumentsRequest(account_id=account, entity_code="FR01", item_ids=[item])
        reply = desk.stub.GetCustomerDocuments(request, timeout=T)
        return [(document.file_name, list(document.item_ids)) for document in reply.documents]

    assert shown() == [("100.pdf", [item])]
    assert desk.url(invoice.document_id, customer_item_ids=[item]).token
    for document_id, items in ((note.document_id, [item]), (invoice.document_id, [hidden])):
        with refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN"):
            desk.url(document_id, customer_item_ids=items)
    desk.stub.UpdateDocument(pb.UpdateDocumentRequest(document_id=note.document_id, for_customer=True), timeout=T)
    assert shown() == [("100.pdf", [item]), ("note.png", [item])]
    desk.stub.UpdateDocument(pb.UpdateDocumentRequest(document_id=invoice.document_id, for_customer=False), timeout=T)
    assert shown() == [("note.png", [item])]


# ---- archives --------------------------------------------------------------------------------------------------------


def test_an_entity_s_archive_gives_each_invoice_an_address(desk):
    account = new_id()
    item = desk.ledger.add("R 1/2", account)
    payment = desk.ledger.add("P1", account, kind=item_pb2.ITEM_KIND_PAYMENT)
    pattern = "https://archive.example.com/{entity_code}/{account_number}/{number}.pdf"
    kept = desk.stub.SetUrlPattern(pb.SetUrlPatternRequest(entity_code="FR01", pattern=pattern), timeout=T).url_pattern
    assert (kept.pattern, kept.changed_by, kept.for_customer) == (pattern, "Test User", False)
    (found,) = desk.of_item(item)
    number = desk.ledger.numbers[account]
    assert found.url == f"https://archive.example.com/FR01/{number}/R%201%2F2.pdf"
    assert (found.document_id, found.channel) == ("", "URL")
    assert desk.of_item(payment) == []
    asked = pb.GetCustomerDocumentsRequest(account_id=account, entity_code="FR01", item_ids=[item])
    assert list(desk.stub.GetCustomerDocuments(asked, timeout=T).documents) == []
    desk.stub.SetUrlPattern(pb.SetUrlPatternRequest(entity_code="FR01", pattern=pattern, for_customer=True), timeout=T)
    assert [one.url for one in desk.stub.GetCustomerDocuments(asked, timeout=T).documents] == [found.url]
    with refused(Code.INVALID_ARGUMENT, "HOST_NOT_ALLOWED"):
        desk.stub.SetUrlPattern(
            pb.SetUrlPatternRequest(entity_code="FR01", pattern="https://evil.example/{number}"), timeout=T
        )
    listed = desk.stub.ListUrlPatterns(pb.ListUrlPatternsRequest(), timeout=T)
    assert [one.entity_code for one in listed.url_patterns] == ["FR01"]
    assert list(listed.allowed_hosts) == ["archive.example.com"]
    desk.stub.SetUrlPattern(pb.SetUrlPatternRequest(entity_code="FR01"), timeout=T)
    assert desk.of_item(item) == []


# ---- scanning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", [Clamd, Icap])
def test_documents_wait_for_their_scan_and_infected_ones_are_gone(desk, handler):
    item = desk.ledger.add("100")
    with scanner_server(handler) as server:
        desk.scan_with(server.url)
        clean = desk.send("clean.pdf", item_ids=[item]).document
        bad = desk.send("bad.pdf", PDF + EICAR, item_ids=[item], for_customer=True).document
        assert (clean.state, clean.state_text) == (pb.DOCUMENT_STATE_QUARANTINED, "the virus scan has not ended yet")
        with refused(Code.FAILED_PRECONDITION, "DOCUMENT_NOT_SCANNED"):
            desk.url(clean.document_id)
        desk.work()
    assert desk.url(clean.document_id).token
    with refused(Code.FAILED_PRECONDITION, "DOCUMENT_INFECTED"):
        desk.url(bad.document_id)
    states = {one.file_name: one for one in desk.of_item(item)}
    assert states["clean.pdf"].state == pb.DOCUMENT_STATE_READY
    assert states["bad.pdf"].state == pb.DOCUMENT_STATE_INFECTED
    assert "eicar" in states["bad.pdf"].state_text.lower()
    assert (desk.has_file(clean.document_id), desk.has_file(bad.document_id)) == (True, False)
    asked = pb.GetCustomerDocumentsRequest(account_id=new_id(), entity_code="FR01", item_ids=[item])
    assert list(desk.stub.GetCustomerDocuments(asked, timeout=T).documents) == []


def test_while_the_scanner_is_away_nothing_is_served_and_it_is_said_and_tried_again(desk):
    item = desk.ledger.add("100")
    with scanner_server(Clamd) as server:
        port = server.server_address[1]
        desk.scan_with(server.url)
    document = desk.send("a.pdf", item_ids=[item]).document
    assert "QUEUED" in desk.work()
    (seen,) = desk.of_item(item)
    assert (seen.state, seen.state_text) == (
        pb.DOCUMENT_STATE_QUARANTINED,
        "the virus scanner cannot be asked now; it is asked again",
    )
    with refused(Code.FAILED_PRECONDITION, "DOCUMENT_NOT_SCANNED"):
        desk.url(document.document_id)
    with scanner_server(Clamd, port=port) as server:
        desk.work()
        assert server.seen == [PDF]
    assert desk.url(document.document_id).token


# ---- ending ----------------------------------------------------------------------------------------------------------


def test_a_person_removes_a_document_and_that_it_was_there_stays(desk):
    item = desk.ledger.add("100")
    document_id = desk.send("a.pdf", item_ids=[item]).document.document_id
    for _ in range(2):
        desk.stub.DeleteDocument(pb.DeleteDocumentRequest(document_id=document_id), timeout=T)
    desk.work()
    assert desk.of_item(item) == []
    assert not desk.has_file(document_id)
    assert desk.deletions() == [("a.pdf", "PERSON")]
    with refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN"):
        desk.url(document_id)
    # The very same file may come again.
    assert not desk.send("a.pdf", item_ids=[item]).was_there


@pytest.mark.doubled_and_late("quittance.ledger.v1.ItemFactsRecorded")
def test_doubled_and_late_facts_of_items_change_nothing(desk):
    item = desk.ledger.add("100")
    desk.send("a.pdf", item_ids=[item])
    opened = facts_of(desk.ledger, item)
    desk.ledger.settle(item, "2026-02-01")
    cleared = facts_of(desk.ledger, item)
    with desk.acting():
        assert deliver(desk.database, HANDLERS, cleared, times=2) == [True, False]
        deliver(desk.database, HANDLERS, opened)
    (seen,) = desk.of_item(item)
    assert seen.keep_until_on == "2026-08-01"
    desk.ledger.settle(item, "")
    with desk.acting():
        deliver(desk.database, HANDLERS, facts_of(desk.ledger, item))
    (seen,) = desk.of_item(item)
    assert seen.keep_until_on == ""


def test_documents_end_months_after_their_last_item_was_cleared(desk):
    early, late, still_open, reopened = (desk.ledger.add(number) for number in ("1", "2", "3", "4"))
    over = desk.send("over.pdf", item_ids=[early]).document
    shared = desk.send("shared.pdf", PDF + b"\n", item_ids=[early, late, still_open]).document
    recent = desk.send("recent.pdf", PDF + b"\n\n", item_ids=[late]).document
    back = desk.send("back.pdf", PDF + b"\n\n\n", item_ids=[reopened]).document
    for item, day in ((early, "2026-03-15"), (late, "2026-03-16"), (reopened, "2026-01-01")):
        desk.ledger.settle(item, day)
    with desk.acting():
        deliver(desk.database, HANDLERS, facts_of(desk.ledger, early, late, reopened))
    # Reopened since, and nobody has told us yet: the ledger is asked before anything is deleted.
    desk.ledger.settle(reopened, "")
    desk.schedule("import.document_retention")
    assert desk.deletions() == [("over.pdf", "RETENTION")]
    left = [desk.has_file(one.document_id) for one in (over, shared, recent, back)]
    assert left == [False, True, True, True]
    assert [one.keep_until_on for one in desk.of_item(reopened)] == [""]


def test_nothing_is_deleted_while_the_ledger_is_away(desk):
    item = desk.ledger.add("1")
    document = desk.send("a.pdf", item_ids=[item]).document
    desk.ledger.settle(item, "2026-01-01")
    with desk.acting():
        deliver(desk.database, HANDLERS, facts_of(desk.ledger, item))
    desk.work()
    desk.ledger.is_away = True
    with pytest.raises(AssertionError, match="QUEUED"):
        desk.schedule("import.document_retention")
    assert desk.deletions() == []
    assert desk.has_file(document.document_id)


def test_what_the_ledger_said_while_a_document_was_being_kept_is_not_lost(desk):
    item = desk.ledger.add("1")
    # Cleared right after it was looked up: the event comes before there is a row it is news for.
    desk.ledger.after_get = lambda: setattr(desk.ledger, "after_get", None) or desk.ledger.settle(item, "2026-02-01")
    sent = desk.send("a.pdf", item_ids=[item]).document
    assert sent.keep_until_on == ""
    desk.work()
    (seen,) = desk.of_item(item)
    assert seen.keep_until_on == "2026-08-01"


def test_refusals_and_states_are_in_the_caller_s_language(desk):
    item = desk.ledger.add("1")
    desk.scan_with("tcp://127.0.0.1:9")
    document = desk.send("a.pdf", item_ids=[item]).document
    with context.speaking("fr"), refused(Code.FAILED_PRECONDITION, "DOCUMENT_NOT_SCANNED") as found:
        desk.url(document.document_id)
    assert found.error.message == "l'analyse antivirus n'est pas encore terminée"


def test_a_mail_is_a_document(desk):
    item = desk.ledger.add("1")
    assert desk.send("re.eml", MAIL, item_ids=[item]).document.kind == "eml"


def test_the_pdf_of_an_imported_invoice_is_kept_with_its_item(desk, shared_invoice):
    """The whole way: a Factur-X file in, its item applied, its PDF at the item for colleagues and customer."""
    run = desk.driver.upload(shared_invoice, name="invoice.pdf", apply=True)
    assert import_pb.ImportState.Name(run.state) == "IMPORT_STATE_APPLIED", run
    (waiting,) = desk.stub.ListDocuments(pb.ListDocumentsRequest(unmatched=True), timeout=T).documents
    assert (waiting.channel, waiting.size_bytes) == ("IMPORT", len(shared_invoice))
    ((account_number, number),) = desk.ledger.items
    account = new_id()
    desk.ledger.numbers[account] = account_number
    item = desk.ledger.add(number, account)
    with desk.acting():
        deliver(desk.database, HANDLERS, facts_of(desk.ledger, item))
    desk.work()
    (found,) = desk.of_item(item)
    assert (found.document_id, found.purpose) == (waiting.document_id, pb.DOCUMENT_PURPOSE_INVOICE)
    assert (found.for_colleagues, found.for_customer) == (True, True)
