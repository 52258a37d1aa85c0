"""Fixtures of the kit's own tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["kit.testing"]


@pytest.fixture
def database(make_database, acting):
    return make_database("sample")
