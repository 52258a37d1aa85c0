"""The import service as a test drives it: uploads over gRPC, jobs run one by one as a worker would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from import_fake_ledger import FakeLedger
from sqlalchemy import text

from importer.tasks import JOBS
from kit import context, jobs
from kit.service import Runtime
from kit.testing import caller_of
from quittance.importer.v1 import import_service_pb2 as pb
from quittance.importer.v1 import import_service_pb2_grpc as pb_grpc

TIMEOUT_S = 10


class Driver:
    """.stub calls; .upload() uploads and works; .work() runs every due job once; .get() is the import as it is now."""

    def __init__(self, database: Any, ledger: FakeLedger, tenant: str, channel: Any) -> None:
        self.database, self.ledger, self.tenant = database, ledger, tenant
        self.stub = pb_grpc.ImportServiceStub(channel)
        self.runtime = Runtime(database.settings, database)

    def send(self, data: bytes | str, name: str = "items.csv", entity: str = "FR01", **header: Any) -> str:
        """Uploads in pieces; returns the import's id."""
        content = data.encode() if isinstance(data, str) else data

        def messages() -> Iterator[pb.UploadFileRequest]:
            yield pb.UploadFileRequest(header=pb.ImportHeader(file_name=name, entity_code=entity, **header))
            for start in range(0, len(content), 65536):
                yield pb.UploadFileRequest(data=content[start : start + 65536])

        return str(self.stub.UploadFile(messages(), timeout=TIMEOUT_S).import_id)

    def upload(self, data: bytes | str, **header: Any) -> pb.Import:
        """Uploads, runs the jobs and returns the import."""
        import_id = self.send(data, **header)
        self.work()
        return self.get(import_id)

    def work(self, rounds: int = 6) -> list[str]:
        """Runs due jobs until none is left; says what became of each."""
        ended: list[str] = []
        for _ in range(rounds):
            with self.database.system_transaction() as session:
                rows = session.execute(
                    text(
                        "SELECT id, tenant_id FROM job WHERE state = 'QUEUED'"
                        " AND run_after <= clock_timestamp() ORDER BY made_at"
                    )
                ).all()
            if not rows:
                return ended
            ended += [jobs.run(self.runtime, JOBS, str(row.tenant_id), str(row.id)) for row in rows]
        return ended

    def get(self, import_id: str) -> pb.Import:
        """The import as it is now."""
        return self.stub.GetImport(pb.GetImportRequest(import_id=import_id), timeout=TIMEOUT_S).import_run

    def apply(self, import_id: str, **answers: str) -> pb.Import:
        """Applies, with answers, and runs the jobs."""
        self.stub.ApplyImport(pb.ApplyImportRequest(import_id=import_id, answers=answers), timeout=TIMEOUT_S)
        self.work()
        return self.get(import_id)

    def acting(self) -> Any:
        """A block in which a person of the tenant acts."""
        return context.acting_as(caller_of(self.tenant))


def state(run: pb.Import) -> str:
    """The state without its prefix."""
    return pb.ImportState.Name(run.state).removeprefix("IMPORT_STATE_")


def counts(run: pb.Import) -> tuple[int, int, int, int, int]:
    """created, updated, unchanged, cleared, rejected; that they add up to what was read is checked on the way."""
    found = run.row_counts
    parts = (found.created, found.updated, found.unchanged, found.cleared, found.rejected)
    assert found.read == sum(parts), f"{found.read} rows read, {parts} accounted for"
    return parts
