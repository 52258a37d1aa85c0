"""The processes of the import service: python -m importer serve|consume|relay|work|beat|migrate|run."""

from importer.channels.serving import serve_channels
from importer.config import Settings
from importer.consumers import HANDLERS
from importer.rpc import DocumentRpc, ImportRpc, ProfileRpc, SourceRpc, UploadRpc
from importer.store import Base
from importer.tasks import JOBS, SCHEDULES
from importer.texts import FRENCH
from kit.service import ServiceDefinition
from quittance.importer.v1 import (
    document_service_pb2_grpc,
    import_service_pb2_grpc,
    profile_service_pb2_grpc,
    source_service_pb2_grpc,
    upload_service_pb2_grpc,
)

SERVICE = ServiceDefinition(
    name="import",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[
        (document_service_pb2_grpc.add_DocumentServiceServicer_to_server, DocumentRpc),
        (import_service_pb2_grpc.add_ImportServiceServicer_to_server, ImportRpc),
        (profile_service_pb2_grpc.add_ProfileServiceServicer_to_server, ProfileRpc),
        (source_service_pb2_grpc.add_SourceServiceServicer_to_server, SourceRpc),
        (upload_service_pb2_grpc.add_UploadServiceServicer_to_server, UploadRpc),
    ],
    handlers=HANDLERS,
    jobs=JOBS,
    schedules=SCHEDULES,
    extra_processes={"sftp": serve_channels},
)

if __name__ == "__main__":
    from kit import process

    process.main(SERVICE)
