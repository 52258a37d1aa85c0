"""The ledger's services over gRPC: translates between messages and use cases, nothing else."""

from ledger.rpc.allocations import AllocationRpc
from ledger.rpc.audit import AuditRpc
from ledger.rpc.customers import CustomerRpc
from ledger.rpc.history import HistoryRpc
from ledger.rpc.holds import HoldRpc
from ledger.rpc.ledger import LedgerRpc
from ledger.rpc.loads import LoadRpc
from ledger.rpc.reference import ReferenceRpc

__all__ = [
    "AllocationRpc",
    "AuditRpc",
    "CustomerRpc",
    "HistoryRpc",
    "HoldRpc",
    "LedgerRpc",
    "LoadRpc",
    "ReferenceRpc",
]
