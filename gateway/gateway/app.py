"""The application: REST, sign-in and web pages in one WSGI callable."""

import logging
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

import ui
from gateway import auth, docs, documents, errors, health, live, openapi, transcode, upload_parts, uploads, web
from gateway.config import Settings
from kit import telemetry
from kit.db import Database

log = logging.getLogger(__name__)

HSTS = "max-age=63072000; includeSubDomains"
# What a form may carry besides a file, and how many fields.
FORM_MEMORY_BYTES = 2_000_000
FORM_PARTS_MAX = 2_000


def create(settings: Settings | None = None, database: Database | None = None) -> Flask:
    """A new application. Safe before a fork: it connects to nothing until its first request."""
    settings = settings or Settings()
    folder = Path(__file__).parent / "web"
    app = Flask("gateway", template_folder=str(folder / "templates"), static_folder=str(folder / "static"))
    app.config.update(
        QUITTANCE=settings,
        MAX_CONTENT_LENGTH=settings.body_max_bytes,
        MAX_FORM_MEMORY_SIZE=FORM_MEMORY_BYTES,
        MAX_FORM_PARTS=FORM_PARTS_MAX,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.extensions["database"] = database = database or Database(settings)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.wsgi_app = _Traced(app.wsgi_app)  # type: ignore[method-assign]
    errors.register(app)
    auth.register(app, settings, database)
    catalog = transcode.Catalog.load()
    app.extensions["catalog"] = catalog
    transcode.register(app, catalog)
    uploads.register(app)
    upload_parts.register(app)
    documents.register(app)
    live.register(app)
    openapi.register(app, catalog)
    health.register(app, settings, database)
    docs.register(app)
    web.register(app)
    _security(app)
    return app


def _security(app: Flask) -> None:
    ui.security_headers(app)

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
        if "Content-Security-Policy" not in response.headers:
            # A page of ours that is shown inside another (a mail) brings a policy of its own, see web.framed.
            response.headers.setdefault("X-Frame-Options", "DENY")
        if request.is_secure:
            response.headers.setdefault("Strict-Transport-Security", HSTS)
        # Answers are somebody's; only files of the design system say otherwise.
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class _Traced:
    """A span around every request, the child of the caller's trace where he sent one."""

    def __init__(self, inner: Callable) -> None:
        self._inner = inner

    def __call__(self, environ: dict, start_response: Callable):
        carrier = {
            name: environ[f"HTTP_{name.upper()}"]
            for name in ("traceparent", "tracestate")
            if environ.get(f"HTTP_{name.upper()}")
        }
        name = f"{environ.get('REQUEST_METHOD', '')} {environ.get('PATH_INFO', '')}"
        with telemetry.span(name, carrier=carrier):
            return self._inner(environ, start_response)
