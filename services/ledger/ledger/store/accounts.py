"""Entities and contacts, one at a time."""

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from kit import context
from kit.ids import new_id
from ledger.store.tables import ContactRow, EntityRow


def insert_entity(session: Session, **columns: str) -> EntityRow | None:
    """A new entity; None when its code is taken."""
    return session.scalars(
        insert(EntityRow)
        .values(tenant_id=context.current_tenant(), entity_id=new_id(), version=1, **columns)
        .on_conflict_do_nothing(index_elements=["tenant_id", "code"])
        .returning(EntityRow)
    ).first()


def upsert_contact(
    session: Session, account_id: str, *, name: str, email: str, phone: str, role: str, language: str
) -> str:
    """Adds a contact to an account that is locked, or changes the one with the same address; returns its id.

    Without an address, the contact with the same name and no address is the same one. A contact that is entered again
    can be reached again.
    """
    same = (
        func.lower(ContactRow.email) == email.lower() if email else (ContactRow.email == "") & (ContactRow.name == name)
    )
    row = session.scalars(select(ContactRow).where(ContactRow.account_id == account_id, same)).first()
    if row is None:
        row = ContactRow(contact_id=new_id(), account_id=account_id, made_at=func.clock_timestamp())
        session.add(row)
    row.name, row.email, row.phone, row.role, row.language = name, email, phone, role, language
    row.valid, row.invalid_reason = True, ""
    session.flush()
    return row.contact_id


def lock_contact(session: Session, contact_id: str) -> ContactRow:
    """A contact of an account that is locked."""
    return session.scalars(
        select(ContactRow).where(ContactRow.contact_id == contact_id).execution_options(populate_existing=True)
    ).one()
