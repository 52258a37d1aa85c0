"""The SQL of profiles and of their versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from importer.store.imports import page
from importer.store.tables import ProfileRow, ProfileVersionRow
from kit import context, listing
from kit.ids import new_id

PROFILE_FIELDS = {
    "object": ProfileRow.object,
    "name": ProfileRow.name,
    "fingerprint": ProfileRow.fingerprint,
    "changed_at": ProfileRow.changed_at,
    "by_hand": ProfileRow.by_hand,
}
VERSION_FIELDS = {"version": ProfileVersionRow.version, "saved_at": ProfileVersionRow.saved_at}
# What a version keeps of a profile: all that a person can say.
DEFINITION = (
    "name",
    "object",
    "fingerprint",
    "patterns",
    "entity_codes",
    "mapping",
    "constants",
    "answers",
    "item_types",
    "unknown_item_type",
    "mode",
    "source_system",
    "by_hand",
)


def profile(session: Session, profile_id: str, lock: bool = False) -> ProfileRow | None:
    """One profile as it is now."""
    key = (context.current_tenant(), profile_id)
    return session.get(ProfileRow, key, with_for_update=lock or None, populate_existing=lock)


def profile_candidates(session: Session, fingerprint: str, wanted_object: str, entity_code: str) -> list[ProfileRow]:
    """Profiles that may read a file of this entity: those of its layout, and those found by file name; the ones made by
    hand first, then the newest."""
    query = select(ProfileRow).where(
        or_(ProfileRow.fingerprint == fingerprint, ProfileRow.patterns != []),
        or_(ProfileRow.entity_codes == [], ProfileRow.entity_codes.contains([entity_code])),
    )
    if wanted_object:
        query = query.where(ProfileRow.object.in_((wanted_object, "")))
    return list(session.scalars(query.order_by(ProfileRow.by_hand.desc(), ProfileRow.changed_at.desc())))


def learnt_profile(session: Session, fingerprint: str, object_: str) -> ProfileRow | None:
    """The profile remembered from applied files of a layout, locked."""
    query = (
        select(ProfileRow)
        .where(ProfileRow.fingerprint == fingerprint, ProfileRow.object == object_, ProfileRow.by_hand.is_(False))
        .with_for_update()
    )
    return session.scalars(query).first()


def add_profile(session: Session, now: datetime, saved_by: str, **columns: Any) -> ProfileRow | None:
    """Keeps a new profile with its first version; None when another one was remembered for the layout meanwhile."""
    statement = (
        insert(ProfileRow)
        .values(
            tenant_id=context.current_tenant(),
            **{
                "profile_id": new_id(),
                "used": 0,
                "version": 1,
                "by_hand": False,
                "patterns": [],
                "entity_codes": [],
                "constants": {},
                "item_types": [],
                "unknown_item_type": "",
                "mode": "",
                "source_system": "",
                "changed_at": now,
                **columns,
            },
        )
        .on_conflict_do_nothing()
        .returning(ProfileRow)
    )
    row = session.scalars(statement).first()
    if row is not None:
        _keep_version(session, row, now, saved_by)
    return row


def save_profile(session: Session, row: ProfileRow, now: datetime, saved_by: str, **columns: Any) -> None:
    """Changes a locked profile and keeps it as its next version."""
    for name, value in columns.items():
        setattr(row, name, value)
    row.version += 1
    row.changed_at = now
    session.flush()
    _keep_version(session, row, now, saved_by)


def _keep_version(session: Session, row: ProfileRow, now: datetime, saved_by: str) -> None:
    session.add(
        ProfileVersionRow(
            profile_id=row.profile_id,
            version=row.version,
            definition={name: getattr(row, name) for name in DEFINITION},
            saved_by=saved_by,
            saved_at=now,
        )
    )
    session.flush()


def count_use(session: Session, profile_id: str, now: datetime) -> None:
    """One more import used this profile."""
    session.execute(
        update(ProfileRow)
        .where(ProfileRow.profile_id == profile_id)
        .values(used=ProfileRow.used + 1, changed_at=now)
        .execution_options(synchronize_session=False)
    )


def delete_profile(session: Session, profile_id: str) -> bool:
    """Forgets a profile; False when there is none. Its versions stay, for the imports that used them."""
    row = session.get(ProfileRow, (context.current_tenant(), profile_id))
    if row is None:
        return False
    session.delete(row)
    return True


def profiles(
    session: Session, filter_: str, order_by: str, page_size: int, page_token: str
) -> tuple[list[ProfileRow], str, int]:
    """Profiles, newest first unless ordered otherwise."""
    query = select(ProfileRow).where(*listing.parse_filter(filter_, PROFILE_FIELDS))
    order = [*listing.order_by(order_by, PROFILE_FIELDS, "changed_at desc"), ProfileRow.profile_id.desc()]
    return page(session, query, order, page_size, page_token)


def profile_version(session: Session, profile_id: str, version: int) -> ProfileVersionRow | None:
    """One version."""
    return session.get(ProfileVersionRow, (context.current_tenant(), profile_id, version))


def profile_versions(
    session: Session, profile_id: str, filter_: str, order_by: str, page_size: int, page_token: str
) -> tuple[list[ProfileVersionRow], str, int]:
    """Versions of one profile, newest first unless ordered otherwise."""
    conditions = listing.parse_filter(filter_, VERSION_FIELDS)
    query = select(ProfileVersionRow).where(ProfileVersionRow.profile_id == profile_id, *conditions)
    order = listing.order_by(order_by, VERSION_FIELDS, "version desc")
    return page(session, query, list(order), page_size, page_token)
