"""Personal links, and the answers that come by them."""

from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0001", None, None, None

TABLES = """
CREATE TABLE link (
    tenant_id uuid NOT NULL,
    link_id uuid NOT NULL,
    token_sha256 bytea NOT NULL CHECK (length(token_sha256) = 32),
    sealed_token text NOT NULL,
    request_id text NOT NULL,
    request_sha256 bytea NOT NULL,
    account_id uuid NOT NULL,
    account_name text NOT NULL,
    entity_code text NOT NULL,
    contact_id text NOT NULL DEFAULT '',
    language text NOT NULL DEFAULT '',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    last_used_at timestamptz,
    use_count integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, link_id),
    UNIQUE (tenant_id, token_sha256),
    UNIQUE (tenant_id, request_id)
);
CREATE INDEX ix_link_account ON link (tenant_id, account_id, created_at);
CREATE TABLE response (
    tenant_id uuid NOT NULL,
    response_id uuid NOT NULL,
    link_id uuid NOT NULL,
    form_nonce text NOT NULL,
    account_id uuid NOT NULL,
    account_name text NOT NULL,
    entity_code text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('PROMISE', 'ALREADY_PAID', 'DISPUTE')),
    state text NOT NULL DEFAULT 'RECEIVED' CHECK (state IN ('RECEIVED', 'ACCEPTED', 'AMENDED', 'REJECTED', 'EXPIRED')),
    stage text NOT NULL DEFAULT 'PLACING' CHECK (stage IN ('PLACING', 'PLACED', 'DECIDING', 'DONE')),
    lines jsonb NOT NULL,
    promised_on date,
    paid_on date,
    payment_reference text NOT NULL DEFAULT '',
    reason_code text NOT NULL DEFAULT '',
    comment text NOT NULL DEFAULT '',
    contact_name text NOT NULL DEFAULT '',
    received_at timestamptz NOT NULL DEFAULT now(),
    hold_until_on date NOT NULL,
    decision jsonb,
    decision_number integer NOT NULL DEFAULT 0,
    decided_by text NOT NULL DEFAULT '',
    decided_on date,
    decided_at timestamptz,
    decision_comment text NOT NULL DEFAULT '',
    promise_id text NOT NULL DEFAULT '',
    case_id text NOT NULL DEFAULT '',
    check_on date,
    version integer NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, response_id),
    UNIQUE (tenant_id, link_id, form_nonce),
    FOREIGN KEY (tenant_id, link_id) REFERENCES link
);
CREATE INDEX ix_response_account ON response (tenant_id, account_id, received_at);
CREATE INDEX ix_response_open ON response (tenant_id, hold_until_on) WHERE state = 'RECEIVED';
"""


def upgrade() -> None:
    infrastructure_tables(op)
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    tenant_table_policies(op, "link", "response")
