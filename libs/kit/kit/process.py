"""The processes of a service: `python -m ledger serve | consume | relay | work | beat | migrate | run`; for operators,
`parked` and `outbox`."""

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from sqlalchemy import text

from kit import grpc_client, jobs, migrations, operators, telemetry
from kit.bus import Consumer
from kit.db import Database
from kit.grpc_server import Server
from kit.relay import Relay
from kit.service import Runtime, ServiceDefinition
from kit.settings import PREFIX, variable_part

__all__ = ["Runtime", "ServiceDefinition", "main"]

log = logging.getLogger(__name__)

DATABASE_WAIT_S = 60.0
READINESS_S = 5.0
# After SIGTERM each role has this much longer than its calls have to drain.
JOIN_MARGIN_S = 10.0
# Set for the children of `serve` with several processes, so that they do not outlive a parent that was killed.
SUPERVISOR_VARIABLE = "QUITTANCE_SUPERVISOR_PID"

Role = Callable[[ServiceDefinition, Runtime, threading.Event], None]


def _serve(definition: ServiceDefinition, runtime: Runtime, stop: threading.Event) -> None:
    server = definition.server(runtime)
    server.start()
    _watch_readiness(definition, runtime, server, stop)
    server.stop()


def _watch_readiness(definition: ServiceDefinition, runtime: Runtime, server: Server, stop: threading.Event) -> None:
    """Ready means: the database answers and has at least the revision that this code was made for."""
    wanted = migrations.head(definition.package) if definition.metadata is not None else None
    while not stop.wait(READINESS_S if _is_ready(runtime, wanted, server) else 0.5):
        continue


def _is_ready(runtime: Runtime, wanted: str | None, server: Server) -> bool:
    is_ready = runtime.database.ping()
    if is_ready and wanted is not None:
        with runtime.database.engine.connect() as connection:
            exists = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar()
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if exists else None
        # A newer revision than ours is fine: the code of yesterday runs on the schema of today.
        is_ready = found is not None and found >= wanted
        if not is_ready:
            log.warning("the database is at revision %s, this code needs %s: run migrate", found, wanted)
    server.set_ready(is_ready)
    return is_ready


def _serve_many(definition: ServiceDefinition, runtime: Runtime, stop: threading.Event) -> None:
    """Several server processes on one port (SO_REUSEPORT), started anew rather than forked."""
    count = runtime.settings.grpc_processes
    if runtime.settings.grpc_port == 0:
        raise LookupError("several server processes need a fixed grpc_port")
    environment = os.environ | {
        f"{PREFIX}{variable_part(definition.name)}_GRPC_PROCESSES": "1",
        f"{PREFIX}{variable_part(definition.name)}_GRPC_SHARE_PORT": "true",
        SUPERVISOR_VARIABLE: str(os.getpid()),
    }
    children = [
        subprocess.Popen([sys.executable, "-m", definition.package, "serve"], env=environment)  # noqa: S603
        for _ in range(count)
    ]
    try:
        while not stop.wait(0.5):
            ended = [child for child in children if child.poll() is not None]
            if ended:
                raise RuntimeError(f"a server process ended with {ended[0].returncode}")
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            child.wait()


def _consume(definition: ServiceDefinition, runtime: Runtime, stop: threading.Event) -> None:
    if definition.handlers:
        asyncio.run(Consumer(definition.inbox(runtime)).run(stop))
    else:
        stop.wait()


def _relay(definition: ServiceDefinition, runtime: Runtime, stop: threading.Event) -> None:
    async def work() -> None:
        await Relay(runtime.database, definition.name).run(stop)

    asyncio.run(work())


def _beat(definition: ServiceDefinition, runtime: Runtime, stop: threading.Event) -> None:
    """Asks for scheduled jobs and finds dropped ones. More than one of it does no harm."""
    ticked_at = swept_at = float("-inf")
    settings = runtime.settings
    while not stop.is_set():
        try:
            if definition.schedules and time.monotonic() - ticked_at >= settings.beat_tick_s:
                jobs.tick(runtime.database, definition.schedules)
                ticked_at = time.monotonic()
            if time.monotonic() - swept_at >= settings.job_sweep_s:
                _sweep(runtime.database)
                swept_at = time.monotonic()
        except Exception as error:  # noqa: BLE001 - the next round tries again
            log.warning("beat failed; going on: %s", error)
        stop.wait(min(settings.beat_tick_s, settings.job_sweep_s))


def _sweep(database: Database) -> None:
    for tenant_id, job_id in jobs.sweep(database):
        jobs.wake(database, tenant_id, job_id)


def _work_in_threads(definition: ServiceDefinition, runtime: Runtime, stop: threading.Event) -> None:
    handlers = jobs.all_handlers(definition.jobs, definition.schedules)
    if not handlers:
        stop.wait()
        return
    from kit.worker import ThreadWorker

    ThreadWorker(runtime, handlers).run(stop)


def _work(definition: ServiceDefinition, runtime: Runtime) -> None:
    """The worker as a process of its own: Celery handles its signals and, with prefork, its children."""
    from kit import worker

    handlers = jobs.all_handlers(definition.jobs, definition.schedules)
    worker.run_process(runtime, handlers)


def _migrate(definition: ServiceDefinition, runtime: Runtime) -> None:
    settings = runtime.settings
    if not settings.migration_database_url:
        raise SystemExit(f"{PREFIX}{variable_part(definition.name)}_MIGRATION_DATABASE_URL is not set")
    import psycopg

    until = time.monotonic() + DATABASE_WAIT_S
    while True:
        try:
            psycopg.connect(settings.migration_database_url, connect_timeout=5).close()
            break
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
    migrations.upgrade(definition.package, settings.migration_database_url)
    log.info("migrated to %s", migrations.head(definition.package))


def _operate(definition: ServiceDefinition, arguments: list[str]) -> int:
    operators.parser(definition.package).parse_args(arguments)  # --help and mistakes need no settings.
    settings = definition.load_settings()
    telemetry.setup(settings)
    return operators.run(definition.inbox(Runtime(settings, Database(settings))), definition.package, arguments)


THREAD_ROLES: dict[str, Role] = {
    "serve": _serve,
    "consume": _consume,
    "relay": _relay,
    "work": _work_in_threads,
    "beat": _beat,
}


def _run_roles(definition: ServiceDefinition, runtime: Runtime, roles: dict[str, Role]) -> int:
    """Runs roles as threads until SIGTERM or until one of them fails; 0 when it was told to stop."""
    stop = threading.Event()
    failed: list[str] = []

    def body(name: str, role: Role) -> None:
        try:
            role(definition, runtime, stop)
            if not stop.is_set():
                raise RuntimeError("ended by itself")
        except BaseException:
            log.exception("%s failed", name)
            failed.append(name)
            stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threads = [threading.Thread(target=body, args=(name, role), name=name, daemon=True) for name, role in roles.items()]
    for thread in threads:
        thread.start()
    probed = _health_server(runtime) if "serve" not in roles and runtime.settings.health_port else None
    # A bare wait() would not let signals in on every platform.
    supervisor = int(os.environ.get(SUPERVISOR_VARIABLE, "0"))
    while not stop.wait(0.5):
        if supervisor and os.getppid() != supervisor:
            log.warning("the process that started this one is gone")
            stop.set()
    log.info("stopping")
    if probed is not None:
        probed.stop(0)
    until = time.monotonic() + runtime.settings.drain_s + runtime.settings.endpoint_removal_s + JOIN_MARGIN_S
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.1))
        if thread.is_alive():
            log.error("%s did not end in time", thread.name)
    grpc_client.close_all()
    runtime.database.close()
    return 1 if failed else 0


def _health_server(runtime: Runtime) -> grpc.Server:
    """Answers probes of a role that serves no calls: this process is alive."""
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"{runtime.settings.grpc_host}:{runtime.settings.health_port}")
    server.start()
    return server


def _extra_role(work: Callable[..., None]) -> Role:
    def role(definition: ServiceDefinition, runtime: Runtime, stop: threading.Event) -> None:
        work(runtime, stop)

    return role


def main(definition: ServiceDefinition, arguments: list[str] | None = None) -> None:
    """Runs the role named on the command line and exits."""
    roles: dict[str, Role] = dict(THREAD_ROLES)
    for name, extra in definition.extra_processes.items():
        roles[name] = _extra_role(extra)
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in operators.COMMANDS:
        sys.exit(_operate(definition, arguments))
    parser = argparse.ArgumentParser(
        prog=f"python -m {definition.package}",
        epilog="For operators: parked list|show|replay|discard and outbox replay, each with --help.",
    )
    parser.add_argument("role", choices=[*roles, "migrate", "run"])
    parser.add_argument("--without", action="append", default=[], help="run: every role but this one (repeatable)")
    parsed = parser.parse_args(arguments)
    settings = definition.load_settings()
    telemetry.setup(settings)
    runtime = Runtime(settings, Database(settings))
    if parsed.role == "migrate":
        _migrate(definition, runtime)
        sys.exit(0)
    if parsed.role == "work":
        _work(definition, runtime)
        sys.exit(0)
    if parsed.role == "run":
        sys.exit(_run_roles(definition, runtime, {name: roles[name] for name in roles if name not in parsed.without}))
    if parsed.role == "serve" and settings.grpc_processes > 1:
        roles["serve"] = _serve_many
    sys.exit(_run_roles(definition, runtime, {parsed.role: roles[parsed.role]}))
