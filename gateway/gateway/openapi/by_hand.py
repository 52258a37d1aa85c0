"""The routes that are no RPC, written by hand: files, live progress, health, keys."""

from typing import Any

from gateway import messages
from quittance.importer.v1 import import_service_pb2

# What the rows of a file can be.
OBJECTS = tuple(
    name.lower() for number, name in messages.enum_names(import_service_pb2.ImportObject.DESCRIPTOR).items() if number
)
# What a status means, for every call.
ERRORS = {
    "400": "The call cannot be understood; `fields` names what is wrong.",
    "401": "No key, or one that is unknown, revoked or over.",
    "403": "The role lacks the permission.",
    "404": "There is no such thing in this tenant.",
    "409": "It is in a state that does not allow this, or the id was used for something else.",
    "429": "Too many calls; `Retry-After` says how long to wait.",
    "503": "A part does not answer; try again.",
}
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


DOCUMENTS_KEPT = {
    "type": "object",
    "description": "The documents that were kept, and the files that were not.",
    "properties": {
        "documents": {
            "type": "array",
            "items": {
                "allOf": [
                    {"$ref": "#/components/schemas/Document"},
                    {
                        "type": "object",
                        "properties": {"wasThere": {"type": "boolean", "description": "It was here already."}},
                    },
                ]
            },
        },
        "refused": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "fileName": {"type": "string", "description": "Its name."},
                    "reason": {"type": "string", "description": "A stable word for programs."},
                    "detail": {"type": "string", "description": "One sentence for people."},
                },
                "required": ["fileName", "reason", "detail"],
            },
        },
    },
    "required": ["documents", "refused"],
}


def _failing(*statuses: str) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def routes_by_hand() -> dict[str, dict[str, Any]]:
    import_id = {
        "name": "importId",
        "in": "path",
        "required": True,
        "description": "UUID of the import.",
        "schema": {"type": "string", "format": "uuid"},
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "/v1/documents": {
            "post": {
                "operationId": "uploadDocuments",
                "summary": "Keeps files that go with items",
                "description": "One or more files of at most 50 MB: for the items named, or without them each for the "
                "item of the entity whose number its name is. A PDF that finds its item so is its invoice, shown to "
                "colleagues and to the customer. The same content for the same items again changes nothing.",
                "tags": ["import"],
                "x-permission": "accounts:write",
                "requestBody": {
                    "required": True,
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "file": {
                                        "type": "array",
                                        "minItems": 1,
                                        "maxItems": 50,
                                        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                                        "description": "The files: pdf, Office, pictures, mails, zip.",
                                    },
                                    "item": {
                                        "type": "array",
                                        "items": {"type": "string", "format": "uuid"},
                                        "description": "Items they belong to, all of one entity.",
                                    },
                                    "entity": {
                                        "type": "string",
                                        "maxLength": 20,
                                        "description": "Code of the entity; needed without item.",
                                    },
                                    "description": {
                                        "type": "string",
                                        "maxLength": 500,
                                        "description": "What they are.",
                                    },
                                    "colleagues": {
                                        "type": "string",
                                        "enum": ["true", "false"],
                                        "default": "false",
                                        "description": "Every colleague who may see the item sees them.",
                                    },
                                    "customer": {
                                        "type": "string",
                                        "enum": ["true", "false"],
                                        "default": "false",
                                        "description": "The customer sees them on his page.",
                                    },
                                },
                                "required": ["file"],
                                "additionalProperties": False,
                            }
                        }
                    },
                },
                "responses": {
                    "201": {
                        "description": "What was kept, and what was refused and why.",
                        "content": {"application/json": {"schema": DOCUMENTS_KEPT}},
                    },
                    "413": {"description": "More than may be sent at once.", "content": problem},
                    **_failing("400", "401", "403", "404", "429", "503"),
                },
            }
        },
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
                                        "enum": list(OBJECTS),
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
                                    "controlTotals": {
                                        "type": "string",
                                        "contentMediaType": "application/json",
                                        "description": "What the sender counted; a difference is asked about: "
                                        '[{"currency": "EUR", "itemCount": 12, '
                                        '"total": {"currency": "EUR", "amount": "1200.50"}}].',
                                    },
                                    "source": {
                                        "type": "string",
                                        "format": "uuid",
                                        "description": "Source it comes from; it says entity, mode and profile.",
                                    },
                                    "profile": {
                                        "type": "string",
                                        "format": "uuid",
                                        "description": "Profile that reads it; left out: found by name or layout.",
                                    },
                                    "apply": {
                                        "type": "string",
                                        "enum": ["true", "false"],
                                        "default": "false",
                                        "description": "Apply at once when no question is open.",
                                    },
                                },
                                "required": ["file"],
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
        "/v1/uploads/{uploadId}": {
            "put": {
                "operationId": "appendUpload",
                "summary": "Adds bytes to an upload in parts",
                "description": "Announce the file with POST /v1/uploads, then send its bytes in parts of any size, "
                "in order. After a break ask GET /v1/uploads/{uploadId} for the offset and go on there: "
                "OFFSET_WRONG (409) names the right one as well. When all bytes are here, POST "
                "/v1/uploads/{uploadId}:start makes the import.",
                "tags": ["import"],
                "x-permission": "imports:write",
                "parameters": [
                    {
                        "name": "uploadId",
                        "in": "path",
                        "required": True,
                        "description": "UUID of the upload.",
                        "schema": {"type": "string", "format": "uuid"},
                    },
                    {
                        "name": "Content-Range",
                        "in": "header",
                        "required": True,
                        "description": "Which bytes these are: bytes 0-8388607/2000000000.",
                        "schema": {"type": "string", "pattern": r"^bytes \d+-\d+/(\d+|\*)$"},
                    },
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                },
                "responses": {
                    "200": {
                        "description": "The upload as it is then.",
                        "headers": {"Upload-Offset": {"description": "Bytes kept.", "schema": {"type": "integer"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Upload"}}},
                    },
                    "413": {"description": "More than a file may be.", "content": problem},
                    **_failing("400", "401", "403", "404", "409", "429", "503"),
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
        "/v1/imports/{importId}/effects.csv": {
            "get": {
                "operationId": "downloadEffects",
                "summary": "What applying would do as a CSV file",
                "description": "UTF-8 with a byte order mark: line, effect, customer, number, currency, open amount, "
                "field, old and new value; at most 1,000 rows, changed ones first; formulas are escaped.",
                "tags": ["import"],
                "x-permission": "imports:read",
                "parameters": [import_id],
                "responses": {
                    "200": {"description": "The file.", "content": {"text/csv": {"schema": {"type": "string"}}}},
                    **_failing("401", "403", "404", "409", "429", "503"),
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
