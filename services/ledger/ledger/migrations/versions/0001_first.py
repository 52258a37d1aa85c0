"""Entities, the three levels of customers, items with their history, holds, loads."""

from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0001", None, None, None

# No foreign keys: a check per row would cost a load as much as the rows themselves. What they would guarantee is asked
# by consistency/*.sql instead.
TABLES = """
CREATE TABLE entities (
    tenant_id uuid NOT NULL,
    entity_id uuid NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    currency text NOT NULL,
    time_zone text NOT NULL,
    language text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, entity_id),
    UNIQUE (tenant_id, code)
);
CREATE TABLE legal_units (
    tenant_id uuid NOT NULL,
    legal_unit_id uuid NOT NULL,
    registration_number text NOT NULL DEFAULT '',
    country text NOT NULL DEFAULT '',
    name text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, legal_unit_id)
);
CREATE UNIQUE INDEX legal_units_registration ON legal_units (tenant_id, registration_number, country)
    WHERE registration_number <> '';
CREATE TABLE accounts (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    entity_id uuid NOT NULL,
    number text NOT NULL,
    name text NOT NULL DEFAULT '',
    aliases text[] NOT NULL DEFAULT '{}',
    country text NOT NULL DEFAULT '',
    language text NOT NULL DEFAULT '',
    payment_terms text NOT NULL DEFAULT '',
    legal_unit_id uuid NOT NULL,
    parent_number text NOT NULL DEFAULT '',
    groups text[] NOT NULL DEFAULT '{}',
    collector text NOT NULL DEFAULT '',
    custom_fields jsonb NOT NULL DEFAULT '{}',
    oldest_due_on date,
    version bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    -- Rows with this digest change nothing as long as the account has this version; covers: they are all it has open.
    load_digest bytea,
    load_version bigint,
    load_covers boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, account_id),
    UNIQUE (tenant_id, entity_id, number)
);
CREATE INDEX accounts_legal_unit ON accounts (tenant_id, legal_unit_id);
CREATE TABLE account_names (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    name text NOT NULL,
    item_count integer NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, account_id, name)
);
CREATE TABLE account_balances (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    currency text NOT NULL,
    open_minor bigint NOT NULL,
    credits_minor bigint NOT NULL CHECK (credits_minor <= 0),
    item_count integer NOT NULL CHECK (item_count > 0),
    PRIMARY KEY (tenant_id, account_id, currency)
);
CREATE TABLE contacts (
    tenant_id uuid NOT NULL,
    contact_id uuid NOT NULL,
    account_id uuid NOT NULL,
    name text NOT NULL,
    email text NOT NULL DEFAULT '',
    phone text NOT NULL DEFAULT '',
    role text NOT NULL,
    language text NOT NULL DEFAULT '',
    valid boolean NOT NULL DEFAULT true,
    invalid_reason text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, contact_id),
    CHECK (valid OR invalid_reason <> '')
);
CREATE UNIQUE INDEX contacts_email ON contacts (tenant_id, account_id, lower(email)) WHERE email <> '';
CREATE UNIQUE INDEX contacts_name ON contacts (tenant_id, account_id, name) WHERE email = '';
CREATE TABLE items (
    tenant_id uuid NOT NULL,
    item_id uuid NOT NULL,
    entity_id uuid NOT NULL,
    account_id uuid NOT NULL,
    number text NOT NULL,
    line_number text NOT NULL DEFAULT '',
    kind text NOT NULL,
    currency text NOT NULL,
    issue_on date NOT NULL,
    due_on date,
    posted_on date,
    settled_on date,
    initial_minor bigint NOT NULL,
    open_minor bigint NOT NULL,
    -- The beginning of the history: what the item was issued with, for ever. It has no row in item_changes.
    issued_minor bigint NOT NULL,
    issued_on date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    fiscal_year integer NOT NULL,
    source_system text NOT NULL DEFAULT '',
    external_id text,
    order_number text NOT NULL DEFAULT '',
    reference text NOT NULL DEFAULT '',
    text text NOT NULL DEFAULT '',
    account_name text NOT NULL DEFAULT '',
    custom_fields jsonb NOT NULL DEFAULT '{}',
    change_count integer NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    first_load_id uuid,
    PRIMARY KEY (tenant_id, item_id),
    CONSTRAINT cleared_has_its_day CHECK ((open_minor = 0) = (settled_on IS NOT NULL))
);
CREATE UNIQUE INDEX items_business_key ON items (tenant_id, account_id, number, line_number, fiscal_year, kind)
    WHERE external_id IS NULL;
CREATE UNIQUE INDEX items_external_key ON items (tenant_id, entity_id, source_system, external_id)
    WHERE external_id IS NOT NULL;
CREATE INDEX items_external_account ON items (tenant_id, account_id) WHERE external_id IS NOT NULL;
CREATE INDEX items_open ON items (tenant_id, account_id, due_on) INCLUDE (currency, open_minor, item_id)
    WHERE open_minor <> 0;
CREATE TABLE item_changes (
    tenant_id uuid NOT NULL,
    item_id uuid NOT NULL,
    -- 1 is the issue, which stands in items.
    sequence integer NOT NULL CHECK (sequence > 1),
    account_id uuid NOT NULL,
    cause text NOT NULL,
    delta_minor bigint NOT NULL,
    value_on date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    import_id uuid,
    PRIMARY KEY (tenant_id, item_id, sequence),
    CHECK (delta_minor <> 0)
);
CREATE TABLE holds (
    tenant_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    item_id uuid NOT NULL,
    account_id uuid NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('ACTIVE', 'EXPIRED', 'RELEASED')),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    from_on date NOT NULL,
    until_on date,
    review_on date,
    reason text NOT NULL,
    source text NOT NULL,
    source_id text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    begun boolean NOT NULL,
    PRIMARY KEY (tenant_id, hold_id),
    CHECK (until_on IS NULL OR until_on >= from_on)
);
CREATE UNIQUE INDEX holds_one_per_source ON holds (tenant_id, source, source_id, item_id, kind) WHERE state = 'ACTIVE';
CREATE INDEX holds_active_item ON holds (tenant_id, item_id) INCLUDE (amount_minor, from_on, until_on)
    WHERE state = 'ACTIVE';
CREATE INDEX holds_active_account ON holds (tenant_id, account_id) INCLUDE (amount_minor, from_on, until_on)
    WHERE state = 'ACTIVE';
CREATE INDEX holds_until ON holds (tenant_id, until_on) WHERE state = 'ACTIVE';
CREATE INDEX holds_item ON holds (tenant_id, item_id);
CREATE TABLE hold_changes (
    tenant_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    sequence integer NOT NULL CHECK (sequence > 0),
    what text NOT NULL CHECK (what IN ('PLACED', 'SHRUNK', 'REPLACED', 'RELEASED', 'EXPIRED')),
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    reason text NOT NULL DEFAULT '',
    actor text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, hold_id, sequence)
);
CREATE TABLE loads (
    tenant_id uuid NOT NULL,
    load_id uuid NOT NULL,
    entity_id uuid NOT NULL,
    mode text NOT NULL CHECK (mode IN ('DELTA', 'STOCK')),
    source_system text NOT NULL,
    file_on date NOT NULL,
    cleared_absent integer,
    open_items integer,
    finished_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, load_id)
);
CREATE TABLE load_chunks (
    tenant_id uuid NOT NULL,
    load_id uuid NOT NULL,
    object text NOT NULL CHECK (object IN ('ITEMS', 'ACCOUNTS', 'CONTACTS')),
    planned boolean NOT NULL,
    chunk_number integer NOT NULL,
    created integer NOT NULL,
    updated integer NOT NULL,
    unchanged integer NOT NULL,
    cleared integer NOT NULL,
    rejected integer NOT NULL,
    rejects jsonb NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, load_id, object, planned, chunk_number)
);
CREATE TABLE load_keys (
    tenant_id uuid NOT NULL,
    load_id uuid NOT NULL,
    planned boolean NOT NULL,
    chunk_number integer NOT NULL,
    item_ids uuid[] NOT NULL,
    account_ids uuid[] NOT NULL,
    PRIMARY KEY (tenant_id, load_id, planned, chunk_number)
);
-- Random bytes do not shrink: trying costs more than it saves.
ALTER TABLE load_keys ALTER COLUMN item_ids SET STORAGE EXTERNAL, ALTER COLUMN account_ids SET STORAGE EXTERNAL;
"""

# Time-ordered ids keep the inserts of a load at the right edge of every index. PostgreSQL before 18 has no uuidv7().
NEW_ID = """
DO $do$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        CREATE FUNCTION ledger_new_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS 'SELECT uuidv7()';
    ELSE
        CREATE FUNCTION ledger_new_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
            SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
                substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid $$;
    END IF;
END $do$
"""


def upgrade() -> None:
    infrastructure_tables(op)
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    op.execute(NEW_ID)
    tenant_table_policies(
        op, "entities", "legal_units", "accounts", "account_names", "account_balances", "contacts", "items", "holds",
        "loads", "load_chunks", "load_keys",
    )  # fmt: skip
    tenant_table_policies(op, "item_changes", "hold_changes", insert_only=True)
