"""Cases with lines and history, and what is known of accounts and their open items."""

from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision = "0001", None
branch_labels = depends_on = None

_TABLES = """
CREATE TABLE account (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    version bigint NOT NULL,
    entity_code text NOT NULL,
    number text NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
);
CREATE TABLE open_item (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    item_id uuid NOT NULL,
    account_version bigint NOT NULL,
    number text NOT NULL,
    currency text NOT NULL,
    open_minor bigint NOT NULL,
    PRIMARY KEY (tenant_id, account_id, item_id)
);
CREATE TABLE case_counter (
    tenant_id uuid PRIMARY KEY,
    last_number integer NOT NULL
);
CREATE TABLE dispute_case (
    tenant_id uuid NOT NULL,
    case_id uuid NOT NULL,
    request_hash bytea NOT NULL,
    number integer,
    state text NOT NULL CHECK (state IN ('NEW', 'ACKNOWLEDGED', 'ASSIGNED', 'IN_PROGRESS', 'WAITING_CUSTOMER',
        'WAITING_INTERNAL', 'ACCEPTED', 'PARTLY_ACCEPTED', 'REJECTED', 'CLOSED')),
    account_id uuid NOT NULL,
    account_name text NOT NULL,
    account_number text NOT NULL,
    entity_code text NOT NULL,
    reason_code text NOT NULL,
    owner text NOT NULL,
    comment text NOT NULL,
    source text NOT NULL,
    source_id text NOT NULL,
    opened_on date NOT NULL,
    due_on date NOT NULL,
    resolved_on date,
    outcome text NOT NULL DEFAULT '',
    was_overdue boolean NOT NULL DEFAULT false,
    held_version bigint NOT NULL DEFAULT 0,
    holds_version bigint NOT NULL DEFAULT 1,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, case_id),
    UNIQUE (tenant_id, number)
);
CREATE INDEX dispute_case_account ON dispute_case (tenant_id, account_id) WHERE state <> 'CLOSED';
CREATE INDEX dispute_case_due ON dispute_case (tenant_id, due_on) WHERE state <> 'CLOSED';
CREATE TABLE case_line (
    tenant_id uuid NOT NULL,
    case_id uuid NOT NULL,
    item_id uuid NOT NULL,
    item_number text NOT NULL,
    currency text NOT NULL,
    disputed_minor bigint,
    opened_minor bigint NOT NULL,
    accepted_minor bigint,
    resolved_open_minor bigint,
    PRIMARY KEY (tenant_id, case_id, item_id),
    CHECK (accepted_minor BETWEEN 0 AND disputed_minor)
);
CREATE TABLE case_event (
    tenant_id uuid NOT NULL,
    case_id uuid NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    by_whom text NOT NULL,
    what text NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (tenant_id, case_id, sequence)
)
"""


def upgrade() -> None:
    infrastructure_tables(op)
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    tenant_table_policies(op, "account", "open_item", "case_counter", "dispute_case", "case_line")
    tenant_table_policies(op, "case_event", insert_only=True)


def downgrade() -> None:
    for table in ("case_event", "case_line", "dispute_case", "case_counter", "open_item", "account"):
        op.execute(f"DROP TABLE {table}")
