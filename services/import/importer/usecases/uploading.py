"""A file comes in: kept by its content, noted, its reading asked for."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from importer import domain, store
from importer.store import BatchRow
from importer.usecases.deciding import checked_answers, checked_totals
from importer.usecases.profiles import find_profile
from importer.usecases.sources import find_source, note_file, plan_for
from importer.usecases.state import changed, raw_key
from kit import clock, context, files
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.jobs import enqueue
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as ledger_grpc

SPOOL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """What is said about a file: by a person, a program, or the source it comes from."""

    file_name: str
    entity_code: str
    object: str = ""
    mode: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    apply: bool = False
    size_bytes: int = 0
    source_id: str = ""
    profile_id: str = ""
    channel: str = "UPLOAD"
    mapping: dict[str, str] = field(default_factory=dict)
    control_totals: tuple[domain.Expected, ...] = ()


def start_import(
    database: Database,
    settings: Any,
    ledger: Callable[[], Any],
    upload: Upload,
    pieces: Iterable[bytes],
    import_id: str = "",
) -> str:
    """Keeps the file and asks for its reading; returns the import's id.

    import_id: chosen by a caller that may come twice with one file; the second time changes nothing.
    Refuses: NOT_FOUND ENTITY_UNKNOWN, SOURCE_UNKNOWN, PROFILE_UNKNOWN; INVALID_ARGUMENT FILE_EMPTY, ANSWER_UNKNOWN,
    FILE_NAME_UNKNOWN; FAILED_PRECONDITION SOURCE_DISABLED; RESOURCE_EXHAUSTED FILE_TOO_LARGE.
    """
    started = time.monotonic()
    upload, currency = prepared(database, settings, ledger, upload)
    sha256, size = keep_pieces(settings, pieces)
    if size == 0:
        raise Refused(
            Code.INVALID_ARGUMENT,
            "FILE_EMPTY",
            domain.failure_text("FILE_EMPTY"),
            {"file": domain.failure_text("FILE_EMPTY")},
        )
    with database.transaction() as session:
        if import_id and store.batch(session, import_id) is not None:
            return import_id
        store.keep_raw_file(session, sha256, size, clock.utc_now())
        row = add_import(session, upload, currency, import_id or new_id(), sha256, size)
        row.stage_seconds = {"keep": round(time.monotonic() - started, 3)}
        ask_for_reading(session, row)
        changed(session, row)
    return row.import_id


def prepared(database: Database, settings: Any, ledger: Callable[[], Any], upload: Upload) -> tuple[Upload, str]:
    """The upload as its source completes it, checked; and the entity's currency. Refuses as start_import."""
    if upload.size_bytes > settings.upload_limit_bytes:
        raise too_large(settings.upload_limit_bytes)
    if upload.source_id:
        with database.transaction() as session:
            source = find_source(session, upload.source_id)
            if not source.enabled:
                raise Refused(Code.FAILED_PRECONDITION, "SOURCE_DISABLED", "this source is switched off")
            plan = plan_for(source, upload.file_name)
            if plan is None:
                text = "this name fits none of the source's patterns"
                raise Refused(Code.INVALID_ARGUMENT, "FILE_NAME_UNKNOWN", text, {"file": text})
            channel = source.kind if upload.channel == "UPLOAD" else upload.channel
        upload = replace(
            upload,
            entity_code=plan.entity_code,
            mode=plan.mode,
            profile_id=upload.profile_id or plan.profile_id,
            apply=plan.apply,
            channel=channel,
        )
    mode = upload.mode.lower()
    if mode not in ("", "delta", "stock"):
        raise Refused(Code.INVALID_ARGUMENT, "MODE_UNKNOWN", "mode is delta or stock", {"mode": "delta or stock"})
    if upload.profile_id:
        with database.transaction() as session:
            find_profile(session, upload.profile_id)
    checked_totals(upload.control_totals)
    upload = replace(upload, mode=mode, answers=checked_answers(upload.answers))
    return upload, entity_currency(database, ledger, upload.entity_code)


def keep_pieces(settings: Any, pieces: Iterable[bytes]) -> tuple[str, int]:
    """Keeps a file under the hash of its bytes; returns the hash and the size. Refuses FILE_TOO_LARGE."""
    limit = settings.upload_limit_bytes
    digest, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            digest.update(piece)
            spool.write(piece)
        spool.seek(0)
        sha256 = digest.hexdigest()
        if size:
            # Named by content: keeping it twice is harmless, and a crash before the commit leaves nothing that matters.
            files.store(settings).put(raw_key(sha256), spool)
    return sha256, size


def add_import(session: Session, upload: Upload, currency: str, import_id: str, sha256: str, size: int) -> BatchRow:
    """A new import of a kept file, or of one that is still being put together (without hash)."""
    caller, now = context.current_caller(), clock.utc_now()
    row = BatchRow(
        import_id=import_id,
        state="UPLOADED",
        file_name=upload.file_name,
        sha256=sha256,
        size_bytes=size,
        entity_code=upload.entity_code,
        entity_currency=currency,
        wanted_object=upload.object,
        mode=upload.mode or "delta",
        mode_given=bool(upload.mode),
        apply=upload.apply,
        answers=upload.answers,
        mapping=upload.mapping,
        version=0,
        file_on=clock.business_today(),
        created_by=caller.name or caller.actor,
        created_at=now,
        channel=upload.channel,
        source_id=upload.source_id or None,
        wanted_profile_id=upload.profile_id or None,
        control_totals=checked_totals(upload.control_totals),
    )
    session.add(row)
    session.flush()
    if upload.source_id:
        note_file(session, upload.source_id, upload.file_name, import_id, now)
    return row


def ask_for_reading(session: Session, row: BatchRow) -> None:
    """Asks for the job that reads the import's file."""
    enqueue(session, "import.read", {"import_id": row.import_id, "round": row.round}, f"{row.import_id}:{row.round}")


def too_large(limit: int) -> Refused:
    text = domain.failure_text("FILE_TOO_LARGE", limit_mb=str(limit // (1024 * 1024)))
    return Refused(Code.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE", text, limit_bytes=str(limit))


def entity_currency(database: Database, ledger: Callable[[], Any], code: str) -> str:
    """The entity's currency; an entity that is too new to have been heard of is looked up in the ledger."""
    unknown = Refused(
        Code.NOT_FOUND, "ENTITY_UNKNOWN", f"there is no entity {code}", {"entity": f"there is no entity {code}"}
    )
    if not context.current_caller().sees_entity(code):
        raise unknown
    with database.transaction() as session:
        row = store.entity(session, code)
        if row is not None:
            return row.currency
    try:
        reply = ledger_grpc.LedgerServiceStub(ledger()).GetEntity(ledger_pb.GetEntityRequest(entity=code))
    except Refused as error:
        if error.code is Code.NOT_FOUND:
            raise unknown from error
        raise
    return str(reply.entity.currency)
