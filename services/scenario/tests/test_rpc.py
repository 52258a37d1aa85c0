"""The service behind its interceptors, on a real PostgreSQL, with neighbours over real gRPC."""

from datetime import date, timedelta
from types import SimpleNamespace

import pytest

from kit import jobs
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.service import Runtime
from kit.testing import caller_of, deliver, emitted, refused
from quittance.common.v1.money_pb2 import Money
from quittance.notification.v1 import notification_events_pb2, notification_service_pb2
from quittance.scenario.v1 import action_pb2
from quittance.scenario.v1 import scenario_service_pb2 as pb
from quittance.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub
from scenario import sending, store
from scenario.__main__ import SERVICE
from scenario.consumers import HANDLERS
from scenario.tasks import JOBS

pytestmark = pytest.mark.usefixtures("acting")

ACCOUNT = "0197f000-0000-7000-8000-000000000001"
ITEM = "0197f000-0000-7000-8000-00000000a001"
OTHER = "0197f000-0000-7000-8000-00000000a002"
TODAY = date(2026, 3, 5)


@pytest.fixture
def service(database, grpc_in_process, neighbours) -> ScenarioServiceStub:
    return ScenarioServiceStub(grpc_in_process(SERVICE, database))


@pytest.fixture
def owed(database, said, service):
    """A reminder that is owed today about one item."""
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}]))
    (action,) = service.ListActions(pb.ListActionsRequest()).actions
    return action


def run_jobs(database, tenant) -> list[str]:
    from sqlalchemy import text

    with database.system_transaction() as session:
        session.execute(text("UPDATE job SET run_after = now() - interval '1 second' WHERE state = 'QUEUED'"))
        ids = [str(i) for i in session.scalars(text("SELECT id FROM job WHERE state = 'QUEUED'"))]
    return [jobs.run(Runtime(database.settings, database), JOBS, tenant, job_id) for job_id in ids]


def state_of(database, action_id: str) -> str:
    with database.transaction() as session:
        return store.action(session, action_id)["state"]


# ---- the agenda ------------------------------------------------------------------------------------------------------


def test_the_agenda_filters_orders_and_pages(database, said, service):
    accounts = [
        (new_id(), 1, [{"item_id": new_id(), "open_minor": 10_00 * (n + 1)}], [], {"number": f"C-{n}", "name": f"N{n}"})
        for n in range(5)
    ]
    planned = (new_id(), 1, [{"item_id": new_id(), "due_on": TODAY + timedelta(days=30)}], [], {"number": "C-9"})
    deliver(database, HANDLERS, said.many([*accounts, planned]))
    first = service.ListActions(pb.ListActionsRequest(page_size=2))
    assert [row.account_number for row in first.actions] == ["C-4", "C-3"]
    assert first.total_size == 5
    rest = service.ListActions(pb.ListActionsRequest(page_size=4, page_token=first.next_page_token))
    assert [row.account_number for row in rest.actions] == ["C-2", "C-1", "C-0"]
    assert rest.next_page_token == ""
    assert service.ListActions(pb.ListActionsRequest(filter="state=PLANNED")).total_size == 1
    assert service.ListActions(pb.ListActionsRequest(state="ACTION_STATE_PLANNED")).total_size == 1
    found = service.ListActions(pb.ListActionsRequest(filter=f'account_id="{accounts[0][0]}" AND state=DUE'))
    assert [row.account_number for row in found.actions] == ["C-0"]
    assert service.ListActions(pb.ListActionsRequest(filter='accountNumber="C-3"')).total_size == 1
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        service.ListActions(pb.ListActionsRequest(filter="colour=red"))


def test_an_action_of_another_entity_or_tenant_is_unknown(database, grpc_in_process, owed, tenant):
    elsewhere = ScenarioServiceStub(grpc_in_process(SERVICE, database, caller_of(tenant, "*", entities={"US01"})))
    stranger = ScenarioServiceStub(grpc_in_process(SERVICE, database, caller_of(new_id())))
    for stub in (elsewhere, stranger):
        assert stub.ListActions(pb.ListActionsRequest()).total_size == 0
        with refused(Code.NOT_FOUND, "ACTION_UNKNOWN"):
            stub.GetAction(pb.GetActionRequest(action_id=owed.action_id))
        with refused(Code.NOT_FOUND, "ACTION_UNKNOWN"):
            stub.SendAction(pb.SendActionRequest(action_id=owed.action_id))
        with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
            stub.GetAccountProgress(pb.GetAccountProgressRequest(account_id=ACCOUNT))


def test_rights_are_checked(database, grpc_in_process, owed, tenant):
    reader = ScenarioServiceStub(grpc_in_process(SERVICE, database, caller_of(tenant, "actions:read")))
    assert reader.GetAction(pb.GetActionRequest(action_id=owed.action_id)).action == owed
    with pytest.raises(Refused) as refusal:
        reader.SendAction(pb.SendActionRequest(action_id=owed.action_id))
    assert refusal.value.code is Code.PERMISSION_DENIED


def test_a_read_on_a_new_day_decides_anew(service, owed, business_date):
    business_date(TODAY + timedelta(days=7))
    (action,) = service.ListActions(pb.ListActionsRequest(account_id=ACCOUNT)).actions
    assert (action.step.key, action.leader_days_late) == ("call", 10)


def test_progress_shows_done_current_and_next_steps_and_why(database, service, owed):
    service.SkipAction(pb.SkipActionRequest(action_id=owed.action_id, reason="spoke yesterday"))
    reply = service.GetAccountProgress(pb.GetAccountProgressRequest(account_id=ACCOUNT))
    states = [action_pb2_name(step.state) for step in reply.steps]
    assert states == ["SKIPPED", "SKIPPED", "NEXT", "LATER", "LATER", "LATER", "LATER"]
    assert (reply.steps[1].on, reply.steps[1].outcome) == (TODAY.isoformat(), "spoke yesterday")
    assert reply.steps[2].on == "2026-03-12"
    assert reply.steps[6].on == ""
    assert reply.current.step.key == "call"
    assert reply.reason.text.endswith("step due at D+10, on 12 Mar")
    assert reply.scenario.name == "Standard"
    assert [money.minor_units for money in reply.collectable_overdue] == [100_00]


def action_pb2_name(state: int) -> str:
    return pb.ProgressState.Name(state).removeprefix("PROGRESS_STATE_")


def test_names_come_in_the_language_of_the_call(service, owed):
    reply = service.GetAction(pb.GetActionRequest(action_id=owed.action_id), metadata=[("accept-language", "fr-FR")])
    assert reply.action.step.name == "Relance 1"


def test_an_action_that_is_no_longer_owed_says_why_in_the_language_of_the_call(service, owed):
    french = [("accept-language", "fr")]
    service.PauseAccount(
        pb.PauseAccountRequest(account_id=ACCOUNT, until_on=(TODAY + timedelta(days=9)).isoformat(), reason="fair")
    )
    request = pb.SendActionRequest(action_id=owed.action_id)
    with pytest.raises(Refused) as english:
        service.SendAction(request)
    with pytest.raises(Refused) as said:
        service.SendAction(request, metadata=french)
    assert english.value.message.startswith("the action is not owed: Paused until")
    assert said.value.message.startswith("la relance n'a plus lieu d'être : En pause jusqu'au")
    action = service.GetAction(pb.GetActionRequest(action_id=owed.action_id), metadata=french).action
    assert action.outcome.startswith("En pause jusqu'au")


# ---- sending ---------------------------------------------------------------------------------------------------------


def test_an_action_is_sent_once_with_what_was_edited(database, service, owed, neighbours):
    reply = service.SendAction(pb.SendActionRequest(action_id=owed.action_id, subject="Hello #customer_name"))
    assert reply.action.state == action_pb2.ACTION_STATE_SENDING
    (sent,) = neighbours.notification.sent
    assert reply.message_id == neighbours.notification.message_ids[f"action:{owed.action_id}"]
    assert (sent.purpose_key, sent.subject) == (f"action:{owed.action_id}", "Hello #customer_name")
    assert (sent.template_key, sent.contact_role, list(sent.item_ids)) == ("reminder-1", "ACCOUNTS_PAYABLE", [ITEM])
    with refused(Code.FAILED_PRECONDITION, "ACTION_ALREADY_SENT"):
        service.SendAction(pb.SendActionRequest(action_id=owed.action_id))
    with refused(Code.FAILED_PRECONDITION, "ACTION_ENDED"):
        service.SkipAction(pb.SkipActionRequest(action_id=owed.action_id, reason="late"))
    assert len(neighbours.notification.sent) == 1


def test_only_ticked_items_leave_and_the_others_stay_owed(database, said, service, neighbours):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}, {"item_id": OTHER}]))
    (action,) = service.ListActions(pb.ListActionsRequest()).actions
    assert set(action.item_ids) == {ITEM, OTHER}
    foreign = new_id()
    with refused(Code.FAILED_PRECONDITION, "ITEM_NOT_COLLECTABLE") as found:
        service.SendAction(pb.SendActionRequest(action_id=action.action_id, item_ids=[ITEM, foreign]))
    assert found.error.metadata["items"] == foreign
    assert neighbours.notification.sent == []
    assert state_of(database, action.action_id) == "DUE"
    reply = service.SendAction(pb.SendActionRequest(action_id=action.action_id, item_ids=[OTHER]))
    (sent,) = neighbours.notification.sent
    assert (list(sent.item_ids), sent.exact_items) == ([OTHER], True)
    # Only what left has had the step.
    assert list(reply.action.item_ids) == [OTHER]


def test_an_item_held_in_between_cannot_be_ticked(database, said, service, neighbours):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}, {"item_id": OTHER}]))
    (action,) = service.ListActions(pb.ListActionsRequest()).actions
    held = [{"item_id": OTHER, "kind": "RESPONSE"}]
    deliver(database, HANDLERS, said(ACCOUNT, 2, [{"item_id": ITEM}, {"item_id": OTHER}], held))
    with refused(Code.FAILED_PRECONDITION, "ITEM_NOT_COLLECTABLE"):
        service.SendAction(pb.SendActionRequest(action_id=action.action_id, item_ids=[ITEM, OTHER]))
    assert neighbours.notification.sent == []
    # Without ticks all that is collectable leaves.
    service.SendAction(pb.SendActionRequest(action_id=action.action_id))
    (sent,) = neighbours.notification.sent
    assert (list(sent.item_ids), sent.exact_items) == ([ITEM], False)


def test_items_the_sender_refuses_are_owed_again(database, said, service, neighbours):
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}, {"item_id": OTHER}]))
    (action,) = service.ListActions(pb.ListActionsRequest()).actions
    neighbours.notification.refusal = Refused(Code.FAILED_PRECONDITION, "ITEM_NOT_COLLECTABLE", "paid: F-1")
    with refused(Code.FAILED_PRECONDITION, "ITEM_NOT_COLLECTABLE"):
        service.SendAction(pb.SendActionRequest(action_id=action.action_id, item_ids=[OTHER]))
    again = service.GetAction(pb.GetActionRequest(action_id=action.action_id)).action
    assert again.state == action_pb2.ACTION_STATE_DUE
    assert set(again.item_ids) == {ITEM, OTHER}


def test_the_same_request_gives_the_first_answer_again(service, owed, neighbours):
    request = pb.SendActionRequest(action_id=owed.action_id, request_id="r1", subject="A")
    first = service.SendAction(request)
    assert service.SendAction(request).message_id == first.message_id
    assert len(neighbours.notification.sent) == 1
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        service.SendAction(pb.SendActionRequest(action_id=owed.action_id, request_id="r1", subject="B"))


def test_a_send_cut_short_is_finished_by_its_job(database, service, owed, neighbours, tenant):
    neighbours.notification.refusal = Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "slow")
    with pytest.raises(Refused):
        service.SendAction(pb.SendActionRequest(action_id=owed.action_id, subject="Edited"))
    assert state_of(database, owed.action_id) == "SENDING"
    assert run_jobs(database, tenant) == ["QUEUED"]
    neighbours.notification.refusal = None
    assert run_jobs(database, tenant) == ["DONE"]
    (sent,) = neighbours.notification.sent
    assert sent.subject == "Edited"
    with database.transaction() as session:
        row = store.action(session, owed.action_id)
    assert (row["state"], row["message_id"]) == ("SENDING", next(iter(neighbours.notification.message_ids.values())))


def test_nothing_collectable_ends_the_action(database, service, owed, neighbours):
    neighbours.notification.refusal = Refused(Code.FAILED_PRECONDITION, "NOTHING_COLLECTABLE", "Paid in between.")
    with refused(Code.FAILED_PRECONDITION, "ACTION_NOT_OWED"):
        service.SendAction(pb.SendActionRequest(action_id=owed.action_id))
    with database.transaction() as session:
        row = store.action(session, owed.action_id)
    assert (row["state"], row["outcome"]) == ("CANCELLED", "Paid in between.")


def test_a_missing_contact_leaves_the_action_owed(database, service, owed, neighbours):
    neighbours.notification.refusal = Refused(Code.FAILED_PRECONDITION, "CONTACT_MISSING", "nobody to write to")
    with refused(Code.FAILED_PRECONDITION, "CONTACT_MISSING"):
        service.SendAction(pb.SendActionRequest(action_id=owed.action_id))
    assert state_of(database, owed.action_id) == "DUE"
    neighbours.notification.refusal = None
    assert service.SendAction(pb.SendActionRequest(action_id=owed.action_id)).message_id


def test_what_was_paid_or_answered_in_between_is_not_sent(database, said, service, owed, neighbours):
    deliver(database, HANDLERS, said(ACCOUNT, 2, [{"item_id": ITEM}], [{"item_id": ITEM, "kind": "RESPONSE"}]))
    with refused(Code.FAILED_PRECONDITION, "ACTION_NOT_OWED"):
        service.SendAction(pb.SendActionRequest(action_id=owed.action_id))
    assert neighbours.notification.sent == []


def test_a_hold_that_starts_with_the_day_stops_the_send(database, said, service, neighbours, business_date):
    hold = {"item_id": ITEM, "from_on": TODAY + timedelta(days=1)}
    deliver(database, HANDLERS, said(ACCOUNT, 1, [{"item_id": ITEM}], [hold]))
    (action,) = service.ListActions(pb.ListActionsRequest()).actions
    business_date(TODAY + timedelta(days=1))
    with refused(Code.FAILED_PRECONDITION, "ACTION_NOT_OWED"):
        service.SendAction(pb.SendActionRequest(action_id=action.action_id))
    assert state_of(database, action.action_id) == "CANCELLED"


def test_calls_are_no_messages_and_messages_are_not_completed_by_hand(service, owed, business_date):
    with refused(Code.FAILED_PRECONDITION, "ACTION_IS_A_MESSAGE"):
        service.CompleteAction(pb.CompleteActionRequest(action_id=owed.action_id, outcome="reached"))
    business_date(TODAY + timedelta(days=7))
    (call,) = service.ListActions(pb.ListActionsRequest(account_id=ACCOUNT)).actions
    with refused(Code.FAILED_PRECONDITION, "ACTION_NOT_A_MESSAGE"):
        service.SendAction(pb.SendActionRequest(action_id=call.action_id))
    reply = service.CompleteAction(
        pb.CompleteActionRequest(action_id=call.action_id, outcome="reached", comment="pays on Friday")
    )
    assert (reply.action.outcome, reply.action.done_on) == ("reached: pays on Friday", "2026-03-12")
    with refused(Code.FAILED_PRECONDITION, "ACTION_ENDED"):
        service.CompleteAction(pb.CompleteActionRequest(action_id=call.action_id, outcome="again"))


# ---- a person's word -------------------------------------------------------------------------------------------------


def test_an_action_is_moved_to_another_day_and_stays_there(database, said, service, owed):
    with refused(Code.INVALID_ARGUMENT, "DATE_PAST"):
        service.RescheduleAction(pb.RescheduleActionRequest(action_id=owed.action_id, due_on="2026-03-04", reason="x"))
    moved = service.RescheduleAction(
        pb.RescheduleActionRequest(action_id=owed.action_id, due_on="2026-03-20", reason="asked to wait")
    ).action
    assert (moved.due_on, moved.state, moved.outcome) == ("2026-03-20", 2, "asked to wait")
    assert moved.reason.code == "MOVED_BY_PERSON"
    deliver(database, HANDLERS, said(ACCOUNT, 2, [{"item_id": ITEM}, {"item_id": OTHER}]))
    assert service.GetAction(pb.GetActionRequest(action_id=owed.action_id)).action.due_on == "2026-03-20"
    with refused(Code.FAILED_PRECONDITION, "ACTION_NOT_OWED"):
        service.SendAction(pb.SendActionRequest(action_id=owed.action_id))


def test_a_bounced_message_gives_way_to_a_new_action_when_moved(database, service, owed):
    message = notification_service_pb2.Message(
        message_id=new_id(), state="MESSAGE_STATE_BOUNCED", account_id=ACCOUNT, action_id=owed.action_id, version=4
    )
    deliver(database, HANDLERS, notification_events_pb2.MessageChanged(message=message), producer="notification")
    moved = service.RescheduleAction(
        pb.RescheduleActionRequest(action_id=owed.action_id, due_on=TODAY.isoformat(), reason="address repaired")
    ).action
    assert moved.action_id != owed.action_id
    assert moved.step.key == "reminder-1"
    assert service.SendAction(pb.SendActionRequest(action_id=moved.action_id)).message_id


def test_a_paused_account_has_no_action_and_says_why(service, owed):
    with refused(Code.INVALID_ARGUMENT, "DATE_PAST"):
        service.PauseAccount(pb.PauseAccountRequest(account_id=ACCOUNT, until_on="2026-03-04", reason="x"))
    service.PauseAccount(pb.PauseAccountRequest(account_id=ACCOUNT, until_on="2026-03-10", reason="merger"))
    reply = service.GetAccountProgress(pb.GetAccountProgressRequest(account_id=ACCOUNT))
    assert not reply.HasField("current")
    assert (reply.paused_until, reply.pause_reason) == ("2026-03-10", "merger")
    assert reply.reason.text == "Paused until 10 Mar (merger)"
    service.ResumeAccount(pb.ResumeAccountRequest(account_id=ACCOUNT))
    assert service.ListActions(pb.ListActionsRequest()).total_size == 1


def test_another_scenario_replaces_the_owed_action(service, owed):
    scenarios = {row.name: row for row in service.ListScenarios(pb.ListScenariosRequest()).scenarios}
    assert len(scenarios) == 6
    export = scenarios["Export"]
    reply = service.AssignScenario(pb.AssignScenarioRequest(account_id=ACCOUNT, scenario_id=export.scenario_id))
    assert (reply.action.scenario_id, reply.action.due_on) == (export.scenario_id, "2026-03-09")
    assert service.GetScenario(pb.GetScenarioRequest(scenario_id=export.scenario_id)).scenario == export
    assert service.ListScenarios(pb.ListScenariosRequest(filter='name="Export"')).total_size == 1
    with refused(Code.NOT_FOUND, "SCENARIO_UNKNOWN"):
        service.AssignScenario(pb.AssignScenarioRequest(account_id=ACCOUNT, scenario_id=new_id()))
    with refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN"):
        service.AssignScenario(pb.AssignScenarioRequest(account_id=new_id(), scenario_id=export.scenario_id))


# ---- promises --------------------------------------------------------------------------------------------------------


def promise_request(**values) -> pb.CreatePromiseRequest:
    values = {
        "request_id": "p1", "account_id": ACCOUNT, "promised_on": "2026-03-12",
        "lines": [pb.PromiseOrder(item_id=ITEM)], "source": "PORTAL", "source_id": "response-1", **values,
    }  # fmt: skip
    return pb.CreatePromiseRequest(**values)


def promises(service) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(id=row.promise_id, state=action_pb2.PromiseState.Name(row.state).removeprefix("PROMISE_STATE_"))
        for row in service.ListPromises(pb.ListPromisesRequest(order_by="created_at")).promises
    ]


def test_a_promise_holds_its_items_and_ends_the_answers_holds(service, owed, neighbours):
    first = service.CreatePromise(promise_request()).promise
    assert service.CreatePromise(promise_request()).promise == first
    (request,) = neighbours.ledger.placed
    assert (request.source, request.source_id) == ("scenario", first.promise_id)
    assert request.holds[0].until_on == "2026-03-15"
    assert [(end.source, end.source_id) for end in request.ends] == [("portal", "response-1")]
    assert (first.total[0].currency, first.total[0].minor_units) == ("EUR", 100_00)
    with refused(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        service.CreatePromise(promise_request(promised_on="2026-03-13"))


def test_what_the_ledger_refuses_leaves_no_promise(service, owed, neighbours):
    neighbours.ledger.refusal = Refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN", "too much")
    order = pb.PromiseOrder(item_id=ITEM, amount=Money(currency="EUR", minor_units=999_00))
    with refused(Code.FAILED_PRECONDITION, "HOLD_EXCEEDS_OPEN"):
        service.CreatePromise(promise_request(lines=[order]))
    assert promises(service) == []
    with refused(Code.FAILED_PRECONDITION, "ITEM_CLEARED"):
        service.CreatePromise(promise_request(lines=[pb.PromiseOrder(item_id=OTHER)]))
    with refused(Code.INVALID_ARGUMENT, "DATE_PAST"):
        service.CreatePromise(promise_request(promised_on="2026-03-04"))


def test_the_cap_of_thirty_days_needs_a_right(database, grpc_in_process, owed, tenant, neighbours):
    writer = ScenarioServiceStub(grpc_in_process(SERVICE, database, caller_of(tenant, "promises:write")))
    # promises:write alone does not hold promises:exceed.
    with refused(Code.INVALID_ARGUMENT, "DATE_TOO_FAR"):
        writer.CreatePromise(promise_request(promised_on="2026-04-05"))


def test_a_promise_cut_short_is_finished_by_its_job(database, service, owed, neighbours, tenant):
    neighbours.ledger.refusal = Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "slow")
    with pytest.raises(Refused):
        service.CreatePromise(promise_request())
    assert promises(service) == []
    neighbours.ledger.refusal = None
    assert run_jobs(database, tenant) == ["DONE"]
    assert [row.state for row in promises(service)] == ["OPEN"]
    assert {request.request_id for request in neighbours.ledger.placed} == {neighbours.ledger.placed[0].request_id}


def test_a_newer_promise_takes_the_item_over(database, service, owed, neighbours):
    old = service.CreatePromise(promise_request()).promise
    service.CreatePromise(promise_request(request_id="p2", promised_on="2026-03-20", source_id=""))
    assert [row.state for row in promises(service)] == ["CANCELLED", "OPEN"]
    (end,) = neighbours.ledger.placed[1].ends
    assert (end.source, end.source_id, list(end.item_ids)) == ("scenario", old.promise_id, [ITEM])


def test_a_cancelled_promise_gives_its_holds_back(database, service, owed, neighbours, tenant):
    made = service.CreatePromise(promise_request()).promise
    ended = service.CancelPromise(pb.CancelPromiseRequest(promise_id=made.promise_id, reason="mistake")).promise
    assert ended.state == action_pb2.PROMISE_STATE_CANCELLED
    assert neighbours.ledger.released[0].sources[0].source_id == made.promise_id
    assert set(run_jobs(database, tenant)) == {"DONE"}
    assert len({request.request_id for request in neighbours.ledger.released}) == 1
    with refused(Code.NOT_FOUND, "PROMISE_UNKNOWN"):
        service.CancelPromise(pb.CancelPromiseRequest(promise_id=new_id(), reason="x"))


def test_a_kept_promise_is_seen_with_the_payment_and_a_reversal_opens_it_again(database, said, service, owed):
    service.CreatePromise(promise_request())
    deliver(database, HANDLERS, said(ACCOUNT, 2, []))
    assert [row.state for row in promises(service)] == ["KEPT"]
    deliver(database, HANDLERS, said(ACCOUNT, 3, [{"item_id": ITEM}]))
    assert [row.state for row in promises(service)] == ["OPEN"]


def test_a_broken_promise_brings_the_account_back_with_what_came_in(database, said, service, owed, business_date):
    made = service.CreatePromise(promise_request()).promise
    hold = {
        "item_id": ITEM, "kind": "PROMISE", "amount_minor": 100_00, "until_on": date(2026, 3, 15),
        "source": "scenario", "source_id": made.promise_id,
    }  # fmt: skip
    deliver(database, HANDLERS, said(ACCOUNT, 2, [{"item_id": ITEM}], [hold]))
    assert service.ListActions(pb.ListActionsRequest(account_id=ACCOUNT)).total_size == 0
    deliver(database, HANDLERS, said(ACCOUNT, 3, [{"item_id": ITEM, "open_minor": 40_00}], [hold]))
    business_date(date(2026, 3, 15))
    assert service.ListActions(pb.ListActionsRequest(account_id=ACCOUNT)).total_size == 0
    business_date(date(2026, 3, 16))
    (action,) = service.ListActions(pb.ListActionsRequest(account_id=ACCOUNT)).actions
    assert [row.state for row in promises(service)] == ["PARTLY_KEPT"]
    assert action.reason.code == "PROMISE_BROKEN"
    assert action.reason.text.startswith("Promised 100.00 EUR for 12 Mar; 60.00 EUR came in")
    assert action.reason.text_fr.startswith("Promis 100,00")
    assert emitted(database)[-1].actions[0].action_id == action.action_id


def test_recovery_of_a_send_that_needs_none_does_nothing(database, service, owed, neighbours):
    sending.recover_send(database, database.settings, owed.action_id, TODAY)
    assert neighbours.notification.sent == []
