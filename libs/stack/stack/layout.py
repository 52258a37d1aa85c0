"""What runs where on one machine: services, ports, folders and the environment of every process.

Everything can be moved by environment variables; nothing listens on anything but the loopback address.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = "127.0.0.1"

# The order is the order of starting: those with web sites take longest, then those that others wait for.
SERVICES: dict[str, str] = {
    "gateway": "gateway",
    "portal": "portal",
    "ledger": "ledger",
    "import": "importer",
    "scenario": "scenario",
    "notification": "notification",
    "dispute": "dispute",
    "credit-risk": "credit_risk",
    "reporting": "reporting",
}

# Processes of each service as (name, module, arguments). The web sites run beside what `run` would start them in,
# because both can then be forked from what is loaded already.
PROCESSES: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    service: ((service, package, ("run",)),) for service, package in SERVICES.items()
} | {
    "gateway": (("gateway-web", "gateway", ("serve",)), ("gateway", "gateway", ("grpc",))),
    "portal": (("portal-web", "portal.server", ()), ("portal", "portal", ("run", "--without", "web"))),
}

# Name of the port -> (setting that moves it, default).
PORTS: dict[str, tuple[str, int]] = {
    "gateway": ("QUITTANCE_PORT", 8080),
    "portal": ("QUITTANCE_PORTAL_PORT", 8081),
    "mailsink": ("QUITTANCE_MAILSINK_PORT", 8082),
    "smtp": ("QUITTANCE_SMTP_PORT", 8025),
    "sftp": ("QUITTANCE_IMPORT_SFTP_PORT", 8022),
    "postgres": ("QUITTANCE_POSTGRES_PORT", 8432),
    "nats": ("QUITTANCE_NATS_PORT", 8422),
    "redis": ("QUITTANCE_REDIS_PORT", 8379),
    "grpc-import": ("QUITTANCE_IMPORT_GRPC_PORT", 9101),
    "grpc-ledger": ("QUITTANCE_LEDGER_GRPC_PORT", 9102),
    "grpc-scenario": ("QUITTANCE_SCENARIO_GRPC_PORT", 9103),
    "grpc-notification": ("QUITTANCE_NOTIFICATION_GRPC_PORT", 9104),
    "grpc-portal": ("QUITTANCE_PORTAL_GRPC_PORT", 9105),
    "grpc-dispute": ("QUITTANCE_DISPUTE_GRPC_PORT", 9106),
    "grpc-credit-risk": ("QUITTANCE_CREDIT_RISK_GRPC_PORT", 9107),
    "grpc-reporting": ("QUITTANCE_REPORTING_GRPC_PORT", 9108),
    "grpc-gateway": ("QUITTANCE_GATEWAY_GRPC_PORT", 9109),
}


class Unusable(Exception):
    """The machine is not as it must be; the message is one line and says what to do."""


def setting_prefix(service: str) -> str:
    """QUITTANCE_CREDIT_RISK for credit-risk: what a setting of one service starts with."""
    return "QUITTANCE_" + service.upper().replace("-", "_")


@dataclass(frozen=True)
class Layout:
    """Folders and ports of one installation."""

    home: Path
    ports: dict[str, int]
    env: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def mail(self) -> Path:
        return self.home / "mail"

    @property
    def files(self) -> Path:
        return self.home / "files"

    @property
    def private_folders(self) -> tuple[Path, ...]:
        return (self.logs, self.keys, self.run, self.mail, self.files)

    @property
    def database_url(self) -> str | None:
        """Administrator's URL of a PostgreSQL that somebody else runs; None: the embedded one."""
        return self.env.get("QUITTANCE_DATABASE_ADMIN_URL") or None

    @property
    def nats_url(self) -> str | None:
        return self.env.get("QUITTANCE_NATS_URL") or None

    @property
    def redis_url(self) -> str | None:
        return self.env.get("QUITTANCE_REDIS_URL") or None

    @property
    def smtp_host(self) -> str | None:
        """A mail server that somebody else runs; None: what is sent ends in the sink."""
        return self.env.get("QUITTANCE_SMTP_HOST") or None

    @property
    def gateway_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['gateway']}"

    @property
    def portal_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['portal']}"

    @property
    def mailsink_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['mailsink']}"

    def make_folders(self) -> None:
        """Makes what is missing; only the owner may look in, because keys and customers' data lie there."""
        # Root starts the servers as another user, who must be able to walk through (not look) to the data.
        walk = 0o711 if os.geteuid() == 0 else 0o700
        for folder, mode in {self.home: walk, self.data: walk, **dict.fromkeys(self.private_folders, 0o700)}.items():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)

    def ports_needed(self) -> dict[str, int]:
        """Ports of everything that this start opens itself."""
        external = {
            "postgres": self.database_url,
            "nats": self.nats_url,
            "redis": self.redis_url,
            "smtp": self.smtp_host,
            "mailsink": self.smtp_host,
        }
        return {name: port for name, port in self.ports.items() if not external.get(name)}


def read_layout(env: dict[str, str] | None = None) -> Layout:
    """The installation that the environment describes; `.quittance/` below the working directory by default.

    Raises: Unusable when a port setting is not a port or two of them are the same.
    """
    env = dict(os.environ if env is None else env)
    ports: dict[str, int] = {}
    for name, (setting, default) in PORTS.items():
        text = env.get(setting, "").strip() or str(default)
        if not text.isdigit() or not 1 <= int(text) <= 65535:
            raise Unusable(f"{setting}={text} is not a port: set it to a number from 1 to 65535")
        ports[name] = int(text)
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port in taken:
            raise Unusable(
                f"{PORTS[taken[port]][0]} and {PORTS[name][0]} are both {port}: give one of them another port"
            )
        taken[port] = name
    home = Path(env.get("QUITTANCE_HOME", "").strip() or ".quittance").resolve()
    return Layout(home, ports, env)


def refuse_taken_ports(layout: Layout) -> None:
    """Raises Unusable with one line per port that another program holds."""
    lines = []
    for name, port in layout.ports_needed().items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the servers do: a port in TIME_WAIT from our own last run is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                setting = PORTS[name][0]
                lines.append(
                    f"port {port} ({name}) is taken: stop what uses it, or choose another with {setting}=<port> make up"
                )
    if lines:
        raise Unusable("\n".join(lines))
