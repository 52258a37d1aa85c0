"""What a service is made of, said once and wired by kit.process."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from sqlalchemy import MetaData

from kit import auth, grpc_client, grpc_server
from kit.context import Caller
from kit.db import Database
from kit.event_log import EventLogRpc
from kit.inbox import Handlers, Inbox
from kit.jobs import JobTable
from kit.settings import ServiceSettings
from quittance.common.v1 import event_log_service_pb2_grpc


class Runtime:
    """What a running service's parts are given: its settings, its database, its peers."""

    def __init__(self, settings: Any, database: Database | None = None) -> None:
        self.settings = settings
        self.database = database or Database(settings)

    @property
    def transaction(self) -> Callable[..., Any]:
        """database.transaction, as servicers like to hold it."""
        return self.database.transaction

    def channel(self, peer: str) -> grpc_client.Channel:
        """The channel to a peer of this platform."""
        return grpc_client.channel(self.settings, peer)


@dataclass
class ServiceDefinition:
    """A service, top to bottom.

    name: "credit-risk"; settings: the class (or an instance) of config.py; metadata: Base.metadata;
    servicers: (add_XServicer_to_server, factory(runtime) -> servicer); handlers, jobs, schedules: the tables of
    consumers.py and tasks.py; extra_processes: role name to fn(runtime, stop: threading.Event);
    texts: French by the English of what its refusals say (texts.py; see kit.texts);
    package: the Python package, when it is not where settings lives.
    """

    name: str
    settings: Any
    metadata: MetaData | None = None
    servicers: Sequence[tuple[Callable[[Any, grpc.Server], None], Callable[[Runtime], Any]]] = ()
    handlers: Handlers = field(default_factory=dict)
    jobs: JobTable = field(default_factory=dict)
    schedules: Mapping[str, Any] = field(default_factory=dict)
    extra_processes: Mapping[str, Callable[..., None]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    package: str = ""

    def __post_init__(self) -> None:
        if not self.package:
            owner = self.settings if isinstance(self.settings, type) else type(self.settings)
            self.package = owner.__module__.split(".")[0]

    def load_settings(self) -> ServiceSettings:
        """The settings of this process, read from the environment when a class was given."""
        settings = self.settings() if isinstance(self.settings, type) else self.settings
        if settings.service_name != self.name:
            raise ValueError(f"settings are those of {settings.service_name}, not of {self.name}")
        return settings

    def register(self, runtime: Runtime, server: grpc.Server) -> None:
        """Adds all servicers, and the event log, to a server."""
        for add_to_server, factory in self.servicers:
            add_to_server(factory(runtime), server)
        event_log_service_pb2_grpc.add_EventLogServiceServicer_to_server(
            EventLogRpc(runtime.database, self.name), server
        )

    def server(self, runtime: Runtime, verify: Callable[[str], Caller] | None = None) -> grpc_server.Server:
        """A server with everything registered, not started."""
        return grpc_server.Server(
            runtime.settings,
            lambda server: self.register(runtime, server),
            verify or auth.Verifier(runtime.settings.jwks_url).verify,
            self.texts,
        )

    def inbox(self, runtime: Runtime) -> Inbox:
        """The applying side of its consumers."""
        return Inbox(runtime.database, self.name, self.handlers)


def settings_class(package: str) -> type[ServiceSettings]:
    """The Settings class of a service's config.py."""
    return importlib.import_module(f"{package}.config").Settings
