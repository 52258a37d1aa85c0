"""What people keep of customers beside what files bring: groups, custom fields, contacts, merges, masters, rules."""

from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None

CHANGES = """
ALTER TABLE entities
    ADD COLUMN ignore_item_below_minor bigint NOT NULL DEFAULT 0 CHECK (ignore_item_below_minor >= 0),
    ADD COLUMN min_account_minor bigint CHECK (min_account_minor >= 0),
    ADD COLUMN field_owners jsonb NOT NULL DEFAULT '{}';
ALTER TABLE accounts
    ADD COLUMN merged_into_id uuid,
    ADD COLUMN master_account_id uuid,
    ADD COLUMN pinned_comment text NOT NULL DEFAULT '',
    ADD COLUMN edited_fields text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT nobody_is_his_own CHECK (merged_into_id <> account_id AND master_account_id <> account_id);
CREATE INDEX accounts_merged ON accounts (tenant_id, merged_into_id) WHERE merged_into_id IS NOT NULL;
CREATE INDEX accounts_grouped ON accounts (tenant_id, master_account_id) WHERE master_account_id IS NOT NULL;
CREATE INDEX accounts_collector ON accounts (tenant_id, collector, number) WHERE collector <> '';
CREATE INDEX accounts_name ON accounts (tenant_id, name, account_id);
CREATE INDEX accounts_number ON accounts (tenant_id, number, account_id);
CREATE INDEX accounts_oldest ON accounts (tenant_id, oldest_due_on, account_id);
CREATE INDEX accounts_changed ON accounts (tenant_id, changed_at, account_id);
ALTER TABLE items
    -- The account whose number the item came with, when that account has been merged into the one it is in.
    ADD COLUMN original_account_id uuid;
CREATE INDEX items_original ON items (tenant_id, original_account_id) WHERE original_account_id IS NOT NULL;
ALTER TABLE contacts
    ADD COLUMN more_roles text[] NOT NULL DEFAULT '{}',
    ADD COLUMN channels text[] NOT NULL DEFAULT '{}',
    ADD COLUMN preferred_channel text NOT NULL DEFAULT '',
    ADD COLUMN scope text NOT NULL DEFAULT 'ACCOUNT' CHECK (scope IN ('ACCOUNT', 'LEGAL_UNIT', 'ITEMS')),
    ADD COLUMN item_ids uuid[] NOT NULL DEFAULT '{}',
    ADD COLUMN recipient text NOT NULL DEFAULT 'TO' CHECK (recipient IN ('TO', 'CC')),
    ADD COLUMN active boolean NOT NULL DEFAULT true,
    ADD COLUMN edited boolean NOT NULL DEFAULT false,
    ADD COLUMN original_account_id uuid;
CREATE INDEX contacts_account ON contacts (tenant_id, account_id);
-- Fields of which a row of the chunk had another value, and which were kept because the ERP does not own them.
ALTER TABLE load_chunks ADD COLUMN kept integer NOT NULL DEFAULT 0;
CREATE TABLE customer_groups (
    tenant_id uuid NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    colour text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, code)
);
CREATE TABLE field_definitions (
    tenant_id uuid NOT NULL,
    object text NOT NULL CHECK (object IN ('ACCOUNT', 'ITEM')),
    name text NOT NULL,
    label_en text NOT NULL DEFAULT '',
    label_fr text NOT NULL DEFAULT '',
    type text NOT NULL CHECK (type IN ('TEXT', 'NUMBER', 'DATE', 'LIST')),
    options text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, object, name)
);
CREATE TABLE account_merges (
    tenant_id uuid NOT NULL,
    merge_id uuid NOT NULL,
    entity_id uuid NOT NULL,
    survivor_id uuid NOT NULL,
    merged_id uuid NOT NULL,
    item_count integer NOT NULL,
    names_added text[] NOT NULL,
    groups_added text[] NOT NULL,
    reason text NOT NULL,
    merged_by text NOT NULL,
    merged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    split_by text NOT NULL DEFAULT '',
    split_at timestamptz,
    PRIMARY KEY (tenant_id, merge_id)
);
CREATE UNIQUE INDEX account_merges_one ON account_merges (tenant_id, merged_id) WHERE split_at IS NULL;
CREATE INDEX account_merges_survivor ON account_merges (tenant_id, survivor_id);
"""

# Two names are taken for one when nothing differs but accents, punctuation and the form of the company.
NAME_KEY = r"""
CREATE FUNCTION ledger_name_key(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(
        translate(lower(replace(name, 'ß', 'ss')), 'àáâãäåçèéêëìíîïñòóôõöøùúûüýÿœæ.''’',
            'aaaaaaceeeeiiiinoooooouuuuyyoa'),
        '[^a-z0-9]+', ' ', 'g'),
        '\m(sas|sasu|sa|sarl|eurl|snc|sci|scop|gmbh|mbh|ag|kg|ohg|ug|ltd|limited|plc|llc|llp|inc|corp|co|company|'
        'bv|nv|srl|spa|sl|ab|oy|aps|cie|et|and|und|the)\M', '', 'g'),
        '\s+', '', 'g') $$
"""


def upgrade() -> None:
    for statement in CHANGES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    op.execute(NAME_KEY)
    tenant_table_policies(op, "customer_groups", "field_definitions", "account_merges")
