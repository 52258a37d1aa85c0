"""The first tables."""

import sqlalchemy as sa
from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision = "0001", None


def upgrade() -> None:
    infrastructure_tables(op)
    for table in ("notes", "entries"):
        op.create_table(
            table,
            sa.Column("tenant_id", sa.UUID, primary_key=True),
            sa.Column("note_id", sa.Text, primary_key=True),
            sa.Column("amount_minor", sa.BigInteger, nullable=False),
        )
    op.create_table(
        "everything",
        sa.Column("tenant_id", sa.UUID, primary_key=True),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("label", sa.Text),
        sa.Column("due_on", sa.Date),
        sa.Column("seen_at", sa.DateTime(timezone=True)),
        sa.Column("is_open", sa.Boolean),
        sa.Column("rate", sa.Numeric),
        sa.Column("minor", sa.BigInteger),
    )
    tenant_table_policies(op, "notes", "everything")
    tenant_table_policies(op, "entries", insert_only=True)
