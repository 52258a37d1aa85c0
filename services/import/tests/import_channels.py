"""What tests of channels share: sources over gRPC, servers on loopback, other services' doors in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

from importer.channels.doors import Doors
from importer.channels.inbox import Inbox
from kit import grpc_client
from quittance.gateway.v1 import identity_service_pb2 as identity_pb
from quittance.gateway.v1 import identity_service_pb2_grpc as identity_grpc
from quittance.importer.v1 import source_service_pb2 as pb
from quittance.notification.v1 import internal_mail_service_pb2 as mail_pb
from quittance.notification.v1 import internal_mail_service_pb2_grpc as mail_grpc

TIMEOUT_S = 10
HEADER = "Customer;Name;Invoice No;Invoice Date;Due Date;Currency;Amount;Paid on"


def rows(count: int, start: int = 1) -> str:
    """A readable file of so many items."""
    lines = [
        f"C{number % 4};Name {number % 4};R{number};13/03/2026;20/04/2026;EUR;{number}0,50;"
        for number in range(start, start + count)
    ]
    return "\n".join([HEADER, *lines]) + "\n"


class Neighbours(mail_grpc.InternalMailServiceServicer, identity_grpc.IdentityServiceServicer):
    """Notification and gateway: keeps mails by purpose, knows users."""

    def __init__(self) -> None:
        self.mails: dict[str, Any] = {}
        self.users: list[identity_pb.User] = []

    def SendInternalMail(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.mails.setdefault(request.purpose_key, request)
        return mail_pb.SendInternalMailResponse(mail_id=request.purpose_key, state="QUEUED")

    def ListUsers(self, request: Any, context: grpc.ServicerContext) -> Any:
        return identity_pb.ListUsersResponse(users=self.users)


@contextlib.contextmanager
def neighbours(monkeypatch: Any) -> Iterator[Neighbours]:
    """Both on a real socket."""
    fake = Neighbours()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    mail_grpc.add_InternalMailServiceServicer_to_server(fake, server)
    identity_grpc.add_IdentityServiceServicer_to_server(fake, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    monkeypatch.setenv("QUITTANCE_NOTIFICATION_ADDRESS", address)
    monkeypatch.setenv("QUITTANCE_GATEWAY_ADDRESS", address)
    try:
        yield fake
    finally:
        server.stop(None)
        grpc_client.close_all()


def add_source(stub: Any, name: str, kind: str, secrets: dict[str, str] | None = None, **said: Any) -> Any:
    """A source of FR01 that applies what it gets; the whole answer."""
    draft = {"entity_code": "FR01", "apply": True, "enabled": True, **said}
    request = pb.CreateSourceRequest(
        source=pb.SourceDraft(name=name, kind=pb.SourceKind.Value(f"SOURCE_KIND_{kind}"), **draft),
        secrets=pb.SourceSecrets(**(secrets or {})),
    )
    return stub.CreateSource(request, timeout=TIMEOUT_S)


class Desk:
    """The inbox and the servers of a test."""

    def __init__(self, runtime: Any) -> None:
        self.inbox = Inbox(runtime)
        self.doors = Doors(runtime, self.inbox)

    def look(self) -> int:
        """One look through all folders."""
        return self.inbox.look()


@contextlib.contextmanager
def sftp_server(desk: Desk) -> Iterator[int]:
    """The real SFTP server on a free port."""
    from importer.channels.sftp import SftpServer

    server = SftpServer(desk.doors)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


@contextlib.contextmanager
def ftps_server(desk: Desk) -> Iterator[int]:
    """The real FTPS server on a free port."""
    from importer.channels.ftps import FtpsServer

    server = FtpsServer(desk.doors)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
