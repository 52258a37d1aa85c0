"""Documents through the gateway: forms in, signed addresses out."""

import io
import re
import time
from concurrent import futures
from types import SimpleNamespace

import grpc
import pytest

from kit import auth, files, grpc_client
from kit.context import acting_as
from kit.errors import Code, Refused
from kit.grpc_server import GuardInterceptor
from kit.ids import new_id
from kit.testing import caller_of
from quittance.importer.v1 import document_service_pb2 as pb
from quittance.importer.v1 import document_service_pb2_grpc as pb_grpc

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 2048


@pytest.fixture
def kept(settings, group):
    """A document of the group in the file store: .token(), .name, .content."""
    document_id, name = new_id(), 'Fact\u00fcre "1".pdf'
    key = f"{group.tenant_id}/documents/{document_id}"
    with acting_as(caller_of(group.tenant_id)):
        files.store(settings).put(key, io.BytesIO(PDF))

    def token(expires_s: int = 300, at: str = key) -> str:
        with acting_as(caller_of(at.partition("/")[0])):
            return files.sign(settings, at, expires_s, name)

    return SimpleNamespace(token=token, key=key, name=name)


class FakeDocuments(pb_grpc.DocumentServiceServicer):
    """Takes whatever begins as a PDF does."""

    def __init__(self):
        self.received: list[tuple[pb.DocumentHeader, bytes]] = []

    def UploadDocument(self, request_iterator, context):
        header = next(request_iterator).header
        data = b"".join(request.data for request in request_iterator)
        self.received.append((header, data))
        if not data.startswith(b"%PDF-"):
            raise Refused(Code.INVALID_ARGUMENT, "CONTENT_IS_OTHER", "the content is no pdf")
        document = pb.Document(document_id=new_id(), file_name=header.file_name, item_ids=header.item_ids)
        return pb.UploadDocumentResponse(document=document)


@pytest.fixture
def peer(keys, monkeypatch):
    """A document service behind the kit's real guard."""
    server = grpc.server(
        futures.ThreadPoolExecutor(4), interceptors=[GuardInterceptor(auth.Verifier(keys.jwks_url).verify)]
    )
    fake = FakeDocuments()
    pb_grpc.add_DocumentServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("QUITTANCE_IMPORT_ADDRESS", f"127.0.0.1:{port}")
    yield fake
    grpc_client.close_all()
    server.stop(0).wait()


def test_a_file_comes_whole_to_be_saved_and_by_nobody_kept(client, kept):
    answer = client.get(f"/downloads/{kept.token()}")
    assert (answer.status_code, answer.data) == (200, PDF)
    head = answer.headers
    assert head["Content-Disposition"] == (
        "attachment; filename=\"Fact_re _1_.pdf\"; filename*=UTF-8''Fact%C3%BCre%20%221%22.pdf"
    )
    assert (head["Content-Type"], head["X-Content-Type-Options"]) == ("application/pdf", "nosniff")
    assert "no-store" in head["Cache-Control"]
    assert head["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert (head["Accept-Ranges"], head["Content-Length"]) == ("bytes", str(len(PDF)))


@pytest.mark.parametrize(
    ("asked", "status", "part", "said"),
    [
        ("bytes=0-0", 206, PDF[:1], f"bytes 0-0/{len(PDF)}"),
        ("bytes=100-199", 206, PDF[100:200], f"bytes 100-199/{len(PDF)}"),
        ("bytes=-5", 206, PDF[-5:], f"bytes {len(PDF) - 5}-{len(PDF) - 1}/{len(PDF)}"),
        (f"bytes={len(PDF) - 3}-", 206, PDF[-3:], f"bytes {len(PDF) - 3}-{len(PDF) - 1}/{len(PDF)}"),
        ("bytes=10-999999999", 206, PDF[10:], f"bytes 10-{len(PDF) - 1}/{len(PDF)}"),
        (f"bytes={len(PDF)}-", 416, b"", f"bytes */{len(PDF)}"),
        ("bytes=-0", 416, b"", f"bytes */{len(PDF)}"),
        ("bytes=5-2", 200, PDF, None),
        ("bytes=0-1,5-6", 200, PDF, None),
        ("lines=0-1", 200, PDF, None),
    ],
)
def test_a_range_of_a_file(client, kept, asked, status, part, said):
    answer = client.get(f"/downloads/{kept.token()}", headers={"Range": asked})
    assert (answer.status_code, answer.data, answer.headers.get("Content-Range")) == (status, part, said)


def test_what_is_guessed_over_changed_or_somebody_else_s_is_not_there(client, kept, settings, group, monkeypatch):
    body, _, seal = kept.token().partition(".")
    other = new_id()
    with acting_as(caller_of(group.tenant_id)):
        # Signed with the right key, but no document: a file of an import, and one of a tenant that has no such file.
        files.store(settings).put(f"{group.tenant_id}/imports/x", io.BytesIO(b"secret"))
    tokens = [
        "x",
        "x.y",
        f"{body}.{seal[:-2]}AA",
        f"{'A' + body[1:]}.{seal}",
        kept.token(at=f"{group.tenant_id}/imports/x"),
        kept.token(at=f"{other}/documents/{kept.key.rpartition('/')[2]}"),
    ]
    late = kept.token(expires_s=10)
    for each in tokens:
        answer = client.get(f"/downloads/{each}")
        assert answer.status_code == 404, each
        assert "html" in answer.content_type
        assert b"secret" not in answer.data
    now = time.time()
    monkeypatch.setattr("kit.files.time.time", lambda: now + 11)
    assert client.get(f"/downloads/{late}").status_code == 404


def test_documents_come_in_by_a_form_and_each_is_answered(client, peer, bearer):
    item = new_id()
    answer = client.post(
        "/v1/documents",
        data={
            "item": item,
            "customer": "true",
            "file": [(io.BytesIO(PDF), "x/a.pdf"), (io.BytesIO(b"no"), "bad.pdf")],
        },
        headers=bearer,
    )
    assert answer.status_code == 201, answer.json
    assert [each["fileName"] for each in answer.json["documents"]] == ["a.pdf"]
    assert [(each["fileName"], each["reason"]) for each in answer.json["refused"]] == [("bad.pdf", "CONTENT_IS_OTHER")]
    (header, data), _ = peer.received
    assert (list(header.item_ids), header.for_customer, header.for_colleagues) == ([item], True, False)
    assert data == PDF


def test_a_wrong_form_names_every_wrong_field(client, bearer, peer):
    answer = client.post(
        "/v1/documents",
        data={"item": "7", "customer": "perhaps", "colour": "red"},
        content_type="multipart/form-data",
        headers=bearer,
    )
    assert (answer.status_code, set(answer.json["fields"])) == (400, {"file", "item", "customer", "colour"})


def test_no_form_is_larger_than_its_documents_may_be(make_app, bearer, peer):
    client = make_app(document_form_max_bytes=1024 * 1024).test_client()
    answer = client.post(
        "/v1/documents",
        data={"item": new_id(), "file": (io.BytesIO(bytes(4 * 1024 * 1024)), "a.pdf")},
        headers=bearer,
    )
    assert answer.status_code == 413
    assert re.search("at most 1 MiB", answer.json["detail"])
