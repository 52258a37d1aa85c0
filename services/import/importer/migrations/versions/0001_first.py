"""Entities as import knows them, kept files, profiles, imports."""

from alembic import op

from kit.migrations import infrastructure_tables, tenant_table_policies

revision, down_revision = "0001", None
branch_labels = depends_on = None


def upgrade() -> None:
    infrastructure_tables(op)
    op.execute(
        """
        CREATE TABLE entity (
            tenant_id uuid NOT NULL,
            code text NOT NULL,
            name text NOT NULL,
            currency text NOT NULL,
            version bigint NOT NULL,
            CONSTRAINT pk_entity PRIMARY KEY (tenant_id, code)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE raw_file (
            tenant_id uuid NOT NULL,
            sha256 text NOT NULL,
            size_bytes bigint NOT NULL CHECK (size_bytes > 0),
            first_seen_at timestamptz NOT NULL,
            CONSTRAINT pk_raw_file PRIMARY KEY (tenant_id, sha256)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE profile (
            tenant_id uuid NOT NULL,
            profile_id uuid NOT NULL,
            object text NOT NULL,
            fingerprint text NOT NULL,
            name text NOT NULL,
            mapping jsonb NOT NULL,
            answers jsonb NOT NULL,
            used integer NOT NULL,
            changed_at timestamptz NOT NULL,
            CONSTRAINT pk_profile PRIMARY KEY (tenant_id, profile_id),
            CONSTRAINT uq_profile_fingerprint UNIQUE (tenant_id, fingerprint, object)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE batch (
            tenant_id uuid NOT NULL,
            import_id uuid NOT NULL,
            version bigint NOT NULL,
            state text NOT NULL CHECK (state IN
                ('UPLOADED', 'READING', 'QUESTIONS', 'PREVIEWED', 'APPLYING', 'APPLIED', 'FAILED', 'CANCELLED')),
            file_name text NOT NULL,
            sha256 text NOT NULL,
            size_bytes bigint NOT NULL,
            entity_code text NOT NULL,
            entity_currency text NOT NULL,
            wanted_object text NOT NULL,
            object text NOT NULL,
            mode text NOT NULL CHECK (mode IN ('delta', 'stock')),
            apply boolean NOT NULL,
            answers jsonb NOT NULL,
            mapping jsonb NOT NULL,
            round integer NOT NULL,
            apply_round integer NOT NULL,
            fingerprint text NOT NULL,
            profile_id uuid,
            details jsonb NOT NULL,
            read_count integer NOT NULL,
            accepted_count integer NOT NULL,
            rejected_count integer NOT NULL,
            chunk_bounds jsonb NOT NULL,
            chunk_counts jsonb NOT NULL,
            ledger_rejects jsonb NOT NULL,
            cleared_absent integer NOT NULL,
            rows_done integer NOT NULL,
            rows_per_second double precision NOT NULL,
            stage_seconds jsonb NOT NULL,
            failure_code text NOT NULL,
            failure_values jsonb NOT NULL,
            file_on date NOT NULL,
            created_by text NOT NULL,
            created_at timestamptz NOT NULL,
            applied_at timestamptz,
            CONSTRAINT pk_batch PRIMARY KEY (tenant_id, import_id)
        )
        """
    )
    op.execute("CREATE INDEX ix_batch_created_at ON batch (tenant_id, created_at DESC)")
    op.execute("CREATE INDEX ix_batch_sha256 ON batch (tenant_id, sha256)")
    tenant_table_policies(op, "entity", "raw_file", "profile", "batch")
