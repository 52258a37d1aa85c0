"""Sales by month as files say them; where there are none they are derived from items."""

import sqlalchemy as sa
from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision = "0002", "0001"
branch_labels = depends_on = None


def upgrade() -> None:
    op.create_table(
        "sales_month",
        sa.Column("tenant_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("account_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("month", sa.Date, primary_key=True),
        sa.Column("currency", sa.Text, primary_key=True),
        sa.Column("entity_code", sa.Text, nullable=False),
        # Null where a file's figure was taken back.
        sa.Column("gross_minor", sa.BigInteger),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    tenant_table_policies(op, "sales_month")
