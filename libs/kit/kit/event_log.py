"""Serves a producer's outbox to its readers."""

from typing import Any

from sqlalchemy import text

from kit import context, outbox
from kit.db import Database
from kit.errors import Code, Refused
from quittance.common.v1 import event_log_service_pb2 as pb
from quittance.common.v1 import event_log_service_pb2_grpc as pb_grpc

RANGE_MAX = 500
# An answer must stay under gRPC's message limit of 4 MiB.
ANSWER_MAX_BYTES = 3 * 1024 * 1024


class EventLogRpc(pb_grpc.EventLogServiceServicer):
    """Answers from the outbox of one service."""

    def __init__(self, database: Database, producer: str) -> None:
        self._database = database
        self._producer = producer

    def GetPosition(self, request: pb.GetPositionRequest, servicer_context: Any) -> pb.GetPositionResponse:
        """How many events the tenant has committed."""
        with self._database.transaction() as session:
            return pb.GetPositionResponse(number=outbox.position(session, context.current_tenant()))

    def GetEvents(self, request: pb.GetEventsRequest, servicer_context: Any) -> pb.GetEventsResponse:
        """A range of them; fewer than asked for when they would not fit one answer."""
        tenant_id = context.current_tenant()
        reply = pb.GetEventsResponse()
        size = 0
        with self._database.transaction() as session:
            last = outbox.position(session, tenant_id)
            rows = session.execute(
                text(
                    "SELECT id, tenant_id, number, type, payload, recorded_at, traceparent FROM outbox"
                    " WHERE tenant_id = :tenant AND number BETWEEN :first AND :last ORDER BY number LIMIT :most"
                ),
                {
                    "tenant": tenant_id,
                    "first": request.from_number,
                    "last": request.to_number,
                    "most": RANGE_MAX,
                },
            )
            for row in rows:
                envelope = outbox.envelope(row, self._producer)
                size += envelope.ByteSize()
                if reply.events and size > ANSWER_MAX_BYTES:
                    break
                reply.events.append(envelope)
            first_wanted_exists = bool(reply.events) and reply.events[0].number == request.from_number
            if request.from_number <= last and not first_wanted_exists:
                oldest = session.execute(
                    text("SELECT min(number) FROM outbox WHERE tenant_id = :tenant"), {"tenant": tenant_id}
                ).scalar()
                raise Refused(
                    Code.OUT_OF_RANGE,
                    "EVENTS_EXPIRED",
                    f"events before number {oldest or last + 1} are no longer kept",
                    oldest_number=str(oldest or last + 1),
                )
        return reply
