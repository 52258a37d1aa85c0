"""One platform for all stories: every process on this machine, an empty tenant, a fixed business date."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_client import Client

from stack.harness import Platform

TODAY = "2026-09-15"
# Here processes are killed by the dozen: their work lies still for seconds, not for the minute it may in earnest.
SETTINGS = {
    "QUITTANCE_TODAY": TODAY,
    "QUITTANCE_JOB_LEASE_S": "10",
    "QUITTANCE_JOB_SWEEP_S": "2",
    "QUITTANCE_NOTIFICATION_MAIL_RETRY_DELAYS_S": "[1, 1, 1, 1, 2, 2, 2, 5, 5, 5, 5, 5, 5, 5, 5, 5]",
}
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The running platform."""
    with Platform.started(**SETTINGS) as started:
        yield started


@pytest.fixture(scope="session")
def client(platform: Platform) -> Client:
    """A program with an administrator's key."""
    return Client(platform)


@pytest.fixture(scope="session")
def fixture_file() -> Callable[[str], bytes]:
    """The bytes of a file in tests/fixtures."""
    return lambda name: (FIXTURES / name).read_bytes()


@pytest.fixture
def entity(client: Client, request: pytest.FixtureRequest) -> Any:
    """An entity of the test's own."""
    return client.new_entity()
