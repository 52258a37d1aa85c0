"""The OpenAPI 3.1 document: routes, fields, limits and words from the descriptors, hand-written routes beside them."""

import hashlib
import json
import re
from functools import lru_cache
from importlib import metadata
from typing import Any

from flask import Flask, Response, request
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from werkzeug.wrappers import Response as BaseResponse

from gateway import domain, messages
from gateway.transcode import IDEMPOTENCY_HEADER, Catalog, Route
from quittance.common.v1 import options_pb2

REFUSALS = re.compile(r"^Refuses: (.*)", re.MULTILINE | re.DOTALL)
_FORMATS = {
    "uuid": {"format": "uuid"},
    "date": {"format": "date"},
    "email": {"format": "email"},
    "currency": {"pattern": "^[A-Z]{3}$"},
    "country": {"pattern": "^[A-Z]{2}$"},
    "language": {"pattern": "^[a-z]{2,3}(-[A-Z]{2})?$"},
}
_F = FieldDescriptor
_INT32 = (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32)
_UINT32 = (_F.TYPE_UINT32, _F.TYPE_FIXED32)
_INT64 = (_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64, _F.TYPE_UINT64, _F.TYPE_FIXED64)
# What a request of ours takes at most where its contract does not say: one message.
ERRORS = {
    "400": "The call cannot be understood; `fields` names what is wrong.",
    "401": "No key, or one that is unknown, revoked or over.",
    "403": "The role lacks the permission.",
    "404": "There is no such thing in this tenant.",
    "409": "It is in a state that does not allow this, or the id was used for something else.",
    "429": "Too many calls; `Retry-After` says how long to wait.",
    "503": "A part does not answer; try again.",
}


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
    writer = _Writer(catalog)
    paths: dict[str, dict[str, Any]] = {}
    for route in catalog.routes:
        paths.setdefault(_path(route), {})[route.verb.lower()] = writer.operation(route)
    for path, operations in _by_hand().items():
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


def _path(route: Route) -> str:
    """The path with its fields as JSON spells them."""
    return re.sub(r"\{([a-z0-9_.]+)\}", lambda match: "{" + _camel(match[1]) + "}", route.template)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _import_state(catalog: Catalog) -> Descriptor:
    return next(route.method.output_type for route in catalog.routes if route.method.name == "GetImport")


class _Writer:
    """Writes schemas once and refers to them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.schemas: dict[str, Any] = {"Problem": PROBLEM, "Money": MONEY, "ImportStarted": IMPORT_STARTED}
        self._names: dict[str, str] = {}

    def tags(self) -> list[dict[str, str]]:
        found: dict[str, str] = {}
        for route in self._catalog.routes:
            service = route.method.containing_service
            found[_tag(route)] = self._catalog.comments.get(service.full_name, "")
        found["platform"] = "Whether it is ready, and how it describes itself."
        return [{"name": name, "description": text} for name, text in found.items()]

    # ---- operations --------------------------------------------------------------------------------------------------

    def operation(self, route: Route) -> dict[str, Any]:
        comment = route.comment
        refusals = REFUSALS.search(comment)
        summary = re.split(r"(?<=[.:;])\s", comment.replace("\n", " "), maxsplit=1)[0].rstrip(".:;")
        suffix = (
            "Of" + "".join(part.title() for part in re.findall(r"[a-z]+", route.template)[1:])
            if route.is_additional
            else ""
        )
        operation: dict[str, Any] = {
            "operationId": route.method.name[0].lower() + route.method.name[1:] + suffix,
            "summary": summary[:120],
            "description": comment,
            "tags": [_tag(route)],
            "x-permission": route.needs,
        }
        if refusals:
            operation["x-refusals"] = re.findall(r"\b[A-Z][A-Z_]{3,}[A-Z]\b", refusals[1])
        parameters = [*self._path_parameters(route), *self._query_parameters(route), *_idempotency(route)]
        if parameters:
            operation["parameters"] = parameters
        if route.body:
            operation["requestBody"] = self._body(route)
        operation["responses"] = {"200": self._answer(route)} | {
            status: {"$ref": f"#/components/responses/Error{status}"} for status in ERRORS
        }
        return operation

    def _answer(self, route: Route) -> dict[str, Any]:
        output = route.method.output_type
        schema = (
            self.field(output.fields_by_name[route.response_body]) if route.response_body else self.reference(output)
        )
        text = self._catalog.comments.get(output.full_name, "") or "Done."
        return {"description": text, "content": {"application/json": {"schema": schema}}}

    def _path_parameters(self, route: Route) -> list[dict[str, Any]]:
        parameters = []
        for name in route.path_fields:
            field = route.method.input_type.fields_by_name[name]
            parameters.append(
                {
                    "name": field.json_name,
                    "in": "path",
                    "required": True,
                    "description": self._comment(field),
                    "schema": self.field(field, bare=True),
                }
            )
        return parameters

    def _query_parameters(self, route: Route) -> list[dict[str, Any]]:
        if route.body:
            return []
        parameters = []
        for field in route.method.input_type.fields:
            if field.name in route.path_fields or (field.message_type is not None and not field.is_repeated):
                continue
            parameters.append(
                {
                    "name": field.json_name,
                    "in": "query",
                    "required": bool(_rules(field).required),
                    "description": self._comment(field),
                    "schema": self.field(field, bare=True),
                }
            )
        return parameters

    def _body(self, route: Route) -> dict[str, Any]:
        input_type = route.method.input_type
        if route.body == "*":
            hidden = {*route.path_fields, "request_id"} if route.request_id_field is not None else {*route.path_fields}
            schema = self._object(input_type, hidden)
        else:
            schema = self.field(input_type.fields_by_name[route.body])
        return {"required": bool(schema.get("required")), "content": {"application/json": {"schema": schema}}}

    # ---- schemas -----------------------------------------------------------------------------------------------------

    def schema(self, descriptor: Descriptor) -> None:
        """Makes sure that a message has its schema."""
        self.reference(descriptor)

    def reference(self, descriptor: Descriptor) -> dict[str, Any]:
        name = self._name(descriptor)
        if name not in self.schemas:
            self.schemas[name] = {}  # Stands for itself while its own fields are written.
            self.schemas[name] = self._object(descriptor, set())
        return {"$ref": f"#/components/schemas/{name}"}

    def _name(self, descriptor: Descriptor | EnumDescriptor) -> str:
        """The short name, with the package where two packages have one of the same."""
        known = self._names.get(descriptor.full_name)
        if known is None:
            taken = set(self._names.values()) | {"Problem", "Money", "ImportStarted"}
            package = descriptor.file.package.split(".")[1]
            known = descriptor.name
            if known in taken:
                known = "".join(part.title() for part in package.split("_")) + descriptor.name
            self._names[descriptor.full_name] = known
        return known

    def _object(self, descriptor: Descriptor, hidden: set[str]) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object"}
        comment = self._catalog.comments.get(descriptor.full_name, "")
        if comment:
            schema["description"] = comment
        fields = [field for field in descriptor.fields if field.name not in hidden]
        schema["properties"] = {field.json_name: self.field(field) for field in fields}
        required = [field.json_name for field in fields if _rules(field).required]
        if required:
            schema["required"] = required
        if descriptor.name.endswith("Request"):
            schema["additionalProperties"] = False
        return schema

    def field(self, field: FieldDescriptor, *, bare: bool = False) -> dict[str, Any]:
        """The schema of a field with its limits; bare: without the words, which stand beside it."""
        if messages.is_map(field):
            inner = self.value(field.message_type.fields_by_name["value"])
            schema = {"type": "object", "additionalProperties": inner}
        elif field.is_repeated:
            schema = {"type": "array", "items": self.value(field)}
            rules = _rules(field)
            if rules.max_length:
                schema["maxItems"] = rules.max_length
            if rules.required or rules.min_length:
                schema["minItems"] = max(rules.min_length, 1)
        else:
            schema = self.value(field)
            _limit(schema, field)
        comment = "" if bare else self._comment(field)
        if comment:
            schema["description"] = comment
        return schema

    def value(self, field: FieldDescriptor) -> dict[str, Any]:
        """The schema of one value of a field."""
        if field.message_type is not None:
            name = field.message_type.full_name
            if name == messages.MONEY:
                return {"$ref": "#/components/schemas/Money"}
            if name == messages.TIMESTAMP:
                return {"type": "string", "format": "date-time"}
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return _scalar(field)

    def _enum(self, enum: EnumDescriptor) -> dict[str, Any]:
        name = self._name(enum)
        if name not in self.schemas:
            spelt = messages.enum_names(enum)
            values = {
                value.number: self._catalog.comments.get(f"{enum.full_name}.{value.name}", "") for value in enum.values
            }
            lines = [self._catalog.comments.get(enum.full_name, "")]
            lines += [f"- `{spelt[number]}`: {text}" for number, text in values.items() if number]
            self.schemas[name] = {
                "type": "string",
                "enum": list(spelt.values()),
                "description": "\n".join(line for line in lines if line),
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _comment(self, field: FieldDescriptor) -> str:
        return self._catalog.comments.get(field.full_name, "")


def _tag(route: Route) -> str:
    return route.peer


def _rules(field: FieldDescriptor) -> Any:
    return field.GetOptions().Extensions[options_pb2.rules]


def _scalar(field: FieldDescriptor) -> dict[str, Any]:
    if field.type == _F.TYPE_STRING:
        return {"type": "string"}
    if field.type == _F.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == _F.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    if field.type in _INT32:
        return {"type": "integer", "format": "int32"}
    if field.type in _UINT32:
        return {"type": "integer", "minimum": 0}
    if field.type in _INT64:
        return {"type": "string", "pattern": r"^-?\d+$"}
    return {"type": "number", "format": "double"}


def _limit(schema: dict[str, Any], field: FieldDescriptor) -> None:
    rules = _rules(field)
    if schema.get("type") == "string":
        if rules.max_length:
            schema["maxLength"] = rules.max_length
        if rules.min_length or (rules.required and field.type == _F.TYPE_STRING):
            schema["minLength"] = max(rules.min_length, 1)
        if rules.pattern:
            schema["pattern"] = rules.pattern if rules.pattern.startswith("^") else f"^(?:{rules.pattern})$"
        if rules.one_of:
            schema["enum"] = list(rules.one_of)
        schema.update(_FORMATS.get(rules.format, {}))
    elif schema.get("type") in ("integer", "number"):
        if rules.HasField("min"):
            schema["minimum"] = rules.min
        if rules.HasField("max"):
            schema["maximum"] = rules.max


def _idempotency(route: Route) -> list[dict[str, Any]]:
    if route.request_id_field is None:
        return []
    return [
        {
            "name": IDEMPOTENCY_HEADER,
            "in": "header",
            "required": route.request_id_required,
            "description": "An id of your own, such as a UUID. The same id and content gives the first answer again; "
            "the same id with other content is refused with REQUEST_ID_REUSED.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 100},
        }
    ]


# ---- written by hand: what is no RPC ---------------------------------------------------------------------------------

MONEY = {
    "type": "object",
    "description": "An amount in one currency, exact.",
    "properties": {
        "currency": {"type": "string", "description": "ISO 4217 code.", "pattern": "^[A-Z]{3}$", "examples": ["EUR"]},
        "amount": {
            "type": "string",
            "description": "A decimal with at most the currency's decimals, negative for credits.",
            "pattern": r"^-?\d+(\.\d+)?$",
            "examples": ["5725.06"],
        },
    },
    "required": ["currency", "amount"],
}
PROBLEM = {
    "type": "object",
    "description": "Why a call was refused (RFC 9457).",
    "properties": {
        "type": {"type": "string", "description": "urn:quittance: and the reason."},
        "title": {"type": "string", "description": "The HTTP status in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "One sentence for people."},
        "reason": {"type": "string", "description": "A stable word for programs, such as ENTITY_CODE_TAKEN."},
        "fields": {
            "type": "object",
            "description": "What is wrong, by the JSON path of the field.",
            "additionalProperties": {"type": "string"},
        },
        "instance": {"type": "string", "description": "This very refusal."},
        "traceId": {"type": "string", "description": "To quote when asking for help."},
        "metadata": {
            "type": "object",
            "description": "Further facts.",
            "additionalProperties": {"type": "string"},
        },
    },
    "required": ["type", "title", "status", "reason", "traceId"],
}
IMPORT_STARTED = {
    "type": "object",
    "description": "The import that was started.",
    "properties": {
        "importId": {"type": "string", "format": "uuid", "description": "Ask for it at /v1/imports/{importId}."},
        "state": {"$ref": "#/components/schemas/ImportState"},
        "href": {"type": "string", "description": "Its page; only for the web app."},
    },
    "required": ["importId", "state"],
}


def _failing(*statuses: str) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def _by_hand() -> dict[str, dict[str, Any]]:
    import_id = {
        "name": "importId",
        "in": "path",
        "required": True,
        "description": "UUID of the import.",
        "schema": {"type": "string", "format": "uuid"},
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "/v1/imports": {
            "post": {
                "operationId": "uploadFile",
                "summary": "Uploads a file and starts to read it",
                "description": "Keeps a file and starts to read it; with `apply` it is applied as soon "
                "as no question is open. "
                "The same file again changes nothing.",
                "tags": ["import"],
                "x-permission": "imports:write",
                "requestBody": {
                    "required": True,
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "file": {
                                        "type": "string",
                                        "contentMediaType": "application/octet-stream",
                                        "description": "The file: CSV, text or a spreadsheet.",
                                    },
                                    "entity": {
                                        "type": "string",
                                        "maxLength": 20,
                                        "description": "Code of the entity whose books these are.",
                                    },
                                    "object": {
                                        "type": "string",
                                        "enum": ["items", "accounts", "contacts"],
                                        "description": "What its rows are; left out: recognised.",
                                    },
                                    "mode": {
                                        "type": "string",
                                        "enum": ["delta", "stock"],
                                        "default": "delta",
                                        "description": "delta: these rows changed; stock: these are all open ones.",
                                    },
                                    "answers": {
                                        "type": "string",
                                        "contentMediaType": "application/json",
                                        "description": 'Answers given in advance, such as {"dateOrder": "DMY"}.',
                                    },
                                    "apply": {
                                        "type": "string",
                                        "enum": ["true", "false"],
                                        "default": "false",
                                        "description": "Apply at once when no question is open.",
                                    },
                                },
                                "required": ["file", "entity"],
                                "additionalProperties": False,
                            }
                        }
                    },
                },
                "responses": {
                    "202": {
                        "description": "The import that was started.",
                        "headers": {"Location": {"description": "Where to ask for it.", "schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ImportStarted"}}},
                    },
                    "413": {"description": "The file is too large.", "content": problem},
                    **_failing("400", "401", "403", "404", "429", "503"),
                },
            }
        },
        "/v1/imports/{importId}/rejects.csv": {
            "get": {
                "operationId": "downloadRejects",
                "summary": "All refused rows as a CSV file",
                "description": "UTF-8 with a byte order mark: line, field, reason, then the row's own columns; "
                "formulas are escaped.",
                "tags": ["import"],
                "x-permission": "imports:read",
                "parameters": [import_id],
                "responses": {
                    "200": {"description": "The file.", "content": {"text/csv": {"schema": {"type": "string"}}}},
                    **_failing("401", "403", "404", "429", "503"),
                },
            }
        },
        "/v1/imports/{importId}/events": {
            "get": {
                "operationId": "followImport",
                "summary": "Progress of an import as server-sent events",
                "description": "`progress` at each change, then `done` or `failed`; the stream ends after a "
                "bounded time, connect again.",
                "tags": ["import"],
                "x-permission": "imports:read",
                "parameters": [import_id],
                "responses": {
                    "200": {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                    "204": {"description": "Nothing more will happen."},
                    **_failing("401", "403", "404", "429", "503"),
                },
            }
        },
        "/healthz": {
            "get": {
                "operationId": "health",
                "summary": "Whether everything is ready",
                "description": "200 once every service is ready, 503 with what is missing before.",
                "tags": ["platform"],
                "security": [],
                "responses": dict.fromkeys(("200", "503"), HEALTH),
            }
        },
        "/.well-known/jwks.json": {
            "get": {
                "operationId": "publicKeys",
                "summary": "Public keys of the tokens between services",
                "description": "A JSON Web Key Set.",
                "tags": ["platform"],
                "security": [],
                "responses": {
                    "200": {
                        "description": "The keys.",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
                                    "required": ["keys"],
                                }
                            }
                        },
                    }
                },
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "description": "OpenAPI 3.1, made from the contracts.",
                "tags": ["platform"],
                "security": [],
                "responses": {
                    "200": {
                        "description": "The document.",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    }
                },
            }
        },
    }


HEALTH = {
    "description": "What is missing, and how so.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "ready": {"type": "boolean"},
                    "missing": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "required": ["ready", "missing"],
            }
        }
    },
}
