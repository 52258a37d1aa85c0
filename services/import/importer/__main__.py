"""The processes of the import service: python -m importer serve|consume|relay|work|beat|migrate|run."""

from importer.config import Settings
from importer.consumers import HANDLERS
from importer.rpc import ImportRpc
from importer.store import Base
from importer.tasks import JOBS
from kit.service import ServiceDefinition
from quittance.importer.v1 import import_service_pb2_grpc

SERVICE = ServiceDefinition(
    name="import",
    settings=Settings,
    metadata=Base.metadata,
    servicers=[(import_service_pb2_grpc.add_ImportServiceServicer_to_server, ImportRpc)],
    handlers=HANDLERS,
    jobs=JOBS,
)

if __name__ == "__main__":
    from kit import process

    process.main(SERVICE)
