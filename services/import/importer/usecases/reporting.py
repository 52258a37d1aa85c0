"""Reports by mail of what automatic imports came to."""

from __future__ import annotations

from typing import Any

from importer import reports, store
from importer.usecases.sources import note_outcome
from kit import clock
from quittance.gateway.v1 import identity_service_pb2 as identity_pb
from quittance.gateway.v1 import identity_service_pb2_grpc as identity_grpc
from quittance.notification.v1 import internal_mail_service_pb2 as mail_pb
from quittance.notification.v1 import internal_mail_service_pb2_grpc as mail_grpc

# People of one tenant who may upload; more than that are no readers of reports.
IMPORTERS_MAX = 500


def report_import(job: Any, import_id: str, state: str) -> None:
    """Notes the outcome at the source and mails it: to its recipients, and to the users with the right to upload who
    see the entity. Repeatable: a mail leaves once per import, state and address."""
    with job.database.transaction() as session:
        job.fence(session)
        run = store.batch(session, import_id)
        if run is None or run.state != state or run.source_id is None:
            return
        note_outcome(session, run, clock.utc_now())
        source = store.source(session, run.source_id)
        if source is None:
            return
        session.flush()
        session.expunge(source)
        session.expunge(run)
    language_by_address = dict.fromkeys(source.recipients, source.language)
    language_by_address |= _importers(job, run.entity_code)
    stub = mail_grpc.InternalMailServiceStub(job.runtime.channel("notification")) if language_by_address else None
    for address, language in sorted(language_by_address.items()):
        assert stub is not None
        job.heartbeat()
        stub.SendInternalMail(
            mail_pb.SendInternalMailRequest(
                purpose_key=f"import-report:{import_id}:{state}:{run.round}:{run.apply_round}:{address}",
                email=address,
                subject=reports.subject(language, run, source),
                text=reports.report_text(language, job.settings.public_url, run, source),
                language=language,
            )
        )


def _importers(job: Any, entity_code: str) -> dict[str, str]:
    """Language by address of active users with the right to upload; none where the installation has no gateway."""
    try:
        stub = identity_grpc.IdentityServiceStub(job.runtime.channel("gateway"))
        users = stub.ListUsers(identity_pb.ListUsersRequest(page_size=IMPORTERS_MAX, filter="active=true")).users
    except LookupError:
        return {}
    return {
        user.email: "fr" if user.language == "fr" else "en"
        for user in users
        if user.active and user.can_upload and (not user.entity_codes or entity_code in user.entity_codes)
    }
