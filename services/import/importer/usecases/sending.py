"""Who takes the rows of an object, and how: the ledger, or credit-risk for cover and credit information."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from importer import domain
from importer.store import BatchRow
from importer.usecases.accepted import chunk_of
from kit.errors import Code, Refused
from quittance.credit_risk.v1 import risk_load_service_pb2 as risk_pb
from quittance.credit_risk.v1 import risk_load_service_pb2_grpc as risk_grpc
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_load_service_pb2_grpc as load_grpc

# Identity of items that carry their source's own id, where no profile names the system more closely.
SOURCE_SYSTEM = "file"
# Objects that credit-risk keeps.
RISK_OBJECTS = {
    domain.COVER: risk_pb.RISK_OBJECT_COVER,
    domain.CREDIT_INFORMATION: risk_pb.RISK_OBJECT_CREDIT_INFORMATION,
}
# Objects whose rows travel by LoadRows.
ROW_OBJECTS = {
    domain.ALLOCATIONS: load_pb.LOAD_OBJECT_ALLOCATIONS,
    domain.SALES: load_pb.LOAD_OBJECT_SALES,
    domain.ORDERS: load_pb.LOAD_OBJECT_ORDERS,
    domain.ASSIGNMENTS: load_pb.LOAD_OBJECT_ASSIGNMENTS,
    domain.EXCHANGE_RATES: load_pb.LOAD_OBJECT_EXCHANGE_RATES,
}


class LedgerPeer:
    """The ledger's side of a load."""

    def __init__(self, job: Any, row: BatchRow, has_external_ids: bool) -> None:
        self._row, self._timeout_s = row, job.settings.ledger_timeout_s
        self._stub = load_grpc.LoadServiceStub(job.runtime.channel("ledger"))
        is_items = row.object == domain.ITEMS
        self._header: dict[str, Any] = {
            "load_id": row.import_id,
            "entity_code": row.entity_code,
            "mode": load_pb.LOAD_MODE_STOCK if row.mode == "stock" and is_items else load_pb.LOAD_MODE_DELTA,
            "source_system": (row.source_system or SOURCE_SYSTEM) if has_external_ids else "",
            "file_on": row.file_on.isoformat(),
            "object": ROW_OBJECTS.get(row.object, load_pb.LOAD_OBJECT_UNSPECIFIED),
        }

    def committed(self) -> tuple[Sequence[load_pb.LoadProgress], bool]:
        """What the ledger has of this load, and whether it is finished."""
        try:
            reply = self._stub.GetLoad(load_pb.GetLoadRequest(load_id=self._row.import_id))
        except Refused as refusal:
            if refusal.code is Code.NOT_FOUND:
                return (), False
            raise
        return reply.chunks, bool(reply.finished)

    def send(self, numbered: Iterator[tuple[int, bytes]], plan_only: bool = False) -> Iterator[load_pb.LoadProgress]:
        """Sends chunks (number, Arrow stream); gives what became of each, in order."""
        method, request = {
            domain.ITEMS: (self._stub.LoadItems, load_pb.LoadItemsRequest),
            domain.ACCOUNTS: (self._stub.LoadAccounts, load_pb.LoadAccountsRequest),
            domain.CONTACTS: (self._stub.LoadContacts, load_pb.LoadContactsRequest),
        }.get(self._row.object, (self._stub.LoadRows, load_pb.LoadRowsRequest))

        def requests() -> Iterator[Any]:
            yield request(header=load_pb.LoadHeader(**self._header, plan_only=plan_only))
            for number, rows in numbered:
                yield request(chunk=load_pb.LoadChunk(chunk_number=number, rows=rows))

        for answer in method(requests(), timeout=self._timeout_s):
            yield answer.progress

    def finish(self, confirm_clearing: bool = False, plan_only: bool = False) -> load_pb.FinishLoadResponse:
        """Ends the load, or says what its end would do."""
        return self._stub.FinishLoad(
            load_pb.FinishLoadRequest(
                load_id=self._row.import_id, confirm_clearing=confirm_clearing, plan_only=plan_only
            ),
            timeout=self._timeout_s,
        )


class RiskPeer:
    """Credit-risk's side of a load: chunks are remembered there, and there is nothing to end."""

    def __init__(self, job: Any, row: BatchRow) -> None:
        self._row, self._timeout_s = row, job.settings.ledger_timeout_s
        self._stub = risk_grpc.RiskLoadServiceStub(job.runtime.channel("credit-risk"))

    def committed(self) -> tuple[Sequence[load_pb.LoadProgress], bool]:
        """Nothing: a chunk that is sent again is answered from its record."""
        return (), False

    def send(self, numbered: Iterator[tuple[int, bytes]], plan_only: bool = False) -> Iterator[load_pb.LoadProgress]:
        """Sends chunks (number, Arrow stream); gives what became of each, in order."""

        def requests() -> Iterator[Any]:
            yield risk_pb.LoadRiskRequest(
                header=risk_pb.RiskLoadHeader(
                    load_id=self._row.import_id,
                    entity_code=self._row.entity_code,
                    object=RISK_OBJECTS[self._row.object],
                    plan_only=plan_only,
                )
            )
            for number, rows in numbered:
                yield risk_pb.LoadRiskRequest(chunk=risk_pb.RiskChunk(chunk_number=number, rows=rows))

        for answer in self._stub.LoadRisk(requests(), timeout=self._timeout_s):
            progress = load_pb.LoadProgress(chunk_number=answer.chunk_number)
            progress.counts.created, progress.counts.updated = answer.created, answer.updated
            progress.counts.unchanged, progress.counts.rejected = answer.unchanged, answer.rejected
            for reject in answer.rejects:
                progress.rejects.add(line=reject.line, field=reject.field, reason=reject.reason)
            yield progress

    def finish(self, confirm_clearing: bool = False, plan_only: bool = False) -> load_pb.FinishLoadResponse:
        """Nothing to end."""
        return load_pb.FinishLoadResponse()


def peer_of(job: Any, row: BatchRow) -> LedgerPeer | RiskPeer:
    """The service that takes this import's rows."""
    if row.object in RISK_OBJECTS:
        return RiskPeer(job, row)
    return LedgerPeer(job, row, bool(row.details.get("external_ids")))


class Chunks:
    """Chunks of an import on their way into a stream, read one at a time as the other side takes them."""

    def __init__(self, job: Any, row: BatchRow, numbers: Iterable[int]) -> None:
        self._settings, self._row, self._numbers = job.settings, row, numbers
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """gRPC takes them in a thread of its own, ahead of the ledger's answers, and would hide an error."""
        try:
            for number in self._numbers:
                yield number, chunk_of(self._settings, self._row, number)
        except Exception as error:  # noqa: BLE001 - raised by check()
            self._error = error

    def check(self) -> None:
        """Raises what ended the chunks too early."""
        if self._error is not None:
            raise self._error
