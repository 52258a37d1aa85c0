"""What all use cases share: finding an import, changing its state with an event, its files."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pyarrow as pa
from sqlalchemy.orm import Session

from importer import domain, store
from importer.domain import Question
from importer.store import BatchRow
from importer.translate import import_to_proto
from kit import bulk, context, files
from kit.errors import Code, Refused
from kit.outbox import emit
from quittance.importer.v1 import import_events_pb2 as events_pb


def find(session: Session, import_id: str, lock: bool = False) -> BatchRow:
    """The import, if the caller may see its entity. Refuses NOT_FOUND IMPORT_UNKNOWN."""
    row = store.batch_for_update(session, import_id) if lock else store.batch(session, import_id)
    if row is None or not context.current_caller().sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "IMPORT_UNKNOWN", "there is no such import")
    return row


def changed(session: Session, row: BatchRow) -> None:
    row.version += 1
    session.flush()
    emit(
        session,
        events_pb.ImportChanged(import_run=import_to_proto(row, whole=False), version=row.version),
        key=row.import_id,
    )


def fail(session: Session, row: BatchRow, code: str, **values: str) -> None:
    """Ends the import with a reason; what the ledger has committed of it stays and is not repeated by a new try."""
    row.state, row.failure_code, row.failure_values, row.rows_per_second = "FAILED", code, values, 0.0
    changed(session, row)


def raw_key(sha256: str) -> str:
    return f"{context.current_tenant()}/raw/{sha256}"


def work_key(row: BatchRow, name: str) -> str:
    return f"{context.current_tenant()}/imports/{row.import_id}/{row.round}/{name}"


def read_file(settings: Any, key: str) -> bytes:
    with contextlib.closing(files.store(settings).get(key)) as stream:
        return bytes(stream.read())


def put_table(settings: Any, key: str, table: pa.Table) -> None:
    files.store(settings).put(key, io.BytesIO(bulk.to_ipc(table)))


def stock_question(cleared: str, opened: str) -> Question:
    texts = {
        language: domain.question_text("stockGuard", language, cleared=cleared, open=opened)
        for language in ("en", "fr")
    }
    return Question("stockGuard", "", ("CONFIRM", "CANCEL"), texts["en"], texts["fr"])
