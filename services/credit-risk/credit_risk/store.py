"""The only SQL of the credit-risk service. Every statement runs for the tenant of its transaction (row security)."""

import json
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from credit_risk.domain import Backlog, Cover, ExposureRules, Information, Limit, OpenAmount
from kit import bulk
from kit.db import declarative_base
from kit.ids import new_id
from kit.money import Money
from kit.newer import keep_newer

Base = declarative_base()

_TENANT = "current_setting('quittance.tenant')::uuid"


_ACCOUNT = [
    "account_id", "version", "entity_code", "entity_currency", "number", "name", "legal_unit_id", "legal_unit_name",
    "registration_number",
]  # fmt: skip


def keep_accounts(session: Session, accounts: pa.Table, open_items: pa.Table, part: int) -> list[str]:
    """Keeps the accounts that are newer than what is known, with their open amounts; returns their legal units.

    part > 0 adds amounts to a version already kept. Raises LookupError when that version has not come yet: try again.
    """
    newer = keep_newer(session, "account", accounts.select(_ACCOUNT), "account_id", part)
    signed = open_items.append_column("is_credit", pc.less(open_items["open_minor"], 0))
    summed = signed.group_by(["account_id", "currency", "due_on", "is_credit"]).aggregate([("open_minor", "sum")])
    newer.replace("open_amount", summed.rename_columns({"open_minor_sum": "open_minor"}))
    units = text(f"SELECT DISTINCT legal_unit_id::text FROM account JOIN {newer.table} USING (account_id) ORDER BY 1")
    return list(session.scalars(units))


def keep_backlog(session: Session, accounts: pa.Table, orders: pa.Table) -> list[str]:
    """Replaces the order backlog of accounts whose state is newer than what is known; returns their legal units."""
    bulk.stage(session, "stage_backlog_account", accounts)
    bulk.stage(session, "stage_backlog", orders)
    newer = (
        f"INSERT INTO backlog_account (tenant_id, account_id, recorded_at) SELECT {_TENANT}, account_id::uuid, recorded_at"
        " FROM stage_backlog_account ON CONFLICT (tenant_id, account_id) DO UPDATE SET recorded_at = excluded.recorded_at"
        " WHERE backlog_account.recorded_at < excluded.recorded_at RETURNING account_id::text"
    )
    ids = list(session.scalars(text(newer)))
    session.execute(text("DELETE FROM backlog WHERE account_id = ANY(CAST(:ids AS uuid[]))"), {"ids": ids})
    session.execute(
        text(
            "INSERT INTO backlog (tenant_id, account_id, currency, orders_minor, delivered_minor)"
            f" SELECT {_TENANT}, account_id::uuid, currency, sum(amount_minor - delivered_minor), sum(delivered_minor)"
            " FROM stage_backlog WHERE account_id = ANY(:ids) GROUP BY account_id, currency"
        ),
        {"ids": ids},
    )
    units = "SELECT DISTINCT legal_unit_id::text FROM account WHERE account_id = ANY(CAST(:ids AS uuid[])) ORDER BY 1"
    return list(session.scalars(text(units), {"ids": ids}))


def backlogs(session: Session, legal_unit_ids: list[str]) -> list[tuple[str, Backlog]]:
    """The order backlog of the accounts of legal units, each with its unit."""
    rows = session.execute(
        text(
            "SELECT a.legal_unit_id::text, b.account_id::text, b.currency, b.orders_minor, b.delivered_minor FROM backlog b"
            " JOIN account a ON a.account_id = b.account_id WHERE a.legal_unit_id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": legal_unit_ids},
    )
    return [(row[0], Backlog(*row[1:])) for row in rows]


def exposure_rules(session: Session) -> ExposureRules:
    """The tenant's rules; nothing of the backlog counts until somebody says so."""
    row = session.execute(text("SELECT with_orders, with_delivered FROM exposure_rules")).one_or_none()
    return ExposureRules() if row is None else ExposureRules(*row)


def set_exposure_rules(session: Session, rules: ExposureRules) -> None:
    """Replaces the tenant's rules."""
    session.execute(
        text(
            f"INSERT INTO exposure_rules (tenant_id, with_orders, with_delivered) VALUES ({_TENANT}, :orders, :delivered)"
            " ON CONFLICT (tenant_id) DO UPDATE SET with_orders = excluded.with_orders,"
            " with_delivered = excluded.with_delivered"
        ),
        {"orders": rules.with_orders, "delivered": rules.with_delivered},
    )


def account(session: Session, account_id: str) -> RowMapping | None:
    """One account, or None."""
    return (
        session.execute(
            text(
                "SELECT account_id::text, entity_code, legal_unit_id::text FROM account WHERE account_id = :account_id"
            ),
            {"account_id": account_id},
        )
        .mappings()
        .one_or_none()
    )


def units_with_limits(session: Session, legal_unit_ids: list[str]) -> list[str]:
    """Those of the legal units that have, or had, a limit."""
    rows = session.execute(
        text(
            "SELECT DISTINCT legal_unit_id::text FROM credit_limit WHERE legal_unit_id = ANY(CAST(:ids AS uuid[]))"
            " ORDER BY 1"
        ),
        {"ids": legal_unit_ids},
    )
    return list(rows.scalars())


def all_units_with_limits(session: Session) -> list[str]:
    """All legal units that have, or had, a limit."""
    return list(session.execute(text("SELECT DISTINCT legal_unit_id::text FROM credit_limit ORDER BY 1")).scalars())


def lock_unit(session: Session, legal_unit_id: str) -> None:
    """One at a time per legal unit, until the end of the transaction."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"legal-unit:{legal_unit_id}"}
    )


def unit_accounts(session: Session, legal_unit_ids: list[str]) -> list[RowMapping]:
    """The accounts of legal units, by entity and number."""
    rows = session.execute(
        text(
            "SELECT account_id::text, entity_code, entity_currency, number, name, legal_unit_id::text, legal_unit_name,"
            " registration_number FROM account WHERE legal_unit_id = ANY(CAST(:ids AS uuid[]))"
            " ORDER BY entity_code, number"
        ),
        {"ids": legal_unit_ids},
    )
    return list(rows.mappings())


def open_amounts(session: Session, legal_unit_ids: list[str]) -> list[tuple[str, OpenAmount]]:
    """What is open on the accounts of legal units, each with its unit."""
    rows = session.execute(
        text(
            "SELECT a.legal_unit_id::text, o.account_id::text, o.currency, o.due_on, o.open_minor FROM open_amount o"
            " JOIN account a ON a.account_id = o.account_id WHERE a.legal_unit_id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": legal_unit_ids},
    )
    return [(row[0], OpenAmount(*row[1:])) for row in rows]


def limits(session: Session, legal_unit_ids: list[str]) -> list[tuple[str, Limit]]:
    """All limits of legal units, newest decision first, each with its unit."""
    rows = session.execute(
        text(
            "SELECT legal_unit_id::text, currency, amount_minor, valid_from, valid_until, reason, decided_by, decided_at"
            " FROM credit_limit WHERE legal_unit_id = ANY(CAST(:ids AS uuid[])) ORDER BY decided_at DESC, limit_id DESC"
        ),
        {"ids": legal_unit_ids},
    )
    return [(row[0], Limit(Money(row[1], row[2]), *row[3:])) for row in rows]


def add_limit(
    session: Session,
    limit_id: str,
    legal_unit_id: str,
    amount: Money,
    valid_from: date,
    valid_until: date | None,
    reason: str,
    decided_by: str,
    decided_at: datetime,
) -> None:
    """Adds a limit; earlier ones stay."""
    session.execute(
        text(
            "INSERT INTO credit_limit (tenant_id, limit_id, legal_unit_id, currency, amount_minor, valid_from,"
            f" valid_until, reason, decided_by, decided_at) VALUES ({_TENANT}, :limit_id, :legal_unit_id, :currency,"
            " :amount_minor, :valid_from, :valid_until, :reason, :decided_by, :decided_at)"
        ),
        {
            "limit_id": limit_id,
            "legal_unit_id": legal_unit_id,
            "currency": amount.currency,
            "amount_minor": amount.minor_units,
            "valid_from": valid_from,
            "valid_until": valid_until,
            "reason": reason,
            "decided_by": decided_by,
            "decided_at": decided_at,
        },
    )


def units_page(session: Session, entity_codes: frozenset[str] | None) -> list[str]:
    """Legal units with something open or a limit, whose accounts are in the given entities."""
    rows = session.execute(
        text(
            "SELECT DISTINCT a.legal_unit_id::text FROM account a"
            " WHERE (CAST(:codes AS text[]) IS NULL OR a.entity_code = ANY(CAST(:codes AS text[])))"
            " AND (EXISTS (SELECT FROM open_amount o WHERE o.account_id = a.account_id)"
            "   OR EXISTS (SELECT FROM credit_limit l WHERE l.legal_unit_id = a.legal_unit_id))"
        ),
        {"codes": None if entity_codes is None else sorted(entity_codes)},
    )
    return list(rows.scalars())


def say_if_new(session: Session, legal_unit_id: str, content: bytes) -> int:
    """The version to say this content under; 0 when it was what was said last."""
    row = session.execute(
        text(
            "INSERT INTO said (tenant_id, legal_unit_id, version, content)"
            f" VALUES ({_TENANT}, :legal_unit_id, 1, :content)"
            " ON CONFLICT (tenant_id, legal_unit_id) DO UPDATE SET version = said.version + 1, content = excluded.content"
            " WHERE said.content <> excluded.content RETURNING version"
        ),
        {"legal_unit_id": legal_unit_id, "content": content},
    ).scalar()
    return row or 0


def units_by_number(session: Session, entity_code: str, numbers: list[str]) -> dict[str, str]:
    """Legal unit by the customer numbers of one entity."""
    rows = session.execute(
        text("SELECT number, legal_unit_id::text FROM account WHERE entity_code = :code AND number = ANY(:numbers)"),
        {"code": entity_code, "numbers": numbers},
    )
    return {row[0]: row[1] for row in rows}


def units_by_registration(session: Session, numbers: list[str]) -> dict[str, str]:
    """Legal unit by registration number, written without blanks in capitals."""
    rows = session.execute(
        text(
            "SELECT DISTINCT replace(upper(registration_number), ' ', ''), legal_unit_id::text FROM account"
            " WHERE replace(upper(registration_number), ' ', '') = ANY(:numbers)"
        ),
        {"numbers": numbers},
    )
    return {row[0]: row[1] for row in rows}


def covers(session: Session, legal_unit_ids: list[str]) -> list[tuple[str, Cover]]:
    """Insured limits and guarantees of legal units, each with its unit."""
    rows = session.execute(
        text(
            "SELECT legal_unit_id::text, kind, insurer, policy, currency, amount_minor, valid_from, valid_until"
            " FROM cover WHERE legal_unit_id = ANY(CAST(:ids AS uuid[]))"
            " ORDER BY amount_minor DESC, insurer, policy, currency, valid_from DESC NULLS LAST"
        ),
        {"ids": legal_unit_ids},
    )
    return [(row[0], Cover(row[1], row[2], row[3], Money(row[4], row[5]), row[6], row[7])) for row in rows]


def information(session: Session, legal_unit_ids: list[str]) -> list[tuple[str, Information]]:
    """Credit information of legal units, newest first, each with its unit."""
    rows = session.execute(
        text(
            "SELECT legal_unit_id::text, provider, informed_on, score, rating, facts FROM credit_information"
            " WHERE legal_unit_id = ANY(CAST(:ids AS uuid[])) ORDER BY informed_on DESC, provider"
        ),
        {"ids": legal_unit_ids},
    )
    return [(row[0], Information(*row[1:])) for row in rows]


def keep_cover(session: Session, load_id: str, legal_unit_id: str, cover: Cover) -> None:
    """Adds an insured limit or guarantee, or changes the one with its key."""
    session.execute(
        text(
            "INSERT INTO cover (tenant_id, cover_id, legal_unit_id, kind, insurer, policy, currency, amount_minor,"
            f" valid_from, valid_until, load_id) VALUES ({_TENANT}, :cover_id, :legal_unit_id, :kind, :insurer,"
            " :policy, :currency, :amount_minor, :valid_from, :valid_until, :load_id)"
            " ON CONFLICT ON CONSTRAINT uq_cover_key DO UPDATE SET amount_minor = excluded.amount_minor,"
            " valid_until = excluded.valid_until, load_id = excluded.load_id"
        ),
        {
            "cover_id": new_id(),
            "legal_unit_id": legal_unit_id,
            "kind": cover.kind,
            "insurer": cover.insurer,
            "policy": cover.policy,
            "currency": cover.amount.currency,
            "amount_minor": cover.amount.minor_units,
            "valid_from": cover.valid_from,
            "valid_until": cover.valid_until,
            "load_id": load_id,
        },
    )


def keep_information(session: Session, load_id: str, legal_unit_id: str, one: Information) -> None:
    """Adds credit information, or changes what its provider said for that day."""
    session.execute(
        text(
            "INSERT INTO credit_information (tenant_id, information_id, legal_unit_id, provider, informed_on, score,"
            f" rating, facts, load_id) VALUES ({_TENANT}, :information_id, :legal_unit_id, :provider, :informed_on,"
            " :score, :rating, CAST(:facts AS jsonb), :load_id)"
            " ON CONFLICT ON CONSTRAINT uq_credit_information_key DO UPDATE SET score = excluded.score,"
            " rating = excluded.rating, facts = excluded.facts, load_id = excluded.load_id"
        ),
        {
            "information_id": new_id(),
            "legal_unit_id": legal_unit_id,
            "provider": one.provider,
            "informed_on": one.informed_on,
            "score": one.score,
            "rating": one.rating,
            "facts": json.dumps(one.facts, ensure_ascii=False),
            "load_id": load_id,
        },
    )


def chunk_answer(session: Session, load_id: str, chunk_number: int) -> bytes | None:
    """What a committed chunk was answered with; None when it is new."""
    return session.execute(
        text("SELECT answer FROM risk_load_chunk WHERE load_id = :load_id AND chunk_number = :number"),
        {"load_id": load_id, "number": chunk_number},
    ).scalar()


def keep_chunk_answer(session: Session, load_id: str, chunk_number: int, answer: bytes) -> None:
    """Remembers what a chunk did."""
    session.execute(
        text(
            "INSERT INTO risk_load_chunk (tenant_id, load_id, chunk_number, answer)"
            f" VALUES ({_TENANT}, :load_id, :number, :answer)"
        ),
        {"load_id": load_id, "number": chunk_number, "answer": answer},
    )


def lock_load(session: Session, load_id: str) -> None:
    """One chunk of a load at a time, until the end of the transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"risk-load:{load_id}"})
