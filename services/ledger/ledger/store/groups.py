"""Groups and custom fields: a registry beside the arrays and objects that accounts and items carry."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, Numeric, Row, Text, case, cast, delete, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from kit import context, listing
from kit.errors import Code, Refused
from ledger.store.queries import Page
from ledger.store.tables import AccountRow, CustomerGroupRow, EntityRow, FieldDefinitionRow

# Those of the registry and those that only accounts name, with the accounts the caller may see.
_GROUPS = """
SELECT coalesce(g.code, n.code) AS code, coalesce(nullif(g.name, ''), g.code, n.code) AS name,
    coalesce(g.colour, '') AS colour, CAST(coalesce(n.accounts, 0) AS integer) AS account_count
FROM customer_groups AS g FULL JOIN (SELECT u.code, count(*) AS accounts FROM accounts AS a
    JOIN entities AS e ON e.entity_id = a.entity_id
        AND (CAST(:codes AS text[]) IS NULL OR e.code = ANY(CAST(:codes AS text[])))
    CROSS JOIN LATERAL unnest(a.groups) AS u(code) WHERE a.merged_into_id IS NULL GROUP BY u.code) AS n
    ON n.code = g.code
"""


def _seen() -> list[str] | None:
    codes = context.current_caller().entity_codes
    return None if codes is None else sorted(codes)


def list_groups(session: Session, page: Page) -> tuple[Sequence[Row], str, int]:
    """(code, name, colour, account_count): a page, the next token, the total."""
    groups = (
        text(_GROUPS)
        .bindparams(codes=_seen())
        .columns(code=Text, name=Text, colour=Text, account_count=Integer)
        .subquery("g")
    )
    allowed = {name: groups.c[name] for name in ("code", "name", "account_count")}
    query = select(groups).where(*listing.parse_filter(page.filter, allowed))
    total = session.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    size, offset = listing.page_size(page.size), listing.offset_of(page.token)
    ordered = query.order_by(*listing.order_by(page.order_by, allowed, "code"), groups.c.code)
    rows = session.execute(ordered.limit(size).offset(offset)).all()
    return rows, listing.next_offset_token(offset, len(rows), total), total


def group(session: Session, code: str) -> Row | None:
    """(code, name, colour, account_count) of one group, also of one that only accounts name."""
    found = session.execute(
        text(f"SELECT * FROM ({_GROUPS}) AS g WHERE code = :code"), {"codes": _seen(), "code": code}
    )
    return found.first()


def insert_group(session: Session, code: str, name: str, colour: str) -> bool:
    """Adds a group to the registry; False when it is there."""
    values = {"tenant_id": context.current_tenant(), "code": code, "name": name, "colour": colour}
    statement = insert(CustomerGroupRow).values(**values).on_conflict_do_nothing().returning(CustomerGroupRow.code)
    return session.execute(statement).first() is not None


def save_group(session: Session, code: str, name: str, colour: str) -> None:
    """Adds or changes a group of the registry."""
    values = {"tenant_id": context.current_tenant(), "code": code, "name": name, "colour": colour}
    session.execute(
        insert(CustomerGroupRow)
        .values(**values)
        .on_conflict_do_update(index_elements=["tenant_id", "code"], set_={"name": name, "colour": colour})
    )


def delete_group(session: Session, code: str) -> None:
    """Takes a group out of the registry."""
    session.execute(delete(CustomerGroupRow).where(CustomerGroupRow.code == code))


def is_group_used(session: Session, code: str) -> bool:
    """Whether any account of the tenant is in the group, also one the caller may not see."""
    return (
        session.scalars(select(AccountRow.account_id).where(AccountRow.groups.contains([code])).limit(1)).first()
        is not None
    )


# ---- custom fields ---------------------------------------------------------------------------------------------------


def definitions(session: Session, field_object: str) -> dict[str, FieldDefinitionRow]:
    """The definitions of ACCOUNT or ITEM by name."""
    rows = session.scalars(select(FieldDefinitionRow).where(FieldDefinitionRow.object == field_object))
    return {row.name: row for row in rows}


def list_definitions(session: Session, page: Page) -> tuple[Sequence[FieldDefinitionRow], str, int]:
    """Definitions: a page, the next token, the total."""
    allowed = {name: getattr(FieldDefinitionRow, name) for name in ("object", "name", "type")}
    query = select(FieldDefinitionRow).where(*listing.parse_filter(page.filter, allowed))
    total = session.execute(query.with_only_columns(func.count())).scalar_one()
    size, offset = listing.page_size(page.size), listing.offset_of(page.token)
    ordered = query.order_by(*listing.order_by(page.order_by, allowed, "name"), FieldDefinitionRow.object)
    rows = session.scalars(ordered.limit(size).offset(offset)).all()
    return rows, listing.next_offset_token(offset, len(rows), total), total


def save_definition(session: Session, field_object: str, name: str, **columns: Any) -> FieldDefinitionRow:
    """Adds or changes a definition."""
    values = {"tenant_id": context.current_tenant(), "object": field_object, "name": name, **columns}
    return session.scalars(
        insert(FieldDefinitionRow)
        .values(**values)
        .on_conflict_do_update(index_elements=["tenant_id", "object", "name"], set_=columns)
        .returning(FieldDefinitionRow)
        .execution_options(populate_existing=True)
    ).one()


def define(session: Session, field_object: str, names: Iterable[str]) -> None:
    """Defines fields nobody knows yet as texts."""
    rows = [
        {"tenant_id": context.current_tenant(), "object": field_object, "name": name, "type": "TEXT", "options": [],
         "label_en": "", "label_fr": ""}
        for name in sorted(set(names))
    ]  # fmt: skip
    if rows:
        session.execute(insert(FieldDefinitionRow).values(rows).on_conflict_do_nothing())


def delete_definition(session: Session, field_object: str, name: str) -> bool:
    """Takes a definition away; False when there is none."""
    statement = delete(FieldDefinitionRow).where(
        FieldDefinitionRow.object == field_object, FieldDefinitionRow.name == name
    )
    return session.execute(statement.returning(FieldDefinitionRow.name)).first() is not None


_NUMBER = r"^-?\d{1,30}(\.\d{1,12})?$"
_DAY = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"


def misfits(session: Session, field_object: str, name: str, kind: str, options: Sequence[str]) -> int:
    """How many values that are kept (of 1,000 at most) are not of the type."""
    table = "accounts" if field_object == "ACCOUNT" else "items"
    fits = {
        "NUMBER": "v.value ~ :number",
        "DATE": "v.value ~ :day",
        "LIST": "v.value = ANY(CAST(:options AS text[]))",
    }.get(kind)
    if fits is None:
        return 0
    params = {"name": name, "number": _NUMBER, "day": _DAY, "options": list(options)}
    return session.execute(
        text(
            f"SELECT count(*) FROM (SELECT 1 FROM (SELECT custom_fields ->> :name AS value FROM {table}"
            f" WHERE custom_fields ? :name) AS v WHERE NOT ({fits}) LIMIT 1000) AS bad"
        ),
        params,
    ).scalar_one()


def filter_name(name: str) -> str:
    """How a custom field is called in a filter: custom. and its name with _ for what a filter's name cannot hold."""
    return "custom." + listing.snake_case(re.sub(r"[^A-Za-z0-9_]+", "_", name))


def conditions(session: Session, filter_text: str) -> Mapping[str, Any]:
    """What makes conditions on accounts' custom fields of a filter's terms; empty when it asks for none."""
    if "custom." not in filter_text.lower():
        return {}
    return {filter_name(name): _condition_of(row) for name, row in definitions(session, "ACCOUNT").items()}


def _condition_of(row: FieldDefinitionRow) -> Any:
    value = AccountRow.custom_fields[row.name].astext

    def condition(op: str, wanted: str) -> ColumnElement[bool]:
        if op == ":":
            return value.icontains(wanted, autoescape=True)
        if wanted in ("null", ""):
            is_empty = or_(value.is_(None), value == "")
            return is_empty if op == "=" else ~is_empty
        left: Any = value
        right: Any = wanted
        if row.type == "NUMBER":
            if not re.fullmatch(_NUMBER, wanted):
                raise Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", "not a number", {"filter": "not a number"})
            left = case((value.regexp_match(_NUMBER), cast(value, Numeric)), else_=None)
            right = cast(wanted, Numeric)
        match op:
            case "=":
                return left == right
            case "!=":
                return left.is_distinct_from(right)
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
        return left >= right

    return condition


def lock_entity_row(session: Session, id_or_code: str) -> EntityRow | None:
    """An entity by id or code, locked."""
    return session.scalars(
        select(EntityRow)
        .where(or_(EntityRow.code == id_or_code, cast(EntityRow.entity_id, Text) == id_or_code))
        .order_by(EntityRow.code != id_or_code)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).first()
