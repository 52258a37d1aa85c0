"""Between what is kept and the contract's messages."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from dispute import domain, store
from dispute.texts import CATALOG
from quittance.common.v1 import money_pb2
from quittance.dispute.v1 import dispute_service_pb2 as pb


def timestamp(at: datetime) -> Timestamp:
    """An instant as the contracts carry it."""
    message = Timestamp()
    message.FromDatetime(at)
    return message


def case_number(number: int | None) -> str:
    """D-0042; nothing before it is opened."""
    return "" if number is None else f"D-{number:04d}"


def case_to_proto(row: store.CaseRow, today: date, language: str = "en", events: Iterable[Any] = ()) -> pb.Case:
    """A case as of the business date, its reason, outcome and history in a language (fr, else English)."""
    reason = domain.reason_of(row.reason_code)
    case = pb.Case(
        case_id=row.case_id,
        number=case_number(row.number),
        state=pb.CaseState.Value(f"CASE_STATE_{row.state}"),
        account_id=row.account_id,
        account_name=row.account_name,
        account_number=row.account_number,
        entity_code=row.entity_code,
        reason_code=row.reason_code,
        reason_name=reason.name_fr if language == "fr" else reason.name,
        owner=row.owner,
        comment=row.comment,
        source=row.source,
        source_id=row.source_id,
        opened_on=row.opened_on.isoformat(),
        due_on=row.due_on.isoformat(),
        days_open=(today - row.opened_on).days,
        overdue=domain.is_overdue(row.state, row.due_on, today),
        resolved_on=row.resolved_on.isoformat() if row.resolved_on else "",
        outcome=CATALOG.say(row.outcome, language),
        version=row.version,
        changed_at=timestamp(row.changed_at),
    )
    total: dict[str, int] = {}
    for line in row.lines:
        disputed_minor = line.to_domain().disputed_minor
        total[line.currency] = total.get(line.currency, 0) + disputed_minor
        kept = case.lines.add(
            item_id=line.item_id,
            item_number=line.item_number,
            disputed=money_pb2.Money(currency=line.currency, minor_units=disputed_minor),
            open=money_pb2.Money(currency=line.currency, minor_units=line.opened_minor),
        )
        if line.accepted_minor is not None:
            kept.accepted.currency, kept.accepted.minor_units = line.currency, line.accepted_minor
    for currency, minor in sorted(total.items()):
        case.total.add(currency=currency, minor_units=minor)
    for event in events:
        # Notes and comments are somebody's own words.
        words = CATALOG.say(event.text, language) if event.what in ("resolved", "closed") else event.text
        case.events.add(at=timestamp(event.at), by=event.by_whom, what=event.what, text=words)
    return case
