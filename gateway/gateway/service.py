"""The gateway as a gRPC service: IdentityService behind the same guard as every other service."""

from gateway.config import Settings
from gateway.rpc import IdentityRpc
from gateway.store import Base
from gateway.texts import FRENCH
from kit.service import ServiceDefinition
from quittance.gateway.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server

DEFINITION = ServiceDefinition(
    name="gateway",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[
        (add_IdentityServiceServicer_to_server, lambda runtime: IdentityRpc(runtime.settings, runtime.database)),
    ],
)
