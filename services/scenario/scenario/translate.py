"""Between what is kept and the contract's messages."""

from datetime import date, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from quittance.common.v1 import money_pb2
from quittance.scenario.v1 import action_pb2 as pb
from scenario import store
from scenario.domain.model import Reason, Scenario, Step
from scenario.texts import CATALOG


def timestamp(at: datetime) -> Timestamp:
    """An instant as the contracts carry it."""
    message = Timestamp()
    message.FromDatetime(at)
    return message


def moneys(sums_minor: dict[str, int]) -> list[money_pb2.Money]:
    """Sums by currency, in the order of the codes."""
    return [money_pb2.Money(currency=currency, minor_units=minor) for currency, minor in sorted(sums_minor.items())]


def day(value: date | None) -> str:
    """YYYY-MM-DD, or nothing."""
    return value.isoformat() if value else ""


def step_to_proto(step: Step, language: str = "en") -> pb.Step:
    """A step, named in a language (fr, else English)."""
    is_french = language == "fr"
    return pb.Step(
        key=step.key,
        name=step.name_fr if is_french else step.name,
        channel=pb.Channel.Value(f"CHANNEL_{step.channel}"),
        anchor=pb.StepAnchor.Value(f"STEP_ANCHOR_{step.anchor}"),
        offset_days=step.offset_days,
        mode=pb.StepMode.Value(f"STEP_MODE_{step.mode}"),
        template_key=step.template_key,
        contact_role=step.contact_role,
        min_amount_minor=step.min_amount_minor,
        why=step.why_fr if is_french else step.why,
    )


def scenario_to_proto(scenario: Scenario, language: str = "en") -> pb.Scenario:
    """A scenario with its steps."""
    return pb.Scenario(
        scenario_id=scenario.scenario_id,
        name=scenario.name_fr if language == "fr" else scenario.name,
        version=scenario.version,
        active=scenario.active,
        is_default=scenario.is_default,
        steps=[step_to_proto(step, language) for step in scenario.steps],
    )


def reason_to_proto(reason: Reason) -> pb.Reason:
    """A reason with its inputs."""
    return pb.Reason(
        code=reason.code,
        text=reason.text,
        text_fr=reason.text_fr,
        inputs=[pb.ReasonInput(name=given.name, label=given.label, value=given.value) for given in reason.inputs],
    )


def outcome(row: dict[str, Any], language: str) -> str:
    """How an action ended or why it waits, in a language (fr, else English); a person's own words as they are."""
    if language != "fr":
        return row["outcome"]
    return row["outcome_fr"] or CATALOG.say(row["outcome"], language)


def action_to_proto(row: dict[str, Any], today: date, language: str = "en") -> pb.Action:
    """An action as kept, its days late counted on the business date."""
    return pb.Action(
        action_id=row["action_id"],
        account_id=row["account_id"],
        account_number=row["account_number"],
        account_name=row["account_name"],
        entity_code=row["entity_code"],
        scenario_id=row["scenario_id"] or "",
        scenario_version=row["scenario_version"],
        step=step_to_proto(store.step_from_json(row["step"]), language),
        step_number=row["step_number"],
        step_count=row["step_count"],
        state=pb.ActionState.Value(f"ACTION_STATE_{row['state']}"),
        due_on=day(row["due_on"]),
        leader_item_id=row["leader_item_id"],
        leader_number=row["leader_number"],
        leader_due_on=day(row["leader_due_on"]),
        leader_days_late=(today - row["leader_due_on"]).days,
        item_ids=row["item_ids"],
        overdue=moneys(row["overdue"]),
        collectable=moneys(row["collectable"]),
        reason=reason_to_proto(store.reason_from_json(row["reason"])),
        assignee=row["assignee"],
        message_id=row["message_id"] or "",
        outcome=outcome(row, language),
        done_on=day(row["done_on"]),
        version=row["version"],
        changed_at=timestamp(row["changed_at"]),
        hold_summary=row["hold_summary"],
    )


def promise_to_proto(row: store.PromiseRow) -> pb.Promise:
    """A promise; lines that a newer promise took over are left out."""
    lines = [line for line in row.lines if not line["is_replaced"]] or row.lines
    total: dict[str, int] = {}
    for line in lines:
        total[line["currency"]] = total.get(line["currency"], 0) + amount_of(line)
    return pb.Promise(
        promise_id=row.promise_id,
        account_id=row.account_id,
        account_name=row.account_name,
        state=pb.PromiseState.Value(f"PROMISE_STATE_{row.state}"),
        promised_on=day(row.promised_on),
        lines=[
            pb.PromiseLine(
                item_id=line["item_id"],
                item_number=line["item_number"],
                amount=money_pb2.Money(currency=line["currency"], minor_units=amount_of(line)),
            )
            for line in lines
        ],
        total=moneys(total),
        source=row.source,
        source_id=row.source_id,
        comment=row.comment,
        created_by=row.created_by,
        created_at=timestamp(row.created_at),
        tolerance_days=row.tolerance_days,
        version=row.version,
        entity_code=row.entity_code,
    )


def amount_of(line: dict[str, Any]) -> int:
    """What was promised of an item, in minor units; all that was open when no amount was said."""
    return line["baseline_minor"] if line["promised_minor"] is None else line["promised_minor"]
