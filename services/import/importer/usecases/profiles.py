"""Profiles: choosing, remembering, saving by hand in immutable versions, trying out on a past file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from importer import domain, store
from importer.store import BatchRow, ProfileRow
from importer.usecases.state import find, raw_table
from kit import clock, context
from kit.db import Database
from kit.errors import Code, Refused

# Trying a profile holds a call: larger files are tried by uploading them without applying.
TEST_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class ProfileDraft:
    """What a person says about a profile."""

    name: str
    object: str = ""
    patterns: Sequence[str] = ()
    entity_codes: Sequence[str] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    # (value as written, kind, whether its amounts change their sign).
    item_types: Sequence[tuple[str, str, bool]] = ()
    unknown_item_type: str = ""
    mode: str = ""
    source_system: str = ""


def remembered_of(row: ProfileRow) -> domain.Remembered:
    """What a profile says to the reading."""
    return domain.Remembered(
        row.object,
        row.mapping,
        row.answers,
        row.constants,
        tuple((value, kind, bool(flip)) for value, kind, flip in row.item_types),
        row.unknown_item_type,
    )


def choose_profile(session: Session, row: BatchRow, headers: list[str]) -> ProfileRow | None:
    """The profile that reads an import's file: the one asked for, else by file name and layout, for its entity."""
    if row.wanted_profile_id:
        asked = store.profile(session, row.wanted_profile_id)
        if asked is not None:
            return asked
    mark = domain.fingerprint(headers)
    candidates = store.profile_candidates(session, mark, row.wanted_object, row.entity_code)
    return domain.choose(candidates, mark, row.file_name)


def learn(session: Session, row: BatchRow, mapping: dict[str, str], answers: dict[str, str]) -> None:
    """Applying confirms what was read: the profile that was used counts it, and learns what a person corrected.

    A file of a new layout makes a profile of its own. The import notes profile and version.
    """
    now = clock.utc_now()
    mapping = domain.learnt_mapping(mapping)
    profile = store.profile(session, row.profile_id, lock=True) if row.profile_id else None
    if profile is None:
        profile = store.learnt_profile(session, row.fingerprint, row.object)
    if profile is None:
        columns = {"object": row.object, "fingerprint": row.fingerprint, "name": row.file_name[:100]}
        profile = store.add_profile(
            session, now, row.created_by, **columns, mapping=mapping, answers=answers
        ) or store.learnt_profile(session, row.fingerprint, row.object)
    assert profile is not None, "the layout is remembered by us or by somebody at the same moment"
    # A profile that reads several layouts keeps what it says about columns this file does not have.
    known = {**profile.mapping, **mapping} if profile.fingerprint != row.fingerprint else mapping
    learnt = {**profile.answers, **answers}
    corrected = bool(row.mapping or row.answers)
    if (known != profile.mapping or learnt != profile.answers) and (corrected or not profile.by_hand):
        store.save_profile(session, profile, now, row.created_by, mapping=known, answers=learnt)
    store.count_use(session, profile.profile_id, now)
    row.profile_id, row.profile_version = profile.profile_id, profile.version


def find_profile(session: Session, profile_id: str, lock: bool = False) -> ProfileRow:
    """A profile the caller may see. Refuses NOT_FOUND PROFILE_UNKNOWN."""
    row = store.profile(session, profile_id, lock)
    if row is None or not _sees(row):
        raise Refused(Code.NOT_FOUND, "PROFILE_UNKNOWN", "there is no such profile")
    return row


def _sees(row: ProfileRow) -> bool:
    caller = context.current_caller()
    return not row.entity_codes or any(caller.sees_entity(code) for code in row.entity_codes)


def create_profile(session: Session, draft: ProfileDraft, from_import_id: str = "") -> ProfileRow:
    """Makes a profile, from an import's layout where one is named.

    Refuses: INVALID_ARGUMENT PROFILE_WRONG; NOT_FOUND IMPORT_UNKNOWN.
    """
    columns = _columns(draft)
    mark = ""
    if from_import_id:
        run = find(session, from_import_id)
        seen = domain.learnt_mapping({column["key"]: column["field"] for column in run.details.get("columns", [])})
        columns["mapping"] = {**seen, **columns["mapping"]}
        columns["answers"] = {**_remembered_answers(run.answers), **columns["answers"]}
        columns["object"] = columns["object"] or run.object
        mark = run.fingerprint
    if not mark and not columns["patterns"]:
        text = "name a file pattern, or make it from an import"
        raise Refused(Code.INVALID_ARGUMENT, "PROFILE_WRONG", text, {"patterns": text})
    row = store.add_profile(session, clock.utc_now(), _who(), fingerprint=mark, by_hand=True, **columns)
    assert row is not None, "profiles made by hand are never refused as doubles"
    return row


def _remembered_answers(answers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in answers.items() if key.partition(":")[0] in domain.LAYOUT_ANSWERS}


def update_profile(session: Session, profile_id: str, draft: ProfileDraft, version: int) -> ProfileRow:
    """Saves the next version.

    Refuses: NOT_FOUND PROFILE_UNKNOWN; ABORTED PROFILE_CHANGED; INVALID_ARGUMENT PROFILE_WRONG.
    """
    row = find_profile(session, profile_id, lock=True)
    columns = _columns(draft)
    if version and version != row.version:
        raise Refused(
            Code.ABORTED, "PROFILE_CHANGED", "somebody saved this profile meanwhile", version=str(row.version)
        )
    if not row.fingerprint and not columns["patterns"]:
        text = "name a file pattern, or make it from an import"
        raise Refused(Code.INVALID_ARGUMENT, "PROFILE_WRONG", text, {"patterns": text})
    store.save_profile(session, row, clock.utc_now(), _who(), by_hand=True, **columns)
    return row


def _who() -> str:
    caller = context.current_caller()
    return caller.name or caller.actor


def _columns(draft: ProfileDraft) -> dict[str, Any]:
    """The draft as columns. Refuses INVALID_ARGUMENT PROFILE_WRONG with every wrong field."""
    answers = {
        key: value.upper() if key.partition(":")[0] in ("dateOrder", "currency") else value
        for key, value in draft.answers.items()
    }
    wrong = domain.wrong_fields(
        draft.object,
        draft.mapping,
        draft.constants,
        answers,
        draft.item_types,
        draft.unknown_item_type,
        draft.patterns,
        draft.mode,
    )
    strange = [key for key in answers if key.partition(":")[0] not in domain.LAYOUT_ANSWERS]
    wrong |= {f"answers.{key}": "belongs to one file, not to a layout" for key in strange}
    caller = context.current_caller()
    if any(not caller.sees_entity(code) for code in draft.entity_codes):
        wrong["entityCodes"] = "there is no such entity"
    if not draft.entity_codes and caller.entity_codes is not None:
        wrong["entityCodes"] = "name the entities it serves"
    if wrong:
        raise Refused(Code.INVALID_ARGUMENT, "PROFILE_WRONG", "some of it cannot be said in a profile", wrong)
    return {
        "name": draft.name.strip(),
        "object": draft.object,
        "patterns": [pattern.strip() for pattern in draft.patterns],
        "entity_codes": sorted(set(draft.entity_codes)),
        "mapping": dict(draft.mapping),
        "constants": {name: value.strip() for name, value in draft.constants.items()},
        "answers": answers,
        "item_types": [[value.strip(), kind, bool(flip)] for value, kind, flip in draft.item_types],
        "unknown_item_type": draft.unknown_item_type,
        "mode": draft.mode,
        "source_system": draft.source_system,
    }


def delete_profile(session: Session, profile_id: str) -> None:
    """Forgets a profile. Refuses NOT_FOUND PROFILE_UNKNOWN."""
    find_profile(session, profile_id)
    store.delete_profile(session, profile_id)


def profile_at(session: Session, profile_id: str, version: int) -> ProfileRow:
    """A profile as it is, or as a version of it was. Refuses NOT_FOUND PROFILE_UNKNOWN."""
    row = find_profile(session, profile_id)
    if version in (0, row.version):
        return row
    kept = store.profile_version(session, profile_id, version)
    if kept is None:
        raise Refused(Code.NOT_FOUND, "PROFILE_UNKNOWN", "there is no such profile")
    return version_as_profile(row, kept.version, kept.definition, kept.saved_at)


def version_as_profile(row: ProfileRow, version: int, definition: Mapping[str, Any], saved_at: Any) -> ProfileRow:
    """A version in the shape of a profile; not in any session."""
    return ProfileRow(profile_id=row.profile_id, version=version, used=row.used, changed_at=saved_at, **definition)


def try_profile(
    database: Database, settings: Any, profile_id: str, import_id: str, draft: ProfileDraft | None
) -> domain.Analysis:
    """Reads a past file as a profile, or a draft of one, would. Nothing is kept.

    Refuses: NOT_FOUND PROFILE_UNKNOWN, IMPORT_UNKNOWN; INVALID_ARGUMENT PROFILE_WRONG;
    FAILED_PRECONDITION FILE_UNREADABLE, FILE_TOO_LARGE_TO_TEST.
    """
    with database.transaction() as session:
        run = find(session, import_id)
        session.expunge(run)
        remembered = remembered_of(find_profile(session, profile_id)) if profile_id else None
    if draft is not None:
        said = _columns(draft)
        types = tuple((value, kind, bool(flip)) for value, kind, flip in said["item_types"])
        remembered = domain.Remembered(
            said["object"], said["mapping"], said["answers"], said["constants"], types, said["unknown_item_type"]
        )
    if run.size_bytes > TEST_LIMIT_BYTES:
        raise Refused(
            Code.FAILED_PRECONDITION, "FILE_TOO_LARGE_TO_TEST", "this file is too large to try a profile on it"
        )
    try:
        raw = raw_table(settings, run)
    except domain.Unreadable as error:
        raise Refused(Code.FAILED_PRECONDITION, "FILE_UNREADABLE", str(error)) from error
    # Corrections made for that one import are left out: the question is what the profile does alone.
    wanted = domain.Wanted(
        entity_code=run.entity_code,
        entity_currency=run.entity_currency,
        object=remembered.object if remembered else "",
        remembered=remembered,
    )
    return domain.analyse_with_profile(raw, wanted)[0]
