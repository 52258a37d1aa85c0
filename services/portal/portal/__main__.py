"""The processes of portal: python -m portal serve | web | consume | relay | work | beat | migrate | run."""

from kit.process import main
from kit.service import Runtime, ServiceDefinition
from portal.config import Settings
from portal.rpc import PortalRpc
from portal.server import serve_web
from portal.store import Base
from portal.tasks import JOBS, SCHEDULES
from portal.texts import FRENCH
from portal.usecases import Counter
from quittance.portal.v1.portal_service_pb2_grpc import add_PortalServiceServicer_to_server


def servicer(runtime: Runtime) -> PortalRpc:
    """PortalService on this process's database and settings."""
    return PortalRpc(Counter(runtime.database, runtime.settings))


DEFINITION = ServiceDefinition(
    name="portal",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[(add_PortalServiceServicer_to_server, servicer)],
    jobs=JOBS,
    schedules=SCHEDULES,
    extra_processes={"web": serve_web},
)

if __name__ == "__main__":
    main(DEFINITION)
