"""ProfileService."""

from __future__ import annotations

from typing import Any

import grpc

from importer import domain, store, usecases
from importer.rpc.imports import language_of
from importer.store import ProfileRow
from importer.translate import instant, object_name, profile_to_proto
from kit.service import Runtime
from quittance.common.v1 import money_pb2
from quittance.importer.v1 import import_service_pb2 as import_pb
from quittance.importer.v1 import profile_service_pb2 as pb
from quittance.importer.v1 import profile_service_pb2_grpc as pb_grpc

REJECTS_SHOWN = 100


class ProfileRpc(pb_grpc.ProfileServiceServicer):
    """How files of a layout are read, said by hand."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._transaction = runtime.transaction

    def GetProfile(self, request: pb.GetProfileRequest, context: grpc.ServicerContext) -> pb.GetProfileResponse:
        with self._transaction() as session:
            row = usecases.profile_at(session, request.profile_id, request.version)
            return pb.GetProfileResponse(profile=profile_to_proto(row))

    def CreateProfile(
        self, request: pb.CreateProfileRequest, context: grpc.ServicerContext
    ) -> pb.CreateProfileResponse:
        with self._transaction() as session:
            row = usecases.create_profile(session, draft_of(request.profile), request.from_import_id)
            return pb.CreateProfileResponse(profile=profile_to_proto(row))

    def UpdateProfile(
        self, request: pb.UpdateProfileRequest, context: grpc.ServicerContext
    ) -> pb.UpdateProfileResponse:
        with self._transaction() as session:
            row = usecases.update_profile(session, request.profile_id, draft_of(request.profile), request.version)
            return pb.UpdateProfileResponse(profile=profile_to_proto(row))

    def ListProfileVersions(
        self, request: pb.ListProfileVersionsRequest, context: grpc.ServicerContext
    ) -> pb.ListProfileVersionsResponse:
        with self._transaction() as session:
            profile = usecases.profile_at(session, request.profile_id, 0)
            rows, token, total = store.profile_versions(
                session,
                request.profile_id,
                request.filter,
                request.order_by,
                request.page_size,
                request.page_token,
            )
            versions = [
                pb.ProfileVersion(
                    version=row.version,
                    profile=profile_to_proto(_as_it_was(profile, row)),
                    saved_by=row.saved_by,
                    saved_at=instant(row.saved_at),
                )
                for row in rows
            ]
        return pb.ListProfileVersionsResponse(versions=versions, next_page_token=token, total_size=total)

    def TestProfile(self, request: pb.TestProfileRequest, context: grpc.ServicerContext) -> pb.TestProfileResponse:
        draft = draft_of(request.draft) if request.HasField("draft") else None
        analysis = usecases.try_profile(
            self._runtime.database, self._runtime.settings, request.profile_id, request.import_id, draft
        )
        return _tried(analysis, language_of(context))

    def GetFields(self, request: pb.GetFieldsRequest, context: grpc.ServicerContext) -> pb.GetFieldsResponse:
        french = language_of(context) == "fr"
        fields = [
            import_pb.FieldInfo(
                name=field.name, required=field.required, label=field.label_fr if french else field.label_en
            )
            for field in domain.FIELDS.get(object_name(request.object) or domain.ITEMS, ())
        ]
        return pb.GetFieldsResponse(fields=fields, item_kinds=domain.KINDS)


def _as_it_was(profile: ProfileRow, row: store.ProfileVersionRow) -> ProfileRow:
    return usecases.version_as_profile(profile, row.version, row.definition, row.saved_at)


def draft_of(message: pb.ProfileDraft) -> usecases.ProfileDraft:
    """What a person says, as the use cases take it."""
    return usecases.ProfileDraft(
        name=message.name,
        object=object_name(message.object),
        patterns=list(message.patterns),
        entity_codes=list(message.entity_codes),
        mapping=dict(message.mapping),
        constants=dict(message.constants),
        answers=dict(message.answers),
        item_types=[(rule.value, rule.kind, rule.flip_sign) for rule in message.item_types],
        unknown_item_type=message.unknown_item_type,
        mode=message.mode,
        source_system=message.source_system,
    )


def _tried(analysis: domain.Analysis, language: str) -> pb.TestProfileResponse:
    reply = pb.TestProfileResponse(read=analysis.read, accepted=analysis.accepted_rows, rejected=analysis.rejected)
    shown = analysis.rejects.slice(0, REJECTS_SHOWN)
    for reject, reason in zip(shown.to_pylist(), domain.reject_reasons(shown, language).to_pylist(), strict=True):
        reply.rejects.add(line=reject["line"], field=reject["field"], reason=reason, code=reject["code"])
    for column in analysis.columns:
        reply.columns.add(
            position=column.position,
            header=column.header,
            field=column.field,
            format=column.format,
            reason=column.reason,
            samples=column.samples,
            filled=column.filled,
        )
    for row in analysis.preview:
        reply.preview.add(line=row["line"], values=row["values"], reject=row["reject"])
    for question in analysis.questions:
        _add_question(reply, question, language)
    reply.warnings.extend(domain.warning_lines(analysis, language))
    for total in analysis.totals:
        reply.totals.add(
            currency=total.currency,
            item_count=total.item_count,
            total=money_pb2.Money(currency=total.currency, minor_units=total.open_minor),
            initial=money_pb2.Money(currency=total.currency, minor_units=total.initial_minor),
        )
    return reply


def _add_question(reply: Any, question: domain.Question, language: str) -> None:
    entry = reply.questions.add(
        code=question.code,
        column=question.column,
        options=question.options,
        text=question.text_fr if language == "fr" else question.text,
    )
    for evidence in question.evidence:
        entry.evidence.add(option=evidence.option, examples=evidence.examples, fits=evidence.fits, of=evidence.of)
