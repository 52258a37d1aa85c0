"""What people decide: answers, corrections, to apply or to give up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from importer import domain
from importer.store import BatchRow
from importer.usecases.profiles import learn
from importer.usecases.state import changed, find
from kit import clock
from kit.errors import Code, Refused
from kit.jobs import enqueue

# Questions about consequences: answering them needs no new reading.
DECISIONS = ("stockGuard", "controlTotals")
REASON = "controlTotalsReason"
REASON_MAX_CHARACTERS = 500


def checked_totals(totals: Sequence[domain.Expected]) -> list[list[Any]]:
    """Control totals as the import keeps them. Refuses INVALID_FIELDS for unknown or repeated currencies."""
    codes = [one.currency.upper() for one in totals]
    for place, code in enumerate(codes):
        if not domain.is_currency(code):
            fields = {f"controlTotals[{place}].currency": "is no ISO 4217 currency"}
            raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", f"{code} is no currency", fields)
        if code in codes[:place]:
            fields = {f"controlTotals[{place}].currency": "is given twice"}
            raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", f"{code} is given twice", fields)
    return [[code, one.item_count, one.open_minor] for code, one in zip(codes, totals, strict=True)]


def checks_of(row: BatchRow) -> list[domain.Check]:
    """Control totals beside what the file holds; empty before it is read."""
    expected = [domain.Expected(*one) for one in row.control_totals]
    totals = [domain.Total(**total) for total in row.details.get("totals", [])]
    return domain.control_checks(expected, totals) if row.object else []


def checked_answers(answers: Mapping[str, str]) -> dict[str, str]:
    if answers.get("controlTotals", "").upper() == "APPLY":
        reason = answers.get(REASON, "").strip()
        if not reason or len(reason) > REASON_MAX_CHARACTERS:
            text = "say in 1 to 500 characters why it is applied all the same"
            raise Refused(Code.INVALID_ARGUMENT, "ANSWER_UNKNOWN", text, {f"answers.{REASON}": text})
    wrong = domain.check_answers(answers)
    if wrong:
        raise Refused(
            Code.INVALID_ARGUMENT,
            "ANSWER_UNKNOWN",
            f"{wrong} cannot be answered so",
            {f"answers.{wrong}": "unknown answer"},
        )
    fixed = ("dateOrder", "object", "stockGuard", "currency", "controlTotals")
    return {key: value.upper() if key.partition(":")[0] in fixed else value for key, value in answers.items()}


def answer_import(
    session: Session,
    import_id: str,
    answers: Mapping[str, str],
    mapping: Mapping[str, str],
    object_: str = "",
    mode: str = "",
    apply: bool = False,
    control_totals: Sequence[domain.Expected] = (),
) -> BatchRow:
    """Takes answers and corrections; the file is read again with them, and applied then when that was asked for.

    Refuses: NOT_FOUND IMPORT_UNKNOWN; FAILED_PRECONDITION IMPORT_NOT_OPEN, QUESTIONS_OPEN,
    IMPORT_FAILED; INVALID_ARGUMENT ANSWER_UNKNOWN.
    """
    row = find(session, import_id, lock=True)
    given = checked_answers(answers)
    expected = checked_totals(control_totals)
    _check_mapping(row, mapping)
    if mode and mode not in ("delta", "stock"):
        raise Refused(Code.INVALID_ARGUMENT, "MODE_UNKNOWN", "mode is delta or stock", {"mode": "delta or stock"})
    if apply:
        if row.state in ("APPLYING", "APPLIED"):
            return row
        if row.state == "FAILED" and row.failure_code == "LEDGER_UNREACHABLE":
            row.failure_code, row.failure_values, row.apply = "", {}, True
            _go_on(session, row)
            return row
        if row.state == "FAILED":
            text = domain.failure_text(row.failure_code, **row.failure_values)
            raise Refused(Code.FAILED_PRECONDITION, "IMPORT_FAILED", text)
    if row.state not in ("UPLOADED", "READING", "QUESTIONS", "PREVIEWED"):
        raise Refused(Code.FAILED_PRECONDITION, "IMPORT_NOT_OPEN", f"the import is {row.state.lower()}")
    row.apply = row.apply or apply
    if expected and expected != row.control_totals:
        row.control_totals = expected
        row.answers = {key: value for key, value in row.answers.items() if key not in ("controlTotals", REASON)}
        if not (given or mapping or object_ or mode) and row.state in ("QUESTIONS", "PREVIEWED"):
            return _ask_again(session, row)
    asked = {question["code"] for question in row.details.get("questions", [])} if row.state == "QUESTIONS" else set()
    decided = {key for key in given if key in asked & set(DECISIONS)}
    if decided and set(given) <= decided | {REASON} and not (mapping or object_ or mode):
        return _decide(session, row, given, decided)
    if given or mapping or object_ or mode:
        # What was decided about other consequences does not count for new ones.
        kept = {key: value for key, value in row.answers.items() if key not in (*DECISIONS, REASON)}
        row.answers, row.mapping = {**kept, **given}, {**row.mapping, **mapping}
        row.wanted_object, row.mode = object_ or row.wanted_object, mode or row.mode
        row.mode_given = row.mode_given or bool(mode)
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
        _go_on(session, row)
    return row


def _ask_again(session: Session, row: BatchRow) -> BatchRow:
    """Control totals were said or corrected while the consequences stand: only their question changes."""
    questions = [question for question in row.details.get("questions", []) if question["code"] != "controlTotals"]
    about = domain.control_question(checks_of(row))
    if about is not None and all(question["code"] in DECISIONS for question in questions):
        questions.insert(0, asdict(about))
    row.details = {**row.details, "questions": questions}
    row.state = "QUESTIONS" if questions else "PREVIEWED"
    if not questions and row.apply:
        _go_on(session, row)
    else:
        changed(session, row)
    return row


def _decide(session: Session, row: BatchRow, given: Mapping[str, str], decided: set[str]) -> BatchRow:
    """What people decide about consequences they have seen."""
    row.answers = {**row.answers, **given}
    questions = [question for question in row.details["questions"] if question["code"] not in decided]
    row.details = {**row.details, "questions": questions}
    if "CANCEL" in {given[code] for code in decided}:
        # Rows that are in the ledger stay: they are facts of the file. Nothing is cleared.
        row.details = {**row.details, "questions": []}
        row.state = "APPLIED" if row.rows_done else "CANCELLED"
        row.applied_at = clock.utc_now() if row.rows_done else None
        changed(session, row)
    elif questions:
        changed(session, row)
    elif row.apply or row.rows_done:
        begin_apply(session, row)
    else:
        row.state = "PREVIEWED"
        changed(session, row)
    return row


def needs_plan(row: BatchRow) -> bool:
    """Whether consequences must be known before the rows are applied: a person wants to see them, a complete file may
    clear too much, control totals differ."""
    if not row.accepted_count:
        return False
    is_guarded = row.mode == "stock" and row.object == domain.ITEMS and row.answers.get("stockGuard") != "CONFIRM"
    differs = row.answers.get("controlTotals") != "APPLY" and not all(check.agrees for check in checks_of(row))
    return not row.apply or is_guarded or differs


def _go_on(session: Session, row: BatchRow) -> None:
    """Applies, or plans first where that was not possible before."""
    row.apply = True
    if not row.rows_done and not row.plan and needs_plan(row):
        begin_plan(session, row)
    else:
        begin_apply(session, row)


def begin_plan(session: Session, row: BatchRow) -> None:
    """Asks for the job that computes the consequences."""
    row.state, row.stage, row.stage_rows, row.plan = "READING", "plan", 0, {}
    row.plan_round += 1
    payload = {"import_id": row.import_id, "plan_round": row.plan_round}
    enqueue(session, "import.plan", payload, f"{row.import_id}:{row.plan_round}")
    changed(session, row)


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
    answers = {key: value for key, value in row.answers.items() if key.partition(":")[0] in domain.LAYOUT_ANSWERS}
    if mapping and not row.apply_round:
        learn(session, row, mapping, answers)
    row.state, row.apply, row.stage = "APPLYING", True, "load"
    row.apply_round += 1
    enqueue(
        session,
        "import.apply",
        {"import_id": row.import_id, "apply_round": row.apply_round},
        f"{row.import_id}:{row.apply_round}",
    )
    changed(session, row)
