"""The only SQL of the credit-risk service. Every statement runs for the tenant of its transaction (row security)."""

from datetime import date, datetime

import pyarrow as pa
from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from credit_risk.domain import Limit, OpenAmount
from kit import bulk
from kit.db import declarative_base
from kit.money import Money

Base = declarative_base()

_TENANT = "current_setting('quittance.tenant')::uuid"


def keep_accounts(session: Session, accounts: pa.Table, open_items: pa.Table, part: int) -> list[str]:
    """Keeps the accounts that are newer than what is known, with their open amounts; returns their legal units.

    part > 0 adds amounts to a version already kept. Raises LookupError when that version has not come yet: try again.
    """
    bulk.stage(session, "stage_account", accounts)
    bulk.stage(session, "stage_open", open_items.select(["account_id", "currency", "due_on", "open_minor"]))
    session.execute(text("CREATE TEMP TABLE stage_newer (account_id uuid, legal_unit_id uuid) ON COMMIT DROP"))
    if part:
        early = session.execute(
            text(
                "SELECT count(*) FROM stage_account s LEFT JOIN account a ON a.account_id = s.account_id::uuid"
                " WHERE a.version IS NULL OR a.version < s.version"
            )
        ).scalar_one()
        if early:
            raise LookupError(f"part {part} of {early} accounts came before their first part")
        session.execute(
            text(
                "INSERT INTO stage_newer SELECT a.account_id, a.legal_unit_id FROM stage_account s"
                " JOIN account a ON a.account_id = s.account_id::uuid AND a.version = s.version"
            )
        )
    else:
        session.execute(
            text(
                "WITH kept AS (INSERT INTO account (tenant_id, account_id, version, entity_code, entity_currency, number,"
                "   name, legal_unit_id, legal_unit_name, registration_number)"
                f" SELECT {_TENANT}, account_id::uuid, version, entity_code, entity_currency, number, name,"
                "   legal_unit_id::uuid, legal_unit_name, registration_number FROM stage_account"
                " ON CONFLICT (tenant_id, account_id) DO UPDATE SET version = excluded.version,"
                "   entity_code = excluded.entity_code, entity_currency = excluded.entity_currency,"
                "   number = excluded.number, name = excluded.name, legal_unit_id = excluded.legal_unit_id,"
                "   legal_unit_name = excluded.legal_unit_name, registration_number = excluded.registration_number"
                "   WHERE account.version < excluded.version RETURNING account_id, legal_unit_id)"
                " INSERT INTO stage_newer SELECT account_id, legal_unit_id FROM kept"
            )
        )
        session.execute(text("DELETE FROM open_amount WHERE account_id IN (SELECT account_id FROM stage_newer)"))
    session.execute(
        text(
            "INSERT INTO open_amount (tenant_id, account_id, currency, due_on, is_credit, open_minor)"
            f" SELECT {_TENANT}, n.account_id, s.currency, s.due_on, s.open_minor < 0, sum(s.open_minor)"
            " FROM stage_open s JOIN stage_newer n ON n.account_id = s.account_id::uuid"
            " GROUP BY n.account_id, s.currency, s.due_on, s.open_minor < 0"
        )
    )
    units = session.execute(text("SELECT DISTINCT legal_unit_id::text FROM stage_newer ORDER BY 1")).scalars().all()
    session.execute(text("DROP TABLE stage_newer"))
    return list(units)


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
