"""LoadService: rows from import, as Arrow."""

from collections.abc import Callable, Iterator
from datetime import date
from itertools import chain
from typing import Any

from kit.clock import business_today
from kit.context import current_tenant
from kit.db import Database
from kit.errors import Code, Refused
from kit.outbox import position
from ledger import domain, usecases
from ledger.rpc.translate import effect_to_proto, progress_to_proto, read_day
from ledger.store.tables import LoadChunkRow
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_load_service_pb2_grpc as load_grpc


class LoadRpc(load_grpc.LoadServiceServicer):
    """LoadService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def LoadItems(self, request_iterator, context):
        """Merges items chunk by chunk."""
        for progress in self._load("ITEMS", request_iterator):
            yield load_pb.LoadItemsResponse(progress=progress)

    def LoadAccounts(self, request_iterator, context):
        """Merges accounts chunk by chunk."""
        for progress in self._load("ACCOUNTS", request_iterator):
            yield load_pb.LoadAccountsResponse(progress=progress)

    def LoadContacts(self, request_iterator, context):
        """Merges contacts chunk by chunk."""
        for progress in self._load("CONTACTS", request_iterator):
            yield load_pb.LoadContactsResponse(progress=progress)

    def LoadRows(self, request_iterator, context):
        """Merges rows of the object that the header names chunk by chunk."""
        first = next(request_iterator, None)
        named = load_pb.LoadObject.Name(first.header.object) if first is not None else ""
        load_object = named.removeprefix("LOAD_OBJECT_")
        if load_object not in domain.ROW_OBJECTS:
            wrong = {"header.object": "must say what the rows are"}
            raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "these rows have no object", wrong)
        for progress in self._load(load_object, chain([first], request_iterator)):
            yield load_pb.LoadRowsResponse(progress=progress)

    def _load(self, load_object: str, requests: Iterator[Any]) -> Iterator[load_pb.LoadProgress]:
        today = business_today()
        first = next(requests, None)
        if first is None or not first.HasField("header"):
            raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "the first message is the header")
        header = usecases.LoadHeader(
            load_id=first.header.load_id,
            entity_code=first.header.entity_code,
            mode="STOCK" if first.header.mode == load_pb.LOAD_MODE_STOCK else "DELTA",
            source_system=first.header.source_system,
            file_on=read_day(first.header.file_on),
            plan_only=first.header.plan_only,
        )
        # A file without rows is a load too: its end decides what its emptiness means.
        self._database.retrying(lambda session: usecases.open_load(session, header, today))
        for number, chunk in usecases.prepare_ahead(header, load_object, _chunks(requests)):
            yield progress_to_proto(self._chunk(header, load_object, number, chunk, today))

    def _chunk(
        self,
        header: usecases.LoadHeader,
        load_object: str,
        number: int,
        chunk: Callable[[], usecases.Chunk],
        today: date,
    ) -> LoadChunkRow:
        return self._database.retrying(
            lambda session: usecases.load_chunk(session, header, load_object, number, chunk, today)
        )

    def GetLoad(self, request, context):
        """How far a load is."""
        with self._database.transaction() as session:
            row, chunks = usecases.load_progress(session, request.load_id)
        reply = load_pb.GetLoadResponse(
            chunks=[progress_to_proto(chunk) for chunk in chunks], finished=row.finished_at is not None
        )
        reply.changed_at.FromDatetime(row.changed_at)
        return reply

    def FinishLoad(self, request, context):
        """Ends a load and says how far a reader must be to have seen all of it."""
        end = self._database.retrying(
            lambda session: usecases.finish_load(
                session,
                request.load_id,
                confirm_clearing=request.confirm_clearing,
                plan_only=request.plan_only,
                today=business_today(),
            )
        )
        with self._database.transaction() as session:
            number = position(session, current_tenant())
        return load_pb.FinishLoadResponse(
            cleared_absent=end.cleared_absent,
            open_items=end.open_items,
            position=number,
            balances=[load_pb.LoadBalance(**balance) for balance in end.balances],
            absent=[effect_to_proto(effect) for effect in end.absent],
        )

    def RollBackLoad(self, request, context):
        """Takes a load back."""
        done = self._database.retrying(
            lambda session: usecases.roll_back_load(
                session, request.load_id, plan_only=request.plan_only, today=business_today()
            )
        )
        return load_pb.RollBackLoadResponse(
            closed=done.closed,
            restored=done.restored,
            holds_changed=done.holds_changed,
            balances=[load_pb.LoadBalance(**balance) for balance in done.balances],
        )


def _chunks(requests: Iterator[Any]) -> Iterator[tuple[int, bytes]]:
    """Number and rows of every message after the header."""
    for request in requests:
        if not request.HasField("chunk"):
            raise Refused(Code.INVALID_ARGUMENT, "LOAD_SCHEMA", "every message after the first is a chunk")
        yield request.chunk.chunk_number, request.chunk.rows
