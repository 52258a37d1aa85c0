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
from sqlalchemy.orm import Session, aliased

from kit import context, listing
from kit.errors import Code, Refused
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


def accounts_by_id(session: Session, account_ids: Sequence[str]) -> Sequence[AccountRow]:
    """These accounts, by number."""
    return session.scalars(
        select(AccountRow)
        .where(AccountRow.account_id.in_(account_ids))
        .order_by(AccountRow.number, AccountRow.account_id)
        .execution_options(populate_existing=True)
    ).all()


def _in_group(op: str, value: str) -> ColumnElement[bool]:
    condition = AccountRow.groups.contains([value])
    return ~condition if op == "!=" else condition


def _sees_account() -> ColumnElement[bool]:
    """Accounts of the entities within the caller's scope, without a join."""
    codes = context.current_caller().entity_codes
    if codes is None:
        return literal(True)
    return AccountRow.entity_id.in_(select(EntityRow.entity_id).where(EntityRow.code.in_(sorted(codes))))


def _yes(value: str) -> bool:
    known = {"true": True, "false": False}.get(value.lower())
    if known is None:
        raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "true or false", {"filter": "true or false"})
    return known


def _has_contact(op: str, value: str) -> ColumnElement[bool]:
    found = (
        select(ContactRow.contact_id)
        .where(
            ContactRow.account_id == AccountRow.account_id, ContactRow.active, ContactRow.valid,
            or_(ContactRow.email != "", ContactRow.phone != ""),
        )
        .correlate(AccountRow)
        .exists()
    )  # fmt: skip
    return found if _yes(value) == (op == "=") else ~found


def _has_open(op: str, value: str) -> ColumnElement[bool]:
    found = (
        select(AccountBalanceRow.currency)
        .where(AccountBalanceRow.account_id == AccountRow.account_id)
        .correlate(AccountRow)
        .exists()
    )
    return found if _yes(value) == (op == "=") else ~found


def _merged(op: str, value: str) -> ColumnElement[bool]:
    is_merged = AccountRow.merged_into_id.is_not(None)
    return is_merged if _yes(value) == (op == "=") else ~is_merged


def account_conditions(page: Page, words: str, custom: Mapping[str, Any] | None = None) -> list[ColumnElement[bool]]:
    """What a list of accounts (joined with entities and legal units) is limited to: the caller's scope, the filter, and
    each of the words in number, name or an alias. Merged accounts are left out unless the filter names them."""
    filters = {
        "language": AccountRow.language,
        "parent_number": AccountRow.parent_number,
        "registration_number": LegalUnitRow.registration_number,
        "master_account_id": cast(AccountRow.master_account_id, Text),
        "number": AccountRow.number,
        "name": AccountRow.name,
        "entity_code": EntityRow.code,
        "country": AccountRow.country,
        "collector": AccountRow.collector,
        "legal_unit_id": cast(AccountRow.legal_unit_id, Text),
        "oldest_due_on": AccountRow.oldest_due_on,
    }
    special = {
        "group": _in_group, "has_contact": _has_contact, "has_open": _has_open, "merged": _merged, **(custom or {}),
    }  # fmt: skip
    conditions = [_sees_account(), *_conditions(page, filters, special)]
    if all(term.name != "merged" for term in listing.filter_terms(page.filter)):
        conditions.append(AccountRow.merged_into_id.is_(None))
    for word in words.split():
        found = [AccountRow.number, AccountRow.name, func.array_to_string(AccountRow.aliases, "\n")]
        conditions.append(or_(*(column.icontains(word, autoescape=True) for column in found)))
    return conditions


def account_ids_like(session: Session, page: Page, words: str, custom: Mapping[str, Any], most: int) -> list[str]:
    """Ids of the accounts that list_accounts would give, ascending, at most so many."""
    return list(
        session.scalars(
            _ACCOUNT.with_only_columns(AccountRow.account_id)
            .where(*account_conditions(page, words, custom))
            .order_by(AccountRow.account_id)
            .limit(most)
        )
    )


def list_accounts(
    session: Session, page: Page, words: str, today: date, custom: Mapping[str, Any] | None = None
) -> tuple[Sequence[Row], str, int]:
    """Accounts within the caller's scope as rows of account(): a page, the next token, the total.

    words: each must occur in number, name or an alias. custom: makers of conditions on custom fields (groups.conditions).
    """
    own_balance = and_(
        AccountBalanceRow.account_id == AccountRow.account_id, AccountBalanceRow.currency == EntityRow.currency
    )
    overdue = (
        select(ItemRow.account_id, ItemRow.currency, func.sum(ItemRow.open_minor).label("minor"))
        .where(ItemRow.open_minor != 0, ItemRow.open_minor > 0, ItemRow.due_on < today)
        .group_by(ItemRow.account_id, ItemRow.currency)
        .subquery("overdue")
    )
    orders = {
        "number": AccountRow.number,
        "name": AccountRow.name,
        "oldest_due_on": AccountRow.oldest_due_on,
        "changed_at": AccountRow.changed_at,
        "open": func.coalesce(AccountBalanceRow.open_minor, 0),
        "overdue": func.coalesce(overdue.c.minor, 0),
    }
    # Only what is asked for is joined, and the rest is read for the rows of the page alone: so that the page of a long
    # list comes out of an index.
    asked = {term.name for term in listing.filter_terms(page.filter)}
    ordered_by = {listing.snake_case(part.split()[0]) for part in page.order_by.split(",") if part.strip()}
    found = select(AccountRow.account_id).where(*account_conditions(page, words, custom))
    if "entity_code" in asked or ordered_by & {"open", "overdue"}:
        found = found.join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
    if "registration_number" in asked:
        found = found.join(LegalUnitRow, LegalUnitRow.legal_unit_id == AccountRow.legal_unit_id)
    total = session.execute(found.with_only_columns(func.count())).scalar_one()
    if "open" in ordered_by:
        found = found.join(AccountBalanceRow, own_balance, isouter=True)
    if "overdue" in ordered_by:
        own_overdue = and_(overdue.c.account_id == AccountRow.account_id, overdue.c.currency == EntityRow.currency)
        found = found.join(overdue, own_overdue, isouter=True)
    ordered = found.order_by(*listing.order_by(page.order_by, orders, "number"), AccountRow.account_id)
    page_rows, token = _paged(session, ordered, page, total)
    ids = [row.account_id for row in page_rows]
    rows = {row[0].account_id: row for row in session.execute(_ACCOUNT.where(AccountRow.account_id.in_(ids)))}
    return [rows[account_id] for account_id in ids], token, total


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
    """Contacts of an account that nobody deleted, and those of its legal unit's other accounts that are for all of
    them, oldest first."""
    sibling = aliased(AccountRow)
    unit = select(sibling.legal_unit_id).where(sibling.account_id == account_id).scalar_subquery()
    siblings = (
        select(AccountRow.account_id)
        .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
        .where(AccountRow.legal_unit_id == unit, AccountRow.merged_into_id.is_(None), _sees())
    )
    is_shared = and_(ContactRow.scope == "LEGAL_UNIT", ContactRow.account_id.in_(siblings))
    return session.scalars(
        select(ContactRow)
        .where(ContactRow.active, or_(ContactRow.account_id == account_id, is_shared))
        .order_by(ContactRow.made_at, ContactRow.contact_id)
    ).all()


def contact(session: Session, contact_id: str) -> Row | None:
    """(ContactRow, EntityRow) of a contact within the caller's scope."""
    return session.execute(
        select(ContactRow, EntityRow)
        .join(AccountRow, AccountRow.account_id == ContactRow.account_id)
        .join(EntityRow, EntityRow.entity_id == AccountRow.entity_id)
        .where(ContactRow.contact_id == contact_id, ContactRow.active, _sees())
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
    session: Session, account_ids: Sequence[str], item_ids: Sequence[str], today: date, limit: int
) -> Sequence[Row]:
    """Rows as in ItemPage of these accounts, oldest due date first: these items in any state, else all open ones."""
    query, _ = _items(today)
    wanted = ItemRow.item_id.in_(item_ids) if item_ids else ItemRow.open_minor != 0
    return session.execute(
        query.where(ItemRow.account_id.in_(account_ids), wanted)
        .order_by(ItemRow.due_on, ItemRow.number, ItemRow.item_id)
        .limit(limit)
    ).all()


def item(session: Session, item_id: str, today: date) -> Row | None:
    """One row as in ItemPage."""
    query, _ = _items(today)
    return session.execute(query.where(ItemRow.item_id == item_id)).first()


def changes(session: Session, item_id: str) -> Sequence[ItemChangeRow]:
    """The history of an item, oldest first; the first entry is that it was issued."""
    item = session.scalars(select(ItemRow).where(ItemRow.item_id == item_id)).first()
    if item is None:
        return []
    issued = ItemChangeRow(
        item_id=item.item_id, sequence=1, account_id=item.account_id, cause="ISSUED", delta_minor=item.issued_minor,
        value_on=item.issued_on, recorded_at=item.recorded_at, import_id=item.first_load_id,
    )  # fmt: skip
    later = session.scalars(
        select(ItemChangeRow).where(ItemChangeRow.item_id == item_id).order_by(ItemChangeRow.sequence)
    )
    return [issued, *later]


def open_item_count(session: Session, entity_id: str) -> int:
    """Open items of an entity, from the summaries of its accounts."""
    return session.execute(
        select(func.coalesce(func.sum(AccountBalanceRow.item_count), 0))
        .join(AccountRow, AccountRow.account_id == AccountBalanceRow.account_id)
        .where(AccountRow.entity_id == entity_id)
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
