"""Every table of every service, as its real migrations make it, stands behind the tenant wall."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from kit.db import Database
from kit.migrations import INFRASTRUCTURE
from stack.layout import SERVICES

# Tables that belong to no tenant, with the reason. Whatever is not here has row security.
WITHOUT_TENANT = {
    "alembic_version": "the revision of the whole database",
}
# The gateway is asked before the tenant is known: who signs in, whose key this is. Its tables have the kit's second
# door for such questions, and these uniques span tenants, each with the reason.
DIRECTORY = "gateway"
ACROSS_TENANTS = {
    "users_email": "an address signs in without naming its tenant",
}
GATEWAY_MAY_KEEP = ("tenant", "user", "session", "api", "role", "sign", "login", "rate", "password")


@pytest.fixture(scope="module", params=list(SERVICES))
def database(request: pytest.FixtureRequest, make_database: Callable[..., Database]) -> tuple[str, Database]:
    return request.param, make_database(SERVICES[request.param])


def rows(database: Database, query: str, **parameters: Any) -> list[tuple]:
    with database.system_transaction() as session:
        return [tuple(row) for row in session.execute(text(query), parameters)]


def tables(database: Database) -> dict[str, dict[str, Any]]:
    found = rows(
        database,
        """SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner),
                  EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid),
                  EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'
                          AND a.attnotnull AND NOT a.attisdropped)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')""",
    )
    return {
        name: {"enabled": enabled, "forced": forced, "owner": owner, "policy": policy, "tenant": tenant}
        for name, enabled, forced, owner, policy, tenant in found
    }


def test_every_table_has_forced_row_security_and_a_policy(database: tuple[str, Database]) -> None:
    service, at = database
    found = tables(at)
    assert len(found) > len(WITHOUT_TENANT), service
    for name, table in found.items():
        if name in WITHOUT_TENANT:
            continue
        assert table["tenant"], f"{service}.{name} has no tenant_id NOT NULL"
        assert table["enabled"], f"{service}.{name}: row security is off"
        assert table["forced"], f"{service}.{name}: row security does not bind the owner"
        assert table["policy"], f"{service}.{name} has no policy"


def test_every_policy_compares_the_tenant_for_reading_and_for_writing(database: tuple[str, Database]) -> None:
    service, at = database
    policies = rows(at, "SELECT tablename, policyname, qual, with_check FROM pg_policies WHERE schemaname = 'public'")
    assert policies
    for table, policy, reading, writing in policies:
        for condition in (reading, writing):
            assert condition, f"{service}.{table}: {policy} does not bind both ways"
            assert "tenant_id" in condition, f"{service}.{table}: {policy} does not look at the tenant"
            assert "quittance.tenant" in condition, f"{service}.{table}: {policy} does not look at the session"
            if table not in INFRASTRUCTURE and service != DIRECTORY:
                assert " OR " not in condition, f"{service}.{table}: {policy} has a second door"


def test_the_serving_role_owns_nothing_and_cannot_pass_the_wall(database: tuple[str, Database]) -> None:
    service, at = database
    ((user, superuser, bypass),) = rows(
        at, "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
    assert (superuser, bypass) == (False, False), f"{service} serves as {user}"
    assert {name for name, table in tables(at).items() if table["owner"] == user} == set()
    definers = rows(
        at,
        "SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = 'public' AND prosecdef",
    )
    assert definers == []


def test_keys_and_uniques_begin_with_the_tenant(database: tuple[str, Database]) -> None:
    """A unique index over all tenants would tell one of them what another has."""
    service, at = database
    indexes = rows(
        at,
        """SELECT c.relname, i.relname, a.attname
           FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
           WHERE n.nspname = 'public' AND x.indisunique""",
    )
    for table, index, first in indexes:
        if service == DIRECTORY and index in ACROSS_TENANTS:
            continue
        if table not in WITHOUT_TENANT and table not in INFRASTRUCTURE:
            assert first == "tenant_id", f"{service}.{table}: {index} begins with {first}"


def test_the_gateway_keeps_identities_and_nothing_of_the_business(make_database: Callable[..., Database]) -> None:
    own = set(tables(make_database("gateway"))) - set(INFRASTRUCTURE) - set(WITHOUT_TENANT)
    assert own
    assert {name for name in own if not any(word in name for word in GATEWAY_MAY_KEEP)} == set()
