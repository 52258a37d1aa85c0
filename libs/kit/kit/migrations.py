"""Alembic, run by the owner's role, and the tables that the kit itself needs in every service's database.

A service's migrations/env.py is three lines:

    from kit.migrations import run_env
    from ledger.store import Base
    run_env(Base.metadata)
"""

import importlib.util
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.pool import NullPool

from kit.db import sqlalchemy_url

if TYPE_CHECKING:
    # Alembic takes half a second to import, which only the process that migrates should pay.
    from alembic.config import Config

log = logging.getLogger(__name__)

# Any number will do, as long as every migration of the platform takes the same.
MIGRATION_LOCK = 7_102_511
# As a sub-select, the setting is read once a statement instead of once a row.
TENANT_POLICY = "tenant_id = (SELECT nullif(current_setting('quittance.tenant', true), '')::uuid)"
SYSTEM_POLICY = "current_setting('quittance.system', true) = 'on'"
INFRASTRUCTURE = (
    "outbox", "outbox_counter", "inbox", "event_position", "parked_event", "request", "job", "schedule", "tenant",
)  # fmt: skip

_TABLES = """
CREATE TABLE tenant (
    tenant_id uuid PRIMARY KEY,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE outbox (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    number bigint,
    type text NOT NULL,
    key text NOT NULL,
    payload bytea NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, number)
);
-- Events are compressed already: trying again costs more than it saves.
ALTER TABLE outbox ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX outbox_unnumbered ON outbox (tenant_id, sequence) WHERE number IS NULL;
CREATE INDEX outbox_unpublished ON outbox (tenant_id, number) WHERE published_at IS NULL;
CREATE INDEX outbox_recorded ON outbox (recorded_at);
CREATE TABLE outbox_counter (
    tenant_id uuid PRIMARY KEY,
    last_number bigint NOT NULL
);
CREATE TABLE inbox (
    tenant_id uuid NOT NULL,
    producer text NOT NULL,
    event_id uuid NOT NULL,
    number bigint NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, producer, event_id)
);
CREATE INDEX inbox_number ON inbox (tenant_id, producer, number);
CREATE INDEX inbox_handled ON inbox (handled_at);
CREATE TABLE event_position (
    tenant_id uuid NOT NULL,
    producer text NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (tenant_id, producer)
);
CREATE TABLE parked_event (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    producer text NOT NULL,
    number bigint NOT NULL,
    type text NOT NULL,
    envelope bytea NOT NULL,
    attempts integer NOT NULL,
    error text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at timestamptz,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE TABLE request (
    tenant_id uuid NOT NULL,
    method text NOT NULL,
    request_id text NOT NULL,
    request_hash bytea NOT NULL,
    reply bytea,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, method, request_id)
);
CREATE INDEX request_made ON request (made_at);
CREATE TABLE job (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    dedup_key text NOT NULL,
    payload jsonb NOT NULL,
    state text NOT NULL DEFAULT 'QUEUED' CHECK (state IN ('QUEUED', 'RUNNING', 'DONE', 'PARKED')),
    attempt integer NOT NULL DEFAULT 0,
    run_after timestamptz NOT NULL,
    woken_at timestamptz,
    lease_token uuid,
    lease_until timestamptz,
    error text NOT NULL DEFAULT '',
    traceparent text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, kind, dedup_key)
);
CREATE INDEX job_queued ON job (run_after) WHERE state = 'QUEUED';
CREATE INDEX job_running ON job (lease_until) WHERE state = 'RUNNING';
CREATE INDEX job_ended ON job (ended_at) WHERE state = 'DONE';
CREATE TABLE schedule (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    slot text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, name, slot)
);
"""


def infrastructure_tables(op: Any) -> None:
    """Creates the kit's tables (outbox, inbox, parked_event, request, job, schedule, tenant, ...); first migration."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    for table in INFRASTRUCTURE:
        _secure(op, table, f"{TENANT_POLICY} OR {SYSTEM_POLICY}")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {app_role(op)}")


def tenant_table_policies(op: Any, *tables: str, insert_only: bool = False) -> None:
    """Puts tables behind the tenant wall: row security forced, a policy on tenant_id, grants for the app's role.

    insert_only: no UPDATE and no DELETE grant, and a trigger that raises for everybody, the owner included.
    """
    if insert_only:
        op.execute(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION '% is insert-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END$$"
        )
    for table in tables:
        _secure(op, table, TENANT_POLICY)
        grants = "SELECT, INSERT" if insert_only else "SELECT, INSERT, UPDATE, DELETE"
        op.execute(f"GRANT {grants} ON {table} TO {app_role(op)}")
        if insert_only:
            op.execute(
                f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            )
            op.execute(
                f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )


def reference_table_grants(op: Any, *tables: str) -> None:
    """Lets the app's role read tables that belong to no tenant (currencies, countries, ...)."""
    for table in tables:
        op.execute(f"GRANT SELECT ON {table} TO {app_role(op)}")


def app_role(op: Any) -> str:
    """The role that serves: the owner's name with _app for _owner (quittance_ledger_owner, quittance_ledger_app)."""
    owner = op.get_bind().execute(text("SELECT current_user")).scalar_one()
    if not owner.endswith("_owner"):
        raise LookupError(f"migrations run as {owner!r}, which does not end in _owner: see kit.embedded.provision")
    role = owner.removesuffix("_owner") + "_app"
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", role):
        raise ValueError(f"{role!r} is no plain role name")
    return role


def _secure(op: Any, table: str, policy: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_wall ON {table} USING ({policy}) WITH CHECK ({policy})")


def config_for(package: str, migration_database_url: str) -> "Config":
    """Alembic's configuration for a service's package, such as "ledger"."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"no package {package!r}")
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(spec.submodule_search_locations))) / "migrations"))
    config.attributes["url"] = migration_database_url
    return config


def upgrade(package: str, migration_database_url: str) -> None:
    """Brings a database to the newest revision; concurrent runs wait for one another."""
    from alembic import command

    command.upgrade(config_for(package, migration_database_url), "head")


def head(package: str) -> str | None:
    """The newest revision a package brings."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config_for(package, "")).get_current_head()


def run_env(metadata: MetaData) -> None:
    """The whole of a service's migrations/env.py."""
    from alembic import context as alembic_context

    config = alembic_context.config
    url = str(config.attributes.get("url") or config.get_main_option("sqlalchemy.url"))
    if alembic_context.is_offline_mode():
        alembic_context.configure(
            url=sqlalchemy_url(url), target_metadata=metadata, literal_binds=True, transaction_per_migration=True
        )
        alembic_context.run_migrations()
        return
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
            alembic_context.configure(
                connection=connection, target_metadata=metadata, transaction_per_migration=True, compare_type=True
            )
            with alembic_context.begin_transaction():
                alembic_context.run_migrations()
            connection.commit()
            if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is not None:
                owner = connection.execute(text("SELECT current_user")).scalar_one()
                if owner.endswith("_owner"):
                    # The app's role reads the revision, so that readiness can compare it with the code's.
                    connection.execute(text(f"GRANT SELECT ON alembic_version TO {owner.removesuffix('_owner')}_app"))
                    connection.commit()
    finally:
        engine.dispose()
