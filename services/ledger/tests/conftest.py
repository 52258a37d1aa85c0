"""A ledger on a real PostgreSQL behind its interceptors."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ledger_driver import TODAY, Ledger

from kit import context
from kit.db import Database
from kit.testing import caller_of
from ledger.__main__ import DEFINITION
from ledger.store import checks
from quittance.ledger.v1 import ledger_service_pb2 as pb

pytest_plugins = ["kit.testing"]


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUITTANCE_TODAY", TODAY.isoformat())


@pytest.fixture(scope="session")
def shared_database(make_database: Callable[..., Database]) -> Database:
    """One database for all tests: each has a tenant of its own."""
    return make_database("ledger", database_pool_size=30)


@pytest.fixture
def ledger(shared_database: Database, grpc_in_process: Any, tenant: str) -> Iterator[Ledger]:
    """A ledger for a new tenant; whatever a test does to it, the books are consistent at its end."""
    ledger = Ledger(shared_database, grpc_in_process(DEFINITION, shared_database), tenant)
    ledger.call("CreateEntity", pb.CreateEntityRequest(code="FR01", name="Fournier SA", country="FR", currency="EUR"))
    yield ledger
    with context.acting_as(caller_of(tenant)), shared_database.transaction() as session:
        assert checks.wrong(session) == {}
