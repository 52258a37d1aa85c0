"""The SQL of documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ARRAY, String, and_, any_, cast, delete, exists, func, literal, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from importer.store.imports import page
from importer.store.tables import DocumentDeletionRow, DocumentItemRow, DocumentRow, UrlPatternRow
from kit import context, listing

DOCUMENT_FIELDS = {
    "entity_code": DocumentRow.entity_code,
    "file_name": DocumentRow.file_name,
    "kind": DocumentRow.kind,
    "purpose": DocumentRow.purpose,
    "state": DocumentRow.state,
    "created_at": DocumentRow.created_at,
}
_TEXTS = ARRAY(String)
PATTERN_FIELDS = {"entity_code": UrlPatternRow.entity_code}
_HAS_ITEM = exists().where(
    DocumentItemRow.tenant_id == DocumentRow.tenant_id, DocumentItemRow.document_id == DocumentRow.document_id
)


def document(session: Session, document_id: str, lock: bool = False) -> DocumentRow | None:
    """One document that was not deleted."""
    key = (context.current_tenant(), document_id)
    return session.get(DocumentRow, key, with_for_update=lock or None, populate_existing=lock)


def was_deleted(session: Session, document_id: str) -> DocumentDeletionRow | None:
    """The record of a document's deletion."""
    return session.get(DocumentDeletionRow, (context.current_tenant(), document_id))


def lock_content(session: Session, entity_code: str, sha256: str) -> None:
    """Two arrivals of one content wait for each other until the end of the transaction."""
    key = f"document:{context.current_tenant()}:{entity_code}:{sha256}"
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})


def unmatched_with(session: Session, entity_code: str, sha256: str) -> DocumentRow | None:
    """A document of this content that no item was found for."""
    query = select(DocumentRow).where(DocumentRow.entity_code == entity_code, DocumentRow.sha256 == sha256, ~_HAS_ITEM)
    return session.scalars(query.order_by(DocumentRow.document_id).limit(1)).first()


def documents(
    session: Session,
    filter_: str,
    order_by: str,
    page_size: int,
    page_token: str,
    item_id: str = "",
    entity_code: str = "",
    entity_codes: frozenset[str] | None = None,
    only_for: str | None = None,
) -> tuple[list[DocumentRow], str, int]:
    """Documents of an item, else those without any, newest first unless ordered otherwise.

    only_for: the subject of a caller who sees what is for colleagues, and what he brought himself.
    """
    query = select(DocumentRow).where(*listing.parse_filter(filter_, DOCUMENT_FIELDS))
    if item_id:
        query = query.where(
            DocumentRow.document_id.in_(select(DocumentItemRow.document_id).where(DocumentItemRow.item_id == item_id))
        )
    else:
        query = query.where(~_HAS_ITEM)
    if entity_code:
        query = query.where(DocumentRow.entity_code == entity_code)
    if entity_codes is not None:
        query = query.where(DocumentRow.entity_code.in_(entity_codes))
    if only_for is not None:
        query = query.where(or_(DocumentRow.for_colleagues.is_(True), DocumentRow.created_by_subject == only_for))
    order = [*listing.order_by(order_by, DOCUMENT_FIELDS, "created_at desc"), DocumentRow.document_id.desc()]
    return page(session, query, order, page_size, page_token)


def items_of_documents(session: Session, document_ids: Sequence[str]) -> dict[str, list[DocumentItemRow]]:
    """The items of each document, by number."""
    query = select(DocumentItemRow).where(DocumentItemRow.document_id.in_(document_ids))
    found: dict[str, list[DocumentItemRow]] = {document_id: [] for document_id in document_ids}
    for row in session.scalars(query.order_by(DocumentItemRow.number, DocumentItemRow.item_id)):
        found[row.document_id].append(row)
    return found


def customer_documents(session: Session, item_ids: Sequence[str]) -> list[tuple[DocumentRow, list[str]]]:
    """What customers may see of these items, invoices first; with the items each belongs to among them."""
    query = (
        select(DocumentRow, func.array_agg(cast(DocumentItemRow.item_id, String)))
        .join(
            DocumentItemRow,
            and_(
                DocumentItemRow.tenant_id == DocumentRow.tenant_id,
                DocumentItemRow.document_id == DocumentRow.document_id,
            ),
        )
        .where(DocumentItemRow.item_id.in_(item_ids), DocumentRow.for_customer.is_(True), DocumentRow.state == "READY")
        .group_by(DocumentRow)
        .order_by(DocumentRow.purpose.desc(), DocumentRow.created_at, DocumentRow.document_id)
        .limit(2000)
    )
    return [(row, list(found)) for row, found in session.execute(query)]


def attach(session: Session, values: Iterable[dict[str, Any]]) -> int:
    """Adds items to documents; an item that has this content already keeps it. Says how many are new."""
    rows = [{"tenant_id": context.current_tenant(), **value} for value in values]
    if not rows:
        return 0
    statement = insert(DocumentItemRow).values(rows).on_conflict_do_nothing()
    return len(session.execute(statement.returning(DocumentItemRow.item_id)).all())


def detach(session: Session, document_id: str, but: Sequence[str] = ()) -> None:
    """Takes a document from its items, except from these."""
    statement = delete(DocumentItemRow).where(DocumentItemRow.document_id == document_id)
    session.execute(statement.where(DocumentItemRow.item_id.not_in(list(but))) if but else statement)


def having(session: Session, item_ids: Sequence[str], sha256: str) -> dict[str, str]:
    """The document with this content of each item that has one, by item."""
    query = select(DocumentItemRow.item_id, DocumentItemRow.document_id).where(
        DocumentItemRow.item_id.in_(item_ids), DocumentItemRow.sha256 == sha256
    )
    return {item_id: document_id for item_id, document_id in session.execute(query)}


def has_documents(session: Session) -> tuple[bool, bool]:
    """Whether any document has an item, and whether any waits for one: what facts of items can be news for."""
    row = session.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM document_item WHERE tenant_id = :tenant),"
            " EXISTS (SELECT 1 FROM document WHERE tenant_id = :tenant AND wanted_key <> '')"
        ),
        {"tenant": context.current_tenant()},
    ).one()
    return bool(row[0]), bool(row[1])


def keep_items_if_newer(
    session: Session,
    item_ids: Sequence[str],
    versions: Sequence[int],
    account_ids: Sequence[str],
    settled_on: Sequence[date | None],
) -> int:
    """What the ledger says of items that have documents; older facts are dropped. Says how many rows changed."""
    statement = text(
        """
        UPDATE document_item AS known SET item_version = news.version, account_id = news.account_id,
            settled_on = news.settled_on
        FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS bigint[]), CAST(:accounts AS uuid[]),
                    CAST(:settled AS date[])) AS news (item_id, version, account_id, settled_on)
        WHERE known.tenant_id = :tenant AND known.item_id = news.item_id AND known.item_version < news.version
        RETURNING 1
        """
    )
    values = {
        "ids": list(item_ids),
        "versions": list(versions),
        "accounts": list(account_ids),
        "settled": list(settled_on),
        "tenant": context.current_tenant(),
    }
    return len(session.execute(statement, values).all())


def waiting_for(session: Session, keys: Sequence[str]) -> list[tuple[str, str, str]]:
    """(document, entity, key) of documents without an item that wait for a number with one of these keys."""
    query = select(DocumentRow.document_id, DocumentRow.entity_code, DocumentRow.wanted_key).where(
        DocumentRow.wanted_key == any_(literal(list(keys), _TEXTS)), DocumentRow.wanted_key != ""
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def all_settled_before(session: Session, day: date, after: str, limit: int) -> list[str]:
    """Documents of which every item was cleared before a day, by id, after an id."""
    open_item = DocumentItemRow.__table__.alias("open_item")
    query = (
        select(DocumentItemRow.document_id)
        .where(DocumentItemRow.settled_on < day)
        .where(
            ~exists().where(
                open_item.c.tenant_id == DocumentItemRow.tenant_id,
                open_item.c.document_id == DocumentItemRow.document_id,
                or_(open_item.c.settled_on.is_(None), open_item.c.settled_on >= day),
            )
        )
        .distinct()
        .order_by(DocumentItemRow.document_id)
        .limit(limit)
    )
    if after:
        query = query.where(DocumentItemRow.document_id > after)
    return list(session.scalars(query))


def quarantined(session: Session) -> list[str]:
    """Documents that wait for their scan, oldest first."""
    query = select(DocumentRow.document_id).where(DocumentRow.state == "QUARANTINED")
    return list(session.scalars(query.order_by(DocumentRow.created_at).limit(1000)))


def remember_deletion(session: Session, row: DocumentDeletionRow) -> None:
    """Keeps that a document was there."""
    session.add(row)
    session.flush()


def url_pattern(session: Session, entity_code: str) -> UrlPatternRow | None:
    """The pattern of an entity."""
    return session.get(UrlPatternRow, (context.current_tenant(), entity_code))


def keep_url_pattern(
    session: Session, entity_code: str, pattern: str, for_customer: bool, changed_by: str, now: datetime
) -> None:
    """Replaces the pattern of an entity; an empty one ends it."""
    if not pattern:
        session.execute(delete(UrlPatternRow).where(UrlPatternRow.entity_code == entity_code))
        return
    values = {"pattern": pattern, "for_customer": for_customer, "changed_by": changed_by, "changed_at": now}
    session.execute(
        insert(UrlPatternRow)
        .values(tenant_id=context.current_tenant(), entity_code=entity_code, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "entity_code"], set_=values)
        .execution_options(populate_existing=True)
    )


def url_patterns(
    session: Session, filter_: str, order_by: str, page_size: int, page_token: str, entity_codes: frozenset[str] | None
) -> tuple[list[UrlPatternRow], str, int]:
    """Patterns of the entities the caller may see, by entity."""
    query = select(UrlPatternRow).where(*listing.parse_filter(filter_, PATTERN_FIELDS))
    if entity_codes is not None:
        query = query.where(UrlPatternRow.entity_code.in_(entity_codes))
    order = [*listing.order_by(order_by, PATTERN_FIELDS, "entity_code"), UrlPatternRow.entity_code]
    return page(session, query, order, page_size, page_token)
