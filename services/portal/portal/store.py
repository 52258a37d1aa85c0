"""Tables of portal and all its SQL."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import UUID, DateTime, Index, LargeBinary, UniqueConstraint, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from kit import listing
from kit.clock import utc_now
from kit.context import Caller
from kit.db import TenantMixin, declarative_base
from kit.ids import new_id
from portal.domain import Stage, State

Base = declarative_base()
_UUID = UUID(as_uuid=False)
_INSTANT = DateTime(timezone=True)


class LinkRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """A personal link. Of its token only the SHA-256 stays; sealed_token is wiped when the link is first opened."""

    __tablename__ = "link"
    __table_args__ = (
        UniqueConstraint("tenant_id", "token_sha256"),
        UniqueConstraint("tenant_id", "request_id"),
        Index("ix_link_account", "tenant_id", "account_id", "created_at"),
    )
    link_id: Mapped[str] = mapped_column(_UUID, primary_key=True, default=new_id)
    token_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_token: Mapped[str]
    request_id: Mapped[str]
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    account_id: Mapped[str] = mapped_column(_UUID)
    account_name: Mapped[str]
    entity_code: Mapped[str]
    contact_id: Mapped[str] = mapped_column(default="")
    language: Mapped[str] = mapped_column(default="")
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(_INSTANT, default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(_INSTANT)
    revoked_at: Mapped[datetime | None] = mapped_column(_INSTANT)
    last_used_at: Mapped[datetime | None] = mapped_column(_INSTANT)
    use_count: Mapped[int] = mapped_column(default=0)


class ResponseRow(TenantMixin, Base):  # type: ignore[misc, valid-type]
    """What a customer answered, and what became of it. stage says which neighbour still has to hear of it."""

    __tablename__ = "response"
    __table_args__ = (
        UniqueConstraint("tenant_id", "link_id", "form_nonce"),
        Index("ix_response_account", "tenant_id", "account_id", "received_at"),
        Index("ix_response_open", "tenant_id", "hold_until_on", postgresql_where=text("state = 'RECEIVED'")),
    )
    response_id: Mapped[str] = mapped_column(_UUID, primary_key=True, default=new_id)
    link_id: Mapped[str] = mapped_column(_UUID)
    form_nonce: Mapped[str]
    account_id: Mapped[str] = mapped_column(_UUID)
    account_name: Mapped[str]
    entity_code: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(default=State.RECEIVED.value)
    stage: Mapped[str] = mapped_column(default=Stage.PLACING.value)
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    promised_on: Mapped[date | None]
    paid_on: Mapped[date | None]
    payment_reference: Mapped[str] = mapped_column(default="")
    reason_code: Mapped[str] = mapped_column(default="")
    comment: Mapped[str] = mapped_column(default="")
    contact_name: Mapped[str] = mapped_column(default="")
    received_at: Mapped[datetime] = mapped_column(_INSTANT, default=utc_now)
    hold_until_on: Mapped[date]
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    decision_number: Mapped[int] = mapped_column(default=0)
    decided_by: Mapped[str] = mapped_column(default="")
    decided_on: Mapped[date | None]
    decided_at: Mapped[datetime | None] = mapped_column(_INSTANT)
    decision_comment: Mapped[str] = mapped_column(default="")
    promise_id: Mapped[str] = mapped_column(default="")
    case_id: Mapped[str] = mapped_column(default="")
    check_on: Mapped[date | None]
    version: Mapped[int] = mapped_column(default=1)


LINK_FIELDS: Mapping[str, Any] = {
    "account_id": LinkRow.account_id,
    "contact_id": LinkRow.contact_id,
    "expires_at": LinkRow.expires_at,
    "created_at": LinkRow.created_at,
}
RESPONSE_FIELDS: Mapping[str, Any] = {
    "account_id": ResponseRow.account_id,
    "state": ResponseRow.state,
    "kind": ResponseRow.kind,
    "entity_code": ResponseRow.entity_code,
    "received_at": ResponseRow.received_at,
}


# ---- links -----------------------------------------------------------------------------------------------------------
def add_link(session: Session, **columns: Any) -> LinkRow | None:
    """Keeps a new link; None when its request was answered before."""
    statement = insert(LinkRow).values(**columns)
    return session.scalar(
        statement.on_conflict_do_nothing(index_elements=["tenant_id", "request_id"]).returning(LinkRow)
    )


def link_by_request(session: Session, request_id: str) -> LinkRow | None:
    """The link that was made for a request."""
    return session.scalar(select(LinkRow).where(LinkRow.request_id == request_id))


def link_by_token(session: Session, token_sha256: bytes) -> LinkRow | None:
    """The link a token opens, whether it still does or not."""
    return session.scalar(select(LinkRow).where(LinkRow.token_sha256 == token_sha256))


def link(session: Session, link_id: str) -> LinkRow | None:
    """One link as it is."""
    return session.scalar(select(LinkRow).where(LinkRow.link_id == link_id))


def link_for_update(session: Session, link_id: str) -> LinkRow | None:
    """One link, locked."""
    return session.scalar(select(LinkRow).where(LinkRow.link_id == link_id).with_for_update())


def count_use(session: Session, link_id: str, at: datetime) -> None:
    """Notes an opening and wipes the token that waited for it. Counts in SQL: openings at once are all counted."""
    session.execute(
        update(LinkRow)
        .where(LinkRow.link_id == link_id)
        .values(use_count=LinkRow.use_count + 1, last_used_at=at, sealed_token="")
    )


def wipe_tokens(session: Session, before: datetime) -> None:
    """Wipes tokens that nobody asked for again and nobody used: links made before an instant."""
    session.execute(
        update(LinkRow).where(LinkRow.created_at < before, LinkRow.sealed_token != "").values(sealed_token="")
    )


def list_links(
    session: Session, caller: Caller, filter_text: str, order: str, offset: int, limit: int
) -> tuple[list[LinkRow], int]:
    """A page of the links a caller may see and how many there are; newest first unless ordered otherwise."""
    query = select(LinkRow).where(*listing.parse_filter(filter_text, LINK_FIELDS), *_scope(caller, LinkRow))
    return _page(
        session, query, listing.order_by(order, LINK_FIELDS, "created_at desc"), LinkRow.link_id, offset, limit
    )


# ---- responses -------------------------------------------------------------------------------------------------------
def add_response(session: Session, **columns: Any) -> ResponseRow | None:
    """Keeps a new answer; None when its form was sent before."""
    statement = insert(ResponseRow).values(**columns)
    return session.scalar(
        statement.on_conflict_do_nothing(index_elements=["tenant_id", "link_id", "form_nonce"]).returning(ResponseRow)
    )


def response_by_nonce(session: Session, link_id: str, form_nonce: str) -> ResponseRow | None:
    """The answer a form brought."""
    return session.scalar(
        select(ResponseRow).where(ResponseRow.link_id == link_id, ResponseRow.form_nonce == form_nonce)
    )


def response(session: Session, response_id: str) -> ResponseRow | None:
    """One answer as it is."""
    return session.scalar(select(ResponseRow).where(ResponseRow.response_id == response_id))


def response_for_update(session: Session, response_id: str) -> ResponseRow | None:
    """One answer, locked: whoever changes its state or stage holds this."""
    return session.scalar(
        select(ResponseRow)
        .where(ResponseRow.response_id == response_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def remove_response(session: Session, row: ResponseRow) -> None:
    """Takes back an answer that the ledger did not take: the customer was told so and nothing was said to anybody."""
    session.delete(row)


def run_out(session: Session, today: date) -> list[str]:
    """Answers nobody decided while their holds ran: the last day of the hold has passed. Skips those being decided."""
    return list(
        session.scalars(
            select(ResponseRow.response_id).where(
                ResponseRow.state == State.RECEIVED,
                ResponseRow.stage == Stage.PLACED,
                ResponseRow.hold_until_on < today,
            )
        )
    )


def answers_of_account(session: Session, account_id: str, limit: int) -> list[ResponseRow]:
    """The newest answers of an account, for the customer's own page."""
    return list(
        session.scalars(
            select(ResponseRow)
            .where(ResponseRow.account_id == account_id)
            .order_by(ResponseRow.received_at.desc(), ResponseRow.response_id.desc())
            .limit(limit)
        )
    )


def list_responses(
    session: Session, caller: Caller, account_id: str, state: str, filter_text: str, order: str, offset: int, limit: int
) -> tuple[list[ResponseRow], int]:
    """A page of the answers a caller may see and how many there are; newest first unless ordered otherwise.

    Those the ledger has not taken yet are not shown: nobody may decide them. Without a condition on state: RECEIVED.
    """
    conditions = [*listing.parse_filter(filter_text, RESPONSE_FIELDS), *_scope(caller, ResponseRow)]
    conditions.append(ResponseRow.stage != Stage.PLACING)
    if account_id:
        conditions.append(ResponseRow.account_id == account_id)
    says_state = any(term.name == "state" for term in listing.filter_terms(filter_text))
    if state or not says_state:
        conditions.append(ResponseRow.state == (state or State.RECEIVED.value))
    query = select(ResponseRow).where(*conditions)
    ordered = listing.order_by(order, RESPONSE_FIELDS, "received_at desc")
    return _page(session, query, ordered, ResponseRow.response_id, offset, limit)


def _scope(caller: Caller, table: Any) -> list[Any]:
    return [] if caller.entity_codes is None else [table.entity_code.in_(caller.entity_codes)]


def _page(session: Session, query: Any, ordered: list[Any], key: Any, offset: int, limit: int) -> tuple[list[Any], int]:
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return list(session.scalars(query.order_by(*ordered, key.desc()).offset(offset).limit(limit))), total
