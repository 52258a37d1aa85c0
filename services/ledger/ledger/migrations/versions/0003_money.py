"""Allocations, sales, orders, rates, and the reversal of loads."""

from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0003", "0002", None, None

TABLES = """
ALTER TABLE loads
    -- The entity's books by currency, {currency: [open items, open minor units]}: when its first rows came, and at its end.
    ADD COLUMN books_before jsonb,
    ADD COLUMN books_after jsonb,
    -- When it was taken back, and what that did.
    ADD COLUMN rolled_back_at timestamptz,
    ADD COLUMN rolled_back jsonb;
CREATE INDEX loads_finished ON loads (tenant_id, entity_id, finished_at);
ALTER TABLE load_chunks
    ADD COLUMN reopened integer NOT NULL DEFAULT 0,
    -- Only of plans: what the chunk would change of these books.
    ADD COLUMN moves jsonb NOT NULL DEFAULT '{}',
    DROP CONSTRAINT load_chunks_object_check,
    ADD CONSTRAINT load_chunks_object_check CHECK (object IN ('ITEMS', 'ACCOUNTS', 'CONTACTS', 'ALLOCATIONS', 'SALES',
        'ORDERS', 'ASSIGNMENTS', 'EXCHANGE_RATES'));
-- Known items as they were before a load changed them.
CREATE TABLE item_images (
    tenant_id uuid NOT NULL,
    load_id uuid NOT NULL,
    item_id uuid NOT NULL,
    number text NOT NULL,
    line_number text NOT NULL,
    kind text NOT NULL,
    issue_on date NOT NULL,
    due_on date,
    posted_on date,
    settled_on date,
    initial_minor bigint NOT NULL,
    open_minor bigint NOT NULL,
    fiscal_year integer NOT NULL,
    order_number text NOT NULL,
    reference text NOT NULL,
    text text NOT NULL,
    account_name text NOT NULL,
    custom_fields jsonb NOT NULL,
    PRIMARY KEY (tenant_id, load_id, item_id)
);
-- The same of everything else: ACCOUNT (names and payment terms), MASTER (the rest of an account), CONTACT; no image where
-- the load made it.
CREATE TABLE load_images (
    tenant_id uuid NOT NULL,
    load_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('ACCOUNT', 'MASTER', 'CONTACT')),
    object_id uuid NOT NULL,
    image jsonb,
    PRIMARY KEY (tenant_id, load_id, kind, object_id)
);
CREATE TABLE allocations (
    tenant_id uuid NOT NULL,
    allocation_id uuid NOT NULL,
    account_id uuid NOT NULL,
    credit_item_id uuid NOT NULL,
    debit_item_id uuid NOT NULL,
    currency text NOT NULL,
    -- Positive; negative in the row that takes another one back.
    amount_minor bigint NOT NULL CHECK ((amount_minor > 0) = (reverses_id IS NULL) AND amount_minor <> 0),
    value_on date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    reason text NOT NULL DEFAULT '',
    external_id text NOT NULL DEFAULT '',
    reverses_id uuid,
    load_id uuid,
    -- The entries in the histories of both items that it made, and what was left open on them by it.
    credit_sequence integer NOT NULL,
    debit_sequence integer NOT NULL,
    credit_left_minor bigint NOT NULL,
    debit_left_minor bigint NOT NULL,
    PRIMARY KEY (tenant_id, allocation_id),
    CONSTRAINT never_beyond_either_side CHECK (credit_left_minor <= 0 AND debit_left_minor >= 0 OR amount_minor < 0)
);
CREATE UNIQUE INDEX allocations_reversed ON allocations (tenant_id, reverses_id) WHERE reverses_id IS NOT NULL;
CREATE INDEX allocations_external ON allocations (tenant_id, account_id, external_id) WHERE external_id <> '';
CREATE INDEX allocations_account ON allocations (tenant_id, account_id, recorded_at);
CREATE INDEX allocations_credit ON allocations (tenant_id, credit_item_id);
CREATE INDEX allocations_debit ON allocations (tenant_id, debit_item_id);
-- Of the next four, rows are never changed: one that no longer counts has an ended_at. Current rows have none.
CREATE TABLE sales (
    tenant_id uuid NOT NULL,
    sale_id uuid NOT NULL,
    account_id uuid NOT NULL,
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    currency text NOT NULL,
    gross_minor bigint NOT NULL,
    net_minor bigint,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    load_id uuid,
    ended_at timestamptz,
    ended_load_id uuid,
    PRIMARY KEY (tenant_id, sale_id)
);
CREATE UNIQUE INDEX sales_current ON sales (tenant_id, account_id, month, currency) WHERE ended_at IS NULL;
CREATE TABLE orders (
    tenant_id uuid NOT NULL,
    order_id uuid NOT NULL,
    account_id uuid NOT NULL,
    number text NOT NULL,
    ordered_on date NOT NULL,
    delivery_on date,
    currency text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    delivered_minor bigint NOT NULL DEFAULT 0 CHECK (delivered_minor BETWEEN 0 AND amount_minor),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    load_id uuid,
    ended_at timestamptz,
    ended_load_id uuid,
    PRIMARY KEY (tenant_id, order_id)
);
CREATE UNIQUE INDEX orders_current ON orders (tenant_id, account_id, number, currency) WHERE ended_at IS NULL;
CREATE TABLE exchange_rates (
    tenant_id uuid NOT NULL,
    rate_id uuid NOT NULL,
    base text NOT NULL,
    quote text NOT NULL CHECK (quote <> base),
    rate numeric(24, 12) NOT NULL CHECK (rate > 0),
    valid_from date NOT NULL,
    source text NOT NULL DEFAULT '',
    actor text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    load_id uuid,
    ended_at timestamptz,
    ended_load_id uuid,
    PRIMARY KEY (tenant_id, rate_id)
);
CREATE UNIQUE INDEX exchange_rates_current ON exchange_rates (tenant_id, base, quote, valid_from) WHERE ended_at IS NULL;
CREATE TABLE statutory_rates (
    tenant_id uuid NOT NULL,
    rate_id uuid NOT NULL,
    series text NOT NULL,
    valid_from date NOT NULL,
    value numeric(16, 6) NOT NULL,
    source text NOT NULL,
    to_confirm boolean NOT NULL,
    -- False: shipped with the product.
    edited boolean NOT NULL,
    actor text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, rate_id)
);
CREATE UNIQUE INDEX statutory_rates_current ON statutory_rates (tenant_id, series, valid_from) WHERE ended_at IS NULL;
ALTER TABLE hold_changes
    DROP CONSTRAINT hold_changes_what_check,
    ADD CONSTRAINT hold_changes_what_check CHECK (what IN ('PLACED', 'SHRUNK', 'REPLACED', 'RELEASED', 'EXPIRED', 'CHANGED')),
    ADD COLUMN until_on date,
    ADD COLUMN review_on date;
CREATE INDEX holds_review ON holds (tenant_id, review_on) WHERE state = 'ACTIVE' AND review_on IS NOT NULL;
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    tenant_table_policies(op, "item_images", "load_images", "sales", "orders", "exchange_rates", "statutory_rates")
    tenant_table_policies(op, "allocations", insert_only=True)
