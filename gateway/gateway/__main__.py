"""The gateway's processes and commands: `python -m gateway serve | grpc | run | migrate | create-tenant | api-key`."""

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading

log = logging.getLogger("gateway")

WATCH_S = 0.5
STOP_S = 15.0
EMAIL_VARIABLE = "QUITTANCE_ADMIN_EMAIL"
PASSWORD_VARIABLE = "QUITTANCE_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable
# IdentityService answers a few calls a minute: one process of it is enough, and its role has another name here.
PROCESSES_VARIABLE = "QUITTANCE_GATEWAY_GRPC_PROCESSES"


def serve() -> int:
    """HTTP: web app and API, by granian; worker processes are spawned unless a setting says fork."""
    import multiprocessing

    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    from gateway.config import Settings

    settings = Settings()
    multiprocessing.set_start_method(settings.http_start_method, force=True)
    # Granian advises two threads per core, for threads that compute; these mostly wait for services.
    logging.getLogger("_granian").addFilter(lambda record: "Python threads" not in record.getMessage())
    Granian(
        "gateway.wsgi:application",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.http_host,
        port=settings.port,
        workers=settings.http_workers,
        blocking_threads=settings.http_threads,
        backpressure=settings.http_threads * 4,
        respawn_failed_workers=True,
        workers_kill_timeout=int(settings.drain_s) + 5,
        websockets=False,
        log_level=LogLevels.warning,
    ).serve()
    return 0


def grpc_role(arguments: list[str]) -> int:
    """The kit's roles of IdentityService."""
    os.environ[PROCESSES_VARIABLE] = "1"
    from gateway.service import DEFINITION
    from kit.process import main as kit_main

    kit_main(DEFINITION, arguments)
    return 0


def run() -> int:
    """Both in one process tree: gRPC here, HTTP in a child; ends as a whole when either ends."""
    http = subprocess.Popen([sys.executable, "-m", "gateway", "serve"])
    ended_early = threading.Event()

    def watch() -> None:
        http.wait()
        ended_early.set()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="http", daemon=True).start()
    code = 1
    try:
        grpc_role(["serve"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        failed = ended_early.is_set()
        with contextlib.suppress(ProcessLookupError):
            http.terminate()
        try:
            http.wait(STOP_S)
        except subprocess.TimeoutExpired:
            http.kill()
    return 1 if failed else code


def create_tenant(parsed: argparse.Namespace) -> int:
    """Makes a tenant and its administrator where they are missing; prints what there is as JSON."""
    import json

    from gateway import usecases
    from gateway.config import Settings
    from gateway.passwords import passwords
    from kit.db import Database
    from kit.errors import Refused

    settings = Settings()
    database = Database(settings)
    email = parsed.admin_email or os.environ.get(EMAIL_VARIABLE, "")
    # By the environment rather than an argument: a list of processes shows arguments to everybody.
    given = parsed.admin_password or os.environ.get(PASSWORD_VARIABLE, "")
    if not email:
        print(f"say whose tenant it is: --admin-email, or {EMAIL_VARIABLE}", file=sys.stderr)
        return 2
    try:
        with database.system_transaction() as session:
            tenant_id, password = usecases.create_tenant(
                session, passwords(settings), parsed.name, email, given, parsed.admin_name
            )
    except Refused as refused:
        print(f"{refused.reason}: {refused.message}", file=sys.stderr)
        return 1
    made = {"tenantId": tenant_id, "adminEmail": email}
    if password and not given:
        made["adminPassword"] = password
    print(json.dumps(made))
    return 0


def api_key(parsed: argparse.Namespace) -> int:
    """Prints one new administrator's key, and nothing else."""
    from gateway import usecases
    from gateway.config import Settings
    from kit.db import Database
    from kit.errors import Refused

    database = Database(Settings())
    try:
        with database.system_transaction() as session:
            secret = usecases.administrators_key(session, parsed.tenant, parsed.name)
    except Refused as refused:
        print(f"{refused.reason}: {refused.message}", file=sys.stderr)
        return 1
    print(secret)
    return 0


def main() -> int:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m gateway")
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("serve", help="HTTP: web app and API")
    roles.add_parser("grpc", help="IdentityService")
    roles.add_parser("run", help="serve and grpc in one process tree")
    roles.add_parser("migrate", help="bring the database to the newest revision")
    tenant = roles.add_parser("create-tenant", help="make a tenant and its administrator where they are missing")
    tenant.add_argument("--name", required=True)
    tenant.add_argument("--admin-email", default="", help=f"else {EMAIL_VARIABLE}")
    tenant.add_argument("--admin-password", default="", help=f"else {PASSWORD_VARIABLE}, else one is made and printed")
    tenant.add_argument("--admin-name", default="Administrator")
    key = roles.add_parser("api-key", help="print one new administrator's key")
    key.add_argument("--tenant", default="", help="name of the tenant; the oldest otherwise")
    key.add_argument("--name", default="command line", help="what the key is for")
    parsed = parser.parse_args()
    match parsed.role:
        case "serve":
            return serve()
        case "grpc":
            return grpc_role(["serve"])
        case "migrate":
            return grpc_role(["migrate"])
        case "run":
            return run()
        case "create-tenant":
            return create_tenant(parsed)
    return api_key(parsed)


if __name__ == "__main__":
    sys.exit(main())
