"""A platform of its own for tests and measurements: `make up` in a scratch folder on free ports, and stopped again.

with Platform.started() as platform:
    platform.get("/v1/accounts")
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from stack import runner
from stack.layout import LOOPBACK, PORTS, read_layout, setting_prefix
from stack.supervisor import START_TIME_TOLERANCE_S

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.1


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; held together while they are found, so that all differ."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind((LOOPBACK, 0))
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()


@dataclass(frozen=True)
class Tenant:
    """A group beside the first one: its administrator's sign-in and key."""

    email: str
    password: str
    key: str


class Platform:
    """A running platform: its addresses, an administrator's key, and ways to hurt it."""

    def __init__(self, home: Path, env: Mapping[str, str]):
        self.home = home
        self.env = {**env, "QUITTANCE_HOME": str(home)}
        self.process: subprocess.Popen[bytes] | None = None
        self.gateway_url = self.portal_url = self.mailsink_url = ""
        self._key = ""

    @classmethod
    @contextmanager
    def started(cls, *, sample: bool = False, **env: str) -> Iterator[Platform]:
        """Starts a platform with an empty tenant (or the sample group); everything of it is gone afterwards."""
        home = Path(tempfile.mkdtemp(prefix="quittance-platform-"))
        home.chmod(0o755)  # Where root starts it, the servers run as somebody else.
        ports = {setting: str(port) for (setting, _), port in zip(PORTS.values(), free_ports(len(PORTS)), strict=True)}
        platform = cls(home, {**os.environ, **ports, "QUITTANCE_SAMPLE": "1" if sample else "0", **env})
        try:
            platform.start()
            yield platform
        finally:
            platform.stop()
            shutil.rmtree(home, ignore_errors=True)

    def start(self) -> None:
        """Starts it (again) on the same data and waits until it is ready. Raises RuntimeError with what it said."""
        log = self.home / "up.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stack", "up"],
                env=self.env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        ready = self.home / "run" / "ready.json"
        until = time.monotonic() + START_TIMEOUT_S
        while not (ready.exists() and ready.read_text().endswith("}")):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the platform did not start:\n{log.read_text()[-4000:]}\n{self.logs()}")
            time.sleep(LOOK_EVERY_S)
        told = json.loads(ready.read_text())
        self.gateway_url, self.portal_url, self.mailsink_url = told["gateway"], told["portal"], told["mailsink"]

    def stop(self) -> None:
        """Stops it as Ctrl-C does; kills it, and says so by raising, when it does not end in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def pid_of(self, name: str) -> int:
        """Process id of a service (ledger, import, ...) or server (postgres, nats, valkey) of it."""
        rows = json.loads((self.home / "run" / "children.json").read_text())
        return next(row["pid"] for row in rows if row["name"] == name)

    def kill(self, name: str) -> None:
        """SIGKILL for one process and what it has started; the platform brings it back by itself.

        Raises psutil.NoSuchProcess when it does not live at this moment.
        """
        rows = json.loads((self.home / "run" / "children.json").read_text())
        row = next(row for row in rows if row["name"] == name)
        process = psutil.Process(row["pid"])
        if abs(process.create_time() - row["created"]) > START_TIME_TOLERANCE_S:
            raise psutil.NoSuchProcess(row["pid"], msg="the number belongs to another process by now")
        for victim in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()

    def databases(self) -> dict[str, str]:
        """Address of every service's database as the server's administrator, who sees all tenants' rows."""
        known = json.loads((self.home / "run" / "addresses.json").read_text())
        server = known["servers"]["postgres"].rsplit("/", 1)[0]
        return {service: f"{server}/{app.rsplit('/', 1)[1]}" for service, (_, app) in known["databases"].items()}

    def logs(self, lines: int = 15) -> str:
        """The end of every log, for the message of a failed test."""
        found = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"== {path.name}\n" + "\n".join(path.read_text().splitlines()[-lines:]) for path in found)

    def setting(self, service: str, name: str) -> str:
        """Name of a service's own setting, such as QUITTANCE_LEDGER_LOG_LEVEL."""
        return f"{setting_prefix(service)}_{name}"

    # ---- as a client ---------------------------------------------------------------------------------------------
    @property
    def key(self) -> str:
        """One administrator's key, asked for once, as `make api-key` does."""
        if not self._key:
            command = [sys.executable, "-m", "stack", "api-key"]
            self._key = subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout.strip()
        return self._key

    @property
    def password(self) -> str:
        """The administrator's password."""
        return (self.home / "keys" / "admin-password").read_text().strip()

    def new_tenant(self, name: str, email: str) -> Tenant:
        """Makes another tenant by the gateway's own commands, as an operator does."""
        stack = runner.Stack(read_layout(dict(self.env)), runner.Progress())
        stack.find_running()
        made = json.loads(runner.ask_gateway(stack, "create-tenant", "--name", name, "--admin-email", email))
        return Tenant(email, made["adminPassword"], runner.ask_gateway(stack, "api-key", "--tenant", name))

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A call of the REST API with the administrator's key (another one: headers)."""
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        return httpx.request(method, self.gateway_url + path, headers=headers, **{"timeout": CALL_TIMEOUT_S, **more})

    def get(self, path: str, **query: Any) -> Any:
        """JSON of a GET that must work."""
        answer = self.request("GET", path, params=query)
        assert answer.status_code < 300, f"GET {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()

    def post(self, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """JSON of a POST that must work."""
        answer = self.request("POST", path, json=dict(body or {}), **more)
        assert answer.status_code < 300, f"POST {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()
