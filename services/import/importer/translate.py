"""Rows of the store as protobuf, for RPCs and events alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from importer import domain
from importer.store import BatchRow, ProfileRow
from quittance.common.v1 import money_pb2
from quittance.importer.v1 import import_service_pb2 as pb

REJECTS_SHOWN = 100


def instant(value: datetime | None) -> Timestamp | None:
    """An instant as protobuf; None stays unset."""
    if value is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp


def object_value(name: str) -> pb.ImportObject:
    """The enum's number of ITEMS, ACCOUNTS, CONTACTS; 0 for the empty name."""
    return pb.ImportObject.Value(f"IMPORT_OBJECT_{name or 'UNSPECIFIED'}")


def object_name(value: int) -> str:
    """ITEMS, ACCOUNTS, CONTACTS; empty for UNSPECIFIED."""
    return pb.ImportObject.Name(value).removeprefix("IMPORT_OBJECT_") if value else ""  # type: ignore[arg-type]


def counts_of(row: BatchRow) -> pb.RowCounts:
    """read = created + updated + unchanged + cleared + rejected as soon as the rows are applied."""
    created, updated, unchanged, cleared, rejected = (
        sum(counts[place] for counts in row.chunk_counts.values()) for place in range(5)
    )
    return pb.RowCounts(
        read=row.read_count,
        created=created,
        updated=updated,
        unchanged=unchanged,
        cleared=cleared,
        rejected=row.rejected_count + rejected,
        cleared_absent=row.cleared_absent,
        accepted=row.accepted_count,
    )


def seconds_left(row: BatchRow) -> float | None:
    """How long the running stage will take at its rate; None while that is not known."""
    done = row.rows_done if row.stage == "load" else row.stage_rows
    if not row.stage or row.rows_per_second <= 0 or row.accepted_count <= done:
        return None
    return round((row.accepted_count - done) / row.rows_per_second, 1)


def balance_to_proto(balance: Sequence[Any]) -> pb.Balance:
    """[currency, items before, open before, items after, open after] as the contract says it."""
    code, items_before, open_before, items_after, open_after = balance
    return pb.Balance(
        currency=code,
        items_before=items_before,
        open_before=money_pb2.Money(currency=code, minor_units=open_before),
        items_after=items_after,
        open_after=money_pb2.Money(currency=code, minor_units=open_after),
    )


def roll_back_to_proto(plan: Mapping[str, Any]) -> pb.RollBackPlan:
    """What taking an import back does."""
    return pb.RollBackPlan(
        closed=plan.get("closed", 0),
        restored=plan.get("restored", 0),
        holds_changed=plan.get("holds_changed", 0),
        balances=[balance_to_proto(balance) for balance in plan.get("balances", [])],
    )


def effect_to_proto(effect: Mapping[str, Any]) -> pb.Effect:
    """One kept effect."""
    message = pb.Effect(
        line=effect["line"],
        effect=effect["effect"],
        account_number=effect["account_number"],
        number=effect["number"],
    )
    if effect["currency"]:
        message.open.CopyFrom(money_pb2.Money(currency=effect["currency"], minor_units=effect["open_minor"]))
    for field, old, new in effect["changes"]:
        message.changes.add(field=field, old=old, new=new)
    return message


def _consequences(row: BatchRow) -> pb.Consequences:
    names = ("created", "updated", "unchanged", "cleared", "rejected", "reopened", "cleared_absent", "open_items")
    return pb.Consequences(
        **{name: row.plan[name] for name in names},
        effects_kept=row.plan["effects_kept"],
        balances=[balance_to_proto(balance) for balance in row.plan["balances"]],
        planned_at=instant(datetime.fromisoformat(row.plan["planned_at"])),
    )


def _add_checks(message: pb.Import, row: BatchRow) -> None:
    expected = [domain.Expected(*one) for one in row.control_totals]
    totals = [domain.Total(**total) for total in row.details.get("totals", [])]
    for check in domain.control_checks(expected, totals):
        code = check.expected.currency
        entry = message.control_checks.add(
            item_count=check.item_count,
            total=money_pb2.Money(currency=code, minor_units=check.open_minor),
            agrees=check.agrees and bool(row.object),
        )
        entry.expected.currency = code
        if check.expected.item_count is not None:
            entry.expected.item_count = check.expected.item_count
        if check.expected.open_minor is not None:
            entry.expected.total.CopyFrom(money_pb2.Money(currency=code, minor_units=check.expected.open_minor))


def expected_totals(totals: Iterable[pb.ControlTotal]) -> tuple[domain.Expected, ...]:
    """Control totals as the domain has them."""
    return tuple(
        domain.Expected(
            total.currency,
            total.item_count if total.HasField("item_count") else None,
            total.total.minor_units if total.HasField("total") else None,
        )
        for total in totals
    )


def import_to_proto(row: BatchRow, whole: bool = True, language: str = "en") -> pb.Import:
    """One import; without `whole`, what a list or an event shows."""
    details: Mapping[str, Any] = row.details
    message = pb.Import(
        import_id=row.import_id,
        state=f"IMPORT_STATE_{row.state}",
        file_name=row.file_name,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        entity_code=row.entity_code,
        object=object_value(row.object or row.wanted_object),
        mode=row.mode,
        row_counts=counts_of(row),
        encoding=details.get("encoding", ""),
        delimiter=details.get("delimiter", ""),
        header_line=details.get("header_line", 0),
        profile_id=row.profile_id or "",
        rows_done=row.rows_done,
        rows_per_second=row.rows_per_second,
        stage_seconds=row.stage_seconds,
        created_by=row.created_by,
        created_at=instant(row.created_at),
        applied_at=instant(row.applied_at),
        answers=row.answers,
        profile_version=row.profile_version,
        source_id=row.source_id or "",
        channel=row.channel,
        stage=row.stage,
        stage_rows=row.stage_rows,
        reopened=row.reopened,
        rolled_back_at=instant(row.rolled_back_at),
        balances=[balance_to_proto(balance) for balance in row.balances],
    )
    left = seconds_left(row)
    if left is not None:
        message.seconds_left = left
    if row.plan and not row.plan.get("skipped"):
        message.consequences.CopyFrom(_consequences(row))
    if row.state == "ROLLED_BACK":
        message.roll_back.CopyFrom(roll_back_to_proto(row.roll_back))
    _add_checks(message, row)
    if row.failure_code:
        message.failure_code = row.failure_code
        message.failure = domain.failure_text(row.failure_code, language, **row.failure_values)
    for total in details.get("totals", []):
        code = total["currency"]
        message.totals.add(
            currency=code,
            item_count=total["item_count"],
            total=money_pb2.Money(currency=code, minor_units=total["open_minor"]),
            initial=money_pb2.Money(currency=code, minor_units=total["initial_minor"]),
        )
    for question in details.get("questions", []) if row.state in ("QUESTIONS",) else []:
        entry = message.questions.add(
            code=question["code"],
            column=question["column"],
            options=question["options"],
            text=question["text_fr" if language == "fr" else "text"],
        )
        for evidence in question["evidence"]:
            entry.evidence.add(
                option=evidence["option"], examples=evidence["examples"], fits=evidence["fits"], of=evidence["of"]
            )
    for code, values in details.get("warnings", []):
        words = domain.warning_text(code, language, **values)
        message.warnings.append(words)
        lines = [int(line) for line in values.get("lines", "").split(",") if line]
        count = values.get("count", "")
        message.warning_groups.add(code=code, text=words, count=int(count) if count.isdigit() else 0, lines=lines)
    if not whole:
        return message
    _add_rejects(message, row, language)
    for column in details.get("columns", []):
        message.columns.add(
            position=column["position"],
            header=column["header"],
            field=column["field"],
            format=column["format"],
            reason=column["reason"],
            samples=column["samples"],
            filled=column["filled"],
        )
    for field in domain.FIELDS.get(row.object or row.wanted_object, ()):
        message.fields.add(
            name=field.name, required=field.required, label=field.label_fr if language == "fr" else field.label_en
        )
    for shown in details.get("preview", []):
        message.preview.add(line=shown["line"], values=shown["values"], reject=shown["reject"])
    return message


def _add_rejects(message: pb.Import, row: BatchRow, language: str) -> None:
    for reject in row.details.get("rejects", []):
        reason = domain.reason_text(reject["code"], reject["header"], reject["value"], language)
        message.rejects.add(line=reject["line"], field=reject["field"], reason=reason, code=reject["code"])
    planned = row.plan.get("rejects", []) if row.state in ("QUESTIONS", "PREVIEWED") else []
    for line, field, code in (row.ledger_rejects or planned)[: REJECTS_SHOWN - len(message.rejects)]:
        message.rejects.add(line=line, field=field, reason=domain.reason_text(code, field, "", language), code=code)


def profile_to_proto(row: ProfileRow) -> pb.Profile:
    """One profile."""
    return pb.Profile(
        profile_id=row.profile_id,
        name=row.name,
        fingerprint=row.fingerprint,
        object=object_value(row.object),
        mapping=row.mapping,
        answers=row.answers,
        used=row.used,
        changed_at=instant(row.changed_at),
        version=row.version,
        patterns=row.patterns,
        entity_codes=row.entity_codes,
        constants=row.constants,
        item_types=[
            pb.ItemTypeRule(value=value, kind=kind, flip_sign=bool(flip)) for value, kind, flip in row.item_types
        ],
        unknown_item_type=row.unknown_item_type,
        mode=row.mode,
        source_system=row.source_system,
        by_hand=row.by_hand,
    )
