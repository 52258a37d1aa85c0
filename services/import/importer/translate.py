"""Rows of the store as protobuf, for RPCs and events alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from importer import domain
from importer.store import BatchRow, ProfileRow
from quittance.common.v1 import money_pb2
from quittance.importer.v1 import import_service_pb2 as pb

REJECTS_SHOWN = 100


def _instant(value: datetime | None) -> Timestamp | None:
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
        created_at=_instant(row.created_at),
        applied_at=_instant(row.applied_at),
        answers=row.answers,
    )
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
    message.warnings.extend(
        domain.warning_text(code, language, **values) for code, values in details.get("warnings", [])
    )
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
    for line, field, code in row.ledger_rejects[: REJECTS_SHOWN - len(message.rejects)]:
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
        changed_at=_instant(row.changed_at),
    )
