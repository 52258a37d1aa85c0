"""Entities and contacts, one at a time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from kit import context
from kit.ids import new_id
from ledger.store.tables import ContactRow, EntityRow, ItemRow


def insert_entity(session: Session, **columns: str) -> EntityRow | None:
    """A new entity; None when its code is taken."""
    return session.scalars(
        insert(EntityRow)
        .values(tenant_id=context.current_tenant(), entity_id=new_id(), version=1, **columns)
        .on_conflict_do_nothing(index_elements=["tenant_id", "code"])
        .returning(EntityRow)
    ).first()


def upsert_contact(
    session: Session,
    account_id: str,
    *,
    name: str,
    email: str,
    phone: str,
    role: str,
    language: str,
    **more: Any,
) -> tuple[str, dict[str, Any] | None]:
    """Adds a contact to an account that is locked, or changes the one with the same address; returns its id and what
    it was before (None: new).

    Without an address, the contact with the same name and no address is the same one. A contact that is entered again
    can be reached again.
    """
    same = (
        func.lower(ContactRow.email) == email.lower() if email else (ContactRow.email == "") & (ContactRow.name == name)
    )
    row = session.scalars(select(ContactRow).where(ContactRow.account_id == account_id, same)).first()
    before = None
    if row is not None:
        names = ("account_id", "name", "email", "phone", "role", "language", "valid", "invalid_reason", *more)
        before = {column: getattr(row, column) for column in names}
    else:
        row = ContactRow(contact_id=new_id(), account_id=account_id, made_at=func.clock_timestamp())
        session.add(row)
    row.name, row.email, row.phone, row.role, row.language = name, email, phone, role, language
    row.valid, row.invalid_reason, row.active = True, "", True
    for column, value in {**more, "edited": True}.items():
        setattr(row, column, value)
    session.flush()
    return row.contact_id, before


def lock_contact(session: Session, contact_id: str) -> ContactRow:
    """A contact of an account that is locked."""
    return session.scalars(
        select(ContactRow).where(ContactRow.contact_id == contact_id).execution_options(populate_existing=True)
    ).one()


def items_of(session: Session, account_id: str, item_ids: Sequence[str]) -> list[str]:
    """Those of the items that are the account's."""
    return list(
        session.scalars(select(ItemRow.item_id).where(ItemRow.account_id == account_id, ItemRow.item_id.in_(item_ids)))
    )


def has_other_contact(session: Session, account_id: str, contact_id: str, email: str, name: str) -> bool:
    """Whether an account has another contact, even a deleted one, with this address (without one: this name)."""
    same = (
        func.lower(ContactRow.email) == email.lower() if email else (ContactRow.email == "") & (ContactRow.name == name)
    )
    query = select(ContactRow.contact_id).where(
        ContactRow.account_id == account_id, ContactRow.contact_id != contact_id, same
    )
    return session.scalars(query).first() is not None
