"""SourceService."""

from __future__ import annotations

import grpc

from importer import channels, store, usecases
from importer.store import SourceRow
from importer.translate import instant
from kit import context as kit_context
from kit.service import Runtime
from quittance.importer.v1 import source_service_pb2 as pb
from quittance.importer.v1 import source_service_pb2_grpc as pb_grpc


class SourceRpc(pb_grpc.SourceServiceServicer):
    """Where files come from by themselves."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._transaction = runtime.transaction

    def ListSources(self, request: pb.ListSourcesRequest, context: grpc.ServicerContext) -> pb.ListSourcesResponse:
        codes = kit_context.current_caller().entity_codes
        with self._transaction() as session:
            rows, token, total = store.sources(
                session, request.filter, request.order_by, request.page_size, request.page_token, codes
            )
            return pb.ListSourcesResponse(
                sources=[source_to_proto(row) for row in rows], next_page_token=token, total_size=total
            )

    def GetSource(self, request: pb.GetSourceRequest, context: grpc.ServicerContext) -> pb.GetSourceResponse:
        with self._transaction() as session:
            return pb.GetSourceResponse(source=source_to_proto(usecases.find_source(session, request.source_id)))

    def CreateSource(self, request: pb.CreateSourceRequest, context: grpc.ServicerContext) -> pb.CreateSourceResponse:
        with self._transaction() as session:
            row, password = usecases.create_source(
                session, self._settings, draft_of(request.source), secrets_of(request.secrets), self._know_entity
            )
            return pb.CreateSourceResponse(source=source_to_proto(row), password=password)

    def UpdateSource(self, request: pb.UpdateSourceRequest, context: grpc.ServicerContext) -> pb.UpdateSourceResponse:
        with self._transaction() as session:
            row = usecases.update_source(
                session,
                self._settings,
                request.source_id,
                draft_of(request.source),
                request.version,
                self._know_entity,
            )
            return pb.UpdateSourceResponse(source=source_to_proto(row))

    def DeleteSource(self, request: pb.DeleteSourceRequest, context: grpc.ServicerContext) -> pb.DeleteSourceResponse:
        with self._transaction() as session:
            usecases.delete_source(session, request.source_id)
        return pb.DeleteSourceResponse()

    def ReplaceAccess(
        self, request: pb.ReplaceAccessRequest, context: grpc.ServicerContext
    ) -> pb.ReplaceAccessResponse:
        with self._transaction() as session:
            row, password = usecases.replace_access(
                session, self._settings, request.source_id, secrets_of(request.secrets)
            )
            return pb.ReplaceAccessResponse(source=source_to_proto(row), password=password)

    def GetChannels(self, request: pb.GetChannelsRequest, context: grpc.ServicerContext) -> pb.GetChannelsResponse:
        told = channels.told(self._settings)
        return pb.GetChannelsResponse(file_limit_bytes=self._settings.upload_limit_bytes, **told)

    def LookUpHostKey(
        self, request: pb.LookUpHostKeyRequest, context: grpc.ServicerContext
    ) -> pb.LookUpHostKeyResponse:
        key, fingerprint = channels.host_key_of(self._settings, request.host.strip(), request.port)
        return pb.LookUpHostKeyResponse(host_key=key, fingerprint=fingerprint)

    def PullNow(self, request: pb.PullNowRequest, context: grpc.ServicerContext) -> pb.PullNowResponse:
        with self._transaction() as session:
            usecases.pull_now(session, request.source_id)
        return pb.PullNowResponse()

    def _know_entity(self, code: str) -> str:
        return usecases.entity_currency(self._runtime.database, lambda: self._runtime.channel("ledger"), code)


def draft_of(message: pb.SourceDraft) -> usecases.SourceDraft:
    """What a person says, as the use cases take it."""
    pull = message.pull
    return usecases.SourceDraft(
        name=message.name,
        entity_code=message.entity_code,
        kind=kind_name(message.kind),
        patterns=[
            {"pattern": entry.pattern, "profile_id": entry.profile_id, "mode": entry.mode} for entry in message.patterns
        ],
        mode=message.mode,
        apply=message.apply,
        recipients=list(message.recipients),
        language=message.language,
        enabled=message.enabled,
        pull={
            "host": pull.host,
            "port": pull.port,
            "user_name": pull.user_name,
            "host_key": pull.host_key,
            "folder": pull.folder,
            "after": pb.AfterPull.Name(pull.after).removeprefix("AFTER_PULL_") if pull.after else "",
            "done_folder": pull.done_folder,
            "every_minutes": pull.every_minutes,
        },
    )


def secrets_of(message: pb.SourceSecrets) -> usecases.Secrets:
    """Secrets on their way in."""
    return usecases.Secrets(public_key=message.public_key, password=message.password, private_key=message.private_key)


def kind_name(value: int) -> str:
    """SFTP, FTPS...; empty for UNSPECIFIED."""
    return pb.SourceKind.Name(value).removeprefix("SOURCE_KIND_") if value else ""  # type: ignore[arg-type]


def source_to_proto(row: SourceRow) -> pb.Source:
    """One source; of its secrets only what they look like from outside."""
    pull = None
    if row.pull:
        said = dict(row.pull)
        pull = pb.PullSettings(
            **{**said, "after": pb.AfterPull.Value(f"AFTER_PULL_{said['after']}")},
            host_key_fingerprint=usecases.fingerprint_of(said["host_key"]),
        )
    return pb.Source(
        source_id=row.source_id,
        version=row.version,
        draft=pb.SourceDraft(
            name=row.name,
            entity_code=row.entity_code,
            kind=pb.SourceKind.Value(f"SOURCE_KIND_{row.kind}"),
            patterns=[pb.FilePattern(**entry) for entry in row.patterns],
            mode=row.mode,
            apply=row.apply,
            recipients=row.recipients,
            language=row.language,
            enabled=row.enabled,
            pull=pull,
        ),
        user_name=row.user_name,
        access=row.access_kind,
        key_fingerprint=row.key_fingerprint,
        last_file_name=row.last_file_name,
        last_import_id=row.last_import_id or "",
        last_file_at=instant(row.last_file_at),
        last_success_at=instant(row.last_success_at),
        last_error=row.last_error,
        last_error_at=instant(row.last_error_at),
        last_pull_at=instant(row.last_pull_at),
    )
