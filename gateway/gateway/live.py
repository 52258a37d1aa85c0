"""Live progress of an import as server-sent events, for a bounded time; the browser reconnects by itself."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, current_app, request

from gateway import messages, texts
from gateway.auth import gate, language
from gateway.config import Settings
from kit.context import Caller, acting_as, speaking
from kit.errors import Code, Refused
from kit.grpc_client import channel
from quittance.importer.v1 import import_service_pb2 as pb
from quittance.importer.v1.import_service_pb2_grpc import ImportServiceStub

RECONNECT_MS = 1000
HEARTBEAT_S = 10.0
# Names of states in which nothing moves until a person does something.
STILL = frozenset({"QUESTIONS", "PREVIEWED", "APPLIED", "CANCELLED", "ROLLED_BACK"})
FAILED = "FAILED"
STAGES = {
    "keep": "The file arrives",
    "read": "The file is read",
    "plan": "The consequences are worked out",
    "load": "The rows go to the ledger",
    "rollBack": "The import is taken back",
}
# What a listener needs; preview and mapping are fetched once, not with every step.
PARTS = ("importId", "state", "rowCounts", "rowsDone", "rowsPerSecond", "stage", "stageRows", "failure", "failureCode")


def register(app: Flask) -> None:
    """Adds the route. Every listener holds a thread, so half of them stay free for everything else."""
    settings: Settings = app.config["QUITTANCE"]
    app.extensions["listeners"] = threading.BoundedSemaphore(max(settings.http_threads // 2, 1))
    app.add_url_rule(
        "/v1/imports/<segment:import_id>/events",
        "live.events",
        events,
        methods=["GET"],
        provide_automatic_options=False,
    )


def events(import_id: str) -> Response:
    """GET /v1/imports/{importId}/events: `progress` at each change, then `done` or `failed`."""
    settings: Settings = current_app.config["QUITTANCE"]
    caller = gate().api_caller()
    try:
        stub = ImportServiceStub(channel(settings, "import"))
    except LookupError as error:
        raise Refused(Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", "import is not part of this installation") from error
    # The first look is made before the answer begins: an unknown import is a plain 404.
    spoken = language()
    first = _look(stub, import_id, caller, settings, spoken)
    if request.headers.get("Last-Event-ID", "") == f"{first['state']}-end":
        # A browser that comes back after the last event is told to stay away.
        return Response(status=204)
    slots: threading.BoundedSemaphore = current_app.extensions["listeners"]
    if not slots.acquire(blocking=False):
        raise Refused(Code.UNAVAILABLE, "LISTENERS_FULL", "too many listeners; ask again", retry_after_s="2")
    response = Response(
        _stream(stub, import_id, caller, settings, first, spoken),
        mimetype="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
    response.call_on_close(slots.release)
    return response


def _look(stub: ImportServiceStub, import_id: str, caller: Caller, settings: Settings, spoken: str) -> dict[str, Any]:
    # The request's own context has ended when the later looks are made.
    with acting_as(caller), speaking(spoken):
        answer = stub.GetImport(pb.GetImportRequest(import_id=import_id), timeout=settings.rpc_timeout_s)
    whole = messages.to_json(answer.import_run)
    counts = whole.get("rowCounts", {})
    total = counts.get("accepted") or counts.get("read") or 0
    seen = {name: whole[name] for name in PARTS if name in whole}
    done = whole["stageRows"] if whole["stage"] == "plan" else whole["rowsDone"]
    return {
        **seen,
        "done": done,
        "total": total,
        "leftSeconds": whole.get("secondsLeft"),
        "text": _words(whole, spoken),
    }


def _words(whole: dict[str, Any], spoken: str) -> str:
    """What is being done, and how fast."""
    stage, rate = STAGES.get(whole["stage"], ""), round(whole["rowsPerSecond"])
    if not stage:
        return ""
    said = texts.CATALOG.say(stage, spoken)
    return texts.CATALOG.say(f"{said}; {rate} rows per second", spoken) if rate else said


def _stream(
    stub: ImportServiceStub, import_id: str, caller: Caller, settings: Settings, seen: dict[str, Any], spoken: str
) -> Iterator[str]:
    until = time.monotonic() + settings.live_max_s
    yield f"retry: {RECONNECT_MS}\n\n"
    said, said_at = None, time.monotonic()
    while True:
        state = seen["state"]
        if seen != said:
            yield _event("progress", state, seen)
            said, said_at = seen, time.monotonic()
        if state == FAILED:
            yield _event("failed", f"{state}-end", {**seen, "text": seen.get("failure", "")})
            return
        if state in STILL and not seen.get("stage"):
            yield _event("done", f"{state}-end", {**seen, "href": f"/imports/{import_id}"})
            return
        if time.monotonic() >= until:
            return
        if time.monotonic() - said_at >= HEARTBEAT_S:
            yield ": still here\n\n"
            said_at = time.monotonic()
        time.sleep(settings.live_poll_s)
        try:
            # A caller's token is younger than five minutes; this stream is shorter than that.
            seen = _look(stub, import_id, caller, settings, spoken)
        except Refused as refused:
            if not refused.is_transient:
                return
            # The service is being restarted: the next look tells.


def _event(name: str, event_id: str, data: dict[str, Any]) -> str:
    return f"event: {name}\nid: {event_id}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
