"""One process that has imported what all services need, and forks a service in an instant.

Nine services that each import SQLAlchemy, gRPC and Celery on their own keep two cores busy for half a minute. This
process imports those once, opens nothing (no thread, no channel, no connection: a fork after any of them would be a
trap), and then only forks. A child behaves as `python -m <package> run` in a process group of its own. Linux only: elsewhere
forking without exec is not safe, and the supervisor starts ordinary processes.

Talk over stdin and stdout, one JSON object per line:
  asked: {"name", "module", "arguments", "env", "log"}     told: {"name", "pid"}, later {"exited": pid, "code"}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

SPAWN_TIMEOUT_S = 60.0
LOOK_UP_EVERY_S = 0.2
# What the services have in common and what takes long to import.
COMMON = (
    "kit.process",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
    "grpc",
    "grpc_status.rpc_status",
    "grpc_health.v1.health",
    "celery",
    "kombu.transport.redis",
    "nats",
    "pyarrow",
    "pyarrow.csv",
    "flask",
    "granian",
    "babel.messages",
    "jinja2",
    "httpx",
    "joserfc.jwt",
    "pydantic_settings",
    "alembic.script",
    "opentelemetry.sdk.trace",
    "structlog",
)


def preload() -> None:
    """Imports what is common and every generated contract."""
    gc.disable()  # Nothing that an import makes is garbage, and looking through it again and again takes a fifth.
    for name in COMMON:
        importlib.import_module(name)
    import quittance

    for module in pkgutil.walk_packages(quittance.__path__, "quittance."):
        if module.name.endswith(("_pb2", "_pb2_grpc")):
            importlib.import_module(module.name)
    # What is there now stays for ever: do not let the collector touch, and so copy, the shared pages.
    gc.freeze()
    gc.enable()


def _become(order: Mapping[str, Any]) -> None:
    """Turns a fresh fork into the service that is asked for; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(order["env"])
        sys.argv = [order["module"], *order["arguments"]]
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  (the last frame of a process: what a Python process does with it)
        sys.excepthook(*sys.exc_info())
    finally:
        # As Python ends a process: threads that are not daemons first, then what registered for the exit.
        threading._shutdown()  # type: ignore[attr-defined]
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Forks on request until stdin ends, then ends too; the children go on until they are stopped."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business.
    signal.set_wakeup_fd(writing)
    preload()
    _tell({"ready": True})
    buffer = b""
    while True:
        ready, _, _ = select.select([0, reading], [], [])
        if reading in ready:
            os.read(reading, 4096)
            _tell_ends()
        if 0 in ready:
            part = os.read(0, 1 << 20)
            if not part:
                return
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become(order)
                # Here as in the child: whoever hears of the process may signal its group at once.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.setpgid(pid, pid)
                _tell({"name": order["name"], "pid": pid})


def _tell(news: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def _tell_ends() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell({"exited": pid, "code": os.waitstatus_to_exitcode(status)})


class Forked:
    """A process that the nursery forked, as the supervisor sees it; like subprocess.Popen as far as it is used."""

    def __init__(self, nursery: Nursery, pid: int):
        self.pid = pid
        self._nursery = nursery
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None

    def poll(self) -> int | None:
        """The exit code, None while it lives; -9 where nobody is left who could know."""
        code = self._nursery.code(self.pid)
        if code is not None or self._nursery.lives:
            return code
        process = self._process
        alive = process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return None if alive else -signal.SIGKILL

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end. Raises subprocess.TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(0.02)
        return code


class Nursery:
    """The supervisor's side."""

    def __init__(self, log: Path, env: Mapping[str, str]):
        self._codes: dict[int, int] = {}
        self._born: dict[str, int] = {}
        self._changed = threading.Condition()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stack.nursery"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(env),
                start_new_session=True,
            )
        threading.Thread(target=self._read, name="nursery", daemon=True).start()

    @staticmethod
    def fits_here() -> bool:
        """Whether this system forks safely."""
        return sys.platform.startswith("linux")

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def code(self, pid: int) -> int | None:
        with self._changed:
            return self._codes.get(pid)

    def _read(self) -> None:
        output: IO[bytes] | None = self.process.stdout
        assert output is not None
        for line in output:
            news = json.loads(line)
            with self._changed:
                if "exited" in news:
                    self._codes[news["exited"]] = news["code"]
                elif "pid" in news:
                    # Told before any end of it: a code known under this number is that of an earlier process.
                    self._codes.pop(news["pid"], None)
                    self._born[news["name"]] = news["pid"]
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def spawn(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        stopping: threading.Event,
    ) -> Forked:
        """Forks a service. Raises ChildProcessError when the nursery is gone, InterruptedError when all is to stop."""
        order = {"name": name, "module": module, "arguments": list(arguments), "env": dict(env), "log": str(log)}
        stdin = self.process.stdin
        assert stdin is not None
        with self._changed:
            self._born.pop(name, None)
            try:
                stdin.write(json.dumps(order).encode() + b"\n")
                stdin.flush()
            except OSError as error:
                raise ChildProcessError("the nursery is gone") from error
            until = time.monotonic() + SPAWN_TIMEOUT_S
            while name not in self._born:
                if stopping.is_set():
                    raise InterruptedError
                if not self.lives or time.monotonic() > until:
                    raise ChildProcessError("the nursery is gone or does not answer")
                self._changed.wait(LOOK_UP_EVERY_S)
            return Forked(self, self._born.pop(name))

    def close(self) -> None:
        """Ends the nursery, even while it still imports; its children are stopped by who asked for them."""
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    main()
