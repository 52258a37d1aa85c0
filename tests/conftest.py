"""What the levels above one service share: where the repository is and where real files may lie."""

import os
from pathlib import Path

import pytest

from stack.chromium import NoChromium, find_or_install

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real receivables files, which are never part of the repository; tests that need them are skipped without."""
    folder = Path(os.environ.get("QUITTANCE_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real files: {folder} does not exist (QUITTANCE_SHARED_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """A Chromium for Playwright, installed where possible; else the test fails and says what to do."""
    try:
        return find_or_install()
    except NoChromium as error:
        pytest.fail(str(error), pytrace=False)
