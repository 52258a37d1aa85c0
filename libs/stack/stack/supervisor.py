"""Starts processes, keeps them running, and stops all of them and nothing else.

Every child leads a process group of its own and is written down (pid and start time) before anything depends on it.
A supervisor that is killed outright leaves its children behind; the next start finds them by that record and stops
them first, and a recycled pid is never mistaken for one of ours because its start time differs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from stack.nursery import Forked, Nursery

STOP_GRACE_S = 12.0
# Back-off of a crashing child: doubles from the first to the last; a child that lived this long starts afresh.
RESTART_FIRST_S = 0.5
RESTART_LAST_S = 30.0
HEALTHY_AFTER_S = 60.0
START_TIME_TOLERANCE_S = 1.0
LOG_MAX_BYTES = 20 * 1024 * 1024
WATCH_EVERY_S = 0.25
# Names under which the embedded servers are on record.
SERVERS = ("postgres", "nats", "valkey")


@dataclass
class Child:
    """One process that is kept running until the supervisor stops."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    # Set for Python modules, which the nursery can fork in an instant.
    module: str = ""
    process: subprocess.Popen[bytes] | Forked | None = None
    started_at: float = 0.0
    restarts: int = 0
    delay_s: float = RESTART_FIRST_S
    restart_due_at: float | None = None


class Supervisor:
    """Children, their logs and the record of their pids."""

    def __init__(
        self,
        run_folder: Path,
        log_folder: Path,
        say: Callable[[str], None],
        stopping: threading.Event | None = None,
    ):
        self._record = run_folder / "children.json"
        self._logs = log_folder
        self._say = say
        self._children: dict[str, Child] = {}
        self._foreign: dict[str, int] = {}
        self._lock = threading.RLock()
        self._nursery: Nursery | None = None
        self._stopping = stopping or threading.Event()
        self._watcher: threading.Thread | None = None

    # ---- starting ------------------------------------------------------------------------------------------------
    def open_nursery(self, env: Mapping[str, str]) -> None:
        """Begins to import what the services share, where this system lets them be forked afterwards."""
        if Nursery.fits_here():
            self._nursery = Nursery(self._logs / "nursery.log", env)
            self.adopt("nursery", self._nursery.process.pid)

    def start_module(self, name: str, module: str, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        """Starts `python -m module arguments` as a child, from the nursery where there is one."""
        self.start(name, [sys.executable, "-m", module, *arguments], env, module)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], module: str = "") -> None:
        """Starts a child in a process group of its own; its output goes to <logs>/<name>.log."""
        with self._lock:
            child = Child(name, list(command), dict(env), module)
            self._children[name] = child
            self._spawn(child)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
                self._watcher.start()

    def adopt(self, name: str, pid: int) -> None:
        """Writes down a process that somebody else starts and stops for us, so that a later start can clean it up."""
        with self._lock:
            self._foreign[name] = pid
            self._write_record()

    def _spawn(self, child: Child) -> None:
        path = self._logs / f"{child.name}.log"
        if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(child.command)}\n".encode())
            log.flush()
            child.process = self._fork(child, path) or subprocess.Popen(
                child.command,
                env=dict(child.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child.started_at = time.monotonic()
        child.restart_due_at = None
        self._write_record()

    def _fork(self, child: Child, log: Path) -> Forked | None:
        """The child from the nursery; None where an ordinary process has to do."""
        if self._nursery is None or not child.module:
            return None
        try:
            return self._nursery.spawn(child.name, child.module, child.command[3:], child.env, log, self._stopping)
        except ChildProcessError as error:
            self._say(f"{error}: starting {child.name} as a process of its own (see {self._logs / 'nursery.log'})")
            self._nursery = None
            return None

    def _write_record(self) -> None:
        pids = {
            name: child.process.pid
            for name, child in self._children.items()
            if child.process and child.process.poll() is None
        }
        rows = []
        for name, pid in {**pids, **self._foreign}.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                rows.append({"name": name, "pid": pid, "created": psutil.Process(pid).create_time()})
        beside = self._record.with_suffix(".new")
        beside.write_text(json.dumps(rows))
        beside.replace(self._record)

    # ---- watching ------------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_EVERY_S):
            with self._lock:
                for child in self._children.values():
                    self._look_at(child)

    def _look_at(self, child: Child) -> None:
        assert child.process is not None
        now = time.monotonic()
        if child.restart_due_at is not None:
            if now >= child.restart_due_at and not self._stopping.is_set():
                child.restarts += 1
                self._spawn(child)
            return
        code = child.process.poll()
        if code is None:
            return
        # The leader is gone; what it left in its group must not run beside the next one.
        _signal_group(child.process.pid, signal.SIGKILL)
        if now - child.started_at > HEALTHY_AFTER_S:
            child.delay_s = RESTART_FIRST_S
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._say(
            f"{child.name} {ended}; starting it again in {child.delay_s:g} s (see {self._logs / (child.name + '.log')})"
        )
        child.restart_due_at = now + child.delay_s
        child.delay_s = min(child.delay_s * 2, RESTART_LAST_S)

    def running(self, name: str) -> bool:
        """Whether the child's process lives at this moment."""
        with self._lock:
            child = self._children.get(name)
            return child is not None and child.process is not None and child.process.poll() is None

    def restarts(self, name: str) -> int:
        """How often the child had to be started again."""
        with self._lock:
            return self._children[name].restarts if name in self._children else 0

    def pid(self, name: str) -> int | None:
        """Process id of a child that lives, for tests that end one on purpose."""
        with self._lock:
            child = self._children.get(name)
            return child.process.pid if child and child.process and child.process.poll() is None else None

    # ---- stopping ------------------------------------------------------------------------------------------------
    def stop(self, names: Sequence[str] | None = None) -> None:
        """SIGTERM to every child's group, SIGKILL to what is left after the grace; returns when all are gone."""
        if names is None:
            self._stopping.set()
            if self._watcher is not None and self._watcher is not threading.current_thread():
                self._watcher.join(timeout=5)
        with self._lock:
            chosen = [child for name, child in self._children.items() if names is None or name in names]
            processes = {child.name: child.process for child in chosen if child.process is not None}
            for process in processes.values():
                if process.poll() is None:
                    _signal_group(process.pid, signal.SIGTERM)
            until = time.monotonic() + STOP_GRACE_S
            for name, process in processes.items():
                try:
                    process.wait(timeout=max(until - time.monotonic(), 0.05))
                except subprocess.TimeoutExpired:
                    self._say(f"{name} did not end within {STOP_GRACE_S:g} s; killing it")
                _signal_group(process.pid, signal.SIGKILL)
                process.wait()
            for child in chosen:
                self._children.pop(child.name)
            if names is None and self._nursery is not None:
                self._nursery.close()
                self._foreign.pop("nursery", None)
            self._write_record()

    def forget(self, name: str) -> None:
        """Takes an adopted process off the record once its own starter has stopped it."""
        with self._lock:
            self._foreign.pop(name, None)
            self._write_record()


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signals a whole process group; a group that is gone is what was wanted."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def stop_left_behind(run_folder: Path, say: Callable[[str], None]) -> int:
    """Stops what a killed supervisor left running; returns how many processes that were."""
    record = run_folder / "children.json"
    if not record.exists():
        return 0
    try:
        rows = json.loads(record.read_text())
    except ValueError:
        # Cut off while being written: nothing in it can be trusted, and the ports will tell if something still runs.
        record.unlink()
        return 0
    services: list[psutil.Process] = []
    servers: list[psutil.Process] = []
    for row in rows:
        try:
            process = psutil.Process(row["pid"])
            if abs(process.create_time() - row["created"]) < START_TIME_TOLERANCE_S:
                (servers if row["name"] in SERVERS else services).extend([process, *process.children(recursive=True)])
        except psutil.NoSuchProcess:
            continue
    left = [*dict.fromkeys([*services, *servers])]
    # A forked service is the nursery's child and a process on record: once is enough. Servers end last, as always.
    for group in ([*dict.fromkeys(services)], servers):
        for process in group:
            with contextlib.suppress(psutil.NoSuchProcess):
                # PostgreSQL reads SIGINT as "fast shutdown"; SIGTERM would wait for every client to leave.
                process.send_signal(signal.SIGINT if process.name().startswith("postgres") else signal.SIGTERM)
        _, alive = psutil.wait_procs(group, timeout=STOP_GRACE_S)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
    record.unlink(missing_ok=True)
    if left:
        say(f"stopped {len(left)} processes that an earlier run had left behind")
    return len(left)
