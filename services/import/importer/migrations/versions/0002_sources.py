"""Sources, versions of profiles, files pulled, uploads in parts, streamed rows."""

from alembic import op

from kit.migrations import tenant_table_policies

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE profile
            ADD COLUMN version integer NOT NULL DEFAULT 1,
            ADD COLUMN by_hand boolean NOT NULL DEFAULT false,
            ADD COLUMN patterns jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN entity_codes jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN constants jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN item_types jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN unknown_item_type text NOT NULL DEFAULT '',
            ADD COLUMN mode text NOT NULL DEFAULT '' CHECK (mode IN ('', 'delta', 'stock')),
            ADD COLUMN source_system text NOT NULL DEFAULT ''
        """
    )
    # A layout is remembered once; by hand there may be one per entity.
    op.execute("ALTER TABLE profile DROP CONSTRAINT uq_profile_fingerprint")
    op.execute("CREATE UNIQUE INDEX uq_profile_learnt ON profile (tenant_id, fingerprint, object) WHERE NOT by_hand")
    op.execute("CREATE INDEX ix_profile_fingerprint ON profile (tenant_id, fingerprint)")
    op.execute(
        """
        CREATE TABLE profile_version (
            tenant_id uuid NOT NULL,
            profile_id uuid NOT NULL,
            version integer NOT NULL CHECK (version > 0),
            definition jsonb NOT NULL,
            saved_by text NOT NULL,
            saved_at timestamptz NOT NULL,
            CONSTRAINT pk_profile_version PRIMARY KEY (tenant_id, profile_id, version)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE source (
            tenant_id uuid NOT NULL,
            source_id uuid NOT NULL,
            version integer NOT NULL,
            name text NOT NULL,
            entity_code text NOT NULL,
            kind text NOT NULL CHECK (kind IN ('UPLOAD', 'API', 'SFTP', 'FTPS', 'PULL_SFTP')),
            patterns jsonb NOT NULL,
            mode text NOT NULL CHECK (mode IN ('delta', 'stock')),
            apply boolean NOT NULL,
            recipients jsonb NOT NULL,
            language text NOT NULL,
            enabled boolean NOT NULL,
            pull jsonb NOT NULL,
            user_name text NOT NULL,
            password_hash text NOT NULL,
            public_key text NOT NULL,
            secret_sealed text NOT NULL,
            access_kind text NOT NULL CHECK (access_kind IN ('', 'password', 'key')),
            key_fingerprint text NOT NULL,
            created_by text NOT NULL,
            created_at timestamptz NOT NULL,
            deleted_at timestamptz,
            last_file_name text NOT NULL,
            last_import_id uuid,
            last_file_at timestamptz,
            last_success_at timestamptz,
            last_error text NOT NULL,
            last_error_at timestamptz,
            last_pull_at timestamptz,
            CONSTRAINT pk_source PRIMARY KEY (tenant_id, source_id)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX uq_source_name ON source (tenant_id, name) WHERE deleted_at IS NULL")
    op.execute("CREATE UNIQUE INDEX uq_source_user ON source (tenant_id, user_name) WHERE user_name <> ''")
    op.execute(
        """
        CREATE TABLE pulled_file (
            tenant_id uuid NOT NULL,
            source_id uuid NOT NULL,
            name text NOT NULL,
            size_bytes bigint NOT NULL,
            modified_s bigint NOT NULL,
            import_id uuid,
            pulled_at timestamptz NOT NULL,
            CONSTRAINT pk_pulled_file PRIMARY KEY (tenant_id, source_id, name, size_bytes, modified_s)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE upload (
            tenant_id uuid NOT NULL,
            upload_id uuid NOT NULL,
            file_name text NOT NULL,
            size_bytes bigint NOT NULL CHECK (size_bytes > 0),
            sha256 text NOT NULL,
            header jsonb NOT NULL,
            offset_bytes bigint NOT NULL CHECK (offset_bytes BETWEEN 0 AND size_bytes),
            parts jsonb NOT NULL,
            started boolean NOT NULL,
            created_by text NOT NULL,
            created_at timestamptz NOT NULL,
            touched_at timestamptz NOT NULL,
            CONSTRAINT pk_upload PRIMARY KEY (tenant_id, upload_id)
        )
        """
    )
    op.execute("CREATE INDEX ix_upload_touched ON upload (tenant_id, touched_at) WHERE NOT started")
    op.execute(
        """
        CREATE TABLE row_stream (
            tenant_id uuid NOT NULL,
            batch_id text NOT NULL,
            stream_id uuid NOT NULL,
            header_sha256 text NOT NULL,
            header jsonb NOT NULL,
            columns jsonb NOT NULL,
            parts jsonb NOT NULL,
            last_sequence integer NOT NULL CHECK (last_sequence >= 0),
            row_count integer NOT NULL CHECK (row_count >= 0),
            size_bytes bigint NOT NULL,
            finished boolean NOT NULL,
            created_by text NOT NULL,
            touched_at timestamptz NOT NULL,
            CONSTRAINT pk_row_stream PRIMARY KEY (tenant_id, batch_id)
        )
        """
    )
    op.execute("CREATE INDEX ix_row_stream_touched ON row_stream (tenant_id, touched_at) WHERE NOT finished")
    op.execute(
        """
        ALTER TABLE batch
            ADD COLUMN channel text NOT NULL DEFAULT 'UPLOAD'
                CHECK (channel IN ('UPLOAD', 'API', 'SFTP', 'FTPS', 'PULL_SFTP', 'STREAM')),
            ADD COLUMN source_id uuid,
            ADD COLUMN wanted_profile_id uuid,
            ADD COLUMN profile_version integer NOT NULL DEFAULT 0,
            ADD COLUMN mode_given boolean NOT NULL DEFAULT true,
            ADD COLUMN source_system text NOT NULL DEFAULT ''
        """
    )
    op.execute("CREATE INDEX ix_batch_source ON batch (tenant_id, source_id, created_at) WHERE source_id IS NOT NULL")
    # Files of an entity are applied in the order in which they came.
    op.execute(
        "CREATE INDEX ix_batch_turn ON batch (tenant_id, entity_code, created_at)"
        " WHERE state IN ('UPLOADED', 'READING', 'APPLYING')"
    )
    tenant_table_policies(op, "source", "pulled_file", "upload", "row_stream")
    tenant_table_policies(op, "profile_version", insert_only=True)
