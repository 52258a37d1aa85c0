"""Fixtures of the import service: its own database, a ledger that keeps the load contract, jobs run by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from import_fake_ledger import FakeLedger

pytest_plugins = ["kit.testing"]


@pytest.fixture
def ledger() -> Iterator[FakeLedger]:
    """A ledger over real gRPC that keeps items in memory."""
    fake = FakeLedger()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    fake.register(server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield fake
    server.stop(None)


@pytest.fixture
def database(make_database: Callable[..., Any]) -> Any:
    """A fresh database by the service's own migrations."""
    return make_database(
        "importer",
        chunk_rows=3,
        ledger_patience_s=0.5,
        progress_every_s=0.01,
        upload_limit_bytes=1024 * 1024,
        job_backoff_s=0,
    )


@pytest.fixture
def service(
    database: Any, ledger: FakeLedger, tenant: str, grpc_in_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    """The service behind its interceptors (.stub), its database, its ledger, and .work() that runs what jobs are
    due."""
    from import_driver import Driver

    from importer.__main__ import SERVICE

    monkeypatch.setenv("QUITTANCE_LEDGER_ADDRESS", ledger.address)
    # Jobs are run by hand: nobody needs waking, and there is no Redis to try.
    monkeypatch.setattr("kit.jobs.wake", lambda *_: None)
    return Driver(database, ledger, tenant, grpc_in_process(SERVICE, database))
