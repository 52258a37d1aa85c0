"""Indexes by what is asked: one covers aged balances without their rows, those that no statement can use are gone."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"
branch_labels = depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_item_aged",
        "item",
        ["tenant_id", "account_id", "currency"],
        postgresql_include=["entity_code", "due_on", "open_minor", "issue_on", "last_change_on"],
        postgresql_where=sa.text("open_minor <> 0"),
    )
    op.drop_index("ix_item_open", "item")
    # Sales are read by months of years, most of the table; numbers are searched with ILIKE, which no B-tree answers.
    op.drop_index("ix_item_issue", "item")
    op.drop_index("ix_item_number", "item")
