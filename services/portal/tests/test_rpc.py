"""PortalService behind its real interceptors: links, decisions, and what a killed process leaves."""

from datetime import date

import pytest
from sqlalchemy import text

from kit.context import acting_as, service_caller
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.money import Money, to_proto
from kit.testing import caller_of, emitted, refused
from portal import store
from portal.domain import Form, read_answer
from portal.neighbours import Neighbours
from quittance.portal.v1 import portal_service_pb2 as pb

TODAY = date(2026, 9, 15)


def create(stub, account_id, **fields):
    fields.setdefault("request_id", new_id())
    return stub.CreateLink(pb.CreateLinkRequest(account_id=account_id, **fields), timeout=10)


@pytest.fixture
def answer(stub, counter, account, database, items):
    """answer(kind, ...) -> response id: what the web part does when a form is sent."""

    def give(kind="PROMISE", chosen=None, **fields):
        link_id = create(stub, account).link.link_id
        with database.transaction() as session:
            link = store.link(session, link_id)
        facts = counter.neighbours.look(account)
        defaults = {
            "PROMISE": {"on": "2026-09-22"},
            "ALREADY_PAID": {"on": "2026-09-09"},
            "DISPUTE": {"reason": "PRICE", "comment": "wrong"},
        }
        form = Form(kind, tuple(i.item_id for i in chosen or items[:1]), **{**defaults[kind], **fields})
        return counter.answer(link, new_id(), facts, read_answer(form, facts.items, TODAY)).response_id

    return give


def accept(stub, response_id, **fields):
    return stub.AcceptResponse(pb.AcceptResponseRequest(response_id=response_id, **fields), timeout=10)


def get(stub, response_id):
    return stub.GetResponse(pb.GetResponseRequest(response_id=response_id), timeout=10).response


# ---- links -----------------------------------------------------------------------------------------------------------
def test_a_repeated_request_gives_the_same_link_until_it_is_opened(stub, account, counter, database):
    first = create(stub, account, request_id="message-1")
    again = create(stub, account, request_id="message-1")
    assert again == first
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        create(stub, account, request_id="message-1", language="fr")
    with database.transaction() as session:
        row = store.link(session, first.link.link_id)
    assert counter.open_link(bytes(row.token_sha256)) is not None
    spent = create(stub, account, request_id="message-1")
    assert (spent.link.link_id, spent.url) == (first.link.link_id, "")
    assert stub.ListLinks(pb.ListLinksRequest(), timeout=10).total_size == 1


def test_links_last_thirty_days_unless_asked_otherwise(stub, account):
    for days, wanted in ((0, 30), (7, 7)):
        link = create(stub, account, valid_days=days).link
        assert (link.expires_at.ToDatetime() - link.created_at.ToDatetime()).days == wanted


def test_links_of_unknown_accounts_and_other_entities_are_refused(stub, open_stub, account, tenant):
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        create(stub, new_id())
    elsewhere = open_stub(caller_of(tenant, entities={"DE01"}))
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        create(elsewhere, account)
    link = create(stub, account).link
    with refused(Code.NOT_FOUND, "LINK_UNKNOWN"):
        elsewhere.RevokeLink(pb.RevokeLinkRequest(link_id=link.link_id), timeout=10)
    assert elsewhere.ListLinks(pb.ListLinksRequest(), timeout=10).total_size == 0


def test_another_tenant_sees_nothing(stub, open_stub, answer):
    response_id = answer()
    stranger = open_stub(caller_of(new_id()))
    with refused(Code.NOT_FOUND, "RESPONSE_UNKNOWN"):
        get(stranger, response_id)
    with refused(Code.NOT_FOUND, "RESPONSE_UNKNOWN"):
        accept(stranger, response_id)
    assert stranger.ListResponses(pb.ListResponsesRequest(), timeout=10).total_size == 0
    assert stranger.ListLinks(pb.ListLinksRequest(), timeout=10).total_size == 0


def test_unopened_tokens_are_wiped_after_a_week(stub, account, counter, database):
    create(stub, account, request_id="old")
    with database.transaction() as session:
        session.execute(text("UPDATE link SET created_at = now() - interval '8 days'"))
    counter.wipe_tokens()
    assert create(stub, account, request_id="old").url == ""


# ---- decisions -------------------------------------------------------------------------------------------------------
def test_an_accepted_promise_becomes_one(stub, answer, neighbours, database, items, account):
    response_id = answer()
    accepted = accept(stub, response_id, comment="Fine")
    assert accepted.response.state == pb.RESPONSE_STATE_ACCEPTED
    assert accepted.response.decision_comment == "Fine"
    assert accepted.response.decided_by == "user:test"
    [request] = neighbours.scenario.requests.values()
    assert (request.request_id, request.source, request.source_id) == (f"response:{response_id}", "PORTAL", response_id)
    assert (request.account_id, request.promised_on) == (account, "2026-09-22")
    assert [(line.item_id, line.amount.minor_units) for line in request.lines] == [(items[0].item_id, 4_218_000)]
    assert accepted.promise_id == neighbours.scenario.ids[request.request_id] == accepted.response.promise_id
    assert [e.response.state for e in emitted(database)] == [pb.RESPONSE_STATE_RECEIVED, pb.RESPONSE_STATE_ACCEPTED]
    versions = [e.response.version for e in emitted(database)]
    assert versions == sorted(set(versions))
    with refused(Code.FAILED_PRECONDITION, "RESPONSE_ENDED"):
        accept(stub, response_id)


def test_an_amended_promise_says_so(stub, answer, neighbours, items):
    response_id = answer()
    line = pb.ResponseLineAmendment(item_id=items[0].item_id, amount=to_proto(Money("EUR", 2_000_000)))
    accepted = accept(stub, response_id, promised_on="2026-09-30", lines=[line])
    assert accepted.response.state == pb.RESPONSE_STATE_AMENDED
    assert (accepted.response.promised_on, accepted.response.total[0].minor_units) == ("2026-09-30", 2_000_000)
    [request] = neighbours.scenario.requests.values()
    assert (request.promised_on, request.lines[0].amount.minor_units) == ("2026-09-30", 2_000_000)


def test_a_day_that_is_past_is_refused_and_can_be_amended(stub, answer, neighbours, monkeypatch):
    response_id = answer()
    monkeypatch.setenv("QUITTANCE_TODAY", "2026-09-25")
    with refused(Code.INVALID_ARGUMENT, "DATE_PAST"):
        accept(stub, response_id)
    assert neighbours.scenario.requests == {}
    assert accept(stub, response_id, promised_on="2026-09-28").response.state == pb.RESPONSE_STATE_AMENDED


def test_an_accepted_dispute_becomes_a_case(stub, answer, neighbours):
    response_id = answer("DISPUTE")
    accepted = accept(stub, response_id, reason_code="QUANTITY", owner="logistics@brindle.example")
    [request] = neighbours.dispute.requests.values()
    assert (request.reason_code, request.owner, request.comment, request.source, request.source_id) == (
        "QUANTITY",
        "logistics@brindle.example",
        "wrong",
        "PORTAL",
        response_id,
    )
    assert accepted.case_id == neighbours.dispute.ids[f"response:{response_id}"]
    assert accepted.response.state == pb.RESPONSE_STATE_AMENDED


def test_already_paid_becomes_a_hold_until_cash_should_be_seen(stub, answer, ledger):
    response_id = answer("ALREADY_PAID", on="2026-09-14")
    accepted = accept(stub, response_id)
    # Monday 14 September and five working days: Monday 21.
    assert accepted.response.check_on == "2026-09-21"
    assert ledger.kinds() == ["PAYMENT_ANNOUNCED"]
    assert {hold.until_on for hold in ledger.holds.values()} == {"2026-09-21"}


def test_cash_announced_long_ago_is_looked_for_tomorrow(stub, answer):
    assert accept(stub, answer("ALREADY_PAID", on="2026-08-03")).response.check_on == "2026-09-16"


def test_a_rejection_makes_the_items_collectable_again(stub, answer, ledger):
    response_id = answer()
    assert ledger.kinds() == ["RESPONSE"]
    rejected = stub.RejectResponse(
        pb.RejectResponseRequest(response_id=response_id, comment="Too late"), timeout=10
    ).response
    assert (rejected.state, rejected.decision_comment) == (pb.RESPONSE_STATE_REJECTED, "Too late")
    assert ledger.holds == {}
    with refused(Code.FAILED_PRECONDITION, "RESPONSE_ENDED"):
        accept(stub, response_id)


def test_what_a_neighbour_refuses_leaves_the_answer_undecided(stub, answer, neighbours):
    response_id = answer("DISPUTE")
    neighbours.dispute.refuse = Refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN", "paid in part")
    with refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN"):
        accept(stub, response_id)
    assert get(stub, response_id).state == pb.RESPONSE_STATE_RECEIVED
    assert get(stub, response_id).decided_by == ""
    neighbours.dispute.refuse = None
    assert accept(stub, response_id).response.state == pb.RESPONSE_STATE_ACCEPTED


def test_a_neighbour_that_is_away_gets_it_from_the_job(stub, answer, neighbours, run_due, monkeypatch):
    response_id = answer()
    neighbours.scenario.refuse = Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "away")
    with refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"):
        accept(stub, response_id, comment="Fine")
    # Meanwhile nobody can decide otherwise.
    with refused(Code.FAILED_PRECONDITION, "RESPONSE_ENDED"):
        stub.RejectResponse(pb.RejectResponseRequest(response_id=response_id), timeout=10)
    neighbours.scenario.refuse = None
    run_due()
    response = get(stub, response_id)
    assert (response.state, response.decision_comment) == (pb.RESPONSE_STATE_ACCEPTED, "Fine")
    assert response.promise_id == neighbours.scenario.ids[f"response:{response_id}"]


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize(
    ("kind", "method"), [("PROMISE", "create_promise"), ("DISPUTE", "open_case"), ("ALREADY_PAID", "announce_payment")]
)
def test_killed_after_the_neighbour_did_its_part_nothing_happens_twice(
    stub, counter, answer, neighbours, run_due, monkeypatch, tenant, kind, method
):
    from portal.usecases import Decision

    response_id = answer(kind)
    inner = getattr(Neighbours, method)

    def die_afterwards(self, *arguments):
        inner(self, *arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Neighbours, method, die_afterwards)
        with acting_as(caller_of(tenant)), pytest.raises(Killed):
            counter.decide(response_id, Decision(accept=True))
    assert get(stub, response_id).state == pb.RESPONSE_STATE_RECEIVED
    # The next day the job takes over: it must ask for the same thing as yesterday.
    monkeypatch.setenv("QUITTANCE_TODAY", "2026-09-23")
    run_due()
    response = get(stub, response_id)
    assert response.state == pb.RESPONSE_STATE_ACCEPTED
    assert (
        len(neighbours.scenario.ids)
        + len(neighbours.dispute.ids)
        + len([r for r in neighbours.ledger.placed if r.ends])
        == 1
    )


def test_nobody_decided_in_time(stub, answer, counter, monkeypatch, tenant):
    response_id = answer()
    with acting_as(service_caller(tenant, "portal")):
        monkeypatch.setenv("QUITTANCE_TODAY", "2026-09-18")
        assert counter.expire() == 0
        monkeypatch.setenv("QUITTANCE_TODAY", "2026-09-19")
        assert counter.expire() == 1
        assert counter.expire() == 0
    assert get(stub, response_id).state == pb.RESPONSE_STATE_EXPIRED
    with refused(Code.FAILED_PRECONDITION, "RESPONSE_ENDED"):
        accept(stub, response_id)


def test_lists_show_what_waits_unless_asked_otherwise(stub, answer, account, items):
    first, second = answer(chosen=items[:1]), answer("DISPUTE", chosen=items[1:2])
    accept(stub, first)

    def ids(**fields):
        return [r.response_id for r in stub.ListResponses(pb.ListResponsesRequest(**fields), timeout=10).responses]

    assert ids() == [second]
    assert ids(state=pb.RESPONSE_STATE_ACCEPTED) == [first]
    assert ids(filter="state=ACCEPTED") == [first]
    assert ids(filter="kind=DISPUTE", account_id=account) == [second]
    assert ids(account_id=new_id()) == []


def test_permissions_are_asked_for(open_stub, answer, tenant):
    response_id = answer()
    reader = open_stub(caller_of(tenant, "responses:read"))
    assert get(reader, response_id).response_id == response_id
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
        accept(reader, response_id)
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
        create(reader, new_id())
