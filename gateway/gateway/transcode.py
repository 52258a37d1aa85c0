"""REST derived from the contracts: every RPC with a google.api.http annotation becomes a route.

The descriptors are read at start; nothing here knows a service by its nouns.
"""

import importlib
import importlib.resources
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flask import Flask, Response, current_app, jsonify, request
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from werkzeug.routing import BaseConverter

from gateway import messages
from gateway.auth import gate
from kit.context import acting_as, deadline_in
from kit.errors import Code, Refused
from kit.grpc_client import channel
from quittance.common.v1 import options_pb2

IDEMPOTENCY_HEADER = "Idempotency-Key"
REQUEST_ID = "request_id"
PACKAGE_PREFIX = "quittance."
# Package of the contracts -> name of the service in addresses, where they differ.
PEERS = {"importer": "import", "credit_risk": "credit-risk"}
_TEMPLATE_FIELD = re.compile(r"\{([a-z0-9_.]+)\}")
_VERBS = ("get", "post", "put", "patch", "delete")
JSON_TYPES = ("application/json",)


@dataclass(frozen=True)
class Route:
    """One HTTP method and path of one RPC."""

    verb: str
    template: str
    body: str
    response_body: str
    method: MethodDescriptor = field(repr=False)
    comment: str = field(default="", repr=False)
    is_additional: bool = False

    @property
    def path_fields(self) -> tuple[str, ...]:
        """Names of the request's fields that stand in the path."""
        return tuple(_TEMPLATE_FIELD.findall(self.template))

    @property
    def rule(self) -> str:
        """The path as the router spells it."""
        return _TEMPLATE_FIELD.sub(lambda match: f"<segment:{match[1].replace('.', '__')}>", self.template)

    @property
    def needs(self) -> str:
        """The permission that the service will ask for."""
        return self.method.GetOptions().Extensions[options_pb2.needs]

    @property
    def peer(self) -> str:
        """The service that serves it, as addresses name it."""
        package = self.method.containing_service.file.package.split(".")[1]
        return PEERS.get(package, package)

    @property
    def rpc_path(self) -> str:
        """The path of the call in gRPC."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @cached_property
    def request_class(self) -> type[Message]:
        """The class of the request."""
        return message_factory.GetMessageClass(self.method.input_type)

    @cached_property
    def response_class(self) -> type[Message]:
        """The class of the answer."""
        return message_factory.GetMessageClass(self.method.output_type)

    @property
    def request_id_field(self) -> FieldDescriptor | None:
        """The field that makes a repetition harmless, where the request has one."""
        return self.method.input_type.fields_by_name.get(REQUEST_ID)

    @property
    def request_id_required(self) -> bool:
        """Whether the caller has to say which request this is (money and messages)."""
        found = self.request_id_field
        return found is not None and found.GetOptions().Extensions[options_pb2.rules].required


@dataclass(frozen=True)
class Catalog:
    """All contracts: the files with their comments, and the routes."""

    files: tuple[descriptor_pb2.FileDescriptorProto, ...]
    routes: tuple[Route, ...]
    comments: dict[str, str] = field(repr=False)

    @classmethod
    def load(cls) -> "Catalog":
        """Reads the generated descriptors; the generated modules bring the same messages that the stubs use."""
        packed = importlib.resources.files("quittance").joinpath("descriptors.binpb").read_bytes()
        files = tuple(
            file
            for file in descriptor_pb2.FileDescriptorSet.FromString(packed).file
            if file.package.startswith(PACKAGE_PREFIX)
        )
        for file in files:
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        comments = dict(pair for file in files for pair in _comments(file))
        pool = descriptor_pool.Default()
        routes: list[Route] = []
        for file in files:
            for service in file.service:
                descriptor = pool.FindServiceByName(f"{file.package}.{service.name}")
                for method in descriptor.methods:
                    routes += _routes(method, comments.get(method.full_name, ""))
        return cls(files, tuple(routes), comments)

    def permissions(self) -> frozenset[str]:
        """Every permission that some RPC asks for."""
        pool = descriptor_pool.Default()
        return frozenset(
            method.GetOptions().Extensions[options_pb2.needs]
            for file in self.files
            for service in file.service
            for method in pool.FindServiceByName(f"{file.package}.{service.name}").methods
        )


def _routes(method: MethodDescriptor, comment: str) -> Iterator[Route]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    if method.client_streaming or method.server_streaming:
        raise ValueError(f"{method.full_name} streams: it needs a route written by hand, not an annotation")
    annotated = options.Extensions[annotations_pb2.http]
    for rule in (annotated, *annotated.additional_bindings):
        verb = rule.WhichOneof("pattern")
        if verb not in _VERBS:
            raise ValueError(f"{method.full_name}: no route for {verb}")
        if rule.body not in ("", "*") and rule.body not in method.input_type.fields_by_name:
            raise ValueError(f"{method.full_name}: body names no field: {rule.body}")
        response_body = rule.response_body or annotated.response_body
        yield Route(
            verb.upper(),
            getattr(rule, verb),
            rule.body,
            response_body,
            method,
            comment,
            is_additional=rule is not annotated,
        )


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Full name -> the comment before it, for everything in a file."""
    for location in file.source_code_info.location:
        text = location.leading_comments or location.trailing_comments
        name = _name_at(file, list(location.path)) if text else ""
        if name:
            lines = [line[1:] if line.startswith(" ") else line for line in text.strip("\n").split("\n")]
            yield name, "\n".join(lines).strip()


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The full name of what a source location's path points to; empty for what has none."""
    node: Any = file
    name = file.package
    while path:
        number, *rest = path
        descriptor_field = node.DESCRIPTOR.fields_by_number.get(number)
        if (
            descriptor_field is None
            or not descriptor_field.is_repeated
            or not rest
            or descriptor_field.message_type is None
        ):
            return ""
        node = getattr(node, descriptor_field.name)[rest[0]]
        if not hasattr(node, "name"):
            return ""
        name = f"{name}.{node.name}"
        path = rest[1:]
    return name


# ---- one call --------------------------------------------------------------------------------------------------------


class Segment(BaseConverter):
    """One part of a path up to the colon of a verb."""

    regex = "[^/:]+"
    part_isolating = True


def register(app: Flask, catalog: Catalog) -> None:
    """Adds a route per annotated RPC."""
    app.url_map.converters["segment"] = Segment
    for index, route in enumerate(catalog.routes):
        endpoint = f"rpc.{index}.{route.method.full_name.replace('.', '_')}"
        app.add_url_rule(route.rule, endpoint, _view(route), methods=[route.verb], provide_automatic_options=False)


def _view(route: Route) -> Callable[..., Response]:
    def view(**path_values: str) -> Response:
        caller = gate().api_caller()
        message = request_of(route, path_values)
        answer = call(route, message, caller)
        return respond(route, answer)

    return view


def call(route: Route, message: Message, caller: Any) -> Message:
    """Makes the call for a caller, with the gateway's deadline."""
    settings = current_app.config["QUITTANCE"]
    try:
        connection = channel(settings, route.peer)
    except LookupError as error:
        raise Refused(
            Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", f"{route.peer} is not part of this installation"
        ) from error
    rpc = connection.unary_unary(
        route.rpc_path,
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=route.response_class.FromString,
    )
    with acting_as(caller), deadline_in(settings.rpc_timeout_s + 0.2):
        try:
            return rpc(message, timeout=settings.rpc_timeout_s)
        except Refused as refused:
            if refused.code is Code.UNAUTHENTICATED:
                # The token is ours: that a service does not take it is nothing the caller could mend.
                raise Refused(Code.INTERNAL, refused.reason, refused.message) from refused
            raise


def respond(route: Route, answer: Message, status: int = 200) -> Response:
    """The answer, or the one field of it that is the whole body."""
    value = messages.to_json(getattr(answer, route.response_body) if route.response_body else answer)
    response = jsonify(value)
    response.status_code = status
    return response


def request_of(route: Route, path_values: dict[str, str]) -> Message:
    """The message of a call: path, then body or query, then the Idempotency-Key."""
    message = route.request_class()
    in_path = {name: path_values[name.replace(".", "__")] for name in route.path_fields}
    if route.body:
        given = _body()
        # What stands in the path need not be repeated, and must not be contradicted.
        _drop_repeated(given, in_path)
        if route.body == "*":
            messages.fill(message, given)
        else:
            messages.fill(message, {route.body: given})
        if request.args:
            raise _unknown(dict.fromkeys(request.args, "is no query parameter of this call"))
    else:
        if request.content_length:
            raise Refused(Code.INVALID_ARGUMENT, "BODY_UNEXPECTED", "this call takes no body")
        messages.fill(message, _query(route.method.input_type), from_text=True)
    messages.fill(message, _nested(in_path), from_text=True)
    _set_request_id(route, message)
    return message


def _body() -> dict[str, Any]:
    raw = request.get_data(cache=False)
    if not raw.strip():
        return {}
    if request.mimetype and request.mimetype not in JSON_TYPES and not request.mimetype.endswith("+json"):
        raise Refused(
            Code.INVALID_ARGUMENT, "UNSUPPORTED_MEDIA_TYPE", f"send application/json, not {request.mimetype[:80]}"
        )
    given = messages.parse_json(raw)
    if not isinstance(given, dict):
        raise Refused(Code.INVALID_ARGUMENT, "JSON_MALFORMED", "the body must be a JSON object")
    return given


def _drop_repeated(given: dict[str, Any], in_path: dict[str, str]) -> None:
    for name, value in in_path.items():
        for spelling in {name, _json_name(name)}:
            if spelling in given and given.pop(spelling) not in (value, None, ""):
                raise _unknown({_json_name(name): "differs from the one in the path"})


def _json_name(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _unknown(fields: dict[str, str]) -> Refused:
    named = "; ".join(f"{name[:60]}: {text}" for name, text in list(fields.items())[:5])
    return Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", named, {name[:60]: text for name, text in fields.items()})


def _query(descriptor: Descriptor) -> dict[str, Any]:
    """The query as nested values; a name that comes several times is a list."""
    values: dict[str, Any] = {}
    for name, texts in request.args.lists():
        # An empty parameter of a form that was not filled says nothing.
        kept = [text for text in texts if text != ""]
        if kept:
            values[name] = kept if len(kept) > 1 else kept[0]
        elif name.split(".")[0] not in {
            spelling for each in descriptor.fields for spelling in (each.name, each.json_name)
        }:
            values[name] = ""
    return _nested(values)


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """a.b = 1 as {a: {b: 1}}."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        place = nested
        *parents, last = name.split(".")
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise _unknown({name: "contradicts another parameter"})
            place = inner
        if last in place:
            raise _unknown({name: "contradicts another parameter"})
        place[last] = value
    return nested


def _set_request_id(route: Route, message: Any) -> None:
    if route.request_id_field is None:
        return
    header = request.headers.get(IDEMPOTENCY_HEADER, "").strip()
    if message.request_id:
        if header and header != message.request_id:
            raise _unknown({"requestId": f"differs from the header {IDEMPOTENCY_HEADER}"})
        return
    if header:
        messages.fill(message, {REQUEST_ID: header})
    elif route.request_id_required:
        raise Refused(
            Code.INVALID_ARGUMENT,
            "IDEMPOTENCY_KEY_MISSING",
            f"send the header {IDEMPOTENCY_HEADER} with an id of your own (a UUID): a repetition then changes nothing",
            {REQUEST_ID: f"is required: send the header {IDEMPOTENCY_HEADER}"},
        )
    else:
        message.request_id = str(uuid.uuid4())
