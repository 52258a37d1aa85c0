"""The scenario service's RPCs: translate, and nothing else."""

from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from kit import bus, clock, grpc_client, listing
from kit.context import language
from kit.db import Database
from kit.errors import Code, Refused
from quittance.scenario.v1 import action_pb2
from quittance.scenario.v1 import scenario_service_pb2 as pb
from quittance.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceServicer
from scenario import progress, sending, store, translate, usecases
from scenario.config import Settings
from scenario.domain.model import Scenario


class ScenarioRpc(ScenarioServiceServicer):
    """Says whose turn it is today and why."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._policy = usecases.policy_of(settings)

    # ---- actions -----------------------------------------------------------------------------------------------------

    def ListActions(self, request: pb.ListActionsRequest, context: Any) -> pb.ListActionsResponse:
        today = self._see_newest("notification")
        state = "" if not request.state else action_pb2.ActionState.Name(request.state).removeprefix("ACTION_STATE_")
        limit, offset = listing.page_size(request.page_size), listing.offset_of(request.page_token)
        with self._database.transaction() as session:
            if request.account_id:
                self._decide_for_today(session, request.account_id, today)
            rows, total = store.list_actions(
                session, request.filter, request.order_by, limit, offset, request.account_id, state
            )
        return pb.ListActionsResponse(
            actions=[translate.action_to_proto(row, today, language()) for row in rows],
            next_page_token=listing.next_offset_token(offset, len(rows), total),
            total_size=total,
        )

    def GetAction(self, request: pb.GetActionRequest, context: Any) -> pb.GetActionResponse:
        today = self._see_newest("notification")
        with self._database.transaction() as session:
            row = store.action(session, request.action_id)
            self._decide_for_today(session, row["account_id"], today)
            row = store.action(session, request.action_id)
        return pb.GetActionResponse(action=translate.action_to_proto(row, today, language()))

    def SendAction(self, request: pb.SendActionRequest, context: Any) -> pb.SendActionResponse:
        today = self._see_newest()
        with self._database.transaction() as session:
            row = usecases.intend_to_send(session, request, today, self._settings)
        usecases.refuse_not_owed(row)
        if row["state"] == "SENDING" and not row["message_id"]:
            row = sending.hand_over(self._database, self._settings, row, today)
        return pb.SendActionResponse(
            action=translate.action_to_proto(row, today, language()), message_id=row["message_id"] or ""
        )

    def CompleteAction(self, request: pb.CompleteActionRequest, context: Any) -> pb.CompleteActionResponse:
        today = clock.business_today()
        with self._database.transaction() as session:
            row = usecases.complete_action(session, request, today, self._policy)
        return pb.CompleteActionResponse(action=translate.action_to_proto(row, today, language()))

    def SkipAction(self, request: pb.SkipActionRequest, context: Any) -> pb.SkipActionResponse:
        today = clock.business_today()
        with self._database.transaction() as session:
            row = usecases.skip_action(session, request, today, self._policy)
        return pb.SkipActionResponse(action=translate.action_to_proto(row, today, language()))

    def RescheduleAction(self, request: pb.RescheduleActionRequest, context: Any) -> pb.RescheduleActionResponse:
        today = clock.business_today()
        with self._database.transaction() as session:
            row = usecases.reschedule_action(session, request, today, self._policy)
        return pb.RescheduleActionResponse(action=translate.action_to_proto(row, today, language()))

    # ---- accounts ----------------------------------------------------------------------------------------------------

    def GetAccountProgress(self, request: pb.GetAccountProgressRequest, context: Any) -> pb.GetAccountProgressResponse:
        today = self._see_newest("notification")
        with self._database.transaction() as session:
            store.account(session, request.account_id)
            self._decide_for_today(session, request.account_id, today)
            return progress.of_account(session, request.account_id, today, self._policy, language())

    def PauseAccount(self, request: pb.PauseAccountRequest, context: Any) -> pb.PauseAccountResponse:
        until_on = date.fromisoformat(request.until_on)
        with self._database.transaction() as session:
            usecases.pause_account(
                session, request.account_id, until_on, request.reason, clock.business_today(), self._policy
            )
        return pb.PauseAccountResponse(until_on=request.until_on)

    def ResumeAccount(self, request: pb.ResumeAccountRequest, context: Any) -> pb.ResumeAccountResponse:
        with self._database.transaction() as session:
            usecases.resume_account(session, request.account_id, clock.business_today(), self._policy)
        return pb.ResumeAccountResponse()

    def AssignScenario(self, request: pb.AssignScenarioRequest, context: Any) -> pb.AssignScenarioResponse:
        today = clock.business_today()
        reply = pb.AssignScenarioResponse()
        with self._database.transaction() as session:
            usecases.assign_scenario(session, request.account_id, request.scenario_id, today, self._policy)
            row = store.pending_action(session, request.account_id)
        if row is not None:
            reply.action.CopyFrom(translate.action_to_proto(row, today, language()))
        return reply

    # ---- scenarios ---------------------------------------------------------------------------------------------------

    def ListScenarios(self, request: pb.ListScenariosRequest, context: Any) -> pb.ListScenariosResponse:
        limit, offset = listing.page_size(request.page_size), listing.offset_of(request.page_token)
        with self._database.transaction() as session:
            found = [item for item in store.scenarios(session) if _fits(item, request.filter)]
        found = _ordered(found, request.order_by)
        page = found[offset : offset + limit]
        return pb.ListScenariosResponse(
            scenarios=[translate.scenario_to_proto(item, language()) for item in page],
            next_page_token=listing.next_offset_token(offset, len(page), len(found)),
            total_size=len(found),
        )

    def GetScenario(self, request: pb.GetScenarioRequest, context: Any) -> pb.GetScenarioResponse:
        with self._database.transaction() as session:
            for item in store.scenarios(session):
                if item.scenario_id == request.scenario_id:
                    return pb.GetScenarioResponse(scenario=translate.scenario_to_proto(item, language()))
        raise Refused(Code.NOT_FOUND, "SCENARIO_UNKNOWN", "no such scenario")

    # ---- promises ----------------------------------------------------------------------------------------------------

    def CreatePromise(self, request: pb.CreatePromiseRequest, context: Any) -> pb.CreatePromiseResponse:
        today = self._see_newest()
        row = sending.make_promise(self._database, self._settings, request, today)
        return pb.CreatePromiseResponse(promise=translate.promise_to_proto(row))

    def ListPromises(self, request: pb.ListPromisesRequest, context: Any) -> pb.ListPromisesResponse:
        self._see_newest()
        limit, offset = listing.page_size(request.page_size), listing.offset_of(request.page_token)
        with self._database.transaction() as session:
            rows, total = store.list_promises(
                session, request.filter, request.order_by, limit, offset, request.account_id
            )
        return pb.ListPromisesResponse(
            promises=[translate.promise_to_proto(row) for row in rows],
            next_page_token=listing.next_offset_token(offset, len(rows), total),
            total_size=total,
        )

    def CancelPromise(self, request: pb.CancelPromiseRequest, context: Any) -> pb.CancelPromiseResponse:
        with self._database.transaction() as session:
            row = usecases.cancel_promise(session, request.promise_id, request.reason, clock.business_today())
        if row.state == "CANCELLED":
            sending.release_promise(self._database, self._settings, row.promise_id)
        return pb.CancelPromiseResponse(promise=translate.promise_to_proto(row))

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _see_newest(self, *more: str) -> date:
        """Waits a bounded time for what the neighbours said last; returns the business date."""
        producers = ("ledger", *more)
        bus.wait_until_all_seen(
            self._database,
            producers,
            self._settings.freshness_timeout_s,
            {producer: grpc_client.channel(self._settings, producer) for producer in producers},
        )
        return clock.business_today()

    def _decide_for_today(self, session: Session, account_id: str, today: date) -> None:
        """Decides about one account when its last decision is of another day: nobody reads yesterday's."""
        row = store.account_if_known(session, account_id)
        if row is not None and row.decided_on != today:
            store.lock_accounts(session, [account_id])
            usecases.evaluate_promises(session, [account_id], today)
            usecases.replan(session, [account_id], today, self._policy)


def _fits(scenario: Scenario, filter_text: str) -> bool:
    for term in listing.filter_terms(filter_text, frozenset({"name", "active"})):
        if term.name == "active":
            fits = (term.value.lower() == "true") is scenario.active
        elif term.op == ":":
            fits = term.value.lower() in scenario.name.lower()
        else:
            fits = term.value == scenario.name
        if fits is (term.op == "!="):
            return False
    return True


def _ordered(found: list[Scenario], order: str) -> list[Scenario]:
    if not order:
        return found
    name, _, direction = order.strip().partition(" ")
    if listing.snake_case(name) != "name" or direction.strip() not in ("", "asc", "desc"):
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "order by name", {"order_by": "knows name only"})
    return sorted(found, key=lambda item: item.name, reverse=direction.strip() == "desc")
