"""The web process: granian in a process of its own, which ends with the one that started it.

Run as `python -m portal.server` it serves until SIGTERM, or until its standard input ends where it was asked to watch.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from granian import Granian
from granian.constants import Interfaces

from kit.service import Runtime
from portal.config import Settings

WATCH_VARIABLE = "QUITTANCE_PORTAL_WATCH_STDIN"
STOP_TIMEOUT_S = 20.0


def serve_web(runtime: Runtime, stop: threading.Event) -> None:
    """The role "web": starts the server beside this process and ends it with it. Raises RuntimeError when it dies."""
    environment = {**os.environ, WATCH_VARIABLE: "1"}
    command = [sys.executable, "-m", "portal.server"]
    # A pipe nobody writes to: it ends when this process does, however it does.
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, cwd=Path.cwd())  # noqa: S603
    try:
        while not stop.wait(0.5):
            if server.poll() is not None:
                raise RuntimeError(f"the portal's web server ended with {server.returncode}")
    finally:
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _end_with_parent() -> None:
    # Not through sys.stdin: a thread waiting inside it holds its lock, and granian's workers are forks that close it.
    while os.read(0, 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serves the customer's pages on QUITTANCE_PORTAL_PORT."""
    settings = Settings()
    # A fork would copy whatever lock the watching thread holds.
    is_watching = bool(os.environ.pop(WATCH_VARIABLE, ""))
    multiprocessing.set_start_method("spawn" if is_watching else settings.web_start_method, force=True)
    if is_watching:
        threading.Thread(target=_end_with_parent, name="watch-parent", daemon=True).start()
    Granian(
        "portal.web:create_app",
        address=settings.portal_host,
        port=settings.portal_port,
        interface=Interfaces.WSGI,
        workers=settings.web_workers,
        blocking_threads=settings.web_threads,
        websockets=False,
        factory=True,
        log_access=False,
        respawn_failed_workers=True,
    ).serve()


if __name__ == "__main__":
    main()
