"""The job that recognises and validates a file."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import asdict
from typing import Any

from importer import domain, store
from importer.domain import Analysis, Unreadable
from importer.store import BatchRow
from importer.usecases.deciding import begin_apply
from importer.usecases.state import changed, fail, put_table, raw_key, read_file, stock_question, work_key
from kit.db import Database

log = logging.getLogger(__name__)

REJECTS_SHOWN = 100


def read_import(job: Any, import_id: str, round_: int) -> None:
    """Recognises and validates the file; leaves QUESTIONS, PREVIEWED, FAILED or, when asked to, APPLYING.
    Repeatable."""
    with job.database.transaction() as session:
        row = store.batch_for_update(session, import_id)
        if row is None or row.round != round_ or row.state not in ("UPLOADED", "READING"):
            return
        if row.state == "UPLOADED":
            row.state = "READING"
            changed(session, row)
        session.expunge(row)
    started = time.monotonic()
    try:
        with _beating(job):
            data = read_file(job.settings, raw_key(row.sha256))
            raw = domain.read_table(
                data,
                row.file_name,
                encoding=row.answers.get("encoding", ""),
                sheet=row.answers.get("sheet", ""),
                limit_bytes=job.settings.upload_limit_bytes,
            )
            read_s = time.monotonic() - started
            remembered, profile_id = _remembered(job.database, raw.headers, row.wanted_object)
            analysis = domain.analyse(
                raw,
                domain.Wanted(
                    entity_code=row.entity_code,
                    entity_currency=row.entity_currency,
                    object=row.wanted_object,
                    mapping=row.mapping,
                    answers=row.answers,
                    remembered=remembered,
                ),
            )
            if analysis.accepted is not None:
                put_table(job.settings, work_key(row, "accepted.arrow"), analysis.accepted)
            put_table(job.settings, work_key(row, "rejects.arrow"), analysis.rejects)
    except Unreadable as refusal:
        with job.database.transaction() as session:
            job.fence(session)
            row = store.batch_for_update(session, import_id)
            if row is not None and row.round == round_ and row.state == "READING":
                fail(session, row, refusal.code, **refusal.values)
        return
    validate_s = time.monotonic() - started - read_s
    with job.database.transaction() as session:
        job.fence(session)
        row = store.batch_for_update(session, import_id)
        if row is None or row.round != round_ or row.state != "READING":
            return
        _keep_reading(row, analysis, raw, profile_id)
        row.stage_seconds = {**row.stage_seconds, "read": round(read_s, 3), "validate": round(validate_s, 3)}
        if row.details["questions"]:
            row.state = "QUESTIONS"
            changed(session, row)
        elif row.apply:
            begin_apply(session, row)
        else:
            row.state = "PREVIEWED"
            changed(session, row)


def _remembered(database: Database, headers: list[str], wanted: str) -> tuple[domain.Remembered | None, str | None]:
    with database.transaction() as session:
        profile = store.profile_by_fingerprint(session, domain.fingerprint(headers), wanted)
        if profile is None:
            return None, None
        return domain.Remembered(profile.object, profile.mapping, profile.answers), profile.profile_id


def _keep_reading(row: BatchRow, analysis: Analysis, raw: domain.RawTable, profile_id: str | None) -> None:
    headers = raw.headers
    questions = [asdict(question) for question in analysis.questions]
    empty_stock = row.mode == "stock" and analysis.object == domain.ITEMS and analysis.accepted_rows == 0
    if empty_stock and not questions and row.answers.get("stockGuard") != "CONFIRM":
        # A complete list without one valid row would clear everything: never without a person's word.
        questions.append(asdict(stock_question("all", "the entity's")))
    row.object, row.fingerprint, row.profile_id = analysis.object, analysis.fingerprint, profile_id
    row.read_count, row.accepted_count, row.rejected_count = analysis.read, analysis.accepted_rows, analysis.rejected
    row.chunk_bounds, row.chunk_counts, row.ledger_rejects, row.rows_done = [], {}, [], 0
    row.details = {
        "questions": questions,
        "columns": [
            {
                **asdict(column),
                "key": column.header if column.header and headers.count(column.header) == 1 else f"#{column.position}",
            }
            for column in analysis.columns
        ],
        "preview": analysis.preview,
        "totals": [asdict(total) for total in analysis.totals],
        "warnings": [[code, values] for code, values in analysis.warnings],
        "rejects": analysis.rejects.slice(0, REJECTS_SHOWN).to_pylist(),
        "encoding": raw.encoding,
        "delimiter": raw.delimiter,
        "header_line": raw.header_line,
    }


@contextlib.contextmanager
def _beating(job: Any) -> Iterator[None]:
    """Keeps the job's lease alive while one long computation runs."""
    done = threading.Event()
    interval_s = max(job.settings.job_lease_s / 4, 1.0)

    def beat() -> None:
        while not done.wait(interval_s):
            try:
                job.heartbeat()
            except Exception as error:  # noqa: BLE001 - the fence at the end decides whether the work still counts
                log.warning("import: lease not renewed: %s", error)

    thread = threading.Thread(target=copy_context().run, args=(beat,), name="import-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
