"""UploadService."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc
import pyarrow as pa

from importer import usecases
from importer.store import UploadRow
from importer.translate import instant, object_name
from kit.errors import Code, Refused
from kit.service import Runtime
from quittance.importer.v1 import import_service_pb2 as import_pb
from quittance.importer.v1 import upload_service_pb2 as pb
from quittance.importer.v1 import upload_service_pb2_grpc as pb_grpc

# Columns of ItemMessage by the fields they are read as.
ITEM_COLUMNS = {
    "account_number": "accountNumber",
    "account_name": "accountName",
    "item_number": "itemNumber",
    "external_id": "externalId",
    "line_number": "lineNumber",
    "item_type": "itemType",
    "currency": "currency",
    "issue_on": "issueOn",
    "due_on": "dueOn",
    "settled_on": "settledOn",
    "initial_amount": "initialAmount",
    "open_amount": "openAmount",
    "order_number": "orderNumber",
    "reference": "reference",
    "text": "text",
    "payment_terms": "paymentTerms",
}


class UploadRpc(pb_grpc.UploadServiceServicer):
    """Large files in parts, and rows without a file."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._transaction = runtime.transaction

    def _ledger(self) -> Any:
        return self._runtime.channel("ledger")

    def CreateUpload(self, request: pb.CreateUploadRequest, context: grpc.ServicerContext) -> pb.CreateUploadResponse:
        said = usecases.Upload(
            file_name=request.file_name,
            entity_code=request.entity_code,
            object=object_name(request.object),
            mode=request.mode,
            answers=dict(request.answers),
            apply=request.apply,
            size_bytes=request.size_bytes,
            source_id=request.source_id,
            profile_id=request.profile_id,
        )
        row = usecases.create_upload(self._runtime.database, self._runtime.settings, self._ledger, said, request.sha256)
        return pb.CreateUploadResponse(upload=self._upload(row))

    def AppendUpload(
        self, request_iterator: Iterator[pb.AppendUploadRequest], context: grpc.ServicerContext
    ) -> pb.AppendUploadResponse:
        first = next(iter(request_iterator), None)
        if first is None or not first.HasField("header"):
            raise Refused(Code.INVALID_ARGUMENT, "HEADER_MISSING", "the first message is the header")
        row = usecases.append_upload(
            self._runtime.database,
            self._runtime.settings,
            first.header.upload_id,
            first.header.offset,
            (message.data for message in request_iterator),
        )
        return pb.AppendUploadResponse(upload=self._upload(row))

    def GetUpload(self, request: pb.GetUploadRequest, context: grpc.ServicerContext) -> pb.GetUploadResponse:
        with self._transaction() as session:
            return pb.GetUploadResponse(upload=self._upload(usecases.find_upload(session, request.upload_id)))

    def StartUpload(self, request: pb.StartUploadRequest, context: grpc.ServicerContext) -> pb.StartUploadResponse:
        run = usecases.start_upload(self._runtime.database, self._runtime.settings, self._ledger, request.upload_id)
        state = import_pb.ImportState.Value(f"IMPORT_STATE_{run.state}")
        return pb.StartUploadResponse(import_id=run.import_id, state=state)

    def DeleteUpload(self, request: pb.DeleteUploadRequest, context: grpc.ServicerContext) -> pb.DeleteUploadResponse:
        usecases.delete_upload(self._runtime.database, self._runtime.settings, request.upload_id)
        return pb.DeleteUploadResponse()

    def StreamRows(
        self, request_iterator: Iterator[pb.StreamRowsRequest], context: grpc.ServicerContext
    ) -> pb.StreamRowsResponse:
        database, settings = self._runtime.database, self._runtime.settings
        first = next(iter(request_iterator), None)
        if first is None or first.WhichOneof("part") != "header":
            raise Refused(Code.INVALID_ARGUMENT, "HEADER_MISSING", "the first message is the header")
        header = first.header
        said = usecases.Upload(
            file_name=f"{header.batch_id}.arrow",
            entity_code=header.entity_code,
            object=object_name(header.object),
            mode=header.mode,
            answers=dict(header.answers),
            apply=header.apply,
            source_id=header.source_id,
            profile_id=header.profile_id,
            channel="STREAM",
        )
        stream = usecases.open_stream(database, settings, self._ledger, header.batch_id, said)
        for message in request_iterator:
            part = message.WhichOneof("part")
            if part == "batch":
                # What is kept already costs nothing to pass over: it is not even unpacked.
                if message.batch.sequence > stream.last_sequence:
                    rows = rows_of(message.batch)
                    stream = usecases.keep_batch(database, settings, stream, message.batch.sequence, rows)
            elif part == "finish":
                stream = usecases.finish_stream(
                    database, settings, self._ledger, header.batch_id, message.finish.row_count
                )
                break
            else:
                raise Refused(Code.INVALID_ARGUMENT, "HEADER_MISSING", "after the header come rows")
        return pb.StreamRowsResponse(
            last_sequence=stream.last_sequence,
            row_count=stream.row_count,
            import_id=stream.stream_id if stream.finished else "",
        )

    def GetStream(self, request: pb.GetStreamRequest, context: grpc.ServicerContext) -> pb.GetStreamResponse:
        with self._transaction() as session:
            row = usecases.find_stream(session, request.batch_id)
            patience = timedelta(seconds=self._runtime.settings.upload_patience_s)
            return pb.GetStreamResponse(
                last_sequence=row.last_sequence,
                row_count=row.row_count,
                import_id=row.stream_id if row.finished else "",
                expires_at=None if row.finished else instant(row.touched_at + patience),
            )

    def _upload(self, row: UploadRow) -> pb.Upload:
        patience = timedelta(seconds=self._runtime.settings.upload_patience_s)
        return pb.Upload(
            upload_id=row.upload_id,
            file_name=row.file_name,
            size_bytes=row.size_bytes,
            offset=row.offset_bytes,
            import_id=row.upload_id if row.started else "",
            expires_at=None if row.started else instant(row.touched_at + patience),
        )


def rows_of(batch: pb.StreamBatch) -> pa.Table:
    """The rows of one message as columns of text. Refuses INVALID_ARGUMENT ROWS_UNREADABLE."""
    kind = batch.WhichOneof("rows")
    if kind == "arrow":
        try:
            return pa.ipc.open_stream(batch.arrow).read_all()
        except pa.ArrowException as error:
            text = f"not an Arrow IPC stream: {error}"[:200]
            raise Refused(Code.INVALID_ARGUMENT, "ROWS_UNREADABLE", text, {"arrow": text}) from error
    if kind == "messages":
        rows = [dict(row.values) for row in batch.messages.rows]
        names = sorted({name for row in rows for name in row})
        return pa.table({name: pa.array([row.get(name, "") for row in rows], pa.string()) for name in names})
    if kind == "items":
        items = batch.items.items
        # A column nobody fills is not said: an empty externalId in every row would be missing in every row.
        table = {
            field: pa.array([getattr(item, name) for item in items], pa.string())
            for name, field in ITEM_COLUMNS.items()
            if any(getattr(item, name) for item in items)
        }
        for name in sorted({name for item in items for name in item.custom_fields}):
            table[f"custom:{name}"] = pa.array([item.custom_fields.get(name, "") for item in items], pa.string())
        return pa.table(table)
    raise Refused(Code.INVALID_ARGUMENT, "ROWS_UNREADABLE", "a batch carries rows", {"rows": "is required"})
