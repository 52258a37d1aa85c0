"""Refusals: what a caller can act on, with a stable reason, carried over RPC without loss."""

import enum
from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "quittance"


class Code(enum.Enum):
    """The canonical status codes; values are those of google.rpc.Code."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def grpc_code(self) -> grpc.StatusCode:
        """The same code as grpc spells it."""
        return _GRPC_BY_NUMBER[self.value]

    @classmethod
    def of(cls, code: grpc.StatusCode) -> "Code":
        """The code for a grpc status code other than OK."""
        return cls(code.value[0])


_GRPC_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# The other side may try the same call again: nothing about the request itself was wrong.
TRANSIENT = frozenset(
    {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.RESOURCE_EXHAUSTED, Code.CANCELLED, Code.INTERNAL}
    | {Code.UNKNOWN}
)


class Refused(Exception):
    """A refusal that the caller can act on.

    Args: code, its kind; reason, a STABLE_REASON that clients may test for; message, one English sentence;
        fields, wrong fields by their JSON path; metadata, further facts as text.
    """

    def __init__(
        self, code: Code, reason: str, message: str = "", fields: dict[str, str] | None = None, **metadata: str
    ) -> None:
        super().__init__(f"{code.name} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.fields = dict(fields or {})
        self.metadata = {key: str(value) for key, value in metadata.items()}

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in TRANSIENT

    def to_status(self) -> status_pb2.Status:
        """As google.rpc.Status with ErrorInfo and, when fields are named, BadRequest."""
        details = [
            _packed(error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)),
        ]
        if self.fields:
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
                for field, description in self.fields.items()
            ]
            details.append(_packed(error_details_pb2.BadRequest(field_violations=violations)))
        return status_pb2.Status(code=self.code.value, message=self.message, details=details)

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> "Refused":
        """The refusal a status carries; the code's name is the reason when the other side gave none."""
        code = Code(status.code)
        reason, metadata, fields = code.name, {}, {}
        for detail in status.details:
            info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad_request):
                fields = {violation.field: violation.description for violation in bad_request.field_violations}
        refused = cls(code, reason, status.message, fields)
        refused.metadata = metadata
        return refused

    @classmethod
    def from_rpc_error(cls, error: grpc.RpcError) -> "Refused":
        """The refusal behind what grpc raised on the client's side."""
        status = rpc_status.from_call(error)
        if status is not None and status.code:
            return cls.from_status(status)
        code = Code.of(error.code())
        return cls(code, code.name, error.details() or "")

    def abort(self, context: grpc.ServicerContext) -> NoReturn:
        """Ends the call of a servicer with this refusal; never returns."""
        context.abort_with_status(rpc_status.to_status(self.to_status()))
        raise AssertionError("abort_with_status always raises")


def _packed(message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
