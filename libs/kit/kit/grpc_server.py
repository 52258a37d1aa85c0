"""The gRPC server: who may call, with what, for how long; what went wrong comes out as a status clients can use."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry.trace import SpanKind
from psycopg import errors as pg_errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kit import auth, context, telemetry, texts, validation
from kit.db import RETRYABLE_STATES, is_connection_failure, sqlstate
from kit.errors import Code, Refused
from kit.grpc_client import LANGUAGE_KEY, MESSAGE_MAX_BYTES
from kit.settings import ServiceSettings
from quittance.common.v1 import options_pb2

log = logging.getLogger(__name__)

ANYONE = "anyone"
# grpc reports "no deadline" as one in the far future.
DEADLINE_MAX_S = 24 * 3600.0
OPEN_SERVICES = ("/grpc.health.v1.Health/",)

_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    # Clients look the name up again every few minutes, and so find new replicas.
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
    ("grpc.http2.max_ping_strikes", 0),
]


def needed_permission(method: MethodDescriptor) -> str:
    """The permission a method's option names; empty when it has none."""
    return method.GetOptions().Extensions[options_pb2.needs]


def methods_without_permission(descriptors: Iterable[FileDescriptor]) -> list[str]:
    """Full names of the methods in these files that do not say who may call them (there must be none)."""
    return [
        method.full_name
        for file in descriptors
        for service in file.services_by_name.values()
        for method in service.methods
        if not needed_permission(method)
    ]


def _method(path: str) -> MethodDescriptor:
    service_name, _, method_name = path.lstrip("/").rpartition("/")
    return descriptor_pool.Default().FindServiceByName(service_name).methods_by_name[method_name]


def refusal_for(error: BaseException) -> Refused:
    """What a caller is told about an exception; never more than is safe to say."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, DBAPIError):
        state = sqlstate(error)
        if is_connection_failure(error):
            return Refused(Code.UNAVAILABLE, "DATABASE_UNAVAILABLE", "the database cannot be reached")
        if state in RETRYABLE_STATES or isinstance(error.orig, pg_errors.LockNotAvailable):
            return Refused(Code.ABORTED, "CONFLICT", "another change was under way; try again")
        if isinstance(error.orig, pg_errors.QueryCanceled):
            return Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "the time for this call is over")
    if isinstance(error, PoolTimeout):
        return Refused(Code.RESOURCE_EXHAUSTED, "DATABASE_BUSY", "no database connection was free in time")
    return Refused(Code.INTERNAL, "INTERNAL", "something went wrong on our side")


class GuardInterceptor(grpc.ServerInterceptor):
    """Signs in, checks permission, deadline and fields, and turns every exception into a status."""

    def __init__(self, verify: Callable[[str], context.Caller], french: Mapping[str, str] | None = None) -> None:
        self._verify = verify
        self._catalog = texts.Catalog({**texts.FRENCH, **(french or {})})
        self._needs: dict[str, str] = {}

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = continuation(details)
        path = details.method
        if handler is None or path.startswith(OPEN_SERVICES):
            return handler
        needs = self._needs.get(path)
        if needs is None:
            needs = self._needs[path] = needed_permission(_method(path))
        metadata = {item.key: item.value for item in details.invocation_metadata}
        if handler.request_streaming and handler.response_streaming:
            make, inner = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        elif handler.request_streaming:
            make, inner = grpc.stream_unary_rpc_method_handler, handler.stream_unary
        elif handler.response_streaming:
            make, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
        else:
            make, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        guarded = _Guarded(self._verify, self._catalog, path, needs, metadata, inner, handler.request_streaming)
        behaviour = guarded.stream if handler.response_streaming else guarded.single
        return make(behaviour, handler.request_deserializer, handler.response_serializer)


class _Guarded:
    """One call on its way through the guard."""

    def __init__(
        self,
        verify: Callable[[str], context.Caller],
        catalog: texts.Catalog,
        path: str,
        needs: str,
        metadata: dict[str, Any],
        inner: Callable,
        takes_stream: bool,
    ) -> None:
        self._verify, self._path, self._needs, self._metadata = verify, path, needs, metadata
        self._catalog, self._language = catalog, str(metadata.get(LANGUAGE_KEY, ""))
        self._inner, self._takes_stream = inner, takes_stream

    def _admit(self, servicer_context: grpc.ServicerContext) -> tuple[context.Caller, float]:
        remaining_s = servicer_context.time_remaining()
        if remaining_s is None or remaining_s > DEADLINE_MAX_S:
            raise Refused(Code.INVALID_ARGUMENT, "DEADLINE_REQUIRED", "every call says how long it will wait")
        scheme, _, token = str(self._metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(Code.UNAUTHENTICATED, "TOKEN_MISSING", "sign in first")
        caller = self._verify(token.strip())
        if not self._needs or (self._needs != ANYONE and not caller.can(self._needs)):
            raise Refused(
                Code.PERMISSION_DENIED,
                "PERMISSION_MISSING",
                f"this needs the permission {self._needs}",
                permission=self._needs,
            )
        return caller, remaining_s

    def _checked(self, requests: Iterator[Message]) -> Iterator[Message]:
        for request in requests:
            validation.check(request)
            yield request

    def _prepared(self, request: Any) -> Any:
        if self._takes_stream:
            return self._checked(request)
        validation.check(request)
        return request

    def _fail(self, error: Exception, servicer_context: grpc.ServicerContext) -> Refused:
        refused = refusal_for(error)
        if refused.code is Code.INTERNAL:
            log.exception("%s failed", self._path, exc_info=error)
        elif not isinstance(error, Refused):
            log.warning("%s: %s (%s)", self._path, refused, error)
        else:
            log.info("%s refused: %s", self._path, refused)
        return self._catalog.refusal(refused, context.language_of(self._language))

    def _end(self, started: float, code: str) -> None:
        taken_s = time.perf_counter() - started
        telemetry.rpc_seconds.record(taken_s, {"method": self._path, "code": code})
        log.debug("%s %s in %.1f ms", self._path, code, taken_s * 1000)

    def single(self, request: Any, servicer_context: grpc.ServicerContext) -> Any:
        """A call with one answer."""
        started = time.perf_counter()
        with telemetry.span(self._path, carrier=self._metadata, kind=SpanKind.SERVER):
            try:
                caller, remaining_s = self._admit(servicer_context)
                with context.acting_as(caller), context.speaking(self._language), context.deadline_in(remaining_s):
                    answer = self._inner(self._prepared(request), servicer_context)
            except Exception as error:
                if servicer_context.code() is not None:  # The servicer aborted by itself.
                    raise
                refused = self._fail(error, servicer_context)
                self._end(started, refused.code.name)
                refused.abort(servicer_context)
            self._end(started, "OK")
            return answer

    def stream(self, request: Any, servicer_context: grpc.ServicerContext) -> Iterator[Any]:
        """A call whose answer comes in pieces.

        Each piece is made inside one context of its own: a generator would otherwise leave the caller behind in the
        thread between two pieces.
        """
        started = time.perf_counter()
        own = contextvars.copy_context()
        answers = own.run(lambda: iter(self._pieces(request, servicer_context)))
        while True:
            try:
                piece = own.run(next, answers, _END)
            except Exception as error:
                if servicer_context.code() is not None:
                    raise
                refused = own.run(self._fail, error, servicer_context)
                self._end(started, refused.code.name)
                refused.abort(servicer_context)
            if piece is _END:
                self._end(started, "OK")
                return
            yield piece

    def _pieces(self, request: Any, servicer_context: grpc.ServicerContext) -> Iterator[Any]:
        with telemetry.span(self._path, carrier=self._metadata, kind=SpanKind.SERVER):
            caller, remaining_s = self._admit(servicer_context)
            with context.acting_as(caller), context.speaking(self._language), context.deadline_in(remaining_s):
                yield from self._inner(self._prepared(request), servicer_context)


_END = object()


class Server:
    """A gRPC server that drains: NOT_SERVING first, then no new calls, then the last ones end."""

    def __init__(
        self,
        settings: ServiceSettings,
        register: Callable[[grpc.Server], None],
        verify: Callable[[str], context.Caller] | None = None,
        french: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.health = health.HealthServicer(
            experimental_non_blocking=True, experimental_thread_pool=futures.ThreadPoolExecutor(1)
        )
        self._server = grpc.server(
            futures.ThreadPoolExecutor(settings.grpc_threads, thread_name_prefix="rpc"),
            interceptors=[GuardInterceptor(verify or auth.Verifier(settings.jwks_url).verify, french)],
            maximum_concurrent_rpcs=settings.grpc_concurrent_calls,
            options=[*_OPTIONS, ("grpc.so_reuseport", int(settings.grpc_share_port))],
        )
        registered = _Recorder(self._server)
        register(registered)  # type: ignore[arg-type]
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        without = [
            f"{name}/{method}"
            for name, methods in registered.methods.items()
            for method in methods
            if not needed_permission(_method(f"/{name}/{method}"))
        ]
        if without:
            raise LookupError(f"methods that do not say who may call them (option needs): {', '.join(without)}")
        address = f"{settings.grpc_host}:{settings.grpc_port}"
        if settings.grpc_certificate_path:
            credentials = grpc.ssl_server_credentials(
                [(Path(settings.grpc_key_path).read_bytes(), Path(settings.grpc_certificate_path).read_bytes())]
            )
            self.port = self._server.add_secure_port(address, credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self._ended = threading.Event()

    @property
    def address(self) -> str:
        """host:port it listens on."""
        return f"{self.settings.grpc_host}:{self.port}"

    def start(self) -> None:
        """Begins to serve."""
        self._server.start()
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        log.info("serving gRPC on %s", self.address)

    def set_ready(self, is_ready: bool) -> None:
        """Tells probes whether to send calls here."""
        serving = health_pb2.HealthCheckResponse.SERVING if is_ready else health_pb2.HealthCheckResponse.NOT_SERVING
        self.health.set("", serving)

    def stop(self, drain_s: float | None = None) -> None:
        """Drains and ends; calls under way get drain_s seconds."""
        self.health.enter_graceful_shutdown()
        time.sleep(self.settings.endpoint_removal_s)
        self._server.stop(self.settings.drain_s if drain_s is None else drain_s).wait()
        self._ended.set()


class _Recorder:
    """Passes registrations on to the server and remembers which methods there are."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server
        self.methods: dict[str, list[str]] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service_name: str, handlers: dict[str, Any]) -> None:
        self.methods[service_name] = list(handlers)
        self._server.add_registered_method_handlers(service_name, handlers)
