"""Masters, merged accounts, and the rules of entities."""

from alembic import op

from kit.migrations import tenant_table_policies

revision = "0003"
down_revision = "0002"
branch_labels = depends_on = None

_STATEMENTS = (
    "ALTER TABLE account ADD COLUMN master_account_id uuid",
    "CREATE INDEX account_master ON account (tenant_id, master_account_id) WHERE master_account_id IS NOT NULL",
    # Accounts among which items have moved or are collected together, both ways and for ever.
    "CREATE TABLE account_relative (tenant_id uuid NOT NULL, account_id uuid NOT NULL, relative_id uuid NOT NULL,"
    " PRIMARY KEY (tenant_id, account_id, relative_id))",
    "CREATE TABLE entity_rule (tenant_id uuid NOT NULL, entity_code text NOT NULL, version bigint NOT NULL,"
    " ignore_item_below_minor bigint NOT NULL, min_account_minor bigint, PRIMARY KEY (tenant_id, entity_code))",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
    tenant_table_policies(op, "account_relative", "entity_rule")


def downgrade() -> None:
    op.execute("DROP TABLE entity_rule")
    op.execute("DROP TABLE account_relative")
    op.execute("ALTER TABLE account DROP COLUMN master_account_id")
