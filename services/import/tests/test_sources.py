"""Sources: what can be said about them, what never leaves, whose they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import grpc
import pytest
from import_channels import add_source
from import_driver import state
from sqlalchemy import text

from importer.usecases.sources import public_address, tenant_of, user_name_for
from kit.errors import Refused
from kit.ids import new_id
from kit.testing import caller_of, refused
from quittance.importer.v1 import source_service_pb2 as pb
from quittance.importer.v1 import source_service_pb2_grpc as pb_grpc


@pytest.fixture
def database(make_database: Callable[..., Any], tmp_path: Path) -> Any:
    from kit.crypto import generate_key

    generate_key(tmp_path / "encryption.key")
    return make_database(
        "importer",
        chunk_rows=3,
        job_backoff_s=0,
        channels_folder=str(tmp_path / "channels"),
        encryption_key_path=str(tmp_path / "encryption.key"),
    )


@pytest.fixture
def open_stub(service: Any, grpc_in_process: Any, tenant: str) -> Any:
    from importer.__main__ import SERVICE

    def make(caller: Any = None) -> Any:
        return pb_grpc.SourceServiceStub(grpc_in_process(SERVICE, service.database, caller or caller_of(tenant)))

    return make


@pytest.fixture
def sources(open_stub: Any) -> Any:
    return open_stub()


PUBLIC = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
PULL = pb.PullSettings(host="203.0.113.7", user_name="us", host_key=PUBLIC)


def test_a_source_is_kept_listed_changed_and_ended(service, sources):
    made = add_source(sources, "SAP", "SFTP", patterns=[pb.FilePattern(pattern="*.csv", mode="stock")]).source
    assert (made.version, made.access, made.draft.mode, made.draft.language) == (1, "password", "delta", "en")
    assert tenant_of(made.user_name) == service.tenant
    draft = made.draft
    draft.name, draft.apply = "SAP Lyon", False
    request = pb.UpdateSourceRequest(source_id=made.source_id, source=draft, version=1)
    assert sources.UpdateSource(request).source.version == 2
    with refused(grpc.StatusCode.ABORTED, "SOURCE_CHANGED"):
        sources.UpdateSource(request)
    add_source(sources, "API", "API")
    found = sources.ListSources(pb.ListSourcesRequest(filter="kind=SFTP"))
    assert [(one.draft.name, one.user_name) for one in found.sources] == [("SAP Lyon", made.user_name)]
    with refused(grpc.StatusCode.ALREADY_EXISTS, "SOURCE_NAME_TAKEN"):
        add_source(sources, "API", "API")
    sources.DeleteSource(pb.DeleteSourceRequest(source_id=made.source_id))
    with refused(grpc.StatusCode.NOT_FOUND, "SOURCE_UNKNOWN"):
        sources.GetSource(pb.GetSourceRequest(source_id=made.source_id))
    # Its name is free again.
    add_source(sources, "SAP Lyon", "SFTP")


def test_secrets_never_leave_and_lie_encrypted(service, sources, monkeypatch):
    monkeypatch.setattr("importer.usecases.sources.public_address", lambda settings, host: host)
    key = asyncssh.generate_private_key("ssh-ed25519")
    private = key.export_private_key().decode()
    made = [
        add_source(sources, "one", "PULL_SFTP", {"password": "hunter2-and-more"}, pull=PULL).source,
        add_source(sources, "two", "PULL_SFTP", {"private_key": private}, pull=PULL).source,
    ]
    dropped = add_source(sources, "three", "SFTP")
    assert made[1].key_fingerprint == key.get_fingerprint()
    assert made[0].draft.pull.host_key_fingerprint.startswith("SHA256:")
    shown = str(sources.ListSources(pb.ListSourcesRequest()))
    with service.acting(), service.database.transaction() as session:
        kept = " ".join(
            str(row)
            for table in ("source", "job", "outbox", "request")
            for row in session.execute(text(f"SELECT t::text FROM {table} t")).scalars()
        )
    body = "".join(private.splitlines()[1:4])[:40]
    for secret in ("hunter2-and-more", body, dropped.password):
        assert secret not in shown
        assert secret not in kept
    assert "$argon2id$" in kept
    assert "argon2" not in shown


@pytest.mark.parametrize(
    ("kind", "secrets", "said", "code", "reason"),
    [
        ("SFTP", {}, {"patterns": [pb.FilePattern(pattern="in/*.csv")]}, "INVALID_ARGUMENT", "PATTERN_WRONG"),
        ("SFTP", {}, {"patterns": [pb.FilePattern(pattern="*", profile_id=new_id())]}, "NOT_FOUND", "PROFILE_UNKNOWN"),
        ("SFTP", {"public_key": "ssh-ed25519 nonsense"}, {}, "INVALID_ARGUMENT", "KEY_WRONG"),
        ("SFTP", {}, {"recipients": ["nobody"]}, "INVALID_ARGUMENT", "RECIPIENT_WRONG"),
        ("SFTP", {}, {"entity_code": "XX99"}, "NOT_FOUND", "ENTITY_UNKNOWN"),
        ("SFTP", {}, {"mode": "whole"}, "INVALID_ARGUMENT", "SOURCE_WRONG"),
        ("PULL_SFTP", {"password": "x"}, {}, "INVALID_ARGUMENT", "HOST_MISSING"),
        ("PULL_SFTP", {}, {"pull": PULL}, "INVALID_ARGUMENT", "HOST_FORBIDDEN"),
        ("UNSPECIFIED", {}, {}, "INVALID_ARGUMENT", "SOURCE_WRONG"),
    ],
)
def test_what_cannot_be_said_is_refused(sources, kind, secrets, said, code, reason):
    with refused(grpc.StatusCode[code], reason):
        add_source(sources, "X", kind, secrets, **said)


def test_a_weak_key_is_no_key(sources):
    weak = asyncssh.generate_private_key("ssh-rsa", key_size=1024).export_public_key().decode()
    strong = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "KEY_WRONG"):
        add_source(sources, "weak", "SFTP", {"public_key": weak})
    assert add_source(sources, "strong", "SFTP", {"public_key": strong}).source.access == "key"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "[::1]", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fd00::1", "2130706433", "0x7f000001", "127.1",
        "224.0.0.1", "255.255.255.255", "no.such.host.invalid",
    ],
)  # fmt: skip
def test_hosts_inside_a_network_are_not_asked(database, host):
    with pytest.raises(Refused) as caught:
        public_address(database.settings, host)
    assert caught.value.reason in ("HOST_FORBIDDEN", "HOST_UNREACHABLE")
    assert public_address(database.settings, "203.0.114.7") == "203.0.114.7"


def test_a_person_sees_the_sources_of_his_entities(service, open_stub, sources):
    made = add_source(sources, "SAP", "SFTP").source
    other = open_stub(replace(caller_of(service.tenant), entity_codes=frozenset({"DE01"})))
    assert list(other.ListSources(pb.ListSourcesRequest()).sources) == []
    with refused(grpc.StatusCode.NOT_FOUND, "SOURCE_UNKNOWN"):
        other.GetSource(pb.GetSourceRequest(source_id=made.source_id))
    with refused(grpc.StatusCode.NOT_FOUND, "ENTITY_UNKNOWN"):
        add_source(other, "mine", "SFTP")
    stranger = open_stub(caller_of(new_id()))
    with refused(grpc.StatusCode.NOT_FOUND, "SOURCE_UNKNOWN"):
        stranger.GetSource(pb.GetSourceRequest(source_id=made.source_id))
    reader = open_stub(caller_of(service.tenant, "imports:read", "imports:write"))
    with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING"):
        add_source(reader, "mine", "SFTP")


def test_a_program_names_its_source_and_says_nothing_else(service, sources):
    made = add_source(sources, "shop", "API", patterns=[pb.FilePattern(pattern="*.csv", mode="stock")]).source
    row = "Customer;Invoice No;Invoice Date;Amount\nC1;R1;2026-03-13;10.50\n"
    run = service.upload(row, entity="", source_id=made.source_id)
    print(run.failure, run.failure_code)
    assert (state(run), run.mode, run.channel, run.entity_code) == ("APPLIED", "stock", "API", "FR01")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FILE_NAME_UNKNOWN"):
        service.upload(row, name="x.txt", entity="", source_id=made.source_id)
    draft = made.draft
    draft.enabled = False
    sources.UpdateSource(pb.UpdateSourceRequest(source_id=made.source_id, source=draft))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "SOURCE_DISABLED"):
        service.upload(row, entity="", source_id=made.source_id)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "SOURCE_WITHOUT_ACCESS"):
        sources.ReplaceAccess(pb.ReplaceAccessRequest(source_id=made.source_id))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "SOURCE_NOT_PULLED"):
        sources.PullNow(pb.PullNowRequest(source_id=made.source_id))


def test_a_name_to_sign_in_with_carries_its_tenant_and_nothing_else_does():
    tenant = new_id()
    name = user_name_for(tenant)
    assert tenant_of(name) == tenant
    assert user_name_for(tenant) != name
    for wrong in ("", "root", "q-", "a-" + "z" * 26, name[:-1], name + "a", "q1-é"):
        assert tenant_of(wrong) != tenant
