"""The read model: entities, accounts, contacts, items with their changes, holds, work items."""

import sqlalchemy as sa
from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision = "0001", None
branch_labels = depends_on = None

TABLES = ("entity", "account", "contact", "hold", "item", "item_change", "work_item")


def _tenant() -> sa.Column:
    return sa.Column("tenant_id", sa.UUID(as_uuid=False), primary_key=True)


def _id(name: str) -> sa.Column:
    return sa.Column(name, sa.UUID(as_uuid=False), primary_key=True)


def upgrade() -> None:
    infrastructure_tables(op)
    op.create_table(
        "entity",
        _tenant(),
        _id("entity_id"),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
    )
    op.create_table(
        "account",
        _tenant(),
        _id("account_id"),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("entity_code", sa.Text, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("collector", sa.Text, nullable=False),
        sa.Column("legal_unit_id", sa.Text, nullable=False),
    )
    op.create_table(
        "contact",
        _tenant(),
        _id("contact_id"),
        sa.Column("account_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
    )
    op.create_index("ix_contact_account", "contact", ["tenant_id", "account_id"])
    op.create_table(
        "hold",
        _tenant(),
        _id("hold_id"),
        sa.Column("account_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("item_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("from_on", sa.Date, nullable=False),
        sa.Column("until_on", sa.Date),
    )
    op.create_index("ix_hold_account", "hold", ["tenant_id", "account_id"])
    op.create_index("ix_hold_item", "hold", ["tenant_id", "item_id"])
    op.create_table(
        "item",
        _tenant(),
        _id("item_id"),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("entity_code", sa.Text, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("issue_on", sa.Date, nullable=False),
        sa.Column("due_on", sa.Date),
        sa.Column("settled_on", sa.Date),
        sa.Column("initial_minor", sa.BigInteger, nullable=False),
        # What the item began as, for ever; item_change holds only what came after it.
        sa.Column("issued_minor", sa.BigInteger, nullable=False),
        sa.Column("issued_on", sa.Date, nullable=False),
        # That and all changes, and the newest day one of them is true for: a past day replays only what came after it.
        sa.Column("open_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_change_on", sa.Date),
        sa.Column("order_number", sa.Text, nullable=False, server_default=""),
    )
    op.create_index(
        "ix_item_open",
        "item",
        ["tenant_id", "entity_code", "account_id"],
        postgresql_include=["currency", "issue_on", "due_on", "open_minor", "item_id"],
        postgresql_where=sa.text("open_minor <> 0"),
    )
    op.create_index("ix_item_last_change", "item", ["tenant_id", "last_change_on"])
    op.create_index("ix_item_account", "item", ["tenant_id", "account_id"])
    op.create_index("ix_item_issue", "item", ["tenant_id", "issue_on"])
    op.create_index("ix_item_number", "item", ["tenant_id", "number"])
    op.create_table(
        "item_change",
        _tenant(),
        _id("item_id"),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("account_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("delta_minor", sa.BigInteger, nullable=False),
        sa.Column("value_on", sa.Date, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_item_change_value", "item_change", ["tenant_id", "value_on"])
    op.create_index("ix_item_change_account", "item_change", ["tenant_id", "account_id", "value_on"])
    op.create_table(
        "work_item",
        _tenant(),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("reference_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("entity_code", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        # Whether it stands in the account's history; a planned action does not.
        sa.Column("is_shown", sa.Boolean, nullable=False),
        sa.Column("due_on", sa.Date),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("title_fr", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("amounts", sa.JSON, nullable=False),
    )
    op.create_index("ix_work_item_account", "work_item", ["tenant_id", "account_id", "happened_at"])
    op.create_index(
        "ix_work_item_open", "work_item", ["tenant_id", "kind", "due_on"], postgresql_where=sa.text("is_open")
    )
    tenant_table_policies(op, *TABLES)
