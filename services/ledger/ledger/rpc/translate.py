"""Rows of the store as messages of the contract, and back."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from kit.errors import Code, Refused
from ledger import usecases
from ledger.store import merging, queries, saying
from ledger.store.tables import ContactRow, EntityRow, HoldRow, ItemChangeRow, LoadChunkRow
from quittance.common.v1 import money_pb2
from quittance.ledger.v1 import account_pb2, item_pb2
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_service_pb2 as pb


def money(currency: str, minor_units: Any) -> money_pb2.Money:
    return money_pb2.Money(currency=currency, minor_units=int(minor_units))


def iso_day(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def read_day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def text_fields(values: dict[str, Any]) -> dict[str, str]:
    """Custom fields as texts; what a source gave as a number or list is written as JSON writes it."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def entity_to_proto(row: EntityRow) -> account_pb2.Entity:
    """An entity as the contract has it."""
    return saying.entity_message(row)


def contact_to_proto(row: ContactRow) -> account_pb2.Contact:
    """A contact as the contract has it."""
    return account_pb2.Contact(
        contact_id=row.contact_id,
        account_id=row.account_id,
        name=row.name,
        email=row.email,
        phone=row.phone,
        role=account_pb2.ContactRole.Value(f"CONTACT_ROLE_{row.role}"),
        language=row.language,
        valid=row.valid,
        invalid_reason=row.invalid_reason,
        roles=[account_pb2.ContactRole.Value(f"CONTACT_ROLE_{role}") for role in (row.role, *row.more_roles)],
        channels=[account_pb2.ContactChannel.Value(f"CONTACT_CHANNEL_{channel}") for channel in row.channels],
        preferred_channel=account_pb2.ContactChannel.Value(f"CONTACT_CHANNEL_{row.preferred_channel or 'UNSPECIFIED'}"),
        scope=account_pb2.ContactScope.Value(f"CONTACT_SCOPE_{row.scope}"),
        item_ids=row.item_ids,
        recipient=account_pb2.ContactRecipient.Value(f"CONTACT_RECIPIENT_{row.recipient}"),
    )


def contact_choices(request: Any) -> dict[str, Any]:
    """What a request says of a contact's roles, channels, scope and place, as columns; what it does not say is left
    out."""
    found: dict[str, Any] = {}
    roles = [account_pb2.ContactRole.Name(role).removeprefix("CONTACT_ROLE_") for role in request.roles if role]
    if roles:
        found["role"], found["more_roles"] = roles[0], list(dict.fromkeys(roles[1:]))
        found["more_roles"] = [role for role in found["more_roles"] if role != roles[0]]
    channels = [account_pb2.ContactChannel.Name(channel) for channel in request.channels if channel]
    if channels:
        found["channels"] = list(dict.fromkeys(name.removeprefix("CONTACT_CHANNEL_") for name in channels))
    if request.preferred_channel:
        name = account_pb2.ContactChannel.Name(request.preferred_channel)
        found["preferred_channel"] = name.removeprefix("CONTACT_CHANNEL_")
    if request.scope:
        found["scope"] = account_pb2.ContactScope.Name(request.scope).removeprefix("CONTACT_SCOPE_")
    if request.recipient:
        found["recipient"] = account_pb2.ContactRecipient.Name(request.recipient).removeprefix("CONTACT_RECIPIENT_")
    return found


def account_to_proto(row: Row, balances: Sequence[Row], contacts: Sequence[ContactRow] = ()) -> account_pb2.Account:
    """An account as the contract has it, from rows of queries.account and queries.balances."""
    account, entity, unit = row
    message = account_pb2.Account(
        account_id=account.account_id,
        entity_id=account.entity_id,
        entity_code=entity.code,
        number=account.number,
        name=account.name,
        aliases=account.aliases,
        country=account.country,
        language=account.language,
        payment_terms=account.payment_terms,
        legal_unit_id=account.legal_unit_id,
        legal_unit_name=unit.name,
        registration_number=unit.registration_number,
        parent_number=account.parent_number,
        groups=account.groups,
        collector=account.collector,
        custom_fields=text_fields(account.custom_fields),
        oldest_due_on=iso_day(account.oldest_due_on),
        contacts=[contact_to_proto(contact) for contact in contacts],
        version=account.version,
        merged_into_id=account.merged_into_id or "",
        master_account_id=account.master_account_id or "",
        pinned_comment=account.pinned_comment,
        balances=[balance_to_proto(balance) for balance in balances],
    )
    message.changed_at.FromDatetime(account.changed_at)
    return message


def balance_to_proto(balance: Any) -> account_pb2.AccountBalance:
    """What is owed in one currency as the contract has it."""
    return account_pb2.AccountBalance(
        currency=balance.currency,
        open=money(balance.currency, balance.open_minor),
        overdue=money(balance.currency, balance.overdue_minor),
        credits=money(balance.currency, balance.credits_minor),
        held=money(balance.currency, balance.held_minor),
        collectable_overdue=money(balance.currency, balance.collectable_overdue_minor),
        item_count=balance.item_count,
    )


def account_of(session: Session, account_id: str, today: date) -> tuple[account_pb2.Account, EntityRow]:
    """An account with its contacts and the accounts collected through it, and its entity. Refuses: NOT_FOUND
    ACCOUNT_UNKNOWN."""
    row = queries.account(session, account_id)
    if row is None:
        raise Refused(Code.NOT_FOUND, "ACCOUNT_UNKNOWN", "there is no such account", account_id=account_id)
    account_id = row[0].account_id
    balances = queries.balances(session, [account_id], today).get(account_id, ())
    message = account_to_proto(row, balances, queries.contacts(session, account_id))
    message.grouped_account_ids.extend(merging.grouped_under(session, [account_id]))
    return message, row[1]


def hold_to_proto(row: HoldRow, currency: str, today: date) -> item_pb2.Hold:
    """A hold as the contract has it; one whose last day is past is over, even before the sweep has written it down."""
    state = "EXPIRED" if row.state == "ACTIVE" and row.until_on is not None and row.until_on < today else row.state
    return item_pb2.Hold(
        hold_id=row.hold_id,
        item_id=row.item_id,
        account_id=row.account_id,
        kind=item_pb2.HoldKind.Value(f"HOLD_KIND_{row.kind}"),
        state=item_pb2.HoldState.Value(f"HOLD_STATE_{state}"),
        amount=money(currency, row.amount_minor),
        from_on=iso_day(row.from_on),
        until_on=iso_day(row.until_on),
        review_on=iso_day(row.review_on),
        reason=row.reason,
        source=row.source,
        source_id=row.source_id,
    )


def item_to_proto(row: Row, holds: Sequence[HoldRow], today: date) -> item_pb2.Item:
    """An item as the contract has it, from a row of queries.ItemPage and its holds in force."""
    item, held_minor, account_name, entity_code = row
    collectable_minor = max(item.open_minor, 0) - int(held_minor)
    return item_pb2.Item(
        item_id=item.item_id,
        account_id=item.account_id,
        entity_code=entity_code,
        number=item.number,
        kind=item_pb2.ItemKind.Value(f"ITEM_KIND_{item.kind}"),
        state=item_pb2.ITEM_STATE_OPEN if item.open_minor else item_pb2.ITEM_STATE_CLEARED,
        issue_on=iso_day(item.issue_on),
        due_on=iso_day(item.due_on),
        initial=money(item.currency, item.initial_minor),
        open=money(item.currency, item.open_minor),
        held=money(item.currency, held_minor),
        collectable=money(item.currency, collectable_minor),
        days_late=(today - item.due_on).days if item.due_on else 0,
        holds=[hold_to_proto(hold, item.currency, today) for hold in holds],
        order_number=item.order_number,
        reference=item.reference,
        text=item.text,
        settled_on=iso_day(item.settled_on),
        custom_fields=text_fields(item.custom_fields),
        version=item.version,
        account_name=account_name,
    )


def change_to_proto(row: ItemChangeRow, currency: str) -> item_pb2.ItemChange:
    """An entry of an item's history as the contract has it."""
    message = item_pb2.ItemChange(
        sequence=row.sequence,
        cause=item_pb2.ChangeCause.Value(f"CHANGE_CAUSE_{row.cause}"),
        delta=money(currency, row.delta_minor),
        value_on=iso_day(row.value_on),
        import_id=row.import_id or "",
    )
    message.recorded_at.FromDatetime(row.recorded_at)
    return message


def effect_to_proto(effect: Mapping[str, Any]) -> load_pb.RowEffect:
    """What a row does to the books (store.plans.effects), as the contract has it."""
    changes = [load_pb.FieldChange(**change) for change in effect["changes"]]
    return load_pb.RowEffect(**{**effect, "changes": changes})


def progress_to_proto(row: LoadChunkRow) -> load_pb.LoadProgress:
    """What a chunk did, as the contract has it."""
    return load_pb.LoadProgress(
        chunk_number=row.chunk_number,
        counts=load_pb.RowCounts(
            created=row.created,
            updated=row.updated,
            unchanged=row.unchanged,
            cleared=row.cleared,
            rejected=row.rejected,
            reopened=row.reopened,
        ),
        rejects=[load_pb.RowReject(**reject) for reject in row.rejects],
        effects=[effect_to_proto(effect) for effect in row.effects],
        kept=row.kept or 0,
    )


def page_of(request: Any) -> queries.Page:
    return queries.Page(request.page_size, request.page_token, request.filter, request.order_by)


def items_of(session: Session, rows: Sequence[Row], today: date) -> list[item_pb2.Item]:
    in_force = queries.holds_in_force(session, [row[0].item_id for row in rows], today)
    return [item_to_proto(row, in_force.get(row[0].item_id, ()), today) for row in rows]


def source_of(message: pb.HoldSource) -> usecases.HoldSource:
    return usecases.HoldSource(message.source, message.source_id, tuple(message.item_ids))
