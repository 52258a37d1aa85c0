"""Files in parts and rows without a file: kept piece by piece, gone on with after a break, put together into an import."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import IO, Any

import pyarrow as pa
from sqlalchemy.orm import Session

from importer import domain, store
from importer.store import BatchRow, RowStreamRow, UploadRow
from importer.usecases.state import changed, fail, raw_key
from importer.usecases.uploading import SPOOL_BYTES, Upload, add_import, ask_for_reading, prepared
from kit import clock, context, files
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.jobs import enqueue

READ_BYTES = 1024 * 1024
BATCH_ROWS_MAX = 50_000


# ---- files in parts --------------------------------------------------------------------------------------------------


def create_upload(database: Database, settings: Any, ledger: Callable[[], Any], said: Upload, sha256: str) -> UploadRow:
    """Announces a file. Refuses as start_import; RESOURCE_EXHAUSTED TOO_MANY_UPLOADS."""
    upload, _ = prepared(database, settings, ledger, said)
    caller, now = context.current_caller(), clock.utc_now()
    with database.transaction() as session:
        if store.open_uploads(session) >= settings.open_uploads_max:
            raise Refused(Code.RESOURCE_EXHAUSTED, "TOO_MANY_UPLOADS", "too many uploads are open: finish some first")
        row = UploadRow(
            upload_id=new_id(),
            file_name=upload.file_name,
            size_bytes=upload.size_bytes,
            sha256=sha256,
            header=asdict(said),
            created_by=caller.actor,
            created_at=now,
            touched_at=now,
        )
        session.add(row)
    return row


def find_upload(session: Session, upload_id: str, lock: bool = False) -> UploadRow:
    """An upload of the caller's own. Refuses NOT_FOUND UPLOAD_UNKNOWN."""
    row = store.upload(session, upload_id, lock)
    if row is None or row.created_by != context.current_caller().actor:
        raise Refused(Code.NOT_FOUND, "UPLOAD_UNKNOWN", "there is no such upload")
    return row


def append_upload(database: Database, settings: Any, upload_id: str, offset: int, pieces: Iterable[bytes]) -> UploadRow:
    """Adds bytes; each part that is full is kept and committed, so a break loses less than one part.

    Refuses: NOT_FOUND UPLOAD_UNKNOWN; ABORTED OFFSET_WRONG; OUT_OF_RANGE UPLOAD_TOO_LONG; FAILED_PRECONDITION
    UPLOAD_STARTED.
    """
    with database.transaction() as session:
        row = find_upload(session, upload_id)
        _at_offset(row, offset)
        size_bytes = row.size_bytes
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as part:
        try:
            for piece in pieces:
                if offset + part.tell() + len(piece) > size_bytes:
                    text = f"more than the {size_bytes} bytes that were announced"
                    raise Refused(Code.OUT_OF_RANGE, "UPLOAD_TOO_LONG", text)
                part.write(piece)
                if part.tell() >= settings.upload_part_bytes:
                    offset = _keep_part(database, settings, upload_id, offset, part)
        finally:
            # A connection that breaks has brought what it has brought.
            if part.tell():
                _keep_part(database, settings, upload_id, offset, part)
    with database.transaction() as session:
        return find_upload(session, upload_id)


def _at_offset(row: UploadRow, offset: int) -> None:
    if row.started:
        raise Refused(Code.FAILED_PRECONDITION, "UPLOAD_STARTED", "this upload is an import already")
    if row.offset_bytes != offset:
        text = f"the next byte is number {row.offset_bytes}"
        raise Refused(Code.ABORTED, "OFFSET_WRONG", text, offset=str(row.offset_bytes))


def _keep_part(database: Database, settings: Any, upload_id: str, offset: int, part: IO[bytes]) -> int:
    """Keeps one part and moves the offset behind it; the bytes before the row, so that a crash loses only them."""
    size = part.tell()
    part.seek(0)
    # A name of its own: somebody who goes on while the broken connection still ends must not write over it.
    name = f"{offset:012d}-{new_id()}"
    files.store(settings).put(part_key("uploads", upload_id, name), part)
    with database.transaction() as session:
        row = store.upload(session, upload_id, lock=True)
        if row is None:
            raise Refused(Code.NOT_FOUND, "UPLOAD_UNKNOWN", "there is no such upload")
        _at_offset(row, offset)
        row.parts = [*row.parts, name]
        row.offset_bytes = offset + size
        row.touched_at = clock.utc_now()
    part.seek(0)
    part.truncate()
    return offset + size


def part_key(kind: str, owner_id: str, name: str) -> str:
    """Where one part lies."""
    return f"{context.current_tenant()}/{kind}/{owner_id}/{name}"


def start_upload(database: Database, settings: Any, ledger: Callable[[], Any], upload_id: str) -> BatchRow:
    """Makes the import out of a complete upload; its parts are put together by a job. Again: the same import.

    Refuses: NOT_FOUND UPLOAD_UNKNOWN; FAILED_PRECONDITION UPLOAD_INCOMPLETE; and as start_import.
    """
    with database.transaction() as session:
        row = find_upload(session, upload_id)
        done = store.batch(session, upload_id)
        if done is not None:
            return done
        if row.offset_bytes != row.size_bytes:
            text = f"{row.offset_bytes} of {row.size_bytes} bytes are here"
            raise Refused(Code.FAILED_PRECONDITION, "UPLOAD_INCOMPLETE", text, offset=str(row.offset_bytes))
        said = Upload(**row.header)
    upload, currency = prepared(database, settings, ledger, said)
    with database.transaction() as session:
        row = find_upload(session, upload_id, lock=True)
        done = store.batch(session, upload_id)
        if done is not None:
            return done
        row.started = True
        run = add_import(session, upload, currency, upload_id, "", row.size_bytes)
        enqueue(session, "import.keep", {"import_id": upload_id, "upload": upload_id}, f"upload:{upload_id}")
        changed(session, run)
        return run


def delete_upload(database: Database, settings: Any, upload_id: str) -> None:
    """Gives up an upload. Refuses NOT_FOUND UPLOAD_UNKNOWN; FAILED_PRECONDITION UPLOAD_STARTED."""
    with database.transaction() as session:
        row = find_upload(session, upload_id, lock=True)
        if row.started:
            raise Refused(Code.FAILED_PRECONDITION, "UPLOAD_STARTED", "this upload is an import already")
        parts = list(row.parts)
        session.delete(row)
    _drop_parts(settings, "uploads", upload_id, parts)


def _drop_parts(settings: Any, kind: str, owner_id: str, parts: Iterable[str]) -> None:
    kept = files.store(settings)
    for name in parts:
        kept.delete(part_key(kind, owner_id, name))


# ---- rows without a file ---------------------------------------------------------------------------------------------


def open_stream(
    database: Database, settings: Any, ledger: Callable[[], Any], batch_id: str, said: Upload
) -> RowStreamRow:
    """The batch of this id: a new one, or the one that broke off.

    Refuses: ALREADY_EXISTS BATCH_ID_REUSED when its header was another one; and as start_import.
    """
    prepared(database, settings, ledger, said)
    header = asdict(said)
    mark = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
    caller = context.current_caller()
    with database.transaction() as session:
        row = store.row_stream(session, batch_id)
        if row is None:
            row = RowStreamRow(
                batch_id=batch_id,
                stream_id=new_id(),
                header_sha256=mark,
                header=header,
                created_by=caller.actor,
                touched_at=clock.utc_now(),
            )
            session.add(row)
            session.flush()
        elif row.created_by != caller.actor or row.header_sha256 != mark:
            raise Refused(Code.ALREADY_EXISTS, "BATCH_ID_REUSED", "this batch id was used with another header")
        return row


def find_stream(session: Session, batch_id: str, lock: bool = False) -> RowStreamRow:
    """A stream of the caller's own. Refuses NOT_FOUND STREAM_UNKNOWN."""
    row = store.row_stream(session, batch_id, lock)
    if row is None or row.created_by != context.current_caller().actor:
        raise Refused(Code.NOT_FOUND, "STREAM_UNKNOWN", "there is no such stream")
    return row


def keep_batch(database: Database, settings: Any, stream: RowStreamRow, sequence: int, rows: pa.Table) -> RowStreamRow:
    """Keeps the rows of one sequence number; a number kept before is passed over.

    Refuses: ABORTED SEQUENCE_GAP; FAILED_PRECONDITION STREAM_FINISHED; INVALID_ARGUMENT ROWS_UNREADABLE;
    RESOURCE_EXHAUSTED STREAM_TOO_LARGE.
    """
    if stream.finished:
        raise Refused(Code.FAILED_PRECONDITION, "STREAM_FINISHED", "this batch is finished")
    if sequence <= stream.last_sequence:
        return stream
    if sequence != stream.last_sequence + 1:
        text = f"the next sequence number is {stream.last_sequence + 1}"
        raise Refused(Code.ABORTED, "SEQUENCE_GAP", text, last_sequence=str(stream.last_sequence))
    table = stream_table(rows)
    columns = [*stream.columns, *(name for name in table.column_names if name not in stream.columns)]
    if len(columns) > domain.COLUMNS_MAX:
        text = f"rows have at most {domain.COLUMNS_MAX} columns"
        raise Refused(Code.INVALID_ARGUMENT, "ROWS_UNREADABLE", text, {"rows": text})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    size = sink.tell()
    if stream.size_bytes + table.nbytes > settings.upload_limit_bytes:
        raise Refused(Code.RESOURCE_EXHAUSTED, "STREAM_TOO_LARGE", "this batch is too large: divide it")
    sink.seek(0)
    name = f"{sequence:012d}-{new_id()}"
    files.store(settings).put(part_key("streams", stream.stream_id, name), sink)
    assert size > 0
    with database.transaction() as session:
        row = find_stream(session, stream.batch_id, lock=True)
        # Two streams of one batch at once: the first that keeps a number wins, the other one passes over it.
        if row.last_sequence == sequence - 1 and not row.finished:
            row.columns, row.last_sequence, row.parts = list(columns), sequence, [*row.parts, name]
            row.row_count, row.size_bytes = row.row_count + table.num_rows, row.size_bytes + table.nbytes
            row.touched_at = clock.utc_now()
        return row


def stream_table(rows: pa.Table) -> pa.Table:
    """Streamed rows as text. Refuses INVALID_ARGUMENT ROWS_UNREADABLE."""
    problem = ""
    if not 0 < rows.num_rows <= BATCH_ROWS_MAX:
        problem = f"a batch has 1 to {BATCH_ROWS_MAX} rows"
    elif len(set(rows.column_names)) != rows.num_columns or not rows.num_columns:
        problem = "columns have names, each its own"
    if not problem:
        try:
            return domain.text_columns(rows)
        except (ValueError, pa.ArrowException) as error:
            problem = str(error)[:200]
    raise Refused(Code.INVALID_ARGUMENT, "ROWS_UNREADABLE", problem, {"rows": problem})


def finish_stream(
    database: Database, settings: Any, ledger: Callable[[], Any], batch_id: str, row_count: int
) -> RowStreamRow:
    """Makes the import out of all rows of a batch. Again: the same import.

    Refuses: FAILED_PRECONDITION ROWS_MISSING when another number of rows is kept; and as start_import.
    """
    with database.transaction() as session:
        row = find_stream(session, batch_id)
        if row.finished:
            return row
        if row.row_count != row_count or not row.row_count:
            text = f"{row.row_count} rows are here, {row_count} were announced"
            raise Refused(Code.FAILED_PRECONDITION, "ROWS_MISSING", text, last_sequence=str(row.last_sequence))
        said = Upload(**row.header)
        columns = list(row.columns)
    upload, currency = prepared(database, settings, ledger, said)
    # Columns called like our fields need no recognising; a profile or the recogniser reads the others.
    upload.mapping.update(domain.mapping_by_names(upload.object, columns))
    with database.transaction() as session:
        row = find_stream(session, batch_id, lock=True)
        if not row.finished:
            row.finished = True
            run = add_import(session, upload, currency, row.stream_id, "", row.size_bytes)
            payload = {"import_id": row.stream_id, "stream": batch_id}
            enqueue(session, "import.keep", payload, f"stream:{row.stream_id}")
            changed(session, run)
        return row


# ---- putting together ------------------------------------------------------------------------------------------------


def keep_import(job: Any, import_id: str) -> None:
    """The job that puts parts together under the hash of the whole, and asks for the reading. Repeatable."""
    with job.database.transaction() as session:
        run = store.batch(session, import_id)
        if run is None or run.state != "UPLOADED" or run.sha256:
            return
        if "upload" in job.payload:
            upload = store.upload(session, job.payload["upload"])
            assert upload is not None, "an upload that was started stays until it is an import"
            wanted, names, kind, columns = upload.sha256, list(upload.parts), "uploads", []
        else:
            stream = store.row_stream(session, job.payload["stream"])
            assert stream is not None, "a stream that was finished stays until it is an import"
            wanted, names, kind = "", list(stream.parts), "streams"
            columns = list(stream.columns)
    with tempfile.TemporaryFile() as whole:
        if kind == "uploads":
            for piece in _part_bytes(job, kind, import_id, names):
                whole.write(piece)
        else:
            _write_arrow(job, import_id, names, columns, whole)
        size = whole.tell()
        sha256 = _hash_of(whole)
        if not wanted or wanted == sha256:
            files.store(job.settings).put(raw_key(sha256), whole)
    with job.database.transaction() as session:
        job.fence(session)
        run = store.batch_for_update(session, import_id)
        if run is None or run.state != "UPLOADED" or run.sha256:
            return
        run.sha256, run.size_bytes = sha256, size
        if wanted and wanted != sha256:
            fail(session, run, "FILE_DAMAGED")
        else:
            store.keep_raw_file(session, sha256, size, clock.utc_now())
            ask_for_reading(session, run)
            changed(session, run)
    # Nobody asks for the parts again; should this be killed here, they are swept with the upload.
    _drop_parts(job.settings, kind, import_id, names)


def _hash_of(whole: IO[bytes]) -> str:
    whole.seek(0)
    digest = hashlib.sha256()
    while piece := whole.read(READ_BYTES):
        digest.update(piece)
    whole.seek(0)
    return digest.hexdigest()


def _part_bytes(job: Any, kind: str, owner_id: str, names: Iterable[str]) -> Iterator[bytes]:
    kept = files.store(job.settings)
    for name in names:
        with contextlib.closing(kept.get(part_key(kind, owner_id, name))) as part:
            while piece := part.read(READ_BYTES):
                yield piece


def _write_arrow(job: Any, stream_id: str, names: list[str], columns: list[str], whole: IO[bytes]) -> None:
    """All batches as one Arrow file with the columns any of them has; one batch in memory at a time."""
    kept = files.store(job.settings)
    schema = pa.schema([(name, pa.string()) for name in columns])
    with pa.ipc.new_file(whole, schema) as writer:
        for name in names:
            with contextlib.closing(kept.get(part_key("streams", stream_id, name))) as part:
                table = pa.ipc.open_stream(part.read()).read_all()
            blank = pa.repeat("", table.num_rows)
            filled = [table.column(column) if column in table.column_names else blank for column in columns]
            writer.write_table(pa.table(filled, schema=schema))
    whole.seek(0, io.SEEK_END)


def sweep_uploads(job: Any) -> None:
    """The schedule that drops uploads and streams nobody went on with."""
    before = clock.utc_now() - timedelta(seconds=job.settings.upload_patience_s)
    dropped: list[tuple[str, str, list[str]]] = []
    with job.database.transaction() as session:
        job.fence(session)
        for upload in store.abandoned_uploads(session, before):
            dropped.append(("uploads", upload.upload_id, list(upload.parts)))
            session.delete(upload)
        for stream in store.abandoned_streams(session, before):
            dropped.append(("streams", stream.stream_id, list(stream.parts)))
            session.delete(stream)
        # Before the commit: a crash in between leaves rows whose parts are gone, and the next sweep takes those.
        for kind, owner_id, names in dropped:
            _drop_parts(job.settings, kind, owner_id, names)
