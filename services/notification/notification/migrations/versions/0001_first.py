"""Templates, messages and the tries to hand them over."""

from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0001", None, None, None

TABLES = """
CREATE TABLE template (
    tenant_id uuid NOT NULL,
    template_id uuid NOT NULL,
    key text NOT NULL,
    language text NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, template_id),
    UNIQUE (tenant_id, key, language)
);
CREATE TABLE message (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    purpose_key text NOT NULL,
    content_sha256 bytea NOT NULL,
    state text NOT NULL CHECK (state IN
        ('QUEUED', 'SENDING', 'SENT', 'DELIVERED', 'BOUNCED', 'FAILED', 'UNKNOWN', 'CANCELLED')),
    phase text NOT NULL DEFAULT '' CHECK (phase IN ('', 'HANDSHAKE', 'DATA')),
    attempt_number integer NOT NULL DEFAULT 0 CHECK (attempt_number >= 0),
    account_id uuid NOT NULL,
    account_name text NOT NULL,
    entity_code text NOT NULL,
    action_id text NOT NULL DEFAULT '',
    step_number integer NOT NULL DEFAULT 0,
    template_key text NOT NULL,
    language text NOT NULL,
    recipients jsonb NOT NULL,
    sender jsonb NOT NULL,
    subject_source text NOT NULL,
    body_source text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    text text NOT NULL,
    body_sha256 bytea NOT NULL,
    items jsonb NOT NULL,
    internet_message_id text NOT NULL DEFAULT '',
    link_id text NOT NULL DEFAULT '',
    link_sealed text NOT NULL DEFAULT '',
    failure text NOT NULL DEFAULT '',
    failure_code text NOT NULL DEFAULT '',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    version integer NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, message_id)
);
CREATE UNIQUE INDEX uq_message_purpose ON message (tenant_id, purpose_key)
    WHERE state NOT IN ('FAILED', 'CANCELLED', 'BOUNCED');
CREATE INDEX ix_message_account ON message (tenant_id, account_id, created_at);
CREATE INDEX ix_message_created ON message (tenant_id, created_at);
CREATE TABLE attempt (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    number integer NOT NULL,
    outcome text NOT NULL DEFAULT '',
    detail text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, message_id, number),
    FOREIGN KEY (tenant_id, message_id) REFERENCES message
);
"""


def upgrade() -> None:
    infrastructure_tables(op)
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    tenant_table_policies(op, "template", "message", "attempt")
