"""Documents of items: files, the items they belong to, addresses in archives, what was deleted."""

from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0004", "0003", None, None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE document (
            tenant_id uuid NOT NULL,
            document_id uuid NOT NULL,
            entity_code text NOT NULL,
            file_name text NOT NULL,
            kind text NOT NULL,
            size_bytes bigint NOT NULL CHECK (size_bytes > 0),
            sha256 text NOT NULL,
            purpose text NOT NULL CHECK (purpose IN ('INVOICE', 'ATTACHMENT')),
            description text NOT NULL,
            for_colleagues boolean NOT NULL,
            for_customer boolean NOT NULL,
            state text NOT NULL CHECK (state IN ('QUARANTINED', 'READY', 'INFECTED')),
            scan_text text NOT NULL,
            scanned_at timestamptz,
            channel text NOT NULL,
            wanted_number text NOT NULL,
            wanted_account text NOT NULL,
            wanted_key text NOT NULL,
            created_by text NOT NULL,
            created_by_subject text NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT pk_document PRIMARY KEY (tenant_id, document_id)
        )
        """
    )
    op.execute("CREATE INDEX ix_document_sha256 ON document (tenant_id, entity_code, sha256)")
    # Those no item was found for yet; the key is emptied when one is.
    op.execute("CREATE INDEX ix_document_wanted ON document (tenant_id, wanted_key) WHERE wanted_key <> ''")
    op.execute(
        """
        CREATE TABLE document_item (
            tenant_id uuid NOT NULL,
            item_id uuid NOT NULL,
            sha256 text NOT NULL,
            document_id uuid NOT NULL,
            account_id uuid NOT NULL,
            number text NOT NULL,
            item_version bigint NOT NULL,
            settled_on date,
            CONSTRAINT pk_document_item PRIMARY KEY (tenant_id, item_id, sha256),
            CONSTRAINT fk_document_item_document FOREIGN KEY (tenant_id, document_id)
                REFERENCES document (tenant_id, document_id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_document_item_document ON document_item (tenant_id, document_id)")
    op.execute("CREATE INDEX ix_document_item_settled ON document_item (tenant_id, settled_on, document_id)")
    op.execute(
        """
        CREATE TABLE document_deletion (
            tenant_id uuid NOT NULL,
            document_id uuid NOT NULL,
            entity_code text NOT NULL,
            file_name text NOT NULL,
            size_bytes bigint NOT NULL,
            sha256 text NOT NULL,
            item_ids jsonb NOT NULL,
            item_numbers jsonb NOT NULL,
            cause text NOT NULL CHECK (cause IN ('RETENTION', 'PERSON')),
            deleted_by text NOT NULL,
            deleted_at timestamptz NOT NULL,
            CONSTRAINT pk_document_deletion PRIMARY KEY (tenant_id, document_id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE document_url_pattern (
            tenant_id uuid NOT NULL,
            entity_code text NOT NULL,
            pattern text NOT NULL,
            for_customer boolean NOT NULL,
            changed_by text NOT NULL,
            changed_at timestamptz NOT NULL,
            CONSTRAINT pk_document_url_pattern PRIMARY KEY (tenant_id, entity_code)
        )
        """
    )
    tenant_table_policies(op, "document", "document_item", "document_url_pattern")
    tenant_table_policies(op, "document_deletion", insert_only=True)
