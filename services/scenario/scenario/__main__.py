"""The processes of the scenario service: python -m scenario serve | consume | relay | work | beat | migrate | run."""

from kit.process import main
from kit.service import ServiceDefinition
from quittance.scenario.v1.scenario_service_pb2_grpc import add_ScenarioServiceServicer_to_server
from scenario.config import Settings
from scenario.consumers import HANDLERS
from scenario.rpc import ScenarioRpc
from scenario.store import Base
from scenario.tasks import JOBS, SCHEDULES
from scenario.texts import FRENCH

SERVICE = ServiceDefinition(
    name="scenario",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[
        (add_ScenarioServiceServicer_to_server, lambda runtime: ScenarioRpc(runtime.settings, runtime.database)),
    ],
    handlers=HANDLERS,
    jobs=JOBS,
    schedules=SCHEDULES,
)

if __name__ == "__main__":
    main(SERVICE)
