"""Reading: entities, accounts with balances, items with holds. Nothing here locks or writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Session

from kit import context, listing
from ledger.store.tables import (
    AccountBalanceRow,
    AccountRow,
    ContactRow,
    EntityRow,
    HoldRow,
    ItemChangeRow,
    ItemRow,
    LegalUnitRow,
)


@dataclass(frozen=True)
class Page:
    """What a list is asked for: filter and order in the language of kit.listing."""

    size: int = 0
    token: str = ""
    filter: str = ""
    order_by: str = ""


def _sees() -> ColumnElement[bool]:
    """The entities within the caller's scope."""
    codes = context.current_caller().entity_codes
    return literal(True) if codes is None else EntityRow.code.in_(sorted(codes))


def _conditions(page: Page, allowed: Mapping[str, Any], special: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """The filter's conditions; special fields make theirs from (op, value) by a function of their own."""
    conditions: list[ColumnElement[bool]] = []
    for term in listing.filter_terms(page.filter, frozenset({*allowed, *special})):
        if term.name in special:
            conditions.append(special[term.name](term.op, term.value))
        else:
            value = term.value.replace("\\", "\\\\").replace('"', '\\"')
            conditions += listing.parse_filter(f'{term.name}{term.op}"{value}"', allowed)
    return conditions


def _paged(session: Session, query: Select, page: Page, total: int) -> tuple[Sequence[Row], str]:
    size, offset = listing.page_size(page.size), listing.offset_of(page.token)
    rows = session.execute(query.limit(size).offset(offset)).all()
    return rows, listing.next_offset_token(offset, len(rows), total)


# ---- entities --------------------------------------------------------------------------------------------------------


def entity_by_code(session: Session, code: str) -> EntityRow | None:
    """An entity by its human key, whatever the caller may see."""
    return session.scalars(select(EntityRow).where(EntityRow.code == code)).first()


def entity_by_id(session: Session, entity_id: str) -> EntityRow | None:
    """An entity by its id, whatever the caller may see."""
    return session.scalars(select(EntityRow).where(EntityRow.entity_id == entity_id)).first()


def entity(session: Session, id_or_code: str) -> EntityRow | None:
    """An entity within the caller's scope, by id or code."""
    return session.scalars(
        select(EntityRow)
        .where(or_(EntityRow.code == id_or_code, cast(EntityRow.entity_id, Text) == id_or_code), _sees())
        .order_by(EntityRow.code != id_or_code)
    ).first()


def list_entities(session: Session, page: Page) -> tuple[Sequence[EntityRow], str, int]:
    """Entities within the caller's scope: a page, the next token, the total."""
    allowed = {
        "code": EntityRow.code,
        "name": EntityRow.name,
        "country": EntityRow.country,
        "currency": EntityRow.currency,
    }
    query = select(EntityRow).where(_sees(), *listing.parse_filter(page.filter, allowed))
    total = session.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    ordered = query.order_by(*listing.order_by(page.order_by, allowed, "code"), EntityRow.entity_id)
    rows, token = _paged(session, ordered, page, total)
    return [row[0] for row in rows], token, total


# ---- accounts --------------------------------------------------------------------------------------------------------

_ACCOUNT = (
    select(AccountRow, EntityRow, LegalUnitRow)
    .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
    .join(LegalUnitRow, LegalUnitRow.legal_unit_id == AccountRow.legal_unit_id)
    .execution_options(populate_existing=True)
)


def account(session: Session, account_id: str) -> Row | None:
    """(AccountRow, EntityRow, LegalUnitRow) of an account within the caller's scope."""
    return session.execute(_ACCOUNT.where(AccountRow.account_id == account_id, _sees())).first()


def _in_group(op: str, value: str) -> ColumnElement[bool]:
    condition = AccountRow.groups.contains([value])
    return ~condition if op == "!=" else condition


def list_accounts(session: Session, page: Page, words: str, today: date) -> tuple[Sequence[Row], str, int]:
    """Accounts within the caller's scope as rows of account(): a page, the next token, the total.

    words: each must occur in number, name or an alias.
    """
    filters = {
        "number": AccountRow.number,
        "name": AccountRow.name,
        "entity_code": EntityRow.code,
        "country": AccountRow.country,
        "collector": AccountRow.collector,
        "legal_unit_id": cast(AccountRow.legal_unit_id, Text),
        "oldest_due_on": AccountRow.oldest_due_on,
    }
    open_minor = (
        select(AccountBalanceRow.open_minor)
        .where(AccountBalanceRow.account_id == AccountRow.account_id, AccountBalanceRow.currency == EntityRow.currency)
        .correlate(AccountRow, EntityRow)
        .scalar_subquery()
    )
    overdue_minor = (
        select(func.sum(ItemRow.open_minor))
        .where(
            ItemRow.account_id == AccountRow.account_id,
            ItemRow.currency == EntityRow.currency,
            ItemRow.open_minor != 0,
            ItemRow.open_minor > 0,
            ItemRow.due_on < today,
        )
        .correlate(AccountRow, EntityRow)
        .scalar_subquery()
    )
    orders = {
        "number": AccountRow.number,
        "name": AccountRow.name,
        "oldest_due_on": AccountRow.oldest_due_on,
        "changed_at": AccountRow.changed_at,
        "open": func.coalesce(open_minor, 0),
        "overdue": func.coalesce(overdue_minor, 0),
    }
    conditions = [_sees(), *_conditions(page, filters, {"group": _in_group})]
    for word in words.split():
        found = [AccountRow.number, AccountRow.name, func.array_to_string(AccountRow.aliases, "\n")]
        conditions.append(or_(*(column.icontains(word, autoescape=True) for column in found)))
    total = session.execute(
        select(func.count())
        .select_from(AccountRow)
        .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
        .where(*conditions)
    ).scalar_one()
    ordered = _ACCOUNT.where(*conditions).order_by(
        *listing.order_by(page.order_by, orders, "number"), AccountRow.account_id
    )
    rows, token = _paged(session, ordered, page, total)
    return rows, token, total


_BALANCES = """
SELECT i.account_id, i.currency, sum(i.open_minor) AS open_minor, sum(least(i.open_minor, 0)) AS credits_minor,
    coalesce(sum(i.open_minor) FILTER (WHERE i.open_minor > 0 AND i.due_on < :today), 0) AS overdue_minor,
    sum(least(coalesce(h.held_minor, 0), greatest(i.open_minor, 0))) AS held_minor,
    coalesce(sum(i.open_minor - least(coalesce(h.held_minor, 0), i.open_minor))
        FILTER (WHERE i.open_minor > 0 AND i.due_on < :today), 0) AS collectable_overdue_minor,
    count(*) AS item_count
FROM items AS i LEFT JOIN (SELECT item_id, sum(amount_minor) AS held_minor FROM holds
    WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND state = 'ACTIVE'
        AND from_on <= :today AND (until_on IS NULL OR until_on >= :today) GROUP BY item_id) AS h
    ON h.item_id = i.item_id
WHERE i.account_id = ANY(CAST(:accounts AS uuid[])) AND i.open_minor <> 0
GROUP BY i.account_id, i.currency ORDER BY i.currency
"""


def balances(session: Session, account_ids: Sequence[str], today: date) -> dict[str, list[Row]]:
    """Balances per currency of these accounts as of the business date, by account."""
    found: dict[str, list[Row]] = {}
    params = {"tenant": context.current_tenant(), "accounts": list(account_ids), "today": today}
    for row in session.execute(text(_BALANCES), params):
        found.setdefault(str(row.account_id), []).append(row)
    return found


def contacts(session: Session, account_id: str) -> Sequence[ContactRow]:
    """Contacts of an account, oldest first."""
    return session.scalars(
        select(ContactRow)
        .where(ContactRow.account_id == account_id)
        .order_by(ContactRow.made_at, ContactRow.contact_id)
    ).all()


def contact(session: Session, contact_id: str) -> Row | None:
    """(ContactRow, EntityRow) of a contact within the caller's scope."""
    return session.execute(
        select(ContactRow, EntityRow)
        .join(AccountRow, AccountRow.account_id == ContactRow.account_id)
        .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
        .where(ContactRow.contact_id == contact_id, _sees())
    ).first()


# ---- items -----------------------------------------------------------------------------------------------------------


def in_force(today: date) -> ColumnElement[bool]:
    """Whether a hold counts on a day. One that is active and has no last day counts until it is released."""
    return and_(
        HoldRow.state == "ACTIVE",
        HoldRow.from_on <= today,
        or_(HoldRow.until_on.is_(None), HoldRow.until_on >= today),
    )


def _held(today: date) -> Subquery:
    return (
        select(HoldRow.item_id, func.sum(HoldRow.amount_minor).label("held_minor"))
        .where(in_force(today))
        .group_by(HoldRow.item_id)
        .subquery("held")
    )


def _state(op: str, value: str) -> ColumnElement[bool]:
    wants_open = {"OPEN": True, "CLEARED": False}.get(value.removeprefix("ITEM_STATE_").upper())
    if wants_open is None or op not in ("=", "!="):
        # The parser of the common language words the refusal.
        listing.parse_filter(f'state="{value}"', {})
        raise AssertionError("unreachable")
    return ItemRow.open_minor != 0 if wants_open == (op == "=") else ItemRow.open_minor == 0


@dataclass(frozen=True)
class ItemPage:
    """A page of items: rows (ItemRow, held_minor, account_name, entity_code), and sums per currency over all pages."""

    rows: Sequence[Row]
    next_page_token: str
    totals: Sequence[Row]

    @property
    def total_size(self) -> int:
        """Items in all pages."""
        return sum(total.item_count for total in self.totals)


def _items(today: date) -> tuple[Select, ColumnElement[int]]:
    held = _held(today)
    # least() passes over nulls: an item without holds must count as 0 before.
    held_minor = func.least(
        func.coalesce(held.c.held_minor, 0), case((ItemRow.open_minor > 0, ItemRow.open_minor), else_=0)
    )
    query = (
        select(ItemRow, held_minor.label("held_minor"), AccountRow.name.label("account_name"), EntityRow.code)
        .join(AccountRow, AccountRow.account_id == ItemRow.account_id)
        .join(EntityRow, EntityRow.entity_id == ItemRow.entity_id)
        .join(held, held.c.item_id == ItemRow.item_id, isouter=True)
        .where(_sees())
        .execution_options(populate_existing=True)
    )
    return query, held_minor


def list_items(session: Session, account_id: str, page: Page, today: date) -> ItemPage:
    """Items within the caller's scope, of one account or (account_id empty) of all; open ones unless state is asked."""
    query, held_minor = _items(today)
    allowed = {
        "number": ItemRow.number,
        "kind": ItemRow.kind,
        "currency": ItemRow.currency,
        "issue_on": ItemRow.issue_on,
        "due_on": ItemRow.due_on,
        "settled_on": ItemRow.settled_on,
        "open": ItemRow.open_minor,
        "entity_code": EntityRow.code,
        "order_number": ItemRow.order_number,
        "held": held_minor > 0,
    }
    conditions = _conditions(page, allowed, {"state": _state})
    if all(term.name != "state" for term in listing.filter_terms(page.filter)):
        conditions.append(ItemRow.open_minor != 0)
    if account_id:
        conditions.append(ItemRow.account_id == account_id)
    query = query.where(*conditions)
    collectable = case((ItemRow.open_minor > 0, ItemRow.open_minor - held_minor), else_=0)
    totals = session.execute(
        query.with_only_columns(
            ItemRow.currency,
            func.count().label("item_count"),
            func.sum(ItemRow.open_minor).label("open_minor"),
            func.sum(collectable).label("collectable_minor"),
        )
        .group_by(ItemRow.currency)
        .order_by(ItemRow.currency)
    ).all()
    orders = {
        "due_on": ItemRow.due_on,
        "issue_on": ItemRow.issue_on,
        "settled_on": ItemRow.settled_on,
        "number": ItemRow.number,
        "open": ItemRow.open_minor,
    }
    ordered = query.order_by(*listing.order_by(page.order_by, orders, "due_on"), ItemRow.number, ItemRow.item_id)
    rows, token = _paged(session, ordered, page, sum(total.item_count for total in totals))
    return ItemPage(rows, token, totals)


def items_of_account(
    session: Session, account_id: str, item_ids: Sequence[str], today: date, limit: int
) -> Sequence[Row]:
    """Rows as in ItemPage of one account, oldest due date first: these items in any state, else all open ones."""
    query, _ = _items(today)
    wanted = ItemRow.item_id.in_(item_ids) if item_ids else ItemRow.open_minor != 0
    return session.execute(
        query.where(ItemRow.account_id == account_id, wanted)
        .order_by(ItemRow.due_on, ItemRow.number, ItemRow.item_id)
        .limit(limit)
    ).all()


def item(session: Session, item_id: str, today: date) -> Row | None:
    """One row as in ItemPage."""
    query, _ = _items(today)
    return session.execute(query.where(ItemRow.item_id == item_id)).first()


def changes(session: Session, item_id: str) -> Sequence[ItemChangeRow]:
    """The history of an item, oldest first."""
    return session.scalars(
        select(ItemChangeRow).where(ItemChangeRow.item_id == item_id).order_by(ItemChangeRow.sequence)
    ).all()


def open_item_count(session: Session, entity_id: str) -> int:
    """Open items of an entity."""
    return session.execute(
        select(func.count()).where(ItemRow.entity_id == entity_id, ItemRow.open_minor != 0)
    ).scalar_one()


# ---- holds -----------------------------------------------------------------------------------------------------------


def holds_in_force(session: Session, item_ids: Sequence[str], today: date) -> dict[str, list[HoldRow]]:
    """Holds that count today, by item, oldest first."""
    found: dict[str, list[HoldRow]] = {}
    if item_ids:
        for hold in session.scalars(
            select(HoldRow)
            .where(HoldRow.item_id.in_(item_ids), in_force(today))
            .order_by(HoldRow.placed_at, HoldRow.hold_id)
        ):
            found.setdefault(hold.item_id, []).append(hold)
    return found


def currencies(session: Session, item_ids: Sequence[str]) -> dict[str, str]:
    """The currency of each of these items."""
    rows = session.execute(select(ItemRow.item_id, ItemRow.currency).where(ItemRow.item_id.in_(item_ids)))
    return {row.item_id: row.currency for row in rows}


def holds_of_item(session: Session, item_id: str) -> Sequence[HoldRow]:
    """All holds an item ever had, newest first."""
    return session.scalars(
        select(HoldRow).where(HoldRow.item_id == item_id).order_by(HoldRow.placed_at.desc(), HoldRow.hold_id)
    ).all()


def list_holds(session: Session, page: Page, today: date) -> tuple[Sequence[Row], str, int]:
    """(HoldRow, currency) within the caller's scope: a page, the next token, the total."""
    # A hold whose last day is past is over, even before the sweep has written that down.
    is_over = and_(HoldRow.state == "ACTIVE", HoldRow.until_on < today)
    allowed = {
        "account_id": cast(HoldRow.account_id, Text),
        "item_id": cast(HoldRow.item_id, Text),
        "kind": HoldRow.kind,
        "state": case((is_over, "EXPIRED"), else_=HoldRow.state),
        "source": HoldRow.source,
        "source_id": HoldRow.source_id,
        "until_on": HoldRow.until_on,
        "review_on": HoldRow.review_on,
    }
    query = (
        select(HoldRow, ItemRow.currency)
        .join(ItemRow, ItemRow.item_id == HoldRow.item_id)
        .join(EntityRow, EntityRow.entity_id == ItemRow.entity_id)
        .where(_sees(), *listing.parse_filter(page.filter, allowed))
    )
    total = session.execute(query.with_only_columns(func.count())).scalar_one()
    orders = {"from_on": HoldRow.from_on, "until_on": HoldRow.until_on, "review_on": HoldRow.review_on}
    ordered = query.order_by(*listing.order_by(page.order_by, orders, "from_on desc"), HoldRow.hold_id)
    rows, token = _paged(session, ordered, page, total)
    return rows, token, total
