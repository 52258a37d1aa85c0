"""Documents on the customer's page: his own and no others, by addresses that end."""

import io
import threading
from concurrent import futures

import grpc
import pytest

from kit import files, grpc_client
from kit.context import acting_as, service_caller
from kit.errors import Code, Refused
from kit.ids import new_id
from portal.web import create_app
from quittance.importer.v1 import document_service_pb2 as pb
from quittance.importer.v1 import document_service_pb2_grpc as pb_grpc
from quittance.portal.v1 import portal_service_pb2 as portal_pb

PDF = b"%PDF-1.7\n" + bytes(100_000)


class FakeDocuments(pb_grpc.DocumentServiceServicer):
    """Documents by item; tokens are real ones."""

    def __init__(self, settings, tenant):
        self.settings, self.tenant = settings, tenant
        self.documents: list[pb.Document] = []
        self.is_away = False
        self.lock = threading.Lock()

    def GetCustomerDocuments(self, request, context):
        if self.is_away:
            Refused(Code.UNAVAILABLE, "DOWN", "away").abort(context)
        found = [one for one in self.documents if set(one.item_ids) & set(request.item_ids)]
        return pb.GetCustomerDocumentsResponse(documents=found)

    def GetDocumentUrl(self, request, context):
        for one in self.documents:
            if one.document_id == request.document_id and set(one.item_ids) & set(request.customer_item_ids):
                with acting_as(service_caller(self.tenant, "import")):
                    key = f"{self.tenant}/documents/{one.document_id}"
                    return pb.GetDocumentUrlResponse(token=files.sign(self.settings, key, 60, one.file_name))
        raise Refused(Code.NOT_FOUND, "DOCUMENT_UNKNOWN", "there is no such document").abort(context)

    def add(self, item_id, name="1.pdf", url="", purpose=pb.DOCUMENT_PURPOSE_INVOICE, description=""):
        document_id = "" if url else new_id()
        self.documents.append(
            pb.Document(
                document_id=document_id,
                file_name=name,
                url=url,
                purpose=purpose,
                description=description,
                item_ids=[item_id],
            )
        )
        if document_id:
            with acting_as(service_caller(self.tenant, "import")):
                files.store(self.settings).put(f"{self.tenant}/documents/{document_id}", io.BytesIO(PDF))
        return document_id


@pytest.fixture
def documents(database, tenant, monkeypatch):
    """The document service on a real socket."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    fake = FakeDocuments(database.settings, tenant)
    pb_grpc.add_DocumentServiceServicer_to_server(fake, server)
    monkeypatch.setenv("QUITTANCE_IMPORT_ADDRESS", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    yield fake
    server.stop(0).wait()
    grpc_client.close_all()


@pytest.fixture
def arrive(browser, stub):
    """arrive(account) opens a fresh link and gives the page."""

    def go(account_id):
        link = stub.CreateLink(portal_pb.CreateLinkRequest(request_id=new_id(), account_id=account_id), timeout=10)
        browser.get(link.url.removeprefix("http://portal.example"))
        return browser.get("/p").get_data(as_text=True)

    return go


def test_each_item_has_its_invoice_and_its_papers(browser, arrive, account, items, documents):
    invoice = documents.add(items[0].item_id)
    note = documents.add(
        items[0].item_id, "pod.png", purpose=pb.DOCUMENT_PURPOSE_ATTACHMENT, description="Proof & <delivery>"
    )
    documents.add(items[1].item_id, items[1].number, url="https://archive.example.com/1%2F2.pdf")
    page = arrive(account)
    assert page.count(f'href="/p/documents/{invoice}"') == 1
    assert f'aria-label="{items[0].number} as PDF"' in page
    assert f'href="/p/documents/{note}"' in page
    assert "Proof &amp; &lt;delivery&gt;" in page
    assert 'href="https://archive.example.com/1%2F2.pdf"' in page
    led = browser.get(f"/p/documents/{invoice}")
    assert (led.status_code, led.location[:3]) == (303, "/d/")
    answer = browser.get(led.location, headers={"Range": "bytes=0-8"})
    assert (answer.status_code, answer.data) == (206, PDF[:9])
    head = answer.headers
    assert head["Content-Disposition"].startswith("attachment;")
    assert (head["X-Content-Type-Options"], head["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert "no-store" in head["Cache-Control"]


def test_documents_of_other_accounts_and_invented_addresses_are_not_there(browser, arrive, account, items, documents):
    other = documents.add(new_id())
    page = arrive(account)
    assert other not in page
    for path in (f"/p/documents/{other}", f"/p/documents/{new_id()}", "/d/x.y", "/d/e30.AAAA"):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert "This document cannot be fetched here" in answer.get_data(as_text=True)


def test_without_a_visit_no_document_is_led_to(database, documents, items, app):
    document_id = documents.add(items[0].item_id)
    answer = app.test_client().get(f"/p/documents/{document_id}")
    assert answer.status_code != 303
    assert "/d/" not in answer.headers.get("Location", "")


def test_the_page_is_there_when_documents_are_not(browser, arrive, account, items, documents):
    documents.add(items[0].item_id)
    documents.is_away = True
    page = arrive(account)
    assert items[0].number in page
    assert "/p/documents/" not in page


def test_nobody_finds_an_address_by_trying(make_database, acting, neighbours):
    database = make_database("portal", portal_url="http://portal.example", wrong_links_per_minute=3)
    browser = create_app(database.settings, database).test_client()
    assert [browser.get(f"/d/{number}.x").status_code for number in range(5)] == [404, 404, 404, 429, 429]
