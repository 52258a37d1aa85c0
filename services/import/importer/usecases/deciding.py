"""What people decide: answers, corrections, to apply or to give up."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from importer import domain, store
from importer.store import BatchRow
from importer.usecases.state import changed, find
from kit import clock
from kit.errors import Code, Refused
from kit.jobs import enqueue

# Answers that belong to the layout and are remembered with it; the others belong to one file.
REMEMBERED_ANSWERS = ("dateOrder", "decimalSign", "twoDigitYear", "currency")


def checked_answers(answers: Mapping[str, str]) -> dict[str, str]:
    wrong = domain.check_answers(answers)
    if wrong:
        raise Refused(
            Code.INVALID_ARGUMENT,
            "ANSWER_UNKNOWN",
            f"{wrong} cannot be answered so",
            {f"answers.{wrong}": "unknown answer"},
        )
    fixed = ("dateOrder", "object", "stockGuard", "currency")
    return {key: value.upper() if key.partition(":")[0] in fixed else value for key, value in answers.items()}


def answer_import(
    session: Session,
    import_id: str,
    answers: Mapping[str, str],
    mapping: Mapping[str, str],
    object_: str = "",
    mode: str = "",
    apply: bool = False,
) -> BatchRow:
    """Takes answers and corrections; the file is read again with them, and applied then when that was asked for.

    Refuses: NOT_FOUND IMPORT_UNKNOWN; FAILED_PRECONDITION IMPORT_NOT_OPEN, QUESTIONS_OPEN,
    IMPORT_FAILED; INVALID_ARGUMENT ANSWER_UNKNOWN.
    """
    row = find(session, import_id, lock=True)
    given = checked_answers(answers)
    _check_mapping(row, mapping)
    if mode and mode not in ("delta", "stock"):
        raise Refused(Code.INVALID_ARGUMENT, "MODE_UNKNOWN", "mode is delta or stock", {"mode": "delta or stock"})
    if apply:
        if row.state in ("APPLYING", "APPLIED"):
            return row
        if row.state == "FAILED" and row.failure_code == "LEDGER_UNREACHABLE":
            row.failure_code, row.failure_values = "", {}
            begin_apply(session, row)
            return row
        if row.state == "FAILED":
            text = domain.failure_text(row.failure_code, **row.failure_values)
            raise Refused(Code.FAILED_PRECONDITION, "IMPORT_FAILED", text)
    if row.state not in ("UPLOADED", "READING", "QUESTIONS", "PREVIEWED"):
        raise Refused(Code.FAILED_PRECONDITION, "IMPORT_NOT_OPEN", f"the import is {row.state.lower()}")
    row.apply = row.apply or apply
    guard_asked = any(question["code"] == "stockGuard" for question in row.details.get("questions", []))
    if guard_asked and "stockGuard" in given and not (set(given) - {"stockGuard"} or mapping or object_ or mode):
        row.answers = {**row.answers, **given}
        row.details = {
            **row.details,
            "questions": [question for question in row.details["questions"] if question["code"] != "stockGuard"],
        }
        if given["stockGuard"] == "CANCEL":
            # Rows that are in the ledger stay: they are facts of the file. Nothing is cleared.
            row.state = "APPLIED" if row.rows_done else "CANCELLED"
            row.applied_at = clock.utc_now() if row.rows_done else None
            changed(session, row)
        elif row.apply or row.rows_done:
            begin_apply(session, row)
        else:
            row.state = "PREVIEWED"
            changed(session, row)
        return row
    if given or mapping or object_ or mode:
        row.answers, row.mapping = {**row.answers, **given}, {**row.mapping, **mapping}
        row.wanted_object, row.mode = object_ or row.wanted_object, mode or row.mode
        row.round += 1
        row.state = "READING"
        enqueue(
            session, "import.read", {"import_id": row.import_id, "round": row.round}, f"{row.import_id}:{row.round}"
        )
        changed(session, row)
        return row
    if apply and row.state == "QUESTIONS":
        codes = ", ".join(question["code"] for question in row.details.get("questions", []))
        row.apply = False
        raise Refused(Code.FAILED_PRECONDITION, "QUESTIONS_OPEN", f"answer first: {codes}", questions=codes)
    if apply and row.state == "PREVIEWED":
        begin_apply(session, row)
    return row


def _check_mapping(row: BatchRow, mapping: Mapping[str, str]) -> None:
    wrong = domain.check_mapping(row.object, mapping)
    headers = {column["header"] for column in row.details.get("columns", [])}
    count = len(row.details.get("columns", []))
    places = {f"#{position}" for position in range(count)}
    unknown = wrong or next((header for header in mapping if count and header not in headers | places), "")
    if unknown:
        raise Refused(
            Code.INVALID_ARGUMENT,
            "ANSWER_UNKNOWN",
            f"{unknown} cannot be mapped so",
            {f"mapping.{unknown}": "unknown column or field"},
        )


def cancel_import(session: Session, import_id: str) -> BatchRow:
    """Gives up an import that is not applied. Refuses: NOT_FOUND IMPORT_UNKNOWN; FAILED_PRECONDITION
    IMPORT_NOT_OPEN."""
    row = find(session, import_id, lock=True)
    if row.state == "CANCELLED":
        return row
    if row.state in ("APPLYING", "APPLIED") or row.rows_done:
        raise Refused(Code.FAILED_PRECONDITION, "IMPORT_NOT_OPEN", f"the import is {row.state.lower()}")
    row.state = "CANCELLED"
    changed(session, row)
    return row


def begin_apply(session: Session, row: BatchRow) -> None:
    """Applying confirms the mapping: it is remembered, and the job is asked for."""
    mapping = {column["key"]: column["field"] for column in row.details.get("columns", [])}
    answers = {key: value for key, value in row.answers.items() if key.partition(":")[0] in REMEMBERED_ANSWERS}
    if mapping and not row.apply_round:
        row.profile_id = store.keep_profile(
            session,
            object_=row.object,
            fingerprint=row.fingerprint,
            name=row.file_name,
            mapping=mapping,
            answers=answers,
            now=clock.utc_now(),
        )
    row.state, row.apply = "APPLYING", True
    row.apply_round += 1
    enqueue(
        session,
        "import.apply",
        {"import_id": row.import_id, "apply_round": row.apply_round},
        f"{row.import_id}:{row.apply_round}",
    )
    changed(session, row)
