"""The processes of the dispute service: python -m dispute serve | consume | relay | work | beat | migrate | run."""

from dispute.config import Settings
from dispute.consumers import HANDLERS
from dispute.rpc import DisputeRpc
from dispute.store import Base
from dispute.tasks import JOBS, SCHEDULES
from dispute.texts import FRENCH
from kit.process import main
from kit.service import ServiceDefinition
from quittance.dispute.v1.dispute_service_pb2_grpc import add_DisputeServiceServicer_to_server

SERVICE = ServiceDefinition(
    name="dispute",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[(add_DisputeServiceServicer_to_server, lambda runtime: DisputeRpc(runtime.settings, runtime.database))],
    handlers=HANDLERS,
    jobs=JOBS,
    schedules=SCHEDULES,
)

if __name__ == "__main__":
    main(SERVICE)
