"""Accounts with what is open on them by due date, limits of legal units, and what was last said of each unit."""

import sqlalchemy as sa
from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision = "0001", None
branch_labels = depends_on = None


def _tenant() -> sa.Column:
    return sa.Column("tenant_id", sa.UUID(as_uuid=False), primary_key=True)


def upgrade() -> None:
    infrastructure_tables(op)
    op.create_table(
        "account",
        _tenant(),
        sa.Column("account_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("entity_code", sa.Text, nullable=False),
        sa.Column("entity_currency", sa.Text, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("legal_unit_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("legal_unit_name", sa.Text, nullable=False),
        sa.Column("registration_number", sa.Text, nullable=False),
    )
    op.create_index("ix_account_legal_unit", "account", ["tenant_id", "legal_unit_id"])
    # Open amounts summed by due date: exposure by age needs no single item, and stays as small as the terms are few.
    op.create_table(
        "open_amount",
        _tenant(),
        sa.Column("row_number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("account_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("due_on", sa.Date),
        sa.Column("is_credit", sa.Boolean, nullable=False),
        sa.Column("open_minor", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_open_amount_account", "open_amount", ["tenant_id", "account_id"])
    # A limit is never changed: a newer one starts on its day and the older stays as history.
    op.create_table(
        "credit_limit",
        _tenant(),
        sa.Column("limit_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("legal_unit_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("valid_from", sa.Date, nullable=False),
        sa.Column("valid_until", sa.Date),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    )
    op.create_index("ix_credit_limit_unit", "credit_limit", ["tenant_id", "legal_unit_id", "valid_from"])
    op.create_table(
        "said",
        _tenant(),
        sa.Column("legal_unit_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    tenant_table_policies(op, "account", "open_amount", "said")
    tenant_table_policies(op, "credit_limit", insert_only=True)
