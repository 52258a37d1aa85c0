"""The processes of the reporting service: python -m reporting serve | consume | relay | work | beat | migrate | run."""

from kit.process import main
from kit.service import ServiceDefinition
from quittance.reporting.v1.reporting_service_pb2_grpc import add_ReportingServiceServicer_to_server
from reporting.config import Settings
from reporting.consumers import HANDLERS
from reporting.rpc import ReportingRpc
from reporting.store import Base
from reporting.texts import FRENCH

SERVICE = ServiceDefinition(
    name="reporting",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[
        (
            add_ReportingServiceServicer_to_server,
            lambda runtime: ReportingRpc(runtime.settings, runtime.database),
        )
    ],
    handlers=HANDLERS,
)

if __name__ == "__main__":
    main(SERVICE)
