"""PortalService: translates, and nothing else."""

from datetime import date

from kit import listing
from kit.context import current_caller
from kit.money import from_proto
from portal import store, wire
from portal.usecases import Counter, Decision
from quittance.portal.v1 import portal_service_pb2 as pb
from quittance.portal.v1.portal_service_pb2_grpc import PortalServiceServicer


class PortalRpc(PortalServiceServicer):
    """The servicer; every method is one use case."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._transaction = counter.database.transaction

    def CreateLink(self, request: pb.CreateLinkRequest, context) -> pb.CreateLinkResponse:
        row, url = self._counter.create_link(
            request.request_id, request.account_id, request.contact_id, request.language, request.valid_days
        )
        return pb.CreateLinkResponse(link=wire.link_to_proto(row), url=url)

    def RevokeLink(self, request: pb.RevokeLinkRequest, context) -> pb.RevokeLinkResponse:
        with self._transaction() as session:
            return pb.RevokeLinkResponse(link=wire.link_to_proto(self._counter.revoke(session, request.link_id)))

    def ListLinks(self, request: pb.ListLinksRequest, context) -> pb.ListLinksResponse:
        offset, limit = listing.offset_of(request.page_token), listing.page_size(request.page_size)
        with self._transaction() as session:
            rows, total = store.list_links(session, current_caller(), request.filter, request.order_by, offset, limit)
        token = listing.next_offset_token(offset, len(rows), total)
        return pb.ListLinksResponse(
            links=[wire.link_to_proto(row) for row in rows], next_page_token=token, total_size=total
        )

    def ListResponses(self, request: pb.ListResponsesRequest, context) -> pb.ListResponsesResponse:
        offset, limit = listing.offset_of(request.page_token), listing.page_size(request.page_size)
        state = pb.ResponseState.Name(request.state).removeprefix("RESPONSE_STATE_") if request.state else ""
        with self._transaction() as session:
            rows, total = store.list_responses(
                session, current_caller(), request.account_id, state, request.filter, request.order_by, offset, limit
            )
        return pb.ListResponsesResponse(
            responses=[wire.response_to_proto(row) for row in rows],
            next_page_token=listing.next_offset_token(offset, len(rows), total),
            total_size=total,
        )

    def GetResponse(self, request: pb.GetResponseRequest, context) -> pb.GetResponseResponse:
        with self._transaction() as session:
            row = self._counter.response(session, request.response_id)
        return pb.GetResponseResponse(response=wire.response_to_proto(row))

    def AcceptResponse(self, request: pb.AcceptResponseRequest, context) -> pb.AcceptResponseResponse:
        decision = Decision(
            accept=True,
            promised_on=date.fromisoformat(request.promised_on) if request.promised_on else None,
            reason_code=request.reason_code,
            amounts={line.item_id: from_proto(line.amount) for line in request.lines},
            owner=request.owner,
            comment=request.comment,
        )
        row = self._counter.decide(request.response_id, decision)
        return pb.AcceptResponseResponse(
            response=wire.response_to_proto(row), promise_id=row.promise_id, case_id=row.case_id
        )

    def RejectResponse(self, request: pb.RejectResponseRequest, context) -> pb.RejectResponseResponse:
        row = self._counter.decide(request.response_id, Decision(accept=False, comment=request.comment))
        return pb.RejectResponseResponse(response=wire.response_to_proto(row))
