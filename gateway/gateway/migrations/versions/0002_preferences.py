"""What a person chose for his lists."""

from alembic import op

revision, down_revision = "0002", "0001"
branch_labels = depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN preferences jsonb NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN preferences")
