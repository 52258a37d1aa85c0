"""A file comes in: kept by its content, noted, its reading asked for."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from importer import domain, store
from importer.store import BatchRow
from importer.usecases.deciding import checked_answers
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
    """What a person says about a file he uploads."""

    file_name: str
    entity_code: str
    object: str
    mode: str
    answers: dict[str, str]
    apply: bool
    size_bytes: int = 0


def start_import(
    database: Database, settings: Any, ledger: Callable[[], Any], upload: Upload, pieces: Iterable[bytes]
) -> str:
    """Keeps the file and asks for its reading; returns the import's id.

    Refuses: NOT_FOUND ENTITY_UNKNOWN; INVALID_ARGUMENT FILE_EMPTY, ANSWER_UNKNOWN; RESOURCE_EXHAUSTED FILE_TOO_LARGE.
    """
    started = time.monotonic()
    limit = settings.upload_limit_bytes
    if upload.size_bytes > limit:
        raise _too_large(limit)
    mode = upload.mode.lower() or "delta"
    if mode not in ("delta", "stock"):
        raise Refused(Code.INVALID_ARGUMENT, "MODE_UNKNOWN", "mode is delta or stock", {"mode": "delta or stock"})
    answers = checked_answers(upload.answers)
    currency = _entity_currency(database, ledger, upload.entity_code)
    digest, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            digest.update(piece)
            spool.write(piece)
        if size == 0:
            raise Refused(
                Code.INVALID_ARGUMENT,
                "FILE_EMPTY",
                domain.failure_text("FILE_EMPTY"),
                {"file": domain.failure_text("FILE_EMPTY")},
            )
        spool.seek(0)
        sha256 = digest.hexdigest()
        # Named by content: keeping it twice is harmless, and a crash before the commit leaves nothing that matters.
        files.store(settings).put(raw_key(sha256), spool)
    caller, now = context.current_caller(), clock.utc_now()
    row = BatchRow(
        import_id=new_id(),
        state="UPLOADED",
        file_name=upload.file_name,
        sha256=sha256,
        size_bytes=size,
        entity_code=upload.entity_code,
        entity_currency=currency,
        wanted_object=upload.object,
        mode=mode,
        apply=upload.apply,
        answers=answers,
        mapping={},
        version=0,
        file_on=clock.business_today(),
        created_by=caller.name or caller.actor,
        created_at=now,
        stage_seconds={"keep": round(time.monotonic() - started, 3)},
    )
    with database.transaction() as session:
        store.keep_raw_file(session, sha256, size, now)
        session.add(row)
        session.flush()
        enqueue(
            session, "import.read", {"import_id": row.import_id, "round": row.round}, f"{row.import_id}:{row.round}"
        )
        changed(session, row)
    return row.import_id


def _too_large(limit: int) -> Refused:
    text = domain.failure_text("FILE_TOO_LARGE", limit_mb=str(limit // (1024 * 1024)))
    return Refused(Code.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE", text, limit_bytes=str(limit))


def _entity_currency(database: Database, ledger: Callable[[], Any], code: str) -> str:
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
