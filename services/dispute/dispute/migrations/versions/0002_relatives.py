"""Accounts among which items have moved, or which are collected together."""

from alembic import op

from kit.migrations import tenant_table_policies

revision = "0002"
down_revision = "0001"
branch_labels = depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE account_relative (tenant_id uuid NOT NULL, account_id uuid NOT NULL, relative_id uuid NOT NULL,"
        " PRIMARY KEY (tenant_id, account_id, relative_id))"
    )
    tenant_table_policies(op, "account_relative")


def downgrade() -> None:
    op.execute("DROP TABLE account_relative")
