"""Order backlog per account, and whether it counts as exposure."""

import sqlalchemy as sa
from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision = "0003", "0002"
branch_labels = depends_on = None


def _tenant() -> sa.Column:
    return sa.Column("tenant_id", sa.UUID(as_uuid=False), primary_key=True)


def upgrade() -> None:
    op.create_table(
        "backlog_account",
        _tenant(),
        sa.Column("account_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "backlog",
        _tenant(),
        sa.Column("account_id", sa.UUID(as_uuid=False), primary_key=True),
        sa.Column("currency", sa.Text, primary_key=True),
        sa.Column("orders_minor", sa.BigInteger, nullable=False),
        sa.Column("delivered_minor", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "exposure_rules",
        _tenant(),
        sa.Column("with_orders", sa.Boolean, nullable=False),
        sa.Column("with_delivered", sa.Boolean, nullable=False),
    )
    tenant_table_policies(op, "backlog_account", "backlog", "exposure_rules")
