"""The processes of the credit-risk service: python -m credit_risk serve | consume | relay | work | beat | migrate | run."""

from credit_risk.config import Settings
from credit_risk.consumers import HANDLERS
from credit_risk.rpc import CreditRiskRpc, RiskLoadRpc
from credit_risk.store import Base
from credit_risk.tasks import SCHEDULES
from credit_risk.texts import FRENCH
from kit.process import main
from kit.service import ServiceDefinition
from quittance.credit_risk.v1.credit_risk_service_pb2_grpc import add_CreditRiskServiceServicer_to_server
from quittance.credit_risk.v1.risk_load_service_pb2_grpc import add_RiskLoadServiceServicer_to_server

SERVICE = ServiceDefinition(
    name="credit-risk",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[
        (
            add_CreditRiskServiceServicer_to_server,
            lambda runtime: CreditRiskRpc(runtime.settings, runtime.database),
        ),
        (
            add_RiskLoadServiceServicer_to_server,
            lambda runtime: RiskLoadRpc(runtime.settings, runtime.database),
        ),
    ],
    handlers=HANDLERS,
    schedules=SCHEDULES,
)

if __name__ == "__main__":
    main(SERVICE)
