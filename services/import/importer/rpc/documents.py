"""DocumentService."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from importer import store
from importer.domain import documents as rules
from importer.store import DocumentItemRow, DocumentRow, UrlPatternRow
from importer.texts import say
from importer.translate import instant
from importer.usecases import documents as usecases
from kit import context as kit_context
from kit.errors import Code, Refused
from kit.service import Runtime
from quittance.importer.v1 import document_service_pb2 as pb
from quittance.importer.v1 import document_service_pb2_grpc as pb_grpc
from quittance.ledger.v1 import item_pb2

DOWNLOADS = "/downloads/"


class DocumentRpc(pb_grpc.DocumentServiceServicer):
    """The files that go with items."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._database = runtime.database
        self._transaction = runtime.transaction

    def _ledger(self) -> Any:
        return self._runtime.channel("ledger")

    def UploadDocument(
        self, request_iterator: Iterator[pb.UploadDocumentRequest], context: grpc.ServicerContext
    ) -> pb.UploadDocumentResponse:
        first = next(iter(request_iterator), None)
        if first is None or not first.HasField("header"):
            raise Refused(Code.INVALID_ARGUMENT, "HEADER_MISSING", "the first message is the header")
        header = first.header
        arrival = usecases.Arrival(
            file_name=header.file_name,
            entity_code=header.entity_code,
            item_ids=tuple(item_id.lower() for item_id in header.item_ids),
            description=header.description,
            for_colleagues=header.for_colleagues,
            for_customer=header.for_customer,
        )
        pieces = (message.data for message in request_iterator)
        row, was_there = usecases.upload_document(self._database, self._settings, self._ledger, arrival, pieces)
        return pb.UploadDocumentResponse(document=self._with_items(row), was_there=was_there)

    def ListDocuments(
        self, request: pb.ListDocumentsRequest, context: grpc.ServicerContext
    ) -> pb.ListDocumentsResponse:
        if request.item_id and request.unmatched:
            text = "name an item, or ask for unmatched documents"
            raise Refused(Code.INVALID_ARGUMENT, "DOCUMENTS_OF_WHAT", text, {"itemId": text})
        item = usecases.visible_item(self._ledger, request.item_id.lower()) if request.item_id else None
        with self._transaction() as session:
            rows, token, total = store.documents(
                session,
                request.filter,
                request.order_by,
                request.page_size,
                request.page_token,
                item_id=request.item_id.lower(),
                entity_code=request.entity_code,
                entity_codes=kit_context.current_caller().entity_codes,
                only_for=usecases.only_for(),
            )
            items = store.items_of_documents(session, [row.document_id for row in rows])
            pattern = store.url_pattern(session, item.entity_code) if item is not None else None
            found = [self._document(row, items[row.document_id]) for row in rows]
            if pattern is not None:
                session.expunge(pattern)
        if item is not None and pattern is not None and not request.page_token and not request.filter:
            url = usecases.archive_url(self._settings, self._ledger, pattern, item)
            if url:
                found.insert(0, _in_archive(item, url, pattern.for_customer))
        return pb.ListDocumentsResponse(documents=found, next_page_token=token, total_size=total)

    def GetCustomerDocuments(
        self, request: pb.GetCustomerDocumentsRequest, context: grpc.ServicerContext
    ) -> pb.GetCustomerDocumentsResponse:
        item_ids = [item_id.lower() for item_id in request.item_ids]
        urls = usecases.customer_archive_urls(
            self._database, self._settings, self._ledger, request.account_id, request.entity_code, item_ids
        )
        codes = kit_context.current_caller().entity_codes
        with self._transaction() as session:
            rows = store.customer_documents(session, item_ids) if item_ids else []
            found = [
                pb.Document(
                    document_id=row.document_id,
                    file_name=row.file_name,
                    kind=row.kind,
                    size_bytes=row.size_bytes,
                    purpose=_purpose(row.purpose),
                    description=row.description,
                    for_customer=True,
                    state=pb.DOCUMENT_STATE_READY,
                    item_ids=its_items,
                )
                for row, its_items in rows
                if codes is None or row.entity_code in codes
            ]
        return pb.GetCustomerDocumentsResponse(
            documents=[*(_in_archive(item, url, True) for item, url in urls), *found]
        )

    def GetDocumentUrl(
        self, request: pb.GetDocumentUrlRequest, context: grpc.ServicerContext
    ) -> pb.GetDocumentUrlResponse:
        customer_items = [item_id.lower() for item_id in request.customer_item_ids]
        with self._transaction() as session:
            token, expires_at = usecases.document_url(
                session, self._settings, request.document_id.lower(), customer_items
            )
        return pb.GetDocumentUrlResponse(url=DOWNLOADS + token, token=token, expires_at=instant(expires_at))

    def UpdateDocument(
        self, request: pb.UpdateDocumentRequest, context: grpc.ServicerContext
    ) -> pb.UpdateDocumentResponse:
        with self._transaction() as session:
            row = usecases.update_document(
                session,
                request.document_id.lower(),
                request.description if request.HasField("description") else None,
                request.for_colleagues if request.HasField("for_colleagues") else None,
                request.for_customer if request.HasField("for_customer") else None,
            )
            items = store.items_of_documents(session, [row.document_id])[row.document_id]
            return pb.UpdateDocumentResponse(document=self._document(row, items))

    def DeleteDocument(
        self, request: pb.DeleteDocumentRequest, context: grpc.ServicerContext
    ) -> pb.DeleteDocumentResponse:
        with self._transaction() as session:
            usecases.delete_document(session, request.document_id.lower())
        return pb.DeleteDocumentResponse()

    def MatchDocument(
        self, request: pb.MatchDocumentRequest, context: grpc.ServicerContext
    ) -> pb.MatchDocumentResponse:
        item_ids = [item_id.lower() for item_id in request.item_ids]
        row = usecases.match_by_hand(self._database, self._ledger, request.document_id.lower(), item_ids)
        return pb.MatchDocumentResponse(document=self._with_items(row))

    def SetUrlPattern(
        self, request: pb.SetUrlPatternRequest, context: grpc.ServicerContext
    ) -> pb.SetUrlPatternResponse:
        row = usecases.set_url_pattern(
            self._database, self._settings, self._ledger, request.entity_code, request.pattern, request.for_customer
        )
        if row is None:
            return pb.SetUrlPatternResponse(url_pattern=pb.UrlPattern(entity_code=request.entity_code))
        return pb.SetUrlPatternResponse(url_pattern=_pattern(row))

    def ListUrlPatterns(
        self, request: pb.ListUrlPatternsRequest, context: grpc.ServicerContext
    ) -> pb.ListUrlPatternsResponse:
        codes = kit_context.current_caller().entity_codes
        with self._transaction() as session:
            rows, token, total = store.url_patterns(
                session, request.filter, request.order_by, request.page_size, request.page_token, codes
            )
            return pb.ListUrlPatternsResponse(
                url_patterns=[_pattern(row) for row in rows],
                next_page_token=token,
                total_size=total,
                allowed_hosts=self._settings.document_hosts,
            )

    def _with_items(self, row: DocumentRow) -> pb.Document:
        with self._transaction() as session:
            return self._document(row, store.items_of_documents(session, [row.document_id])[row.document_id])

    def _document(self, row: DocumentRow, items: Sequence[DocumentItemRow]) -> pb.Document:
        until_on = rules.keep_until([item.settled_on for item in items], self._settings.document_retention_months)
        return pb.Document(
            document_id=row.document_id,
            entity_code=row.entity_code,
            file_name=row.file_name,
            kind=row.kind,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            purpose=_purpose(row.purpose),
            description=row.description,
            for_colleagues=row.for_colleagues,
            for_customer=row.for_customer,
            state=pb.DocumentState.Value(f"DOCUMENT_STATE_{row.state}"),
            state_text=say(usecases.state_text(row)),
            item_ids=[item.item_id for item in items],
            created_by=row.created_by,
            created_at=instant(row.created_at),
            channel=row.channel,
            keep_until_on=until_on.isoformat() if until_on else "",
        )


def _purpose(name: str) -> pb.DocumentPurpose:
    return pb.DocumentPurpose.Value(f"DOCUMENT_PURPOSE_{name}")


def _in_archive(item: item_pb2.Item, url: str, for_customer: bool) -> pb.Document:
    return pb.Document(
        entity_code=item.entity_code,
        file_name=item.number,
        purpose=pb.DOCUMENT_PURPOSE_INVOICE,
        for_colleagues=True,
        for_customer=for_customer,
        state=pb.DOCUMENT_STATE_READY,
        item_ids=[item.item_id],
        channel="URL",
        url=url,
    )


def _pattern(row: UrlPatternRow) -> pb.UrlPattern:
    return pb.UrlPattern(
        entity_code=row.entity_code,
        pattern=row.pattern,
        for_customer=row.for_customer,
        changed_by=row.changed_by,
        changed_at=instant(row.changed_at),
    )
