"""Finds the browser of the browser tests: on the PATH, from the system's packages, or from Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_TIMEOUT_S = 600
ADVICE = (
    "no Chromium: put one on the PATH (Debian, Ubuntu: apt-get install chromium; macOS: brew install --cask chromium), "
    "or let Playwright fetch one: .venv/bin/playwright install chromium"
)


class NoChromium(Exception):
    """No browser could be had; the message says what was tried and what to do."""


def find() -> str | None:
    """Path of a Chromium that is there already: the PATH first, then what Playwright has fetched earlier."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    return _playwrights_own()


def _playwrights_own() -> str | None:
    # In a process of its own: Playwright's driver must not live in the one that only wants a path.
    code = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as p: print(p.chromium.executable_path)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    path = done.stdout.strip()
    return path if done.returncode == 0 and os.access(path, os.X_OK) else None


def find_or_install() -> str:
    """Path of a Chromium, installed where that is possible. Raises NoChromium with what to do."""
    found = find()
    if found:
        return found
    attempts: list[list[str]] = []
    if os.geteuid() == 0 and shutil.which("apt-get"):
        attempts += [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
        ]
    attempts.append([sys.executable, "-m", "playwright", "install", "chromium"])
    told: list[str] = []
    for command in attempts:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT_S,
                check=False,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
        except subprocess.TimeoutExpired:
            told.append(f"{' '.join(command)}: took more than {INSTALL_TIMEOUT_S} s")
            continue
        if done.returncode != 0:
            told.append(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-300:]}")
        found = find()
        if found:
            return found
    raise NoChromium("\n".join([ADVICE, *told]))


if __name__ == "__main__":
    try:
        print(find_or_install())
    except NoChromium as error:
        sys.exit(str(error))
