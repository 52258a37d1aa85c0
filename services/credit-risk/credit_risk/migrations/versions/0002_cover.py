"""Insured limits and guarantees, credit information, and the chunks that brought them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from kit.migrations import tenant_table_policies

revision, down_revision = "0002", "0001"
branch_labels = depends_on = None


def _tenant() -> sa.Column:
    return sa.Column("tenant_id", sa.UUID(as_uuid=False), primary_key=True)


def upgrade() -> None:
    op.create_table(
        "cover",
        _tenant(),
        sa.Column("cover_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("legal_unit_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("insurer", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("valid_from", sa.Date),
        sa.Column("valid_until", sa.Date),
        sa.Column("load_id", sa.UUID(as_uuid=False), nullable=False),
        sa.CheckConstraint("kind IN ('INSURANCE', 'GUARANTEE')", name="kind_known"),
        sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
        sa.UniqueConstraint(
            "tenant_id", "legal_unit_id", "kind", "insurer", "policy", "currency", "valid_from",
            name="uq_cover_key", postgresql_nulls_not_distinct=True,
        ),
    )  # fmt: skip
    op.create_table(
        "credit_information",
        _tenant(),
        sa.Column("information_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("legal_unit_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("informed_on", sa.Date, nullable=False),
        sa.Column("score", sa.Text, nullable=False),
        sa.Column("rating", sa.Text, nullable=False),
        sa.Column("facts", JSONB, nullable=False),
        sa.Column("load_id", sa.UUID(as_uuid=False), nullable=False),
        sa.UniqueConstraint("tenant_id", "legal_unit_id", "provider", "informed_on", name="uq_credit_information_key"),
    )
    # What a chunk did, so that the same chunk again is answered and not counted anew.
    op.create_table(
        "risk_load_chunk",
        _tenant(),
        sa.Column("load_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("chunk_number", sa.Integer, primary_key=True),
        sa.Column("answer", sa.LargeBinary, nullable=False),
    )
    tenant_table_policies(op, "cover", "credit_information", "risk_load_chunk")
