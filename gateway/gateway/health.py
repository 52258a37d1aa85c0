"""Whether everything is ready: the gateway's own database, every service's gRPC health, the portal's pages."""

import json
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import urlparse

import grpc
import httpx
from flask import Flask, Response, jsonify
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.config import Settings
from kit.db import Database
from kit.errors import Code, Refused
from kit.grpc_client import OPTIONS

log = logging.getLogger(__name__)

SERVICES = (
    "ledger", "import", "scenario", "notification", "portal", "dispute", "credit-risk", "reporting", "gateway",
)  # fmt: skip
PROBE_S = 1.5
JWKS_KEPT_S = 300


class Probes:
    """Asks all parts at once, each with a short limit."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._stubs: dict[tuple[int, str], health_pb2_grpc.HealthStub] = {}
        self._lock = threading.Lock()

    def missing(self) -> dict[str, str]:
        """What is not ready, and how so; empty when everything is."""
        probes: dict[str, Callable[[], str]] = {"database": self._database_state}
        for service in SERVICES:
            probes[service] = lambda name=service: self._grpc_state(name)  # type: ignore[misc]
        if self._settings.portal_url:
            probes["portal pages"] = self._portal_state
        states: dict[str, str] = {}
        with ThreadPoolExecutor(len(probes)) as pool:
            names = {pool.submit(probe): name for name, probe in probes.items()}
            for future in as_completed(names):
                states[names[future]] = future.result()
        return {name: states[name] for name in probes if states[name]}

    def _database_state(self) -> str:
        return "" if self._database.ping() else "does not answer"

    def _grpc_state(self, service: str) -> str:
        try:
            stub = self._stub(self._settings.address(service))
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PROBE_S)
        except LookupError:
            return "has no address"
        except grpc.RpcError:
            return "does not answer"
        return "" if answer.status == health_pb2.HealthCheckResponse.SERVING else "is not ready"

    def _stub(self, address: str) -> health_pb2_grpc.HealthStub:
        key = (os.getpid(), address)
        with self._lock:
            if key not in self._stubs:
                if self._settings.grpc_ca_path:
                    credentials = grpc.ssl_channel_credentials(Path(self._settings.grpc_ca_path).read_bytes())
                    channel = grpc.secure_channel(address, credentials, OPTIONS)
                else:
                    channel = grpc.insecure_channel(address, OPTIONS)
                self._stubs[key] = health_pb2_grpc.HealthStub(channel)
            return self._stubs[key]

    def _portal_state(self) -> str:
        try:
            answer = httpx.get(self._settings.portal_url.rstrip("/") + "/healthz", timeout=PROBE_S, trust_env=False)
        except httpx.HTTPError:
            return "do not answer"
        return "" if answer.status_code == 200 else "are not ready"


def register(app: Flask, settings: Settings, database: Database) -> None:
    """Adds /healthz (everything is ready), /livez (this process lives) and the public keys."""
    probes = Probes(settings, database)

    @app.get("/healthz")
    def healthz() -> Response:
        missing = probes.missing()
        response = jsonify({"ready": not missing, "missing": missing})
        response.status_code = 503 if missing else 200
        return response

    @app.get("/livez")
    def livez() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/.well-known/jwks.json")
    def jwks() -> Response:
        response = jsonify(public_keys(settings))
        response.headers["Cache-Control"] = f"public, max-age={JWKS_KEPT_S}"
        return response


def public_keys(settings: Settings) -> dict:
    """The public keys that tokens are verified with: all issuers' where a file has them, else the gateway's own."""
    parsed = urlparse(settings.jwks_url)
    if parsed.scheme == "file":
        data = json.loads(Path(parsed.path).read_text())
    elif settings.signing_key_path:
        data = {"keys": [json.loads(settings.read_key("signing_key_path"))]}
    else:
        raise Refused(Code.UNAVAILABLE, "KEYS_MISSING", "no keys are set up")
    # Whatever the file holds, no private part leaves.
    shown = ("kty", "crv", "x", "y", "kid", "use", "alg")
    return {"keys": [{name: key[name] for name in shown if name in key} for key in data["keys"]]}
