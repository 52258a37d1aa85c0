"""The dispute service's RPCs: translate, and nothing else."""

from datetime import date
from typing import Any

from dispute import domain, holding, store, translate, usecases
from dispute.config import Settings
from kit import bus, clock, grpc_client, listing
from kit.context import language
from kit.db import Database
from quittance.dispute.v1 import dispute_service_pb2 as pb
from quittance.dispute.v1.dispute_service_pb2_grpc import DisputeServiceServicer


class DisputeRpc(DisputeServiceServicer):
    """Cases with an owner, a clock and states."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database

    def OpenCase(self, request: pb.OpenCaseRequest, context: Any) -> pb.OpenCaseResponse:
        today = self._see_newest()
        row = holding.open_case(self._database, self._settings, request, today)
        return pb.OpenCaseResponse(case=translate.case_to_proto(row, today, language()))

    def ListCases(self, request: pb.ListCasesRequest, context: Any) -> pb.ListCasesResponse:
        today = self._see_newest()
        limit, offset = listing.page_size(request.page_size), listing.offset_of(request.page_token)
        with self._database.transaction() as session:
            rows, total = store.list_cases(session, request.filter, request.order_by, limit, offset, request.account_id)
        return pb.ListCasesResponse(
            cases=[translate.case_to_proto(row, today, language()) for row in rows],
            next_page_token=listing.next_offset_token(offset, len(rows), total),
            total_size=total,
        )

    def GetCase(self, request: pb.GetCaseRequest, context: Any) -> pb.GetCaseResponse:
        return pb.GetCaseResponse(case=self._with_history(request.case_id, self._see_newest()))

    def AssignCase(self, request: pb.AssignCaseRequest, context: Any) -> pb.AssignCaseResponse:
        today = clock.business_today()
        with self._database.transaction() as session:
            usecases.assign(session, request, today)
        return pb.AssignCaseResponse(case=self._with_history(request.case_id, today))

    def MoveCase(self, request: pb.MoveCaseRequest, context: Any) -> pb.MoveCaseResponse:
        today = clock.business_today()
        wanted = domain.CaseState(pb.CaseState.Name(request.state).removeprefix("CASE_STATE_"))
        with self._database.transaction() as session:
            usecases.move(session, request.case_id, wanted, request.comment, self._settings, today)
        holding.settle_now_or_later(self._database, self._settings, request.case_id, today)
        return pb.MoveCaseResponse(case=self._with_history(request.case_id, today))

    def ResolveCase(self, request: pb.ResolveCaseRequest, context: Any) -> pb.ResolveCaseResponse:
        today = self._see_newest()
        with self._database.transaction() as session:
            usecases.resolve(session, request, self._settings, today)
        holding.settle_now_or_later(self._database, self._settings, request.case_id, today)
        return pb.ResolveCaseResponse(case=self._with_history(request.case_id, today))

    def AddNote(self, request: pb.AddNoteRequest, context: Any) -> pb.AddNoteResponse:
        today = clock.business_today()
        with self._database.transaction() as session:
            usecases.add_note(session, request.case_id, request.text, today)
        return pb.AddNoteResponse(case=self._with_history(request.case_id, today))

    def ListReasons(self, request: pb.ListReasonsRequest, context: Any) -> pb.ListReasonsResponse:
        return pb.ListReasonsResponse(
            reasons=[
                pb.Reason(
                    code=reason.code,
                    name=reason.name,
                    name_fr=reason.name_fr,
                    clock_working_days=reason.clock_working_days,
                    owner=reason.owner,
                )
                for reason in domain.REASONS
            ]
        )

    def _with_history(self, case_id: str, today: date) -> pb.Case:
        with self._database.transaction() as session:
            row = store.case(session, case_id)
            return translate.case_to_proto(row, today, language(), store.events(session, case_id))

    def _see_newest(self) -> date:
        """Waits a bounded time for what the ledger said last; returns the business date."""
        peer = grpc_client.channel(self._settings, "ledger")
        bus.wait_until_seen(self._database, peer, "ledger", self._settings.freshness_timeout_s)
        return clock.business_today()
