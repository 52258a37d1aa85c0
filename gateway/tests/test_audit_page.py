"""The audit view, with a ledger that answers as told."""

from types import SimpleNamespace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.web import audit
from quittance.ledger.v1 import audit_service_pb2 as pb

from .conftest import sign_in

WHEN = Timestamp(seconds=1_750_000_000)
ENTRY = pb.AuditEntry(
    entry_id="e1", recorded_at=WHEN, actor="ana@example.com", origin=pb.AUDIT_ORIGIN_UI, what="account.update",
    object_kind="account", object_id="0190aaaa-0000-7000-8000-000000000001", entity_code="FR01",
    before='{"collector":"<old>"}', after='{"collector":"new","groups":["A"]}',
)  # fmt: skip
BLOCK = pb.AuditBlock(number=3, row_count=50_000, block_hash="ab" * 32, previous_hash="cd" * 32, sealed_at=WHEN)


@pytest.fixture
def told(monkeypatch):
    """What the ledger answers, by RPC, and what it was asked."""
    told = SimpleNamespace(
        asked=[],
        ListAuditEntries=pb.ListAuditEntriesResponse(entries=[ENTRY], total_size=1),
        ListAuditBlocks=pb.ListAuditBlocksResponse(blocks=[BLOCK], total_size=1),
        VerifyAudit=pb.VerifyAuditResponse(verified_blocks=3, verified_rows=120, last_block=3, next_block=4),
        CheckConsistency=pb.CheckConsistencyResponse(
            answers=[
                pb.ConsistencyAnswer(question="a", meaning="All is one.", state=pb.CONSISTENCY_STATE_WELL),
                pb.ConsistencyAnswer(
                    question="b",
                    meaning="None is two.",
                    state=pb.CONSISTENCY_STATE_WRONG,
                    wrong_rows=2,
                    examples=["x=1"],
                ),
            ]
        ),
    )

    class Stub:
        def __getattr__(self, name):
            def call(request, timeout):
                told.asked.append(request)
                return getattr(told, name)

            return call

    monkeypatch.setattr(audit, "_stub", Stub)
    return told


@pytest.fixture
def signed(make_app, group, platform, add_user):
    """signed(role) -> a browser of somebody with that role."""

    def sign(role, **options):
        client = make_app().test_client()
        sign_in(client, add_user(role, **options))
        return client

    return sign


def test_the_trail_shows_who_changed_what(signed, told):
    page = signed("financial_controller").get('/audit?actor=an"a&object_id=0190')
    assert page.status_code == 200
    assert "ana@example.com" in page.text
    assert "Account changed" in page.text
    assert "<s>&lt;old&gt;</s> new" in page.text
    assert told.asked[-1].filter == 'object_id="0190" AND actor:"an\\"a"'


def test_the_trail_speaks_french(signed, told):
    page = signed("administrator", language="fr").get("/audit")
    assert "Piste d&#39;audit" in page.text or "Piste d'audit" in page.text
    assert "Compte modifié" in page.text


def test_blocks_are_verified_on_demand(signed, told):
    client = signed("administrator")
    assert "abababababababab" in client.get("/audit/blocks").text
    assert len(told.asked) == 1
    page = client.get("/audit/blocks?verify=2").text
    assert "are as they were sealed" in page
    assert "verify=4" in page
    finding = pb.AuditFinding(block=3, table="items", key="item_id=1", what="MISSING")
    told.VerifyAudit = pb.VerifyAuditResponse(finding=finding)
    page = client.get("/audit/blocks?verify=2").text
    assert "Block 3 does not agree with the books." in page
    assert "The row of items with item_id=1 is missing." in page


def test_the_questions_and_their_answers_are_shown(signed, told):
    page = signed("administrator").get("/audit/consistency").text
    assert "All is one." in page
    assert "x=1" in page
    assert "wrong" in page


@pytest.mark.parametrize("role", ["collector", "executive", "credit_manager", "guest"])
def test_others_do_not_see_it(signed, told, role):
    client = signed(role)
    for path in ("/audit", "/audit/blocks", "/audit/consistency"):
        assert client.get(path).status_code == 403
    assert told.asked == []
