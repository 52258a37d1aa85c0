"""The whole document, and the address it is read at."""

import hashlib
import json
from functools import lru_cache
from importlib import metadata
from typing import Any

from flask import Flask, Response, request
from google.protobuf.descriptor import Descriptor
from werkzeug.wrappers import Response as BaseResponse

from gateway import domain
from gateway.openapi.by_hand import ERRORS, routes_by_hand
from gateway.openapi.writer import Writer, path_of
from gateway.transcode import IDEMPOTENCY_HEADER, Catalog


def register(app: Flask, catalog: Catalog) -> None:
    """Adds /openapi.json."""

    @app.get("/openapi.json")
    def openapi() -> BaseResponse:
        text, tag = _rendered(catalog)
        response = Response(text, mimetype="application/json")
        response.set_etag(tag)
        response.headers["Cache-Control"] = "public, max-age=300"
        return response.make_conditional(request)


_kept: dict[int, tuple[str, str]] = {}


def _rendered(catalog: Catalog) -> tuple[str, str]:
    if id(catalog) not in _kept:
        text = json.dumps(document(catalog), ensure_ascii=False, separators=(",", ":"))
        _kept[id(catalog)] = (text, hashlib.sha256(text.encode()).hexdigest()[:16])
    return _kept[id(catalog)]


def document(catalog: Catalog) -> dict[str, Any]:
    """The whole document."""
    writer = Writer(catalog)
    paths: dict[str, dict[str, Any]] = {}
    for route in catalog.routes:
        paths.setdefault(path_of(route), {})[route.verb.lower()] = writer.operation(route)
    for path, operations in routes_by_hand().items():
        paths.setdefault(path, {}).update(operations)
    writer.schema(_import_state(catalog))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quittance",
            "version": _version(),
            "description": (
                "Credit management and cash collection over somebody else's ERP.\n\n"
                'Money is `{"currency": "EUR", "amount": "1234.50"}`, days are `YYYY-MM-DD`, '
                "moments are RFC 3339 in UTC. "
                "Numbers that may exceed 32 bits are texts. Lists take `pageSize`, `pageToken`, `filter` "
                '(`accountId="..." AND state=DUE`) and `orderBy` (`dueOn desc`). '
                f"Calls that change money or send messages need the header `{IDEMPOTENCY_HEADER}`: "
                "a repetition changes nothing. "
                "Refusals are `application/problem+json` with a stable `reason`."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}],
        "tags": writer.tags(),
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": f"{domain.API_KEY_PREFIX}...",
                    "description": "An API key: POST /v1/api-keys, or make api-key for the sample group.",
                }
            },
            "schemas": dict(sorted(writer.schemas.items())),
            "responses": {
                f"Error{status}": {
                    "description": text,
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                for status, text in ERRORS.items()
            },
        },
    }


@lru_cache(maxsize=1)
def _version() -> str:
    try:
        return metadata.version("quittance-gateway")
    except metadata.PackageNotFoundError:
        return "0"


def _import_state(catalog: Catalog) -> Descriptor:
    return next(route.method.output_type for route in catalog.routes if route.method.name == "GetImport")
