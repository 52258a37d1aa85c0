"""Mail to our user's own people, such as reports of imports."""

from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE internal_mail (
            tenant_id uuid NOT NULL,
            mail_id uuid NOT NULL,
            purpose_key text NOT NULL,
            email text NOT NULL,
            name text NOT NULL,
            subject text NOT NULL,
            text text NOT NULL,
            language text NOT NULL,
            state text NOT NULL CHECK (state IN ('QUEUED', 'SENDING', 'SENT', 'FAILED', 'UNKNOWN')),
            phase text NOT NULL,
            attempt_number integer NOT NULL,
            detail text NOT NULL,
            created_at timestamptz NOT NULL,
            sent_at timestamptz,
            CONSTRAINT pk_internal_mail PRIMARY KEY (tenant_id, mail_id),
            CONSTRAINT uq_internal_mail_purpose UNIQUE (tenant_id, purpose_key)
        )
        """
    )
    tenant_table_policies(op, "internal_mail")
