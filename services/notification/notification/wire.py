"""Between rows, facts and the messages of the contracts."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from google.protobuf.timestamp_pb2 import Timestamp

from kit.money import Money, to_proto
from notification import store
from notification.domain.delivery import Addressee
from notification.domain.rendering import LINK_PLACEHOLDER, ItemFact, sums
from notification.texts import CATALOG
from quittance.notification.v1 import notification_events_pb2 as events
from quittance.notification.v1 import notification_service_pb2 as pb

MASK = LINK_PLACEHOLDER


def items_to_json(items: Iterable[ItemFact]) -> list[dict[str, Any]]:
    """Items as they are frozen with a message; amounts in minor units."""
    return [
        {
            "item_id": item.item_id,
            "number": item.number,
            "due_on": item.due_on.isoformat() if item.due_on else "",
            "days_late": item.days_late,
            "currency": item.open.currency,
            "open_minor": item.open.minor_units,
            "collectable_minor": item.collectable.minor_units,
        }
        for item in items
    ]


def recipients_to_json(addressees: Iterable[Addressee]) -> list[dict[str, Any]]:
    """Addressees as they are frozen with a message."""
    return [{"contact_id": a.contact_id, "name": a.name, "email": a.email, "kind": a.kind} for a in addressees]


def recipients_from_json(rows: Iterable[dict[str, Any]]) -> list[Addressee]:
    """Addressees as they were frozen."""
    return [Addressee(row["contact_id"], row["name"], row["email"], row["kind"]) for row in rows]


def recipients_to_proto(addressees: Iterable[Addressee]) -> list[pb.Recipient]:
    """Addressees as the contract shows them."""
    return [pb.Recipient(contact_id=a.contact_id, name=a.name, email=a.email, kind=a.kind) for a in addressees]


def item_facts_to_proto(items: Iterable[ItemFact]) -> list[pb.MessageItem]:
    """Items of a draft."""
    return [_item(row) for row in items_to_json(items)]


def _item(row: dict[str, Any]) -> pb.MessageItem:
    return pb.MessageItem(
        item_id=row["item_id"],
        number=row["number"],
        due_on=row["due_on"],
        days_late=row["days_late"],
        open=to_proto(Money(row["currency"], row["open_minor"])),
        collectable=to_proto(Money(row["currency"], row["collectable_minor"])),
    )


def total_of(rows: Sequence[dict[str, Any]]) -> list[Money]:
    """Sum of the collectable part, one per currency."""
    return sums(Money(row["currency"], row["collectable_minor"]) for row in rows)


def instant(at: datetime | None) -> Timestamp | None:
    """An instant as protobuf has it."""
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def message_to_proto(
    row: store.MessageRow,
    attempts: Sequence[store.AttemptRow],
    *,
    with_body: bool,
    portal_link: str = "",
    sink_url: str = "",
    language: str = "en",
) -> pb.Message:
    """A message for the contract, its failures said in a language (fr, else English).

    Without portal_link the link in body and text stays masked.
    """
    shown_link = portal_link or MASK
    internet_id = row.internet_message_id
    return pb.Message(
        message_id=row.message_id,
        state=pb.MessageState.Value(f"MESSAGE_STATE_{row.state}"),
        account_id=row.account_id,
        account_name=row.account_name,
        entity_code=row.entity_code,
        action_id=row.action_id,
        template_key=row.template_key,
        language=row.language,
        recipients=recipients_to_proto(recipients_from_json(row.recipients)),
        subject=row.subject,
        body=row.body.replace(LINK_PLACEHOLDER, shown_link) if with_body else "",
        text=row.text.replace(LINK_PLACEHOLDER, shown_link) if with_body else "",
        items=[_item(item) for item in row.items],
        total=[to_proto(amount) for amount in total_of(row.items)],
        internet_message_id=internet_id,
        portal_link=portal_link,
        link_id=row.link_id,
        failure=CATALOG.say(row.failure, language),
        failure_code=row.failure_code,
        attempts=[
            pb.Attempt(
                number=place,
                outcome=attempt.outcome,
                detail=CATALOG.say(attempt.detail, language),
                at=instant(attempt.at),
            )
            for place, attempt in enumerate(attempts, start=1)
        ],
        created_by=row.created_by,
        created_at=instant(row.created_at),
        sent_at=instant(row.sent_at),
        version=row.version,
        sink_url=f"{sink_url.rstrip('/')}/by-message-id/{quote(internet_id.strip('<>'))}"
        if sink_url and row.sent_at
        else "",
    )


def message_changed(row: store.MessageRow, attempts: Sequence[store.AttemptRow]) -> events.MessageChanged:
    """The event: the message without its texts and its link."""
    return events.MessageChanged(message=message_to_proto(row, attempts, with_body=False))


def template_to_proto(row: store.TemplateRow) -> pb.Template:
    """A template for the contract."""
    return pb.Template(
        template_id=row.template_id,
        key=row.key,
        language=row.language,
        name=row.name,
        subject=row.subject,
        body=row.body,
        version=row.version,
    )
