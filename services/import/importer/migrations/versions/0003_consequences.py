"""What an import would do, control totals, roll-back."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "0003", "0002", None, None


def upgrade() -> None:
    op.execute("SELECT 1")
