"""IdentityService behind the kit's guard, tenants and keys from the command line, rules of roles and passwords."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from gateway import domain, store, usecases
from gateway.passwords import passwords
from gateway.service import DEFINITION
from kit.context import acting_as
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.testing import caller_of, refused
from quittance.gateway.v1 import identity_service_pb2 as pb
from quittance.gateway.v1.identity_service_pb2_grpc import IdentityServiceStub

from .conftest import PASSWORD


@pytest.fixture
def identity(grpc_in_process, database, group):
    """identity(role) -> a stub that calls as somebody of the group with that role."""

    def stub(role: str = "administrator") -> IdentityServiceStub:
        caller = caller_of(group.tenant_id, *domain.permissions_of(role, False), subject=group.email)
        return IdentityServiceStub(grpc_in_process(DEFINITION, database, caller))

    return stub


def _user(email: str, **values) -> pb.CreateUserRequest:
    return pb.CreateUserRequest(email=email, name="New One", **{"role": "collector", **values})


def test_users_are_added_listed_and_changed(identity, group):
    stub, email = identity(), f"{new_id()}@example.com"
    made = stub.CreateUser(_user(email.upper(), entity_codes=["FR01", "FR01"]), timeout=5).user
    assert (made.email, made.active, list(made.entity_codes)) == (email, True, ["FR01"])
    assert len(made.first_password) >= 9
    listed = stub.ListUsers(pb.ListUsersRequest(filter="role=collector", page_size=1), timeout=5)
    assert [each.email for each in listed.users] == [email]
    assert listed.total_size == 1
    assert not listed.users[0].first_password
    changed = stub.UpdateUser(pb.UpdateUserRequest(user_id=made.user_id, can_upload=True), timeout=5).user
    assert (changed.can_upload, changed.role) == (True, "collector")
    first = stub.ListUsers(pb.ListUsersRequest(page_size=1), timeout=5)
    second = stub.ListUsers(pb.ListUsersRequest(page_size=1, page_token=first.next_page_token), timeout=5)
    assert {first.users[0].email, second.users[0].email} == {email, group.email}
    assert not second.next_page_token


def test_a_limit_to_some_entities_can_be_taken_away_again(identity, group, database, grpc_in_process):
    stub = identity()
    user_id = stub.CreateUser(_user(f"{new_id()}@example.com", entity_codes=["FR01"]), timeout=5).user.user_id
    # An empty list alone is no wish: a change of something else leaves the limit.
    kept = stub.UpdateUser(pb.UpdateUserRequest(user_id=user_id, can_upload=True), timeout=5).user
    assert list(kept.entity_codes) == ["FR01"]
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        stub.UpdateUser(pb.UpdateUserRequest(user_id=user_id, all_entities=True, entity_codes=["FR01"]), timeout=5)
    freed = stub.UpdateUser(pb.UpdateUserRequest(user_id=user_id, all_entities=True), timeout=5).user
    assert list(freed.entity_codes) == []
    # Who sees some entities only can neither take a limit away nor put one on somebody who sees all.
    scoped = caller_of(group.tenant_id, *domain.all_permissions(), entities={"FR01"})
    narrow = IdentityServiceStub(grpc_in_process(DEFINITION, database, scoped))
    for change in ({"all_entities": True}, {"entity_codes": ["FR01"]}, {"active": False}):
        with refused(Code.PERMISSION_DENIED, "ROLE_TOO_HIGH"):
            narrow.UpdateUser(pb.UpdateUserRequest(user_id=user_id, **change), timeout=5)


def test_refusals_about_users(identity, group):
    stub = identity()
    with refused(Code.ALREADY_EXISTS, "EMAIL_TAKEN"):
        stub.CreateUser(_user(group.email), timeout=5)
    with refused(Code.INVALID_ARGUMENT, "ROLE_UNKNOWN"):
        stub.CreateUser(_user("x@example.com", role="king"), timeout=5)
    with refused(Code.INVALID_ARGUMENT, "PASSWORD_WEAK"):
        stub.CreateUser(_user("x@example.com", password="password"), timeout=5)
    with refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS"):
        stub.CreateUser(_user("no address"), timeout=5)
    with refused(Code.NOT_FOUND, "USER_UNKNOWN"):
        stub.UpdateUser(pb.UpdateUserRequest(user_id=new_id(), active=False), timeout=5)
    with refused(Code.PERMISSION_DENIED, "PERMISSION_MISSING"):
        identity("collector").ListUsers(pb.ListUsersRequest(), timeout=5)


def test_a_tenant_keeps_an_administrator(identity, group):
    stub = identity()
    only = stub.ListUsers(pb.ListUsersRequest(filter="role=administrator"), timeout=5).users[0]
    for change in ({"role": "guest"}, {"active": False}):
        with refused(Code.FAILED_PRECONDITION, "LAST_ADMINISTRATOR"):
            stub.UpdateUser(pb.UpdateUserRequest(user_id=only.user_id, **change), timeout=5)
    stub.CreateUser(_user(f"{new_id()}@example.com", role="administrator"), timeout=5)
    assert not stub.UpdateUser(pb.UpdateUserRequest(user_id=only.user_id, active=False), timeout=5).user.active


def test_nobody_gives_more_than_he_has(database, settings, group):
    manager = caller_of(group.tenant_id, *domain.permissions_of("credit_manager", False))
    scoped = caller_of(group.tenant_id, *domain.all_permissions(), entities={"FR01"})
    with acting_as(manager), database.transaction() as session:
        with pytest.raises(Refused) as error:
            usecases.create_api_key(session, manager, "x", "administrator", 0, None)
        assert error.value.reason == "ROLE_TOO_HIGH"
    with acting_as(scoped), database.transaction() as session:
        for codes in ([], ["US01"]):
            with pytest.raises(Refused) as error:
                usecases.create_user(
                    session, passwords(settings), scoped, "y@example.com", "Y", "guest", codes, "", "", False
                )
            assert error.value.reason == "ROLE_TOO_HIGH"


def test_other_tenants_see_nothing(identity, database, group, grpc_in_process):
    key = identity().CreateApiKey(pb.CreateApiKeyRequest(name="k", role="guest", valid_days=3), timeout=5)
    assert key.api_key.HasField("expires_at")
    stranger = IdentityServiceStub(grpc_in_process(DEFINITION, database, caller_of(new_id())))
    assert stranger.ListUsers(pb.ListUsersRequest(), timeout=5).total_size == 0
    assert stranger.ListApiKeys(pb.ListApiKeysRequest(), timeout=5).total_size == 0
    with refused(Code.NOT_FOUND, "API_KEY_UNKNOWN"):
        stranger.RevokeApiKey(pb.RevokeApiKeyRequest(api_key_id=key.api_key.api_key_id), timeout=5)
    with acting_as(caller_of(new_id())), database.transaction() as session:
        for table in ("tenants", "users", "api_keys", "sessions"):
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0


def test_every_table_is_behind_the_wall(database):
    with database.system_transaction() as session:
        open_tables = session.execute(
            text(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                " AND relname <> 'alembic_version' AND NOT (relrowsecurity AND relforcerowsecurity)"
            )
        ).all()
    assert open_tables == []


def test_an_expired_key_is_nobody(database, group, settings):
    from datetime import timedelta

    from kit.clock import utc_now

    caller, now = caller_of(group.tenant_id), utc_now()
    with acting_as(caller), database.transaction() as session:
        _, secret = usecases.create_api_key(session, caller, "k", "guest", 1, now)
    with database.system_transaction() as session:
        assert usecases.caller_for_key(session, secret, now + timedelta(hours=23)).name == "k"
        assert usecases.caller_for_key(session, secret, now + timedelta(hours=25)) is None


def test_a_tenant_is_made_once(database, settings, group):
    with database.system_transaction() as session:
        again = usecases.create_tenant(session, passwords(settings), group.name, group.email, "Other-password-9")
        assert again == (group.tenant_id, "")
    with pytest.raises(Refused) as error, database.system_transaction() as session:
        usecases.create_tenant(session, passwords(settings), "Another group", group.email, PASSWORD)
    assert error.value.reason == "EMAIL_TAKEN"
    with database.system_transaction() as session:
        assert store.tenant_named(session, "Another group") is None


def _run(database, *words, **env):
    import os

    settings = database.settings
    given = {
        "QUITTANCE_GATEWAY_DATABASE_URL": settings.database_url,
        "QUITTANCE_GATEWAY_SIGNING_KEY_PATH": settings.signing_key_path,
        "QUITTANCE_REDIS_URL": "",
        **env,
    }
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_makes_tenant_and_key(make_database):
    database = make_database("gateway", redis_url="")
    with pytest.raises(Refused) as error, database.system_transaction() as session:
        usecases.administrators_key(session, "", "x")
    assert error.value.reason == "TENANT_UNKNOWN"
    words = ("create-tenant", "--name", "Sample group", "--admin-email", "boss@example.com")
    first = _run(database, *words, QUITTANCE_ADMIN_PASSWORD=PASSWORD)
    assert first.returncode == 0, first.stderr
    second = _run(database, *words)
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert PASSWORD not in first.stdout
    key = _run(database, "api-key")
    assert key.returncode == 0
    assert key.stdout.strip().startswith("qk_")
    assert key.stdout.count("\n") == 1


# ---- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password", ["", "Short-1", "alllowercase", "A-1" * 50, "aaaaaaaaaaaaA1-"[:9], "Boss.name-12345"]
)
def test_weak_passwords(password):
    with pytest.raises(Refused) as error:
        domain.check_password(password, "boss.name@example.com")
    assert error.value.reason == "PASSWORD_WEAK"


@pytest.mark.parametrize("password", ["Correct-horse-7", "a long sentence that nobody guesses", "Abcdef-12"])
def test_strong_passwords(password):
    domain.check_password(password, "boss.name@example.com")


@given(st.text(max_size=40))
def test_hashes_of_secrets_are_all_different_and_short(secret):
    if not any("\ud800" <= sign <= "\udfff" for sign in secret):
        assert len(domain.secret_hash(secret)) == 32
        assert domain.secret_hash(secret) != domain.secret_hash(secret + "x")


def test_first_passwords_are_strong():
    for _ in range(50):
        domain.check_password(usecases._first_password(), "somebody@example.com")
