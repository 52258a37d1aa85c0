"""One platform for all stories: every process on this machine, an empty tenant, a fixed business date."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_client import Client

from stack.harness import Platform

TODAY = "2026-09-15"
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The running platform."""
    with Platform.started(QUITTANCE_TODAY=TODAY) as started:
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
