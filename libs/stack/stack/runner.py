"""`make up`: from an empty folder to a running platform, and back to nothing on Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO
from urllib.request import urlopen

import psycopg

from kit import embedded
from stack.layout import LOOPBACK, PROCESSES, SERVICES, Layout, Unusable, refuse_taken_ports, setting_prefix
from stack.nursery import Nursery
from stack.supervisor import Supervisor, stop_left_behind

READY_TIMEOUT_S = 120.0
PROBE_EVERY_S = 0.1
DRAIN_S = 6.0
PROBE_TIMEOUT_S = 2.0
WATCH_SERVERS_EVERY_S = 1.0
ADMIN_EMAIL = "admin@example.com"
GROUP_NAME = "Sample group"


class Progress:
    """Lines for a person, each with the seconds since the start."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_at

    def say(self, text: str) -> None:
        with self._lock:
            print(f"[{self.seconds:6.1f} s] {text}", flush=True)


class Stopped(Exception):
    """The person asked to stop while the platform was still starting."""


class Stack:
    """Everything that one `make up` runs."""

    def __init__(self, layout: Layout, progress: Progress):
        self.layout = layout
        self._progress = progress
        self._say = progress.say
        self._servers: dict[str, embedded.Server] = {}
        self._starters: dict[str, Callable[[], embedded.Server]] = {}
        # Set by a signal: whatever is being started stops at its next step.
        self.stopping = threading.Event()
        self._supervisor = Supervisor(layout.run, layout.logs, progress.say, self.stopping)
        self._urls: dict[str, tuple[str, str]] = {}
        self._server_urls: dict[str, str] = {}

    # ---- starting ------------------------------------------------------------------------------------------------
    def forget_earlier_runs(self) -> None:
        """Nothing of a run that was killed counts any more: neither that it was ready, nor what it left running."""
        self._ready_path.unlink(missing_ok=True)
        stop_left_behind(self.layout.run, self._say)

    def start(self) -> None:
        """Starts all in order and returns when everything answers. Raises Unusable when it cannot."""
        self._supervisor.open_nursery(self.layout.env)
        steps = (self._make_keys, self._start_servers, self._provision, self._migrate, self._make_tenant)
        for step in (*steps, self._start_processes):
            step()
            self._go_on()
        self._wait_until_ready()
        threading.Thread(target=self._watch_servers, name="servers", daemon=True).start()

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise Stopped

    @property
    def _ready_path(self) -> Path:
        return self.layout.run / "ready.json"

    @property
    def _addresses_path(self) -> Path:
        return self.layout.run / "addresses.json"

    def declare_ready(self, seconds: float) -> None:
        """Writes down that everything answers, for tools and tests that wait for it."""
        sites = {
            "gateway": self.layout.gateway_url,
            "portal": self.layout.portal_url,
            "mailsink": self.layout.mailsink_url,
        }
        self._ready_path.write_text(json.dumps({**sites, "seconds": round(seconds, 1), "pid": os.getpid()}))

    def find_running(self) -> None:
        """Learns the addresses of the platform that runs here. Raises Unusable when none does."""
        if not self._ready_path.exists():
            raise Unusable("Quittance is not running here: start it with make up, then ask again")
        known = json.loads(self._addresses_path.read_text())
        self._server_urls = known["servers"]
        self._urls = {service: (owner, app) for service, (owner, app) in known["databases"].items()}

    def _make_keys(self) -> None:
        # Imported here: the JOSE library is only wanted on a first start, and every start has 15 s.
        key_paths = {service: self._key_path(service) for service in SERVICES}
        jwks = self.layout.keys / "jwks.json"
        if not jwks.exists() or not all(path.exists() for path in key_paths.values()):
            from kit.auth import generate_signing_key, write_jwks

            for service, path in key_paths.items():
                generate_signing_key(path, service)
            write_jwks(jwks, list(key_paths.values()))
            self._say("keys of the services are made")
        if not self._encryption_key.exists():
            from kit.crypto import generate_key

            generate_key(self._encryption_key)
        if not self._password_path.exists():
            self._password_path.touch(0o600)
            self._password_path.write_text(secrets.token_urlsafe(18) + "\n")

    def _key_path(self, service: str) -> Path:
        return self.layout.keys / f"{service}.jwk.json"

    @property
    def _encryption_key(self) -> Path:
        return self.layout.keys / "encryption.key"

    @property
    def _password_path(self) -> Path:
        return self.layout.keys / "admin-password"

    @property
    def admin_password(self) -> str:
        return self._password_path.read_text().strip()

    def _start_servers(self) -> None:
        data, ports = self.layout.data, self.layout.ports
        external = {"postgres": self.layout.database_url, "nats": self.layout.nats_url, "valkey": self.layout.redis_url}
        self._server_urls = {name: url for name, url in external.items() if url}
        if not self.layout.database_url:
            self._starters["postgres"] = lambda: embedded.postgres(data / "postgres", ports["postgres"])
        if not self.layout.nats_url:
            self._starters["nats"] = lambda: embedded.nats(data / "nats", ports["nats"])
        if not self.layout.redis_url:
            self._starters["valkey"] = lambda: embedded.valkey(data / "valkey", ports["redis"])
        with ThreadPoolExecutor(max_workers=3) as pool:
            for name, server in zip(
                self._starters, pool.map(lambda starter: starter(), self._starters.values()), strict=True
            ):
                self._keep_server(name, server)
        if self._servers:
            self._say(f"{', '.join(self._servers)} answer")

    def _keep_server(self, name: str, server: embedded.Server) -> None:
        self._servers[name] = server
        self._server_urls[name] = server.url
        self._supervisor.adopt(name, server.process.pid)

    def _watch_servers(self) -> None:
        """Starts an embedded server again that died; its data are on disk and its port stays."""
        while not self.stopping.wait(WATCH_SERVERS_EVERY_S):
            for name, server in list(self._servers.items()):
                if server.is_running or self.stopping.is_set():
                    continue
                self._say(f"{name} ended with code {server.process.returncode}; starting it again")
                try:
                    self._keep_server(name, self._starters[name]())
                except (RuntimeError, OSError) as error:
                    self._say(f"{name} did not come back: {error}")

    def _provision(self) -> None:
        for service in SERVICES:
            self._urls[service] = embedded.provision(self._server_urls["postgres"], service)
        self._addresses_path.touch(0o600)
        self._addresses_path.write_text(json.dumps({"servers": self._server_urls, "databases": self._urls}))

    def _migrate(self) -> None:
        """Brings every database to the newest revision; what is known to be there is only looked at."""
        record = self.layout.run / "migrated.json"
        known = json.loads(record.read_text()) if record.exists() else {}
        due = [service for service in SERVICES if not self._is_migrated(service, known.get(service))]
        if not due:
            return
        from kit import migrations

        for service in due:
            package, (owner_url, _) = SERVICES[service], self._urls[service]
            self._go_on()
            started_at = time.monotonic()
            migrations.upgrade(package, owner_url)
            known[service] = {"digest": _migrations_digest(package), "revision": _revision(owner_url)}
            record.write_text(json.dumps(known))
            self._say(f"database of {service} is migrated ({time.monotonic() - started_at:.1f} s)")

    def _is_migrated(self, service: str, known: dict[str, str] | None) -> bool:
        if known is None or known["digest"] != _migrations_digest(SERVICES[service]):
            return False
        return _revision(self._urls[service][0]) == known["revision"]

    def _make_tenant(self) -> None:
        """The group of this installation and its administrator, once."""
        made = self.layout.data / "tenant-made"
        if made.exists():
            return
        command = ["create-tenant", "--name", GROUP_NAME, "--admin-email", ADMIN_EMAIL]
        ask_gateway(self, *command, QUITTANCE_ADMIN_PASSWORD=self.admin_password)
        made.touch()

    def _start_sink(self) -> None:
        if self.layout.smtp_host:
            return
        ports = self.layout.ports
        command = [
            sys.executable,
            "-m",
            "stack.mailsink",
            "--folder",
            str(self.layout.mail),
            "--smtp-port",
            str(ports["smtp"]),
        ]
        command += ["--http-port", str(ports["mailsink"]), "--app-url", self.layout.gateway_url]
        self._supervisor.start("mailsink", command, self.layout.env)

    def environment(self, service: str) -> dict[str, str]:
        """All that a process of a service needs to know: its own secrets, and where the others are."""
        layout, ports = self.layout, self.layout.ports
        prefix = setting_prefix(service)
        files = layout.files / service
        files.mkdir(mode=0o700, exist_ok=True)
        owner_url, app_url = self._urls[service]
        env = dict(layout.env)
        for peer in SERVICES:
            env.setdefault(f"{setting_prefix(peer)}_ADDRESS", f"{LOOPBACK}:{ports['grpc-' + peer]}")
        env |= {
            "PYTHONUNBUFFERED": "1",
            f"{prefix}_DATABASE_URL": app_url,
            f"{prefix}_MIGRATION_DATABASE_URL": owner_url,
            f"{prefix}_SIGNING_KEY_PATH": str(self._key_path(service)),
            f"{prefix}_GRPC_PORT": str(ports["grpc-" + service]),
            "QUITTANCE_GRPC_HOST": LOOPBACK,
            "QUITTANCE_NATS_URL": self._server_urls["nats"],
            "QUITTANCE_REDIS_URL": self._server_urls["valkey"],
            "QUITTANCE_JWKS_URL": f"file://{layout.keys / 'jwks.json'}",
            "QUITTANCE_ENCRYPTION_KEY_PATH": str(self._encryption_key),
            "QUITTANCE_PORT": str(ports["gateway"]),
            "QUITTANCE_PORTAL_PORT": str(ports["portal"]),
            "QUITTANCE_SMTP_PORT": str(ports["smtp"]),
            "QUITTANCE_IMPORT_SFTP_PORT": str(ports["sftp"]),
        }
        # What an operator has set himself stays as it is.
        defaults = {
            "QUITTANCE_FILE_STORE_URL": f"file://{files}",
            # The gateway and the portal serve the import service's documents by signed addresses.
            "QUITTANCE_DOCUMENT_STORE_URL": env.get("QUITTANCE_IMPORT_FILE_STORE_URL")
            or env.get("QUITTANCE_FILE_STORE_URL")
            or f"file://{layout.files / 'import'}",
            "QUITTANCE_PUBLIC_URL": layout.gateway_url,
            "QUITTANCE_PORTAL_URL": layout.portal_url,
            # Nobody balances load on one machine: what runs may end within the supervisor's patience.
            "QUITTANCE_DRAIN_S": str(DRAIN_S),
        }
        if Nursery.fits_here():
            defaults |= {"QUITTANCE_HTTP_START_METHOD": "fork", "QUITTANCE_WEB_START_METHOD": "fork"}
        if not layout.smtp_host:
            defaults |= {"QUITTANCE_SMTP_HOST": LOOPBACK, "QUITTANCE_SMTP_SECURITY": "none"}
            defaults |= {"QUITTANCE_MAILSINK_URL": layout.mailsink_url, "QUITTANCE_MAIL_SINK_URL": layout.mailsink_url}
        return {**defaults, **env}

    def _start_processes(self) -> None:
        self._start_sink()
        for service in SERVICES:
            for name, module, arguments in PROCESSES[service]:
                try:
                    self._supervisor.start_module(name, module, arguments, self.environment(service))
                except InterruptedError:
                    raise Stopped from None

    # ---- readiness -----------------------------------------------------------------------------------------------
    def _wait_until_ready(self) -> None:
        """Waits until every service listens and the two web sites say that they are ready."""
        until = time.monotonic() + READY_TIMEOUT_S
        waiting: dict[str, Callable[[], bool]] = {}
        for service in SERVICES:
            waiting[service] = _listens(self.layout.ports["grpc-" + service])
        for service, url in (("portal-web", self.layout.portal_url), ("gateway-web", self.layout.gateway_url)):
            waiting[service] = _says_ready(f"{url}/healthz")
        while waiting:
            for service, probe in list(waiting.items()):
                if probe():
                    waiting.pop(service)
                    self._say(f"{service} is ready")
            if self._supervisor_gives_up(waiting) or time.monotonic() > until:
                names = ", ".join(waiting)
                raise Unusable(f"{names} did not become ready; the reason is in {self.layout.logs}/<name>.log")
            self.stopping.wait(PROBE_EVERY_S)
            self._go_on()

    def _supervisor_gives_up(self, waiting: dict[str, Callable[[], bool]]) -> bool:
        """A service that cannot even start three times will not start the fourth time either."""
        return any(self._supervisor.restarts(service) >= 3 for service in waiting)

    # ---- stopping ------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Services first, then the servers they need; returns when nothing of ours runs."""
        self.stopping.set()
        self._ready_path.unlink(missing_ok=True)
        self._supervisor.stop()
        for name in ("valkey", "nats", "postgres"):
            server = self._servers.get(name)
            if server is not None:
                server.stop()
                self._supervisor.forget(name)


def _migrations_digest(package: str) -> str:
    """Changes with any migration of a package; found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Unusable(f"the package {package} is not installed: run make again")
    folder = Path(next(iter(spec.submodule_search_locations))) / "migrations"
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _revision(url: str) -> str | None:
    """The revision a database is at; None for an empty one."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if found is None or found[0] is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])


def _listens(port: int) -> Callable[[], bool]:
    def probe() -> bool:
        with socket.socket() as connection:
            connection.settimeout(PROBE_TIMEOUT_S)
            return connection.connect_ex((LOOPBACK, port)) == 0

    return probe


def _says_ready(url: str) -> Callable[[], bool]:
    def probe() -> bool:
        try:
            with urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False

    return probe


@contextlib.contextmanager
def only_one(layout: Layout) -> Iterator[None]:
    """Holds the installation for this process; a second `make up` is told where the first one is."""
    path = layout.run / "supervisor.pid"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip()
            raise Unusable(
                f"Quittance already runs here (process {pid}): use it, or stop it there with Ctrl-C first"
            ) from None
        _write_pid(lock)
        yield


def _write_pid(lock: IO[str]) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def up(layout: Layout) -> int:
    """Runs the platform until Ctrl-C or SIGTERM; returns the exit code."""
    progress = Progress()
    layout.make_folders()
    stack = Stack(layout, progress)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stack.stopping.set())
    with only_one(layout):
        stack.forget_earlier_runs()
        refuse_taken_ports(layout)
        start = Start(stack, progress)
        try:
            # In a thread of its own, so that Ctrl-C is heard at any moment of it.
            start.start()
            stack.stopping.wait()
            progress.say("stopping")
        finally:
            start.join()
            stack.stop()
        progress.say(f"everything is stopped; the data are kept in {layout.home}")
    if start.error is not None and not isinstance(start.error, Stopped):
        raise start.error
    return 0


class Start(threading.Thread):
    """Everything from the first server to the welcome; what went wrong is in error."""

    def __init__(self, stack: Stack, progress: Progress):
        super().__init__(name="start")
        self._stack = stack
        self._progress = progress
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._stack.start()
            _load_sample(self._stack, self._progress)
            self._stack.declare_ready(self._progress.seconds)
            _welcome(self._stack, self._progress)
        except BaseException as error:  # noqa: BLE001  (raised again by up, after everything is stopped)
            self.error = error
            self._stack.stopping.set()


def _load_sample(stack: Stack, progress: Progress) -> None:
    """Loads the sample group once; QUITTANCE_SAMPLE=0 leaves the tenant empty."""
    done = stack.layout.data / "sample-loaded"
    if done.exists() or stack.layout.env.get("QUITTANCE_SAMPLE", "1") in ("0", "no", "off"):
        return
    from stack.load import load

    load(stack.layout.gateway_url, make_api_key(stack), progress.say, stack.stopping)
    if stack.stopping.is_set():
        raise Stopped
    done.touch()


def ask_gateway(stack: Stack, *words: str, **env: str) -> str:
    """What a command of the gateway prints; it works on the gateway's database, running or not."""
    command = [sys.executable, "-m", "gateway", *words]
    env = {**stack.environment("gateway"), **env}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unusable(f"the gateway refused {words[0]}:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def make_api_key(stack: Stack) -> str:
    """One key of an administrator."""
    return ask_gateway(stack, "api-key")


def api_key(layout: Layout) -> int:
    """Prints one key and nothing else; needs the platform to be up, because the key lies in its database."""
    stack = Stack(layout, Progress())
    stack.find_running()
    print(make_api_key(stack))
    return 0


def _welcome(stack: Stack, progress: Progress) -> None:
    layout = stack.layout
    lines = [
        "",
        f"  Quittance is ready after {progress.seconds:.1f} s.",
        "",
        f"  Web app and API   {layout.gateway_url}",
        f"  Sign in as        {ADMIN_EMAIL}",
        f"  with              {stack.admin_password}",
        f"  Customer portal   {layout.portal_url} (opened by the links in messages)",
        f"  SFTP for files    {LOOPBACK}:{layout.ports['sftp']} (accounts: Imports, Sources)",
        f"  API, try it       {layout.gateway_url}/docs   key: make api-key",
        *([] if layout.smtp_host else [f"  Mail sent here    {layout.mailsink_url} (nothing leaves this machine)"]),
        "",
        "  Try first: open the agenda, take its first account, send the proposed e-mail, then open it in the mail",
        "  sink and follow its link as the customer would: promise a date, or dispute an item.",
        "",
        f"  Logs are in {layout.logs}. Ctrl-C stops everything; the data stay.",
        "",
    ]
    print("\n".join(lines), flush=True)
