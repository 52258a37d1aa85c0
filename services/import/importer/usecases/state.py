"""What all use cases share: finding an import, changing its state with an event, its files."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy.orm import Session

from importer import domain, store
from importer.domain import Question
from importer.domain.reading import stream
from importer.store import BatchRow
from importer.translate import import_to_proto
from kit import bulk, context, files
from kit.errors import Code, Refused
from kit.jobs import enqueue
from kit.outbox import emit
from quittance.importer.v1 import import_events_pb2 as events_pb

# States in which an import waits for a person or has ended.
SETTLED = ("QUESTIONS", "PREVIEWED", "APPLIED", "FAILED", "CANCELLED", "ROLLED_BACK")


def find(session: Session, import_id: str, lock: bool = False) -> BatchRow:
    """The import, if the caller may see its entity. Refuses NOT_FOUND IMPORT_UNKNOWN."""
    row = store.batch_for_update(session, import_id) if lock else store.batch(session, import_id)
    if row is None or not context.current_caller().sees_entity(row.entity_code):
        raise Refused(Code.NOT_FOUND, "IMPORT_UNKNOWN", "there is no such import")
    return row


def changed(session: Session, row: BatchRow) -> None:
    row.version += 1
    session.flush()
    if row.source_id is not None and row.state in SETTLED:
        # Nobody stood beside it: whoever looks after the source hears what became of the file.
        payload = {"import_id": row.import_id, "state": row.state, "version": row.version}
        enqueue(session, "import.report", payload, f"{row.import_id}:{row.state}:{row.round}:{row.apply_round}")
    emit(
        session,
        events_pb.ImportChanged(import_run=import_to_proto(row, whole=False), version=row.version),
        key=row.import_id,
    )


def fail(session: Session, row: BatchRow, code: str, **values: str) -> None:
    """Ends the import with a reason; what the ledger has committed of it stays and is not repeated by a new try."""
    row.state, row.failure_code, row.failure_values, row.rows_per_second = "FAILED", code, values, 0.0
    row.stage, row.stage_rows = "", 0
    changed(session, row)


def with_warning(details: dict[str, Any], code: str, **values: str) -> dict[str, Any]:
    """What a page shows, with a warning that takes the place of an earlier one of its kind."""
    others = [entry for entry in details.get("warnings", []) if entry[0] != code]
    return {**details, "warnings": [*others, [code, values]]}


def raw_key(sha256: str) -> str:
    return f"{context.current_tenant()}/raw/{sha256}"


def work_key(row: BatchRow, name: str) -> str:
    return f"{context.current_tenant()}/imports/{row.import_id}/{row.round}/{name}"


def read_file(settings: Any, key: str) -> bytes:
    with contextlib.closing(files.store(settings).get(key)) as stream:
        return bytes(stream.read())


@contextlib.contextmanager
def large_file(settings: Any, row: BatchRow) -> Iterator[domain.LargeFile | None]:
    """An import's file, parsed in parts into a folder that is removed with the block; None where it is read whole.
    Raises: Unreadable."""
    is_small = row.size_bytes < stream.STREAM_FROM_BYTES
    if is_small or row.wanted_object not in ("", domain.ITEMS) or row.answers.keys() & {"encoding", "sheet"}:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="quittance-import-") as name:
        folder = Path(name)
        path = folder / "file"
        with contextlib.closing(files.store(settings).get(raw_key(row.sha256))) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
        yield domain.open_large(path, folder)


def raw_table(settings: Any, row: BatchRow) -> domain.RawTable:
    """The rows of an import's file as text. Raises: Unreadable with a code and a text for a bookkeeper."""
    limit = min(settings.whole_file_limit_bytes, settings.upload_limit_bytes)
    if row.size_bytes > limit:
        # What is read here is held in memory as a whole, whatever its format.
        raise domain.Unreadable("TOO_LARGE_AS_A_WHOLE", limit_mb=str(limit // (1024 * 1024)))
    data = read_file(settings, raw_key(row.sha256))
    if domain.is_arrow(data):
        return domain.read_arrow(data)
    return domain.read_table(
        data,
        row.file_name,
        encoding=row.answers.get("encoding", ""),
        sheet=row.answers.get("sheet", ""),
        object=row.wanted_object,
        limit_bytes=limit,
    )


def put_table(settings: Any, key: str, table: pa.Table) -> None:
    files.store(settings).put(key, io.BytesIO(bulk.to_ipc(table)))


def stock_question(cleared: str, opened: str, other_codes: str = "") -> Question:
    """The question of the stock guard; with the company codes a file names instead of the entity's."""
    code, codes = ("stockGuardEntity", {"codes": other_codes}) if other_codes else ("stockGuard", {})
    texts = {
        language: domain.question_text(code, language, cleared=cleared, open=opened, **codes)
        for language in ("en", "fr")
    }
    return Question("stockGuard", "", ("CONFIRM", "CANCEL"), texts["en"], texts["fr"])
