"""The ledger's processes: `python -m ledger serve|consume|relay|work|beat|migrate|run`, `check` and `audit`."""

import sys

from kit import context, process
from kit.db import Database
from kit.service import ServiceDefinition
from ledger import command
from ledger.config import Settings
from ledger.rpc import (
    AllocationRpc,
    AuditRpc,
    CustomerRpc,
    HistoryRpc,
    HoldRpc,
    LedgerRpc,
    LoadRpc,
    ReferenceRpc,
)
from ledger.store import checks
from ledger.store.tables import Base
from ledger.tasks import JOBS, SCHEDULES
from ledger.texts import FRENCH
from quittance.ledger.v1 import (
    allocation_service_pb2_grpc,
    audit_service_pb2_grpc,
    customer_service_pb2_grpc,
    history_service_pb2_grpc,
    hold_service_pb2_grpc,
    ledger_load_service_pb2_grpc,
    ledger_service_pb2_grpc,
    reference_service_pb2_grpc,
)

DEFINITION = ServiceDefinition(
    name="ledger",
    settings=Settings,
    texts=FRENCH,
    metadata=Base.metadata,
    servicers=[
        (ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server, lambda runtime: LedgerRpc(runtime.database)),
        (ledger_load_service_pb2_grpc.add_LoadServiceServicer_to_server, lambda runtime: LoadRpc(runtime.database)),
        (audit_service_pb2_grpc.add_AuditServiceServicer_to_server, lambda runtime: AuditRpc(runtime.database)),
        (
            customer_service_pb2_grpc.add_CustomerServiceServicer_to_server,
            lambda runtime: CustomerRpc(runtime.database),
        ),
        (history_service_pb2_grpc.add_HistoryServiceServicer_to_server, lambda runtime: HistoryRpc(runtime.database)),
        (
            allocation_service_pb2_grpc.add_AllocationServiceServicer_to_server,
            lambda runtime: AllocationRpc(runtime.database),
        ),
        (hold_service_pb2_grpc.add_HoldServiceServicer_to_server, lambda runtime: HoldRpc(runtime.database)),
        (
            reference_service_pb2_grpc.add_ReferenceServiceServicer_to_server,
            lambda runtime: ReferenceRpc(runtime.database),
        ),
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
    if sys.argv[1:2] == ["audit"]:
        sys.exit(command.run(Database(Settings()), sys.argv[2:]))
    process.main(DEFINITION)


def quittance() -> None:
    """The console script `quittance`."""
    sys.exit(command.quittance(Settings(), sys.argv[1:]))


if __name__ == "__main__":
    main()
