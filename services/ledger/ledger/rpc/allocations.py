"""AllocationService: credits set against debts."""

from sqlalchemy import Row
from sqlalchemy.orm import Session

from kit.clock import business_today
from kit.db import Database
from kit.idempotency import once
from ledger import usecases
from ledger.rpc.translate import money, page_of, read_day
from ledger.store import allocations, queries
from quittance.ledger.v1 import allocation_service_pb2 as pb
from quittance.ledger.v1 import allocation_service_pb2_grpc as pb_grpc


class AllocationRpc(pb_grpc.AllocationServiceServicer):
    """AllocationService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def RecordAllocations(self, request, context):
        """Sets credits against debits, all or none."""
        orders = [
            usecases.AllocationOrder(
                order.credit_item_id.lower(),
                order.debit_item_id.lower(),
                order.amount.currency,
                order.amount.minor_units if order.HasField("amount") else None,
            )
            for order in request.allocations
        ]

        def work(session: Session) -> pb.RecordAllocationsResponse:
            reply = pb.RecordAllocationsResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    ids, reply.account_version = usecases.record_allocations(
                        session, request.account_id, orders, read_day(request.value_on), request.reason.strip(),
                        business_today(),
                    )  # fmt: skip
                    reply.allocations.extend(_by_id(session, ids))
            return reply

        return self._database.retrying(work)

    def ReverseAllocation(self, request, context):
        """Takes an allocation back."""

        def work(session: Session) -> pb.ReverseAllocationResponse:
            reply = pb.ReverseAllocationResponse()
            with once(session, request.request_id, request, reply) as first:
                if first:
                    reversal_id = usecases.reverse_allocation(
                        session, request.allocation_id.lower(), read_day(request.value_on), request.reason.strip(),
                        business_today(),
                    )  # fmt: skip
                    reply.reversal.CopyFrom(_by_id(session, [reversal_id])[0])
            return reply

        return self._database.retrying(work)

    def ListAllocations(self, request, context):
        """Allocations and their reversals."""
        with self._database.transaction() as session:
            rows, token, total = allocations.list_allocations(session, page_of(request))
            return pb.ListAllocationsResponse(
                allocations=[_to_proto(row) for row in rows], next_page_token=token, total_size=total
            )


def _by_id(session: Session, ids: list[str]) -> list[pb.Allocation]:
    rows, _, _ = allocations.list_allocations(session, queries.Page(size=len(ids)), ids)
    found = {row[0].allocation_id: _to_proto(row) for row in rows}
    return [found[allocation_id] for allocation_id in ids]


def _to_proto(found: Row) -> pb.Allocation:
    row, credit_number, debit_number, reversed_by_id = found
    message = pb.Allocation(
        allocation_id=row.allocation_id,
        account_id=row.account_id,
        credit_item_id=row.credit_item_id,
        credit_number=credit_number,
        debit_item_id=row.debit_item_id,
        debit_number=debit_number,
        amount=money(row.currency, row.amount_minor),
        value_on=row.value_on.isoformat(),
        actor=row.actor,
        reason=row.reason,
        reverses_id=row.reverses_id or "",
        reversed_by_id=reversed_by_id or "",
        external_id=row.external_id,
    )
    message.recorded_at.FromDatetime(row.recorded_at)
    return message
