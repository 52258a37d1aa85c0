"""The audit chain: what people and services did, and blocks of hashes over every fact of the ledger."""

from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0004", "0003", None, None

TABLES = """
CREATE TABLE audit_entries (
    tenant_id uuid NOT NULL,
    entry_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('UI', 'API', 'IMPORT', 'AUTOMATION', 'SERVICE')),
    service text NOT NULL DEFAULT '',
    what text NOT NULL,
    object_kind text NOT NULL,
    object_id text NOT NULL,
    entity_code text NOT NULL DEFAULT '',
    before text,
    after text,
    PRIMARY KEY (tenant_id, entry_id)
);
CREATE INDEX audit_entries_time ON audit_entries (tenant_id, recorded_at);
CREATE INDEX audit_entries_object ON audit_entries (tenant_id, object_id, recorded_at);
CREATE TABLE audit_blocks (
    tenant_id uuid NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    version smallint NOT NULL,
    from_xid bigint NOT NULL,
    to_xid bigint NOT NULL,
    row_count integer NOT NULL CHECK (row_count > 0),
    merkle_root bytea NOT NULL,
    previous_hash bytea NOT NULL,
    block_hash bytea NOT NULL,
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, number),
    UNIQUE (tenant_id, from_xid),
    CHECK (to_xid > from_xid)
);
CREATE TABLE audit_leaves (
    tenant_id uuid NOT NULL,
    number bigint NOT NULL,
    object smallint NOT NULL,
    part integer NOT NULL,
    row_count integer NOT NULL,
    keys bytea NOT NULL,
    leaves bytea NOT NULL,
    node bytea NOT NULL,
    PRIMARY KEY (tenant_id, number, object, part)
);
-- Hashes do not shrink, and a slice of them is read without the rest.
ALTER TABLE audit_leaves ALTER COLUMN keys SET STORAGE EXTERNAL, ALTER COLUMN leaves SET STORAGE EXTERNAL;
-- How far a tenant was looked through: a hint that spares idle tenants the rows of the busy ones, no part of the chain.
CREATE TABLE audit_heads (
    tenant_id uuid NOT NULL,
    checked_xid bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
"""

# Which transaction wrote a row, and so to which block it belongs: all of a block's transactions have ended before it is
# sealed, whatever order they committed in. bigint and not xid8, which has no operators for BRIN.
SEALED = ("items", "item_changes", "hold_changes", "audit_entries", "allocations")


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    for table in SEALED:
        # The older name of pg_current_xact_id(), which gives a bigint without a detour through text.
        op.execute(f"ALTER TABLE {table} ADD COLUMN audit_xid bigint NOT NULL DEFAULT txid_current()")
        op.execute(
            f"CREATE INDEX {table}_audit_xid ON {table} USING brin (audit_xid)"
            " WITH (pages_per_range = 32, autosummarize = on)"
        )
    tenant_table_policies(op, "audit_heads")
    tenant_table_policies(op, "audit_entries", "audit_blocks", "audit_leaves", insert_only=True)
