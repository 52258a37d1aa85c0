"""A pytest plugin that knows the levels of architecture.md section 8: order, `--level`, and what each one took.

One run of pytest covers all levels, so that its closing line tells about everything; cheap levels come first.
"""

from __future__ import annotations

import os
import time
from pathlib import PurePosixPath

import hypothesis
import pytest

# In the order of running. A test belongs to the first level whose rule says yes.
LEVELS = ("rule", "service", "bus", "contract", "chart", "flow", "browser", "cluster", "chaos")
BY_FOLDER = {
    "tests/contracts": "contract",
    "tests/charts": "chart",
    "tests/flow": "flow",
    "tests/browser": "browser",
    "tests/cluster": "cluster",
    "tests/chaos": "chaos",
    "libs/kit/tests": "bus",
}


def level_of(path: PurePosixPath) -> str:
    """The level of a test file, from its place below the repository root."""
    text = path.as_posix()
    for folder, level in BY_FOLDER.items():
        if text.startswith(folder + "/"):
            return level
    return "rule" if path.name.startswith("test_domain") else "service"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--level", action="append", choices=LEVELS, default=[], help="only tests of this level (repeatable)"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A slow machine is no wrong answer: no deadline per example. QUITTANCE_LONG asks for ten times as many.
    hypothesis.settings.register_profile("short", deadline=None, print_blob=True)
    hypothesis.settings.register_profile("long", deadline=None, print_blob=True, max_examples=1000)
    hypothesis.settings.load_profile("long" if os.environ.get("QUITTANCE_LONG") else "short")
    config.pluginmanager.register(_Levels(config), "quittance-levels")


class _Levels:
    def __init__(self, config: pytest.Config):
        self._config = config
        self._seconds: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def _level(self, item: pytest.Item) -> str:
        return level_of(PurePosixPath(item.path.relative_to(self._config.rootpath).as_posix()))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        wanted = self._config.getoption("--level")
        if wanted:
            left_out = [item for item in items if self._level(item) not in wanted]
            items[:] = [item for item in items if self._level(item) in wanted]
            self._config.hook.pytest_deselected(items=left_out)
        # A stable sort: inside a level, files and tests stay in their order.
        items.sort(key=lambda item: LEVELS.index(self._level(item)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        started_at = time.monotonic()
        try:
            return (yield)
        finally:
            level = self._level(item)
            self._seconds[level] = self._seconds.get(level, 0.0) + time.monotonic() - started_at
            self._counts[level] = self._counts.get(level, 0) + 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._counts:
            return
        terminalreporter.section("levels")
        for level in LEVELS:
            if level in self._counts:
                terminalreporter.write_line(
                    f"{level:<10} {self._counts[level]:>5} tests {self._seconds[level]:>8.1f} s"
                )
