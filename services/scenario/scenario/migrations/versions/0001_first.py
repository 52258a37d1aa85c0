"""Scenarios, what is known of accounts, actions, messages seen, promises."""

from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision = "0001", None
branch_labels = depends_on = None

_TABLES = """
CREATE TABLE scenario (
    tenant_id uuid NOT NULL,
    scenario_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    name text NOT NULL,
    name_fr text NOT NULL,
    active boolean NOT NULL,
    is_default boolean NOT NULL,
    steps jsonb NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, scenario_id, version)
);
CREATE TABLE account (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    version bigint NOT NULL,
    entity_code text NOT NULL,
    entity_currency text NOT NULL,
    entity_country text NOT NULL DEFAULT '',
    number text NOT NULL,
    name text NOT NULL,
    collector text NOT NULL DEFAULT '',
    scenario_id uuid,
    paused_until date,
    pause_reason text NOT NULL DEFAULT '',
    resumed_on date,
    decided_on date,
    reason jsonb,
    overdue jsonb NOT NULL DEFAULT '{}',
    collectable jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, account_id)
);
CREATE INDEX account_decided ON account (tenant_id, decided_on, account_id);
CREATE TABLE open_item (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    item_id uuid NOT NULL,
    account_version bigint NOT NULL,
    number text NOT NULL,
    kind text NOT NULL,
    currency text NOT NULL,
    issue_on date NOT NULL,
    due_on date,
    open_minor bigint NOT NULL,
    PRIMARY KEY (tenant_id, account_id, item_id)
);
CREATE TABLE hold (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    item_id uuid NOT NULL,
    account_version bigint NOT NULL,
    kind text NOT NULL,
    amount_minor bigint NOT NULL,
    from_on date,
    until_on date,
    source text NOT NULL,
    source_id text NOT NULL,
    PRIMARY KEY (tenant_id, account_id, hold_id)
);
CREATE TABLE action (
    tenant_id uuid NOT NULL,
    action_id uuid NOT NULL,
    account_id uuid NOT NULL,
    account_number text NOT NULL,
    account_name text NOT NULL,
    entity_code text NOT NULL,
    scenario_id uuid,
    scenario_version integer NOT NULL,
    step jsonb NOT NULL,
    step_key text NOT NULL,
    channel text NOT NULL,
    step_number integer NOT NULL,
    step_count integer NOT NULL,
    state text NOT NULL CHECK (state IN
        ('DUE', 'PLANNED', 'SENDING', 'DONE', 'SKIPPED', 'CANCELLED', 'NEEDS_ATTENTION')),
    due_on date NOT NULL,
    leader_item_id uuid NOT NULL,
    leader_number text NOT NULL,
    leader_due_on date NOT NULL,
    item_ids jsonb NOT NULL,
    overdue jsonb NOT NULL,
    collectable jsonb NOT NULL,
    collectable_minor bigint NOT NULL,
    reason jsonb NOT NULL,
    assignee text NOT NULL,
    hold_summary text NOT NULL,
    message_id uuid,
    message_state text NOT NULL DEFAULT '',
    outcome text NOT NULL DEFAULT '',
    done_on date,
    moved_to date,
    intent jsonb,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, action_id),
    CHECK (state NOT IN ('DONE', 'SKIPPED') OR done_on IS NOT NULL)
);
CREATE UNIQUE INDEX action_one_pending ON action (tenant_id, account_id)
    WHERE state IN ('DUE', 'PLANNED', 'SENDING', 'NEEDS_ATTENTION');
CREATE INDEX action_agenda ON action (tenant_id, due_on, collectable_minor DESC)
    WHERE state IN ('DUE', 'PLANNED', 'SENDING', 'NEEDS_ATTENTION');
CREATE INDEX action_history ON action (tenant_id, account_id, done_on) WHERE state IN ('DONE', 'SKIPPED');
CREATE TABLE message (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    version bigint NOT NULL,
    account_id uuid NOT NULL,
    action_id uuid,
    state text NOT NULL,
    sent_on date,
    PRIMARY KEY (tenant_id, message_id)
);
CREATE INDEX message_sent ON message (tenant_id, account_id, sent_on) WHERE sent_on IS NOT NULL;
CREATE TABLE promise (
    tenant_id uuid NOT NULL,
    promise_id uuid NOT NULL,
    request_hash bytea NOT NULL,
    account_id uuid NOT NULL,
    account_name text NOT NULL,
    entity_code text NOT NULL,
    state text NOT NULL CHECK (state IN ('OPEN', 'KEPT', 'PARTLY_KEPT', 'BROKEN', 'CANCELLED')),
    is_placed boolean NOT NULL,
    promised_on date NOT NULL,
    tolerance_days integer NOT NULL,
    source text NOT NULL,
    source_id text NOT NULL,
    comment text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    ended_on date,
    ended_reason text NOT NULL DEFAULT '',
    version bigint NOT NULL,
    PRIMARY KEY (tenant_id, promise_id)
);
CREATE INDEX promise_account ON promise (tenant_id, account_id, state);
CREATE INDEX promise_day ON promise (tenant_id, state, promised_on);
CREATE TABLE promise_line (
    tenant_id uuid NOT NULL,
    promise_id uuid NOT NULL,
    item_id uuid NOT NULL,
    item_number text NOT NULL,
    currency text NOT NULL,
    promised_minor bigint,
    baseline_minor bigint NOT NULL,
    received_minor bigint NOT NULL DEFAULT 0,
    is_replaced boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, promise_id, item_id)
);
CREATE INDEX promise_line_item ON promise_line (tenant_id, item_id)
"""


def upgrade() -> None:
    infrastructure_tables(op)
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    tenant_table_policies(
        op, "scenario", "account", "open_item", "hold", "action", "message", "promise", "promise_line"
    )


def downgrade() -> None:
    for table in ("promise_line", "promise", "message", "action", "hold", "open_item", "account", "scenario"):
        op.execute(f"DROP TABLE {table}")
