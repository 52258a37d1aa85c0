"""Operations and schemas out of descriptors: routes, fields, limits and words."""

import re
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway import messages
from gateway.openapi.by_hand import ERRORS, IMPORT_STARTED, MONEY, PROBLEM
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


def path_of(route: Route) -> str:
    """The path with its fields as JSON spells them."""
    return re.sub(r"\{([a-z0-9_.]+)\}", lambda match: "{" + _camel(match[1]) + "}", route.template)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


class Writer:
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
