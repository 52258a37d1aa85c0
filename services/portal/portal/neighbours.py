"""The calls this service makes: the ledger's look again and holds, scenario's promise, dispute's case, import's
documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from kit import grpc_client
from kit.money import Money, from_proto, to_proto
from kit.settings import ServiceSettings
from portal.domain import AccountFact, Answer, ContactFact, DocumentFact, HoldFact, ItemFact, Line
from quittance.dispute.v1 import dispute_service_pb2 as dispute_pb
from quittance.dispute.v1.dispute_service_pb2_grpc import DisputeServiceStub
from quittance.importer.v1 import document_service_pb2 as document_pb
from quittance.importer.v1.document_service_pb2_grpc import DocumentServiceStub
from quittance.ledger.v1 import item_pb2
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from quittance.scenario.v1 import scenario_service_pb2 as scenario_pb
from quittance.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub

SOURCE = "portal"
TIMEOUT_S = 5.0
# The page is worth more than its documents: it does not wait for them for long.
DOCUMENTS_TIMEOUT_S = 2.0
ITEMS_MAX = 2000


@dataclass(frozen=True)
class Neighbours:
    """Peers as this service needs them; refusals come out as Refused. Every write repeats without a second effect."""

    settings: ServiceSettings

    def look(self, account_id: str) -> AccountFact:
        """The account with all its open items, oldest due date first. Refuses ACCOUNT_UNKNOWN."""
        answer = self._ledger.LookAgain(ledger_pb.LookAgainRequest(account_id=account_id), timeout=TIMEOUT_S)
        account, entity = answer.account, answer.entity
        return AccountFact(
            account_id=account.account_id,
            number=account.number,
            name=account.name,
            language=account.language,
            collector=account.collector,
            entity_code=account.entity_code or entity.code,
            entity_name=entity.name,
            entity_language=entity.language,
            contacts=tuple(ContactFact(c.contact_id, c.name, c.language) for c in account.contacts),
            items=tuple(_item(item) for item in answer.items),
        )

    def hold_answer(self, response_id: str, account_id: str, kind: str, lines: Sequence[Line], until_on: date) -> None:
        """Takes the items of an answer out of collection until a day. Refuses HOLD_EXCEEDS_OPEN, ITEM_CLEARED."""
        self._place(
            f"response:{response_id}:hold",
            account_id,
            response_id,
            lines,
            item_pb2.HOLD_KIND_RESPONSE,
            until_on,
            f"The customer answered: {kind}",
            ends=(),
        )

    def announce_payment(self, response_id: str, account_id: str, answer: Answer, check_on: date) -> None:
        """The answer's holds become holds of an announced payment, in one transaction of the ledger."""
        reference = f", reference {answer.payment_reference}" if answer.payment_reference else ""
        self._place(
            f"response:{response_id}",
            account_id,
            f"{response_id}:paid",
            answer.lines,
            item_pb2.HOLD_KIND_PAYMENT_ANNOUNCED,
            check_on,
            f"Paid on {answer.paid_on}{reference}, says the customer",
            ends=(ledger_pb.HoldSource(source=SOURCE, source_id=response_id),),
        )

    def release(self, response_id: str, reason: str, request_id: str) -> None:
        """The answer's holds end; items without one change nothing."""
        self._ledger.ReleaseHolds(
            ledger_pb.ReleaseHoldsRequest(
                request_id=request_id,
                sources=[ledger_pb.HoldSource(source=SOURCE, source_id=response_id)],
                reason=reason[:500],
            ),
            timeout=TIMEOUT_S,
        )

    def create_promise(self, response_id: str, account_id: str, answer: Answer) -> str:
        """Records the promise; the answer's holds end in the same transaction of the ledger. Gives the promise's id."""
        stub = ScenarioServiceStub(grpc_client.channel(self.settings, "scenario"))
        request = scenario_pb.CreatePromiseRequest(
            request_id=f"response:{response_id}",
            account_id=account_id,
            promised_on=answer.promised_on.isoformat() if answer.promised_on else "",
            lines=[
                scenario_pb.PromiseOrder(item_id=line.item_id, amount=to_proto(line.amount)) for line in answer.lines
            ],
            source="PORTAL",
            source_id=response_id,
            comment=answer.comment,
        )
        return stub.CreatePromise(request, timeout=TIMEOUT_S).promise.promise_id

    def open_case(self, response_id: str, account_id: str, answer: Answer, owner: str) -> str:
        """Opens the case; the answer's holds end in the same transaction of the ledger. Gives the case's id."""
        stub = DisputeServiceStub(grpc_client.channel(self.settings, "dispute"))
        request = dispute_pb.OpenCaseRequest(
            request_id=f"response:{response_id}",
            account_id=account_id,
            reason_code=answer.reason_code,
            lines=[
                dispute_pb.CaseLineOrder(item_id=line.item_id, amount=to_proto(line.amount)) for line in answer.lines
            ],
            owner=owner,
            comment=answer.comment,
            source="PORTAL",
            source_id=response_id,
        )
        opened = stub.OpenCase(request, timeout=TIMEOUT_S)
        return opened.case.case_id

    def documents(self, account: AccountFact) -> tuple[DocumentFact, ...]:
        """What the customer may fetch of the items he is shown, invoices first."""
        request = document_pb.GetCustomerDocumentsRequest(
            account_id=account.account_id,
            entity_code=account.entity_code,
            item_ids=[item.item_id for item in account.items][:ITEMS_MAX],
        )
        found = self._documents.GetCustomerDocuments(request, timeout=DOCUMENTS_TIMEOUT_S)
        return tuple(
            DocumentFact(
                document_id=one.document_id,
                name=one.description or one.file_name,
                is_invoice=one.purpose == document_pb.DOCUMENT_PURPOSE_INVOICE,
                url=one.url,
                item_ids=frozenset(one.item_ids),
            )
            for one in found.documents
        )

    def document_token(self, document_id: str, account: AccountFact) -> str:
        """The token of a signed address of a document that this customer may see. Refuses DOCUMENT_UNKNOWN."""
        request = document_pb.GetDocumentUrlRequest(
            document_id=document_id, customer_item_ids=[item.item_id for item in account.items][:ITEMS_MAX]
        )
        return self._documents.GetDocumentUrl(request, timeout=TIMEOUT_S).token

    @property
    def _documents(self) -> DocumentServiceStub:
        return DocumentServiceStub(grpc_client.channel(self.settings, "import"))

    @property
    def _ledger(self) -> LedgerServiceStub:
        return LedgerServiceStub(grpc_client.channel(self.settings, "ledger"))

    def _place(self, request_id, account_id, source_id, lines, kind, until_on, reason, ends) -> None:
        orders = [
            ledger_pb.HoldOrder(
                item_id=line.item_id,
                kind=kind,
                amount=to_proto(line.amount),
                until_on=until_on.isoformat(),
                reason=reason[:500],
            )
            for line in lines
        ]
        request = ledger_pb.PlaceHoldsRequest(
            request_id=request_id, account_id=account_id, source=SOURCE, source_id=source_id, holds=orders, ends=ends
        )
        self._ledger.PlaceHolds(request, timeout=TIMEOUT_S)


def _item(item: item_pb2.Item) -> ItemFact:
    opened = from_proto(item.open)
    return ItemFact(
        item_id=item.item_id,
        number=item.number,
        due_on=_day(item.due_on),
        days_late=item.days_late,
        open=opened,
        collectable=from_proto(item.collectable) if item.HasField("collectable") else Money(opened.currency, 0),
        order_number=item.order_number,
        holds=tuple(
            HoldFact(
                item_pb2.HoldKind.Name(hold.kind).removeprefix("HOLD_KIND_"),
                from_proto(hold.amount),
                _day(hold.until_on),
                hold.source,
                hold.source_id,
            )
            for hold in item.holds
            if hold.state == item_pb2.HOLD_STATE_ACTIVE
        ),
    )


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
