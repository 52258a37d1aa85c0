"""The import service's RPCs: translation, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from importer import store, usecases
from importer.translate import (
    effect_to_proto,
    expected_totals,
    import_to_proto,
    object_name,
    profile_to_proto,
    roll_back_to_proto,
)
from kit import context as kit_context
from kit import listing
from kit.errors import Code, Refused
from kit.service import Runtime
from quittance.importer.v1 import import_service_pb2 as pb
from quittance.importer.v1 import import_service_pb2_grpc as pb_grpc


def language_of(context: grpc.ServicerContext) -> str:
    """fr when the client prefers French, else en: the languages this service speaks."""
    metadata = {item.key: str(item.value) for item in context.invocation_metadata()}
    return "fr" if metadata.get("accept-language", "").lower().startswith("fr") else "en"


class ImportRpc(pb_grpc.ImportServiceServicer):
    """Files on their way to the ledger."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._transaction = runtime.transaction

    def UploadFile(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> pb.UploadFileResponse:
        first = next(iter(request_iterator), None)
        if first is None or not first.HasField("header"):
            raise Refused(Code.INVALID_ARGUMENT, "HEADER_MISSING", "the first message is the header")
        header = first.header
        upload = usecases.Upload(
            file_name=header.file_name,
            entity_code=header.entity_code,
            object=object_name(header.object),
            mode=header.mode,
            answers=dict(header.answers),
            apply=header.apply,
            size_bytes=header.size_bytes,
            source_id=header.source_id,
            profile_id=header.profile_id,
            control_totals=expected_totals(header.control_totals),
        )
        pieces = (message.data for message in request_iterator)
        import_id = usecases.start_import(
            self._runtime.database, self._runtime.settings, lambda: self._runtime.channel("ledger"), upload, pieces
        )
        return pb.UploadFileResponse(import_id=import_id, state=pb.IMPORT_STATE_UPLOADED)

    def GetImport(self, request: pb.GetImportRequest, context: grpc.ServicerContext) -> pb.GetImportResponse:
        with self._transaction() as session:
            row = usecases.find(session, request.import_id)
            return pb.GetImportResponse(import_run=import_to_proto(row, language=language_of(context)))

    def ListImports(self, request: pb.ListImportsRequest, context: grpc.ServicerContext) -> pb.ListImportsResponse:
        codes = kit_context.current_caller().entity_codes
        with self._transaction() as session:
            rows, token, total = store.batches(
                session, request.filter, request.order_by, request.page_size, request.page_token, codes
            )
            shown = [import_to_proto(row, whole=False, language=language_of(context)) for row in rows]
        return pb.ListImportsResponse(imports=shown, next_page_token=token, total_size=total)

    def AnswerImport(self, request: pb.AnswerImportRequest, context: grpc.ServicerContext) -> pb.AnswerImportResponse:
        with self._transaction() as session:
            row = usecases.answer_import(
                session,
                request.import_id,
                request.answers,
                request.mapping,
                object_name(request.object),
                request.mode.lower(),
                control_totals=expected_totals(request.control_totals),
            )
            return pb.AnswerImportResponse(import_run=import_to_proto(row, language=language_of(context)))

    def ApplyImport(self, request: pb.ApplyImportRequest, context: grpc.ServicerContext) -> pb.ApplyImportResponse:
        with self._transaction() as session:
            row = usecases.answer_import(session, request.import_id, request.answers, request.mapping, apply=True)
            return pb.ApplyImportResponse(import_run=import_to_proto(row, language=language_of(context)))

    def CancelImport(self, request: pb.CancelImportRequest, context: grpc.ServicerContext) -> pb.CancelImportResponse:
        with self._transaction() as session:
            row = usecases.cancel_import(session, request.import_id)
            return pb.CancelImportResponse(import_run=import_to_proto(row, language=language_of(context)))

    def ListEffects(self, request: pb.ListEffectsRequest, context: grpc.ServicerContext) -> pb.ListEffectsResponse:
        with self._transaction() as session:
            row = usecases.find(session, request.import_id)
            session.expunge(row)
        found = usecases.effects_of(self._runtime.settings, row, request.filter, request.order_by)
        offset = listing.offset_of(request.page_token)
        page = found[offset : offset + listing.page_size(request.page_size)]
        return pb.ListEffectsResponse(
            effects=[effect_to_proto(effect) for effect in page],
            next_page_token=listing.next_offset_token(offset, len(page), len(found)),
            total_size=len(found),
        )

    def DownloadEffects(
        self, request: pb.DownloadEffectsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DownloadEffectsResponse]:
        with self._transaction() as session:
            row = usecases.find(session, request.import_id)
            session.expunge(row)
        for piece in usecases.effects_csv(self._runtime.settings, row):
            yield pb.DownloadEffectsResponse(data=piece)

    def RollBackImport(
        self, request: pb.RollBackImportRequest, context: grpc.ServicerContext
    ) -> pb.RollBackImportResponse:
        plan, row = usecases.roll_back_import(
            self._runtime.database, lambda: self._runtime.channel("ledger"), request.import_id, request.plan_only
        )
        return pb.RollBackImportResponse(
            plan=roll_back_to_proto(plan), import_run=import_to_proto(row, language=language_of(context))
        )

    def DownloadRejects(
        self, request: pb.DownloadRejectsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DownloadRejectsResponse]:
        with self._transaction() as session:
            row = usecases.find(session, request.import_id)
            session.expunge(row)
        for piece in usecases.rejects_csv(self._runtime.settings, row, language_of(context)):
            yield pb.DownloadRejectsResponse(data=piece)

    def ListProfiles(self, request: pb.ListProfilesRequest, context: grpc.ServicerContext) -> pb.ListProfilesResponse:
        with self._transaction() as session:
            rows, token, total = store.profiles(
                session, request.filter, request.order_by, request.page_size, request.page_token
            )
            return pb.ListProfilesResponse(
                profiles=[profile_to_proto(row) for row in rows], next_page_token=token, total_size=total
            )

    def DeleteProfile(
        self, request: pb.DeleteProfileRequest, context: grpc.ServicerContext
    ) -> pb.DeleteProfileResponse:
        with self._transaction() as session:
            usecases.delete_profile(session, request.profile_id)
        return pb.DeleteProfileResponse()
