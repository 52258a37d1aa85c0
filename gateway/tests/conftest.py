"""A gateway on a real database, with people, keys, and one service behind it that answers as told."""

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from types import SimpleNamespace
from typing import Any

# pytest names this folder gateway.tests after its place, and so puts an empty "gateway" where the package belongs.
if getattr(sys.modules.get("gateway"), "__file__", None) is None:
    sys.modules.pop("gateway", None)
    importlib.import_module("gateway")

import grpc
import pytest
from flask import Flask
from flask.testing import FlaskClient
from grpc_health.v1 import health, health_pb2_grpc

from gateway import domain, usecases
from gateway.app import create
from gateway.passwords import passwords
from gateway.service import DEFINITION
from kit import auth, grpc_client
from kit.grpc_server import GuardInterceptor
from kit.service import Runtime
from quittance.importer.v1 import import_service_pb2 as importer
from quittance.importer.v1 import import_service_pb2_grpc as importer_grpc
from quittance.ledger.v1 import ledger_service_pb2 as ledger
from quittance.ledger.v1 import ledger_service_pb2_grpc as ledger_grpc

pytest_plugins = ["kit.testing"]

PASSWORD = "Correct-horse-7"
EMAIL = "admin@example.com"


@pytest.fixture(scope="session")
def database(make_database):
    """One migrated database for the run; tests keep apart by tenant."""
    return make_database("gateway", redis_url="", password_memory_kib=19 * 1024, password_passes=2)


@pytest.fixture
def settings(database):
    """Settings that a test may change without others seeing it."""
    return database.settings.model_copy()


@pytest.fixture
def group(database, settings) -> SimpleNamespace:
    """A tenant with an administrator and a key of his."""
    from kit.ids import new_id

    name, email = f"Group {new_id()}", f"{new_id()}@example.com"
    with database.system_transaction() as session:
        tenant_id, _ = usecases.create_tenant(session, passwords(settings), name, email, PASSWORD)
    with database.system_transaction() as session:
        key = usecases.administrators_key(session, name, "test")
    return SimpleNamespace(tenant_id=tenant_id, name=name, email=email, key=key)


@pytest.fixture
def make_app(database, settings) -> Callable[..., Flask]:
    """make_app(**settings) -> an application on the test's database."""

    def make(**overrides: Any) -> Flask:
        app = create(settings.model_copy(update=overrides), database)
        app.testing = False
        return app

    return make


@pytest.fixture
def app(make_app) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def bearer(group) -> dict[str, str]:
    return {"Authorization": f"Bearer {group.key}"}


@pytest.fixture
def add_user(database, settings, group) -> Callable[..., str]:
    """add_user("collector") -> the address of a new user of the group, who signs in with PASSWORD."""
    from kit.context import acting_as
    from kit.ids import new_id
    from kit.testing import caller_of

    def add(role: str, **options: Any) -> str:
        email = f"{new_id()}@example.com"
        caller = caller_of(group.tenant_id)
        with acting_as(caller), database.transaction() as session:
            usecases.create_user(
                session,
                passwords(settings),
                caller,
                email,
                "Some Body",
                role,
                options.get("entity_codes", []),
                PASSWORD,
                options.get("language", ""),
                options.get("can_upload", False),
            )
        return email

    return add


def sign_in(client: FlaskClient, email: str, password: str = PASSWORD, **form: str):
    """Posts the sign-in form as a browser would."""
    page = client.get("/sign-in")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    return client.post(
        "/sign-in", data={"email": email, "password": password, "csrf_token": token[1] if token else "", **form}
    )


def csrf_of(client: FlaskClient) -> str:
    """The token that pages of the session carry."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/profile").text)
    assert found, "no page with a token"
    return found[1]


class FakeLedger(ledger_grpc.LedgerServiceServicer):
    """Answers as the test says: answer is a message, an exception, or a function of the request."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.callers: list[Any] = []
        self.languages: list[str] = []
        self.answer: Any = None

    def _answered(self, request: Any) -> Any:
        from kit.context import current_caller, language

        self.requests.append(request)
        self.callers.append(current_caller())
        self.languages.append(language())
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def CreateEntity(self, request, context):
        return self._answered(request)

    def ListEntities(self, request, context):
        return ledger.ListEntitiesResponse()

    def GetAccount(self, request, context):
        return self._answered(request)

    def ListItems(self, request, context):
        return self._answered(request)

    def PlaceHolds(self, request, context):
        return self._answered(request)


class FakeImport(importer_grpc.ImportServiceServicer):
    """Keeps what is uploaded; walks through the states a test lays out."""

    def __init__(self) -> None:
        self.header: Any = None
        self.pieces: list[bytes] = []
        self.states: list[Any] = []
        self.looks = 0
        self.rejects: list[bytes] = []
        self.refusal: Exception | None = None
        self.languages: list[str] = []

    def UploadFile(self, request_iterator, context):
        self.pieces = []
        for request in request_iterator:
            if request.HasField("header"):
                self.header = request.header
            else:
                self.pieces.append(request.data)
        if self.refusal:
            raise self.refusal
        return importer.UploadFileResponse(import_id="0190aaaa-0000-7000-8000-000000000001", state=1)

    def GetImport(self, request, context):
        if self.refusal:
            raise self.refusal
        from kit.context import language

        self.languages.append(language())
        state = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        return importer.GetImportResponse(import_run=importer.Import(import_id=request.import_id, state=state))

    def DownloadRejects(self, request, context):
        if self.refusal:
            raise self.refusal
        for data in self.rejects:
            yield importer.DownloadRejectsResponse(data=data)


@pytest.fixture
def platform(keys, monkeypatch, database) -> Iterator[SimpleNamespace]:
    """A gRPC server behind the kit's real guard: a fake ledger and import, and the gateway's real IdentityService."""
    server = grpc.server(
        futures.ThreadPoolExecutor(8), interceptors=[GuardInterceptor(auth.Verifier(keys.jwks_url).verify)]
    )
    parts = SimpleNamespace(ledger=FakeLedger(), importer=FakeImport())
    ledger_grpc.add_LedgerServiceServicer_to_server(parts.ledger, server)
    importer_grpc.add_ImportServiceServicer_to_server(parts.importer, server)
    parts.health = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(parts.health, server)
    DEFINITION.register(Runtime(database.settings, database), server)
    parts.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    for name in (
        "LEDGER",
        "IMPORT",
        "SCENARIO",
        "NOTIFICATION",
        "PORTAL",
        "DISPUTE",
        "CREDIT_RISK",
        "REPORTING",
        "GATEWAY",
    ):
        monkeypatch.setenv(f"QUITTANCE_{name}_ADDRESS", parts.address)
    yield parts
    with contextlib.suppress(Exception):
        grpc_client.close_all()
    server.stop(0).wait()


__all__ = ["EMAIL", "PASSWORD", "csrf_of", "domain", "sign_in"]
