"""A pytest plugin: real servers, quick databases, calls behind the real interceptors.

Load it in conftest.py with `pytest_plugins = ["kit.testing"]`. PostgreSQL, NATS and Valkey start once per run when a
test first asks for them; a package's migrations run once and each database is a copy of the result.
"""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from psycopg import sql

from kit import auth, context, crypto, embedded, grpc_client, migrations
from kit.context import Caller
from kit.db import Database
from kit.errors import Code, Refused
from kit.ids import new_id
from kit.inbox import Handlers, Inbox
from kit.service import Runtime, ServiceDefinition, settings_class
from kit.settings import ServiceSettings
from quittance.common.v1 import event_log_service_pb2 as pb


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where this run's servers keep their files; unprivileged servers must be able to reach it."""
    folder = Path(tempfile.mkdtemp(prefix="quittance-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[embedded.Server]:
    """One PostgreSQL for the run, without fsync."""
    server = embedded.postgres(server_folder / "postgres", durable=False, max_connections=600)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats_server(server_folder: Path) -> Iterator[embedded.Server]:
    """One NATS with JetStream for the run."""
    server = embedded.nats(server_folder / "nats")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(server_folder: Path) -> Iterator[embedded.Server]:
    """One Valkey for the run."""
    server = embedded.valkey(server_folder / "valkey")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def keys(server_folder: Path) -> SimpleNamespace:
    """Signing keys and a JWKS: .jwks_url, .signing_key(issuer) -> path, .encryption_key_path."""
    folder = server_folder / "keys"
    paths: dict[str, Path] = {}

    def signing_key(issuer: str) -> str:
        if issuer not in paths:
            paths[issuer] = folder / f"{issuer}.json"
            auth.generate_signing_key(paths[issuer], issuer)
            auth.write_jwks(folder / "jwks.json", list(paths.values()))
        return str(paths[issuer])

    signing_key(auth.GATEWAY)
    crypto.generate_key(folder / "encryption.key")
    return SimpleNamespace(
        jwks_url=f"file://{folder / 'jwks.json'}",
        signing_key=signing_key,
        encryption_key_path=str(folder / "encryption.key"),
    )


@pytest.fixture(scope="session")
def _templates(postgres: embedded.Server) -> Callable[[str, str], str]:
    made: dict[str, str] = {}

    def template(package: str, service: str) -> str:
        key = f"{package}_{service}"
        if key not in made:
            database = f"template_{key.replace('.', '_').replace('-', '_')}"
            owner_url, _ = embedded.provision(postgres.url, service, database)
            migrations.upgrade(package, owner_url)
            made[key] = database
        return made[key]

    return template


@pytest.fixture(scope="session")
def make_database(
    postgres: embedded.Server, _templates: Callable[[str, str], str], keys: SimpleNamespace, server_folder: Path
) -> Iterator[Callable[..., Database]]:
    """make_database("ledger", **settings) -> Database: fresh, built by the package's real migrations.

    The Database has .settings of the package's Settings class (database, keys, file store filled in).
    """
    made: list[Database] = []

    def make(package: str, **overrides: Any) -> Database:
        cls = overrides.pop("settings_class", None) or settings_class(package)
        service = str(cls.model_fields["service_name"].default)
        template = _templates(package, service)
        name = f"test_{package.replace('.', '_')}_{uuid.uuid4().hex[:10]}"
        identifiers = [
            sql.Identifier(part) for part in (name, template, f"quittance_{service.replace('-', '_')}_owner")
        ]
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*identifiers))
        owner_url, app_url = embedded.provision(postgres.url, service, name)
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            app = sql.Identifier(app_url.split("//", 1)[1].split(":", 1)[0])
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(identifiers[0]))
            connection.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(identifiers[0], app))
        settings = cls(
            **{
                "database_url": app_url,
                "migration_database_url": owner_url,
                "database_pool_size": 5,
                "jwks_url": keys.jwks_url,
                "signing_key_path": keys.signing_key(service),
                "encryption_key_path": keys.encryption_key_path,
                "file_store_url": f"file://{server_folder / 'files' / name}",
                **overrides,
            }
        )
        database = Database(settings)
        made.append(database)
        _databases.append(database)
        return database

    yield make
    # Their files go with the server's folder, which is much quicker than dropping one after the other.
    for database in made:
        database.close()


# Every Database made in this run: a whole run makes hundreds, and each keeps a pool of connections.
_databases: list[Database] = []


@pytest.fixture(autouse=True)
def _close_pools() -> Iterator[None]:
    """After each test the connections go back to the server; a Database that lives on connects again by itself."""
    yield
    for database in _databases:
        database.close()


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody else uses."""
    return new_id()


def caller_of(
    tenant_id: str,
    *permissions: str,
    subject: str = "user:test",
    entities: set[str] | None = None,
    name: str = "Test User",
) -> Caller:
    """A person with these permissions (all, when none are named) in a tenant."""
    return Caller(
        tenant_id=tenant_id,
        subject=subject,
        name=name,
        permissions=frozenset(permissions or {"*"}),
        entity_codes=None if entities is None else frozenset(entities),
    )


@pytest.fixture
def as_tenant() -> Callable[[str], contextlib.AbstractContextManager[Caller]]:
    """as_tenant(tenant_id): a with block in which a person with all permissions acts for that tenant."""

    def act(tenant_id: str) -> contextlib.AbstractContextManager[Caller]:
        return context.acting_as(caller_of(tenant_id))

    return act


@pytest.fixture
def acting(tenant: str) -> Iterator[Caller]:
    """The whole test is done by a person with all permissions in `tenant`."""
    with context.acting_as(caller_of(tenant)) as caller:
        yield caller


@pytest.fixture
def grpc_in_process(keys: SimpleNamespace, tenant: str) -> Iterator[Callable[..., grpc.Channel]]:
    """grpc_in_process(definition, database, caller=None) -> channel to the service behind its real interceptors.

    Calls are signed as the gateway signs for the caller (default: a person of `tenant` with all permissions); refusals
    come out as Refused. settings defaults to the database's.
    """
    running: list[Any] = []

    def serve(
        definition: ServiceDefinition,
        database: Database,
        caller: Caller | None = None,
        settings: ServiceSettings | None = None,
    ) -> grpc.Channel:
        settings = (settings or database.settings).model_copy(update={"jwks_url": keys.jwks_url, "grpc_port": 0})
        server = definition.server(Runtime(settings, database))
        server.start()
        running.append((server, None))
        channel = open_signed(server.address, keys, caller or caller_of(tenant))
        running.append((None, channel))
        return channel

    yield serve
    for server, channel in reversed(running):
        if channel is not None:
            channel.close()
        else:
            server.stop(0)


def token_for(keys: SimpleNamespace, caller: Caller) -> str:
    """The token the gateway would mint for a caller."""
    signer = auth.Signer(Path(keys.signing_key(auth.GATEWAY)).read_text())
    return signer.mint(
        tenant_id=caller.tenant_id,
        subject=caller.subject,
        name=caller.name,
        permissions=caller.permissions,
        entity_codes=caller.entity_codes,
    )


def open_signed(address: str, keys: SimpleNamespace, caller: Caller) -> grpc_client.Channel:
    """A channel whose calls are signed for a caller."""
    token = token_for(keys, caller)
    return grpc_client.open_channel(address, lambda: token)


def envelope_for(event: Message, tenant_id: str, producer: str, number: int, event_id: str = "") -> pb.Envelope:
    """An event as it would come from the bus."""
    recorded_at = Timestamp()
    recorded_at.FromDatetime(datetime.now(UTC))
    return pb.Envelope(
        event_id=event_id or new_id(),
        type=event.DESCRIPTOR.full_name,
        producer=producer,
        tenant_id=tenant_id,
        number=number,
        payload=event.SerializeToString(),
        recorded_at=recorded_at,
    )


_numbers: dict[tuple[int, str, str], int] = {}


def deliver(
    database: Database,
    handlers: Handlers,
    event: Message,
    times: int = 1,
    producer: str = "ledger",
    tenant_id: str = "",
) -> list[bool]:
    """Brings one event `times` times to the handlers as the bus would; says for each time whether it was applied.

    The tenant is that of the current caller unless given; numbers go up by one per event, database and producer.
    """
    tenant_id = tenant_id or context.current_tenant()
    key = (id(database), producer, tenant_id)
    _numbers[key] = _numbers.get(key, 0) + 1
    envelope = envelope_for(event, tenant_id, producer, _numbers[key])
    inbox = Inbox(database, database.settings.service_name, handlers)
    return [inbox.apply(envelope) for _ in range(times)]


@contextlib.contextmanager
def refused(code: Code | grpc.StatusCode, reason: str) -> Iterator[SimpleNamespace]:
    """The block must be refused with this code and reason; .error is the refusal afterwards."""
    found = SimpleNamespace(error=None)
    wanted = code if isinstance(code, Code) else Code.of(code)
    with pytest.raises(Refused) as caught:
        yield found
    found.error = caught.value
    assert (found.error.code, found.error.reason) == (wanted, reason), f"refused otherwise: {found.error}"


def emitted(database: Database, tenant_id: str = "") -> list[Message]:
    """The events a tenant has said so far, in the order they were written."""
    from sqlalchemy import text

    from kit.inbox import message_class

    caller = caller_of(tenant_id) if tenant_id else context.current_caller()
    with context.acting_as(caller), database.transaction() as session:
        rows = session.execute(
            text("SELECT type, payload FROM outbox WHERE tenant_id = :tenant ORDER BY sequence"),
            {"tenant": caller.tenant_id},
        ).all()
    return [message_class(row.type).FromString(bytes(row.payload)) for row in rows]


def shared_data(*parts: str) -> Path:
    """A file or folder of the real sample data (QUITTANCE_SHARED_DATA, else ../shared/data of the repository); skips
    the test where there is none."""
    given = os.environ.get("QUITTANCE_SHARED_DATA")
    root = Path(given) if given else next(
        (folder.parent / "shared" / "data" for folder in Path.cwd().resolve().joinpath("x").parents
         if (folder / "uv.lock").exists() or (folder / "libs").is_dir()), Path("/nonexistent"),
    )  # fmt: skip
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no sample data at {path} (set QUITTANCE_SHARED_DATA)")
    return path


def run_jobs(
    database: Database, handlers: Any, schedules: Any = None, *, settings: Any = None, limit: int = 100
) -> list[str]:
    """Runs the jobs that are due, in this thread, until none is left; what became of each (DONE, QUEUED, PARKED)."""
    from sqlalchemy import text

    from kit import jobs

    runtime = Runtime(settings or database.settings, database)
    every = jobs.all_handlers(handlers, schedules or {})
    ended: list[str] = []
    while len(ended) < limit:
        with database.system_transaction() as session:
            row = session.execute(
                text(
                    "SELECT tenant_id, id FROM job WHERE state = 'QUEUED' AND run_after <= clock_timestamp()"
                    " ORDER BY run_after, id LIMIT 1"
                )
            ).first()
        if row is None:
            break
        ended.append(jobs.run(runtime, every, str(row.tenant_id), str(row.id)))
    return ended
