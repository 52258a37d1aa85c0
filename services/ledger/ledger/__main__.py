"""The ledger's processes: `python -m ledger serve|consume|relay|work|beat|migrate|run`, and `check`."""

import sys

from kit import context, process
from kit.db import Database
from kit.service import ServiceDefinition
from ledger.config import Settings
from ledger.rpc import LedgerRpc, LoadRpc
from ledger.store import checks
from ledger.store.tables import Base
from ledger.tasks import JOBS, SCHEDULES
from quittance.ledger.v1 import ledger_load_service_pb2_grpc, ledger_service_pb2_grpc

DEFINITION = ServiceDefinition(
    name="ledger",
    settings=Settings,
    metadata=Base.metadata,
    servicers=[
        (ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server, lambda runtime: LedgerRpc(runtime.database)),
        (ledger_load_service_pb2_grpc.add_LoadServiceServicer_to_server, lambda runtime: LoadRpc(runtime.database)),
    ],
    jobs=JOBS,
    schedules=SCHEDULES,
)


def check(database: Database) -> int:
    """Asks every consistency question for every tenant, prints what is wrong, returns how many were answered badly."""
    bad = 0
    for tenant_id in checks.tenants(database):
        with context.acting_as(context.service_caller(tenant_id, "ledger")), database.transaction() as session:
            for question, rows in checks.wrong(session).items():
                bad += 1
                print(f"{tenant_id} {question}:", *rows, sep="\n  ")
    print(f"{len(checks.questions())} questions, {bad} with wrong rows")
    return bad


def main() -> None:
    """Runs the role named on the command line."""
    if sys.argv[1:] == ["check"]:
        sys.exit(1 if check(Database(Settings())) else 0)
    process.main(DEFINITION)


if __name__ == "__main__":
    main()
