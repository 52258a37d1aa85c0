"""The job that recognises and validates a file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from importer import domain, store
from importer.domain import Analysis, Unreadable
from importer.store import BatchRow, ProfileRow
from importer.usecases.accepted import keep_accepted, parts_of
from importer.usecases.deciding import begin_apply, begin_plan, needs_plan
from importer.usecases.profiles import choose_profile, remembered_of
from importer.usecases.state import (
    changed,
    fail,
    large_file,
    put_table,
    raw_table,
    stock_question,
    with_warning,
    work_key,
)

REJECTS_SHOWN = 100


def read_import(job: Any, import_id: str, round_: int) -> None:
    """Recognises and validates the file; leaves QUESTIONS, PREVIEWED, FAILED or, when asked to, APPLYING.
    Repeatable."""
    with job.database.transaction() as session:
        row = store.batch_for_update(session, import_id)
        if row is None or row.round != round_ or row.state not in ("UPLOADED", "READING"):
            return
        if row.state == "UPLOADED" or row.stage != "read":
            row.state, row.stage = "READING", "read"
            changed(session, row)
        session.expunge(row)
    if "jemalloc" in pa.supported_memory_backends():
        # It gives memory back; others keep what each thread once had (mimalloc: 80 MB more after a large file).
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    started = time.monotonic()
    try:
        found = _read(job, row)
    except Unreadable as refusal:
        with job.database.transaction() as session:
            job.fence(session)
            row = store.batch_for_update(session, import_id)
            if row is not None and row.round == round_ and row.state == "READING":
                fail(session, row, refusal.code, **refusal.values)
        return
    validate_s = time.monotonic() - started - found.read_s
    with job.database.transaction() as session:
        job.fence(session)
        row = store.batch_for_update(session, import_id)
        if row is None or row.round != round_ or row.state != "READING":
            return
        _keep_reading(row, found)
        twin = store.applied_twin(session, row)
        if twin:
            row.details = with_warning(row.details, "sameFile", name=twin)
        row.stage_seconds = {**row.stage_seconds, "read": round(found.read_s, 3), "validate": round(validate_s, 3)}
        row.stage, row.stage_rows, row.plan = "", 0, {}
        if row.details["questions"]:
            row.state = "QUESTIONS"
            changed(session, row)
        elif needs_plan(row):
            begin_plan(session, row)
        elif row.apply:
            begin_apply(session, row)
        else:
            row.state = "PREVIEWED"
            changed(session, row)


@dataclass
class _Read:
    """What a reading found; `raw` is the whole file, or the first part of a large one."""

    raw: domain.RawTable
    profile: ProfileRow | None
    analysis: Analysis
    chunk_bounds: list[list[int]]
    has_external_ids: bool
    read_s: float


def _read(job: Any, row: BatchRow) -> _Read:
    """Reads and validates the file, in parts where that is possible; keeps accepted and refused rows as files."""
    started = time.monotonic()
    with large_file(job.settings, row) as large:
        if large is not None and large.raw is not None:
            profile, wanted = _wanted(job, row, large.raw.headers)
            read_s = time.monotonic() - started
            # Constants of a profile stand in the table, and the parts do not have them.
            has_constants = wanted.remembered is not None and bool(wanted.remembered.constants)
            done = None if has_constants else domain.analyse_large(large, wanted)
            if done is not None:
                analysis, path = done
                bounds = keep_accepted(job.settings, row, analysis.object, parts_of(path))
                put_table(job.settings, work_key(row, "rejects.arrow"), analysis.rejects)
                return _Read(large.raw, profile, analysis, bounds, False, read_s)
    raw = raw_table(job.settings, row)
    read_s = time.monotonic() - started
    profile, wanted = _wanted(job, row, raw.headers)
    analysis, raw = domain.analyse_with_profile(raw, wanted)
    bounds, has_external_ids = [], False
    if analysis.accepted is not None:
        bounds = keep_accepted(job.settings, row, analysis.object, [analysis.accepted])
        has_external_ids = analysis.object == domain.ITEMS and _any(analysis.accepted, "external_id")
    put_table(job.settings, work_key(row, "rejects.arrow"), analysis.rejects)
    return _Read(raw, profile, analysis, bounds, has_external_ids, read_s)


def _any(table: pa.Table, column: str) -> bool:
    return bool(table[column].null_count < table.num_rows)


def _wanted(job: Any, row: BatchRow, headers: Sequence[str]) -> tuple[ProfileRow | None, domain.Wanted]:
    """The profile that reads a file of these headers, and all that is known beside the file."""
    with job.database.transaction() as session:
        profile = choose_profile(session, row, list(headers))
        entity = store.entity(session, row.entity_code)
        marks = (entity.name,) if entity is not None else ()
    return profile, domain.Wanted(
        entity_code=row.entity_code,
        entity_currency=row.entity_currency,
        object=row.wanted_object,
        mapping=row.mapping,
        answers=row.answers,
        file_on=row.file_on,
        remembered=remembered_of(profile) if profile is not None else None,
        entity_marks=marks,
    )


def _keep_reading(row: BatchRow, found: _Read) -> None:
    analysis, raw, profile = found.analysis, found.raw, found.profile
    headers = raw.headers
    if profile is not None and profile.mode and not row.mode_given:
        row.mode = profile.mode
    row.source_system = profile.source_system if profile is not None else ""
    row.profile_version = profile.version if profile is not None else 0
    questions = [asdict(question) for question in analysis.questions]
    empty_stock = row.mode == "stock" and analysis.object == domain.ITEMS and analysis.accepted_rows == 0
    if empty_stock and not questions and row.answers.get("stockGuard") != "CONFIRM":
        # A complete list without one valid row would clear everything: never without a person's word.
        questions.append(asdict(stock_question("all", "the entity's")))
    row.object, row.fingerprint, row.profile_id = (
        analysis.object,
        analysis.fingerprint,
        profile.profile_id if profile else None,
    )
    row.read_count, row.accepted_count, row.rejected_count = analysis.read, analysis.accepted_rows, analysis.rejected
    row.chunk_bounds, row.chunk_counts, row.ledger_rejects, row.rows_done = found.chunk_bounds, {}, [], 0
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
        "external_ids": found.has_external_ids,
        "document_count": len(raw.documents),
    }
