"""What went wrong, as HTTP: application/problem+json for programs, a page in the reader's language for people."""

import logging
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from opentelemetry import trace
from werkzeug.exceptions import HTTPException

from gateway import texts
from gateway.auth import SAFE_METHODS, language
from kit.errors import Code, Refused
from kit.grpc_server import refusal_for
from kit.ids import new_id

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
TYPE_PREFIX = "urn:quittance:"

STATUS_BY_CODE = {
    Code.INVALID_ARGUMENT: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.FAILED_PRECONDITION: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
# Reasons that say more exactly than their code what HTTP has a word for.
STATUS_BY_REASON = {
    "FILE_TOO_LARGE": 413,
    "DOCUMENT_TOO_LARGE": 413,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "METHOD_NOT_ALLOWED": 405,
    "DATABASE_BUSY": 503,
}
_REASON_BY_STATUS = {
    400: "BAD_REQUEST",
    404: "ROUTE_UNKNOWN",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
# What a service says about these is about itself, not about the caller.
_OURS = frozenset({Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})
_API_PATHS = ("/v1/", "/openapi.json", "/healthz", "/.well-known/")


def status_of(refused: Refused) -> int:
    """The HTTP status of a refusal."""
    return STATUS_BY_REASON.get(refused.reason) or STATUS_BY_CODE.get(refused.code, 500)


def trace_id() -> str:
    """What a person can quote: the trace of this request, or an id of its own where it is not traced."""
    if "trace_id" not in g:
        span = trace.get_current_span().get_span_context()
        g.trace_id = format(span.trace_id, "032x") if span.is_valid else new_id().replace("-", "")
    return g.trace_id


def safe(refused: Refused) -> Refused:
    """The refusal without anything that is nobody's business outside."""
    if refused.code in _OURS:
        return Refused(
            Code.INTERNAL, "INTERNAL", "something went wrong on our side; nothing is known to be wrong with the call"
        )
    if refused.code is Code.UNAVAILABLE and refused.reason == Code.UNAVAILABLE.name:
        # grpc's own words name addresses and ports.
        return Refused(
            Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", "a part of Quittance does not answer; try again shortly"
        )
    if refused.code is Code.DEADLINE_EXCEEDED:
        return Refused(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "this took too long and was stopped; try again")
    if refused.code is Code.RESOURCE_EXHAUSTED and refused.reason == Code.RESOURCE_EXHAUSTED.name:
        return Refused(Code.RESOURCE_EXHAUSTED, "OVERLOADED", "too much at once; try again shortly", retry_after_s="1")
    if refused.code is Code.UNIMPLEMENTED:
        return Refused(Code.UNIMPLEMENTED, "NOT_AVAILABLE", "this is not available on this installation")
    return refused


def camel_path(path: str) -> str:
    """The path of a field as JSON spells it: due_on becomes dueOn."""
    return re.sub(r"(?<=[a-z0-9])_([a-z])", lambda match: match[1].upper(), path)


def problem(refused: Refused) -> Response:
    """The refusal as application/problem+json (RFC 9457), its stable reason as the type."""
    refused = texts.CATALOG.refusal(safe(refused), language())
    status = status_of(refused)
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + refused.reason,
        "title": _title(status),
        "status": status,
        "detail": refused.message,
        "reason": refused.reason,
        "instance": f"urn:trace:{trace_id()}",
        "traceId": trace_id(),
    }
    if request.headers.get("X-CSRF-Token"):
        # The upload form of a page shows this word.
        body["message"] = refused.message
    if refused.fields:
        body["fields"] = {camel_path(path): text for path, text in refused.fields.items()}
    known = {name: value for name, value in refused.metadata.items() if name not in ("retry_after_s",)}
    if known:
        body["metadata"] = known
    response = jsonify(body)
    response.status_code = status
    response.content_type = PROBLEM
    _add_headers(response, refused, status)
    return response


def gettext(message: str) -> str:
    """A message in the reader's language."""
    return current_app.extensions["ui"].languages.gettext(message)


def _add_headers(response: Response, refused: Refused, status: int) -> None:
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="quittance"'
    if status in (429, 503):
        response.headers["Retry-After"] = refused.metadata.get("retry_after_s", "1")
    if status == 413:
        # What is left of the body is not read.
        response.headers["Connection"] = "close"


def _title(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Client Closed Request"


def wants_problem() -> bool:
    """Whether the caller is a program: an API path, or a client that asks for JSON and not for HTML."""
    if request.path.startswith(_API_PATHS):
        return True
    accepts = request.accept_mimetypes
    return accepts.best_match(["text/html", "application/json"], default="text/html") == "application/json"


def page(refused: Refused) -> Response:
    """The refusal as a page that says what happened, what did not, and what to do."""
    refused = texts.CATALOG.refusal(safe(refused), language())
    status = status_of(refused)
    # A sentence of ours for what the caller can act on; the page's own words for everything else.
    text = refused.message if status in (400, 409, 413) else ""
    # A change that broke off may have been made; only then is that not known.
    done = ""
    if status >= 500 and request.method not in SAFE_METHODS:
        done = gettext("Whether anything was changed is not known: look before you do it again.")
    shown = render_template(
        "ui/error.html", status=status, text=text[:1].upper() + text[1:], done=done, reference=trace_id()
    )
    response = Response(shown, status, mimetype="text/html")
    if refused.message and status in (400, 403, 409, 413, 429):
        # What htmx shows in place when it does not swap.
        response.headers["X-Message"] = quote(refused.message[:500])
    _add_headers(response, refused, status)
    return response


def answer(refused: Refused) -> Response:
    """The refusal in the form that the caller reads."""
    return problem(refused) if wants_problem() else page(refused)


def of_http(error: HTTPException) -> Refused:
    """What the framework refused, in our words."""
    status = error.code or 500
    reason = _REASON_BY_STATUS.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL")
    match status:
        case 404:
            return Refused(Code.NOT_FOUND, reason, f"there is nothing at {request.path}")
        case 405:
            return Refused(Code.INVALID_ARGUMENT, reason, f"{request.method} is not possible at {request.path}")
        case 413:
            return Refused(Code.INVALID_ARGUMENT, reason, "the body is too large")
        case 415:
            return Refused(Code.INVALID_ARGUMENT, reason, "send application/json")
        case _ if 400 <= status < 500:
            return Refused(Code.INVALID_ARGUMENT, reason, "the request cannot be read")
    return Refused(Code.INTERNAL, "INTERNAL", "")


def register(app: Flask) -> None:
    """Answers every exception of the application."""

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        if error.code in _OURS:
            log.error("%s %s failed (trace %s): %s", request.method, request.path, trace_id(), error)
        return answer(error)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response | HTTPException:
        if error.code is not None and error.code < 400:
            return error  # A redirect.
        response = answer(of_http(error))
        if error.code == 405 and getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))  # type: ignore[attr-defined]
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        known = refusal_for(error)
        if known.code is Code.INTERNAL:
            log.exception("%s %s failed (trace %s)", request.method, request.path, trace_id(), exc_info=error)
        else:
            log.warning("%s %s: %s (%s)", request.method, request.path, known, error)
        return answer(known)
