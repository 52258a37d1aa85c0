"""Tenants, users, API keys, sessions."""

from alembic import op

from kit.migrations import SYSTEM_POLICY, TENANT_POLICY, app_role, infrastructure_tables

revision, down_revision = "0001", None

TABLES = """
CREATE TABLE tenants (
    tenant_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    cluster text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_tenants PRIMARY KEY (tenant_id)
);
CREATE TABLE users (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    email text NOT NULL CHECK (email <> '' AND email = lower(email)),
    name text NOT NULL,
    role text NOT NULL,
    entity_codes text[] NOT NULL DEFAULT '{}',
    can_upload boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    language text NOT NULL DEFAULT '',
    password_hash text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz,
    CONSTRAINT pk_users PRIMARY KEY (tenant_id, user_id)
);
-- The one index without the tenant: signing in knows an address and nothing else, so an address names one person.
CREATE UNIQUE INDEX users_email ON users (email);
CREATE TABLE api_keys (
    tenant_id uuid NOT NULL,
    api_key_id uuid NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    role text NOT NULL,
    made_by text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT pk_api_keys PRIMARY KEY (tenant_id, api_key_id)
);
CREATE INDEX api_keys_hash ON api_keys (key_hash);
CREATE TABLE sessions (
    tenant_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    previous_hash bytea,
    csrf_token text NOT NULL,
    made_at timestamptz NOT NULL,
    rotated_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    address text NOT NULL DEFAULT '',
    CONSTRAINT pk_sessions PRIMARY KEY (tenant_id, session_id)
);
CREATE INDEX sessions_token ON sessions (token_hash);
CREATE INDEX sessions_previous ON sessions (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX sessions_user ON sessions (tenant_id, user_id)
"""


def upgrade() -> None:
    infrastructure_tables(op)
    for statement in TABLES.split(";\n"):
        op.execute(statement)
    # An address, a session or a key is looked up before the tenant is known: the system sees these four tables.
    wall = f"{TENANT_POLICY} OR {SYSTEM_POLICY}"
    for table in ("tenants", "users", "api_keys", "sessions"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_wall ON {table} USING ({wall}) WITH CHECK ({wall})")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {app_role(op)}")
