"""Channels to peers: the caller's token goes along, every call has a deadline, a refusal comes out as Refused."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.trace import SpanKind

from kit import auth, context, telemetry
from kit.errors import Code, Refused
from kit.settings import ServiceSettings

DEADLINE_S = 5.0
# What a server keeps of its own deadline to answer after its peer has failed to.
MARGIN_S = 0.2
MESSAGE_MAX_BYTES = 4 * 1024 * 1024
CALLER_KEY = "authorization"
LANGUAGE_KEY = "accept-language"
WAIT_FOR_READY = False

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            # UNAVAILABLE only: anything else may have had its effect, and even so every write carries a request id.
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
OPTIONS = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # A channel's back-off is its own: another one to the same address that has just failed says nothing about this.
    ("grpc.use_local_subchannel_pool", 1),
]

Metadata = tuple[tuple[str, str], ...]


def _raise(error: grpc.RpcError) -> Any:
    raise Refused.from_rpc_error(error) from error


class _Future:
    """A call under way; result() raises Refused. Everything else is the call's own."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def result(self, timeout: float | None = None) -> Any:
        try:
            return self._call.result(timeout)
        except grpc.RpcError as error:
            return _raise(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Stream:
    """An answer that comes in pieces; iterating raises Refused. Everything else is the call's own."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            return _raise(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Callable:
    """One RPC of a stub."""

    def __init__(self, inner: Any, method: str, token: Callable[[], str], streams: bool) -> None:
        self._inner, self._method, self._token, self._streams = inner, method, token, streams

    def _arguments(self, timeout: float | None, metadata: Any) -> dict[str, Any]:
        remaining_s = context.remaining_s()
        timeout_s = DEADLINE_S if timeout is None else timeout
        if remaining_s is not None:
            timeout_s = min(timeout_s, remaining_s - MARGIN_S)
            if timeout_s <= 0:
                raise Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", f"no time left to call {self._method}")
        given = list(metadata or ())
        if not any(key == CALLER_KEY for key, _ in given):
            given.append((CALLER_KEY, f"Bearer {self._token()}"))
        if (tag := context.language_tag()) and not any(key == LANGUAGE_KEY for key, _ in given):
            given.append((LANGUAGE_KEY, tag))
        given += telemetry.trace_headers().items()
        return {"timeout": timeout_s, "metadata": given, "wait_for_ready": WAIT_FOR_READY}

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
        with telemetry.span(self._method, kind=SpanKind.CLIENT):
            arguments = self._arguments(timeout, metadata)
            try:
                answer = self._inner(request, **arguments)
            except grpc.RpcError as error:
                return _raise(error)
            return _Stream(answer) if self._streams else answer

    def with_call(self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
        try:
            return self._inner.with_call(request, **self._arguments(timeout, metadata))
        except grpc.RpcError as error:
            return _raise(error)

    def future(self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
        return _Future(self._inner.future(request, **self._arguments(timeout, metadata)))


class Channel(grpc.Channel):
    """A channel that signs its calls and raises Refused."""

    def __init__(self, inner: grpc.Channel, token: Callable[[], str]) -> None:
        self._inner, self._token = inner, token

    def _wrap(self, kind: str, streams: bool, method: str, arguments: tuple, keywords: dict[str, Any]) -> _Callable:
        return _Callable(getattr(self._inner, kind)(method, *arguments, **keywords), method, self._token, streams)

    def unary_unary(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self._wrap("unary_unary", False, method, arguments, keywords)

    def unary_stream(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self._wrap("unary_stream", True, method, arguments, keywords)

    def stream_unary(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self._wrap("stream_unary", False, method, arguments, keywords)

    def stream_stream(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self._wrap("stream_stream", True, method, arguments, keywords)

    def subscribe(self, callback: Any, try_to_connect: bool | None = False) -> None:
        self._inner.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self._inner.unsubscribe(callback)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def open_channel(address: str, token: Callable[[], str], ca_path: str = "") -> Channel:
    """A new channel to an address, whose calls carry what token() gives."""
    # A name may stand for several replicas; an explicit resolver and round_robin spread calls over all of them.
    target = address if "://" in address or address[0].isdigit() or address.startswith("[") else f"dns:///{address}"
    if ca_path:
        credentials = grpc.ssl_channel_credentials(Path(ca_path).read_bytes())
        return Channel(grpc.secure_channel(target, credentials, OPTIONS), token)
    return Channel(grpc.insecure_channel(target, OPTIONS), token)


_channels: dict[tuple[int, str, str], Channel] = {}
_lock = threading.Lock()


def _token(settings: ServiceSettings) -> str:
    caller = context.current_caller()
    # The gateway speaks with its user's own token; a service with its own, on behalf of the one who called it.
    return caller.token if caller.token is not None else auth.signer(settings).service_token(caller)


def channel(settings: ServiceSettings, peer: str) -> Channel:
    """The channel to a peer (a service's name, or host:port), one per process and address.

    Its calls: 5 s unless a timeout is given, never more than this work has left; UNAVAILABLE is tried four times.
    Raises LookupError when nobody has said where the peer listens.
    """
    address = peer if ":" in peer else settings.address(peer)
    key = (os.getpid(), address, settings.signing_key_path)
    found = _channels.get(key)
    if found is None:
        with _lock:
            found = _channels.get(key)
            if found is None:
                found = _channels[key] = open_channel(address, lambda: _token(settings), settings.grpc_ca_path)
    return found


def close_all() -> None:
    """Closes this process's channels."""
    with _lock:
        for key in [key for key in _channels if key[0] == os.getpid()]:
            _channels.pop(key).close()
