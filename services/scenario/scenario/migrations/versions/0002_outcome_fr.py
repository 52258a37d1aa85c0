"""How an action ended, in French too where the rules said it."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE action ADD COLUMN outcome_fr text NOT NULL DEFAULT ''")


def downgrade() -> None:
    op.execute("ALTER TABLE action DROP COLUMN outcome_fr")
