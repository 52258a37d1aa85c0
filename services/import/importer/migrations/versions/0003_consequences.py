"""What an import would do, control totals, roll-back."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "0003", "0002", None, None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE batch
            ADD COLUMN plan_round integer NOT NULL DEFAULT 0,
            ADD COLUMN plan jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN balances jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN control_totals jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN stage text NOT NULL DEFAULT '',
            ADD COLUMN stage_rows integer NOT NULL DEFAULT 0,
            ADD COLUMN reopened integer NOT NULL DEFAULT 0,
            ADD COLUMN roll_back jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN rolled_back_at timestamptz,
            DROP CONSTRAINT batch_state_check,
            ADD CONSTRAINT batch_state_check CHECK (state IN ('UPLOADED', 'READING', 'QUESTIONS', 'PREVIEWED',
                'APPLYING', 'APPLIED', 'FAILED', 'CANCELLED', 'ROLLED_BACK'))
        """
    )
