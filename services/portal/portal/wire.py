"""Between rows, facts and the messages of the contracts."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from kit.money import Money, to_proto
from portal import store
from portal.domain import Answer, Kind, Line, sums
from quittance.portal.v1 import portal_events_pb2 as events
from quittance.portal.v1 import portal_service_pb2 as pb


def lines_to_json(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Lines as they are kept; amounts in minor units."""
    return [
        {
            "item_id": line.item_id,
            "number": line.number,
            "currency": line.amount.currency,
            "amount_minor": line.amount.minor_units,
            "open_minor": line.open.minor_units,
        }
        for line in lines
    ]


def lines_from_json(rows: Iterable[dict[str, Any]]) -> tuple[Line, ...]:
    """Lines as they were kept."""
    return tuple(
        Line(
            row["item_id"],
            row["number"],
            Money(row["currency"], row["amount_minor"]),
            Money(row["currency"], row["open_minor"]),
        )
        for row in rows
    )


def answer_of(row: store.ResponseRow) -> Answer:
    """What the customer said, as it was kept."""
    return Answer(
        Kind(row.kind),
        lines_from_json(row.lines),
        row.promised_on,
        row.paid_on,
        row.payment_reference,
        row.reason_code,
        row.comment,
    )


def link_to_proto(row: store.LinkRow) -> pb.Link:
    """A link for the contract, never with its token."""
    return pb.Link(
        link_id=row.link_id,
        account_id=row.account_id,
        contact_id=row.contact_id,
        language=row.language,
        created_at=_instant(row.created_at),
        expires_at=_instant(row.expires_at),
        revoked_at=_instant(row.revoked_at),
        last_used_at=_instant(row.last_used_at),
        use_count=row.use_count,
    )


def response_to_proto(row: store.ResponseRow) -> pb.Response:
    """An answer for the contract."""
    lines = lines_from_json(row.lines)
    return pb.Response(
        response_id=row.response_id,
        account_id=row.account_id,
        account_name=row.account_name,
        entity_code=row.entity_code,
        kind=pb.ResponseKind.Value(f"RESPONSE_KIND_{row.kind}"),
        state=pb.ResponseState.Value(f"RESPONSE_STATE_{row.state}"),
        lines=[
            pb.ResponseLine(
                item_id=line.item_id, item_number=line.number, amount=to_proto(line.amount), open=to_proto(line.open)
            )
            for line in lines
        ],
        total=[to_proto(amount) for amount in sums([line.amount for line in lines])],
        promised_on=_iso(row.promised_on),
        paid_on=_iso(row.paid_on),
        payment_reference=row.payment_reference,
        reason_code=row.reason_code,
        comment=row.comment,
        contact_name=row.contact_name,
        link_id=row.link_id,
        received_at=_instant(row.received_at),
        decided_by=row.decided_by,
        decided_at=_instant(row.decided_at),
        decision_comment=row.decision_comment,
        promise_id=row.promise_id,
        case_id=row.case_id,
        check_on=_iso(row.check_on),
        version=row.version,
    )


def response_changed(row: store.ResponseRow) -> events.ResponseChanged:
    """The event: the whole answer."""
    return events.ResponseChanged(response=response_to_proto(row))


def _instant(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _iso(day: date | None) -> str:
    return day.isoformat() if day else ""
