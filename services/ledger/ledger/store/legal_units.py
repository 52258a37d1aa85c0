"""Companies behind accounts, across entities."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Integer, Row, Text, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from kit import context, listing
from kit.ids import new_id
from ledger.store.queries import Page
from ledger.store.tables import AccountRow, EntityRow, LegalUnitRow

_UNITS = """
SELECT u.legal_unit_id, u.registration_number, u.country,
    coalesce(nullif(u.name, ''), n.name, '') AS name, CAST(n.accounts AS integer) AS account_count
FROM legal_units AS u JOIN (SELECT a.legal_unit_id, count(*) AS accounts, min(a.name) AS name FROM accounts AS a
    JOIN entities AS e ON e.entity_id = a.entity_id
        AND (CAST(:codes AS text[]) IS NULL OR e.code = ANY(CAST(:codes AS text[])))
    WHERE a.merged_into_id IS NULL GROUP BY a.legal_unit_id) AS n ON n.legal_unit_id = u.legal_unit_id
"""


def _seen() -> list[str] | None:
    codes = context.current_caller().entity_codes
    return None if codes is None else sorted(codes)


def list_units(session: Session, page: Page) -> tuple[Sequence[Row], str, int]:
    """Companies with an account the caller may see: a page, the next token, the total. A company without a name is
    called as its first account."""
    units = (
        text(_UNITS)
        .bindparams(codes=_seen())
        .columns(legal_unit_id=LegalUnitRow.legal_unit_id.type, registration_number=Text, country=Text, name=Text,
                 account_count=Integer)
        .subquery("u")
    )  # fmt: skip
    allowed = {name: units.c[name] for name in ("registration_number", "country", "name", "account_count")}
    query = select(units).where(*listing.parse_filter(page.filter, allowed))
    total = session.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    size, offset = listing.page_size(page.size), listing.offset_of(page.token)
    orders = {name: allowed[name] for name in ("registration_number", "name", "account_count")}
    ordered = query.order_by(*listing.order_by(page.order_by, orders, "name"), units.c.legal_unit_id)
    rows = session.execute(ordered.limit(size).offset(offset)).all()
    return rows, listing.next_offset_token(offset, len(rows), total), total


def unit(session: Session, legal_unit_id: str) -> Row | None:
    """One company with an account the caller may see."""
    statement = text(f"SELECT * FROM ({_UNITS}) AS u WHERE legal_unit_id = :id")
    return session.execute(statement, {"codes": _seen(), "id": legal_unit_id}).first()


def account_ids(session: Session, legal_unit_id: str, limit: int | None = None) -> list[str]:
    """Accounts of a company in the order of their ids: all of them, or the first ones the caller may see."""
    query = select(AccountRow.account_id).where(AccountRow.legal_unit_id == legal_unit_id)
    if limit is not None:
        query = query.join(EntityRow, EntityRow.entity_id == AccountRow.entity_id).where(
            AccountRow.merged_into_id.is_(None)
        )
        codes = _seen()
        if codes is not None:
            query = query.where(EntityRow.code.in_(codes))
        query = query.limit(limit)
    return list(session.scalars(query.order_by(AccountRow.account_id)))


def lock_unit(session: Session, legal_unit_id: str) -> LegalUnitRow | None:
    """A company, locked."""
    return session.scalars(
        select(LegalUnitRow)
        .where(LegalUnitRow.legal_unit_id == legal_unit_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).first()


def by_registration(session: Session, registration_number: str, country: str) -> LegalUnitRow | None:
    """The company with this registration."""
    return session.scalars(
        select(LegalUnitRow).where(
            LegalUnitRow.registration_number == registration_number, LegalUnitRow.country == country
        )
    ).first()


def insert_unit(session: Session, **columns: Any) -> LegalUnitRow:
    """A new company, or the one that somebody made with this registration this moment."""
    statement = insert(LegalUnitRow).values(tenant_id=context.current_tenant(), legal_unit_id=new_id(), **columns)
    row = session.scalars(statement.on_conflict_do_nothing().returning(LegalUnitRow)).first()
    if row is not None:
        return row
    found = by_registration(session, columns["registration_number"], columns["country"])
    assert found is not None, "it stood in the way just now"
    return found


def drop_if_empty(session: Session, legal_unit_id: str) -> None:
    """Forgets a company that has no account any more."""
    session.execute(
        text(
            "DELETE FROM legal_units AS u WHERE u.legal_unit_id = :id"
            " AND NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.legal_unit_id = u.legal_unit_id)"
        ),
        {"id": legal_unit_id},
    )
